"""Help pages as HTML.

Markdown becomes HTML without any markup of the text itself: raw HTML in a page is shown as text,
and links lead to other help pages, to files beside them, or to https addresses. What leads anywhere
else is left as plain words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING

from app.help import INDEX, anchor_of, read_groups, read_page, title_of

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

__all__ = ["render_missing", "render_page", "render_text"]

_PAGE = re.compile(r"([a-z0-9-]+)\.md(#[\w-]+)?")
_EXAMPLE = re.compile(r"examples/[\w-]+(?:\.[\w-]+)*")
_IMAGE = re.compile(r"\.\./images/([\w-]+\.(?:png|svg))")


@lru_cache(maxsize=64)
def render_text(name: str) -> str:
    """Return the inside of a page as HTML, with links that begin with ``/help/``.

    Raises:
        KeyError: there is no page of that name.
    """
    text = read_page(name)
    if text is None:
        raise KeyError(name)
    reader = _reader()
    tokens = reader.parse(text)
    _mark(tokens)
    html: str = reader.renderer.render(tokens, reader.options, {})
    return html


@lru_cache(maxsize=64)
def render_page(name: str) -> bytes:
    """Return a whole page for a browser.

    Raises:
        KeyError: there is no page of that name.
    """
    title = "Help" if name == INDEX else title_of(read_page(name) or "")
    return _document(name, title, render_text(name))


def render_missing(word: str, near: Sequence[str]) -> bytes:
    """Return the page that says that there is no help of a name, and which are near."""
    links = "".join(f'<li><a href="/help/{escape(n)}">{escape(n)}</a></li>' for n in near)
    body = f"<h1>No such page</h1><p>There is no help for <code>{escape(word)}</code>.</p>"
    return _document("", "No such page", body + (f"<p>Near:</p><ul>{links}</ul>" if near else ""))


def _document(name: str, title: str, body: str) -> bytes:
    groups = "".join(
        f"<h2>{escape(group.title)}</h2><ul>"
        + "".join(_nav_line(page.name, page.title, name) for page in group.pages)
        + "</ul>"
        for group in read_groups()
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)} · Dragoman</title>"
        '<link rel="icon" href="/admin/static/icon.svg">'
        '<link rel="stylesheet" href="/help/help.css"></head><body>'
        '<a class="skip" href="#text">To the text</a>'
        '<header><a href="/help">Dragoman Help</a></header>'
        f'<div class="columns"><nav aria-label="Help pages">{groups}</nav>'
        f'<main id="text"><article>{body}</article></main></div></body></html>\n'
    ).encode()


def _nav_line(name: str, title: str, shown: str) -> str:
    here = ' aria-current="page"' if name == shown else ""
    return f'<li><a href="/help/{escape(name)}"{here}>{escape(title)}</a></li>'


@lru_cache(maxsize=1)
def _reader() -> MarkdownIt:
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    # A wide table or a long line scrolls by itself, also by keyboard.
    rules = reader.renderer.rules  # type: ignore[attr-defined]
    rules["table_open"] = lambda *_: (
        '<div class="scroll" tabindex="0" role="group" aria-label="Table"><table>\n'
    )
    rules["table_close"] = lambda *_: "</table></div>\n"
    rules["fence"] = _fence
    return reader


def _fence(tokens: Sequence[Token], index: int, *_: object) -> str:
    return f'<pre tabindex="0"><code>{escape(tokens[index].content)}</code></pre>\n'


def _mark(tokens: Sequence[Token]) -> None:
    """Give headings their anchors, and links and images where they lead here."""
    taken: dict[str, int] = {}
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            anchor = anchor_of("".join(t.content for t in tokens[index + 1].children or ()))
            count = taken[anchor] = taken.get(anchor, -1) + 1
            token.attrSet("id", f"{anchor}-{count}" if count else anchor)
        elif token.type == "th_open":
            token.attrSet("scope", "col")
        for inner in token.children or ():
            if inner.type == "link_open":
                _lead(inner)
            elif inner.type == "image":
                match = _IMAGE.fullmatch(str(inner.attrGet("src") or ""))
                inner.attrSet("src", f"/help/images/{match[1]}" if match else "")


def _lead(token: Token) -> None:
    target = str(token.attrGet("href") or "")
    if match := _PAGE.fullmatch(target):
        name = "" if match[1] == INDEX else f"/{match[1]}"
        token.attrSet("href", f"/help{name}{match[2] or ''}")
    elif _EXAMPLE.fullmatch(target):
        token.attrSet("href", f"/help/{target}")
    elif target.startswith("https://"):
        token.attrSet("target", "_blank")
        token.attrSet("rel", "noopener noreferrer")
    elif not target.startswith("#"):
        token.attrs.pop("href", None)  # a file of the sources; an ``a`` without it is plain words
