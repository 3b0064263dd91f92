"""How fast accounts are used, with a clock that the tests move."""

import asyncio
from dataclasses import replace

import pytest

from app.accounts.account import Account
from app.accounts.pace import SUBSCRIPTION, Meter, Pace, Pacer, Permit
from app.config import Pace as Written
from tests.accounts.services import KEYED, WEB
from tests.fakes.basic import Clock, Timers

PLAN = replace(WEB, subscription=True)
TIGHT = Written(at_once=1, per_minute=3)


def account(label="one", provider=PLAN):
    return Account(f"{provider.id}/{label}", provider, label, provider.base_url)


ONE, TWO, KEY = account("one"), account("two"), account("key", KEYED)


class Place:
    """A pacer with its clock and timers."""

    def __init__(self, written=TIGHT):
        self.clock = Clock(1_000.0)
        self.timers = Timers(self.clock)
        settings = {} if written is None else {PLAN.id: written}
        self.pacer = Pacer(self.clock, self.timers.call_later, settings)

    def claim(self, which=ONE):
        permit = self.pacer.claim(which)
        assert isinstance(permit, Permit), permit
        return permit

    async def wait(self, *which):
        """Begin to wait; returns the task once it does."""
        task = asyncio.ensure_future(self.pacer.wait(which or [ONE]))
        await asyncio.sleep(0)
        return task


# What a meter decides


@pytest.mark.parametrize(
    ("pace", "begun", "ended", "now", "wait_s"),
    [
        (Pace(), [0.0] * 500, 0, 0.0, 0.0),
        (Pace(at_once=2), [0.0], 0, 0.0, 0.0),
        (Pace(at_once=2), [0.0, 1.0], 0, 500.0, None),
        (Pace(at_once=2), [0.0, 1.0], 1, 1.0, 0.0),
        (Pace(per_minute=2), [0.0, 10.0], 0, 10.0, 50.0),
        (Pace(per_minute=2), [0.0, 10.0], 2, 10.0, 50.0),
        (Pace(per_minute=2), [0.0, 10.0], 0, 59.9, pytest.approx(0.1)),
        (Pace(per_minute=2), [0.0, 10.0], 0, 60.0, 0.0),
        (Pace(at_once=1, per_minute=1), [0.0], 1, 20.0, 40.0),
        (Pace(at_once=1, per_minute=1), [0.0], 0, 70.0, None),
    ],
)
def test_meter(pace, begun, ended, now, wait_s):
    meter = Meter(pace)
    for at in begun:
        meter.begin(at)
    for _ in range(ended):
        meter.end()
    assert meter.wait_s(now) == wait_s


def test_a_minute_slides():
    meter = Meter(Pace(per_minute=2))
    for at in (0.0, 30.0):
        meter.begin(at)
    assert meter.wait_s(59.0) == 1.0
    meter.begin(60.0)
    assert meter.wait_s(60.0) == 30.0


def test_lowered_limit_waits_until_the_minute_holds_fewer():
    meter = Meter(Pace(per_minute=4))
    for at in (0.0, 10.0, 20.0, 30.0):
        meter.begin(at)
    meter.pace = Pace(per_minute=2)
    assert meter.wait_s(40.0) == 40.0  # until those of 0, 10 and 20 have left it


# Whose pace it is


def test_subscriptions_have_the_careful_pace_and_keys_none():
    pacer = Pacer()
    assert pacer.pace_of(ONE) is SUBSCRIPTION
    assert pacer.pace_of(KEY) is None
    assert pacer.claim(KEY) is True


@pytest.mark.parametrize(
    ("provider", "written", "pace"),
    [
        (PLAN, Written(at_once=2), Pace(2, SUBSCRIPTION.per_minute)),
        (PLAN, Written(per_minute=9), Pace(SUBSCRIPTION.at_once, 9)),
        (PLAN, Written(), SUBSCRIPTION),
        (KEYED, Written(at_once=2), Pace(2, None)),
        (KEYED, Written(), None),
    ],
)
def test_settings_change_what_they_name(provider, written, pace):
    pacer = Pacer(written={provider.id: written})
    assert pacer.pace_of(account(provider=provider)) == pace


def test_settings_hold_from_the_next_call():
    place = Place()
    place.claim()
    assert place.pacer.claim(ONE) is False
    place.pacer.written = {PLAN.id: Written(at_once=2)}
    place.claim()


# Who may begin


def test_room_is_of_each_account_and_comes_back():
    place = Place()
    permit = place.claim()
    assert place.pacer.claim(ONE) is False
    place.claim(TWO)
    permit.release()
    permit.release()  # once or more often
    place.claim()
    assert place.pacer.claim(ONE) is False


async def test_the_first_to_come_is_the_first_to_go():
    place = Place(Written(at_once=1, per_minute=100))
    permit = place.claim()
    first, second = await place.wait(), await place.wait()
    permit.release()
    await asyncio.sleep(0)
    assert (first.done(), second.done()) == (True, False)
    which, permit = await first
    assert which == 0
    permit.release()
    await second


async def test_nobody_overtakes_those_who_wait():
    place = Place(Written(at_once=9, per_minute=1))
    place.claim().release()
    waiting = await place.wait()
    place.clock.advance(60.0)  # the timer has not gone off yet
    assert place.pacer.claim(ONE) is False
    await waiting


async def test_whichever_account_has_room_first_is_taken():
    place = Place()
    place.claim(ONE)
    permit = place.claim(TWO)
    waiting = await place.wait(ONE, TWO)
    permit.release()
    which, _ = await waiting
    assert which == 1


async def test_a_minute_that_passes_lets_the_next_begin():
    place = Place(Written(at_once=9, per_minute=1))
    place.claim().release()
    place.timers.go(50.0)
    waiting = await place.wait()
    place.timers.go(9.9)
    await asyncio.sleep(0)
    assert not waiting.done()
    place.timers.go(0.2)
    assert (await waiting)[0] == 0


async def test_waiting_ends_after_a_while():
    place = Place()
    place.claim()
    waiting = await place.wait()
    place.timers.go(14.9)
    await asyncio.sleep(0)
    assert not waiting.done()
    place.timers.go(0.2)
    assert await waiting is None
    assert place.pacer._waiters == []


async def test_client_that_leaves_while_it_waits_takes_no_room():
    place = Place(Written(at_once=1, per_minute=100))
    permit = place.claim()
    gone, stays = await place.wait(), await place.wait()
    gone.cancel()
    await asyncio.wait([gone])
    permit.release()
    assert (await stays)[0] == 0


async def test_client_that_leaves_when_its_turn_comes_gives_the_room_on():
    place = Place(Written(at_once=1, per_minute=100))
    permit = place.claim()
    gone, stays = await place.wait(), await place.wait()
    permit.release()  # the room is given to the first …
    gone.cancel()  # … which has not heard of it yet
    await asyncio.wait([gone])
    assert gone.cancelled()
    assert (await stays)[0] == 0


async def test_no_timer_is_left_behind():
    place = Place(Written(at_once=1, per_minute=100))
    permit = place.claim()
    waiting = await place.wait()
    permit.release()
    await waiting
    assert place.timers.set == []


# What is told


def test_refusal_tells_the_true_time_where_it_is_known():
    place = Place(Written(at_once=9, per_minute=2))
    for _ in range(2):
        place.claim().release()
    place.clock.advance(25.0)
    error = place.pacer.refusal([ONE], "m", show_labels=True)
    assert (error.status, error.code, error.retry_after_s) == (429, "pace_reached", 35.0)
    assert "(one: as many calls were begun as may in a minute, 2)" in error.message
    assert error.hint.startswith("providers.web.pace in the settings")


def test_refusal_where_calls_run_asks_to_look_again_soon():
    place = Place()
    place.claim()
    error = place.pacer.refusal([ONE], "m", show_labels=True)
    assert error.retry_after_s == 5.0
    assert "(one: as many calls run as may at once, 1)" in error.message


def test_refusal_of_several_has_the_soonest_time_and_may_hide_labels():
    place = Place(Written(at_once=9, per_minute=1))
    place.claim(ONE)
    place.clock.advance(20.0)
    place.claim(TWO)
    error = place.pacer.refusal([TWO, ONE], "m", show_labels=False)
    assert error.retry_after_s == 40.0
    assert "(web: as many calls were begun as may in a minute, 1)" in error.message
