"""The levels beside the ledger's counters on ``/metrics``: what is so right now."""

from __future__ import annotations

from collections.abc import Mapping

from app.ledger.metrics import Gauge

__all__ = ["gauges"]


def gauges(
    *,
    running: int,
    uptime_s: float,
    waiting: int,
    ready: Mapping[str, bool],
    left: Mapping[str, float | None],
) -> list[Gauge]:
    """Return the levels.

    Args:
        running: requests being served.
        uptime_s: seconds since the start.
        waiting: entries of the ledger that are not yet written.
        ready: account id to whether it can be asked.
        left: account id to percent left of its tightest window, None where nobody knows.
    """
    return [
        Gauge("requests_running", "Requests being served", values=(((), float(running)),)),
        Gauge("uptime_seconds", "Seconds since the start", values=(((), uptime_s),)),
        Gauge(
            "ledger_waiting",
            "Entries of the ledger that are not yet written",
            values=(((), float(waiting)),),
        ),
        Gauge(
            "account_ready",
            "1 while an account can be asked",
            ("account",),
            tuple(((name,), float(is_ready)) for name, is_ready in ready.items()),
        ),
        Gauge(
            "account_left_percent",
            "What is left of an account's tightest window",
            ("account",),
            tuple(((name,), percent) for name, percent in left.items() if percent is not None),
        ),
    ]
