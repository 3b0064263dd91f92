"""What a window on AI Studio shows, read from its address, and what its user does next.

Three things have to be so before calls can go through it: somebody is signed in to Google, the app
is open there, and the app's socket is connected. The address tells the first two; the relay knows
the third. Nothing is read out of the pages themselves.

Source: facts about addresses from iBUHub/AIStudioToAPI at 74a8ebb, hkfires/AIStudioBuildWS at
67d8974, and Google's help page "This browser or app may not be secure", read 2026-11. None of it
was run against Google.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

__all__ = ["BUILD", "Guide", "Step", "app_address", "guide", "is_refusal"]

BUILD = "https://aistudio.google.com/apps"
"""Where apps are made and opened; asks for a sign-in first."""

_STUDIO = ("aistudio.google.com", "ai.studio")
"""The two lead to each other."""
_ACCOUNTS = re.compile(r"accounts\.(google\.com|youtube\.com|google(\.[a-z]{2,3}){1,2})")
_REFUSED = ("/signin/rejected", "/signin/oauth/error")
_APP = re.compile(
    r"(/u/\d+)?/apps/(drive/[\w-]+|bundled/[\w-]+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})"
)

Step: TypeAlias = Literal["closed", "sign_in", "refused", "build", "app", "asleep", "connected"]
"""What is next: open it; sign in; go elsewhere, since Google lets no embedded view sign in; open or
make the app; wait for its socket; wake its tab; nothing."""

_TEXT: dict[Step, str] = {
    "closed": "Open AI Studio, in a window of Dragoman's or in your browser.",
    "sign_in": "Sign in to Google in the window.",
    "refused": (
        "Google says that this browser or app may not be secure: it lets nobody sign in inside of "
        "another program. Choose `Open in my browser`: it is the same page there, and connects "
        "the same way. Or use a Gemini API key, which needs no page: `dragoman login gemini`."
    ),
    "build": (
        "Open your app for Dragoman. The first time: make an empty app under Build, and replace "
        "its files by the three that Dragoman gives you."
    ),
    "app": (
        "The app is open and not yet connected. Press Launch if it is shown, allow the page to "
        "reach devices on the local network if you are asked, and switch off blockers for it."
    ),
    "asleep": "The page is connected, and its tab sleeps: bring it to the front.",
    "connected": "",
}


@dataclass(frozen=True, slots=True)
class Guide:
    """Where a window is on its way, and what comes next."""

    step: Step
    text: str
    """What the user does next; empty when there is nothing to do."""
    signed_in: bool
    app_loaded: bool
    connected: bool


def is_refusal(url: str) -> bool:
    """Say whether Google refuses to let anybody sign in there."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return _ACCOUNTS.fullmatch(host) is not None and any(word in parts.path for word in _REFUSED)


def app_address(url: str) -> str:
    """Return the address of the app that a window shows, to open it again; empty for none."""
    parts = urlsplit(url)
    if parts.hostname not in _STUDIO:
        return ""
    found = _APP.match(parts.path)
    return "" if found is None else f"https://aistudio.google.com{found[0]}"


def guide(
    url: str, *, refused: bool = False, connected: bool = False, asleep: bool = False
) -> Guide:
    """Return where a window is.

    Args:
        url: what it shows; empty while it is closed.
        refused: Google has named the embedded view as its reason.
        connected: a page of the account is connected to the relay, wherever it runs.
        asleep: its script has not been heard for minutes.
    """
    in_studio = (urlsplit(url).hostname or "") in _STUDIO
    in_app = bool(app_address(url))
    step: Step
    if connected:
        step = "asleep" if asleep else "connected"
    elif not url:
        step = "closed"
    elif refused or is_refusal(url):
        step = "refused"
    elif in_app:
        step = "app"
    elif in_studio:
        step = "build"
    else:
        step = "sign_in"
    return Guide(step, _TEXT[step], connected or in_studio, connected or in_app, connected)
