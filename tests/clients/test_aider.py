"""Aider over a foreign upstream dialect."""

import json

import pytest

from tests.clients.agents import Aider
from tests.end_to_end.running import PUBLIC

pytestmark = pytest.mark.clients

MODEL = PUBLIC["anthropic"]


@pytest.fixture
def aider(agent):
    return agent(Aider)


def test_plain_prompt_is_answered_by_one_request(aider, stage):
    ran = aider.ask(MODEL, "FAKE:text=Good morning from the far side;")
    assert ran.code == 0, ran
    assert "Good morning from the far side" in ran.out
    assert [seen.status for seen in stage.witness.posts] == [200]
    assert stage.refused == []


def test_a_file_is_made_from_the_answer(aider, stage):
    text = json.dumps("made.txt\n```\nnaïve 日本\n```\n")
    ran = aider.ask(MODEL, f"FAKE:text={text};")
    assert ran.code == 0, ran
    assert (aider.work / "made.txt").read_text(encoding="utf-8") == "naïve 日本\n"
    assert stage.refused == []


def test_refused_account_is_told_once(aider, stage):
    ran = aider.ask(MODEL, "FAKE:error=auth;")
    assert "The account behind Dragoman was refused" in " ".join(ran.out.split())
    assert [seen.status for seen in stage.witness.posts] == [400]
