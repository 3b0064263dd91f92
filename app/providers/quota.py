"""What is left of an account, as its service tells it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Quota", "QuotaWindow"]


@dataclass(frozen=True, slots=True)
class QuotaWindow:
    """One limit: so much in so long."""

    name: str
    """Stable short name: ``5h``, ``7d``, ``7d_opus``, ``month``, ``day``, ``requests``."""
    used_percent: float | None
    """0 to 100, or more where the service lets an account go over; None when not told."""
    resets_at: float | None = None
    """Epoch seconds UTC at which it begins anew."""
    length_s: float | None = None
    """How long the window is, in seconds."""
    models: tuple[str, ...] = ()
    """Glob patterns of the models it counts; empty: all."""
    exhausted: bool = False
    """The service refuses calls until the reset, whatever the percentage says."""
    left: float | None = None
    """What is left in the service's own unit (requests, tokens), where it tells that."""
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """All that a service told at one time."""

    windows: tuple[QuotaWindow, ...]
    read_at: float
    """Epoch seconds UTC."""
    source: str
    """``headers`` (of an ordinary answer), ``usage call`` or ``error``."""
    plan: str = ""
    note: str = ""
    """What else people should know (credits, extra usage), in one sentence."""
