"""The page of all commands: usage and options from the command line, the rest from ``NOTES``."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence

import commandline
from command_notes import GROUPS, NOTES, Note
from commandline import Command, Option

__all__ = ["render"]

HEAD = """\
# Commands

Every command of `dragoman`: its words, its options, what it prints, and its exit codes. Each
command has `--help` (or `-h`), which says the same in short. `dragoman --version` prints the
version.

A word in capitals stands for a value of yours. A word in brackets can be left out, and `...` means
that there can be several.

Answers go to standard output, and everything beside them (notes, warnings, errors, questions) to
standard error. `--json` prints one JSON value in place of text, for scripts. Output has no colour
in a pipe, or when the variable `NO_COLOR` is set.

| exit code | meaning |
|---|---|
| 0 | it is done |
| 1 | it could not be done, or what was checked is not as it should be; the last lines say why |
| 2 | the words or options are wrong; nothing was done |
| 3 | the command asks the running Dragoman, and none runs: `dragoman start` starts it |
"""

_DONE = "done"
_FAILED = "it could not, and says why"
_NOT_RUNNING = "Dragoman does not run"


def render() -> str:
    """Return the whole page.

    Raises:
        ValueError: there are notes on a command that does not exist.
    """
    found = list(commandline.commands(commandline.program()))
    known = {command.name for command in found}
    if gone := sorted(set(NOTES) - known - {"dragoman"}):
        raise ValueError(f"notes on commands that do not exist: {', '.join(gone)}")
    bare = Command((), ("Run Dragoman with its icon in the tray.",), "", (), ())
    groups = _grouped([bare, *found])
    lines = [HEAD, "| command | what it does |", "|---|---|"]
    for group in groups.values():
        lines += [
            f"| [`{command.name}`](#{anchor(command.name)}) | {_in_table(command.help[0])} |"
            for command in group
        ]
    for title, group in groups.items():
        lines += ["", f"## {title}"]
        for command in group:
            lines += ["", *_entry(command, NOTES.get(command.name, Note()))]
    return "\n".join(lines) + "\n"


def anchor(name: str) -> str:
    """Return the anchor of a command's heading: ``dragoman-keys-create``."""
    return name.replace(" ", "-")


def _grouped(commands: Sequence[Command]) -> dict[str, list[Command]]:
    """Return the commands by the titles of ``GROUPS``; those that none names come last."""
    titles = {word: title for title, words in GROUPS.items() for word in words}
    groups: dict[str, list[Command]] = {title: [] for title in GROUPS}
    for command in commands:
        title = titles.get(command.at[0] if command.at else "", "Further commands")
        groups.setdefault(title, []).append(command)
    return groups


def _entry(command: Command, note: Note) -> Iterator[str]:
    yield f"### `{command.name}`"
    for paragraph in (*command.help, *note.more):
        yield ""
        yield from _wrapped(_code(paragraph))
    yield ""
    yield "```text"
    options = "[OPTIONS]" if command.options else ""
    yield " ".join(word for word in (command.name, options, command.usage) if word)
    yield "```"
    if command.arguments or command.options:
        yield ""
        yield from _table(command)
    if note.prints:
        yield ""
        yield from _wrapped(f"**Prints** {note.prints}")
    if note.json:
        yield ""
        yield from _wrapped(f"**With `--json`**: {note.json}")
    yield ""
    yield from _wrapped(f"**Exit codes** {_exits(note)}.")
    if note.examples:
        yield ""
        yield "```sh" if note.runs else "```text"
        yield from note.examples
        yield "```"


def _table(command: Command) -> Iterator[str]:
    yield "| word or option | meaning |"
    yield "|---|---|"
    for argument in command.arguments:
        yield f"| `{argument.names[0]}` | {_in_table(argument.help) or 'see above'} |"
    for option in command.options:
        names = ", ".join(f"`{name}`" for name in option.names)
        value = f" `{option.value}`" if option.value else ""
        yield f"| {names}{value} | {_option(option)} |"


def _option(option: Option) -> str:
    parts = [_in_table(option.help)]
    if option.again and "given again" not in option.help and "repeated" not in option.help:
        parts.append("It may be given again.")
    if option.default:
        parts.append(f"Default: `{option.default}`.")
    return " ".join(parts)


def _in_table(text: str) -> str:
    text = re.sub(r"\s*\[default: ([^\]]+)\]", r" Default: \1.", text).strip()
    return _code(text).replace("|", "\\|")


def _exits(note: Note) -> str:
    codes: dict[int, str] = {0: note.done or _DONE}
    if note.can_fail:
        codes[1] = note.failed or _FAILED
    if note.asks:
        codes[3] = _NOT_RUNNING
    codes |= note.further
    return "; ".join(f"`{code}`: {text}" for code, text in sorted(codes.items()))


_BARE_OPTION = re.compile(r"(?<![\w`-])(--[a-z][a-z-]*)(?![\w`-])")


def _code(text: str) -> str:
    """Return a help text with options and what stands in quotes as code."""
    pieces = re.split(r"(`[^`]*`)", text)
    pieces[::2] = [
        re.sub(r"\*(?= stands)", "`*`", _BARE_OPTION.sub(r"`\1`", piece)) for piece in pieces[::2]
    ]
    return "".join(pieces)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 100, break_long_words=False, break_on_hyphens=False)
