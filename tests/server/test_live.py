import asyncio
import json
import logging
import threading

import pytest

from app.gateway.call import Outcome
from app.gateway.recent import Recent
from app.gateway.status import Status
from app.server import live as module
from app.server.live import Live, LogLines
from tests.fakes.basic import Clock
from tests.gateway.scripted import Desk

SAY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


class Room:
    def __init__(self):
        self.recent = Recent(Clock(), Clock(1.0))
        self.shown = Status("running", "1")
        self.listeners = []
        self.lines = LogLines()
        self.live = Live(self.recent, lambda: self.shown, self.subscribe, self.lines)
        self.reading = True

    def subscribe(self, listener):
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def begin(self, name="req_1"):
        call = Desk().call(SAY)
        call.request_id = name
        outcome = Outcome(name, model="m")
        self.recent.began(call, outcome)
        return outcome

    def log(self, text="words", level=logging.INFO, **more):
        self.lines.handle(
            logging.LogRecord("dragoman.test", level, "f", 1, text, (), more.get("exc_info"))
        )

    def feed(self):
        return self.live.feed(lambda: self.reading).pieces()


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(module, "_PACE_S", 0.005)
    monkeypatch.setattr(module, "_STATUS_PACE_S", 0.01)


async def messages(feed):
    """The messages of the next piece, by kind."""
    piece = await asyncio.wait_for(anext(feed), 5)
    assert piece.endswith(b"\n")
    return {line["kind"]: line for line in map(json.loads, piece.splitlines())}


async def test_first_piece_has_everything():
    room = Room()
    room.log("before")
    room.begin()
    feed = room.feed()
    first = await messages(feed)
    assert list(first) == ["status", "requests", "log"]
    assert first["status"]["status"]["state"] == "running"
    assert [row["id"] for row in first["requests"]["changed"]] == ["req_1"]
    assert [line["text"] for line in first["log"]["lines"]] == ["before"]
    await feed.aclose()


async def test_only_what_changed_follows():
    room = Room()
    one, _ = room.begin("req_1"), room.begin("req_2")
    feed = room.feed()
    await messages(feed)
    one.account = "codex/work"
    follow = await messages(feed)
    assert list(follow) == ["requests"]
    assert [row["account"] for row in follow["requests"]["changed"]] == ["codex/work"]
    await feed.aclose()


async def test_request_that_ends_is_told_although_nothing_runs_any_more():
    room = Room()
    outcome = room.begin()
    feed = room.feed()
    await messages(feed)
    outcome.status = 200
    room.recent.settled(outcome)
    follow = await messages(feed)
    assert follow["requests"]["changed"][0]["state"] == "done"
    await feed.aclose()


async def test_change_of_the_status_is_told_and_no_change_is_not():
    room = Room()
    feed = room.feed()
    await messages(feed)
    room.listeners[0]()  # told, but nothing is new
    room.log()
    assert list(await messages(feed)) == ["log"]
    room.shown = Status("paused", "1", reason="by you")
    room.listeners[0]()
    assert (await messages(feed))["status"]["status"]["reason"] == "by you"
    await feed.aclose()


async def test_log_lines_come_from_any_thread_without_secrets():
    room = Room()
    feed = room.feed()
    await messages(feed)
    thread = threading.Thread(target=room.log, args=("key sk-abcdefghijkl",))
    thread.start()
    follow = await messages(feed)
    thread.join()
    (line,) = follow["log"]["lines"]
    assert (line["text"], line["level"], line["name"]) == ("key ***", "info", "dragoman.test")
    await feed.aclose()


async def test_reader_that_was_away_is_told_what_it_missed():
    room = Room()
    room.lines = LogLines(keep=3)
    room.live = Live(room.recent, lambda: room.shown, room.subscribe, room.lines)
    feed = room.feed()
    await messages(feed)
    for number in range(10):
        room.log(f"line {number}")
    follow = await messages(feed)
    assert follow["log"]["lost"] == 7
    assert [line["text"] for line in follow["log"]["lines"]] == ["line 7", "line 8", "line 9"]
    await feed.aclose()


async def test_signs_of_life_come_while_the_reader_may_look(monkeypatch):
    monkeypatch.setattr(module, "_BEAT_S", 0.01)
    room = Room()
    feed = room.feed()
    await messages(feed)
    assert list(await messages(feed)) == ["beat"]
    room.reading = False
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(anext(feed), 5)
    assert room.listeners == []


async def test_nobody_is_told_once_nobody_looks():
    room = Room()
    feed = room.feed()
    await messages(feed)
    assert len(room.listeners) == len(room.recent._watchers) == 1
    await feed.aclose()
    assert room.listeners == room.recent._watchers == []
    assert room.lines._told is None


async def test_close_ends_all_streams_and_lets_nobody_in():
    room = Room()
    feeds = [room.feed(), room.feed()]
    for feed in feeds:
        await messages(feed)
    room.live.close()
    for feed in feeds:
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(feed), 5)
    assert room.live.full


async def test_readers_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "_MAX_READERS", 1)
    room = Room()
    assert not room.live.full
    feed = room.feed()
    await messages(feed)
    assert room.live.full
    await feed.aclose()
    assert not room.live.full


def test_records_that_cannot_be_written_out_are_named():
    lines = LogLines()
    lines.handle(logging.LogRecord("x", logging.INFO, "f", 1, "%d words", ("no",), None))
    try:
        raise ValueError("inside")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    lines.handle(logging.LogRecord("x", logging.ERROR, "f", 1, "it failed", (), info))
    _, lost, (wrong, failed) = lines.since(0)
    assert lost == 0
    assert "cannot be shown" in wrong["text"]
    assert failed["text"].startswith("it failed\nValueError: inside")


def test_lines_are_taken_from_the_root_logger_until_taken_off():
    lines = LogLines()
    end = lines.install()
    logging.getLogger("dragoman.test").error("heard")
    end()
    logging.getLogger("dragoman.test").error("not heard")
    assert [line["text"] for line in lines.since(0)[2]] == ["heard"]


def test_record_that_comes_after_the_program_has_ended_harms_nobody():
    room = Room()

    async def look():
        room.live.enter(room.live.feed(lambda: True))

    loop = asyncio.new_event_loop()
    loop.run_until_complete(look())
    loop.close()
    room.log("late")
    assert [line["text"] for line in room.lines.since(0)[2]] == ["late"]
