"""Times and numbers as services write them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["read_moment", "read_number"]


def read_number(value: object) -> float | None:
    """Return a finite number from a number or its text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def read_moment(value: object) -> float | None:
    """Return epoch seconds UTC from a number, an ISO 8601 time or an HTTP date.

    A time without a zone is UTC. None for anything else.
    """
    number = read_number(value)
    if number is not None:
        return number if number > 0 else None
    if not isinstance(value, str):
        return None
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None
