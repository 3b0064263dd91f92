"""Write the generated pages of the user documentation.

::

    PYTHONPATH=. .venv/bin/python packaging/docs.py          # write them into assets/docs/
    PYTHONPATH=. .venv/bin/python packaging/docs.py --check  # say which ones are out of date

Each page is made from what the program itself uses, so that it cannot say something else: settings
from the models that read the file, commands from the command line. What a generator gives depends
on the code alone: no clock, no places of this machine, no order of sets.

A new page is a function that returns the whole text, and a line in ``PAGES``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import docs_api
import docs_commands
import docs_configuration
import docs_examples

__all__ = ["COMMAND", "FOLDER", "PAGES", "main", "outdated"]

COMMAND = "PYTHONPATH=. .venv/bin/python packaging/docs.py"
"""What people run after a change."""

FOLDER = Path(__file__).resolve().parent.parent / "assets" / "docs"

PAGES: Mapping[str, Callable[[], str]] = {
    "api.md": docs_api.render,
    "configuration.md": docs_configuration.render,
    "commands.md": docs_commands.render,
    "examples.md": docs_examples.render,
}
"""File in ``assets/docs/`` → what returns its text."""


def outdated(folder: Path) -> list[str]:
    """Return the pages that are not there, or are not what their generator gives now."""
    return [
        name
        for name, render in PAGES.items()
        if not (folder / name).is_file() or (folder / name).read_text("utf-8") != render()
    ]


def main(words: Sequence[str], folder: Path = FOLDER) -> int:
    """Write the pages that changed, or with ``--check`` only name them; return the exit code."""
    if list(words) not in ([], ["--check"]):
        print(f"usage: {COMMAND} [--check]", file=sys.stderr)
        return 2
    names = outdated(folder)
    if words:
        for name in names:
            print(f"{name} is out of date; run: {COMMAND}")
        return int(bool(names))
    for name in names:
        (folder / name).write_text(PAGES[name](), "utf-8", newline="\n")
        print(f"wrote {name}")
    if not names:
        print("every page is as it should be")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
