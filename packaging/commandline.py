"""The command line as a list, of which the manual page and the page of commands are made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Command", "Option", "commands", "program"]


@dataclass(frozen=True, slots=True)
class Option:
    """An option or an argument."""

    names: tuple[str, ...]
    """``--port``; ``-f`` and ``--no-…`` forms, too. Of an argument its one name for people."""
    value: str
    """The word for its value, in capitals; empty where it takes none."""
    help: str
    default: str = ""
    """The value that holds without it, where there is one worth telling."""
    again: bool = False
    """Whether it may be given several times."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command that people type."""

    at: tuple[str, ...]
    """Its words after ``dragoman``; none is the bare command."""
    help: tuple[str, ...]
    """Paragraphs of its help, each one line."""
    short: str
    arguments: tuple[Option, ...]
    options: tuple[Option, ...]

    @property
    def name(self) -> str:
        """What people type: ``dragoman keys create``."""
        return " ".join(("dragoman", *self.at))

    @property
    def usage(self) -> str:
        """The words of its arguments: ``NAME [LABEL]``."""
        return " ".join(argument.names[0] for argument in self.arguments)


def program() -> Any:
    """Return the whole command line as typer has it."""
    from typer.main import get_command

    from app.cli.program import build

    return get_command(build())


def commands(command: Any, at: tuple[str, ...] = ()) -> Iterator[Command]:
    """Yield every command that people type, in the order of the help; a mere group is none.

    Args:
        command: of ``program``.
        at: the words that lead to it.
    """
    children = getattr(command, "commands", {})
    if not children or command.invoke_without_command:
        yield _read(command, at)
    for name, child in children.items():
        if not child.hidden:
            yield from commands(child, (*at, name))


def _read(command: Any, at: tuple[str, ...]) -> Command:
    paragraphs = tuple(" ".join(part.split()) for part in (command.help or "").split("\n\n"))
    arguments, options = [], []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            arguments.append(Option((_argument(parameter),), "", _one_line(parameter.help)))
        elif not parameter.hidden:
            options.append(_option(parameter))
    short = command.short_help or paragraphs[0]
    return Command(at, paragraphs, short, tuple(arguments), tuple(options))


def _argument(parameter: Any) -> str:
    name: str = parameter.metavar or parameter.name
    if not name.startswith("["):
        name = name.upper() if parameter.required else f"[{name.upper()}]"
    return name if name.endswith("...") or parameter.nargs == 1 else f"{name}..."


def _option(parameter: Any) -> Option:
    value = "" if parameter.is_flag else (parameter.metavar or parameter.name).upper()
    default = parameter.default
    if default is True:  # the first of the two names is what holds
        default = parameter.opts[0]
    elif default in (None, False, "", ()):
        default = ""
    return Option(
        (*parameter.opts, *parameter.secondary_opts),
        value,
        _one_line(parameter.help),
        f"{default:g}" if isinstance(default, float) else str(default),
        parameter.multiple,
    )


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
