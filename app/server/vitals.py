"""How the parts of the program are: the router itself, pages, helper programs, windows.

One shape for all, for ``/v1/health``, ``dragoman status``, tray and dashboard.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from app.build import Build
from app.gateway.status import Status
from app.services.definition import ServiceView
from app.upstream.relay import PageView

__all__ = [
    "AccountTrouble",
    "StudioLine",
    "Vital",
    "VitalKind",
    "WholeStatus",
    "count_processes",
    "find_trouble",
    "of_page",
    "of_router",
    "of_service",
    "of_window",
    "render_vital",
]

VitalKind: TypeAlias = Literal["router", "page", "service", "window"]


@dataclass(frozen=True, slots=True)
class Vital:
    """How one part is; times in epoch seconds UTC."""

    kind: VitalKind
    name: str
    title: str
    state: str
    """``ready`` when all is well."""
    reason: str = ""
    since: float | None = None
    """Since when it has been so."""
    memory_bytes: int | None = None
    """None where the system does not tell: a page in the user's own browser is one of many."""
    until: float | None = None
    """When it is tried next."""
    pid: int | None = None
    """Of a process of its own that we started."""
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class StudioLine:
    """How far the page of an account of AI Studio is."""

    label: str
    step: str
    """See ``providers.aistudio_window``."""
    text: str
    """What its user does next; empty when there is nothing to do."""
    window: str
    """State of the window: see ``server.aistudio``."""


@dataclass(frozen=True, slots=True)
class AccountTrouble:
    """What is wrong with the sign-in of an account, and does not pass by itself."""

    account: str
    """Its id."""
    text: str


@dataclass(frozen=True, slots=True)
class WholeStatus(Status):
    """The status with the parts in it."""

    vitals: tuple[Vital, ...] = ()
    studios: tuple[StudioLine, ...] = ()
    troubles: tuple[AccountTrouble, ...] = ()
    build: Build | None = None
    releases: str = ""
    """Address of the page with newer versions."""


def find_trouble(vitals: Iterable[Vital], studios: Iterable[StudioLine]) -> str:
    """Return what does not get well by itself, in a sentence for people; empty for nothing."""
    for one in vitals:
        if one.state in ("failed", "asleep"):
            return f"{one.title}: {one.reason}"
    for studio in studios:
        if studio.window == "failed":
            return f"AI Studio, {studio.label}: its window ended again and again."
    return ""


def of_router(state: str, reason: str, since: float, memory: int | None, pid: int) -> Vital:
    """Return the router's own line."""
    return Vital("router", "router", "Router", state, reason, since, memory, None, pid)


def of_page(page: PageView) -> Vital:
    """Return a connected page's line."""
    reason = ""
    if page.asleep:
        reason = "The page's script has not been heard for minutes: its tab sleeps. Show it."
    return Vital(
        "page",
        page.account,
        f"AI Studio page of {page.account.partition('/')[2]}",
        "asleep" if page.asleep else "ready",
        reason,
        page.opened_at,
    )


def of_service(view: ServiceView) -> Vital:
    """Return a helper program's line."""
    return Vital(
        "service",
        view.name,
        view.title,
        view.state,
        view.reason,
        view.since,
        view.memory_bytes,
        view.until,
        view.pid,
        view.restarts,
    )


def of_window(name: str, state: str, since: float, memory: int | None, pid: int) -> Vital:
    """Return a window's line."""
    return Vital("window", name, f"Window: {name}", state, "", since, memory, None, pid)


def count_processes(vitals: Iterable[Vital]) -> int:
    """Return how many processes we have: one, and one for each window and helper program."""
    return sum(one.pid is not None for one in vitals)


def render_vital(one: Vital, now: float) -> dict[str, Any]:
    """Return a part as ``/v1/health`` shows it, with ``uptime_s`` beside ``since``."""
    return {
        "kind": one.kind,
        "name": one.name,
        "title": one.title,
        "state": one.state,
        "reason": one.reason,
        "since": one.since,
        "uptime_s": None if one.since is None else round(max(0.0, now - one.since), 1),
        "memory_bytes": one.memory_bytes,
        "until": one.until,
        "pid": one.pid,
        "restarts": one.restarts,
    }
