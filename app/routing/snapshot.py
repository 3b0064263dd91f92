"""What is publicly known of models: the shipped ``assets/models.json``, read into rows.

The file is made by ``packaging/models.py``, which describes where the data comes from. It says what
a name usually means; the service's own model list and the user's settings know better.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

import msgspec

__all__ = ["LongPrices", "Prices", "Snapshot", "SnapshotRow", "find", "parse_snapshot"]

_Count: TypeAlias = Annotated[int, msgspec.Meta(gt=0)]
_Price: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars per million tokens for prompts of usual length; None where not known."""

    input: _Price | None = None
    """Uncached input."""
    cache_read: _Price | None = None
    cache_write: _Price | None = None
    """Writing for the shortest lifetime that the service has (Anthropic: five minutes)."""
    output: _Price | None = None
    """Output, reasoning included."""


@dataclass(frozen=True, slots=True)
class LongPrices:
    """Prices of the whole request once its prompt is longer than so many tokens."""

    above: _Count
    prices: Prices


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """One model; None and empty where nothing is known."""

    service: str
    """Who offers it at these prices, in the words of models.dev."""
    context: _Count | None = None
    """Tokens of prompt and answer together."""
    max_output: _Count | None = None
    """Tokens of the answer."""
    input: frozenset[str] = frozenset()
    """What it reads: of text, image, audio, video, pdf."""
    output: frozenset[str] = frozenset()
    """What it writes: of text, image, audio, video."""
    reasoning: bool | None = None
    tools: bool | None = None
    prices: Prices = field(default_factory=Prices)
    long_prices: tuple[LongPrices, ...] = ()
    """Other prices for long prompts, in any order."""


Snapshot: TypeAlias = Mapping[str, SnapshotRow]
"""Model name as its service writes it to what is known of it."""


class _File(msgspec.Struct):
    models: dict[str, msgspec.Raw]


_FILE = msgspec.json.Decoder(_File)
_ROW = msgspec.json.Decoder(SnapshotRow)

_DATE = re.compile(r"[-@](20\d{6}|20\d\d-\d\d-\d\d|\d\d-20\d\d|\d\d-\d\d|\d{4}|00\d)$")
"""Anthropic 20250929 (Vertex: @20250929), OpenAI 2025-08-07, Cohere 08-2024, Google 05-06 and 001,
Mistral 2508."""
_VERSION_DOT = re.compile(r"(?<=\d)\.(?=\d)")


def parse_snapshot(raw: bytes) -> Snapshot:
    """Read the file; a row that is not as it should be is left out.

    Raises:
        msgspec.MsgspecError: the file as a whole is not JSON, or has no ``models``.
    """
    rows: dict[str, SnapshotRow] = {}
    for name, text in _FILE.decode(raw).models.items():
        try:
            rows[name] = _ROW.decode(text)
        except msgspec.ValidationError:  # one odd row must not cost the rest
            continue
    return rows


def find(snapshot: Snapshot, model: str) -> SnapshotRow | None:
    """Return what is known of a model under the name that somebody uses for it.

    The name itself comes first. Then, in turn, without what others add to it: a variant after a
    colon (``:free``), leading ``vendor/`` parts, a date or ``-latest``, ``-preview``, and with
    dashes for the dots in a version (OpenRouter's ``claude-sonnet-4.5``).
    """
    seen: set[str] = set()
    for name in _spellings(model):
        if name in seen:
            continue
        seen.add(name)
        row = snapshot.get(name)
        if row is not None:
            return row
    return None


def _spellings(model: str) -> Iterator[str]:
    """Yield the names to try, the closest first; some come twice."""
    yield model
    name = model.lower().partition(":")[0]
    while True:
        for stem in _stems(name):
            yield stem
            yield f"{stem}-latest"
            dashed = _VERSION_DOT.sub("-", stem)
            yield dashed
            yield f"{dashed}-latest"
        _, slash, name = name.partition("/")
        if not slash:
            return


def _stems(name: str) -> Iterator[str]:
    yield name
    name = name.removesuffix("-latest")
    yield name
    name = _DATE.sub("", name)
    yield name
    yield name.removesuffix("-preview")
