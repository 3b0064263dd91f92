"""The whole program on a free port, a client that speaks bytes, and a scripted upstream."""

import asyncio
import contextlib
import functools
import json
import re

from app import settle
from app.configfile import load_file, locate
from app.instance import Instance
from app.paths import Paths
from app.service import ServeOptions, Service

CHAT = "/v1/chat/completions"
SAY = {"model": "demo-chat", "messages": [{"role": "user", "content": "hi"}]}


class Reply:
    """One answer as it came over the socket."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def all(self, name):
        return [value for key, value in self.headers if key == name]

    def header(self, name):
        found = self.all(name)
        assert len(found) <= 1, f"{name} is there {len(found)} times"
        return found[0] if found else None

    @property
    def json(self):
        return json.loads(self.body)


async def read_reply(reader, *, head_only=False):
    """Read one answer: by length, by chunks, or to the end."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = [(k.lower(), v.strip()) for k, _, v in (x.partition(":") for x in lines if x)]
    found = dict(headers)
    status = int(first.split(" ")[1])
    body = b""
    if head_only or status == 204:
        return Reply(status, headers, b"")
    if "content-length" in found:
        body = await reader.readexactly(int(found["content-length"]))
    elif found.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        body = await reader.read()
    return Reply(status, headers, body)


class Server:
    """A running service as its clients see it."""

    def __init__(self, service):
        self.service = service
        self.port = service.port

    @contextlib.asynccontextmanager
    async def dial(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def render(self, method, path, body=b"", headers=None, *, version="1.1"):
        """The bytes of a request; a dictionary is sent as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"Host": f"localhost:{self.port}"}
        if raw or method == "POST":
            fields["Content-Length"] = str(len(raw))
        fields |= headers or {}
        lines = [f"{method} {path} HTTP/{version}"]
        lines += [f"{key}: {value}" for key, value in fields.items() if value is not None]
        return "\r\n".join([*lines, "", ""]).encode() + raw

    async def ask(self, method, path, body=b"", headers=None, **more):
        async with self.dial() as (reader, writer):
            writer.write(self.render(method, path, body, headers, **more))
            return await asyncio.wait_for(read_reply(reader, head_only=method == "HEAD"), 20)

    async def post(self, path, body=b"", headers=None, **more):
        return await self.ask("POST", path, body, headers, **more)

    async def get(self, path, headers=None, **more):
        return await self.ask("GET", path, b"", headers, **more)

    async def key(self, **fields):
        """Make a key; returns its record and its text."""
        return await self.service.create_key(json.dumps(fields).encode())


read_snapshot = functools.cache(settle.read_snapshot)
"""Hundreds of programs are started, and the file takes most of the time of a start."""


def build(home, settings="", **options):
    """A service that is not started yet; ``settings`` is the text of its file."""
    env = {"DRAGOMAN_HOME": str(home)}
    paths = Paths.find(env)
    paths.config.mkdir(parents=True, exist_ok=True)
    if settings:
        (paths.config / "config.yaml").write_text(settings)
        (paths.config / "config.yaml").chmod(0o600)
    located = locate(None, env)
    config = load_file(located, env)
    instance = Instance.acquire(paths.data, paths.runtime)
    options.setdefault("read_snapshot", read_snapshot)
    return Service(paths, located, ServeOptions(port=0), env, config, instance, **options)


@contextlib.asynccontextmanager
async def running(home, settings="", **options):
    service = build(home, settings, **options)
    try:
        await service.start()
        yield Server(service)
    finally:
        await service.close()


class Upstream:
    """A server whose answers a test writes: ``answer(writer, request)`` per request."""

    def __init__(self, answer):
        self.answer = answer
        self.requests = []
        self.left = asyncio.Event()
        """Set when a client has left before its answer's end."""
        self.reached = asyncio.Event()
        """Set when a request has come."""
        self._tasks = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                body = await reader.readexactly(int(length[1]) if length else 0)
                if head.startswith(b"GET"):  # model lists are not what these tests are about
                    writer.write(whole(b'{"data":[]}'))
                    continue
                self.requests.append((head, body))
                self.reached.set()
                answering = asyncio.ensure_future(self.answer(writer, body))
                leaving = asyncio.ensure_future(reader.read(1))
                try:
                    await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
                    if not answering.done():
                        self.left.set()
                        return
                    await answering
                finally:
                    for step in (answering, leaving):
                        step.cancel()
                    await asyncio.gather(answering, leaving, return_exceptions=True)
        except asyncio.IncompleteReadError:
            return
        except ConnectionError:
            self.left.set()
        finally:
            writer.close()

    def settings(self, dialect="openai_chat", models="[m]", more=""):
        """A settings file with this server as its one provider."""
        return (
            f"providers:\n  fake:\n    kind: compatible\n    dialect: {dialect}\n"
            f"    base_url: {self.url}/v1\n    api_key: sk-fake\n    models: {models}\n{more}"
        )


def whole(body, status=200, kind="application/json"):
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def answering(data):
    """An answer that is sent at once."""

    async def answer(writer, _body):
        writer.write(data)
        await writer.drain()

    return answer


def holding(data=b""):
    """An answer that begins and never ends."""

    async def answer(writer, _body):
        writer.write(data)
        await writer.drain()
        await asyncio.Event().wait()

    return answer
