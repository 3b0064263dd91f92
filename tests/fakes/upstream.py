"""Serve the fakes over real sockets.

In a test::

    async with Upstream(Anthropic(), chunks="bytes") as fake:
        ...  # fake.url, fake.requests, fake.connections, fake.cancelled, fake.script(...)

From a command line, all services on one port: ``python -m tests.fakes.upstream --port 8400``.
"""

import argparse
import asyncio
import json
import random
from collections import deque
from urllib.parse import parse_qsl, unquote

import tornado.httpserver
import tornado.iostream
import tornado.netutil
import tornado.web

from tests.fakes.anthropic import Anthropic
from tests.fakes.gemini import Gemini
from tests.fakes.openai_chat import OpenAIChat
from tests.fakes.openai_responses import OpenAIResponses
from tests.fakes.service import KEY, Call, Refusal, Reply, dump

CHUNKS = ("whole", "one", "bytes", "random", "group")
DROP = "drop"
"""A scripted step: close the connection without an answer."""
PASS = "pass"
"""A scripted step: answer as without a script."""


def split(frames, mode, seed=0):
    """Cut a stream's frames into writes.

    ``whole``: one event each; ``one``: everything at once; ``bytes``: one byte each; ``random``
    (or ``random:seed``): seeded cuts of 1 to 40 bytes anywhere, through characters and frame
    borders alike; ``group``: two to five events each.
    """
    mode, _, given = mode.partition(":")
    rng = random.Random(int(given) if given else seed)  # noqa: S311 - repeatable, not secret
    if mode == "whole":
        return list(frames)
    data = b"".join(frames)
    if mode == "one":
        return [data]
    if mode == "bytes":
        return [data[i : i + 1] for i in range(len(data))]
    if mode not in CHUNKS:
        raise ValueError(f"no chunk mode is called {mode!r}")
    source, low, high = (data, 1, 40) if mode == "random" else (list(frames), 2, 5)
    writes, at = [], 0
    while at < len(source):
        size = rng.randint(low, high)
        part = source[at : at + size]
        writes.append(part if mode == "random" else b"".join(part))
        at += size
    return writes


class Upstream:
    """A server for one or more services; an async context manager.

    ``chunks`` and ``seed`` say how streams are written (see ``split``). With
    ``rate_limit_after=n`` every n answered calls are followed by one refused with 429.
    """

    def __init__(self, *services, chunks="whole", seed=0, rate_limit_after=None):
        if chunks.partition(":")[0] not in CHUNKS:
            raise ValueError(f"no chunk mode is called {chunks!r}")
        self.services = services or everything()
        self.chunks = chunks
        self.seed = seed
        self.rate_limit_after = rate_limit_after
        self.requests = []
        """Every ``Call`` in the order of arrival."""
        self.connections = 0
        self.cancelled = 0
        """Answers that the client left before their end."""
        self.faulty = []
        """Exceptions of the fakes themselves; leaving the context raises the first."""
        self._script = deque()
        self._since_limit = 0
        self._left = asyncio.Event()

    async def start(self, port=0):
        application = tornado.web.Application(
            [(r".*", _Handler, {"upstream": self})], log_function=lambda handler: None
        )
        sockets = tornado.netutil.bind_sockets(port, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = _Server(
            application, max_buffer_size=256 * 1024 * 1024, max_header_size=1024 * 1024
        )
        self._server.upstream = self
        self._server.add_sockets(sockets)

    async def stop(self):
        self._server.stop()
        await self._server.close_all_connections()

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, kind, *_):
        await self.stop()
        if self.faulty and kind is None:
            raise self.faulty[0]

    def script(self, *steps):
        """Queue answers for the next POSTs: ``(status, headers, body)``, ``DROP`` or ``PASS``.

        A body is bytes, a JSON value, or a list of bytes (the frames of a stream).
        """
        self._script.extend(steps)

    async def until_left(self, count=1):
        """Return when clients have left ``count`` answers before their end."""
        while self.cancelled < count:
            self._left.clear()
            await self._left.wait()

    def reply(self, call):
        """Return the ``Reply`` to a call, or ``DROP``."""
        self.requests.append(call)
        service = next((s for s in self.services if s.claims(call)), self.services[0])
        if call.method == "POST" and self._script:
            step = self._script.popleft()
            if step == DROP:
                return DROP
            if step != PASS:
                return _scripted(*step)
        try:
            if call.method == "POST" and self.rate_limit_after is not None:
                self._since_limit += 1
                if self._since_limit > self.rate_limit_after:
                    self._since_limit = 0
                    raise service.failure("rate_limit", retry_s=1)
            return service.answer(call)
        except Refusal as refusal:
            headers = service.success_headers() | {"content-type": "application/json"}
            return Reply(refusal.status, headers | refusal.headers, dump(refusal.body))
        except Exception as error:  # the fake's own fault must reach the test
            self.faulty.append(error)
            refusal = service.failure("server", message=f"The fake failed: {error!r}")
            return Reply(500, {"content-type": "application/json"}, dump(refusal.body))

    def client_left(self):
        self.cancelled += 1
        self._left.set()


def _scripted(status, headers, body):
    headers = dict(headers)
    names = {name.lower() for name in headers}
    if isinstance(body, list):
        if "content-type" not in names:
            headers["content-type"] = "text/event-stream"
        return Reply(status, headers, frames=body)
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    if "content-type" not in names:
        headers["content-type"] = "application/json"
    return Reply(status, headers, body)


class _Server(tornado.httpserver.HTTPServer):
    """Counts connections."""

    def handle_stream(self, stream, address):
        self.upstream.connections += 1
        stream.set_nodelay(True)
        super().handle_stream(stream, address)


class _Handler(tornado.web.RequestHandler):
    """Takes every request; what to say is the ``Upstream``'s matter."""

    def initialize(self, upstream):
        self.upstream = upstream
        self.gone = asyncio.Event()
        self.ended = False

    def set_default_headers(self):
        self.clear_header("Server")

    def compute_etag(self):
        return None

    def on_connection_close(self):
        self.gone.set()
        if not self.ended:
            self.ended = True
            self.upstream.client_left()

    async def prepare(self):
        request = self.request
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        call = Call(request.method, unquote(request.path), query, request.headers, request.body)
        reply = self.upstream.reply(call)
        if reply == DROP:
            self._drop()
            return
        faults = reply.faults
        if await self._paused(faults.head_s):
            return
        self.set_status(reply.status)
        for name, value in reply.headers.items():
            self.set_header(name, value)
        if reply.frames is None and faults.cut is None:
            self.ended = True
            await self.finish(reply.body)
            return
        try:
            await self._stream(reply.frames if reply.frames is not None else [reply.body], faults)
        except tornado.iostream.StreamClosedError:
            self.on_connection_close()

    async def _stream(self, frames, faults):
        await self.flush()  # the head goes out before the first event
        frames = frames if faults.cut is None else frames[: faults.cut]
        mode, seed = faults.chunks or self.upstream.chunks, self.upstream.seed
        groups = [[f] for f in frames] if faults.event_s else [frames]
        for group in groups:
            if await self._paused(faults.event_s):
                return
            for chunk in split(group, mode, seed):
                self.write(chunk)
                await self.flush()
        self.ended = True
        if faults.cut is None:
            await self.finish()
        else:
            self._drop()

    async def _paused(self, seconds):
        """Wait; returns whether the client left meanwhile."""
        if seconds:
            try:
                await asyncio.wait_for(self.gone.wait(), seconds)
            except TimeoutError:
                return False
            self._finished = True
        return self.gone.is_set()

    def _drop(self):
        self.ended = True
        self.detach().close()


def everything(keys=(KEY,)):
    """Return one service of each dialect."""
    # order matters: the services with recognisable calls come before the general one
    return (Gemini(keys), Anthropic(keys), OpenAIResponses(keys), OpenAIChat(keys))


async def _serve(port, chunks, seed, keys):
    upstream = Upstream(*everything(keys), chunks=chunks, seed=seed)
    await upstream.start(port)
    print(upstream.url, flush=True)  # noqa: T201 - the command's output
    await asyncio.Event().wait()


def main(argv=None):
    parser = argparse.ArgumentParser(description="Serve all fake services on one port.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--chunks", default="whole", help=", ".join(CHUNKS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--key", action="append", help=f"an accepted key (default {KEY})")
    options = parser.parse_args(argv)
    asyncio.run(_serve(options.port, options.chunks, options.seed, options.key or [KEY]))


if __name__ == "__main__":
    main()
