"""Calls that run and ran, by account, on a clock moved by hand."""

import pytest

from app.accounts.traffic import Traffic


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_an_account_that_nobody_used_has_neither(clock):
    traffic = Traffic(clock)
    assert (traffic.running("a"), traffic.used("a"), traffic.turn("p")) == (0, 0.0, 0)


def test_calls_are_counted_while_they_run_and_for_a_while_after(clock):
    traffic = Traffic(clock)
    traffic.began("a")
    traffic.began("a")
    traffic.ended("a")
    assert (traffic.running("a"), traffic.used("a")) == (1, 2.0)
    clock.now += 1_800
    assert (traffic.running("a"), traffic.used("a")) == (1, 1.0)
    traffic.began("a")
    assert traffic.used("a") == 2.0


def test_more_ends_than_beginnings_are_not_counted(clock):
    traffic = Traffic(clock)
    traffic.ended("a")
    traffic.began("a")
    traffic.ended("a")
    traffic.ended("a")
    assert traffic.running("a") == 0


def test_turns_are_of_a_provider(clock):
    traffic = Traffic(clock)
    traffic.chose("p")
    traffic.chose("p")
    assert (traffic.turn("p"), traffic.turn("q")) == (2, 0)


def test_accounts_that_are_gone_are_forgotten_once_nothing_runs_on_them(clock):
    traffic = Traffic(clock)
    traffic.began("gone")
    traffic.began("kept")
    traffic.keep_only(frozenset({"kept"}))
    assert traffic.running("gone") == 1
    traffic.ended("gone")
    traffic.keep_only(frozenset({"kept"}))
    assert (traffic.used("gone"), traffic.used("kept")) == (0.0, 1.0)
