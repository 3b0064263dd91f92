"""Helper programs joined to the accounts, and their routes under ``/admin/services``.

A program that is turned on is an account (``webai/webai``), or the account with cookies that was
signed in to; while it cannot be called, that account says why. Cookies are read from the vault at
each start; new ones start the program anew.

None of these routes can say *what* is started: that is the table's, and the settings' file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import msgspec

from app.accounts.account import Account
from app.accounts.desk import Desk
from app.config import Config
from app.errors import AppError, RequestError
from app.http import HttpReply, HttpRequest, Limits, Send
from app.log import tail
from app.paths import Paths
from app.providers.webai import ADDRESS, WEBAI, read_cookies
from app.server.guard import Kind
from app.server.pages import Page, Takes
from app.services.definition import Entry, ServiceView
from app.services.services import Services, Setting
from app.services.table import TABLE, new_key
from app.tasks import spawn
from app.upstream.webai import Reached, fetch_webai, with_webai

__all__ = ["ServiceDesk", "render_service"]

_ORDER = 2_000
"""After every other account."""
_MOST_LINES = 1_000
_NAME = WEBAI.id

Fetch = Callable[[HttpRequest, Limits], Awaitable[HttpReply]]


class Program(Protocol):
    """What of the program is needed; ``service.Service`` is one."""

    desk: Desk
    paths: Paths
    env: Mapping[str, str]
    config: Config


class ServiceDesk:
    """See the module. Made once; ``start`` → ``close``.

    Args:
        program: the whole.
        fetch: sends a request over HTTP and collects the answer.
        changed: called after each change of what is seen of the programs.
        ready: called with the account that can be called from now on.
        entries: in place of the table's, for tests.
    """

    def __init__(
        self,
        program: Program,
        fetch: Fetch,
        changed: Callable[[], None],
        ready: Callable[[Account], object],
        *,
        entries: Callable[[str, Callable[[], Mapping[str, Mapping[str, str]]]], list[Entry]]
        | None = None,
    ) -> None:
        self._program = program
        self._fetch = fetch
        self._told = changed
        self._ready = ready
        self._key = new_key()
        self._given: Mapping[str, Mapping[str, str]] = {}
        """The cookies that the program was started with."""
        self._was_ready = False
        make = entries or (lambda key, cookies: [make(key, cookies) for make in TABLE.values()])
        self.services = Services(
            make(self._key, self._hand_over),
            self._setting,
            program.paths,
            program.env,
            fetch,
            self._changed,
        )

    def _setting(self, name: str) -> Setting:
        section = getattr(self._program.config.services, name)
        key = section.api_key.resolve(self._program.env) if section.api_key is not None else None
        return Setting(section.enabled, section.port, section.url or "", key or "")

    # --- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start what is turned on."""
        await self.services.start()
        self.follow()

    async def configure(self) -> None:
        """Follow a change of the settings."""
        await self.services.configure()
        self.follow()

    async def close(self) -> None:
        """Stop all programs; returns when they are gone."""
        await self.services.close()

    def _changed(self, name: str) -> None:
        if name == _NAME:
            self._program.desk.book.publish()
            self.follow()
            ready = self.services.view(name).state == "ready"
            if ready and not self._was_ready:
                for account in self._own_accounts():
                    self._ready(account)
            self._was_ready = ready
        self._told()

    def follow(self) -> None:
        """Follow a change of the accounts: say at each why it cannot be called, note cookies."""
        book = self._program.desk.book
        trouble = self.services.trouble(_NAME)
        for record in book.records():
            if record.provider == _NAME:
                book.set_trouble(record.id, trouble)
        runs = self.services.view(_NAME).pid is not None
        if runs and self._cookies() != self._given:
            self._given = self._cookies()
            spawn(self.services.restart(_NAME), "new cookies")

    # --- accounts and calls ------------------------------------------------------------------------

    def accounts(self) -> tuple[Account, ...]:
        """Return the account of a program that is turned on, unless one was signed in to."""
        if not self.services.is_on(_NAME) or any(self._records()):
            return ()
        return (
            Account(
                id=f"{_NAME}/{_NAME}",
                provider=WEBAI,
                label=_NAME,
                base_url=ADDRESS,
                trouble=self.services.trouble(_NAME),
                order=_ORDER,
            ),
        )

    def _own_accounts(self) -> tuple[Account, ...]:
        return self.accounts() or tuple(
            Account(record.id, WEBAI, record.label, ADDRESS) for record in self._records()
        )

    def _records(self) -> list[Any]:
        return [r for r in self._program.desk.book.records() if r.provider == _NAME]

    def _cookies(self) -> Mapping[str, Mapping[str, str]]:
        for record in self._records():
            try:
                return read_cookies(record.credential.secret)
            except RequestError:
                continue  # written by another version; signing in again mends it
        return {}

    def _hand_over(self) -> Mapping[str, Mapping[str, str]]:
        self._given = self._cookies()
        return self._given

    def _reach(self) -> Reached:
        return Reached(*self.services.address(_NAME, self._key))

    def over(self, send: Send) -> Send:
        """Return a ``Send`` that knows where the programs are."""
        return with_webai(send, self._reach, lambda who: self.services.note_answer(_NAME, who))

    async def fetch(self, request: HttpRequest, limits: Limits) -> HttpReply:
        """Send a call to a program and collect the answer.

        Raises:
            UpstreamError: 503 ``service_not_ready``, or the call failed.
        """
        return await fetch_webai(self._fetch, self._reach, request, limits)

    # --- routes ------------------------------------------------------------------------------------

    def routes(self, control: Any) -> list[Any]:
        """Return the routes, for ``page_routes``."""
        shared = {"control": control, "desk": self}
        name = r"/admin/services/(?P<name>[a-z0-9-]+)"
        return [
            (r"/admin/services", _List, shared),
            (name, _One, shared),
            (rf"{name}/(?P<order>install|start|stop)", _Order, shared),
            (rf"{name}/logs", _Logs, shared),
        ]

    def rendered(self) -> list[dict[str, Any]]:
        """Return all programs for JSON."""
        return [
            render_service(view, self.services.entry(view.name)) for view in self.services.views()
        ]

    def one(self, name: str) -> dict[str, Any]:
        """Return one program for JSON.

        Raises:
            RequestError: 404 ``unknown_service``.
        """
        return render_service(self.services.view(name), self.services.entry(name))


def render_service(view: ServiceView, entry: Entry) -> dict[str, Any]:
    """Return a program as JSON has it: ``ServiceView``'s fields, and ``consent`` with the text."""
    fields: dict[str, Any] = msgspec.to_builtins(view)
    return {**fields, "consent": msgspec.to_builtins(entry.consent)}


class _ServicePage(Page):
    kind: ClassVar[Kind] = "control"
    desk: ServiceDesk

    def initialize(self, control: Any, desk: ServiceDesk) -> None:  # type: ignore[override]
        super().initialize(control)
        self.desk = desk


class _List(_ServicePage):
    def get(self) -> None:
        self.send_json({"services": self.desk.rendered()})


class _One(_ServicePage):
    def get(self, name: str) -> None:
        self.send_json(self.desk.one(name))


class _ServiceStart(msgspec.Struct, forbid_unknown_fields=True):
    consent: str = ""
    """Version of the text that the user has agreed to."""


class _Order(_ServicePage):
    takes: ClassVar[Takes] = {"post": _ServiceStart}

    async def post(self, name: str, order: str) -> None:
        services = self.desk.services
        match order:
            case "install":
                services.install(name)
            case "start":
                await services.turn_on(name, self._agreed().consent)
            case _:
                await services.turn_off(name)
        self.send_json(self.desk.one(name))

    def _agreed(self) -> _ServiceStart:
        if not self.request.body:
            return _ServiceStart()
        try:
            return msgspec.json.decode(self.request.body, type=_ServiceStart)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise RequestError(
                "The body must be JSON, with `consent` at most.", code="invalid_json"
            ) from error


class _Logs(_ServicePage):
    async def get(self, name: str) -> None:
        try:
            count = int(self.get_query_argument("n", "200"))
        except ValueError:
            raise RequestError("`n` is no number.", code="invalid_number", param="n") from None
        file = self.desk.services.log_of(name)
        lines = await asyncio.to_thread(_last_lines, file, max(0, min(count, _MOST_LINES)))
        self.send_json({"lines": lines})


def _last_lines(file: Path, count: int) -> list[str]:
    if not file.exists() or not count:
        return []
    try:
        return tail(file, count)
    except OSError as error:
        raise AppError(f"The log cannot be read: {error}.", code="log_unreadable") from error
