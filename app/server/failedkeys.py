"""How often keys have failed, by where they came from."""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["FailedKeys"]


class FailedKeys:
    """Counts failed keys per source in a sliding minute; bounded in sources and in counts.

    It only changes what a *wrong* key is answered, so that a flood of guesses from one address
    neither delays a valid key nor fills the log with 401s that a program would retry at once.

    Args:
        limit: failures per window after which further ones are told to wait.
        window_s: length of the window in seconds.
        max_sources: sources remembered; the one that was quiet longest is dropped.
    """

    def __init__(self, limit: int = 20, window_s: float = 60.0, max_sources: int = 1024) -> None:
        self._limit = limit
        self._window_s = window_s
        self._max_sources = max_sources
        self._times: OrderedDict[str, list[float]] = OrderedDict()

    def note(self, source: str, now: float) -> float | None:
        """Count one failure; returns the seconds to wait when there were too many, else None."""
        times = [t for t in self._times.get(source, ()) if now - t < self._window_s]
        if len(times) >= self._limit:
            self._keep(source, times)
            return max(1.0, times[0] + self._window_s - now)
        times.append(now)
        self._keep(source, times)
        return None

    def _keep(self, source: str, times: list[float]) -> None:
        self._times[source] = times
        self._times.move_to_end(source)
        while len(self._times) > self._max_sources:
            self._times.popitem(last=False)
