import asyncio

import pytest

from app.errors import UpstreamError
from app.http import HttpReply, HttpRequest
from app.services.lookout import Lookout, ask_health
from tests.fakes.basic import Clock

PROBE = HttpRequest("GET", "http://127.0.0.1:6969/health")


class Scripted(Lookout):
    """Sees what a test puts before it."""

    _beginning = "It begins."
    _ending = "stopping"

    def __init__(self):
        self.seen = []
        self.sights = asyncio.Queue()
        self.taken = asyncio.Event()
        self.ended = 0
        super().__init__(lambda: self.seen.append((self.state, self.until)), Clock(5.0))

    async def _look(self):
        try:
            while True:
                state, until = await self.sights.get()
                self._set(state, since=self._now(), until=until)
                self.taken.set()
        finally:
            self.ended += 1

    async def sees(self, state, until=None):
        self.taken.clear()
        self.sights.put_nowait((state, until))
        await self.taken.wait()


async def test_states_go_from_off_to_off_and_each_change_is_told_once():
    lookout = Scripted()
    assert (lookout.state, lookout.running) == ("off", False)
    lookout.start()
    lookout.start()
    assert (lookout.state, lookout.reason, lookout.running) == ("starting", "It begins.", True)
    for state, until in (("ready", None), ("ready", None), ("unhealthy", 9.0), ("unhealthy", 10.0)):
        await lookout.sees(state, until)
    assert lookout.since == 5.0
    await lookout.stop()
    assert (lookout.state, lookout.running, lookout.since, lookout.ended) == ("off", False, None, 1)
    assert lookout.seen == [
        ("ready", None),
        ("unhealthy", 9.0),
        ("unhealthy", 10.0),
        ("stopping", None),
        ("off", None),
    ]


async def test_what_was_stopped_can_be_started_again_and_stopped_twice():
    lookout = Scripted()
    await lookout.stop()
    assert lookout.seen == []
    for _ in range(2):
        lookout.starts = 7
        lookout.start()
        await lookout.sees("ready")
        assert lookout.starts == 0
        await lookout.stop()
    assert lookout.ended == 2


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (HttpReply(200), ""),
        (HttpReply(500), "status 500"),
        (UpstreamError("It cannot be reached."), "It cannot be reached."),
    ],
)
async def test_health_is_what_the_judge_says_or_why_there_is_no_answer(answer, trouble):
    asked = []

    async def fetch(request, limits):
        asked.append((request, limits.total_s))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def judge(reply):
        return "" if reply.status == 200 else f"status {reply.status}"

    assert await ask_health(fetch, PROBE, judge, 2.0) == trouble
    assert asked == [(PROBE, 2.0)]
