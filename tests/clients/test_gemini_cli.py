"""Gemini CLI over a foreign upstream dialect."""

import json

import pytest

from tests.clients.agents import GeminiCli
from tests.end_to_end.running import PUBLIC

pytestmark = pytest.mark.clients

MODEL = PUBLIC["anthropic"]


@pytest.fixture
def gemini(agent):
    return agent(GeminiCli)


def test_plain_prompt_is_answered(gemini, stage):
    ran = gemini.ask(MODEL, "FAKE:text=Good morning from the far side;")
    assert ran.code == 0, ran
    assert ran.out.strip() == "Good morning from the far side"
    assert stage.refused == []


def test_a_file_is_made_by_a_tool_call(gemini, stage):
    made = gemini.work / "made.txt"
    arguments = json.dumps({"file_path": str(made), "content": "naïve 日本\n"})
    ran = gemini.ask(MODEL, f"FAKE:tool=write_file:{arguments};")
    assert ran.code == 0, ran
    assert made.read_text(encoding="utf-8") == "naïve 日本\n"
    assert "The tool said" in ran.out
    assert stage.refused == []


def test_refused_account_is_told_once(gemini, stage):
    ran = gemini.ask(MODEL, "FAKE:error=auth;")
    assert ran.code != 0
    assert "The account behind Dragoman was refused" in ran.err
    assert [seen.status for seen in stage.witness.posts] == [400]
