"""Claude Code over every upstream dialect."""

import json

import pytest

from tests.clients.agents import ClaudeCode
from tests.clients.conftest import REAL, THINKING_CHAT, rate_limited
from tests.end_to_end.running import PUBLIC
from tests.fakes.upstream import DROP

pytestmark = pytest.mark.clients

FOREIGN = [PUBLIC["openai_responses"], PUBLIC["openai_chat"], PUBLIC["gemini"]]
THOUGHT_AT = {  # where each dialect keeps what a model must get back of its thoughts
    PUBLIC["openai_responses"]: b'"encrypted_content":',
    PUBLIC["gemini"]: b'"thoughtSignature":',
    **dict.fromkeys(REAL, b'"signature":'),
}


@pytest.fixture
def claude(agent):
    return agent(ClaudeCode)


def call(tool, **arguments):
    return f"FAKE:tool={tool}:{json.dumps(arguments)};"


@pytest.mark.parametrize("model", [*FOREIGN, THINKING_CHAT, *REAL])
def test_plain_prompt_is_answered_by_one_request(claude, stage, model):
    ran = claude.ask(model, "FAKE:text=Good morning from the far side;")
    assert ran.code == 0, ran
    assert claude.result(ran) == "Good morning from the far side"
    assert [seen.status for seen in stage.witness.posts] == [200]
    assert stage.refused == []


@pytest.mark.parametrize("model", [*FOREIGN, THINKING_CHAT, *REAL])
def test_files_are_made_by_tool_calls_in_two_turns(claude, stage, model):
    written, shell = claude.work / "written.txt", claude.work / "shell.txt"
    first = call("Write", file_path=str(written), content="naïve 日本\n")
    second = call("Bash", command=f"echo from a shell > {shell}", description="Say it")
    ran = claude.ask(model, f"{first}\n{second}")
    assert ran.code == 0, ran
    assert written.read_text(encoding="utf-8") == "naïve 日本\n"
    assert shell.read_text().strip() == "from a shell"
    assert "The tool said" in claude.result(ran)
    assert [seen.status for seen in stage.witness.posts] == [200, 200, 200]
    assert stage.refused == []


@pytest.mark.parametrize("model", THOUGHT_AT)
def test_thoughts_are_shown_and_return_to_the_model(claude, stage, model):
    made = claude.work / "made.txt"
    ran = claude.ask(model, call("Write", file_path=str(made), content="x"))
    assert ran.code == 0, ran
    assert any(block["type"] == "thinking" for block in claude.blocks(ran))
    first, second = stage.posts
    assert THOUGHT_AT[model] not in first.body
    assert THOUGHT_AT[model] in second.body
    assert stage.refused == []


@pytest.mark.parametrize("model", [*FOREIGN, REAL[-1]])
def test_lost_connection_costs_no_answer(claude, stage, model):
    stage.upstream.script(DROP)
    ran = claude.ask(model, "FAKE:text=At the second try;")
    assert ran.code == 0, ran
    assert claude.result(ran) == "At the second try"


@pytest.mark.parametrize("model", [*FOREIGN, REAL[-1]])
def test_full_context_is_recognised(claude, stage, model):
    ran = claude.ask(model, "FAKE:error=context;")
    assert ran.code == 1, ran
    assert "Prompt is too long" in claude.result(ran)
    assert [seen.status for seen in stage.witness.posts] == [400]


@pytest.mark.parametrize("model", [*FOREIGN, REAL[-1]])
def test_short_rate_limit_is_waited_for(claude, stage, model):
    stage.upstream.script(rate_limited(1))
    ran = claude.ask(model, "FAKE:text=After the wait;")
    assert ran.code == 0, ran
    assert claude.result(ran) == "After the wait"
    # A second is waited for here, so that the agent hears nothing of it.
    assert [seen.status for seen in stage.witness.posts] == [200]


@pytest.mark.parametrize("model", [*FOREIGN, REAL[-1]])
def test_long_rate_limit_is_told_at_once(claude, stage, model):
    stage.upstream.script(rate_limited(600))
    ran = claude.ask(model, "FAKE:text=Not now;")
    assert ran.code == 1, ran
    assert "Slow down." in claude.result(ran)
    assert [seen.status for seen in stage.witness.posts] == [429]


@pytest.mark.parametrize("model", [*FOREIGN, REAL[-1]])
def test_refused_account_is_told_at_once_and_once(claude, stage, model):
    ran = claude.ask(model, "FAKE:error=auth;")
    assert ran.code == 1, ran
    assert "The account behind Dragoman was refused" in claude.result(ran)
    assert "dragoman doctor" in claude.result(ran)
    assert [seen.status for seen in stage.witness.posts] == [400]
    again = claude.ask(model, "FAKE:text=Not now;")
    assert "No account can serve" in claude.result(again)
    assert [seen.status for seen in stage.witness.posts] == [400, 400]
    assert len(stage.posts) == 1
