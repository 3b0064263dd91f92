"""Codex over every upstream dialect, by HTTP and by WebSocket."""

import json

import pytest

from tests.clients.agents import BuiltinCodex, Codex
from tests.clients.conftest import THINKING_CHAT, rate_limited
from tests.end_to_end.running import PUBLIC

pytestmark = pytest.mark.clients

OVER = [*PUBLIC.values(), THINKING_CHAT]
FOREIGN = [name for name in OVER if name != PUBLIC["openai_responses"]]
THOUGHT_AT = {  # where each dialect keeps what a model must get back of its thoughts
    PUBLIC["openai_responses"]: b'"encrypted_content":',
    PUBLIC["gemini"]: b'"thoughtSignature":',
    PUBLIC["anthropic"]: b'"signature":',
}


@pytest.fixture(params=[Codex, BuiltinCodex], ids=["http", "websocket"])
def codex(request, agent):
    return agent(request.param)


def command(cmd):
    return f"FAKE:tool=exec_command:{json.dumps({'cmd': cmd})};"


def assert_first_try(codex, stage, turns):
    """Every turn was one request, on one WebSocket where that is the way."""
    if isinstance(codex, BuiltinCodex):
        assert [seen.status for seen in stage.witness.sockets] == [101]
        assert stage.witness.posts == []
    else:
        assert [seen.status for seen in stage.witness.posts] == [200] * turns
        assert stage.witness.sockets == []
    assert len(stage.posts) == turns
    assert stage.refused == []


@pytest.mark.parametrize("model", OVER)
def test_plain_prompt_is_answered_by_one_request(codex, stage, model):
    ran = codex.ask(model, "FAKE:text=Good morning from the far side;")
    assert ran.code == 0, ran
    assert ran.out.strip() == "Good morning from the far side"
    assert_first_try(codex, stage, 1)


@pytest.mark.parametrize("model", OVER)
def test_files_are_made_by_tool_calls_in_two_turns(codex, stage, model):
    first, second = command("echo naïve 日本 > first.txt"), command("echo two > second.txt")
    ran = codex.ask(model, f"{first}\n{second}")
    assert ran.code == 0, ran
    assert (codex.work / "first.txt").read_text(encoding="utf-8").strip() == "naïve 日本"
    assert (codex.work / "second.txt").read_text().strip() == "two"
    assert "The tool said" in ran.out
    assert_first_try(codex, stage, 3)


@pytest.mark.parametrize("model", THOUGHT_AT)
def test_thoughts_are_shown_and_return_to_the_model(codex, stage, model):
    codex.reasoning()
    ran = codex.ask(model, f"FAKE:think=A thought of its own;{command('echo x')[5:]}")
    assert ran.code == 0, ran
    assert "A thought of its own" in ran.err
    first, second = stage.posts
    assert THOUGHT_AT[model] not in first.body
    assert THOUGHT_AT[model] in second.body
    assert_first_try(codex, stage, 2)


@pytest.mark.parametrize("model", OVER)
def test_full_context_is_recognised(codex, stage, model):
    ran = codex.ask(model, "FAKE:error=context;")
    assert ran.code == 1, ran
    assert "ran out of room in the model's context window" in ran.err
    assert len(stage.posts) == 1


@pytest.mark.parametrize("model", OVER)
def test_short_rate_limit_is_waited_for(codex, stage, model):
    stage.upstream.script(rate_limited(1))
    ran = codex.ask(model, "FAKE:text=After the wait;")
    assert ran.code == 0, ran
    assert ran.out.strip() == "After the wait"
    assert len(stage.posts) == 2


@pytest.mark.parametrize("model", FOREIGN)
def test_long_rate_limit_is_told_at_once(codex, stage, model):
    stage.upstream.script(rate_limited(600))
    ran = codex.ask(model, "FAKE:text=Not now;")
    assert ran.code == 1, ran
    assert "hit your usage limit" in ran.err
    assert len(stage.posts) == 1


@pytest.mark.parametrize("model", OVER)
def test_refused_account_is_told_at_once_and_once(codex, stage, model):
    ran = codex.ask(model, "FAKE:error=auth;")
    assert ran.code == 1, ran
    assert "The account behind Dragoman was refused" in ran.err
    again = codex.ask(model, "FAKE:text=Not now;")
    assert again.code == 1, again
    assert "No account can serve" in again.err
    assert len(stage.posts) == 1
    if isinstance(codex, BuiltinCodex):
        assert [seen.status for seen in stage.witness.sockets] == [101, 101]
        assert stage.witness.posts == []
    else:
        assert [seen.status for seen in stage.witness.posts] == [400, 400]
