"""Small fakes for unit tests: a scripted ``Send``, a clock and its timers, ids, a vault."""

import asyncio
from collections import deque
from dataclasses import replace

from app.accounts.vaultstate import OPEN
from app.errors import AccountError, UpstreamError
from app.http import HttpRequest, Limits, StreamedReply


class Clock:
    """A clock moved by hand; call it for the time in epoch seconds."""

    def __init__(self, now=1_770_000_000.0):
        self.now = now

    def __call__(self):
        return self.now

    def advance(self, seconds):
        if seconds < 0:
            raise ValueError("a clock does not go back")
        self.now += seconds


class Ids:
    """Ids that count: ``new_id("msg_")`` gives ``msg_1``, ``msg_2``, …"""

    def __init__(self):
        self.count = 0

    def __call__(self, prefix=""):
        self.count += 1
        return f"{prefix}{self.count}"


class Answered:
    """One scripted answer; ``chunks`` are what the socket would give, read by read.

    An ``Exception`` among the chunks is raised there, an awaitable factory (a function without
    arguments) is awaited there, so that a test can hold the stream.
    """

    def __init__(self, status=200, headers=(), chunks=()):
        self.status = status
        self.headers = tuple(headers.items()) if isinstance(headers, dict) else tuple(headers)
        self.chunks = [chunks] if isinstance(chunks, bytes) else list(chunks)
        self.read = 0
        """How many chunks were taken."""
        self.closed = False

    async def _read(self):
        for chunk in self.chunks:
            if isinstance(chunk, BaseException):
                raise chunk
            if callable(chunk):
                await chunk()
                continue
            self.read += 1
            yield chunk

    def reply(self):
        body = self._read()

        async def close():
            self.closed = True
            await body.aclose()

        return StreamedReply(self.status, self.headers, body, close)


class ScriptedSend:
    """A ``Send`` that gives its answers in order.

    A step is an ``Answered``, an exception to raise, or a function of the request that returns
    either. Running out of steps fails the test.
    """

    def __init__(self, *steps):
        self.steps = deque(steps)
        self.requests: list[HttpRequest] = []
        self.limits: list[Limits] = []
        self.answers = []

    def script(self, *steps):
        self.steps.extend(steps)

    async def __call__(self, request: HttpRequest, limits: Limits) -> StreamedReply:
        self.requests.append(request)
        self.limits.append(limits)
        if not self.steps:
            raise AssertionError(f"no answer is scripted for {request.method} {request.url}")
        step = self.steps.popleft()
        if not isinstance(step, Answered | BaseException):
            step = step(request)
        if isinstance(step, BaseException):
            raise step
        self.answers.append(step)
        return step.reply()

    def assert_settled(self):
        """Check that every scripted answer was asked for, and closed."""
        assert not self.steps, f"{len(self.steps)} scripted answers were not asked for"
        still_open = [i for i, answer in enumerate(self.answers) if not answer.closed]
        assert not still_open, f"answers {still_open} were not closed"


def unreachable(host="upstream.test"):
    """Return the error of a service that cannot be reached."""
    return UpstreamError(f"{host} could not be reached.", code="upstream_unreachable")


class DictVault:
    """A vault in a dictionary; ``locked`` and ``broken`` say what is wrong with it.

    ``stored`` has every record that was put, in order; ``confirmed`` the ids that were confirmed.
    ``hold`` may be set to a function that is awaited before each ``put``.
    """

    def __init__(self, *records):
        self.records = {record.id: record for record in records}
        self.locked = ""
        """Why nothing can be read or stored."""
        self.broken = None
        """An ``AppError`` that ``put`` raises."""
        self.troubles = ()
        self.stored = []
        self.confirmed = []
        self.hold = None
        self.unlocked = asyncio.Event()
        self.closed = False

    def trouble(self):
        return self.locked

    def held_ids(self):
        return tuple(sorted(self.records))

    async def load(self):
        if self.locked:
            return ()
        return tuple(self.records.values())

    async def put(self, record):
        if self.hold is not None:
            await self.hold()
        if self.locked:
            raise AccountError(self.locked, code="vault_locked")
        if self.broken is not None:
            raise self.broken
        self.records[record.id] = record
        self.stored.append(record)

    async def delete(self, account):
        self.records.pop(account, None)

    async def confirm(self, account):
        self.confirmed.append(account)

    @property
    def state(self):
        return replace(OPEN, name="slow", message=self.locked) if self.locked else OPEN

    async def open(self, *, memory_only=False):
        if memory_only:
            self.locked = ""
        return self.state

    async def answered(self):
        """Wait until a test has set ``unlocked``."""
        await self.unlocked.wait()
        self.locked = ""
        return self.state

    async def close(self):
        self.closed = True


class Timers:
    """Timers that go off when a test says so; ``call_later`` sets one.

    They share a clock with the code under test: ``go`` moves it and calls what is due, in order.
    """

    def __init__(self, *clocks):
        self.clocks = clocks
        self.time = 0.0
        self.set = []

    def call_later(self, delay_s, call):
        timer = _Timer(self, self.time + delay_s, call)
        self.set.append(timer)
        return timer

    @property
    def next_s(self):
        """Seconds until the next one; None when none is set."""
        return min((timer.at - self.time for timer in self.set), default=None)

    def go(self, seconds):
        end = self.time + seconds
        while self.set and (timer := min(self.set, key=lambda t: t.at)).at <= end:
            self._advance(timer.at - self.time)
            self.set.remove(timer)
            timer.call()
        self._advance(end - self.time)

    def _advance(self, seconds):
        self.time += seconds
        for clock in self.clocks:
            clock.advance(seconds)


class _Timer:
    def __init__(self, timers, at, call):
        self.timers = timers
        self.at = at
        self.call = call

    def cancel(self):
        if self in self.timers.set:
            self.timers.set.remove(self)
