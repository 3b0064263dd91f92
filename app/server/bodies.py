"""Prompts and answers, where they are kept: taken down as calls go by, shown, and asked again.

``keeping`` stands between the routes and the gateway. While nothing is to be kept it costs a
look at the settings. ``Replay`` sends a kept request once more, to the same model or another, and
puts the two answers beside each other with their times and costs; the second call is a call like
any other, with a row of its own in the ledger.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final
from urllib.parse import quote

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.canonical.parts import DialectName
from app.dialects.base import Dialect
from app.errors import AppError, RequestError
from app.gateway.call import Call, Outcome, Sink
from app.gateway.takendown import Nowhere, TakenDown
from app.ledger.bodies import Answer, Bodies, Heard, Kept, as_json, read_answer
from app.ledger.entry import Entry as LedgerEntry
from app.server.inference import Handle, Inference
from app.server.pages import Page, Takes

__all__ = ["Replay", "body_routes", "keeping"]

_MOST_BYTES: Final = 8 * 1024 * 1024
"""Of an answer taken down; its text is shorter than its stream of events."""
_IN_PATH: Final = re.compile(r"(?<=/models/)[^:]+(?=:\w+$)")
"""The model in a path of Gemini's."""
_COLUMNS: Final = (
    *("asked", "model", "provider", "account", "upstream", "grade", "status", "error", "stop"),
    *("stream", "cached", "first_ms", "duration_ms", "worth"),
)
_TOKENS: Final = ("input", "cache_read", "cache_write", "output", "reasoning")


def keeping(handle: Handle, bodies: Bodies, now: Callable[[], float]) -> Handle:
    """Return what handles calls and keeps what they say, where the settings want that."""

    async def handled(call: Call, sink: Sink) -> Outcome:
        if not bodies.on or call.extra is not None:
            return await handle(call, sink)
        at, heard = now(), TakenDown(sink, _MOST_BYTES)
        try:
            return await handle(call, heard)
        finally:  # what a client did not wait for is kept as far as it came
            bodies.add(_heard(call, heard, at))

    return handled


def _heard(call: Call, taken: TakenDown, at: float) -> Heard:
    return Heard(
        id=call.request_id,
        at=at,
        dialect=call.dialect,
        path=call.path,
        query=call.query,
        headers=call.headers,
        request=call.raw,
        status=taken.status or 499,
        answer=taken.body,
        streamed=taken.streamed,
        plain=call.surface is None,
        cut=taken.cut,
    )


class Replay:
    """Sends kept requests again.

    Args:
        bodies: where they are kept.
        inference: finds what serves a path, and serves it.
        dialects: by name.
        row: returns a request of the ledger by its id, or None; blocks.
        entry: makes the ledger's entry of how a call has ended.
    """

    def __init__(
        self,
        bodies: Bodies,
        inference: Inference,
        dialects: Mapping[DialectName, Dialect],
        row: Callable[[str], Mapping[str, Any] | None],
        entry: Callable[[Outcome], LedgerEntry],
    ) -> None:
        self.bodies = bodies
        self._inference = inference
        self._dialects = dialects
        self._row = row
        self._entry = entry

    async def kept(self, name: str) -> Kept:
        """Return a call.

        Raises:
            RequestError: 404: it is not kept.
            AppError: the file cannot be used.
        """
        found = await asyncio.to_thread(self.bodies.find, name)
        if found is None:
            raise RequestError(
                f"Prompt and answer of {name[:100]!r} are not kept.",
                hint="They are kept for some days."
                if self.bodies.on
                else "With `ledger: {bodies: true}` in the settings they are, from then on.",
                status=404,
                code="body_not_kept",
            )
        return found

    async def run(self, name: str, model: str | None) -> dict[str, Any]:
        """Ask again.

        Args:
            name: id of the request in the ledger.
            model: another model; None for the one that was asked for then.

        Returns:
            ``original`` and ``replay``, each with ``id``, ``at``, the columns of the ledger that
            tell the two apart, ``cost_usd`` and ``answer`` (``text``, ``parts``, ``stop``,
            ``error``); numbers that the ledger no longer has are None.

        Raises:
            RequestError: 404: it is not kept; 409: it was too long to be kept whole.
        """
        kept = await self.kept(name)
        if kept.request.cut:
            raise RequestError(
                "The request was too long to be kept whole, so it cannot be asked again.",
                hint="`ledger: {bodies_each_kb: …}` in the settings says how long one may be.",
                status=409,
                code="body_cut",
            )
        row = await self._row_of(name)
        outcome, taken, call = await self._ask(kept, model)
        again = await asyncio.to_thread(
            read_answer,
            call.dialect,
            taken.status,
            taken.body,
            streamed=taken.streamed,
            plain=call.surface is None,
        )
        fresh = _columns(self._entry(outcome))
        return {
            "original": _side(name, kept.at, row, kept.answer),
            "replay": _side(call.request_id, outcome.at, fresh, again),
        }

    async def _row_of(self, name: str) -> Mapping[str, Any]:
        try:
            return await asyncio.to_thread(self._row, name) or {}
        except AppError:  # the ledger is one thing, and the answers are another
            return {}

    async def _ask(self, kept: Kept, model: str | None) -> tuple[Outcome, TakenDown, Call]:
        request, inference = kept.request, self._inference
        path, body = request.path, request.body
        if model is not None:
            if isinstance(body, dict) and "model" in body:
                body = {**body, "model": model}
            else:
                path = _IN_PATH.sub(lambda _: quote(model, safe=""), path)
        entry = inference.find("POST", path)
        if entry is None:
            raise RequestError(f"Nothing serves {path[:200]} any more.", status=409)
        taken = TakenDown(Nowhere(), _MOST_BYTES)
        call = Call(
            dialect=entry.dialect,
            route=entry.route,
            path=path,
            query=request.query,
            # An answer from a cache would say nothing about the model.
            headers=(*request.headers, ("cache-control", "no-cache")),
            raw=msgspec.json.encode(body),
            request_id=inference.new_id("req_"),
            owner="replay",
            allows=lambda _account, _model: True,
            client="replay",
            surface=entry.surface,
        )
        inference.began()
        try:
            return await inference.handle(call, taken), taken, call
        finally:
            inference.ended()


def _columns(entry: LedgerEntry) -> dict[str, Any]:
    """Return an entry that is still to be written as the ledger shows it."""
    return {
        **{name: getattr(entry, name) for name in _COLUMNS},
        **{name: getattr(entry.tokens, name, None) for name in _TOKENS},
        "cost_usd": None if entry.cost is None else entry.cost / 1e6,
    }


def _side(name: str, at: float, row: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    return {
        "id": name,
        "at": at,
        **{column: row.get(column) for column in (*_COLUMNS, *_TOKENS)},
        "cost_usd": row.get("cost_usd"),
        "answer": msgspec.to_builtins(answer) | {"text": answer.text},
    }


class ReplayWanted(BaseModel):
    """Asking a kept request again. The body may be empty."""

    model_config = ConfigDict(strict=True, frozen=True)

    model: str | None = Field(None, min_length=1)


class _ReplayPage(Page):
    kind = "control"

    def initialize(self, control: Any, replay: Replay) -> None:  # type: ignore[override]
        super().initialize(control)
        self.replay = replay


class _Again(_ReplayPage):
    takes: ClassVar[Takes] = {"post": ReplayWanted}

    async def post(self, name: str) -> None:
        self.send_json(await self.replay.run(name, _model_of(self.request.body)))


class _Body(_ReplayPage):
    async def get(self, name: str) -> None:
        self.send_json(as_json(await self.replay.kept(name)))


def _model_of(raw: bytes) -> str | None:
    try:
        return ReplayWanted.model_validate_json(raw.strip() or b"{}").model
    except ValidationError as error:
        if any(one["loc"] == ("model",) for one in error.errors(include_url=False)):
            raise RequestError("`model` is the name of a model.", param="model") from None
        raise RequestError("The body is a JSON object, or empty.", code="invalid_json") from None


def body_routes(control: Any, replay: Replay) -> list[Any]:
    """Return the routes."""
    shared = {"control": control, "replay": replay}
    return [
        (r"/admin/requests/(?P<name>[^/]+)/replay", _Again, shared),
        (r"/admin/requests/(?P<name>[^/]+)/body", _Body, shared),
    ]
