"""A raw-socket HTTP server that says exactly what a test tells it to, byte by byte."""

import asyncio
import contextlib
import socket
import ssl
import struct


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader, writer, number):
        self.reader = reader
        self.writer = writer
        self.number = number
        """0 for the first connection that the server accepted."""
        self.requests = []

    async def request(self):
        """Read one whole request; returns its head and body, or b"" at the end."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            return error.partial
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        whole = head + await self.reader.readexactly(length)
        self.requests.append(whole)
        return whole

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def drip(self, data):
        """Send one byte per segment, giving the other side a turn after each."""
        for i in range(len(data)):
            await self.send(data[i : i + 1])
            await asyncio.sleep(0)

    async def answer(self, body=b"ok", *fields, status=b"200 OK"):
        """Send a correct answer to a request that was read."""
        lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *fields]
        await self.send(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    async def gone(self):
        """Return when the client has closed the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def reset(self):
        """Close so that the client sees a reset instead of an end."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Hostile:
    """``async with Hostile(script) as server``; ``await script(peer)`` runs per connection.

    The connection is closed when the script returns. ``server.errors`` holds what scripts raised,
    and leaving the block raises the first of them.
    """

    def __init__(self, script, tls=None):
        self.script = script
        self.tls: ssl.SSLContext | None = tls
        self.peers = []
        self.errors = []
        self._tasks = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        scheme = "https" if self.tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}/path"
        return self

    async def __aexit__(self, kind, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self.peers:
            peer.writer.transport.abort()
        await self._server.wait_closed()
        await asyncio.sleep(0)
        if self.errors and kind is None:
            raise self.errors[0]

    @property
    def requests(self):
        """All requests of all connections, in the order of the connections."""
        return [request for peer in self.peers for request in peer.requests]

    def _accept(self, reader, writer):
        # a task of our own: asyncio's streams complain about a cancelled one of theirs
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader, writer):
        peer = Peer(reader, writer, len(self.peers))
        self.peers.append(peer)
        try:
            await self.script(peer)
        except ConnectionError:
            pass  # the client closed first, as many tests want
        except Exception as error:
            self.errors.append(error)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


def saying(data):
    """Return a script that reads one request, sends bytes and closes."""

    async def script(peer):
        await peer.request()
        await peer.send(data)

    return script


def keeping(data):
    """Return a script that answers every request with the same bytes and never closes."""

    async def script(peer):
        while await peer.request():
            await peer.send(data)

    return script
