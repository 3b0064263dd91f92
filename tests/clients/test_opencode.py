"""OpenCode over foreign upstream dialects, in each dialect that it speaks."""

import json

import pytest

from tests.clients.agents import OpenCode
from tests.end_to_end.running import PUBLIC

pytestmark = pytest.mark.clients


class OverMessages(OpenCode):
    sdk = "@ai-sdk/anthropic"


class OverResponses(OpenCode):
    sdk = "@ai-sdk/openai"


class OverGemini(OpenCode):
    sdk, base = "@ai-sdk/google", "/v1beta"


WAYS = {  # each with a model behind another dialect
    "chat": (OpenCode, PUBLIC["anthropic"]),
    "anthropic": (OverMessages, PUBLIC["gemini"]),
    "responses": (OverResponses, PUBLIC["anthropic"]),
    "gemini": (OverGemini, PUBLIC["openai_responses"]),
}


@pytest.fixture(params=WAYS)
def way(request, agent):
    kind, model = WAYS[request.param]
    return agent(kind), model


def test_plain_prompt_is_answered(way, stage):
    opencode, model = way
    ran = opencode.ask(model, "FAKE:text=Good morning from the far side;")
    assert ran.code == 0, ran
    assert "Good morning from the far side" in ran.out
    assert stage.refused == []


def test_a_file_is_made_by_a_tool_call(way, stage):
    opencode, model = way
    made = opencode.work / "made.txt"
    arguments = json.dumps({"filePath": str(made), "content": "naïve 日本\n"})
    ran = opencode.ask(model, f"FAKE:tool=write:{arguments};")
    assert ran.code == 0, ran
    assert made.read_text(encoding="utf-8") == "naïve 日本\n"
    assert "The tool said" in ran.out
    assert stage.refused == []


def test_refused_account_is_told_once(way, stage):
    opencode, model = way
    ran = opencode.ask(model, "FAKE:error=auth;")
    assert ran.code == 1
    assert "dragoman doctor" in ran.err
    asked = [seen.status for seen in stage.witness.posts]
    assert asked == [400] * len(asked)
    assert len(asked) <= 2, "the prompt, and a title for the session"
