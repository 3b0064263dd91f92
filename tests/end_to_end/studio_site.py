"""AI Studio as browsers see it: the page's real files, and a way to the stand-in for Google.

In AI Studio, the sandbox takes the page's calls to the Gemini API and carries them out. Here a line
before the script sends these calls to this site, which hands them on to the stand-in. What a
browser adds to each call by itself is taken off again, as the sandbox's own calls have theirs: what
is left is what the script sent.
"""

import asyncio
import contextlib
import re

from app.server.relay import fill_app

SITE = "https://generativelanguage.googleapis.com"
_BROWSERS_OWN = re.compile(
    rb"(?im)^(origin|referer|cookie|accept[\w-]*|sec-[\w-]+|priority|dnt|cache-control|pragma|"
    rb"upgrade-insecure-requests):[^\r]*\r\n"
)
_HEAD = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"


class StudioSite:
    """``/apps/drive/test-app`` is the page; ``/signin`` is a page of Google's without it."""

    def __init__(self, google_port):
        self._google_port = google_port
        self._tasks = set()
        self.script = ""
        self.visits = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self.address = f"{self.origin}/apps/drive/test-app"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def fill(self, socket_address, key):
        files = fill_app(socket_address, key)
        shim = (
            f"const here = window.fetch; window.fetch = (url, options) => "
            f'here(String(url).replace("{SITE}", "{self.origin}"), options);\n'
        )
        self.script = shim + files["index.tsx"]
        self.page = files["index.html"].replace("./index.tsx", "/index.js")

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode()
                if path.startswith("/v1beta/"):
                    await self._hand_on(head, reader, writer)
                else:
                    self.visits.append(path)
                    self._answer(path, writer)
                    await writer.drain()
            finally:
                writer.close()

    def _answer(self, path, writer):
        if path == "/index.js":
            status, kind, body = b"200 OK", b"text/javascript", self.script.encode()
        elif path.startswith("/apps/drive/"):
            status, kind, body = b"200 OK", b"text/html", self.page.encode()
        elif path == "/signin":
            status, kind, body = b"200 OK", b"text/html", b"<!doctype html><title>Sign in</title>"
        else:
            status, kind, body = b"404 Not Found", b"text/plain", b""
        writer.write(_HEAD % (status, kind, len(body)) + body)

    async def _hand_on(self, head, reader, writer):
        head = _BROWSERS_OWN.sub(b"", head)
        head = re.sub(rb"(?im)^connection:[^\r]*\r\n", b"", head)
        head = head[:-2] + b"Connection: close\r\n\r\n"
        length = re.search(rb"(?i)content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        there, back = await asyncio.open_connection("127.0.0.1", self._google_port)
        left = asyncio.ensure_future(reader.read(1))
        try:
            back.write(head + body)
            while True:
                coming = asyncio.ensure_future(there.read(65_536))
                done, _ = await asyncio.wait({coming, left}, return_when=asyncio.FIRST_COMPLETED)
                if coming not in done:  # the page has given the call up
                    coming.cancel()
                    return
                if not (data := coming.result()):
                    return
                writer.write(data)
                await writer.drain()
        finally:
            left.cancel()
            back.close()
            await asyncio.gather(left, return_exceptions=True)
