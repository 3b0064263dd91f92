"""The public registry of models.dev: read into facts, and joined with those that are shipped.

``https://models.dev/api.json`` is one object, provider id → provider with ``models``, model id →
model. New fields come monthly and rows may be odd, so only what is needed is looked at, and a row
that cannot be read costs nobody but itself. Source: ``packages/core/src/schema.ts`` of
anomalyco/models.dev, read 2026-11-21.

Pure.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import msgspec

from app.routing.snapshot import LongPrices, Prices, Snapshot, SnapshotRow, find

__all__ = ["Registry", "entries_of", "overlay", "parse_registry", "with_provider"]

_SERVICES: Final = (
    *("anthropic", "openai", "google", "mistral", "deepseek", "xai", "moonshotai", "zai"),
    *("minimax", "alibaba", "cohere", "perplexity", "github-copilot"),
    *("groq", "cerebras", "openrouter", "togetherai", "fireworks-ai"),
)
"""Whose words count where several offer a model of the same name: its maker before its hosts."""
_FEWEST_MODELS: Final = 20
"""A registry with fewer is an error page or another document."""
_DATE: Final = re.compile(r"(\d{4})-(\d\d)(?:-(\d\d))?")

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Price = Annotated[float, msgspec.Meta(ge=0)]


class _Bare(msgspec.Struct):
    input: _Price | None = None
    output: _Price | None = None
    cache_read: _Price | None = None
    cache_write: _Price | None = None

    def prices(self) -> Prices:
        return Prices(self.input, self.cache_read, self.cache_write, self.output)


class _Size(msgspec.Struct):
    size: _Count


class _Tier(_Bare, kw_only=True):
    tier: _Size


class _Cost(_Bare):
    tiers: tuple[_Tier, ...] = ()
    context_over_200k: _Bare | None = None

    def long_prices(self) -> tuple[LongPrices, ...]:
        if not self.tiers and self.context_over_200k is not None:  # the older form
            return (LongPrices(200_000, self.context_over_200k.prices()),)
        return tuple(LongPrices(one.tier.size, one.prices()) for one in self.tiers if one.tier.size)


class _Limit(msgspec.Struct):
    context: _Count = 0
    output: _Count = 0


class _Modalities(msgspec.Struct):
    input: frozenset[str] = frozenset()
    output: frozenset[str] = frozenset()


class _Model(msgspec.Struct):
    name: str = ""
    limit: _Limit = msgspec.field(default_factory=_Limit)
    modalities: _Modalities = msgspec.field(default_factory=_Modalities)
    reasoning: bool | None = None
    tool_call: bool | None = None
    release_date: str = ""
    cost: _Cost | None = None


class _Provider(msgspec.Struct):
    models: dict[str, msgspec.Raw]


_FILE = msgspec.json.Decoder(dict[str, msgspec.Raw])
_PROVIDER = msgspec.json.Decoder(_Provider)
_MODEL = msgspec.json.Decoder(_Model)


@dataclass(frozen=True, slots=True)
class Registry:
    """What the registry says, by the names that services use."""

    rows: Snapshot = field(default_factory=dict)
    released: Mapping[str, int] = field(default_factory=dict)
    """Model to the day of its release, epoch seconds."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """Model to its name for people."""

    def released_at(self, model: str) -> int:
        """Return when a model came out, epoch seconds; 0 when not known."""
        return int(_find(self.released, model) or 0)

    def title(self, model: str) -> str:
        """Return a model's name for people; empty when not known."""
        return str(_find(self.titles, model) or "")


def parse_registry(raw: bytes) -> Registry:
    """Read the document.

    Raises:
        ValueError: it is no such document (``msgspec.MsgspecError`` is one, too).
    """
    rows: dict[str, SnapshotRow] = {}
    released: dict[str, int] = {}
    titles: dict[str, str] = {}
    for service, models in _services(raw):
        for name, text in models.items():
            if name in rows:
                continue
            try:
                model = _MODEL.decode(text)
            except msgspec.ValidationError:  # one odd row must not cost the rest
                continue
            rows[name] = _row(service, model)
            if moment := _epoch(model.release_date):
                released[name] = moment
            if model.name:
                titles[name] = model.name[:200]
    if len(rows) < _FEWEST_MODELS:
        raise ValueError(f"it lists only {len(rows)} models")
    return Registry(rows, released, titles)


def _services(raw: bytes) -> Iterable[tuple[str, dict[str, msgspec.Raw]]]:
    providers = _FILE.decode(raw)
    for service in _SERVICES:
        if service not in providers:
            continue
        try:
            yield service, _PROVIDER.decode(providers[service]).models
        except msgspec.ValidationError:
            continue


def _row(service: str, model: _Model) -> SnapshotRow:
    # A plan's zeros are nobody's list price.
    cost = _Cost() if model.cost is None or service == "github-copilot" else model.cost
    return SnapshotRow(
        service=service,
        context=model.limit.context or None,
        max_output=model.limit.output or None,
        input=model.modalities.input,
        output=model.modalities.output,
        reasoning=model.reasoning,
        tools=model.tool_call,
        prices=cost.prices(),
        long_prices=cost.long_prices(),
    )


def _epoch(text: str) -> int:
    """Return the epoch seconds of ``2026-11-21`` or ``2026-11`` in UTC; 0 for anything else."""
    match = _DATE.fullmatch(text)
    if match is None:
        return 0
    year, month, day = int(match[1]), int(match[2]), int(match[3] or 1)
    if not (1970 <= year < 2200 and 1 <= month <= 12 and 1 <= day <= 31):
        return 0
    return calendar.timegm((year, month, day, 0, 0, 0))


def overlay(shipped: Snapshot, fetched: Snapshot) -> Snapshot:
    """Return the shipped facts with the newer ones over them, field by field."""
    if not fetched:
        return shipped
    rows = dict(shipped)
    for name, row in fetched.items():
        old = rows.get(name)
        rows[name] = row if old is None else _joined(row, old)
    return rows


def _joined(new: SnapshotRow, old: SnapshotRow) -> SnapshotRow:
    priced = new.prices.input is not None and new.prices.output is not None
    return SnapshotRow(
        service=new.service if priced else old.service,
        context=new.context or old.context,
        max_output=new.max_output or old.max_output,
        input=new.input or old.input,
        output=new.output or old.output,
        reasoning=old.reasoning if new.reasoning is None else new.reasoning,
        tools=old.tools if new.tools is None else new.tools,
        # Prices are taken whole: two lists' prices for one model may be of different times.
        prices=new.prices if priced else old.prices,
        long_prices=new.long_prices if priced else old.long_prices,
    )


# --- the document for others -----------------------------------------------------------------


def entries_of(raw: bytes, models: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the registry's own entries for some models, as far as it has them.

    Args:
        raw: the document, which ``parse_registry`` takes.
        models: names as services use them.
    """
    wanted = list(models)
    found: dict[str, dict[str, Any]] = {}
    for _, theirs in _services(raw):
        for model in wanted:
            if model not in found and (text := _find(theirs, model)) is not None:
                entry = msgspec.json.decode(text)
                if isinstance(entry, dict):
                    found[model] = entry
    return found


def with_provider(raw: bytes | None, name: str, provider: Mapping[str, Any]) -> bytes:
    """Return the document with one more provider, the others byte for byte.

    Args:
        raw: the document; None for none.
        name: of the provider.
        provider: its entry.
    """
    providers: dict[str, Any] = {} if raw is None else dict(_FILE.decode(raw))
    providers[name] = provider
    return msgspec.json.encode(providers)


def _find(values: Mapping[str, Any], model: str) -> Any:
    """Return what is kept under a model's name, in any spelling that ``find`` knows."""
    return find(values, model)
