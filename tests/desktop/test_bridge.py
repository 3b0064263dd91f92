import asyncio
import threading

import pytest

from app.desktop.bridge import Bridge
from app.errors import AppError
from tests.desktop import statuses


class FakeProgram:
    """A proxy that says what it is told to."""

    def __init__(self):
        self.now = statuses.status()
        self.changed = None
        self.stopped = self.woken = 0
        self.shows = []
        self.asked = []
        self.commands = {"pause": self.pause, "new_key": self.fail}

    def status(self):
        return self.now

    def subscribe(self, changed):
        self.changed = changed
        return self._unsubscribe

    def _unsubscribe(self):
        self.changed = None

    def on_show(self, show):
        self.shows.append(show)

    grace_s = 10.0

    def woke(self):
        self.woken += 1

    def stop(self):
        self.stopped += 1

    async def pause(self, target):
        self.asked.append((target, threading.current_thread().name))
        return "done"

    async def fail(self, target):
        raise AppError("No.", code="no")

    def become(self, status):
        self.now = status
        self.changed()


class HandMovedLoop:
    """As much of an event loop as the bridge needs, with a clock that is moved by hand."""

    def __init__(self):
        self.clock = 100.0
        self.timers = []

    def time(self):
        return self.clock

    def is_closed(self):
        return False

    def call_at(self, due, call):
        timer = _Timer(due, call)
        self.timers.append(timer)
        return timer

    def call_soon_threadsafe(self, call):
        call()

    def move(self, seconds):
        self.clock += seconds
        due = [timer for timer in self.timers if timer.due <= self.clock]
        self.timers = [timer for timer in self.timers if timer.due > self.clock]
        for timer in due:
            if not timer.cancelled:
                timer.call()


class _Timer:
    def __init__(self, due, call):
        self.due, self.call, self.cancelled = due, call, False

    def cancel(self):
        self.cancelled = True


@pytest.fixture
def program():
    return FakeProgram()


@pytest.fixture
def loop():
    return HandMovedLoop()


@pytest.fixture
def shown():
    return []


@pytest.fixture
def wall():
    """The time of day, as a list of one number; it stands still by itself."""
    return [1_000.0]


@pytest.fixture
def bridge(program, loop, shown, wall):
    found = Bridge(shown.append, now=lambda: wall[0])
    found.attach(program, loop)
    return found


def test_first_snapshot_comes_at_once(bridge, shown, program):
    assert shown == [program.now]


def test_changes_come_out_once_a_second_at_most(bridge, shown, program, loop):
    for running in range(1, 50):
        program.become(statuses.status("working", running=running))
    assert len(shown) == 1
    loop.move(1.0)
    assert [status.running for status in shown] == [0, 49]
    program.become(statuses.status("working", running=3))
    loop.move(0.5)
    assert len(shown) == 2
    loop.move(0.5)
    assert len(shown) == 3


def test_change_after_a_quiet_time_comes_at_once(bridge, shown, program, loop):
    loop.move(10.0)
    program.become(statuses.status("paused"))
    loop.move(0.0)
    assert len(shown) == 2


def test_what_has_not_changed_is_not_shown_again(bridge, shown, program, loop):
    for _ in range(5):
        program.become(statuses.status())
        loop.move(2.0)
    assert len(shown) == 1


def test_status_is_looked_at_once_a_minute_without_being_told(bridge, shown, program, loop):
    program.now = statuses.status("attention")
    loop.move(59.0)
    assert len(shown) == 1
    loop.move(1.0)
    assert len(shown) == 2


def test_one_timer_a_minute_is_all_that_runs_when_nothing_happens(bridge, loop):
    for _ in range(10):
        waiting = [timer for timer in loop.timers if not timer.cancelled]
        assert [timer.due - loop.clock for timer in waiting] == [60.0]
        loop.move(60.0)


def test_sleep_is_seen_where_the_clock_stood_still_meanwhile(bridge, program, loop, wall):
    wall[0] += 3_600.0
    loop.move(60.0)
    assert program.woken == 1
    wall[0] += 60.0
    loop.move(60.0)
    assert program.woken == 1


def test_sleep_is_seen_where_the_clock_went_on(bridge, program, loop, wall):
    wall[0] += 600.0
    loop.move(600.0)
    assert program.woken == 1


def test_late_look_and_a_clock_set_back_are_no_sleep(bridge, program, loop, wall):
    wall[0] += 75.0
    loop.move(75.0)
    wall[0] -= 86_400.0
    loop.move(60.0)
    assert program.woken == 0


def test_time_that_a_stop_takes_is_the_programs(bridge):
    assert bridge.grace_s == 10.0
    bridge.detach()
    assert bridge.grace_s == 0.0


def test_detached_bridge_is_silent(bridge, shown, program, loop):
    changed = program.changed
    bridge.detach()
    assert program.changed is None
    program.now = statuses.status("paused")
    changed()
    loop.move(100.0)
    assert len(shown) == 1
    assert bridge.actions == frozenset()


def test_fault_of_the_desktop_stays_there(program, loop, caplog):
    def broken(status):
        raise ValueError("no panel")

    Bridge(broken).attach(program, loop)
    assert "could not take the new status" in caplog.text


def test_actions_are_those_of_the_program(bridge):
    assert bridge.actions == {"pause", "new_key"}


def test_stop_goes_in(bridge, program):
    assert bridge.stop()
    assert program.stopped == 1
    bridge.detach()
    assert not bridge.stop()


def test_unknown_command_and_missing_program_are_the_same_answer(bridge):
    for _ in range(2):
        with pytest.raises(AppError) as caught:
            bridge.call("no_such").result(1)
        assert caught.value.code == "not_running"
        bridge.detach()


async def test_commands_run_on_the_programs_loop(program):
    bridge = Bridge(lambda status: None)
    bridge.attach(program)
    here = threading.current_thread().name
    done = await asyncio.to_thread(lambda: bridge.call("pause", "x").result(5))
    assert (done, program.asked) == ("done", [("x", here)])
    with pytest.raises(AppError, match="No"):
        await asyncio.wrap_future(bridge.call("new_key"))
    bridge.detach()


def test_loop_that_was_closed_is_an_answer_and_no_crash(program):
    loop = asyncio.new_event_loop()
    bridge = Bridge(lambda status: None)
    bridge.attach(program, loop)
    loop.close()
    with pytest.raises(AppError):
        bridge.call("pause").result(1)
    assert not bridge.stop()
    bridge.refresh()
    bridge.detach()
