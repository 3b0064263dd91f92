import msgspec
import pytest

from app.cli import connect as command
from app.cli.connect import parse_roles
from app.clients import AGENTS
from tests.cli.conftest import ORIGINAL
from tests.cli.fake_instance import model


@pytest.fixture
def typed(monkeypatch):
    """Somebody sits at the terminal and answers each question the same."""

    def answer(words):
        monkeypatch.setattr(command, "is_terminal", lambda stream: True)
        monkeypatch.setattr("typer.confirm", lambda *_, **__: words == "yes")

    return answer


def test_the_exact_change_is_shown_and_written_after_a_yes(user, fake, dragoman, typed):
    typed("yes")
    code, out, err = dragoman("connect", "claude", "--model", "demo-chat")
    assert code == 0
    assert f"--- {user.settings}\n+++ {user.settings}\n" in out
    assert '-  "theme": "dark"\n+  "theme": "dark",\n' in out
    assert f'+    "ANTHROPIC_BASE_URL": "http://127.0.0.1:{fake.port}"' in out
    assert out.endswith("claude: done.\n")
    assert "Note: " in err
    assert f"127.0.0.1:{fake.port}" in user.settings.read_text()


def test_a_no_writes_nothing(user, fake, dragoman, typed):
    typed("no")
    code, out, _ = dragoman("connect", "claude")
    assert code == 1
    assert "nothing was written" in out
    assert user.settings.read_text() == ORIGINAL


def test_where_nobody_can_be_asked_nothing_is_written_without_yes(user, fake, dragoman):
    code, _, err = dragoman("connect", "claude")
    assert code == 1
    assert "--yes" in err
    assert user.settings.read_text() == ORIGINAL
    assert dragoman("connect", "claude", "--yes").code == 0
    assert user.settings.read_text() != ORIGINAL


@pytest.mark.parametrize("more", [(), ("--yes",), ("--json",), ("--json", "--yes")])
def test_a_dry_run_writes_nothing_whatever_else_is_said(user, fake, dragoman, more):
    code, out, _ = dragoman("connect", "claude", "--dry-run", *more)
    assert code == 0
    assert "ANTHROPIC_BASE_URL" in out
    assert user.settings.read_text() == ORIGINAL
    assert not (user.home.data / "agents").exists()


def test_json_shows_the_plan_and_writes_only_with_yes(user, fake, dragoman):
    planned = msgspec.json.decode(dragoman("connect", "claude", "--json").out)["agents"]
    assert [entry["state"] for entry in planned] == ["planned"]
    assert planned[0]["files"][0]["path"] == str(user.settings)
    assert planned[0]["files"][0]["diff"].startswith("--- ")
    assert user.settings.read_text() == ORIGINAL
    written = msgspec.json.decode(dragoman("connect", "claude", "--json", "--yes").out)["agents"]
    assert [entry["state"] for entry in written] == ["written"]
    assert user.settings.read_text() != ORIGINAL


def test_connecting_twice_is_connecting_once(user, fake, dragoman):
    dragoman("connect", "claude", "--yes")
    once = user.settings.read_bytes()
    code, out, _ = dragoman("connect", "claude", "--yes")
    assert (code, out) == (0, "claude: is as it should be.\n")
    assert user.settings.read_bytes() == once


def test_roles_get_models_of_their_own(user, fake, dragoman):
    dragoman("connect", "claude", "-m", "big", "--role", "small=little", "--yes")
    text = user.settings.read_text()
    assert '"ANTHROPIC_MODEL": "big"' in text
    assert '"ANTHROPIC_DEFAULT_HAIKU_MODEL": "little"' in text


def test_a_model_that_is_not_served_is_warned_of(user, fake, dragoman):
    _, _, err = dragoman("connect", "claude", "-m", "nonsense", "--dry-run")
    assert "nonsense is not among the models" in err
    _, _, err = dragoman("connect", "claude", "-m", "demo-chat", "--dry-run")
    assert "not among" not in err


def test_models_that_are_served_are_given_to_agents_with_a_list(user, fake, dragoman):
    entry = model("big", "demo") | {"max_input_tokens": 1_000, "max_tokens": 100}
    fake.answers["GET /v1/models"] = {"object": "list", "data": [entry]}
    _, out, _ = dragoman("connect", "opencode", "-m", "big", "--dry-run")
    assert '"context": 1000' in out


def test_without_an_instance_the_port_of_the_settings_is_taken(user, home, dragoman):
    home.config.mkdir(parents=True)
    home.config_file.write_text("server: {port: 9123}\n")
    code, out, err = dragoman("connect", "claude", "--dry-run")
    assert code == 0
    assert "http://127.0.0.1:9123" in out
    assert "does not run now" in err


def test_a_broken_file_is_an_error_with_its_place(user, fake, dragoman):
    user.settings.write_text('{\n  "a" 1\n}\n')
    code, out, err = dragoman("connect", "claude", "--yes")
    assert (code, out) == (1, "")
    assert f"error: {user.settings}:2: " in err
    assert "left as it is" in err


def test_all_takes_what_is_installed_and_one_failure_does_not_stop_the_others(user, fake, dragoman):
    codex = user.folder / ".codex"
    codex.mkdir()
    (codex / "config.toml").write_text("a = [\n")
    (user.folder / ".config" / "crush").mkdir(parents=True)
    answer = dragoman("connect", "--all", "-m", "demo-chat", "--yes", "--json")
    results = {r["agent"]: r for r in msgspec.json.decode(answer.out)["agents"]}
    assert answer.code == 1
    assert {name: r["state"] for name, r in results.items()} == {
        "claude": "written",
        "codex": "failed",
        "crush": "written",
    }
    assert results["codex"]["error"]["code"] == "configuration_error"


def test_all_gives_each_agent_only_the_roles_that_it_has(user, fake, dragoman):
    (user.folder / ".codex").mkdir()
    words = ("connect", "--all", "-m", "a", "--role", "small=b", "--yes", "--json")
    answer = dragoman(*words)
    assert answer.code == 0
    assert "b" not in (user.folder / ".codex" / "config.toml").read_text().split('"')


def test_agents_are_listed_with_what_is_known_of_them(user, fake, dragoman):
    dragoman("connect", "claude", "--yes")
    lines = dragoman("connect").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(AGENTS)
    states = {line.split()[0]: line for line in lines[1:]}
    assert states["claude"].endswith("connected")
    assert states["codex"].endswith("not found")
    assert states["cursor"].endswith("by hand")


def test_the_list_tells_what_somebody_else_changed(user, fake, dragoman):
    dragoman("connect", "claude", "--yes")
    text = user.settings.read_text().replace(f"127.0.0.1:{fake.port}", "gateway.example")
    user.settings.write_text(text)
    (line,) = [x for x in dragoman("connect").out.splitlines() if x.startswith("claude")]
    assert "overridden: env.ANTHROPIC_BASE_URL" in line
    described = msgspec.json.decode(dragoman("connect", "--json").out)
    entry = next(agent for agent in described["agents"] if agent["name"] == "claude")
    assert entry["files"][0]["state"] == "overridden"
    assert user.settings.read_text() == text


def test_the_list_tells_of_an_old_port(user, fake, home, dragoman):
    dragoman("connect", "claude", "--yes")
    fake.close()
    home.config.mkdir(parents=True, exist_ok=True)
    home.config_file.write_text("server: {port: 9123}\n")
    (line,) = [x for x in dragoman("connect").out.splitlines() if x.startswith("claude")]
    assert "connect again to update it" in line
    dragoman("connect", "claude", "--yes")
    assert "9123" in user.settings.read_text()


@pytest.mark.parametrize(
    "words", [("cursor",), ("nonsense",), ("codex", "--role", "small=x"), ("zed",)]
)
def test_what_cannot_be_done_is_said_with_a_way_on(user, fake, dragoman, words):
    code, out, err = dragoman("connect", *words, "--yes")
    assert (code, out) == (1, "")
    assert "\nhint: " in err


@pytest.mark.parametrize(
    "words",
    [("claude", "--all"), ("claude", "--role", "small"), ("claude", "--role", "big=x")],
)
def test_wrong_words_are_exit_code_two(user, fake, dragoman, words):
    assert dragoman("connect", *words).code == 2


def test_roles_are_read_from_words():
    assert parse_roles("a", ["small=b", "planning=c=d"]) == {
        "main": "a",
        "small": "b",
        "planning": "c=d",
    }
    for roles in (["small"], ["small="], ["large=x"], ["main=b"]):
        with pytest.raises(command.typer.BadParameter):
            parse_roles("a", roles)


@pytest.fixture
def moved(user, fake, dragoman):
    """Two agents that were connected to a port which is not the one of now."""
    (user.folder / ".codex").mkdir()
    dragoman("connect", "claude", "-m", "big", "--role", "small=little", "--yes")
    dragoman("connect", "codex", "--yes")
    manifest = user.home.data / "agents" / "manifest.json"
    former = f"127.0.0.1:{fake.port}", "127.0.0.1:1"
    for file in (manifest, user.settings, user.folder / ".codex" / "config.toml"):
        file.write_text(file.read_text().replace(*former))
    return user


def test_an_update_points_agents_to_the_new_port_and_keeps_their_models(moved, fake, dragoman):
    before = moved.settings.read_text()
    code, out, _ = dragoman("connect", "--update", "--dry-run")
    assert code == 0
    assert f'+    "ANTHROPIC_BASE_URL": "http://127.0.0.1:{fake.port}"' in out
    assert moved.settings.read_text() == before
    code, out, _ = dragoman("connect", "--update", "--yes", "--json")
    results = msgspec.json.decode(out)["agents"]
    assert [(r["agent"], r["state"]) for r in results] == [
        ("claude", "written"),
        ("codex", "written"),
    ]
    assert moved.settings.read_text() == before.replace("127.0.0.1:1", f"127.0.0.1:{fake.port}")
    assert dragoman("connect", "--update", "--yes").out == "There is nothing to do.\n"


def test_an_update_asks_before_it_writes(moved, fake, dragoman, typed):
    before = moved.settings.read_text()
    typed("no")
    assert dragoman("connect", "--update").code == 1
    assert moved.settings.read_text() == before


@pytest.mark.parametrize(
    "words", [("claude", "--update"), ("--all", "--update"), ("--update", "-m", "x")]
)
def test_an_update_takes_neither_names_nor_models(user, fake, dragoman, words):
    assert dragoman("connect", *words).code == 2
