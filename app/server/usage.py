"""Control routes over the ledger: reports, the list of requests, and one request.

``GET /admin/usage`` takes the fields of ``ledger.query.usage_query`` and answers with JSON, or as
CSV with ``format=csv``. ``GET /admin/requests`` takes those of ``list_query``;
``GET /admin/requests/{id}`` shows one with its attempts and how its route was chosen.
``GET /admin/budgets`` shows how budgets stand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from app.errors import AppError, RequestError
from app.ledger.budget import Standing
from app.ledger.query import ListQuery, UsageQuery, list_query, usage_query, with_key_id
from app.ledger.report import Report, render_csv, report_json
from app.ledger.writer import WriterState
from app.server.pages import Page

__all__ = ["LedgerDesk", "usage_routes"]

_T = TypeVar("_T")


class LedgerDesk(Protocol):
    """What these routes ask of the ledger; ``ledger.Ledger`` is one. Questions block."""

    @property
    def state(self) -> WriterState:
        """How the writing goes."""
        ...

    def usage(self, query: UsageQuery) -> Report:
        """Return a report."""
        ...

    def page(self, query: ListQuery) -> dict[str, Any]:
        """Return a page of requests."""
        ...

    def request(self, name: str) -> dict[str, Any] | None:
        """Return one request, or None."""
        ...

    def standings(self) -> tuple[Standing, ...]:
        """Return how budgets stand."""
        ...


class _LedgerPage(Page):
    kind = "control"

    def initialize(  # type: ignore[override]
        self, control: Any, ledger: LedgerDesk, now: Callable[[], float]
    ) -> None:
        super().initialize(control)
        self.ledger = ledger
        self.now = now

    def fields(self) -> dict[str, str]:
        """Return the query's fields; of one that is there twice, the last."""
        return {name: self.get_query_argument(name) for name in self.request.query_arguments}

    async def ask(self, question: Callable[[], _T]) -> _T:
        """Ask the database in a thread."""
        return await asyncio.to_thread(question)

    async def labels(self) -> dict[str, str]:
        """Return the keys' names for people by their ids; nothing where they cannot be read."""
        try:
            return {record.id: record.label for record in await self.control.list_keys()}
        except AppError:  # ids say enough
            return {}

    async def with_key(self) -> dict[str, str]:
        """Return the query's fields; a key may be named by its label."""
        fields = self.fields()
        return with_key_id(fields, await self.labels()) if fields.get("key") else fields

    def trouble(self) -> dict[str, str]:
        """Return what keeps the answer from being the whole truth."""
        sentence = self.ledger.state.sentence
        return {"trouble": sentence} if sentence else {}


class _Usage(_LedgerPage):
    async def get(self) -> None:
        fields = await self.with_key()
        query = usage_query(fields, self.now())
        form = fields.get("format", "json")
        if form not in ("json", "csv"):
            raise RequestError("`format` is json or csv.", param="format")
        report = await self.ask(partial(self.ledger.usage, query))
        answer = report_json(report, await self.labels() if query.by == "key" else None)
        if form == "csv":
            name = f"dragoman-usage-by-{query.by}.csv"
            self.set_header("Content-Type", "text/csv; charset=utf-8")
            self.set_header("Content-Disposition", f'attachment; filename="{name}"')
            self.finish(render_csv(answer["rows"], query.by))
            return
        self.send_json(answer | self.trouble())


class _Requests(_LedgerPage):
    async def get(self) -> None:
        query = list_query(await self.with_key(), self.now())
        self.send_json(await self.ask(partial(self.ledger.page, query)) | self.trouble())


class _Request(_LedgerPage):
    async def get(self, name: str) -> None:
        found = await self.ask(partial(self.ledger.request, name))
        if found is None:
            raise RequestError(
                f"The ledger has no request {name[:100]!r}.",
                status=404,
                code="request_not_found",
                hint="It is written half a second after its end, and kept as long as the settings "
                "say.",
            )
        self.send_json({"request": found})


class _Budgets(_LedgerPage):
    def get(self) -> None:
        self.send_json({"budgets": [_standing(one) for one in self.ledger.standings()]})


def _standing(standing: Standing) -> dict[str, Any]:
    budget = standing.budget
    scale = 1e6 if budget.unit == "usd" else 1
    about, name = budget.scope
    return {
        "name": budget.name,
        "unit": budget.unit,
        "period": budget.period,
        "key": name if about == "key" else None,
        "provider": name if about == "provider" else None,
        "limit": budget.limit / scale,
        "used": standing.used / scale,
        "used_percent": round(standing.part * 100, 1),
        "level": standing.level,
        "resets_at": standing.resets_at,
        "text": standing.sentence,
    }


def usage_routes(control: Any, ledger: LedgerDesk, now: Callable[[], float]) -> list[Any]:
    """Return the routes.

    Args:
        control: what all pages share.
        ledger: asked in threads.
        now: the clock, epoch seconds.
    """
    shared = {"control": control, "ledger": ledger, "now": now}
    return [
        (r"/admin/usage", _Usage, shared),
        (r"/admin/requests", _Requests, shared),
        (r"/admin/requests/(?P<name>[^/]+)", _Request, shared),
        (r"/admin/budgets", _Budgets, shared),
    ]
