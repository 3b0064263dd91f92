import os
import sys

import msgspec
import pytest

from app.cli.terminal import NOT_RUNNING
from tests.cli.fake_instance import model

pytestmark = pytest.mark.skipif(os.name != "posix", reason="stands in for agents with a script")


@pytest.fixture
def seen(fake):
    """The ledger of the instance: every model that is asked for by a stand-in has one row."""
    rows = []

    def answer(_body):
        return {"requests": [{"at": 1.0, "asked": name, **rest} for name, rest in rows]}

    def route(handler, found=fake.answer):
        if handler.path.startswith("/admin/requests"):
            fake.answers[f"GET {handler.path}"] = answer
        found(handler)

    fake.answer = route
    fake.answers["GET /v1/models?demo=1"] = {"data": [model("demo-chat", "demo", "demo")]}
    return rows


@pytest.fixture
def agents(user, tmp_path, monkeypatch):
    """Stand-ins for agents on PATH; each prints its text."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def make(name, text="print('ready')"):
        (folder / name).write_text(f"#!{sys.executable} -I\nimport sys\n{text}\n")
        (folder / name).chmod(0o755)

    return make


def served(name, status=200, error=""):
    return name, {"status": status, "dialect": "anthropic", "error": error}


def test_it_says_what_the_demo_and_the_chosen_model_answered(agents, fake, seen, dragoman, user):
    agents("claude")
    seen += [served("demo-chat"), served("big")]
    before = user.settings.read_bytes()
    code, out, _ = dragoman("test", "claude", "--model", "big")
    assert code == 0, out
    first, demo, chosen = out.splitlines()
    assert first.startswith("claude")
    assert "not connected" in first
    assert demo.startswith("ok       demo-chat: answered after")
    assert chosen.startswith("ok       big: answered after")
    assert user.settings.read_bytes() == before
    assert not (user.home.data / "agents").exists()


def test_the_model_that_it_is_connected_to_is_the_chosen_one(agents, fake, seen, dragoman):
    agents("claude")
    seen += [served("demo-chat"), served("big")]
    dragoman("connect", "claude", "-m", "big", "--yes")
    answer = msgspec.json.decode(dragoman("test", "--all", "--json").out)["agents"]
    assert [agent["agent"] for agent in answer] == ["claude"]
    assert "as they were written" in answer[0]["settings"]
    assert [f["model"] for f in answer[0]["findings"]] == ["demo-chat", "big"]
    assert answer[0]["ok"]


def test_an_agent_that_asks_elsewhere_fails(agents, fake, seen, dragoman):
    agents("claude")
    code, out, _ = dragoman("test", "claude", "-m", "demo-chat")
    assert code == 1
    assert "failed   demo-chat: sent nothing to Dragoman" in out


def test_an_agent_that_fails_is_quoted(agents, fake, seen, dragoman):
    agents("codex", "sys.exit('no such model')")
    seen.append(served("demo-chat"))
    code, out, _ = dragoman("test", "codex", "-m", "demo-chat")
    assert code == 1
    assert "exit code 1" in out
    assert "no such model" in out


def test_without_a_demo_only_the_chosen_model_is_asked(agents, fake, seen, dragoman):
    agents("claude")
    seen.append(served("big"))
    fake.answers["GET /v1/models?demo=1"] = {"data": [model("big", "x", "x/x")]}
    code, out, _ = dragoman("test", "claude", "-m", "big", "--json")
    (found,) = msgspec.json.decode(out)["agents"]
    assert (code, [f["model"] for f in found["findings"]]) == (0, ["big"])


def test_a_program_that_cannot_start_is_a_finding(agents, fake, seen, dragoman, tmp_path):
    agents("claude")
    (tmp_path / "bin" / "claude").write_text("#!/nowhere/at/all\n")
    code, out, _ = dragoman("test", "claude")
    assert code == 1
    assert "cannot be started" in out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("codex",), "not on this machine"),
        (("zed", "-m", "demo-chat"), "cannot be asked"),
        (("nonsense",), "no agent called"),
    ],
)
def test_what_cannot_be_tested_is_said(agents, fake, seen, dragoman, words, text):
    code, _, err = dragoman("test", *words)
    assert code == 1
    assert text in err


def test_nothing_connected_is_no_failure(agents, fake, seen, dragoman):
    code, out, _ = dragoman("test", "--all")
    assert code == 0
    assert "No agent is connected" in out


def test_it_needs_a_running_instance(agents, dragoman):
    assert dragoman("test", "claude").code == NOT_RUNNING


@pytest.mark.parametrize("words", [(), ("claude", "--all"), ("claude", "--limit", "0")])
def test_wrong_words_are_exit_code_two(fake, dragoman, words):
    assert dragoman("test", *words).code == 2


def test_another_address_than_the_connected_one_is_said(agents, fake, seen, dragoman, user):
    agents("claude")
    seen.append(served("demo-chat"))
    dragoman("connect", "claude", "-m", "demo-chat", "--yes")
    text = user.settings.read_text().replace(f"127.0.0.1:{fake.port}", "127.0.0.1:1")
    user.settings.write_text(text)
    assert "were changed since" in dragoman("test", "claude").out
    manifest = user.home.data / "agents" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(f"127.0.0.1:{fake.port}", "127.0.0.1:1"))
    assert "connect --update" in dragoman("test", "claude").out
