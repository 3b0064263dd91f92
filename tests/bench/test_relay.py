import pytest

from tests.bench.relay import LIMIT_MS, added_ms, measure, render

pytestmark = pytest.mark.bench


def test_the_first_token_comes_hardly_later_through_the_relay():
    times = measure(50)
    assert all(half < LIMIT_MS for half, _ in added_ms(times).values()), render(times)
