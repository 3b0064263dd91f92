"""Conversations and the accounts that they stay with."""

from app.accounts.affinity import Affinity
from tests.fakes.basic import Clock


def test_a_conversation_keeps_its_last_account():
    kept = Affinity(Clock())
    assert kept.get("a") is None
    kept.bind("a", "claude/one")
    kept.bind("b", "claude/two")
    kept.bind("a", "claude/two")
    assert (kept.get("a"), kept.get("b")) == ("claude/two", "claude/two")


def test_a_binding_ends_an_hour_after_its_last_use():
    clock = Clock()
    kept = Affinity(clock)
    kept.bind("a", "claude/one")
    clock.advance(3_599)
    assert kept.get("a") == "claude/one"
    kept.bind("a", "claude/one")
    clock.advance(3_600)
    assert kept.get("a") == "claude/one"
    clock.advance(1)
    assert kept.get("a") is None


def test_an_account_that_is_gone_is_forgotten():
    kept = Affinity(Clock())
    kept.bind("a", "claude/one")
    kept.bind("b", "claude/two")
    kept.forget("claude/one")
    assert (kept.get("a"), kept.get("b")) == (None, "claude/two")


def test_what_is_kept_is_bounded_and_the_oldest_goes_first():
    kept = Affinity(Clock())
    for number in range(10_001):
        kept.bind(str(number), "x")
    assert kept.get("0") is None
    assert kept.get("1") == "x"
