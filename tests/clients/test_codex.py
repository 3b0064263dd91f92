"""Codex over every upstream dialect, by HTTP and by WebSocket."""

import json

import pytest

from tests.clients.agents import BuiltinCodex, Codex
from tests.clients.conftest import THINKING_CHAT
from tests.end_to_end.running import PUBLIC

pytestmark = pytest.mark.clients

OVER = [*PUBLIC.values(), THINKING_CHAT]


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
