"""Where a service's page is shown during a sign-in: in a window of ours, or in the user's browser.

The desktop does the showing and says so with ``Places.attach``; without one, as under ``dragoman
serve``, whoever asks shows the page himself. Routes, for those who may change the program:
``GET /admin/accounts/places`` and ``POST /admin/accounts/flows/{flow}/place``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import msgspec

from app.accounts.desk import Desk
from app.accounts.flow import Flow
from app.errors import RequestError
from app.providers.signin import CookiePage, SecretSignIn
from app.server.pages import Control, Takes
from app.server.signin import AccountPage

__all__ = ["Place", "Places", "Shower", "cookie_page", "place_routes"]

Place: TypeAlias = Literal["window", "browser", "here", "ours"]
"""``here``: our own page has asked, and shows it; the desktop then only follows the sign-in.
``ours``: our own page is to be opened, for what has to be read off it."""


class Shower(Protocol):
    """The desktop, as far as sign-ins go; called on the program's loop, and returns at once."""

    @property
    def windows(self) -> bool:
        """Return whether there can be windows."""
        ...

    @property
    def line(self) -> str:
        """Return what would install windows here; empty where nothing is missing."""
        ...

    @property
    def remembered(self) -> Mapping[str, Place]:
        """Return where the user had the page of a service last time, by the service's id."""
        ...

    def show(self, flow: str, place: Place) -> None:
        """Show the page of a flow."""
        ...


class Places:
    """Hands pages to the desktop. States: alone → attached."""

    def __init__(self) -> None:
        self._shower: Shower | None = None

    def attach(self, shower: Shower) -> None:
        """Let a desktop show the pages from now on."""
        self._shower = shower

    def show(self, flow: Flow, place: Place) -> bool:
        """Have a flow's page shown; returns whether there is somebody who does that."""
        if self._shower is not None:
            self._shower.show(flow.id, place)
        return self._shower is not None

    def opener(self, desk: Desk) -> Callable[[str], None]:
        """Return what shows the page of the flow that waits at an address."""

        def open_page(url: str) -> None:
            for flow in desk.logins.flows():
                if flow.url == url and self._shower is not None:
                    last = self._shower.remembered.get(flow.provider) or "window"
                    self.show(flow, "ours" if flow.kind == "device" else last)

        return open_page

    def render(self, desk: Desk) -> dict[str, Any]:
        """Return what a page has to know to offer the right buttons.

        ``desktop`` whether there is one, ``windows`` and ``line`` as in ``Shower``,
        ``remembered`` by provider, ``pages`` the addresses of ways that end with a cookie, by
        ``provider/way``.
        """
        shower = self._shower
        return {
            "desktop": shower is not None,
            "windows": shower is not None and shower.windows,
            "line": "" if shower is None else shower.line,
            "remembered": {} if shower is None else dict(shower.remembered),
            "pages": {
                f"{provider}/{way}": page.url
                for provider, service in desk.logins.providers.items()
                for way in service.sign_ins
                if (page := cookie_page(desk, provider, way)) is not None
            },
        }


def cookie_page(desk: Desk, provider: str, way: str) -> CookiePage | None:
    """Return the page whose cookie a way to sign in takes; None where it takes none."""
    service = desk.logins.providers.get(provider)
    sign_in = None if service is None else service.sign_ins.get(way)
    return sign_in.cookie if isinstance(sign_in, SecretSignIn) else None


class _PlacePage(AccountPage):
    kind = "control"
    places: Places

    def initialize(  # type: ignore[override] # Tornado gives each route its own arguments
        self, control: Control, desk: Desk, places: Places
    ) -> None:
        """Take what the routes share."""
        super().initialize(control, desk)
        self.places = places


class _All(_PlacePage):
    def get(self) -> None:
        self.send_json(self.places.render(self.desk))


class _PlaceWanted(msgspec.Struct, forbid_unknown_fields=True):
    place: Place


class _Show(_PlacePage):
    takes: ClassVar[Takes] = {"post": _PlaceWanted}

    def post(self, flow: str) -> None:
        wanted = self.read_body(_PlaceWanted)
        found = self.desk.logins.get(flow)
        if not found.live:
            raise RequestError(
                found.error or "This sign-in has ended.", status=409, code="sign_in_over"
            )
        self.send_json({"shown": self.places.show(found, wanted.place)})


def place_routes(control: Control, desk: Desk, places: Places) -> list[Any]:
    """Return the routes, for ``page_routes``; before those of accounts, which take any name."""
    shared = {"control": control, "desk": desk, "places": places}
    return [
        (r"/admin/accounts/places", _All, shared),
        (r"/admin/accounts/flows/(?P<flow>[0-9a-f]+)/place", _Show, shared),
    ]
