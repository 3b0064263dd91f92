"""A wire tap between an agent and Dragoman: what was asked, and what was answered."""

import asyncio
import contextlib
import re
from dataclasses import dataclass, field

_ASKED = re.compile(rb"(GET|HEAD|POST|PUT|DELETE) (\S+) HTTP/1\.1\r\n")
_ANSWERED = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n")
# neither can stand in a JSON body or an event: line ends are escaped there


@dataclass(frozen=True)
class Seen:
    """One request of an agent; ``status`` is 101 for a WebSocket, 0 while unanswered."""

    method: str
    path: str
    status: int


@dataclass
class _Wire:
    sent: bytearray = field(default_factory=bytearray)
    got: bytearray = field(default_factory=bytearray)

    def seen(self):
        asked = [(m[1].decode(), m[2].decode()) for m in _ASKED.finditer(self.sent)]
        answered = [int(m[1]) for m in _ANSWERED.finditer(self.got)]
        answered = [status for status in answered if status != 100]
        answered += [0] * (len(asked) - len(answered))
        return [Seen(*ask, status) for ask, status in zip(asked, answered, strict=False)]


class Witness:
    """Passes bytes on to ``target`` (a port on loopback) and keeps a copy."""

    def __init__(self):
        self.target = 0
        self._wires = []
        self._running = set()

    async def start(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self):
        self._server.close()
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def seen(self):
        """Return every request, connection by connection."""
        return [seen for wire in self._wires for seen in wire.seen()]

    @property
    def posts(self):
        return [seen for seen in self.seen if seen.method == "POST"]

    @property
    def sockets(self):
        """Return the WebSocket upgrades that were asked for."""
        return [s for s in self.seen if (s.method, s.path) == ("GET", "/v1/responses")]

    async def _accept(self, reader, writer):
        task = asyncio.current_task()
        self._running.add(task)
        wire = _Wire()
        self._wires.append(wire)
        far_writer = None
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            both = [
                asyncio.ensure_future(_pump(reader, far_writer, wire.sent)),
                asyncio.ensure_future(_pump(far_reader, writer, wire.got)),
            ]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in both:
                    pump.cancel()
                await asyncio.gather(*both, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # either side has gone, or the test is over: the wire holds what was said
        finally:
            for end in (writer, far_writer):
                if end is not None:
                    end.close()
                    with contextlib.suppress(OSError, asyncio.CancelledError):
                        await end.wait_closed()
            self._running.discard(task)


async def _pump(reader, writer, copy):
    while data := await reader.read(65536):
        copy += data
        writer.write(data)
        await writer.drain()
