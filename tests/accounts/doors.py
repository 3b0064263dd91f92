"""A room with sign-ins, whose listeners listen nowhere and whose random bytes are not random."""

import asyncio
import hashlib
from urllib.parse import parse_qs, urlsplit

from app.accounts.login import Logins
from tests.accounts.services import (
    Room,
)


class Ports:
    """Listeners that listen nowhere."""

    def __init__(self, reason=""):
        self.reason = reason
        self.open_now = []

    async def open(self, listen):
        if not self.reason:
            self.open_now.append(listen)
        return self.reason

    async def close(self, listen):
        self.open_now.remove(listen)


class Bytes:
    """Random bytes that are not: each call gives others."""

    def __init__(self):
        self.calls = 0

    def __call__(self, count):
        self.calls += 1
        return hashlib.shake_256(str(self.calls).encode()).digest(count)


class Door(Room):
    """A room with sign-ins."""

    def __init__(self, *records, ports=None, **more):
        super().__init__(*records, **more)
        self.ports = Ports() if ports is None else ports
        self.signed_in = []
        self.logins = Logins(
            self.book,
            self.driver,
            self.wall,
            listeners=self.ports,
            signed_in=self.signed_in.append,
            random=Bytes(),
            call_later=self.timers.call_later,
        )


async def door(*records, **more):
    return await Door(*records, **more).open()


def state_of(flow):
    return parse_qs(urlsplit(flow.url).query)["state"][0]


async def ticks(count=5):
    for _ in range(count):
        await asyncio.sleep(0)
