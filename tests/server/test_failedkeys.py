"""Failed keys are counted by source, for a while."""

from app.server.failedkeys import FailedKeys


def test_failed_keys_are_forgotten_after_the_window():
    failed = FailedKeys(limit=1, window_s=60.0)
    assert failed.note("a", 0.0) is None
    assert failed.note("a", 59.0) == 1.0
    assert failed.note("a", 60.0) is None


def test_the_count_of_sources_is_bounded_by_dropping_the_quietest():
    failed = FailedKeys(limit=1, max_sources=2)
    failed.note("a", 0.0)
    failed.note("b", 1.0)
    failed.note("a", 2.0)
    failed.note("c", 3.0)
    assert failed.note("a", 4.0) is not None
    assert failed.note("b", 5.0) is None
