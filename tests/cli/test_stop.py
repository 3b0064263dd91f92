import socket

import pytest

from app import instance
from app.cli import stop as command
from app.cli.terminal import FAILED
from tests.cli.conftest import ORIGINAL


def test_running_instance_is_asked_with_the_local_token(dragoman, fake, home):
    code, out, _ = dragoman("stop")
    assert (code, out) == (0, f"Dragoman (process {fake.record.pid}) has stopped.\n")
    assert fake.asked == [("POST", "/admin/stop", f"Bearer {fake.record.token}", b"")]
    assert instance.read(home.data, home.runtime).state == "none"


def test_nothing_to_stop_is_no_failure(dragoman, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_SERVER__PORT", "0")
    assert dragoman("stop") == (0, "Dragoman does not run.\n", "")


def test_stranger_on_the_port_is_named_and_left_alone(dragoman, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("DRAGOMAN_SERVER__PORT", str(port))
        code, out, err = dragoman("stop")
        socket.create_connection(("127.0.0.1", port)).close()
    assert (code, out) == (0, "Dragoman does not run.\n")
    if err:  # where the system tells who it is
        assert f"Port {port} is held by" in err


def test_wrong_settings_do_not_keep_it_from_saying_that_nothing_runs(dragoman, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_SERVER__PORT", "nonsense")
    assert dragoman("stop") == (0, "Dragoman does not run.\n", "")


def test_instance_that_refuses_is_a_failure(dragoman, fake):
    fake.answers["POST /admin/stop"] = (401, {"error": {"message": "Not you."}})
    assert dragoman("stop") == (FAILED, "", "error: Not you.\n")


@pytest.fixture
def connected(user, fake, dragoman):
    (user.folder / ".codex").mkdir()
    for name in ("claude", "codex"):
        assert dragoman("connect", name, "--yes").code == 0
    return user


@pytest.fixture
def typed(monkeypatch):
    """Somebody sits at the terminal and answers each question the same; returns the questions."""
    questions = []

    def answer(yes):
        def confirm(text, **_):
            questions.append(text)
            return yes

        monkeypatch.setattr(command, "is_terminal", lambda stream: True)
        monkeypatch.setattr("typer.confirm", confirm)
        return questions

    return answer


def test_agents_that_point_here_are_named_and_nothing_is_asked_of_a_script(
    connected, fake, dragoman
):
    before = connected.settings.read_bytes()
    code, out, err = dragoman("stop")
    assert (code, out) == (0, f"Dragoman (process {fake.record.pid}) has stopped.\n")
    assert "Claude Code and Codex CLI point here" in err
    assert "`dragoman disconnect --all`" in err
    assert connected.settings.read_bytes() == before


def test_a_yes_disconnects_before_it_stops(connected, fake, dragoman, typed):
    questions = typed(yes=True)
    code, out, err = dragoman("stop")
    assert code == 0
    assert questions == ["Claude Code and Codex CLI point here. Disconnect before stopping?"]
    assert "claude: done.\n" in out
    assert "codex: done.\n" in out
    assert connected.settings.read_text() == ORIGINAL
    assert not (connected.folder / ".codex" / "config.toml").exists()
    assert "point" not in err


def test_a_no_stops_and_names_them(connected, fake, dragoman, typed):
    typed(yes=False)
    before = connected.settings.read_bytes()
    code, _, err = dragoman("stop")
    assert code == 0
    assert "disconnect --all" in err
    assert connected.settings.read_bytes() == before


def test_without_agents_nothing_is_asked(user, fake, dragoman, typed):
    questions = typed(yes=True)
    assert dragoman("stop").code == 0
    assert questions == []


def test_agents_are_named_when_nothing_runs_any_more(connected, fake, dragoman):
    fake.close()
    code, _, err = dragoman("stop")
    assert code == 0
    assert "Claude Code and Codex CLI point here" in err


def test_a_damaged_list_of_agents_does_not_keep_it_from_stopping(connected, fake, dragoman):
    (connected.home.data / "agents" / "manifest.json").write_text("{")
    code, out, err = dragoman("stop")
    assert code == 0
    assert "has stopped" in out
    assert "Agents: " in err
