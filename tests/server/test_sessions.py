import pytest

from app.server.sessions import IDLE_S, LONGEST_S, TICKET_S, Sessions
from tests.fakes.basic import Clock


@pytest.fixture
def clock():
    return Clock(1_000.0)


@pytest.fixture
def sessions(clock):
    return Sessions(clock)


def test_ticket_is_good_once(sessions):
    ticket = sessions.new_ticket()
    token = sessions.redeem(ticket)
    assert token is not None
    assert token != ticket
    assert sessions.redeem(ticket) is None
    assert sessions.accepts(token)


def test_ticket_is_no_session_and_a_session_no_ticket(sessions):
    ticket = sessions.new_ticket()
    assert not sessions.accepts(ticket)
    token = sessions.redeem(ticket)
    assert sessions.redeem(token) is None


def test_ticket_is_good_for_half_a_minute(sessions, clock):
    early, late = sessions.new_ticket(), sessions.new_ticket()
    clock.now += TICKET_S - 0.1
    assert sessions.redeem(early) is not None
    clock.now += 0.1
    assert sessions.redeem(late) is None


def test_unknown_words_are_nothing(sessions):
    for word in ("", "dg-1", "\ud800"):
        assert sessions.redeem(word) is None
        assert not sessions.accepts(word)
        assert not sessions.end(word)


def test_session_ends_by_leaving(sessions):
    token = sessions.redeem(sessions.new_ticket())
    assert sessions.end(token)
    assert not sessions.accepts(token)
    assert not sessions.end(token)


def test_session_that_is_used_lives_on_but_not_for_ever(sessions, clock):
    token = sessions.redeem(sessions.new_ticket())
    opened = clock.now
    while clock.now + IDLE_S - 1 < opened + LONGEST_S:
        clock.now += IDLE_S - 1
        assert sessions.accepts(token)
    clock.now = opened + LONGEST_S
    assert not sessions.accepts(token)


def test_session_that_is_not_used_ends(sessions, clock):
    token = sessions.redeem(sessions.new_ticket())
    clock.now += IDLE_S
    assert len(sessions) == 0
    assert not sessions.accepts(token)


def test_the_session_used_longest_ago_gives_way(clock):
    sessions = Sessions(clock, max_sessions=2)
    first, second = (sessions.redeem(sessions.new_ticket()) for _ in range(2))
    assert sessions.accepts(first)
    third = sessions.redeem(sessions.new_ticket())
    assert [sessions.accepts(token) for token in (first, second, third)] == [True, False, True]


def test_tickets_are_bounded(sessions):
    tickets = [sessions.new_ticket() for _ in range(40)]
    assert sum(sessions.redeem(ticket) is not None for ticket in tickets) == 16


def test_nothing_that_is_kept_opens_anything(sessions):
    ticket = sessions.new_ticket()
    token = sessions.redeem(sessions.new_ticket())
    assert ticket not in repr(vars(sessions))
    assert token not in repr(vars(sessions))
