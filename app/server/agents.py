"""Agents over HTTP: how they stand, the exact change before it is made, making it, trying them.

These routes write files of the user, so they need what every control route needs. Nothing is
written that was not shown: a plan comes with the digest of its diffs, and making it names that
digest; where the files, or what would be written, changed in between, the answer is 409 and the
caller shows the new plan.

``GET /admin/agents``; ``POST /admin/agents/{name}/plan`` with ``models`` or ``undo``, then
``…/connect`` or ``…/disconnect`` with ``shown``; ``POST /admin/agents/{name}/test``.
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec

from app.errors import AppError, RequestError
from app.server.pages import Page, Takes
from app.tasks import spawn

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.clients.trial import Finding
    from app.server.agentdesk import AgentDesk

__all__ = ["agent_routes"]

_T = TypeVar("_T")


class _AgentPlan(msgspec.Struct, forbid_unknown_fields=True):
    models: dict[str, str] | None = None
    undo: bool = False


class _AgentChange(msgspec.Struct, forbid_unknown_fields=True):
    shown: str
    models: dict[str, str] | None = None


class _AgentTrial(msgspec.Struct, forbid_unknown_fields=True):
    models: dict[str, str] | None = None


class _AgentPage(Page):
    kind = "control"
    find_desk: Callable[[], AgentDesk]

    def initialize(self, control: Any, find_desk: Callable[[], AgentDesk]) -> None:  # type: ignore[override]
        super().initialize(control)
        self.find_desk = find_desk

    @property
    def desk(self) -> AgentDesk:
        """Return what looks at agents and changes them."""
        return self.find_desk()

    def body_of(self, kind: type[_T]) -> _T:
        """Return the request's JSON body.

        Raises:
            RequestError: ``invalid_json``.
        """
        try:
            return msgspec.json.decode(self.request.body or b"{}", type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise RequestError(f"The body is wrong: {error}.", code="invalid_json") from error


class _Agents(_AgentPage):
    async def get(self) -> None:
        self.send_json(await self.desk.show())


class _Plan(_AgentPage):
    takes: ClassVar[Takes] = {"post": _AgentPlan}

    async def post(self, name: str) -> None:
        wanted = self.body_of(_AgentPlan)
        self.send_json(await self.desk.plan(name, wanted.models, undo=wanted.undo))


class _Connect(_AgentPage):
    takes: ClassVar[Takes] = {"post": _AgentChange}
    undo = False

    async def post(self, name: str) -> None:
        wanted = self.body_of(_AgentChange)
        await self.desk.write(name, wanted.models, wanted.shown, undo=self.undo)
        self.send_json({"agent": name, "connected": not self.undo})


class _Disconnect(_Connect):
    undo = True


class _Test(_AgentPage):
    takes: ClassVar[Takes] = {"post": _AgentTrial}
    _running: asyncio.Task[list[Finding] | AppError] | None = None

    async def post(self, name: str) -> None:
        wanted = self.body_of(_AgentTrial)
        # A task of the program: it ends with it, and with the page that asked.
        self._running = spawn(self._find(name, wanted.models), f"test of {name[:40]}")
        try:
            found = await self._running
        except asyncio.CancelledError:
            raise AppError("The test was ended.", code="test_ended", status=503) from None
        if isinstance(found, AppError):
            raise found
        self.send_json(
            {
                "agent": name,
                "ok": all(one.verdict == "ok" for one in found),
                "findings": msgspec.to_builtins(found),
            }
        )

    async def _find(self, name: str, models: dict[str, str] | None) -> list[Finding] | AppError:
        try:
            return await self.desk.test(name, models)
        except AppError as error:
            return error  # an answer, which must not be logged as a failed task

    def on_connection_close(self) -> None:
        super().on_connection_close()
        if self._running is not None:
            self._running.cancel()


def agent_routes(control: Any) -> list[Any]:
    """Return the routes, for ``page_routes``.

    Args:
        control: what all pages share; also an ``agentdesk.Program``.
    """

    @cache
    def find_desk() -> AgentDesk:
        from app.server.agentdesk import AgentDesk

        return AgentDesk(control)

    shared = {"control": control, "find_desk": find_desk}
    name = r"/admin/agents/(?P<name>[a-z0-9-]+)"
    return [
        (r"/admin/agents", _Agents, shared),
        (f"{name}/plan", _Plan, shared),
        (f"{name}/connect", _Connect, shared),
        (f"{name}/disconnect", _Disconnect, shared),
        (f"{name}/test", _Test, shared),
    ]
