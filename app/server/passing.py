"""Routes whose calls are passed on as they are."""

from __future__ import annotations

from typing import Any

from app.canonical.parts import DialectName
from app.dialects.base import Route
from app.gateway.call import Call
from app.gateway.passthrough import Passthrough
from app.http import Headers
from app.server.caller import account_scope
from app.server.pages import Control, Page

__all__ = ["passing_routes"]


class _Pass(Page):
    passthrough: Passthrough

    def initialize(self, control: Control, passthrough: Passthrough) -> None:  # type: ignore[override]
        super().initialize(control)
        self.passthrough = passthrough

    async def post(self) -> None:
        name: DialectName = (
            "openai_responses" if self.request.path.endswith("compact") else "openai_chat"
        )
        dialect = self.control.dialects[name]
        route: Route = dialect.routes[0]
        call = Call(
            dialect=dialect,
            route=route,
            path=self.request.path,
            query=self.request.query,
            headers=tuple(self.request.headers.get_all()),
            raw=self.request.body,
            request_id=self.request_id,
            owner=self.grant.owner,
            allows=account_scope(self.grant),
            show_account=self.grant.key is None,
        )
        await self.passthrough.handle(call, _PageSink(self))


class _PageSink:
    """Answers through a page; these calls never stream."""

    started = False
    written_at = 0.0

    def __init__(self, page: Page) -> None:
        self._page = page

    def start(self, status: int, headers: Headers) -> None:
        self.started = True
        self._page.set_status(status)
        for key, value in headers:
            self._page.set_header(key, value)

    async def write(self, data: bytes) -> None:
        self._page.write(data)
        await self._page.flush()

    def ping(self, data: bytes) -> bool:
        return False

    def finish(self) -> None:
        self._page.finish()

    def reply(self, status: int, headers: Headers, body: bytes) -> None:
        self.start(status, headers)
        self._page.finish(body)


def passing_routes(control: Control, passthrough: Passthrough) -> list[Any]:
    """Return the routes of embeddings, images and compaction."""
    shared = {"control": control, "passthrough": passthrough}
    return [
        (r"/v1/embeddings", _Pass, shared),
        (r"/v1/images/generations", _Pass, shared),
        (r"/v1/responses/compact", _Pass, shared),
    ]
