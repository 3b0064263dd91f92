import random

import pytest

from app.ledger.latency import BUCKETS, bucket_of, percentile_ms
from app.store.tables import LATENCY_BUCKETS


def histogram(times):
    counts = [0] * BUCKETS
    for ms in times:
        counts[bucket_of(ms)] += 1
    return counts


def test_buckets_are_as_many_as_the_store_has_columns():
    assert BUCKETS == LATENCY_BUCKETS


@pytest.mark.parametrize(
    ("ms", "bucket"),
    [(0, 0), (15.9, 0), (16, 1), (22, 1), (23, 2), (32, 3), (1_000, 12), (10**9, BUCKETS - 1)],
)
def test_each_bucket_begins_at_the_square_root_of_two_times_the_last(ms, bucket):
    assert bucket_of(ms) == bucket


def test_percentiles_are_near_the_true_ones():
    rng = random.Random(7)  # noqa: S311 - not for secrets
    times = sorted(rng.lognormvariate(7, 0.8) for _ in range(10_000))
    counts = histogram(times)
    for percent in (50, 95, 99):
        true = times[int(len(times) * percent / 100)]
        assert percentile_ms(counts, percent) == pytest.approx(true, rel=0.1)


def test_percentiles_of_nothing_one_and_the_slowest():
    assert percentile_ms([0] * BUCKETS, 50) is None
    assert percentile_ms([], 50) is None
    assert 32 <= percentile_ms(histogram([40]), 50) <= 46
    assert percentile_ms(histogram([10**9]), 99) > 35 * 60_000
