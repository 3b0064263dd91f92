"""Latencies in buckets: small enough to be summed, fine enough for percentiles.

Bucket 0 is below 16 ms. Each further one begins at the square root of two times the last, and the
last one has no end (it begins at 35 minutes). A percentile is read between the edges of its bucket
in proportion, so it is off by a tenth or so at most where the times within are spread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["BUCKETS", "bucket_of", "percentile_ms"]

BUCKETS = 36
_FIRST_MS = 16.0
_PER_OCTAVE = 2


def bucket_of(ms: float) -> int:
    """Return the bucket of a length of time in milliseconds."""
    if ms < _FIRST_MS:
        return 0
    return min(BUCKETS - 1, 1 + int(_PER_OCTAVE * math.log2(ms / _FIRST_MS)))


def percentile_ms(counts: Sequence[int], percent: float) -> int | None:
    """Return a percentile in milliseconds, or None where nothing was counted.

    Args:
        counts: one count per bucket.
        percent: above 0, up to 100.
    """
    total = sum(counts)
    if total == 0:
        return None
    wanted = total * percent / 100
    below = 0
    for bucket, count in enumerate(counts):
        if count and below + count >= wanted:
            low, high = _edges(bucket)
            return round(low + (high - low) * (wanted - below) / count)
        below += count
    return round(_edges(len(counts) - 1)[1])


def _edges(bucket: int) -> tuple[float, float]:
    if bucket == 0:
        return 0.0, _FIRST_MS
    low: float = _FIRST_MS * 2 ** ((bucket - 1) / _PER_OCTAVE)
    return low, low * 2 ** (1 / _PER_OCTAVE)
