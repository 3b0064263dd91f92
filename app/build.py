"""Which program this is: its version, the commit that it was built from, and the kind of build.

Nothing here asks anybody: ``RELEASES`` is opened in the user's browser, on a click.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from app import __version__
from app.paths import asset

__all__ = ["RELEASES", "Build", "Kind", "find_build"]

RELEASES = "https://github.com/dragoman-app/dragoman/releases"
"""Where newer versions appear; ``pyproject.toml`` names the same page."""

Kind: TypeAlias = Literal["source", "wheel", "deb", "image", "windows", "macos", "frozen"]
"""How the program came here: a checkout, or a package of this sort. ``frozen`` is a frozen program
that was not packed."""

_SHORT = 9
"""Digits of a commit that people read; enough for one in a repository of this size."""
_PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Build:
    """What this program is."""

    version: str
    commit: str
    """The first digits of it; empty where it is not known."""
    kind: Kind

    @property
    def line(self) -> str:
        """``0.1.0 (deb, commit 0123abcde)``."""
        commit = f", commit {self.commit}" if self.commit else ""
        return f"{self.version} ({self.kind}{commit})"


@functools.lru_cache(maxsize=1)
def find_build() -> Build:
    """Return what this program is; its files are read once."""
    return Build(__version__, find_commit(), find_kind())


def find_kind(package: Path = _PACKAGE, *, frozen: bool | None = None) -> Kind:
    """Return the kind of build.

    ``packaging/build.py`` writes it to ``kind.txt`` beside the assets. Without that file the place
    of the assets tells: a wheel carries them in the package, a checkout beside it.

    Args:
        package: folder of the program's package.
        frozen: whether this is a frozen program; found out by default.
    """
    try:
        said = (package / "_assets" / "kind.txt").read_text("ascii").strip()
    except (OSError, ValueError):
        said = ""
    for kind in get_args(Kind):
        if said == kind:
            return kind  # type: ignore[no-any-return]  # one of the words of Kind
    if getattr(sys, "frozen", False) if frozen is None else frozen:
        return "frozen"
    return "wheel" if (package / "_assets").is_dir() else "source"


def find_commit(root: Path = _PACKAGE.parent) -> str:
    """Return the commit in short; empty where it is not known.

    Packages carry it as ``assets/commit.txt``. In a checkout git's own files tell, without git:
    ``HEAD`` holds a commit or names the file or the line of ``packed-refs`` that does.

    Args:
        root: folder of the checkout.
    """
    try:
        return _short(asset("commit.txt").read_text("ascii"))
    except (OSError, ValueError):
        return _short(_of_checkout(root / ".git"))


def _of_checkout(git: Path) -> str:
    try:
        head = (git / "HEAD").read_text("utf-8").strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        file = git / name
        if file.is_file():
            return file.read_text("utf-8")
        lines = (git / "packed-refs").read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return ""
    return next((line.partition(" ")[0] for line in lines if line.endswith(f" {name}")), "")


def _short(text: str) -> str:
    """Return the beginning of a commit; empty for what is none."""
    word = text.strip()
    is_commit = len(word) >= _SHORT and set(word) <= set("0123456789abcdef")
    return word[:_SHORT] if is_commit else ""
