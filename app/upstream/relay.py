"""Pages in browsers as an upstream: each carries out HTTP calls that it is sent over a WebSocket.

The other end is an app in AI Studio's Build section, ours (``assets/aistudio``) or one of those
that are published. One JSON object per text frame: ``{"id", "type", "payload"}``. A call is
``http_request``; the page answers with the same id: ``stream_start``, any number of
``stream_chunk``, ``stream_end``; or one ``http_response``; or ``error``. ``ping`` from the page is
answered by ``pong``.

Our own page says ``hello`` first, with an id that outlives a reconnect. To such a page two more
things are said, which others would not understand: ``cancel`` when nobody waits for an answer any
more, and ``pause`` and ``resume`` when somebody reads it more slowly than it comes. It numbers its
chunks in ``seq``, so that a missing one is noticed.

**Nothing is dropped.** Every call has its own queue. Past a first mark the page is asked to pause
that one call. Past a second one (pages that know no ``pause``) the socket is read no further, for
at most ``patience_s``; then the one call whose reader is too slow fails, so that the others go on.
A call ends well only with its terminal message: whatever else ends it is an error.

States of a page: open → (hello) → lost: by its own end, by a newer page with the same id, or by a
key that was revoked. Losing a page ends each of its calls at once. An account whose last page is
lost stays in force and says what it waits for, so that the roster keeps what it knows about it.

Source: CLIProxyAPI (internal/wsrelay at a7e3596b7) and the page of
lazzman/aistudio-build-proxy-all at c8f2c16, read 2026-11.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from app.accounts.account import Account
from app.accounts.book import check_label
from app.errors import RequestError, UpstreamError
from app.http import HttpReply, HttpRequest, Limits, Send, StreamedReply
from app.keys import KeyRecord
from app.providers.aistudio import AISTUDIO, SCHEME, SITE
from app.upstream.relay_page import REPLACED, Marks, Page, PageSocket

__all__ = ["PageView", "Relay", "label_of", "relay_labels", "with_relay"]

_log = logging.getLogger("dragoman.upstream")

_ORDER = 1_000
"""Accounts of pages come after those of the settings."""
_MOST_PAGES = 8
"""Of one account: a page that reconnects wildly must not fill the memory."""
_ASLEEP_S = 120.0
"""Our page sends a sign of life every 25 s; browsers let the timers of a hidden tab go off once a
minute."""


@dataclass(frozen=True, slots=True)
class PageView:
    """A connected page, for status."""

    account: str
    client_id: str
    """Empty for a page that says no ``hello``."""
    opened_at: float
    """Epoch seconds UTC, as is the next."""
    heard_at: float
    running: int
    """Calls under way."""
    asleep: bool
    """The socket lives, but the page's script has not been heard for minutes."""


def _unheard(_account_id: str, _connected: bool) -> None:
    return None


def label_of(account: str) -> str:
    """Return the label of the account that a relay key names, as ``aistudio/home`` or ``home``.

    Raises:
        RequestError: it is no account of AI Studio's.
    """
    try:
        return check_label(account.removeprefix(f"{AISTUDIO.id}/"))
    except RequestError as error:
        raise RequestError(
            f"{account[:100]!r} is no account of {AISTUDIO.title}.",
            hint="A relay key names one: `dragoman keys create --relay aistudio/home`.",
            code="invalid_label",
        ) from error


def relay_labels(keys: Iterable[KeyRecord], now: float) -> tuple[str, ...]:
    """Return the labels of the accounts that keys let pages connect for.

    Args:
        keys: all keys there are.
        now: epoch seconds UTC.
    """
    labels: dict[str, None] = {}
    for key in keys:
        if key.kind == "relay" and key.state(now) == "active":
            for account in key.accounts or ():
                with suppress(RequestError):  # another service's: refused when a page comes
                    labels[label_of(account)] = None
    return tuple(labels)


def with_relay(send: Send, relay: Relay) -> Send:
    """Return a ``Send`` that lets pages carry out ``aistudio://`` and hands everything else on."""

    async def choose(request: HttpRequest, limits: Limits) -> StreamedReply:
        if not request.url.startswith(SCHEME):
            return await send(request, limits)
        return await relay.send(request, limits)

    return choose


class Relay:
    """All pages, by the label of their account.

    Args:
        now: epoch seconds UTC.
        new_id: makes the ids of calls.
        changed: told an account's id, and whether a page of it is connected, when that changes or
            the account is new.
        marks: how much may wait.
    """

    def __init__(
        self,
        now: Callable[[], float],
        new_id: Callable[[], str],
        *,
        changed: Callable[[str, bool], None] = _unheard,
        marks: Marks | None = None,
    ) -> None:
        self.now = now
        self.new_id = new_id
        self.changed = changed
        self.marks = marks or Marks()
        self._pages: dict[str, list[Page]] = {}
        """An entry without pages is an account that waits for one."""

    # --- what there is ---------------------------------------------------------------------------

    def know(self, labels: Iterable[str]) -> None:
        """Take accounts that have a relay key, whether or not a page of them ever connected."""
        for label in labels:
            if label not in self._pages:
                self._pages[label] = []
                self.changed(_account_id(label), False)

    def accounts(self) -> tuple[Account, ...]:
        """Return the accounts of all pages that are or were connected, and those made known."""
        return tuple(
            Account(
                id=_account_id(label),
                provider=AISTUDIO,
                label=label,
                base_url=f"{SCHEME}{label}",
                credential=None,
                trouble="" if pages else "no page is connected; open the app in AI Studio",
                order=_ORDER + place,
            )
            for place, (label, pages) in enumerate(self._pages.items())
        )

    def pages(self) -> tuple[PageView, ...]:
        """Return the connected pages."""
        now = self.now()
        return tuple(
            PageView(
                _account_id(label),
                page.client_id,
                page.opened_at,
                page.heard_at,
                len(page.calls),
                now - page.heard_at > _ASLEEP_S,
            )
            for label, pages in self._pages.items()
            for page in pages
        )

    # --- sockets come and go -----------------------------------------------------------------------

    def open(self, label: str, socket: PageSocket) -> Page:
        """Take a new socket; its account can be called from now on.

        Raises:
            RequestError: 429 ``too_many_pages``.
        """
        pages = self._pages.setdefault(label, [])
        if len(pages) >= _MOST_PAGES:
            raise RequestError(
                f"{len(pages)} pages of this account are connected already.",
                status=429,
                code="too_many_pages",
            )
        page = Page(self, _account_id(label), socket)
        pages.append(page)
        _log.info("a page of %s is connected", _account_id(label))
        if len(pages) == 1:
            self.changed(_account_id(label), True)
        return page

    def named(self, page: Page) -> None:
        """End an older page that has the same id as one that has just said it."""
        for other in list(self._pages[_label(page)]):
            if other is not page and other.client_id == page.client_id:
                other.end(REPLACED, "replaced by new connection")

    def left(self, page: Page, reason: str) -> None:
        """Forget a page that is lost."""
        pages = self._pages[_label(page)]
        pages.remove(page)
        _log.info("a page of %s is gone: %s", page.account, reason)
        if not pages:
            self.changed(page.account, False)

    def close_all(self) -> None:
        """Tell every page that the server goes away; its calls end."""
        for pages in self._pages.values():
            for page in list(pages):
                page.end(1001, "Dragoman is stopping")

    # --- calls -------------------------------------------------------------------------------------

    async def send(self, request: HttpRequest, limits: Limits) -> StreamedReply:
        """Have a page carry out a call.

        Raises:
            UpstreamError: ``relay_not_connected`` (503), or with the codes of
                ``app.upstream.failures``.
            RequestError: the body is no text.
        """
        label, _, path = request.url.removeprefix(SCHEME).partition("/")
        page = self._choose(label)
        if page is None:
            raise UpstreamError(
                f"No AI Studio page of {_account_id(label)} is connected.",
                hint="Open the app in AI Studio and keep its window open.",
                status=503,
                code="relay_not_connected",
            )
        return await page.run(request, f"{SITE}/{path}", limits)

    async def fetch(self, request: HttpRequest, limits: Limits) -> HttpReply:
        """Have a page carry out a call, and collect the answer.

        Raises:
            UpstreamError: as ``send``, or the answer is too long.
        """
        reply = await self.send(request, limits)
        try:
            return HttpReply(reply.status, reply.headers, await reply.read(limits.max_body_bytes))
        finally:
            await reply.aclose()

    def _choose(self, label: str) -> Page | None:
        """Return the page with the fewest calls; the newest of equals is the likeliest to live."""
        for page in list(self._pages.get(label, ())):
            page.check_key()
        newest_first = reversed(self._pages.get(label, []))
        return min(newest_first, key=lambda page: len(page.calls), default=None)


def _account_id(label: str) -> str:
    return f"{AISTUDIO.id}/{label}"


def _label(page: Page) -> str:
    return page.account.removeprefix(f"{AISTUDIO.id}/")
