"""Counters and histograms over entries, for Prometheus.

Label values come from settings, from services and, through model names, from clients, so their
number is bounded: a model or an error code becomes a label only once a request with that model has
succeeded (or, for codes, while there is room), and past ``MAX_VALUES`` of a kind all others are
``other``. Keys, sessions and accounts of strangers never become labels.

Counting costs a few dictionary look-ups; prometheus-client is imported by the first ``render``.
"""

from __future__ import annotations

import importlib
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from app.ledger.entry import Entry

__all__ = ["MAX_VALUES", "Gauge", "Metrics"]

MAX_VALUES: Final = 50
"""Different values of one label."""
MAX_SETS: Final = 1_000
"""Different sets of labels of one metric; all further ones count as ``other`` throughout."""
_OTHER = "other"
_NONE = "none"

_FIRST_S: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)
_WHOLE_S: Final = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0)
_TOKEN_KINDS: Final = ("input", "cache_read", "cache_write", "output", "reasoning")


@dataclass(frozen=True, slots=True)
class Gauge:
    """A level that is read at the time of asking: one value per set of labels."""

    name: str
    """With unit, without the program's prefix (``quota_left_ratio``)."""
    meaning: str
    labels: tuple[str, ...] = ()
    values: tuple[tuple[tuple[str, ...], float], ...] = ()
    """Label values and level; ``((), 3.0)`` without labels."""


@dataclass(slots=True)
class _Histogram:
    edges: Sequence[float]
    counts: list[int]
    total: float = 0.0

    def see(self, value: float) -> None:
        self.counts[bisect_left(self.edges, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        running = 0
        result = []
        for edge, count in zip((*map(str, self.edges), "+Inf"), self.counts, strict=True):
            running += count
            result.append((edge, float(running)))
        return result


@dataclass(slots=True)
class _Values:
    """The values that one label may have."""

    known: set[str] = field(default_factory=set)

    def of(self, value: str, *, may_grow: bool = True) -> str:
        if not value:
            return _NONE
        if value in self.known:
            return value
        if may_grow and len(self.known) < MAX_VALUES and len(value) <= 200:
            self.known.add(value)
            return value
        return _OTHER


class Metrics:
    """What is counted since the start. Safe for several threads."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._lock = threading.Lock()
        self._models, self._accounts = _Values(), _Values()
        self._providers, self._codes = _Values(), _Values()
        self._requests: dict[tuple[str, ...], float] = {}
        self._errors: dict[tuple[str, ...], float] = {}
        self._attempts: dict[tuple[str, ...], float] = {}
        self._tokens: dict[tuple[str, ...], float] = {}
        self._cost: dict[tuple[str, ...], float] = {}
        self._cached: dict[tuple[str, ...], float] = {}
        self._first: dict[tuple[str, ...], _Histogram] = {}
        self._whole: dict[tuple[str, ...], _Histogram] = {}

    def note(self, entry: Entry) -> None:
        """Count a request."""
        with self._lock:
            served = not entry.failed and entry.status < 400
            provider = self._providers.of(entry.provider, may_grow=served)
            account = self._accounts.of(entry.account, may_grow=served)
            model = self._models.of(entry.model, may_grow=served)
            dialect = entry.dialect or _NONE
            _add(self._requests, (provider, account, model, dialect, _status(entry)), 1)
            for one in entry.attempts:
                result = "failed" if one.error else "served"
                names = (self._providers.of(one.provider), self._accounts.of(one.account))
                _add(self._attempts, (*names, result), 1)
            if entry.failed:
                _add(self._errors, (provider, self._codes.of(entry.error)), 1)
            if entry.cached:
                _add(self._cached, (dialect,), 1)
            self._spent(entry, (provider, account, model))
            if served and entry.duration_ms:
                _see(self._whole, (provider, model), _WHOLE_S, entry.duration_ms)
                if entry.first_ms is not None:
                    _see(self._first, (provider, model), _FIRST_S, entry.first_ms)

    def _spent(self, entry: Entry, names: tuple[str, ...]) -> None:
        if entry.cost:
            billing = "worth" if entry.worth else "paid"
            _add(self._cost, (*names, billing), entry.cost / 1e6)
        tokens = entry.tokens
        if tokens is None:
            return
        for kind in _TOKEN_KINDS:
            count = getattr(tokens, kind) or 0
            if count > 0:
                _add(self._tokens, (*names, kind), count)

    def render(
        self,
        gauges: Iterable[Gauge] = (),
        sees: Callable[[Mapping[str, str]], bool] | None = None,
    ) -> bytes:
        """Return all of it in Prometheus' text form (version 0.0.4).

        Args:
            gauges: levels that others know: requests running, account states, what is left.
            sees: says of the labels of a count whether they are for the caller; None: all are.
        """
        core = importlib.import_module("prometheus_client.core")
        exposition = importlib.import_module("prometheus_client.exposition")
        families = [*self._families(core), *(_gauge(core, gauge) for gauge in gauges)]
        if sees is not None:
            for family in families:
                family.samples = [one for one in family.samples if sees(one.labels)]
        rendered: bytes = exposition.generate_latest(_Collected(families))
        return rendered

    def _families(self, core: Any) -> list[Any]:
        place = ["provider", "account", "model"]
        with self._lock:
            return [
                _counter(core, name, meaning, labels, values)
                for name, meaning, labels, values in (
                    ("requests", "Requests that ended", [*place, "dialect", "status"],
                     self._requests),
                    ("request_errors", "Requests that failed, by code", ["provider", "code"],
                     self._errors),
                    ("attempts", "Attempts at services", ["provider", "account", "result"],
                     self._attempts),
                    ("tokens", "Tokens; reasoning is part of output", [*place, "kind"],
                     self._tokens),
                    ("cost_usd", "US dollars paid, or what plans served is worth",
                     [*place, "billing"], self._cost),
                    ("cache_hits", "Answers from the cache of whole answers", ["dialect"],
                     self._cached),
                )
            ] + [
                _histogram(core, name, meaning, values)
                for name, meaning, values in (
                    ("first_content_seconds", "Time to first content of served requests",
                     self._first),
                    ("request_seconds", "Duration of served requests", self._whole),
                )
            ]  # fmt: skip


class _Collected:
    """A registry with families that are made already."""

    def __init__(self, families: list[Any]) -> None:
        self._families = families

    def collect(self) -> list[Any]:
        return self._families


def _status(entry: Entry) -> str:
    if entry.status == 499:
        return "left"
    return f"{entry.status // 100}xx" if 100 <= entry.status < 600 else _NONE


def _bounded(values: Mapping[tuple[str, ...], Any], names: tuple[str, ...]) -> tuple[str, ...]:
    if names in values or len(values) < MAX_SETS:
        return names
    return (_OTHER,) * len(names)


def _add(values: dict[tuple[str, ...], float], names: tuple[str, ...], amount: float) -> None:
    names = _bounded(values, names)
    values[names] = values.get(names, 0.0) + amount


def _see(
    values: dict[tuple[str, ...], _Histogram],
    names: tuple[str, ...],
    edges: Sequence[float],
    ms: int,
) -> None:
    names = _bounded(values, names)
    histogram = values.get(names)
    if histogram is None:
        histogram = values[names] = _Histogram(edges, [0] * (len(edges) + 1))
    histogram.see(ms / 1_000)


def _counter(
    core: Any, name: str, meaning: str, labels: list[str], values: Mapping[tuple[str, ...], float]
) -> Any:
    family = core.CounterMetricFamily(f"dragoman_{name}", meaning, labels=labels)
    for names, value in values.items():
        family.add_metric(names, value)
    return family


def _histogram(
    core: Any, name: str, meaning: str, values: Mapping[tuple[str, ...], _Histogram]
) -> Any:
    family = core.HistogramMetricFamily(f"dragoman_{name}", meaning, labels=["provider", "model"])
    for names, histogram in values.items():
        family.add_metric(names, histogram.buckets(), sum_value=histogram.total)
    return family


def _gauge(core: Any, gauge: Gauge) -> Any:
    family = core.GaugeMetricFamily(
        f"dragoman_{gauge.name}", gauge.meaning, labels=list(gauge.labels)
    )
    for names, value in gauge.values:
        family.add_metric(names, value)
    return family
