"""OpenCode over foreign upstream dialects, in each dialect that it speaks."""

import json

import pytest

from tests.clients.agents import OpenCode
from tests.end_to_end.running import PUBLIC

pytestmark = pytest.mark.clients

MODEL = PUBLIC["anthropic"]


@pytest.fixture
def opencode(agent):
    return agent(OpenCode)


def test_plain_prompt_is_answered(opencode, stage):
    ran = opencode.ask(MODEL, "FAKE:text=Good morning from the far side;")
    assert ran.code == 0, ran
    assert "Good morning from the far side" in ran.out
    assert stage.refused == []


def test_a_file_is_made_by_a_tool_call(opencode, stage):
    made = opencode.work / "made.txt"
    arguments = json.dumps({"filePath": str(made), "content": "naïve 日本\n"})
    ran = opencode.ask(MODEL, f"FAKE:tool=write:{arguments};")
    assert ran.code == 0, ran
    assert made.read_text(encoding="utf-8") == "naïve 日本\n"
    assert "The tool said" in ran.out
    assert stage.refused == []


def test_refused_account_is_told_once(opencode, stage):
    ran = opencode.ask(MODEL, "FAKE:error=auth;")
    assert ran.code == 1
    assert "dragoman doctor" in ran.err
    asked = [seen.status for seen in stage.witness.posts]
    assert asked == [400] * len(asked)
    assert len(asked) <= 2, "the prompt, and a title for the session"
