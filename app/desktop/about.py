"""Which code this is: the commit that the program was built from."""

from __future__ import annotations

from pathlib import Path

from app.paths import asset

__all__ = ["find_commit"]

_SHORT = 9
"""Digits of a commit that people read; enough for one in a repository of this size."""
_ROOT = Path(__file__).resolve().parent.parent.parent


def find_commit(root: Path = _ROOT) -> str:
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
