"""Citations of web pages, from the form of the service that answered to other clients' forms.

Anthropic cites with whole text blocks (``web_search_result_location``, and
``search_result_location`` whose source is an address), OpenAI with ranges of characters
(``url_citation``). Anthropic's own form has an ``encrypted_index`` that only it can make, and
Gemini's tells of the whole answer, so that citations cross to OpenAI's dialects only; elsewhere,
and for citations of documents and files, they are a loss.

Sources: the types of the official SDKs (anthropic 0.70 and openai 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.canonical.parts import DialectName, Json, JsonObject, Native
from app.dialects.base import LossList

__all__ = ["LOST", "WebCitation", "foreign_citations", "note_lost", "url_citation", "web_citations"]

_KEYS: dict[DialectName, str] = {"anthropic": "citations", "openai_responses": "annotations"}
"""Dialects whose text parts hold citations, and where."""
LOST = "citations of this form are not known here"
"""Why one did not cross."""


@dataclass(frozen=True, slots=True)
class WebCitation:
    """A web page that a text was taken from."""

    url: str
    title: str
    start: int | None = None
    """First character in its text part; None: it speaks of the whole part."""
    end: int | None = None
    """Character behind the last one."""


def foreign_citations(native: Native | None, dialect: DialectName) -> list[Json]:
    """Return the citations of a text part that came from another dialect, as they came."""
    if native is None or native.dialect == dialect:
        return []
    found = native.fields.get(_KEYS.get(native.dialect, ""))
    return found if isinstance(found, list) else []


def note_lost(native: Native | None, dialect: DialectName, losses: LossList, path: str) -> None:
    """Report the citations of a text part from another dialect where none can cross."""
    if foreign_citations(native, dialect):
        losses.add(path, LOST)


def web_citations(citations: list[Json]) -> tuple[list[WebCitation], int]:
    """Return the web pages among citations, and how many citations are of another kind."""
    pages = [page for citation in citations if (page := _web_citation(citation)) is not None]
    return pages, len(citations) - len(pages)


def url_citation(page: WebCitation, size: int, offset: int = 0) -> JsonObject:
    """Return OpenAI's ``url_citation`` without its type.

    Args:
        page: what is cited.
        size: characters in the text part.
        offset: characters before the part in what the range counts from.
    """
    start = 0 if page.start is None else min(page.start, size)
    end = size if page.end is None else min(page.end, size)
    return {
        "start_index": offset + start,
        "end_index": offset + max(start, end),
        "url": page.url,
        "title": page.title,
    }


def _web_citation(value: Json) -> WebCitation | None:
    if not isinstance(value, dict):
        return None
    kind = value.get("type")
    if kind == "web_search_result_location":
        return _page(value, "url", None, None)
    if kind == "search_result_location":
        return _page(value, "source", None, None)
    if kind == "url_citation":
        return _page(value, "url", _place(value, "start_index"), _place(value, "end_index"))
    return None


def _page(
    value: Mapping[str, Json], key: str, start: int | None, end: int | None
) -> WebCitation | None:
    url, title = value.get(key), value.get("title")
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        return None
    return WebCitation(url, title if isinstance(title, str) else url, start, end)


def _place(value: Mapping[str, Json], key: str) -> int | None:
    place = value.get(key)
    return place if isinstance(place, int) and not isinstance(place, bool) and place >= 0 else None
