"""What people see: lines, tables, errors and JSON.

Everything can be read without colour; colour is rich's business, which leaves it out for pipes and
under ``NO_COLOR``. rich is imported by the first line that may be coloured.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeAlias

from app.errors import AppError
from app.help import help_command

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "FAILED",
    "NOT_RUNNING",
    "NotRunning",
    "Verdict",
    "advice",
    "exit_code",
    "note",
    "prepare",
    "render_error",
    "render_span",
    "say",
    "show_error",
    "show_json",
    "show_markdown",
    "show_table",
    "show_verdict",
]

FAILED = 1
NOT_RUNNING = 3
"""Exit codes; 0 is success, and 2 is a wrong call, which typer answers."""

Verdict: TypeAlias = Literal["ok", "warning", "failed"]

_COLOURS: dict[Verdict, str] = {"ok": "green", "warning": "yellow", "failed": "bold red"}
_PIPE_COLUMNS = 10_000
"""Width where there is no terminal: a script must get every cell whole."""


class NotRunning(AppError):
    """The command needs a running instance, and none runs."""

    status = 503
    code = "not_running"

    def __init__(self) -> None:
        super().__init__("Dragoman does not run.", hint="`dragoman start` starts it.")


def prepare() -> None:
    """Let no character stop the output: a Windows console may lack some that a label has."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def say(text: str = "") -> None:
    """Print a line of the answer."""
    print(text, flush=True)


def note(text: str) -> None:
    """Print a line beside the answer, on standard error."""
    print(text, file=sys.stderr, flush=True)


def show_json(value: Any) -> None:
    """Print a value as indented JSON."""
    import msgspec

    say(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their columns' names; columns that are empty in every row are left out."""
    from rich.table import Table
    from rich.text import Text

    kept = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for i in kept:
        table.add_column(columns[i], overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[i]) for i in kept))
    console = _console(sys.stdout)
    with console.capture() as captured:
        console.print(table)
    say("\n".join(line.rstrip() for line in captured.get().splitlines()))


def show_verdict(verdict: Verdict, text: str, hint: str = "") -> None:
    """Print one check's outcome, and below it what to do."""
    from rich.text import Text

    line = Text(f"{verdict:<9}", style=_COLOURS[verdict])
    line.append(text, style="default not bold")
    _console(sys.stdout).print(line, soft_wrap=True)
    if hint:
        say(f"{'':<9}{hint}")


def show_markdown(text: str) -> None:
    """Print a text that is written in Markdown: laid out on a terminal, else as it is written.

    Addresses stand beside their words, since not every terminal has links.
    """
    if not sys.stdout.isatty():
        say(text.rstrip())
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console(emoji=False).print(Markdown(text, hyperlinks=False))


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    # Cells hold what others wrote: no markup, no guessed highlights.
    return Console(
        file=stream,
        width=None if stream.isatty() else _PIPE_COLUMNS,
        markup=False,
        highlight=False,
        emoji=False,
    )


def render_error(error: AppError) -> str:
    """Return an error as the lines that people read: what happened, what to do, where more is."""
    hint = f"\nhint: {error.hint}" if error.hint else ""
    command = help_command(error.code)
    return f"error: {error.message}{hint}" + (f"\nhelp: {command}" if command else "")


def advice(error: AppError) -> str:
    """Return what a person can do about an error that is told within a line of its own."""
    command = help_command(error.code)
    return f"{error.hint} Help: `{command}`".lstrip() if command else error.hint


def show_error(error: AppError) -> int:
    """Print an error and return the exit code that it means."""
    note(render_error(error))
    return exit_code(error)


def exit_code(error: AppError) -> int:
    """Return the exit code that an error means."""
    return NOT_RUNNING if isinstance(error, NotRunning) else FAILED


def render_span(seconds: float) -> str:
    """Return a length of time in its two largest units: ``2 h 5 min``."""
    left = max(0, round(seconds))
    parts = []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
