"""Signs of life: when, and where in a stream."""

import asyncio

from app.gateway.pinger import Pinger
from tests.gateway.scripted import Client


class Loop:
    """A loop's clock and timers, moved by hand."""

    def __init__(self):
        self.now = 100.0
        self.timers = []

    def time(self):
        return self.now

    def call_later(self, delay, callback):
        timer = [self.now + delay, callback, False]
        self.timers.append(timer)
        return Handle(timer)

    def advance(self, seconds):
        end = self.now + seconds
        while due := [t for t in self.timers if t[0] <= end and not t[2]]:
            timer = min(due, key=lambda t: t[0])
            self.timers.remove(timer)
            self.now = timer[0]
            timer[1]()
        self.now = end


class Handle:
    def __init__(self, timer):
        self.timer = timer

    def cancel(self):
        self.timer[2] = True


def pinging(monkeypatch, ping=lambda: b": ping\n\n", every_s=15.0):
    loop = Loop()
    client = Client()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    pinger = Pinger(client, ping, every_s)
    pinger.head = lambda: (("x", "y"),)
    return loop, client, pinger


async def test_silence_of_fifteen_seconds_gets_a_ping(monkeypatch):
    loop, client, pinger = pinging(monkeypatch)
    with pinger:
        loop.advance(14.9)
        assert not client.pings
        loop.advance(0.2)
        assert client.pings == [b": ping\n\n"]
        assert client.headers == (("x", "y"),)
        loop.advance(30)
        assert len(client.pings) == 3


async def test_writes_put_the_ping_off(monkeypatch):
    loop, client, pinger = pinging(monkeypatch)
    with pinger:
        loop.advance(10)
        client.written_at = loop.now
        loop.advance(14)
        assert not client.pings
        loop.advance(2)
        assert len(client.pings) == 1


async def test_no_ping_inside_a_frame(monkeypatch):
    loop, client, pinger = pinging(monkeypatch)
    with pinger:
        pinger.at_border = False
        loop.advance(60)
        assert not client.pings
        pinger.at_border = True
        loop.advance(15)
        assert client.pings


async def test_no_ping_before_an_attempt_or_after_the_end(monkeypatch):
    loop, client, pinger = pinging(monkeypatch)
    pinger.head = None
    with pinger:
        loop.advance(60)
    pinger.head = lambda: ()
    loop.advance(60)
    assert not client.started


async def test_whole_answers_get_no_ping_but_the_client_is_looked_at(monkeypatch):
    loop, client, pinger = pinging(monkeypatch, ping=None)
    looks = []
    monkeypatch.setattr(client, "alive", lambda: looks.append(1) or True)
    with pinger:
        loop.advance(31)
    assert len(looks) == 2
    assert not client.started


async def test_client_that_has_gone_gets_nothing_more(monkeypatch):
    loop, client, pinger = pinging(monkeypatch)
    client.gone = True
    with pinger:
        loop.advance(60)
        assert not client.pings
        assert not loop.timers


async def test_zero_seconds_means_never(monkeypatch):
    loop, _client, pinger = pinging(monkeypatch, every_s=0.0)
    with pinger:
        assert not loop.timers
