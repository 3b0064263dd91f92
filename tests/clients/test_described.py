import pytest

from app.clients import AGENTS
from app.clients.agent import Address
from app.clients.described import (
    describe_agent,
    describe_proposal,
    describe_state,
    state_text,
    titles,
)
from tests.clients.corpus import URL, Bench


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    bench.connect("claude", {"main": "m"})
    bench.connect("codex", {})
    return bench


def test_names_read_as_one_phrase(bench):
    one, two = (bench.known.state(name) for name in ("claude", "codex"))
    assert titles([one]) == "Claude Code"
    assert titles([one, two]) == "Claude Code and Codex CLI"
    assert titles([one, two, one]) == "Claude Code, Codex CLI and Claude Code"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("claude", "connected"),
        ("zed", "not found"),
        ("cursor", "by hand"),
        ("sdk", "by environment"),
    ],
)
def test_states_in_a_few_words(bench, name, text):
    assert state_text(bench.known.state(name), URL) == text


def test_an_agent_that_is_there_is_not_connected_yet(bench):
    (bench.home / ".gemini").mkdir()
    assert state_text(bench.known.state("gemini"), URL) == "not connected"


def test_drift_and_another_address_are_told(bench):
    state = bench.known.state("claude")
    assert state_text(state, "http://x:1") == f"connected to {URL}; connect again to update it"
    assert state_text(state, "") == "connected"
    assert describe_state(state, "http://x:1")["outdated"]
    (bench.home / ".claude" / "settings.json").write_text("{}")
    state = bench.known.state("claude")
    assert "connected, but overridden: env.ANTHROPIC_BASE_URL" in state_text(state, URL)
    told = describe_state(state, URL)
    assert (told["outdated"], told["models"]) == (False, {"main": "m"})
    assert told["files"][0]["state"] == "overridden"


@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_is_described(bench, name):
    told = describe_agent(bench.known.state(name), "1.2", Address(URL))
    assert (told["name"], told["version"]) == (name, "1.2")
    assert told["limits"]
    assert not any("{" in step for step in told["steps"])
    assert told["editable"] or told["steps"]


def test_a_proposal_is_shown_with_its_diff(bench):
    told = describe_proposal(bench.propose("claude", {"main": "other"}))
    assert told["files"][0]["action"] == "change"
    assert '+    "ANTHROPIC_MODEL": "other"' in told["files"][0]["diff"]
    assert told["limits"]
    assert describe_proposal(bench.known.propose_undo("claude"))["limits"] == []
