"""Conversations and the accounts that they stay with."""

from app.accounts.affinity import Affinity
from tests.fakes.basic import Clock


def test_a_conversation_keeps_its_own_account_and_the_last_that_helped_out():
    kept = Affinity(Clock())
    assert kept.get("a") == ()
    kept.bind("a", "claude/one")
    kept.bind("b", "claude/two")
    kept.bind("a", "claude/two")
    assert (kept.get("a"), kept.get("b")) == (("claude/one", "claude/two"), ("claude/two",))
    kept.bind("a", "claude/three")
    assert kept.get("a") == ("claude/one", "claude/three")
    kept.bind("a", "claude/one")
    assert kept.get("a") == ("claude/one", "claude/three")


def test_an_account_is_kept_for_an_hour_after_it_served():
    clock = Clock()
    kept = Affinity(clock)
    kept.bind("a", "claude/one")
    clock.advance(3_599)
    assert kept.get("a") == ("claude/one",)
    kept.bind("a", "claude/one")
    clock.advance(3_600)
    assert kept.get("a") == ("claude/one",)
    clock.advance(1)
    assert kept.get("a") == ()


def test_who_helped_out_for_an_hour_owns_the_conversation():
    clock = Clock()
    kept = Affinity(clock)
    kept.bind("a", "claude/one")
    for _ in range(3):
        clock.advance(1_500)
        kept.bind("a", "claude/two")
    assert kept.get("a") == ("claude/two",)
    kept.bind("a", "claude/one")
    assert kept.get("a") == ("claude/two", "claude/one")


def test_an_account_that_is_gone_is_forgotten():
    kept = Affinity(Clock())
    kept.bind("a", "claude/one")
    kept.bind("a", "claude/two")
    kept.bind("b", "claude/two")
    kept.bind("c", "claude/one")
    kept.forget("claude/one")
    assert (kept.get("a"), kept.get("b")) == (("claude/two",), ("claude/two",))
    assert kept.get("c") == ()


def test_what_is_kept_is_bounded_and_the_oldest_goes_first():
    kept = Affinity(Clock())
    for number in range(10_001):
        kept.bind(str(number), "x")
    assert kept.get("0") == ()
    assert kept.get("1") == ("x",)
