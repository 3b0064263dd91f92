"""Days and months as the clock on the wall has them.

A day is written as a number: 20261121. It is that of the machine's time zone at the moment that it
is about, so that a report's days are the user's own.
"""

from __future__ import annotations

import time
from datetime import date, datetime, timedelta
from typing import Literal, TypeAlias

__all__ = ["Period", "date_of", "day_after", "day_of", "hour_of", "next_period", "start_of"]

Period: TypeAlias = Literal["day", "month"]


def day_of(at: float) -> int:
    """Return the local day of a moment in epoch seconds."""
    local = time.localtime(at)
    return local.tm_year * 10_000 + local.tm_mon * 100 + local.tm_mday


def hour_of(at: float) -> int:
    """Return the hours since the epoch at a moment in epoch seconds."""
    return int(at // 3_600)


def date_of(day: int) -> date:
    """Return a day as a date.

    Raises:
        ValueError: there is no such day.
    """
    return date(day // 10_000, day // 100 % 100, day % 100)


def day_after(day: int, days: int = 1) -> int:
    """Return the day that is so many days later; a negative number goes back."""
    other = date_of(day) + timedelta(days=days)
    return other.year * 10_000 + other.month * 100 + other.day


def start_of(day: int) -> float:
    """Return when a local day begins, in epoch seconds."""
    whole = date_of(day)
    # Without a zone it is the machine's own, with the rules that hold on that very day.
    return datetime(whole.year, whole.month, whole.day).timestamp()  # noqa: DTZ001


def next_period(period: Period, day: int) -> float:
    """Return when the day, or the month that it is in, is over, in epoch seconds."""
    if period == "day":
        return start_of(day_after(day))
    year, month = day // 10_000, day // 100 % 100
    year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    return start_of(year * 10_000 + month * 100 + 1)
