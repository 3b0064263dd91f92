"""What a frozen program starts with: puts right what freezing changes, then runs the command line.

The same executable is started again for windows (``dragoman window``) and for instances in the
background, and it starts programs of others: agents, the browser, the distribution's Python. None
of these may inherit what was set for this process alone, so that is taken back before anything
else happens. It also has no meaning here any more: the loader has read it already.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping

__all__ = ["WINDOW_FOLDER", "give_back", "main"]

WINDOW_FOLDER = "window-packages"
"""Where the Linux program keeps, as plain files, what a window needs under another Python."""

_SEARCH_PATHS = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LIBPATH")
"""PyInstaller's loader points these at the libraries that it carries; others must use their own."""


def give_back(environment: MutableMapping[str, str]) -> None:
    """Restore the variables that the loader changed, and drop those that it added.

    Source: PyInstaller's manual, "Common Issues and Pitfalls", read in November 2026.
    """
    for name in _SEARCH_PATHS:
        before = environment.pop(f"{name}_ORIG", None)
        if before is not None:
            environment[name] = before
        elif environment.get(name, "").startswith(getattr(sys, "_MEIPASS", "\0")):
            del environment[name]
    for name in [name for name in environment if name.startswith("_PYI_")]:
        del environment[name]


def _open_streams() -> None:
    """Give a program without a console streams to write to, as libraries expect."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - kept


def main() -> int:
    """Run the program; return its exit code."""
    give_back(os.environ)
    _open_streams()
    if sys.argv[1:] == ["window"]:  # a child: it needs nothing of ours but this one file
        from app.desktop import window

        window.run()
    if sys.platform.startswith("linux"):
        # Not for this Python, which has no GTK: this is how the child's libraries are found.
        sys.path.append(os.path.join(getattr(sys, "_MEIPASS", ""), WINDOW_FOLDER))
    from app.__main__ import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
