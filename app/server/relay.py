"""``GET /v1/ws``: the WebSocket that pages of AI Studio connect to, and the app to copy there.

A browser can send a WebSocket no header field of its own, so the relay key travels in the query
(``?auth_token=``), which is kept out of logs. Being the same user proves nothing here: any page
that the user visits could connect. So a page needs a relay key, which names its account, *and* an
origin on which AI Studio runs apps. A program without an origin needs the key alone.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

import msgspec
from tornado.websocket import WebSocketClosedError

from app.errors import AccessError, AppError, RequestError
from app.keys import KeyRecord
from app.paths import asset
from app.providers.aistudio import AISTUDIO
from app.providers.signin import Consent
from app.server.caller import Access
from app.server.frames import StrictWebSocketHandler
from app.server.pages import Control, Page, Takes
from app.upstream.relay import Relay, label_of
from app.upstream.relay_page import Page as RelayedPage
from app.upstream.relay_page import PageGone

__all__ = ["fill_app", "is_relay_origin", "relay_routes"]

_ORIGIN = re.compile(r"https://(aistudio\.google\.com|ai\.studio|([a-z0-9-]+\.)+usercontent\.goog)")
_FILES = ("index.html", "index.tsx", "metadata.json")
_ADDRESS, _KEY = '"DRAGOMAN_ADDRESS"', '"DRAGOMAN_KEY"'
"""What stands in the app for the two values that are filled in, quotes included."""
_PING_S = 30.0
_MOST_REASON = 120
"""Bytes of a close frame's reason (RFC 6455, section 5.5, less the code)."""


def is_relay_origin(origin: str) -> bool:
    """Say whether AI Studio runs its apps on an origin (lower case).

    A sandboxed frame has the origin ``null``. It is on the list since the key is needed, too.
    """
    return origin == "null" or _ORIGIN.fullmatch(origin) is not None


class RelaySocket(StrictWebSocketHandler, Page):
    """One page's WebSocket. States: open → closed (either side)."""

    kind = "relay"
    relay: Relay

    def initialize(  # type: ignore[override] # Tornado gives each route its own arguments
        self,
        control: Control,
        relay: Relay,
        max_frame_bytes: Callable[[], int],
        ping_s: float,
    ) -> None:
        """Take what the routes share."""
        super().initialize(control)
        self.relay = relay
        self._max_frame_bytes = max_frame_bytes
        self._ping_s = ping_s
        self._label = ""
        self._page: RelayedPage | None = None

    async def prepare(self) -> None:
        """Check key, origin and account before the handshake."""
        request = self.request
        context = getattr(request.connection, "context", None)
        access = self.control.access
        origin = request.headers.get("Origin", "").strip().rstrip("/").lower()
        try:
            if access.must_wait(context, request.query, request.headers):
                await access.ready(context)
            self.grant = _with_origin(access, origin).check(
                "relay",
                context,
                request.method or "GET",
                request.path,
                request.query,
                request.headers,
            )
            self._label = _label(self.grant.key.accounts if self.grant.key is not None else None)
            if request.method == "GET" and request.headers.get("Upgrade", "").lower() != (
                "websocket"
            ):
                self.set_header("Upgrade", "websocket")
                raise RequestError(
                    "This address answers a WebSocket upgrade.",
                    status=426,
                    code="upgrade_required",
                )
        except AppError as error:
            self.refuse(error)

    def check_origin(self, origin: str) -> bool:
        """Leave origins to the access rules, which have been asked already."""
        return True

    @property
    def max_message_size(self) -> int:
        """Return the limit of one frame."""
        return self._max_frame_bytes()

    @property
    def ping_interval(self) -> float:
        """Return after how many seconds a ping is sent, and how long its answer may take."""
        return self._ping_s

    def open(self, *_args: str, **_kwargs: str) -> None:
        """Take the page in."""
        try:
            self._page = self.relay.open(self._label, self)
        except AppError as error:
            self.end(1013, error.message)

    async def on_message(self, message: str | bytes) -> None:
        """Hand a frame on; the next one is read when it has been taken."""
        if self._page is not None:
            await self._page.feed(message)

    def on_close(self) -> None:
        """Let the page go."""
        if self._page is not None:
            self._page.lost(self.close_reason or f"code {self.close_code or 1006}")

    # --- what the page needs of its socket (``upstream.relay_page.PageSocket``) --------------------

    def send_text(self, text: str) -> Awaitable[None]:
        """Send a frame.

        Raises:
            PageGone: the socket is closed.
        """
        try:
            writing = self.write_message(text)
        except WebSocketClosedError as error:
            raise PageGone from error
        return _written(writing)

    def end(self, code: int, reason: str) -> None:
        """Close the socket."""
        cut = reason.encode()[:_MOST_REASON].decode("utf-8", "ignore")
        with suppress(WebSocketClosedError):
            self.close(code, cut)

    def permitted(self) -> bool:
        """Say whether the key is still good."""
        held = self.grant.key
        if held is None:
            return False
        access = self.control.access
        known = access.keys.find(held.sha256)
        return known is not None and known.state(access.now()) == "active"


async def _written(writing: Awaitable[None]) -> None:
    try:
        await writing
    except WebSocketClosedError as error:
        raise PageGone from error


def _with_origin(access: Access, origin: str) -> Access:
    """Return the rules with one more origin, where AI Studio runs apps on it."""
    if not is_relay_origin(origin):
        return access
    policy = replace(access.policy, origins=access.policy.origins | {origin})
    return replace(access, policy=policy)


def _label(accounts: tuple[str, ...] | None) -> str:
    """Return the label of the one account that a relay key is for.

    Raises:
        AccessError: it is none of AI Studio's.
    """
    try:
        return label_of(accounts[0] if accounts else "")
    except RequestError as error:
        raise AccessError(
            error.message, hint=error.hint, status=403, code="wrong_account"
        ) from error


# --- the app to copy -------------------------------------------------------------------------------


class _RelayAppWanted(msgspec.Struct, forbid_unknown_fields=True):
    account: str
    """As ``aistudio/home`` or ``home``."""
    consent: str = ""
    """Version of the text that the user has agreed to."""
    address: str = ""
    """Of the socket, where it is not reached at our own loopback address."""
    key: str = ""
    """A relay key that there is already; without one a new key is made."""


class KeyMaker(Control, Protocol):
    """A program that makes keys; ``service.Service`` is one."""

    async def create_key(self, body: bytes) -> tuple[KeyRecord, str]:
        """Make a key from a JSON body; ``RequestError`` when it is wrong."""
        ...


class RelayApp(Page):
    """The page's own files, with address and key filled in."""

    kind = "control"
    takes: ClassVar[Takes] = {"post": _RelayAppWanted}
    control: KeyMaker

    def initialize(  # type: ignore[override] # Tornado gives each route its own arguments
        self, control: Control, port: Callable[[], int]
    ) -> None:
        """Take what the routes share."""
        super().initialize(control)
        self._address = f"ws://127.0.0.1:{port()}/v1/ws"

    def get(self) -> None:
        """Show the files without a key, and what has to be agreed to for one."""
        self.send_json(
            {
                "address": self._address,
                "files": fill_app(self._address, ""),
                "consent": msgspec.to_builtins(_consent()),
            }
        )

    async def post(self) -> None:
        """Make a relay key for an account, and give the files with it.

        Raises:
            RequestError: the body is wrong, or the text was not agreed to.
        """
        try:
            wanted = msgspec.json.decode(self.request.body, type=_RelayAppWanted)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            told = str(error) if isinstance(error, msgspec.ValidationError) else "it is no JSON"
            raise RequestError(f"The body is wrong: {told}.", code="invalid_json") from None
        account = f"{AISTUDIO.id}/{label_of(wanted.account)}"
        address = _checked_address(wanted.address or self._address)
        consent = _consent()
        if wanted.consent != consent.version:
            raise RequestError(
                f"The terms must be agreed to first: {consent.text} {consent.instead}",
                hint=f'Send "consent": "{consent.version}" once the user has agreed.',
                status=409,
                code="consent_required",
            )
        key = wanted.key
        if not key:
            body = {"kind": "relay", "label": f"page of {account}", "accounts": [account]}
            _, key = await self.control.create_key(msgspec.json.encode(body))
        self.send_json(
            {"account": account, "address": address, "key": key, "files": fill_app(address, key)},
            201,
        )


def fill_app(address: str, key: str) -> dict[str, str]:
    """Return the app's files by name, with the socket's address and the key in their places.

    Raises:
        FileNotFoundError: the installation is not complete.
    """
    files = {name: asset(f"aistudio/{name}").read_text("utf-8") for name in _FILES}
    script = files["index.tsx"]
    for place, value in ((_ADDRESS, address), (_KEY, key)):
        script = script.replace(place, msgspec.json.encode(value).decode())
    return {**files, "index.tsx": script}


def _consent() -> Consent:
    consent = AISTUDIO.consent
    assert consent is not None  # noqa: S101 - narrows the type
    return consent


def _checked_address(address: str) -> str:
    """Return a socket's address.

    Raises:
        RequestError: browsers would not connect to it from AI Studio.
    """
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    local = host in ("localhost", "127.0.0.1", "::1")
    if not host or parts.scheme not in (("ws", "wss") if local else ("wss",)):
        raise RequestError(
            "The address must be ws://127.0.0.1:…/v1/ws, or begin with wss:// elsewhere.",
            hint="Browsers connect without TLS to this machine only.",
            code="invalid_address",
            param="address",
        )
    return address


def relay_routes(
    control: Control,
    relay: Relay,
    *,
    port: Callable[[], int],
    max_frame_mb: Callable[[], int],
    ping_s: float = _PING_S,
) -> list[Any]:
    """Return the routes of the relay.

    Args:
        control: the program.
        relay: takes the pages.
        port: what Dragoman listens on.
        max_frame_mb: largest frame of a page in megabytes; asked for each socket.
        ping_s: how often a page is asked for a sign of life, and how long it may take to answer.
    """
    socket = {
        "control": control,
        "relay": relay,
        "max_frame_bytes": lambda: max_frame_mb() * 1024 * 1024,
        "ping_s": ping_s,
    }
    app = {"control": control, "port": port}
    return [(r"/v1/ws", RelaySocket, socket), (r"/admin/aistudio/app", RelayApp, app)]
