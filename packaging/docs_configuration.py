"""The page of all settings, from the models that read the file.

What a key is stands in its ``description``, and why it has its default in the comment above it: the
same texts that ``dragoman config init`` and readers of the code see. A comment holds for the fields
below it, up to the next one.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, PlainValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from app import configvalues
from app.config import AT_START, Config
from app.configfile import render_value
from app.configsecret import SecretRef
from app.configtext import load
from app.server.routes import ROUTING_KEYS
from app.server.settings import is_editable

__all__ = ["EXAMPLES", "Key", "all_keys", "reasons", "render"]

ANY_NAME = "NAME"
ANY_PLACE = "[]"

HEAD = """\
# Configuration

Every key of the settings file: what it is, what it takes, its default, and why it has that default.
[Settings](settings.md) says where the file lies, when a change holds, and how to keep secrets out
of the file. `dragoman config init` writes a file with every key; no file at all is a working set-up.

A key is written with the names that it stands below: `server.port` is `port` in the section
`server`. `NAME` stands for a name of your choice, and `[]` for each entry of a list.

- **Type** is what the key takes. `null` means: not set.
- **Default** is what holds when the key is left out.
- **Variable** is the variable of the environment that overrides the key. A list or a mapping is
  written as YAML on one line, and `null` unsets the key. In names of your choice, `-` and `.` are
  written as `_`. The number is the place in a list, which begins with 0; the entry has to be in the
  file.
- **Change** says where the key can be changed. Keys that start programs, send keys and tokens
  elsewhere or hold secrets are read from the file only: a web page cannot change them.

A change holds as soon as the file is saved. Sections that wait for the next start say so.
"""

_Example = tuple[str, str]

EXAMPLES: Mapping[str, _Example] = {
    "server": (
        "other machines may call; each call then needs a [key](keys.md).",
        "server:\n  host: 0.0.0.0\n  port: 8317\n",
    ),
    "access": (
        "a web page at that address may call, with a key.",
        "access:\n  origins: [https://app.example.com]\n",
    ),
    "providers": (
        "a key of OpenAI from the environment, and a server of your own.",
        'providers:\n  openai:\n    api_key: "${OPENAI_API_KEY}"\n'
        "  my-server:\n    kind: compatible\n    dialect: openai_chat\n"
        "    base_url: http://localhost:11434/v1\n",
    ),
    "models": (
        "a short name, a chain, and a rule that sends long prompts elsewhere.",
        "models:\n  aliases:\n    fast: gpt-5-mini\n"
        "  chains:\n    careful: [claude-sonnet-4-5, gpt-5]\n"
        "  rules:\n    - name: long prompts\n      when: {tokens: {over: 60000}}\n"
        "      then: {model: gemini-2.5-pro}\n",
    ),
    "upstream": (
        "calls to services go through a proxy.",
        "upstream:\n  proxy: http://127.0.0.1:3128\n",
    ),
    "websocket": (
        "the page of AI Studio may send larger messages.",
        "websocket:\n  relay_max_frame_mb: 128\n",
    ),
    "database": (
        "a PostgreSQL server. A password is better kept in the variable `DRAGOMAN_DATABASE__URL`.",
        "database:\n  url: postgresql+psycopg://dragoman@localhost/dragoman\n",
    ),
    "ledger": (
        "at most 50 dollars a month, and a year of rows.",
        "ledger:\n  retention_days: 365\n  budgets:\n    - {name: all, usd: 50}\n",
    ),
    "cache": (
        "the same question with temperature 0 is answered from memory for ten minutes.",
        "cache:\n  enabled: true\n  ttl_s: 600\n",
    ),
    "traces": (
        "traces for a collector on this machine.",
        "traces:\n  enabled: true\n  endpoint: http://localhost:4318\n",
    ),
    "quota": (
        "an account with less than a tenth left comes last.",
        "quota:\n  low_percent: 10\n",
    ),
    "logging": (
        "everything, for programs to read.",
        "logging:\n  level: debug\n  json: true\n",
    ),
    "services": (
        "WebAI starts with the proxy.",
        "services:\n  webai:\n    enabled: true\n",
    ),
    "advanced": (
        "larger requests, and no demo models.",
        "advanced:\n  max_body_mb: 128\n  demo: false\n",
    ),
}
"""Section → a sentence and what to write; the program reads each before it gets on the page."""

_KINDS: Sequence[tuple[Any, str, str]] = (
    (configvalues.Url, "address that begins with `https://` or `http://`", "addresses"),
    (configvalues.Proxy, "address of a proxy, or `${VARIABLE}`", "addresses of proxies"),
    (configvalues.DatabaseUrl, "address of a database", "addresses of databases"),
    (configvalues.Host, "`loopback`, an address of this machine, or a host name", "host names"),
    (configvalues.HostHeader, "host name", "host names"),
    (configvalues.Origin, "origin such as `https://app.example.com`", "origins"),
    (configvalues.Regex, "regular expression", "regular expressions"),
)
"""Types whose check is more than a bound, in words: of one, and of several."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the settings."""

    path: tuple[str, ...]
    """From the section on; ``NAME`` for any name and ``[]`` for any place of a list."""
    about: str
    type: str
    default: str
    """As YAML in code, or words where there is none."""
    reason: str
    """Why that default; empty for keys that are required, or have keys of their own."""

    @property
    def name(self) -> str:
        """The key as people write it: ``providers.NAME.accounts[].label``."""
        return ".".join(self.path).replace(f".{ANY_PLACE}", ANY_PLACE)

    @property
    def variable(self) -> str:
        """The variable of the environment that overrides it."""
        parts = ("0" if part == ANY_PLACE else part.upper() for part in self.path)
        return "DRAGOMAN_" + "__".join(parts)


def render() -> str:
    """Return the whole page.

    Raises:
        ValueError: a key has no description, or a default without a reason.
        ConfigError: an example is wrong.
    """
    keys = all_keys()
    lines = [HEAD, "| section | what it holds |", "|---|---|"]
    for section, info in Config.model_fields.items():
        lines.append(f"| [`{section}`](#{section}) | {_sentence(_about(section, info))} |")
    for section, info in Config.model_fields.items():
        lines += ["", f"## {section}", "", *_wrapped(_sentence(_about(section, info)))]
        if section in AT_START:
            lines += ["", "A change here holds from the next start."]
        sentence, text = EXAMPLES[section]
        load(text, f"example of {section}", {})
        lines += [
            "",
            *_wrapped(f"**Example**: {sentence}"),
            "",
            "```yaml",
            text.rstrip("\n"),
            "```",
        ]
        for key in keys:
            if key.path[0] == section:
                lines += ["", *_entry(key)]
    return "\n".join(lines) + "\n"


def all_keys() -> list[Key]:
    """Return every key in the order of the models; a model within itself is not opened again."""
    found: list[Key] = []
    for section, info in Config.model_fields.items():
        model, steps = _below(info.annotation)
        if model is None:
            raise ValueError(f"{section} is no section")
        found += _keys(model, (section, *steps), ())
    return found


def _keys(
    model: type[BaseModel], at: tuple[str, ...], inside: tuple[type[BaseModel], ...]
) -> Iterator[Key]:
    why = reasons(model)
    for field, info in model.model_fields.items():
        path = (*at, info.alias or field)
        below, steps = _below(info.annotation)
        again = below is not None and below in (*inside, model)
        kind = _type(info.annotation, info.metadata)
        if again:
            kind = kind.replace("the keys below", f"the keys of `{Key(at, '', '', '', '').name}`")
        if not info.description:
            raise ValueError(f"{model.__name__}.{field} has no description")
        if info.is_required():
            default, reason = "none; it has to be there", ""
        elif isinstance(info.default, BaseModel):
            default, reason = "the defaults of the keys below", ""
        else:
            default, reason = f"`{render_value(info.default)}`", why.get(field, "")
            if not reason:
                raise ValueError(f"{model.__name__}.{field} has no comment that gives a reason")
        yield Key(path, info.description, kind, default, reason)
        if below is not None and not again:
            yield from _keys(below, (*path, *steps), (*inside, model))


def reasons(model: type[BaseModel]) -> dict[str, str]:
    """Return field → the comment above it, or above the fields that it stands with."""
    source = textwrap.dedent(inspect.getsource(model))
    lines = source.splitlines()
    found: dict[str, str] = {}
    reason = ""
    definition = next(one for one in ast.walk(ast.parse(source)) if isinstance(one, ast.ClassDef))
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            first = node.lineno - 1
            while lines[first - 1].strip().startswith("#"):
                first -= 1
            if above := [
                line.strip().removeprefix("# ") for line in lines[first : node.lineno - 1]
            ]:
                reason = " ".join(above)
            found[node.target.id] = reason
    return found


def _entry(key: Key) -> Iterator[str]:
    words = re.findall(r"`(\w+)`", key.type)
    yield f"### `{key.name}`"
    yield ""
    yield from _wrapped(_sentence(key.about, words))
    yield ""
    yield from _item(f"**Type**: {key.type}")
    reason = f". {_sentence(key.reason, words)}" if key.reason else ""
    yield from _item(f"**Default**: {key.default}{reason}")
    yield from _item(f"**Variable**: `{key.variable}`")
    yield from _item(f"**Change**: {_change(key.path)}")


def _change(path: tuple[str, ...]) -> str:
    parts = tuple("*" if part in (ANY_NAME, ANY_PLACE) else part for part in path)
    pages = ["Settings"] if is_editable(parts) else []
    if path[0] == "models" and path[1] in ROUTING_KEYS:
        pages.append("Routes")
    if not pages:
        return "in the file only"
    return f"in the file, or in the dashboard under {' or '.join(pages)}"


def _about(section: str, info: FieldInfo) -> str:
    if info.description:
        return info.description
    model, _ = _below(info.annotation)
    return ((model.__doc__ if model else None) or section).strip().partition("\n")[0]


# Types in words.


def _below(annotation: Any) -> tuple[type[BaseModel] | None, tuple[str, ...]]:
    """Return the model whose keys stand below a value, and the steps to it; None for a value."""
    annotation = _bare(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ()
    origin, arguments = get_origin(annotation), get_args(annotation)
    step = {Mapping: ANY_NAME, tuple: ANY_PLACE}.get(_abstract(origin))
    if step is None:
        return None, ()
    model, steps = _below(arguments[1] if step == ANY_NAME else arguments[0])
    return model, (step, *steps)


def _abstract(origin: Any) -> Any:
    is_class = isinstance(origin, type)
    return Mapping if is_class and issubclass(origin, Mapping) else origin


def _bare(annotation: Any) -> Any:
    """Return an annotation without ``Annotated`` and ``| None``."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in (Union, UnionType):
            annotation = next(one for one in get_args(annotation) if one is not NoneType)
        else:
            return annotation


def _type(annotation: Any, metadata: Sequence[Any] = (), *, many: bool = False) -> str:
    """Return a type in people's words; ``many`` asks for the plural."""
    flat = [
        part for one in metadata for part in (one.metadata if isinstance(one, FieldInfo) else [one])
    ]
    for alias, one, several in _KINDS:
        if alias.__metadata__[-1] in flat:
            return several if many else one
    for check in flat:
        taken = getattr(check, "json_schema_input_type", PydanticUndefined)
        if isinstance(check, BeforeValidator | PlainValidator) and taken not in (
            PydanticUndefined,
            Any,
        ):
            return _type(taken, many=many)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0], [*arguments[1:], *flat], many=many)
    if origin in (Union, UnionType):
        kinds = [_type(one, flat, many=many) for one in arguments if one is not NoneType]
        words = "; or ".join([kinds[0], *map(_article, kinds[1:])])
        return f"{words}, or `null`" if NoneType in arguments else words
    if origin is Literal:
        return _joined([f"`{one}`" for one in arguments])
    if _abstract(origin) in (list, tuple):
        return f"{'lists' if many else 'list'} of {_type(arguments[0], many=True)}"
    if _abstract(origin) in (dict, Mapping):
        return f"names, each with {_article(_type(arguments[1]))}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "entries with the keys below" if many else "the keys below"
    return _plain(annotation, flat, many=many)


def _plain(annotation: Any, metadata: Sequence[Any], *, many: bool) -> str:
    if annotation is bool:
        return "`true` or `false`"
    if annotation in (int, float):
        word = "whole number" if annotation is int else "number"
        return f"{word}{'s' if many else ''}{_bounds(metadata)}"
    if annotation is SecretRef:
        return "text, or `${VARIABLE}`"
    if annotation is str:
        longest = next((one.max_length for one in metadata if hasattr(one, "max_length")), None)
        return ("texts" if many else "text") + (
            f" of at most {longest} characters" if longest is not None else ""
        )
    if annotation is Any:
        return "anything"
    raise ValueError(f"say in words what {annotation} is")


def _bounds(metadata: Sequence[Any]) -> str:
    found = {
        name: getattr(one, name)
        for one in metadata
        for name in ("ge", "gt", "le", "lt")
        if getattr(one, name, None) is not None
    }
    words = {
        name: f"{limit:,g}" if limit < 1_000 else f"{limit:,.0f}" for name, limit in found.items()
    }
    if "ge" in words and "le" in words:
        return f", {words['ge']} to {words['le']}"
    told = [
        f"{text} {words[name]}"
        for name, text in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))
        if name in words
    ]
    return "".join(f", {text}" for text in told)


def _joined(words: Sequence[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _article(words: str) -> str:
    if words.startswith(("`", "names", "the ", "anything")):
        return words
    return f"{'an' if words[0] in 'aeio' else 'a'} {words}"


# Lines.

_CODE = re.compile(
    r"``(.+?)``"  # as in a docstring
    r"|(\"?\$\{\w+\}\"?"  # a reference to a variable
    r"|\{[^{}]*(?:\{[^{}]*\}[^{}]*)?\}"  # YAML
    r"|[a-z][a-z0-9+]*://[^\s;,]*[^\s;,.]"
    r"|\b(?:\w+\.)*\w*_\w+"  # keys and values of several words
    r"|\bupstream\.\w+|/v1\b[\w/]*)"
)
"""What is code in a description or a comment; these have no marks of their own."""


def _sentence(text: str, words: Sequence[str] = ()) -> str:
    """Return a text as a sentence, with code in backticks.

    Args:
        text: a description or a comment.
        words: of the type, which are code, too.
    """
    text = _CODE.sub(lambda found: f"`{found[1] or found[2]}`", text)
    if words:
        pieces = re.split(r"(`[^`]*`)", text)
        choice = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
        pieces[::2] = [
            re.sub(rf"(?<![\w-])({choice})(?![\w-])", r"`\1`", one) for one in pieces[::2]
        ]
        text = "".join(pieces)
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", ":")) else ".")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 100, break_long_words=False, break_on_hyphens=False)


def _item(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        100,
        initial_indent="- ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
