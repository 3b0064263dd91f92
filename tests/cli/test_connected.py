import msgspec
import pytest

from app.cli.connect import connections
from app.cli.connected import check_agents, connected, note_outdated
from tests.clients.corpus import URL, Bench


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    for name in ("claude", "codex"):
        bench.connect(name, {"main": "m"})
    return bench


def checks(bench, url=URL):
    return {check.name: check for check in check_agents(bench.known, url)}


def test_only_connected_agents_are_checked(bench):
    assert {name: check.verdict for name, check in checks(bench).items()} == {
        "agent claude": "ok",
        "agent codex": "ok",
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{}", "overridden (env.ANTHROPIC_BASE_URL"),
        (b"{", "unreadable (line 1"),
        (None, "is undone"),
    ],
)
def test_settings_that_changed_are_a_warning_with_both_ways_on(bench, content, words):
    file = bench.home / ".claude" / "settings.json"
    file.unlink() if content is None else file.write_bytes(content)
    check = checks(bench)["agent claude"]
    assert check.verdict == "warning"
    assert words in check.text
    assert "dragoman connect claude" in check.hint
    assert "dragoman disconnect claude" in check.hint


def test_another_address_is_a_warning_where_the_address_is_known(bench):
    check = checks(bench, "http://127.0.0.1:9")["agent codex"]
    assert check.verdict == "warning"
    assert "connect --update" in check.hint
    assert checks(bench, "")["agent codex"].verdict == "ok"
    assert [state.agent.name for state in connected(bench.known)] == ["claude", "codex"]


def test_an_agent_that_is_gone_is_a_warning(bench):
    folder = bench.home / ".codex"
    bench.disconnect("codex")
    bench.connect("copilot", {"main": "m"})
    assert not folder.exists()
    check = checks(bench)["agent copilot"]
    assert check.verdict == "warning"
    assert "not installed any more" in check.text


def test_a_damaged_list_is_a_failure_with_a_way_on(bench):
    (bench.data / "manifest.json").write_text("{")
    check = checks(bench)["agents"]
    assert check.verdict == "failed"
    assert check.hint


def test_doctor_checks_connected_agents(user, fake, dragoman, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_SERVER__PORT", str(fake.port))
    dragoman("connect", "claude", "--yes")
    found = msgspec.json.decode(dragoman("doctor", "--json").out)["checks"]
    (check,) = [check for check in found if check["name"] == "agent claude"]
    assert check["verdict"] == "ok"
    user.settings.write_text("{}")
    found = msgspec.json.decode(dragoman("doctor", "--json").out)["checks"]
    (check,) = [check for check in found if check["name"] == "agent claude"]
    assert check["verdict"] == "warning"


def test_a_start_on_another_port_offers_the_update(user, fake, dragoman, capsys):
    dragoman("connect", "claude", "--yes")
    capsys.readouterr()
    note_outdated(connections, f"http://127.0.0.1:{fake.port}")
    assert capsys.readouterr().err == ""
    note_outdated(connections, "http://127.0.0.1:1")
    err = capsys.readouterr().err
    assert "Claude Code still points to another address" in err
    assert "dragoman connect --update" in err
    (user.home.data / "agents" / "manifest.json").write_text("{")
    note_outdated(connections, "http://127.0.0.1:1")
    assert "Agents: " in capsys.readouterr().err
