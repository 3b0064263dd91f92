"""The settings file: which one it is, reading it, a first one with every key, and editing keys."""

from __future__ import annotations

import io
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

import msgspec
from pydantic import BaseModel

from app.config import Account, Capability, Config, Pattern, Provider
from app.configledger import Budget, Price
from app.configrules import Rule
from app.configtext import load
from app.errors import ConfigError, ConfigProblem
from app.paths import Paths, write_private

__all__ = [
    "REMOVE",
    "Located",
    "Removal",
    "edit_keys",
    "init_text",
    "load_file",
    "locate",
    "part",
    "read",
    "render_value",
    "with_part",
]


_MAX_BYTES = 1_000_000
"""As ``app.yamltree.MAX_BYTES``, which is not imported without need: it brings the YAML library."""


@dataclass(frozen=True, slots=True)
class Located:
    """The settings file in use. ``why``: named by ``--config``, by the environment, or neither."""

    path: Path
    why: Literal["option", "environment", "default"]


class Removal:
    """The type of ``REMOVE``."""


REMOVE = Removal()
"""As a value for ``edit_keys``: take the key out."""

KeyName: TypeAlias = str | tuple[str | int, ...]
"""``a.b.c``, or the parts where one of them holds a dot; list positions as numbers."""


def locate(cli_path: str | Path | None, env: Mapping[str, str]) -> Located:
    """Say which file holds the settings: ``--config``, then ``DRAGOMAN_CONFIG``, then the default.

    Nothing is read; the file may not exist.
    """
    if cli_path is not None:
        return Located(Path(cli_path).expanduser().absolute(), "option")
    if named := env.get("DRAGOMAN_CONFIG"):
        return Located(Path(named).expanduser().absolute(), "environment")
    return Located(Paths.find(env).config_file, "default")


def read(located: Located) -> str:
    """Return the text of the settings; empty when nothing is at the default place.

    Raises:
        ConfigError: a file that was named does not exist, or a file cannot be read, is longer than
            a megabyte, or is not UTF-8.
    """
    path = located.path
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        if located.why == "default":
            return ""
        source = "--config" if located.why == "option" else "DRAGOMAN_CONFIG"
        raise _fault(path, f"does not exist, and {source} names it") from None
    except OSError as error:
        raise _fault(path, f"cannot be read: {error.strerror or error}") from error
    if len(content) > _MAX_BYTES:
        raise _fault(path, f"is longer than {_MAX_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _fault(path, "is not UTF-8 text") from None  # the cause would repeat the content


def load_file(located: Located, env: Mapping[str, str]) -> Config:
    """Read the settings in use; a file that holds a secret is made private (0600) where possible.

    Raises:
        ConfigError: with every fault of the file and of the overrides in ``env``.
    """
    config = load(read(located), str(located.path), env)
    if any(ref.literal for _, ref in config.secrets()):
        with suppress(OSError):  # a read-only mount, or another owner: `warnings` still tells
            if stat.S_IMODE(located.path.stat().st_mode) & 0o077:
                located.path.chmod(0o600)
    return config


def _fault(path: Path, message: str) -> ConfigError:
    return ConfigError([ConfigProblem(str(path), 0, "", message)])


# A first file with every key.

_HEAD = """\
# Settings of Dragoman. Every key is here with its default; a key that is left out has that default.
# A change holds as soon as the file is saved. `dragoman config check` says what is wrong with it.
# `dragoman help configuration` says of each key what it takes, and why it has its default.
#
# Secrets are best kept out of this file: `dragoman login PROVIDER` puts them into the vault, and
# "${NAME}" refers to an environment variable (in api_key, headers and proxy).
# DRAGOMAN_SECTION__KEY in the environment overrides a key: DRAGOMAN_SERVER__PORT=9000.
"""

_EXAMPLES: dict[str, tuple[tuple[str | None, type[BaseModel] | None, dict[str, Any]], ...]] = {
    "providers": (
        (
            "openrouter",
            Provider,
            {
                "kind": "compatible",
                "dialect": "openai_chat",
                "base_url": "https://openrouter.ai/api/v1",
                "api_key": "${OPENROUTER_API_KEY}",
                "pace": {"at_once": 4, "per_minute": 30},
            },
        ),
        (
            "openai",
            None,
            {
                "accounts": [
                    (Account, {"label": "work", "api_key": "${OPENAI_WORK}"}),
                    (
                        Account,
                        {
                            "label": "home",
                            "credential_command": {
                                "command": ["op", "read", "op://private/openai/key"]
                            },
                        },
                    ),
                ]
            },
        ),
    ),
    "models.aliases": (("fast", None, {"": "gpt-5-mini"}),),
    "models.patterns": (
        (
            None,
            Pattern,
            {"match": "gemini-.*-aistudio$", "provider": "aistudio", "priority": 10},
        ),
    ),
    "models.capabilities": (
        (
            "my-model",
            Capability,
            {"context": 128000, "tools": True, "images": False, "reasoning": "none"},
        ),
    ),
    "models.prices": (("my-model", Price, {"input": 0.5, "output": 2}),),
    "models.chains": (("careful", None, {"": ["claude-sonnet-4-5", "gpt-5"]}),),
    "models.moves": (("careful", None, {"": {"gpt-5": ["quota", "timeout", "too_long"]}}),),
    "models.rules": (
        (
            None,
            Rule,
            {
                "name": "long prompts of Claude Code",
                "when": {
                    "model": "claude-*",
                    "tokens": {"over": 60000},
                    "client": "claude",
                },
                "then": {"model": "gemini-2.5-pro", "remove": ["service_tier"]},
            },
        ),
    ),
    "models.strategies": (("openai", None, {"": "round_robin"}),),
    "models.weights": (("openai/work", None, {"": 3}),),
    "ledger.budgets": (
        (None, Budget, {"name": "all", "usd": 50}),
        (None, Budget, {"name": "nightly", "tokens": 2_000_000, "per": "day", "key": "ci"}),
    ),
}
"""Key path → entries shown below an empty mapping or list: name (None: a list's entry), the model
whose fields are all shown, and the values that differ from its defaults. The key "" stands for the
entry's own value."""


def init_text() -> str:
    """Return a settings file that holds every key with its default and a comment.

    The text is made from the models, so that it cannot fall behind them. Entries of mappings and
    lists, which are empty by default, are shown as commented examples.
    """
    lines = [*_HEAD.splitlines()]
    for name, info in Config.model_fields.items():
        model = _model_of(info.annotation)
        lines.append("")
        if model is None:
            lines += [f"# {info.description}", f"{name}: {{}}", *_examples(name, "  ")]
        else:
            lines += [f"# {_first_line(model)}", f"{name}:"]
            lines += _render_fields(model, info.default, name, "  ")
    return "\n".join(lines) + "\n"


def _render_fields(model: type[BaseModel], values: Any, path: str, indent: str) -> Iterator[str]:
    """Yield the lines of a model's fields; ``values`` is an instance, or a mapping by key."""
    for name, info in model.model_fields.items():
        key = info.alias or name
        nested = _model_of(info.annotation)
        if isinstance(values, BaseModel):
            value = getattr(values, name)
        else:
            value = values.get(key, info.default)
        yield f"{indent}# {info.description}"
        if nested is not None and isinstance(value, BaseModel | dict):
            yield f"{indent}{key}:"
            yield from _render_fields(nested, value, f"{path}.{key}", f"{indent}  ")
        else:
            yield f"{indent}{key}: {render_value(value)}"
            yield from _examples(f"{path}.{key}", indent)


def _examples(path: str, indent: str) -> Iterator[str]:
    if path not in _EXAMPLES:
        return
    yield f"{indent}# For example:"
    for name, model, values in _EXAMPLES[path]:
        for line in _render_example(name, model, values):
            yield f"{indent}#   {line}"


def _render_example(
    name: str | None, model: type[BaseModel] | None, values: dict[str, Any]
) -> Iterator[str]:
    if "" in values:
        yield f"{name}: {render_value(values[''])}"
    elif model is None:
        yield f"{name}:"
        for key, entries in values.items():
            yield f"  {key}:"
            for entry_model, entry in entries:
                yield from _as_entry(_render_fields(entry_model, entry, "", ""), "    ")
    elif name is None:
        yield from _as_entry(_render_fields(model, values, "", ""), "")
    else:
        yield f"{name}:"
        yield from _render_fields(model, values, "", "  ")


def _as_entry(lines: Iterator[str], indent: str) -> Iterator[str]:
    for i, line in enumerate(lines):
        yield f"{indent}{'  ' if i else '- '}{line}"


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().partition("\n")[0]


def _model_of(annotation: Any) -> type[BaseModel] | None:
    for part in get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ():
        if part is not NoneType:
            annotation = part
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_model else None


def render_value(value: Any) -> str:
    """Return a value as YAML's flow form; text is quoted unless it is a plain word."""
    match value:
        case str():
            plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", value)
            return (
                value
                if plain and value not in ("null", "true", "false")
                else msgspec.json.encode(value).decode()
            )
        case float() if value.is_integer():
            return str(int(value))
        case Mapping():
            return f"{{{', '.join(f'{k}: {render_value(v)}' for k, v in value.items())}}}"
        case tuple() | list():
            return f"[{', '.join(render_value(item) for item in value)}]"
        case _:
            return msgspec.json.encode(value).decode()


# Editing.


def edit_keys(
    path: Path, changes: Mapping[KeyName, Any], env: Mapping[str, str] | None = None
) -> None:
    """Set keys of a settings file, keeping comments, order, quotes and keys that are not known.

    The file is replaced in one step with mode 0600, and created when it is missing. It may have
    faults already; a change that would add one is refused.

    Args:
        path: the file.
        changes: key → plain value (text, number, bool, None, list, dict), or ``REMOVE``. Missing
            sections are made.
        env: overrides to check the result under; none by default.

    Raises:
        ConfigError: the file is no YAML mapping, or a change is wrong. The file is then untouched.
        OSError: the file cannot be written.
    """
    before = read(Located(path, "default"))
    newline = "\r\n" if "\r\n" in before else "\n"
    text = before.replace("\r\n", "\n")
    after = _edited(path, text, changes)
    old = _faults(text, env)
    added = [problem for key, problem in _faults(after, env).items() if key not in old]
    if added:
        raise ConfigError([_named(problem, path) for problem in added])
    write_private(path, after.replace("\n", newline).encode())


def _edited(path: Path, text: str, changes: Mapping[KeyName, Any]) -> str:
    yaml, tree = _round_trip(path, text)
    target = _empty() if tree is None else tree
    for name, value in changes.items():
        _set(path, target, tuple(name.split(".")) if isinstance(name, str) else name, value)
    return _written(yaml, text, tree, target)


def _written(yaml: Any, text: str, tree: Any, target: Any) -> str:
    out = io.StringIO()
    if target:
        yaml.dump(target, out)
    if tree is None and text.strip():  # comments alone: the reader gives nothing to hang them on
        return text.rstrip("\n") + "\n\n" + out.getvalue()
    return out.getvalue()


def part(path: Path, text: str, section: str, keys: Sequence[str]) -> str:
    """Return some keys of a section as a text of their own, comments included.

    Raises:
        ConfigError: the text is no YAML mapping.
    """
    yaml, tree = _round_trip(path, text)
    found = (tree or {}).get(section)
    chosen = _empty()
    if isinstance(found, dict):
        for key in (key for key in found if key in keys):
            chosen[key] = found[key]
            _take_comments(chosen, found, key)
    out = io.StringIO()
    if chosen:
        yaml.dump(chosen, out)
    return out.getvalue()


def with_part(path: Path, text: str, section: str, keys: Sequence[str], wanted: str) -> str:
    """Return a text with some keys of a section as another text has them; what lacks is taken out.

    Args:
        path: the file, for messages.
        text: of the settings.
        section: whose keys they are.
        keys: that may be in ``wanted``.
        wanted: the keys as ``part`` returns them, comments included.

    Raises:
        ConfigError: a text is no YAML mapping, or ``wanted`` has other keys.
    """
    yaml, tree = _round_trip(path, text)
    new = _round_trip(path, wanted)[1] or _empty()
    if others := [key for key in new if key not in keys]:
        problem = f"is not one of {', '.join(keys)}"
        raise ConfigError([ConfigProblem("", 0, str(others[0]), problem)])
    target = _empty() if tree is None else tree
    if not isinstance(target.get(section), dict):
        target[section] = _empty()
    held = target[section]
    for key in keys:
        if key not in new:
            held.pop(key, None)
            continue
        held[key] = new[key]
        _take_comments(held, new, key)
    if not held:
        del target[section]
    return _written(yaml, text, tree, target)


def _take_comments(tree: Any, other: Any, key: str) -> None:
    """Take over the comments right behind a key: they hang on the key, not on what it holds."""
    tree.ca.items.pop(key, None)
    if key in other.ca.items:
        tree.ca.items[key] = other.ca.items[key]


def _empty() -> Any:
    from ruamel.yaml.comments import CommentedMap

    return CommentedMap()


def _round_trip(path: Path, text: str) -> tuple[Any, Any]:
    """Return a YAML reader and writer that keeps comments, and what it reads of a text."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
    from ruamel.yaml.representer import RoundTripRepresenter

    class Representer(RoundTripRepresenter):
        """Writes null as a word, as the first file has it; the library would leave a blank."""

        def represent_none(self, data: None) -> Any:
            return self.represent_scalar("tag:yaml.org,2002:null", "null")

    Representer.add_representer(type(None), Representer.represent_none)

    yaml = YAML(typ="rt")
    yaml.Representer = Representer
    yaml.preserve_quotes = True
    yaml.width = 10_000  # long lines stay whole
    mapping, sequence, offset = _indents(text)
    yaml.indent(mapping=mapping, sequence=sequence, offset=offset)
    try:
        tree = yaml.load(text)
    except YAMLError as error:
        raise _fault(path, "is not valid YAML, so no key was changed") from error
    if tree is not None and not isinstance(tree, dict):
        raise _fault(path, "holds no sections, so no key was changed")
    return yaml, tree


def _indents(text: str) -> tuple[int, int, int]:
    """Return the steps that a text indents by, as its first mapping and first list show them.

    Returns:
        Spaces before a mapping's keys, before a list entry's text, and before its dash, each
        counted from the key above; this project's own steps where the text has none.
    """
    mapping, sequence, offset = 2, 4, 2
    if nested := re.search(
        r"^( *)[^\s#-][^\n]*:[^\n]*\n(?: *(?:#[^\n]*)?\n)*\1( +)[^\s#-]", text, re.M
    ):
        mapping = len(nested[2])
    if listed := re.search(
        r"^( *)[^\s#-][^\n]*:[^\n]*\n(?: *(?:#[^\n]*)?\n)*\1( *)(- +)\S", text, re.M
    ):
        offset = len(listed[2])
        sequence = offset + len(listed[3])
    return mapping, sequence, offset


def _set(path: Path, tree: Any, parts: Sequence[str | int], value: Any) -> None:
    node = tree
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        if isinstance(node, list):
            if not str(part).isdecimal() or int(part) >= len(node):
                raise _unreachable(path, parts, "there is no such entry")
            part = int(part)
            missing = False
        elif isinstance(node, dict):
            missing = part not in node
        else:
            raise _unreachable(path, parts, "a single value stands above it")
        if last and value is REMOVE:
            if not missing:
                del node[part]
        elif last:
            node[part] = value
        else:
            if missing or node[part] is None:
                if value is REMOVE:
                    return
                node[part] = {}
            node = node[part]


def _unreachable(path: Path, parts: Sequence[str | int], message: str) -> ConfigError:
    key = ".".join(str(part) for part in parts)
    return ConfigError([ConfigProblem(str(path), 0, key, f"cannot be changed: {message}")])


def _faults(text: str, env: Mapping[str, str] | None) -> dict[tuple[str, str], ConfigProblem]:
    """Return the faults by key and message: lines move when keys are added."""
    try:
        load(text, "", env or {})
    except ConfigError as error:
        return {(problem.key, problem.message): problem for problem in error.problems}
    return {}


def _named(problem: ConfigProblem, path: Path) -> ConfigProblem:
    return ConfigProblem(problem.file or str(path), problem.line, problem.key, problem.message)
