"""The dashboard's page and what it asks beside the other control routes.

The page itself (``GET /admin`` and its files) is open to whoever may reach the port and holds
nothing; all that it shows it asks for with a session. How it comes by one: whoever controls the
program asks ``POST /admin/ticket`` and opens ``/admin#ticket=…``; the page trades the ticket for a
session by ``POST /admin/session``, which answers only on a connection that the kernel proves to be
the user's own. ``DELETE /admin/session`` ends it.

The content security policy allows the page's own files and nothing else: no inline script or
style, no other host, no frame around it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
from tornado.iostream import StreamClosedError

from app.accounts.account import Account
from app.errors import AccessError, AppError, RequestError
from app.gateway.status import ModelStatus
from app.help import TROUBLESHOOTING, has_entry, read_groups, read_page
from app.paths import asset
from app.routing.catalog import Catalog
from app.server.agents import agent_routes
from app.server.front import FrontContext
from app.server.guard import Kind
from app.server.help import help_routes
from app.server.helptext import render_text
from app.server.live import Feed, Live
from app.server.pages import Page, Takes
from app.server.sessions import TICKET_S, Sessions
from app.server.settings import SettingsDesk, settings_routes

__all__ = ["Dashboard", "dashboard_routes", "model_table"]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Dashboard:
    """What the dashboard's routes share."""

    sessions: Sessions
    live: Live
    settings: SettingsDesk
    models: Callable[[], list[dict[str, Any]]]
    """Returns ``model_table`` of now."""
    show: Callable[[], bool] | None = None
    """Brings the desktop's window to the front; returns whether there is one."""


class _DashboardPage(Page):
    kind: ClassVar[Kind] = "control"
    dashboard: Dashboard

    def initialize(self, control: Any, dashboard: Dashboard) -> None:  # type: ignore[override]
        super().initialize(control)
        self.dashboard = dashboard

    def token(self) -> str:
        """Return the bearer token of the request."""
        return self.request.headers.get("Authorization", "").partition(" ")[2].strip()

    def address(self) -> str:
        """Return the page's address with a fresh ticket, by the name that the caller uses."""
        ticket = self.dashboard.sessions.new_ticket()
        return f"http://{self.request.headers['Host']}/admin#ticket={ticket}"


class _File(_DashboardPage):
    """The page and its files. Their names are matched as a whole, so that no path leads out."""

    kind = "open"

    def get(self, name: str = "index.html") -> None:
        try:
            content = asset(f"dashboard/{name}").read_bytes()
        except FileNotFoundError:
            raise RequestError(
                f"There is no file {name}.", status=404, code="route_not_found"
            ) from None
        self.send_file(content, _TYPES[name.rpartition(".")[2]], _POLICY)


class _Ticket(_DashboardPage):
    def post(self) -> None:
        self.send_json({"url": self.address(), "expires_in": round(TICKET_S)}, 201)


class _Show(_DashboardPage):
    def post(self) -> None:
        show = self.dashboard.show
        if show is not None and show():
            self.send_json({"shown": True, "url": ""})
        else:
            self.send_json({"shown": False, "url": self.address()})


class _SessionWanted(msgspec.Struct, forbid_unknown_fields=True):
    ticket: str


class _Session(_DashboardPage):
    """Opening a session is for anybody with a ticket, ending one for whoever has it."""

    kind = "open"
    takes: ClassVar[Takes] = {"post": _SessionWanted}

    def post(self) -> None:
        context = getattr(self.request.connection, "context", None)
        if not isinstance(context, FrontContext) or not context.caller.same_user:
            raise AccessError(
                "The operating system does not show that this browser belongs to the user who "
                "runs Dragoman.",
                hint="Open the dashboard on the machine and under the user that Dragoman runs on.",
                status=403,
                code="caller_not_proven",
            )
        if not self._is_own_page():
            raise AccessError(
                "Only Dragoman's own page may do this.", status=403, code="origin_not_allowed"
            )
        try:
            wanted = msgspec.json.decode(self.request.body, type=_SessionWanted)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise RequestError("The body needs a ticket.", code="invalid_json") from error
        token = self.dashboard.sessions.redeem(wanted.ticket)
        if token is None:
            raise AccessError(
                "This ticket was used already, or is more than half a minute old.",
                hint="Open the dashboard again: `dragoman open`.",
                status=401,
                code="ticket_refused",
            )
        self.send_json({"token": token}, 201)

    def delete(self) -> None:
        self.send_json({"ended": self.dashboard.sessions.end(self.token())})

    def _is_own_page(self) -> bool:
        headers = self.request.headers
        site = headers.get("Sec-Fetch-Site", "same-origin").strip().lower()
        own = f"http://{headers.get('Host', '')}".lower()
        return site in ("same-origin", "none") and headers.get("Origin", own).lower() == own


class _Live(_DashboardPage):
    _feed: Feed | None = None

    async def get(self) -> None:
        live = self.dashboard.live
        if live.full:
            raise AppError(
                "Too many pages look already.",
                hint="Close some of them.",
                status=503,
                code="too_many_readers",
            )
        self.set_header("Content-Type", "application/x-ndjson; charset=utf-8")
        token = self.token()
        by_session = self.grant.who == "session"
        sessions = self.dashboard.sessions

        def alive() -> bool:
            return not by_session or sessions.accepts(token)

        self._feed = live.feed(alive)
        try:
            async with aclosing(self._feed.pieces()) as pieces:
                async for piece in pieces:
                    self.write(piece)
                    await self.flush()
            await self.finish()
        except StreamClosedError:
            return  # the page was closed

    def on_connection_close(self) -> None:
        super().on_connection_close()
        if self._feed is not None:
            self._feed.leave()


class _Models(_DashboardPage):
    def get(self) -> None:
        self.send_json({"models": self.dashboard.models()})


class _Help(_DashboardPage):
    """The pages as the dashboard shows them; ``server.help`` has them for any browser."""

    async def get(self, name: str | None = None) -> None:
        if name is None:
            groups = [
                {
                    "title": group.title,
                    "pages": [
                        {"name": page.name, "title": page.title, "about": page.about}
                        for page in group.pages
                    ],
                }
                for group in read_groups()
            ]
            self.send_json({"groups": groups})
            return
        anchor = ""
        if read_page(name) is None and has_entry(name):
            name, anchor = TROUBLESHOOTING, name
        try:
            html = await asyncio.to_thread(render_text, name)
        except KeyError:
            raise RequestError(
                f"There is no help page {name}.", status=404, code="no_help_page"
            ) from None
        self.send_json({"name": name, "anchor": anchor, "html": html})


def model_table(
    accounts: Sequence[Account], catalog: Catalog, routes: Sequence[ModelStatus]
) -> list[dict[str, Any]]:
    """Return every name that clients may ask for, with what is known of it.

    Args:
        accounts: all accounts.
        catalog: what is known of models.
        routes: who answers each name now, ``gateway.status.describe_models``.

    Returns:
        One object per name: ``name``, ``title`` (as the service calls it), ``provider``,
        ``service`` (its name), ``account``, ``upstream``, ``alias_of``, ``reason`` (why nobody
        can answer; empty when somebody can), ``context``, ``max_output`` (tokens, or None),
        ``tools``, ``images``, ``reasoning``, and ``accounts`` (ids of all that have it).
    """
    having: dict[str, list[str]] = {}
    names: dict[str, tuple[Account, str]] = {}
    for account in accounts:
        for public, upstream in catalog.names(account).items():
            having.setdefault(public, []).append(account.id)
            names.setdefault(public, (account, upstream))
    by_id: Mapping[str, Account] = {account.id: account for account in accounts}
    return [_model_row(route, by_id, catalog, having, names) for route in routes]


def _model_row(
    route: ModelStatus,
    accounts: Mapping[str, Account],
    catalog: Catalog,
    having: Mapping[str, list[str]],
    names: Mapping[str, tuple[Account, str]],
) -> dict[str, Any]:
    account = accounts.get(route.account)
    served = (account, route.upstream) if account is not None else names.get(route.name)
    row: dict[str, Any] = {
        "name": route.name,
        "title": "",
        "provider": route.provider,
        "service": route.title,
        "account": route.account,
        "upstream": route.upstream,
        "alias_of": route.alias_of,
        "reason": route.reason,
        "context": None,
        "max_output": None,
        "tools": None,
        "images": None,
        "reasoning": None,
        "accounts": having.get(route.name) or having.get(route.alias_of) or [],
    }
    if served is None:
        return row
    holder, upstream = served
    facts = catalog.facts(holder, upstream)
    profile = catalog.profile(holder, route.name, upstream)
    return row | {
        "title": (facts.name if facts is not None else None) or "",
        "context": profile.context,
        "max_output": profile.max_output,
        "tools": profile.tools,
        "images": profile.images,
        "reasoning": profile.reasoning,
    }


def dashboard_routes(control: Any, dashboard: Dashboard) -> list[Any]:
    """Return the routes, for ``page_routes``.

    Args:
        control: what all pages share.
        dashboard: what these share.
    """
    shared = {"control": control, "dashboard": dashboard}
    return [
        (r"/admin/?", _File, shared),
        (r"/admin/static/(?P<name>[a-z0-9-]+\.(?:html|css|js|svg))", _File, shared),
        (r"/admin/ticket", _Ticket, shared),
        (r"/admin/session", _Session, shared),
        (r"/admin/show", _Show, shared),
        (r"/admin/live", _Live, shared),
        (r"/admin/models", _Models, shared),
        (r"/admin/help", _Help, shared),
        (r"/admin/help/(?P<name>[a-z0-9_-]+)", _Help, shared),
        *settings_routes(control, dashboard.settings),
        *agent_routes(control),
        *help_routes(control),
    ]
