"""What is left of each account, and when it will run out. The one owner of that state.

Services tell it in different ways at different times: a head of an ordinary answer knows two
windows, a usage call all of them. So windows are kept one by one, the newest word on each. A
window whose reset has passed is empty again, whatever was said of it before.

The forecast is the slope of recent use: it needs two readings of a window that lie a minute apart
or more, and looks back over a twelfth of the window (25 minutes of five hours), so that it follows
what the user is doing now.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from app.providers.quota import Quota, QuotaWindow

__all__ = ["QuotaView", "Quotas", "WindowView", "render_window"]

_MOST_READINGS = 64
_LEAST_SPAN_S = 60.0
_DEFAULT_LOOK_BACK_S = 1_800.0
_STALE_S = 8 * 86_400.0
"""A word on a window without a reset that is older than the longest window says nothing more."""


@dataclass(frozen=True, slots=True)
class WindowView:
    """A window as people see it."""

    window: QuotaWindow
    read_at: float
    """Epoch seconds UTC at which the service said so."""
    source: str
    runs_out_at: float | None = None
    """Epoch seconds UTC at which it will be used up if use goes on as of late; None when that is
    not before its reset, or nobody can tell."""

    @property
    def left_percent(self) -> float | None:
        """What is left, 0 to 100; None when the service does not tell."""
        if self.window.exhausted:
            return 0.0
        used = self.window.used_percent
        return None if used is None else max(0.0, 100.0 - used)


@dataclass(frozen=True, slots=True)
class QuotaView:
    """What is known of one account."""

    windows: tuple[WindowView, ...]
    plan: str = ""
    note: str = ""


@dataclass(slots=True)
class _Kept:
    window: QuotaWindow
    read_at: float
    source: str
    readings: deque[tuple[float, float]] = field(
        default_factory=lambda: deque(maxlen=_MOST_READINGS)
    )
    """Time and percentage, of the running window only."""


@dataclass(slots=True)
class _Account:
    windows: dict[str, _Kept] = field(default_factory=dict)
    plan: str = ""
    note: str = ""


class Quotas:
    """What services told of each account's limits."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}

    def note(self, account_id: str, quota: Quota) -> None:
        """Take what a service told; older news than what is known is dropped."""
        known = self._accounts.setdefault(account_id, _Account())
        known.plan = quota.plan or known.plan
        if quota.source != "headers":
            known.note = quota.note
        for window in quota.windows:
            kept = known.windows.get(window.name)
            if kept is None:
                kept = known.windows[window.name] = _Kept(window, quota.read_at, quota.source)
            elif kept.read_at > quota.read_at:
                continue
            else:
                if _began_anew(kept.window, window):
                    kept.readings.clear()
                kept.window = _joined(kept.window, window)
                kept.read_at, kept.source = quota.read_at, quota.source
            if window.used_percent is not None:
                kept.readings.append((quota.read_at, window.used_percent))

    def forget(self, account_id: str) -> None:
        """Drop what is known of an account that is gone, or is another one now."""
        self._accounts.pop(account_id, None)

    def view(self, account_id: str, now: float) -> QuotaView | None:
        """Return what is known of an account, or None when nothing is."""
        known = self._accounts.get(account_id)
        if known is None:
            return None
        windows = tuple(
            _view(kept, now) for kept in known.windows.values() if not _is_stale(kept, now)
        )
        return QuotaView(windows, known.plan, known.note)

    def left_percent(self, account_id: str, model: str, now: float) -> float | None:
        """Return how much of the tightest window that counts a model is left, 0 to 100.

        None when nothing is known.
        """
        view = self.tightest(account_id, now, model)
        return None if view is None else view.left_percent

    def tightest(self, account_id: str, now: float, model: str | None = None) -> WindowView | None:
        """Return the window of which least is left, or None when nothing is known.

        Args:
            account_id: whose.
            now: epoch seconds.
            model: only windows that count this model (the upstream's name); None for all.
        """
        known = self._accounts.get(account_id)
        if known is None:
            return None
        tightest: WindowView | None = None
        least = float("inf")
        for kept in known.windows.values():
            if _is_stale(kept, now) or not _counts(kept.window, model):
                continue
            view = _view(kept, now)
            left = view.left_percent
            # Of several that are used up, the one that comes back last says when it goes on.
            if left is not None and (
                left < least or (left == least == 0.0 and _later(view, tightest))
            ):
                least, tightest = left, view
        return tightest

    def spent_window(self, account_id: str, model: str, now: float) -> str:
        """Return the name, for people, of a window that is used up; empty when none is."""
        view = self.tightest(account_id, now, model)
        return render_window(view.window.name) if view and view.left_percent == 0.0 else ""


def _counts(window: QuotaWindow, model: str | None) -> bool:
    """Say whether a window counts a model; each counts for None."""
    if model is None or not window.models:
        return True
    return any(fnmatchcase(model, pattern) for pattern in window.models)


def _later(one: WindowView, other: WindowView | None) -> bool:
    resets = other.window.resets_at if other is not None else None
    return resets is not None and (one.window.resets_at or 0.0) > resets


def render_window(name: str) -> str:
    """Return a window's name for people: ``5-hour window``, ``weekly window (opus)``."""
    length, _, of = name.partition("_")
    number, unit = length[:-1], length[-1:]
    if name == "7d" or length == "7d":
        text = "weekly window"
    elif number.isdigit() and unit in ("h", "d"):
        text = f"{number}-{'hour' if unit == 'h' else 'day'} window"
    elif name in ("month", "day"):
        return "quota of the month" if name == "month" else "quota of the day"
    else:
        return f"limit of {name.replace('_', ' ')}"
    return f"{text} ({of.replace('_', ' ')})" if of else text


def _joined(old: QuotaWindow, new: QuotaWindow) -> QuotaWindow:
    """Return the new word on a window, with what only the old one said."""
    return replace(
        new,
        length_s=new.length_s if new.length_s is not None else old.length_s,
        models=new.models or old.models,
        limit=new.limit if new.limit is not None else old.limit,
    )


def _began_anew(old: QuotaWindow, new: QuotaWindow) -> bool:
    if old.resets_at is not None and new.resets_at is not None:
        # Services round: some add the seconds left to their own clock on every answer.
        return new.resets_at > old.resets_at + 120.0
    if old.used_percent is not None and new.used_percent is not None:
        return new.used_percent < old.used_percent
    return False


def _is_stale(kept: _Kept, now: float) -> bool:
    return kept.window.resets_at is None and now - kept.read_at > _STALE_S


def _view(kept: _Kept, now: float) -> WindowView:
    window = kept.window
    if window.resets_at is not None and window.resets_at <= now:
        empty = replace(
            window,
            used_percent=None if window.used_percent is None else 0.0,
            exhausted=False,
            left=window.limit,
            resets_at=None,
        )
        return WindowView(empty, kept.read_at, kept.source)
    return WindowView(window, kept.read_at, kept.source, _runs_out_at(kept, now))


def _runs_out_at(kept: _Kept, now: float) -> float | None:
    window = kept.window
    if window.exhausted or window.used_percent is None or window.used_percent >= 100.0:
        return None
    look_back = window.length_s / 12.0 if window.length_s else _DEFAULT_LOOK_BACK_S
    recent = [(at, used) for at, used in kept.readings if now - at <= look_back]
    if len(recent) < 2:
        return None
    (first_at, first), (last_at, last) = recent[0], recent[-1]
    if last_at - first_at < _LEAST_SPAN_S or last <= first:
        return None
    rate = (last - first) / (last_at - first_at)
    at = last_at + (100.0 - last) / rate
    if window.resets_at is not None and at >= window.resets_at:
        return None
    return max(at, now)
