"""Sign-ins on the desktop: which windows they have, and what becomes of them.

A sign-in has up to two windows. *Ours* shows our own page: the choice between a window and the
browser, the text to agree to, a code, a field to paste into, how it ended. *Theirs* shows the
service's page and nothing of ours: another process with another folder, without a session of the
dashboard, and with what has to be said about the page in its title and its menu. States::

    choosing ─→ running in a window  ⇄ running in the browser ─→ ended
        └───────────────┴──────────────────────┴─→ cancelled       (its last window was closed)

A service's page that turns the window away, or wants a second one, stays as it is; our window
says so beside it and offers the browser, where the same sign-in goes on.

Everything here runs on the desktop's loop; windows report from threads of their own, the proxy
from its loop, and both only leave a call behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from app.desktop.folders import Folders
from app.desktop.told import Start, Submit, Told
from app.desktop.windows import Cookie, Page, Windows
from app.errors import AppError
from app.gateway.status import Status

if TYPE_CHECKING:
    from app.server.places import Place

__all__ = ["SignIns"]

_log = logging.getLogger("dragoman.desktop")

_SEEN_S = 4.0
"""How long the last page of a sign-in that worked stays: long enough to read name and plan."""
_HOME_S = 5.0
"""How long the page that the service sends the window to may take to show."""
_DRAWN_S = 15.0
_OURS = (520, 640)
_THEIRS = (560, 780)
_ASIDE = 285
"""Ours stands left of theirs: a code is read off it, or why the other cannot go on."""
_MENU = (
    ("Open in my browser", "browser"),
    ("Paste code…", "paste"),
    ("Other ways to sign in…", "ways"),
)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_GOOGLE_NO = ("/signin/rejected", "/signin/oauth/error")
"""Paths on which Google says that it lets no embedded view sign in (observed 2026)."""

_Shown: TypeAlias = Literal["", "window", "browser"]
"""Where a page is: nowhere, in a window, or in a tab of the browser that nobody can close."""

_Event: TypeAlias = Mapping[str, Any]


@dataclass(eq=False, slots=True)
class _SignIn:
    """One sign-in, from the click to its last window."""

    key: str
    """Id of the account to repair, else of the provider: one at a time for each."""
    title: str
    begun_here: bool
    """By the menu; else by the dashboard, which shows by itself how it goes."""
    told: Told | None = None
    place: Place = "window"
    ours: _Shown = ""
    theirs: _Shown = ""
    ours_id: int = 0
    """Counts the windows of a kind: the end of one must not count for its successor."""
    theirs_id: int = 0
    folder: Path | None = None
    address: str = ""
    """Where the service's page began."""
    taking: bool = False
    """What the window came for was read, and is being tried."""
    troubles: set[str] = field(default_factory=set)
    """Hosts that were complained of already."""
    drawn: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while our window shows its page."""
    home: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while their window shows our own page after the sign-in."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while there is no window of theirs."""
    watch: asyncio.Task[None] | None = None

    @property
    def live(self) -> bool:
        return self.told is not None and self.told.live


class SignIns:
    """All sign-ins of the desktop; implements ``server.places.Shower`` for the proxy.

    Args:
        windows: opens them.
        folders: where pages keep things.
        call: has the program carry a command out; see ``flows``.
        begin: runs a coroutine on the desktop's loop; from any thread.
        places: where the user had each service's page last time.
        remember: keeps that.
        changed: called after each step, so that the menu shows what waits.
        seen_s: how long the last page of a sign-in that worked stays, in seconds.
    """

    def __init__(
        self,
        windows: Windows,
        folders: Folders,
        call: Callable[[str, str], Future[str]],
        begin: Callable[[Coroutine[Any, Any, None]], None],
        places: Mapping[str, Place],
        remember: Callable[[Mapping[str, Place]], None],
        *,
        changed: Callable[[], None],
        seen_s: float = _SEEN_S,
    ) -> None:
        self._windows = windows
        self._folders = folders
        self._call = call
        self._begin = begin
        self._places = MappingProxyType(dict(places))
        self._remember = remember
        self._changed = changed
        self._seen_s = seen_s
        self._running: dict[str, _SignIn] = {}
        self._watching: set[asyncio.Task[None]] = set()
        self._swept = False

    # --- for the proxy, on its loop --------------------------------------------------------------

    @property
    def windows(self) -> bool:
        """Return whether there can be windows."""
        return self._windows.possible

    @property
    def line(self) -> str:
        """Return what would install windows here; empty where nothing is missing."""
        return "" if self._windows.possible else self._windows.line or ""

    @property
    def remembered(self) -> Mapping[str, Place]:
        """Return where the user had the page of a service last time, by the service's id."""
        return self._places

    def show(self, flow: str, place: Place) -> None:
        """Show the page of a flow that somebody has begun; from any thread, returns at once."""
        self._begin(self._show(flow, place))

    # --- for the menu ----------------------------------------------------------------------------

    async def begin(self, provider: str, title: str, account: str = "") -> None:
        """Begin to sign in to a service, or to an account again.

        Where the user has chosen a place for this service before, its page opens there at once;
        else, or when it asks for an agreement first, our own page does.

        Raises:
            AppError: the program is not running.
        """
        key = account or provider
        known = self._running.get(key)
        if known is not None and (known.ours == "window" or known.theirs == "window"):
            for name in _names(key):
                self._windows.order(name, do="show")
            return
        sign_in = self._running[key] = _SignIn(key, title, begun_here=True)
        sign_in.gone.set()
        place = self._places.get(provider)
        if place is not None:
            try:
                wanted = msgspec.json.encode(Start(provider, account)).decode()
                told = await self._ask("sign_in_start", wanted)
            except AppError as error:  # our own page asks for what is missing, or says it
                _log.info("the sign-in begins with a question: %s", error.message)
            else:
                await self._follow(sign_in, told, place)
                return
        await self._open_ours(sign_in, _first_page(provider, account))

    async def follow(self, before: Status | None, status: Status) -> None:
        """Delete what pages kept for accounts that have gone since the last status."""
        left = {account.id for account in status.accounts}
        for account in () if before is None else before.accounts:
            if account.id not in left and account.id not in self._running:
                await asyncio.to_thread(self._folders.forget, account.id)

    async def close(self) -> None:
        """Follow nothing any more; the windows are closed by whoever closes all of them."""
        watching = tuple(self._watching)
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)

    # --- the flow --------------------------------------------------------------------------------

    async def _ask(self, command: str, target: str) -> Told:
        text = await asyncio.wrap_future(self._call(command, target))
        return msgspec.json.decode(text, type=Told)

    async def _show(self, flow: str, place: Place) -> None:
        told = await self._ask("sign_in_wait", f"{flow} ")
        key = told.repair or told.provider
        sign_in = self._running.get(key)
        if sign_in is None:
            sign_in = self._running[key] = _SignIn(key, told.title, begun_here=False)
            sign_in.gone.set()
        await self._follow(sign_in, told, place)

    async def _follow(self, sign_in: _SignIn, told: Told, place: Place) -> None:
        """Take a flow on, and show its page."""
        before = sign_in.told
        sign_in.told, sign_in.place = told, place
        if before is None or before.id != told.id:
            self._changed()
            if before is not None and before.live:
                await self._cancel(before)
            if sign_in.watch is not None:
                sign_in.watch.cancel()
            sign_in.home.clear()
            sign_in.troubles.clear()
            sign_in.watch = asyncio.get_running_loop().create_task(self._watch(sign_in, told))
            self._watching.add(sign_in.watch)
            sign_in.watch.add_done_callback(self._watched)
        if place == "here":
            return
        if place == "ours":
            await self._open_ours(sign_in, f"flow/{told.id}")
            return
        url = told.url or (told.cookie.url if told.cookie is not None else "")
        if not url:  # a key has no page; ours has the field for it
            await self._open_ours(sign_in, f"flow/{told.id}")
            return
        self._keep_place(told.provider, place)
        if place == "window":
            await self._open_theirs(sign_in, url)
            if told.kind == "device" and sign_in.begun_here and not sign_in.ours:
                await self._open_ours(sign_in, f"flow/{told.id}")
        else:
            await self._to_browser(sign_in, url)

    def _keep_place(self, provider: str, place: Place) -> None:
        if self._places.get(provider) != place:
            self._places = MappingProxyType({**self._places, provider: place})
            self._remember(self._places)

    async def _to_browser(self, sign_in: _SignIn, url: str) -> None:
        told = sign_in.told
        if not sign_in.ours and told is not None and (sign_in.begun_here or sign_in.theirs):
            await self._open_ours(sign_in, f"browser/{told.id}")
        self._close_theirs(sign_in)
        await asyncio.to_thread(self._windows.browse, url)

    async def _cancel(self, told: Told) -> None:
        try:
            await self._ask("sign_in_cancel", told.id)
        except AppError as error:  # it is not known any more, or the program stops
            _log.debug("nothing to cancel: %s", error.message)

    def _watched(self, task: asyncio.Task[None]) -> None:
        self._watching.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a sign-in could not be followed", exc_info=error)

    async def _watch(self, sign_in: _SignIn, told: Told) -> None:
        """Follow a flow to its end."""
        try:
            while told.live:
                told = sign_in.told = await self._ask("sign_in_wait", f"{told.id} {told.state}")
                self._changed()
                if told.state == "other_identity":
                    await self._say(sign_in)
        except AppError as error:
            _log.info("a sign-in is not followed any more: %s", error.message)
            self._close(sign_in)
            return
        match told.state:
            case "done":
                await self._done(sign_in)
            case "cancelled":
                self._close(sign_in)
            case _:
                await self._say(sign_in)
        self._drop(sign_in)

    async def _say(self, sign_in: _SignIn) -> None:
        """Let our own page say how it goes, in the place of the service's."""
        told = sign_in.told
        if told is not None and not sign_in.ours and (sign_in.begun_here or sign_in.theirs):
            await self._open_ours(sign_in, f"flow/{told.id}")
        self._close_theirs(sign_in)

    async def _done(self, sign_in: _SignIn) -> None:
        """Show who has signed in for a while, then close everything."""
        seen = False
        told = sign_in.told
        if sign_in.theirs == "window" and not sign_in.ours and told and told.kind == "browser":
            waiting = [asyncio.ensure_future(e.wait()) for e in (sign_in.home, sign_in.gone)]
            await asyncio.wait(waiting, timeout=_HOME_S, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
            seen = sign_in.home.is_set()
        if not seen:
            await self._say(sign_in)
            if sign_in.ours == "window":
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(sign_in.drawn.wait(), _DRAWN_S)
        await asyncio.sleep(self._seen_s)
        self._close(sign_in)

    # --- windows ---------------------------------------------------------------------------------

    async def _open_ours(self, sign_in: _SignIn, show: str) -> None:
        sign_in.ours_id += 1
        number = sign_in.ours_id
        url = await asyncio.wrap_future(self._call("sign_in_page", show))
        title = f"Dragoman: sign in to {sign_in.title}"
        page = Page(url, title, width=_OURS[0], height=_OURS[1], shift=-_ASIDE)
        sign_in.ours = "window"
        sign_in.drawn.clear()

        def heard(event: _Event) -> None:
            self._begin(self._heard_ours(sign_in, number, event))

        name, _ = _names(sign_in.key)
        await asyncio.to_thread(self._windows.open, name, page, heard)

    async def _open_theirs(self, sign_in: _SignIn, url: str) -> None:
        told = sign_in.told
        assert told is not None  # noqa: S101 - their page is a flow's
        if not self._swept:
            self._swept = True
            await asyncio.to_thread(self._folders.sweep)
        sign_in.theirs_id += 1
        number = sign_in.theirs_id
        cookie = None
        if told.cookie is not None:
            where = told.cookie
            mark_host = urlsplit(where.url).hostname or ""
            cookie = Cookie(where.name, where.host, where.mark, mark_host, where.at)
        if sign_in.folder is None:
            own = told.repair and told.cookie is None  # a cookie of before was used up since
            sign_in.folder = self._folders.of(told.repair) if own else self._folders.fresh()
        page = Page(
            url,
            f"Sign in to {sign_in.title}",
            sign_in.folder,
            *_THEIRS,
            host_in_title=True,
            menu=_MENU,
            menu_title=sign_in.title,
            cookie=cookie,
            shift=_ASIDE,
        )
        sign_in.theirs, sign_in.address = "window", url
        sign_in.gone.clear()

        def heard(event: _Event) -> None:
            self._begin(self._heard_theirs(sign_in, number, event))

        _, name = _names(sign_in.key)
        await asyncio.to_thread(self._windows.open, name, page, heard)

    def _close_theirs(self, sign_in: _SignIn) -> None:
        if sign_in.theirs == "window":
            self._windows.close(_names(sign_in.key)[1])

    def _close(self, sign_in: _SignIn) -> None:
        self._close_theirs(sign_in)
        if sign_in.ours == "window":
            self._windows.close(_names(sign_in.key)[0])
        else:
            sign_in.ours = ""  # a tab closes itself, or stays
            self._drop(sign_in)

    # --- what windows say ------------------------------------------------------------------------

    async def _heard_ours(self, sign_in: _SignIn, number: int, event: _Event) -> None:
        if number != sign_in.ours_id:
            return
        match event["event"]:
            case "loaded":
                sign_in.drawn.set()
            case "browser":
                sign_in.ours = "browser"
            case "failed" | "ended":
                sign_in.ours = ""
                sign_in.drawn.set()
                await self._left(sign_in)

    async def _heard_theirs(self, sign_in: _SignIn, number: int, event: _Event) -> None:
        if number != sign_in.theirs_id:
            return
        match event["event"]:
            case "opened":
                # The code of a device is read off our page while theirs is open.
                if sign_in.ours == "window" and sign_in.told and sign_in.told.kind != "device":
                    self._windows.close(_names(sign_in.key)[0])
            case "loaded":
                await self._loaded(sign_in, event)
            case "popup":
                await self._trouble(sign_in, str(event.get("host") or ""), "popup")
            case "unreachable":
                await self._trouble(sign_in, str(event.get("host") or ""), "unreachable")
            case "menu":
                await self._clicked(sign_in, str(event.get("name")))
            case "cookie":
                await self._took(sign_in, str(event.get("value")))
            case "browser":
                sign_in.place = "browser"
                self._their_end(sign_in)
            case "failed" | "ended":
                self._their_end(sign_in)
                await self._tidy(sign_in)
                await self._left(sign_in)

    def _their_end(self, sign_in: _SignIn) -> None:
        sign_in.theirs = ""
        sign_in.home.clear()
        sign_in.gone.set()

    async def _loaded(self, sign_in: _SignIn, event: _Event) -> None:
        parts = urlsplit(str(event.get("url") or ""))
        host, status, told = parts.hostname or "", int(event.get("status") or 0), sign_in.told
        if told is None:
            return
        began = urlsplit(sign_in.address).netloc
        if told.kind == "browser" and host in _LOOPBACK and parts.netloc != began:
            sign_in.home.set()
            return
        if told.cookie is not None and host == told.cookie.host:
            return
        google = host.endswith("google.com") and any(part in parts.path for part in _GOOGLE_NO)
        if event.get("refused") or google:
            await self._trouble(sign_in, host, "refused")
        elif status >= 400:
            await self._trouble(sign_in, host, str(status))

    async def _trouble(self, sign_in: _SignIn, host: str, what: str) -> None:
        """Say beside the service's page what is wrong with it, once for each host."""
        if sign_in.told is None or not sign_in.live or host in sign_in.troubles:
            return
        sign_in.troubles.add(host)
        await self._open_ours(sign_in, f"trouble/{sign_in.told.id}/{what}/{host}")

    async def _clicked(self, sign_in: _SignIn, name: str) -> None:
        told = sign_in.told
        if told is None or not told.live:
            return
        if name == "browser":
            sign_in.place = "browser"
            self._keep_place(told.provider, "browser")
            await self._to_browser(sign_in, told.url or (told.cookie.url if told.cookie else ""))
        elif name == "paste":
            await self._open_ours(sign_in, f"paste/{told.id}")
        elif name == "ways":
            if sign_in.watch is not None:
                sign_in.watch.cancel()
            sign_in.told = None
            await self._cancel(told)
            await self._open_ours(sign_in, _first_page(told.provider, told.repair))
            self._close_theirs(sign_in)

    async def _took(self, sign_in: _SignIn, value: str) -> None:
        """Give a cookie to the flow that waits for it; the page has done its part."""
        told = sign_in.told
        if told is None or told.state != "waiting" or sign_in.taking:
            return
        sign_in.taking = True
        try:
            await self._say(sign_in)
            wanted = msgspec.json.encode(Submit(told.id, value)).decode()
            await asyncio.wrap_future(self._call("sign_in_submit", wanted))
        except AppError as error:  # our page has it, too
            _log.info("the page's cookie does not sign in: %s", error.message)
        finally:
            sign_in.taking = False

    async def _left(self, sign_in: _SignIn) -> None:
        """Go on after the end of a window: without any, the sign-in ends as cancelled."""
        if sign_in.ours or sign_in.theirs or sign_in.taking:
            return
        if sign_in.told is not None and sign_in.told.live:
            await self._cancel(sign_in.told)
        self._drop(sign_in)

    def _drop(self, sign_in: _SignIn) -> None:
        """Forget a sign-in that has neither a window nor anything to wait for."""
        idle = not (sign_in.ours or sign_in.theirs or sign_in.taking or sign_in.live)
        if idle and self._running.get(sign_in.key) is sign_in:
            del self._running[sign_in.key]

    async def _tidy(self, sign_in: _SignIn) -> None:
        """See to what the service's page kept, once its window has ended."""
        folder, told = sign_in.folder, sign_in.told
        sign_in.folder = None
        if folder is None:
            return
        if told is not None and told.state == "done" and told.cookie is None:
            await asyncio.to_thread(self._folders.keep, folder, told.account)
        elif folder != self._folders.of(sign_in.key):
            await asyncio.to_thread(self._folders.drop, folder)


def _first_page(provider: str, account: str) -> str:
    """Return the page of ours on which a sign-in begins."""
    return f"again/{account}" if account else f"add/{provider}"


def _names(key: str) -> tuple[str, str]:
    """Return the names of our window and theirs."""
    return f"sign-in {key}", f"service {key}"
