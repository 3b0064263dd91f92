"""What a helper program is: a row of values that the supervisor carries out.

A new one is one more ``Entry`` in ``app.services.table``; nothing else knows what it starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from app.http import HttpReply, HttpRequest
from app.providers.signin import Consent

__all__ = ["Definition", "Entry", "Packages", "Place", "Restart", "ServiceState", "ServiceView"]

ServiceState: TypeAlias = Literal[
    "off",
    "not_installed",
    "installing",
    "starting",
    "ready",
    "unhealthy",
    "waiting",
    "failed",
    "stopping",
]
"""``unhealthy``: it runs, and its health call fails. ``waiting``: it is started again at ``until``.
``failed``: it ended too often and is left alone until somebody starts it."""


@dataclass(frozen=True, slots=True)
class Restart:
    """When a program that ended is started again: after 1, 2, 4 … s, and not without end."""

    first_s: float = 1.0
    longest_s: float = 60.0
    most: int = 5
    """So many failures in a row, and it is given up: a crash loop helps nobody."""
    stable_s: float = 60.0
    """Having been ready for so long, the next failure is the first again."""

    def delay_s(self, failures: int) -> float | None:
        """Return how long to wait after so many failures in a row; None to give up."""
        if failures >= self.most:
            return None
        return min(self.longest_s, self.first_s * 2.0 ** (failures - 1))


def _nothing() -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class Definition:
    """How one program is started, known to be well, and stopped."""

    name: str
    command: tuple[str, ...]
    folder: Path
    """It runs there; made when it is missing."""
    port: int
    """It listens there on 127.0.0.1, and nobody else may before it is started."""
    probe: Callable[[], HttpRequest]
    """Makes the health call."""
    judge: Callable[[HttpReply], str]
    """Returns why an answer to it is no good one; empty when it is."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """All of it: nothing of ours is handed on."""
    first_line: Callable[[], bytes] = _nothing
    """What it reads first from its standard input, which then stays open as long as we live. What
    is secret goes this way, since arguments and environments can be seen by others."""
    ready_within_s: float = 60.0
    check_every_s: float = 60.0
    check_within_s: float = 5.0
    checks: int = 3
    """So many health calls that fail in a row end it."""
    stop_within_s: float = 5.0
    """How long it may take to end by itself before it is killed, with all that it started."""
    restart: Restart = Restart()


@dataclass(frozen=True, slots=True)
class Packages:
    """What is installed for it, in a virtual environment of its own."""

    lock: str
    """Asset with every package, its version and its hashes."""
    version: str
    """Of the program itself, for people."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a program lives on this machine."""

    folder: Path
    python: Path
    """Of its own environment."""
    port: int
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the table."""

    name: str
    title: str
    packages: Packages
    consent: Consent
    """What is shown and agreed to before it is turned on."""
    define: Callable[[Place], Definition]


@dataclass(frozen=True, slots=True)
class ServiceView:
    """How a helper program is, for people; times in epoch seconds UTC."""

    name: str
    title: str
    state: ServiceState
    reason: str = ""
    """Why it is not ready, in a sentence; empty when it is."""
    address: str = ""
    """Where it is reached, or would be."""
    outside: bool = False
    """The user runs it; only its health is looked at."""
    on: bool = False
    installed: str = ""
    """Version that is installed; empty when none is."""
    pid: int | None = None
    since: float | None = None
    """When it became ready."""
    until: float | None = None
    """When it is tried next."""
    restarts: int = 0
    """How often it was started again since it was turned on."""
    memory_bytes: int | None = None
    answered: Mapping[str, int] = field(default_factory=dict)
    """Who behind it gave answers, and how many, since the program started."""
    agreed: bool = False
    """Whether the user has agreed to the text that is in force."""
    consented_at: float | None = None
