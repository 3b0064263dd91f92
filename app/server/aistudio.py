"""Windows on AI Studio, one for each account: opened, guided, kept open, signed out.

The desktop shows them (``StudioShower``); where there is none, or the user prefers it, the same
page is opened in the user's own browser, and connects to the same relay. A window is watched by
its address alone (``providers.aistudio_window``) and by the relay, which knows whether its page is
connected. States of a window::

    closed → opening → shown ⇄ hidden
                 ↑        │ it died
                 └─ waiting (3, 6, 12 … s, five times) → failed
    any → closed, by its user or by a sign-out, which deletes what it kept

A window that its user closes is only hidden, and works on; "Close" closes it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import msgspec

from app.errors import RequestError
from app.paths import write_private
from app.providers.aistudio import AISTUDIO
from app.providers.aistudio_window import BUILD, Guide, app_address, guide
from app.providers.signin import Consent
from app.server.guard import Kind
from app.server.pages import Page, Takes
from app.upstream.relay import Relay, label_of, relay_labels

__all__ = ["Studio", "StudioShower", "StudioState", "studio_routes"]

_log = logging.getLogger("dragoman.service")

_FIRST_S, _LONGEST_S, _MOST = 3.0, 60.0, 5
"""A window that dies is opened again after 3, 6, 12 … s, and given up after five times."""
_STABLE_S = 600.0
_DEFAULT = "home"

StudioState: TypeAlias = Literal["closed", "opening", "shown", "hidden", "waiting", "failed"]
WindowRow: TypeAlias = tuple[str, int, float, str]
"""Name, process, opened at (epoch seconds) and state of an open window."""


class StudioShower(Protocol):
    """The desktop, as far as windows go; called on the program's loop, and returns at once."""

    @property
    def windows(self) -> bool:
        """Return whether there can be windows."""
        ...

    def processes(self) -> Iterable[WindowRow]:
        """Return the windows that are open, all of them."""
        ...

    def open(self, label: str, url: str) -> None:
        """Open the window of an account, or raise it; what it says comes back to ``heard``."""
        ...

    def order(self, label: str, do: str) -> None:
        """Tell a window to ``show`` or ``hide`` itself."""
        ...

    def close(self, label: str) -> None:
        """Close a window."""
        ...

    def forget(self, label: str) -> None:
        """Close a window and delete all that its pages kept: the sign-in ends with it."""
        ...

    def browse(self, url: str) -> None:
        """Open an address in the user's browser."""
        ...


class _Kept(msgspec.Struct):
    """What outlives the program of one account."""

    app: str = ""
    """Address of its app."""


@dataclass(slots=True)
class _One:
    """One account's window."""

    label: str
    kept: _Kept
    state: StudioState = "closed"
    url: str = ""
    refused: bool = False
    in_browser: bool = False
    """It was opened in the user's browser."""
    opened_at: float | None = None
    until: float | None = None
    """Epoch seconds at which it is opened again."""
    failures: int = 0
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)

    def rest(self) -> None:
        """Open it no more by itself."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer, self.until = None, None


class Studio:
    """All windows on AI Studio. Made once; ``close`` ends what waits.

    Args:
        file: keeps the addresses of apps.
        relay: knows which pages are connected.
        changed: called after each change of what is seen.
        now: epoch seconds UTC.
        first_s: how long after its first death a window is opened again.
    """

    def __init__(
        self,
        file: Path,
        relay: Relay,
        changed: Callable[[], None],
        now: Callable[[], float] = time.time,
        *,
        first_s: float = _FIRST_S,
    ) -> None:
        self._file = file
        self._relay = relay
        self._changed = changed
        self._now = now
        self._first_s = first_s
        self._shower: StudioShower | None = None
        self._all = {label: _One(label, kept) for label, kept in self._read().items()}

    def attach(self, shower: StudioShower) -> None:
        """Let a desktop show the windows from now on."""
        self._shower = shower

    def close(self) -> None:
        """Open nothing any more; the windows are closed by whoever shows them."""
        for one in self._all.values():
            one.rest()
            one.state = "closed"

    def windows(self) -> tuple[WindowRow, ...]:
        """Return every window of the program that is open, with its process."""
        if self._shower is None:
            return ()
        mine = {f"aistudio/{one.label}": one for one in self._all.values()}
        return tuple(
            (name, pid, at, mine[name].state if name in mine else "ready")
            for name, pid, at, _ in self._shower.processes()
        )

    def _read(self) -> dict[str, _Kept]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, _Kept])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.warning("%s cannot be read: %s", self._file, error)
            return {}

    def _keep(self) -> None:
        kept = {one.label: one.kept for one in self._all.values() if one.kept.app}
        try:
            write_private(self._file, msgspec.json.encode(kept))
        except OSError as error:  # the app is then looked for by hand again
            _log.warning("%s cannot be written: %s", self._file, error)

    # --- what people do ----------------------------------------------------------------------------

    def open(self, label: str, where: str = "window") -> None:
        """Open an account's page, or raise its window.

        Args:
            label: of the account.
            where: ``window`` or ``browser``; a desktop without windows has the browser alone.
        """
        one = self._all.setdefault(label, _One(label, _Kept()))
        address = one.kept.app or BUILD
        shower = self._shower
        one.rest()
        one.failures = 0
        if shower is None:
            self._tell(one)
        elif where == "browser" or not shower.windows:
            if one.state != "closed":
                shower.close(label)
            one.state, one.in_browser, one.url = "closed", True, ""
            shower.browse(address)
        elif one.state in ("shown", "hidden"):
            shower.order(label, "show")
            one.state = "shown"
        else:
            self._show(one)
        self._changed()

    def _show(self, one: _One) -> None:
        assert self._shower is not None  # noqa: S101 - callers have looked
        one.rest()
        one.state, one.in_browser, one.refused, one.url = "opening", False, False, ""
        self._shower.open(one.label, one.kept.app or BUILD)

    def _tell(self, one: _One) -> None:
        one.in_browser = True  # whoever asked opens the address himself

    def hide(self, label: str) -> None:
        """Hide a window; its page works on.

        Raises:
            RequestError: 409 ``no_window``.
        """
        self._open_one(label)
        assert self._shower is not None  # noqa: S101 - else none is open
        self._shower.order(label, "hide")

    def shut(self, label: str) -> None:
        """Close a window, for good.

        Raises:
            RequestError: 409 ``no_window``.
        """
        one = self._all.get(label)
        if one is None or self._shower is None or one.state == "closed":
            raise _no_window(label)
        one.rest()
        one.state, one.url = "closed", ""
        self._shower.close(label)
        self._changed()

    def sign_out(self, label: str) -> str:
        """Close a window and delete its profile; returns what was done in a sentence."""
        one = self._all.get(label)
        if one is not None:
            one.rest()
            one.state, one.url, one.in_browser = "closed", "", False
            one.kept = _Kept()
            self._keep()
        if self._shower is not None:
            self._shower.forget(label)
        self._changed()
        return (
            f"The window of aistudio/{label} is closed and all that it kept is deleted. "
            "A page in your own browser is signed out there; its relay key ends it, too."
        )

    def _open_one(self, label: str) -> _One:
        one = self._all.get(label)
        if one is None or one.state not in ("shown", "hidden"):
            raise _no_window(label)
        return one

    # --- what windows say --------------------------------------------------------------------------

    def heard(self, label: str, event: Mapping[str, Any]) -> None:
        """Take what a window says; see ``desktop.window``. On the program's loop."""
        one = self._all.get(label)
        if one is None or one.state == "closed":
            return
        match event.get("event"):
            case "opened":
                one.state, one.opened_at = "shown", self._now()
            case "hidden":
                one.state = "hidden"
            case "shown":
                one.state = "shown"
            case "loaded" | "at":
                self._at(one, str(event.get("url") or ""), refused=bool(event.get("refused")))
            case "menu":
                self._clicked(one, str(event.get("name") or ""))
            case "browser":
                one.state, one.in_browser, one.url = "closed", True, ""
            case "ended" | "failed":
                self._died(one)
        self._changed()

    def _at(self, one: _One, url: str, *, refused: bool) -> None:
        one.url = url
        one.refused = refused or (one.refused and guide(url).step in ("sign_in", "refused"))
        app = app_address(url)
        if app and app != one.kept.app and "bundled" not in app:
            one.kept.app = app
            self._keep()

    def _clicked(self, one: _One, name: str) -> None:
        if name == "browser":
            self.open(one.label, "browser")
        elif name == "hide" and self._shower is not None:
            self._shower.order(one.label, "hide")

    def _died(self, one: _One) -> None:
        """Open a window again that ended by itself, unless it does so again and again."""
        if one.opened_at is not None and self._now() - one.opened_at >= _STABLE_S:
            one.failures = 0
        one.failures += 1
        one.url, one.opened_at = "", None
        if one.failures > _MOST:
            one.state = "failed"
            _log.error("the window of aistudio/%s ends again and again", one.label)
            return
        delay_s = min(_LONGEST_S, self._first_s * 2.0 ** (one.failures - 1))
        one.state, one.until = "waiting", self._now() + delay_s
        _log.warning("the window of aistudio/%s ended; again in %g s", one.label, delay_s)
        one.timer = asyncio.get_running_loop().call_later(delay_s, self._again, one)

    def _again(self, one: _One) -> None:
        self._show(one)
        self._changed()

    # --- what is seen ------------------------------------------------------------------------------

    def labels(self) -> tuple[str, ...]:
        """Return the accounts that have, or had, a window or a page."""
        known = dict.fromkeys(a.label for a in self._relay.accounts())
        return tuple(dict.fromkeys((*known, *self._all)))

    def guide(self, label: str) -> Guide:
        """Return how far an account's page is, and what its user does next."""
        one = self._all.get(label)
        pages = [p for p in self._relay.pages() if p.account == f"{AISTUDIO.id}/{label}"]
        return guide(
            "" if one is None else one.url,
            refused=one is not None and one.refused,
            connected=bool(pages),
            asleep=bool(pages) and all(page.asleep for page in pages),
        )

    def view(self, label: str) -> dict[str, Any]:
        """Return one account for JSON.

        Returns:
            ``account``, ``label``, ``where`` it was opened, the ``address`` to open, ``window``
            (``state``, ``reason``, ``since``, ``until``), and the fields of ``Guide``.
        """
        one = self._all.get(label) or _One(label, _Kept())
        reason = ""
        if one.state == "waiting":
            reason = "The window ended and is opened again."
        elif one.state == "failed":
            reason = f"The window ended {one.failures} times. Open it again, or use your browser."
        return {
            "account": f"{AISTUDIO.id}/{label}",
            "label": label,
            "where": "browser" if one.in_browser else "window",
            "address": one.kept.app or BUILD,
            "window": {
                "state": one.state,
                "reason": reason,
                "since": one.opened_at,
                "until": one.until,
            },
            **msgspec.to_builtins(self.guide(label)),
        }

    def views(self) -> list[dict[str, Any]]:
        """Return all accounts for JSON."""
        return [self.view(label) for label in self.labels()]

    @property
    def can_show(self) -> bool:
        """Whether there can be windows."""
        return self._shower is not None and self._shower.windows


def _no_window(label: str) -> RequestError:
    return RequestError(f"There is no window of aistudio/{label}.", status=409, code="no_window")


# --- routes ----------------------------------------------------------------------------------------


class _StudioOpening(msgspec.Struct, forbid_unknown_fields=True):
    account: str = _DEFAULT
    """As ``aistudio/home`` or ``home``."""
    consent: str = ""
    """Version of the text that the user has agreed to; not needed once there is a relay key."""
    where: Literal["window", "browser"] = "window"


class _StudioPage(Page):
    kind: ClassVar[Kind] = "control"
    studio: Studio

    def initialize(self, control: Any, studio: Studio) -> None:  # type: ignore[override]
        super().initialize(control)
        self.studio = studio

    def label(self) -> str:
        """Return the account that the query names."""
        name = self.get_query_argument("account", "") or self.get_query_argument("user_email", "")
        return label_of(name or _DEFAULT)


class _Login(_StudioPage):
    """Opens the window; it makes no key and shows no secret, so the same user may do it."""

    kind: ClassVar[Kind] = "inference"
    takes: ClassVar[Takes] = {"post": _StudioOpening}

    async def get(self) -> None:
        await self._open(_StudioOpening(self.label(), self.get_query_argument("consent", "")))

    async def post(self) -> None:
        if not self.request.body:
            await self._open(_StudioOpening(self.label()))
            return
        try:
            wanted = msgspec.json.decode(self.request.body, type=_StudioOpening)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            told = str(error) if isinstance(error, msgspec.ValidationError) else "it is no JSON"
            raise RequestError(f"The body is wrong: {told}.", code="invalid_json") from None
        await self._open(wanted)

    async def _open(self, wanted: _StudioOpening) -> None:
        label = label_of(wanted.account)
        consent = _consent()
        agreed = wanted.consent == consent.version or label in relay_labels(
            await self.control.list_keys(), time.time()
        )
        if not agreed:
            raise RequestError(
                f"The terms must be agreed to first: {consent.text} {consent.instead}",
                hint=f'Send "consent": "{consent.version}" once the user has agreed.',
                status=409,
                code="consent_required",
            )
        self.studio.open(label, wanted.where)
        view = self.studio.view(label)
        # Where there is no desktop, whoever asked opens the address himself.
        self.send_json({**view, "url": view["address"], "opened": self.studio.can_show}, 202)


class _Status(_StudioPage):
    kind: ClassVar[Kind] = "inference"

    def get(self) -> None:
        label = self.label()
        view = self.studio.view(label)
        self.send_json(
            {"authenticated": view["connected"], "expires_at": None, "claims": {}, **view}
        )


class _SignOut(_StudioPage):
    def delete(self) -> None:
        self.send_json({"message": self.studio.sign_out(self.label())})


class _List(_StudioPage):
    def get(self) -> None:
        self.send_json(
            {
                "windows": self.studio.can_show,
                "consent": msgspec.to_builtins(_consent()),
                "accounts": self.studio.views(),
            }
        )


class _Order(_StudioPage):
    def post(self, label: str, order: str) -> None:
        label = label_of(label)
        match order:
            case "show":
                self.studio.open(label)
            case "browser":
                self.studio.open(label, "browser")
            case "hide":
                self.studio.hide(label)
            case "close":
                self.studio.shut(label)
            case _:
                self.studio.sign_out(label)
        self.send_json(self.studio.view(label))


def _consent() -> Consent:
    consent = AISTUDIO.consent
    assert consent is not None  # noqa: S101 - narrows the type
    return consent


def studio_routes(control: Any, studio: Studio) -> list[Any]:
    """Return the routes, for ``page_routes``; they come before those of other sign-ins."""
    shared = {"control": control, "studio": studio}
    base = rf"/v1/auth/(?:llmux/)?{AISTUDIO.id}"
    return [
        (rf"{base}/login", _Login, shared),
        (rf"{base}/status", _Status, shared),
        (base, _SignOut, shared),
        (r"/admin/aistudio", _List, shared),
        (
            r"/admin/aistudio/windows/(?P<label>[^/]+)/(?P<order>show|hide|close|browser|sign-out)",
            _Order,
            shared,
        ),
    ]
