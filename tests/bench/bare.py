"""The yardstick: Tornado's message delegate over our upstream client, and nothing else.

::

    python -m tests.bench.bare PORT UPSTREAM

Forwards ``POST /v1/messages``, ``/v1/chat/completions`` and ``/v1/responses`` byte for byte: no
access check, no routing, no reading of bodies, no ledger. What Dragoman costs more than this is the
price of what it does.
"""

import asyncio
import sys

from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    ResponseStartLine,
)

from app.http import HttpRequest, Limits
from app.upstream.client import Client

PATHS = frozenset({"/v1/messages", "/v1/chat/completions", "/v1/responses"})
HOP_BY_HOP = frozenset({"host", "connection", "content-length", "transfer-encoding", "keep-alive"})
LIMITS = Limits()


class Forward(HTTPMessageDelegate):
    __slots__ = ("bare", "chunks", "connection", "headers", "line", "task")

    def __init__(self, bare, connection):
        self.bare = bare
        self.connection = connection
        self.chunks = []

    def headers_received(self, start_line, headers):
        self.line = start_line
        self.headers = headers

    def data_received(self, chunk):
        self.chunks.append(chunk)

    def finish(self):
        if self.line.method == "POST" and self.line.path in PATHS:
            self.task = asyncio.ensure_future(self.forward())
        else:
            self.answer(200 if self.line.method == "GET" else 404, HTTPHeaders(), b"{}")

    def on_connection_close(self):
        self.chunks = []

    def answer(self, status, headers, body):
        headers["Content-Length"] = str(len(body))
        self.connection.write_headers(ResponseStartLine("HTTP/1.1", status, "OK"), headers, body)
        self.connection.finish()

    async def forward(self):
        kept = tuple(
            (name, value)
            for name, value in self.headers.get_all()
            if name.lower() not in HOP_BY_HOP
        )
        url = self.bare.upstream + self.line.path
        request = HttpRequest("POST", url, kept, b"".join(self.chunks))
        reply = await self.bare.client.send(request, LIMITS)
        try:
            headers = HTTPHeaders()
            streamed = False
            for name, value in reply.headers:
                if (low := name.lower()) not in HOP_BY_HOP:
                    headers.add(name, value)
                    streamed |= low == "content-type" and value.startswith("text/event-stream")
            if not streamed:
                self.answer(reply.status, headers, await reply.read())
                return
            line = ResponseStartLine("HTTP/1.1", reply.status, "OK")
            headers["Transfer-Encoding"] = "chunked"
            self.connection.write_headers(line, headers)
            async for chunk in reply.chunks:
                await self.connection.write(chunk)
            self.connection.finish()
        finally:
            await reply.aclose()


class Bare(HTTPServerConnectionDelegate):
    def __init__(self, upstream):
        self.upstream = upstream
        self.client = Client()

    def start_request(self, server_conn, request_conn):
        request_conn.stream.set_nodelay(True)
        return Forward(self, request_conn)


async def main():
    port, upstream = int(sys.argv[1]), sys.argv[2]
    server = HTTPServer(Bare(upstream), max_body_size=64 * 1024 * 1024)
    server.listen(port, "127.0.0.1", backlog=4096)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
