import pytest

from tests.bench.ledger import LIMIT_MS, measure

pytestmark = pytest.mark.bench


def test_every_question_is_answered_in_time_with_a_tenth_of_the_rows(tmp_path):
    lines, _, size, (batched_us, _) = measure(100_000, tmp_path)
    # Of the processor's work: somebody else's load is nobody's fault here.
    assert {name: cpu for name, _, cpu in lines if cpu >= LIMIT_MS} == {}
    assert size < 200e6
    assert batched_us < 1_000
