import itertools
import re
import stat
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from app import config as models
from app.config import Account, Capability, Config, CredentialCommand, Pace, Pattern, Provider
from app.configfile import (
    REMOVE,
    Located,
    edit_keys,
    init_text,
    load_file,
    locate,
    part,
    read,
    with_part,
)
from app.configledger import Price
from app.configrules import Action, Condition, Rule
from app.configtext import load
from app.errors import ConfigError
from app.yamltree import parse_yaml

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "config.yaml"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


# Where it is


def test_option_goes_before_variable_and_variable_before_the_default(tmp_path):
    env = {"DRAGOMAN_CONFIG": str(tmp_path / "env.yaml"), "DRAGOMAN_HOME": str(tmp_path)}
    assert locate(tmp_path / "cli.yaml", env) == Located(tmp_path / "cli.yaml", "option")
    assert locate(None, env) == Located(tmp_path / "env.yaml", "environment")
    del env["DRAGOMAN_CONFIG"]
    assert locate(None, env) == Located(tmp_path / "config" / "config.yaml", "default")


def test_named_file_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locate("my.yaml", {}).path == tmp_path / "my.yaml"
    assert locate("~/my.yaml", {}).path == Path("~/my.yaml").expanduser()


# Reading


def test_missing_file_is_empty_at_the_default_place_only(file):
    assert read(Located(file, "default")) == ""
    for why, source in (("option", "--config"), ("environment", "DRAGOMAN_CONFIG")):
        with pytest.raises(ConfigError, match=f"does not exist, and {source} names it"):
            read(Located(file, why))


def test_byte_order_mark_is_no_part_of_the_text(file):
    file.write_bytes(b"\xef\xbb\xbfserver: {port: 1}\n")
    assert load_file(Located(file, "default"), {}).server.port == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"a: \xff", "not UTF-8"), (b"#" * 1_000_001, "longer than")],
)
def test_file_that_is_no_text_is_reported_with_its_name(file, content, words):
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read(Located(file, "default"))
    assert words in str(caught.value)
    assert str(file) in str(caught.value)


def test_folder_in_place_of_the_file_is_reported(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read(Located(tmp_path, "option"))


@posix
def test_file_with_a_secret_is_made_private_when_read(file):
    file.write_text("providers: {openai: {api_key: secret}}")
    file.chmod(0o644)
    load_file(Located(file, "default"), {})
    assert mode(file) == 0o600


@posix
def test_file_without_secrets_keeps_its_mode(file):
    file.write_text("providers: {openai: {api_key: '${KEY}'}}")
    file.chmod(0o644)
    load_file(Located(file, "default"), {})
    assert mode(file) == 0o644


def test_faults_name_the_file(file):
    file.write_text("server: {port: x}")
    with pytest.raises(ConfigError) as caught:
        load_file(Located(file, "default"), {})
    assert caught.value.problems[0].file == str(file)


# The first file


def test_first_file_is_valid_and_means_the_defaults():
    assert load(init_text(), "f", {}) == Config()


def field_paths(model, path=()):
    for name, info in model.model_fields.items():
        here = (*path, info.alias or name)
        yield here
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from field_paths(info.annotation, here)


def test_first_file_holds_every_key():
    written = parse_yaml(init_text()).lines
    assert [path for path in field_paths(Config) if path not in written] == []


def test_every_key_of_the_first_file_has_a_comment_above_it():
    lines = init_text().splitlines()
    bare = [
        line
        for above, line in itertools.pairwise(lines)
        if re.match(r"\s*[a-z_]+:", line) and not above.lstrip().startswith("#")
    ]
    assert bare == []


def uncommented():
    """The first file with its examples made live."""
    lines = []
    example = ""
    for line in init_text().splitlines():
        marker = re.match(r"( *)# For example:$", line)
        if marker:
            example = marker[1] + "#   "
            lines[-1] = re.sub(r": (\{\}|\[\])$", ":", lines[-1])
        elif example and line.startswith(example):
            lines.append(marker_indent(example) + line.removeprefix(example))
        else:
            example = ""
            lines.append(line)
    return "\n".join(lines)


def marker_indent(example):
    return " " * (example.index("#") + 2)


def test_examples_of_the_first_file_are_valid_and_show_every_field():
    from app.yamltree import parse_yaml

    text = uncommented()
    config = load(text, "f", {})
    assert set(config.providers) == {"openrouter", "openai"}
    assert config.models.aliases
    assert config.models.chains
    tree = parse_yaml(text).value

    def names(model):
        return {info.alias or name for name, info in model.model_fields.items()}

    assert set(tree["providers"]["openrouter"]) == names(Provider)
    assert set(tree["providers"]["openrouter"]["pace"]) == names(Pace)
    work, home = tree["providers"]["openai"]["accounts"]
    assert set(work) == set(home) == names(Account)
    assert set(home["credential_command"]) == names(CredentialCommand)
    assert set(tree["models"]["patterns"][0]) == names(Pattern)
    rule = tree["models"]["rules"][0]
    assert set(rule) == names(Rule)
    assert set(rule["when"]) == names(Condition)
    assert set(rule["then"]) == names(Action)
    assert set(tree["models"]["capabilities"]["my-model"]) == names(Capability)


def test_every_model_is_in_the_first_file():
    shown = {Config, Provider, Account, Pace, Pattern, Capability, CredentialCommand, Price}
    shown |= {type(value) for _, value in Config() if isinstance(value, BaseModel)}
    shown |= {type(value) for _, value in Config().services}
    defined = {
        value
        for value in vars(models).values()
        if isinstance(value, type) and issubclass(value, BaseModel) and value.model_fields
    }
    assert defined == shown


# Editing

COMMENTED = """\
# my settings
server:
    port: 9000   # because

providers:
    openai:
        accounts:
        -   label: "work"   # quoted
            api_key: '${WORK}'
unknown_section:
    kept: [1,   2]
"""


def test_edit_keeps_comments_quotes_order_and_unknown_keys(file):
    file.write_text(COMMENTED)
    edit_keys(file, {"server.port": 9001})
    text = file.read_text()
    assert "port: 9001   # because" in text
    for kept in ("# my settings", '"work"   # quoted', "'${WORK}'", "unknown_section:", "kept: [1"):
        assert kept in text
    assert text.index("server") < text.index("providers") < text.index("unknown_section")


def test_edit_makes_missing_sections_and_files(file):
    edit_keys(file, {"server.port": 9001, "models.aliases.fast": "gpt-5-mini"})
    config = load_file(Located(file, "default"), {})
    assert (config.server.port, config.models.aliases) == (9001, {"fast": "gpt-5-mini"})


@posix
def test_edited_file_is_private(file):
    file.write_text("server: {port: 1}\n")
    file.chmod(0o644)
    edit_keys(file, {"server.port": 2})
    assert mode(file) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["config.yaml"]


def test_key_with_dots_is_named_by_its_parts(file):
    edit_keys(file, {("models", "aliases", "gpt-4.1"): "gpt-5"})
    assert load_file(Located(file, "default"), {}).models.aliases == {"gpt-4.1": "gpt-5"}


def test_entry_of_a_list_is_edited_by_its_position(file):
    file.write_text(COMMENTED.partition("unknown")[0])
    edit_keys(file, {"providers.openai.accounts.0.enabled": False})
    (account,) = load_file(Located(file, "default"), {}).providers["openai"].accounts
    assert (account.label, account.enabled) == ("work", False)


def test_key_is_taken_out_and_a_missing_one_is_no_error(file):
    file.write_text("server: {port: 1, host: loopback}\n")
    edit_keys(file, {"server.port": REMOVE, "ledger.bodies": REMOVE, "server.none": REMOVE})
    assert file.read_text() == "server: {host: loopback}\n"


def test_last_key_can_be_taken_out(file):
    file.write_text("server: {port: 1}\n")
    edit_keys(file, {"server": REMOVE})
    assert load_file(Located(file, "default"), {}) == Config()


def test_comments_of_an_otherwise_empty_file_are_kept(file):
    file.write_text("# only a note\n")
    edit_keys(file, {"server.port": 1})
    assert file.read_text() == "# only a note\n\nserver:\n  port: 1\n"


def test_empty_section_is_filled(file):
    file.write_text("server:   # later\n")
    edit_keys(file, {"server.port": 1})
    assert load_file(Located(file, "default"), {}).server.port == 1
    assert "# later" in file.read_text()


def test_line_ends_of_windows_are_kept(file):
    file.write_bytes(b"server:\r\n  port: 1 # x\r\n")
    edit_keys(file, {"server.port": 2})
    assert file.read_bytes() == b"server:\r\n  port: 2 # x\r\n"


def test_long_lines_stay_whole(file):
    long = "models:\n  default: " + "x" * 60 + " # " + "word " * 60 + "end\nserver: {port: 1}\n"
    file.write_text(long)
    edit_keys(file, {"server.port": 2})
    assert file.read_text() == long.replace("port: 1", "port: 2")


def test_first_file_can_be_edited_without_losing_a_line(file):
    file.write_text(init_text())
    edit_keys(file, {"server.port": 9000})
    before, after = init_text().splitlines(), file.read_text().splitlines()
    changed = [
        (old, new) for old, new in zip(before, after, strict=True) if old.strip() != new.strip()
    ]
    assert changed == [("  port: 8317", "  port: 9000")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"server.port": "many"}, "expected a whole number"),
        ({"server.prt": 1}, "did you mean port?"),
        ({"server.port.deep": 1}, "a single value stands above it"),
        ({"access.hosts.7": "a"}, "there is no such entry"),
    ],
)
def test_change_that_would_be_a_fault_is_refused_and_nothing_written(file, changes, words):
    text = "server: {port: 1}\naccess: {hosts: [a]}\n"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        edit_keys(file, changes)
    assert words in str(caught.value)
    assert str(file) in str(caught.value)
    assert file.read_text() == text


def test_old_faults_do_not_prevent_an_edit(file):
    file.write_text("# x\n\nservr: {}\nledger: {bodies: maybe}\n")
    edit_keys(file, {"logging.level": "debug"})
    assert "level: debug" in file.read_text()
    assert "servr" in file.read_text()


@pytest.mark.parametrize("text", ["server: [\n", "- a\n"])
def test_text_that_has_no_keys_is_not_edited(file, text):
    file.write_text(text)
    with pytest.raises(ConfigError, match="no key was changed"):
        edit_keys(file, {"server.port": 1})
    assert file.read_text() == text


@posix
def test_linked_file_is_edited_where_it_is(tmp_path, file):
    (tmp_path / "dots").mkdir()
    (tmp_path / "dots" / "c.yaml").write_text("server: {port: 1}\n")
    file.symlink_to(tmp_path / "dots" / "c.yaml")
    edit_keys(file, {"server.port": 2})
    assert file.is_symlink()
    assert (tmp_path / "dots" / "c.yaml").read_text() == "server: {port: 2}\n"


# Reload


async def test_valid_change_is_swapped_whole_and_an_invalid_one_keeps_the_old(io_loop, file):
    import asyncio
    import os

    from app.watch import Watcher

    located = Located(file, "default")
    file.write_text("server: {port: 1}\n")
    current = [load_file(located, {})]
    seen = asyncio.Queue()

    def reload():
        try:
            current[0] = load_file(located, {})
        except ConfigError as error:
            seen.put_nowait(error)
        else:
            seen.put_nowait(None)

    async def save(text):
        (file.parent / "new").write_text(text)
        os.replace(file.parent / "new", file)
        return await asyncio.wait_for(seen.get(), 10)

    watcher = Watcher(file, reload, settle_s=0.02)
    assert watcher.start()
    try:
        first = current[0]
        assert isinstance(await save("server: {port: 2}\nledger: {bodies: maybe}\n"), ConfigError)
        assert current[0] is first  # not even the valid half
        assert await save("server: {port: 2}\nledger: {bodies: true}\n") is None
        assert (current[0].server.port, current[0].ledger.bodies) == (2, True)
        assert first.server.port == 1
    finally:
        watcher.close()


# A part of the settings as a text of its own.

PARTED = """\
# top
models:
  default: x   # def
  # before the rules
  rules:
    # the first
    - name: a  # one
      when: {model: b}
      then: {model: c}
  aliases: {f: g}
  # last words
ledger: {bodies: false}
"""
KEYS = ("aliases", "rules", "chains")


def test_a_part_put_back_changes_nothing():
    text = part(Path("f"), PARTED, "models", KEYS)
    assert "# the first" in text
    assert "default" not in text
    assert with_part(Path("f"), PARTED, "models", KEYS, text) == PARTED


def test_a_part_is_replaced_with_its_comments_and_the_rest_stays():
    new = "rules:\n  # hello\n  - {name: z, then: {}}  # eol\n"
    text = with_part(Path("f"), PARTED, "models", KEYS, new)
    assert "# hello" in text
    assert "# eol" in text
    assert "# the first" not in text
    assert "aliases" not in text
    for kept in ("# top\n", "default: x   # def\n", "ledger: {bodies: false}\n"):
        assert kept in text


@pytest.mark.parametrize("before", ["", "# only words\n", "ledger: {bodies: false}\n", "models:\n"])
def test_a_part_makes_its_section_and_takes_it_out_again(before):
    with_it = with_part(Path("f"), before, "models", KEYS, "chains: {a: [b]}\n")
    assert load(with_it, "f", {}).models.chains == {"a": ("b",)}
    assert with_it.startswith(before.removesuffix("models:\n"))
    without = with_part(Path("f"), with_it, "models", KEYS, "")
    assert "chains" not in without
    assert load(without, "f", {}) == load(before, "f", {})


@pytest.mark.parametrize("wanted", ["extensions: [own.py]", "- a", "a: [", "default: x"])
def test_a_part_with_other_keys_is_refused(wanted):
    with pytest.raises(ConfigError):
        with_part(Path("f"), PARTED, "models", KEYS, wanted)
