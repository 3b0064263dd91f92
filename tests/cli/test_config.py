import stat
import sys

import msgspec
import pytest

from app.cli.config import editor_command, without_secrets
from app.configfile import init_text, locate
from app.errors import AppError

WRONG = "server: {prot: 1}\nadvanced: {demo: maybe}\n"


@pytest.fixture
def write(home):
    def call(text):
        home.config.mkdir(parents=True, exist_ok=True)
        home.config_file.write_text(text)
        return home.config_file

    return call


@pytest.fixture
def editor(tmp_path, monkeypatch):
    """Makes $EDITOR a program that runs some Python on the file, whose path is ``path``."""

    def call(code):
        script = tmp_path / "editor.py"
        script.write_text(f"import os, sys\npath = sys.argv[1]\n{code}\n")
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setenv("EDITOR", f'"{sys.executable}" "{script}"')

    return call


def test_init_writes_every_key_once(dragoman, home):
    assert dragoman("config", "init") == (0, f"Wrote {home.config_file}.\n", "")
    assert home.config_file.read_text("utf-8") == init_text()
    code, _, err = dragoman("config", "init")
    assert code == 1
    assert "--force" in err


def test_forced_init_keeps_the_old_file(dragoman, write):
    path = write("advanced: {demo: false}\n")
    assert dragoman("config", "init", "--force").code == 0
    assert path.read_text("utf-8") == init_text()
    assert path.with_name("config.yaml.old").read_text() == "advanced: {demo: false}\n"


def test_check_names_every_fault_with_its_line(dragoman, write):
    path = write(WRONG)
    code, out, err = dragoman("config", "check")
    assert (code, out) == (1, "")
    assert f"{path}:1: server.prot: unknown key" in err
    assert f"{path}:2: advanced.demo: expected true or false" in err


def test_check_as_json(dragoman, write):
    path = write(WRONG)
    code, out, _ = dragoman("config", "check", "--json")
    found = msgspec.json.decode(out)
    assert (code, found["valid"], found["path"], found["why"]) == (1, False, str(path), "default")
    assert [(p["line"], p["key"]) for p in found["problems"]] == [
        (1, "server.prot"),
        (2, "advanced.demo"),
    ]


def test_valid_settings_without_a_file(dragoman):
    code, out, err = dragoman("config", "check")
    assert (code, err) == (0, "")
    assert "the defaults hold" in out


def test_named_file_that_is_missing_is_a_fault(dragoman, tmp_path):
    code, _, err = dragoman("config", "check", "--config", str(tmp_path / "none.yaml"))
    assert code == 1
    assert "--config names it" in err


def test_warnings_do_not_fail_and_do_not_repeat_the_key(dragoman, write):
    write('providers: {openai: {api_key: "sk-literal-secret"}}\n')
    code, _, err = dragoman("config", "check")
    assert code == 0
    assert "warning: providers.openai.api_key" in err
    assert "sk-literal-secret" not in err


def test_path_says_which_file_and_why(dragoman, home, monkeypatch, tmp_path):
    assert dragoman("config", "path").out == f"{home.config_file}\n"
    monkeypatch.setenv("DRAGOMAN_CONFIG", str(tmp_path / "a.yaml"))
    assert msgspec.json.decode(dragoman("config", "path", "--json").out) == {
        "path": str(tmp_path / "a.yaml"),
        "why": "environment",
        "exists": False,
    }


def test_edit_makes_a_first_file_and_checks_the_result(dragoman, home, editor):
    editor("assert 'server:' in open(path, encoding='utf-8').read()")
    code, out, _ = dragoman("config", "edit")
    assert (code, out) == (0, f"{home.config_file} is valid.\n")


def test_edit_that_breaks_the_settings_is_told(dragoman, editor):
    editor("open(path, 'w').write('server: {prot: 1}')")
    code, _, err = dragoman("config", "edit")
    assert code == 1
    assert "server.prot" in err


def test_editor_that_fails_is_a_failure(dragoman, editor):
    editor("sys.exit(3)")
    code, _, err = dragoman("config", "edit")
    assert code == 1
    assert "exit code 3" in err


def test_editor_that_does_not_exist_is_named(dragoman, monkeypatch):
    monkeypatch.setenv("VISUAL", "no-such-editor --wait")
    code, _, err = dragoman("config", "edit")
    assert code == 1
    assert "no-such-editor" in err


@pytest.mark.parametrize("valid", [True, False])
def test_editor_does_not_get_the_secrets(dragoman, write, editor, monkeypatch, tmp_path, valid):
    monkeypatch.setenv("WORK_KEY", "sk-work")
    monkeypatch.setenv("OTHER", "kept")
    write('providers: {openai: {api_key: "${WORK_KEY}"}}\n' + ("" if valid else "wrong: 1\n"))
    seen = tmp_path / "seen"
    editor(
        f"open({str(seen)!r}, 'w').write(repr((os.environ.get('WORK_KEY'), os.environ['OTHER'])))"
    )
    assert dragoman("config", "edit").code == (0 if valid else 1)
    assert seen.read_text() == "(None, 'kept')"


def test_overrides_that_hold_secrets_are_left_out_too(home):
    env = {
        "DRAGOMAN_HOME": str(home.data.parent),
        "DRAGOMAN_PROVIDERS__OPENAI__API_KEY": "sk-x",
        "DRAGOMAN_SERVER__PORT": "1",
    }
    kept = without_secrets(env, locate(None, env))
    assert kept.keys() == {"DRAGOMAN_HOME", "DRAGOMAN_SERVER__PORT"}


@pytest.mark.skipif(sys.platform == "win32", reason="words are split in another way there")
def test_visual_comes_before_editor_and_may_have_options():
    env = {"VISUAL": "code --wait", "EDITOR": "vi"}
    assert editor_command(env) == ["code", "--wait"]
    assert editor_command({"VISUAL": " ", "EDITOR": "'my vi'"}) == ["my vi"]


def test_no_editor_at_all_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AppError) as caught:
        editor_command({})
    assert caught.value.code == "editor_missing"


def test_reload_tells_what_came_of_it(dragoman, fake):
    def after(changed, *problems):
        fake.answers["POST /admin/config/reload"] = {"changed": changed, "problems": problems}
        return dragoman("config", "reload")

    assert after(True) == (0, "The new settings are in force.\n", "")
    assert after(False) == (0, "Nothing has changed.\n", "")
    waits = after(True, "server.port holds from the next start")
    assert (waits.code, waits.err) == (0, "note: server.port holds from the next start\n")
    wrong = after(False, "server.prot: unknown key")
    assert (wrong.code, wrong.out) == (1, "")
    assert wrong.err.startswith("error: server.prot: unknown key\n")


def test_reload_without_an_instance_is_exit_code_three(dragoman):
    assert dragoman("config", "reload").code == 3


def test_schema_is_json_schema(dragoman):
    schema = msgspec.json.decode(dragoman("config", "schema").out)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert "server" in schema["properties"]


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_first_file_is_private(dragoman, home):
    dragoman("config", "init")
    assert stat.S_IMODE(home.config_file.stat().st_mode) == 0o600
