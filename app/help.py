"""The help that is shipped with the program: pages, their order, and one entry per error code.

The pages are ``assets/docs/NAME.md``. ``index.md`` lists them by groups, each page as one link, and
so gives the order of every list of pages. ``troubleshooting.md`` has a heading ``### code`` per
error code; what stands below it, up to the next heading, is that code's entry. Server, dashboard
and command line read all of it from here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from app.paths import asset

__all__ = [
    "INDEX",
    "TROUBLESHOOTING",
    "HelpGroup",
    "HelpPage",
    "anchor_of",
    "has_entry",
    "help_address",
    "help_command",
    "nearest_help",
    "read_entries",
    "read_groups",
    "read_page",
    "title_of",
    "with_address",
    "without_address",
]

INDEX = "index"
"""Name of the front page."""
TROUBLESHOOTING = "troubleshooting"
"""Name of the page with the entries."""

_LINE = re.compile(r"^- \[([^\]]+)\]\(([a-z0-9-]+)\.md\)(?:: (.+))?$")
_ENTRY = re.compile(r"^### ([a-z0-9_]+)$", re.MULTILINE)
_HEADING = re.compile(r"^#{1,3} ", re.MULTILINE)
_ADDRESS = re.compile(r" ?Help: https?://[^\s/]+/help/([a-z0-9_]+)$")


@dataclass(frozen=True, slots=True)
class HelpPage:
    """One page: its name in addresses and commands, its title, and a line about it."""

    name: str
    title: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class HelpGroup:
    """Pages under one heading of the front page."""

    title: str
    pages: tuple[HelpPage, ...]


@lru_cache(maxsize=1)
def read_groups() -> tuple[HelpGroup, ...]:
    """Return the groups of the front page, in its order.

    Pages that it does not list come last, under "More", so that none is out of reach.
    """
    groups: list[tuple[str, list[HelpPage]]] = []
    for line in _read(INDEX).splitlines():
        if line.startswith("## "):
            groups.append((line[3:].strip(), []))
        elif groups and (match := _LINE.match(line)):
            title, name, about = match.groups()
            groups[-1][1].append(HelpPage(name, title, about or ""))
    listed = {page.name for _, pages in groups for page in pages}
    others = sorted({path.stem for path in asset("docs").glob("*.md")} - listed - {INDEX})
    if others:
        groups.append(("More", [HelpPage(name, title_of(_read(name))) for name in others]))
    return tuple(HelpGroup(title, tuple(pages)) for title, pages in groups)


@lru_cache(maxsize=1)
def read_entries() -> Mapping[str, str]:
    """Return the entries of the troubleshooting page by their code, each as Markdown."""
    pieces = _ENTRY.split(_read(TROUBLESHOOTING))
    return {
        code: _HEADING.split(text, maxsplit=1)[0].strip()
        for code, text in zip(pieces[1::2], pieces[2::2], strict=True)
    }


def has_entry(code: str) -> bool:
    """Say whether an error code has an entry."""
    return code in read_entries()


def read_page(name: str) -> str | None:
    """Return a page as Markdown, or None when there is none of that name."""
    if name == INDEX or any(page.name == name for group in read_groups() for page in group.pages):
        return _read(name)
    return None


def nearest_help(word: str) -> list[str]:
    """Return up to five names of pages and codes that are spelled like a word."""
    names = [page.name for group in read_groups() for page in group.pages]
    known = [*names, *read_entries()]
    wanted = word.lower().replace(" ", "_")
    alike = difflib.get_close_matches(wanted, known, n=5, cutoff=0.6)
    return alike or [name for name in known if len(wanted) > 2 and wanted in name][:5]


def title_of(text: str) -> str:
    """Return the title of a page, its first heading without marks; empty when it has none."""
    match = re.match(r"# (.+)", text)
    return match[1].strip() if match is not None else ""


def anchor_of(heading: str) -> str:
    """Return the anchor of a heading as GitHub makes it: lower case, hyphens, few other signs.

    Args:
        heading: its text without marks.
    """
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def help_address(code: str, at: str) -> str:
    """Return the address of a code's entry, or nothing where there is no entry or no place.

    Args:
        code: an error code.
        at: where we are served, without a path (``http://localhost:8317``); may be empty.
    """
    return f"{at}/help/{code}" if at and has_entry(code) else ""


def help_command(code: str) -> str:
    """Return the command that shows a code's entry, or nothing where there is no entry."""
    return f"dragoman help {code}" if has_entry(code) else ""


def with_address(hint: str, code: str | None, at: str) -> str:
    """Return a hint that ends with the address of a code's entry; as it was where there is none."""
    address = help_address(code, at) if code else ""
    return f"{hint} Help: {address}".lstrip() if address else hint


def without_address(text: str) -> str:
    """Return a text without the address that ``with_address`` put at its end."""
    return _ADDRESS.sub("", text)


def _read(name: str) -> str:
    return asset(f"docs/{name}.md").read_text("utf-8")
