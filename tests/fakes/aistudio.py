"""AI Studio's side: Google behind the sandbox, and a page that speaks to the relay.

``Sandbox`` is the fake Gemini API with what is different for a page: there is no key, a browser
sets its own header fields, and some of the body is not taken. What is not taken follows
``app.providers.aistudio``'s sources; Google documents none of it.
"""

import asyncio
import codecs
import contextlib
import json
import re
import uuid
from urllib.parse import parse_qsl, unquote, urlsplit

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClosedError, websocket_connect

from tests.fakes.gemini import Gemini
from tests.fakes.service import Call, Refusal, dump
from tests.fakes.upstream import split

SITE = "https://generativelanguage.googleapis.com"
ORIGIN = "https://aistudio.google.com"
_OF_BROWSERS = {
    *("host", "connection", "content-type", "content-length", "accept", "accept-encoding"),
    *("accept-language", "user-agent", "sec-fetch-mode"),
}
"""Fields that a browser adds by itself, besides the one that a page may set."""
_LEFT_OUT = ("maxOutputTokens", "responseMimeType", "responseJsonSchema", "responseSchema")
_DRAWS, _SPEAKS = re.compile(r"-image"), re.compile(r"-tts")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVR4nGNQaPiAFTEMLQkA3wJkAdYSfq8AAAAASUVORK5CYII="


class Sandbox(Gemini):
    """Google as a page of AI Studio reaches it."""

    def __init__(self):
        super().__init__()
        self.signed_in = True
        """False: the session is over."""

    def claims(self, call):
        return True

    def _authorize(self, call):
        names = {name.lower() for name in call.headers}
        if extra := names - _OF_BROWSERS:
            self.fail(f"A page does not send {sorted(extra)}.")
        if "key" in call.query or "dragoman" in call.headers.get("user-agent", ""):
            self.fail("A page sends no key, and does not say what is behind it.")
        if not self.signed_in:
            raise Refusal(
                403, {"error": {"code": 403, "message": "no", "status": "PERMISSION_DENIED"}}
            )

    def _read(self, call, kind):
        sent = call.json
        if kind == "CountTokensRequest" and set(sent) != {"contents"}:
            self.fail(f"A count has {sorted(sent)}.")
        if sent["contents"][0].get("role", "user") != "user":
            self.fail("The first turn is not the user's.")
        return super()._read(call, kind)

    def _generate(self, body, model, stream, query):
        config = body.get("generationConfig", {})
        if left := [name for name in _LEFT_OUT if name in config]:
            self.fail(f"{left} cannot be used here.")
        if _DRAWS.search(model) or _SPEAKS.search(model):
            extra = {"tools", "toolConfig", "systemInstruction"} & set(body)
            if extra or "thinkingConfig" in config:
                self.fail(f"This model takes no {sorted(extra)} and does not think.")
            wanted = ["AUDIO"] if _SPEAKS.search(model) else ["TEXT", "IMAGE"]
            if config.get("responseModalities") != wanted:
                self.fail(f"The model answers with {wanted}.")
        return super()._generate(body, model, stream, query)

    def _chunks(self, body, model, answer):
        chunks = super()._chunks(body, model, answer)
        if _DRAWS.search(model):
            image = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
            chunks[0]["candidates"][0]["content"]["parts"].append(image)
        return chunks


class Page:
    """A page, as the published app is; with ``hello`` as ours is.

    ``answer`` is awaited for each call with the page, the id and the call's payload; by default
    ``service`` answers. ``told`` has every message that came, ``cancelled`` the ids of calls that
    were given up.
    """

    def __init__(self, service=None, *, answer=None, hello=None, chunks="random", seed=0):
        self.service = service or Sandbox()
        self.answer = answer or type(self).serve
        self.hello = hello
        self.chunks = chunks
        self.seed = seed
        self.told = []
        self.cancelled = set()
        self.answered = 0
        self.closed = asyncio.Event()
        self._news = asyncio.Event()
        self._tasks = set()

    async def connect(self, port, key, *, origin=ORIGIN):
        """Open the socket.

        Raises:
            HTTPClientError: the relay refuses.
        """
        headers = {"Origin": origin} if origin is not None else {}
        request = HTTPRequest(f"ws://127.0.0.1:{port}/v1/ws?auth_token={key}", headers=headers)
        self.socket = await websocket_connect(request, max_message_size=256 * 1024 * 1024)
        self._reading = asyncio.ensure_future(self._read())
        if self.hello is not None:
            await self.send("hello", None, {"client_id": self.hello, "version": 1})
        await self.send("ping", "first")
        await self.until(
            lambda: self.closed.is_set() or any(told["type"] == "pong" for told in self.told)
        )
        return self

    async def close(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.socket.close()
        await asyncio.wait_for(self.closed.wait(), 10)
        await self._reading

    async def until(self, condition):
        """Return once a condition holds; it is looked at after each message."""
        async with asyncio.timeout(10):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def settled(self):
        """Return once the first call, the list of models, has come and its answer has arrived."""
        await self.until(lambda: self.answered)
        await self.send("ping", "settled")
        await self.until(lambda: self.told[-1].get("id") == "settled")

    async def asked(self, count=1):
        """Return the calls, once there are so many."""
        await self.until(lambda: len(self.calls) >= count)
        return self.calls

    @property
    def calls(self):
        return [told for told in self.told if told["type"] == "http_request"]

    @property
    def models_calls(self):
        return [call for call in self.calls if call["payload"]["method"] == "GET"]

    async def send(self, kind, call_id=None, payload=None):
        message = {"type": kind}
        if call_id is not None:
            message["id"] = call_id
        if payload is not None:
            message["payload"] = payload
        await self.socket.write_message(json.dumps(message))

    async def _read(self):
        while (text := await self.socket.read_message()) is not None:
            told = json.loads(text)
            self.told.append(told)
            if told["type"] == "cancel":
                self.cancelled.add(told["id"])
            if told["type"] == "http_request":
                check_call(told)
                task = asyncio.ensure_future(self._answer(told["id"], told["payload"]))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            self._news.set()
        self.closed.set()
        self._news.set()

    async def _answer(self, call_id, payload):
        with contextlib.suppress(WebSocketClosedError):  # as a page's ``send`` on a closed socket
            await self.answer(self, call_id, payload)
        self.answered += 1
        self._news.set()

    def reply(self, payload):
        """Return what Google answers."""
        parts = urlsplit(payload["url"])
        headers = {name.lower(): ", ".join(values) for name, values in payload["headers"].items()}
        call = Call(
            payload["method"],
            unquote(parts.path),
            dict(parse_qsl(parts.query)),
            {**headers, "user-agent": "Mozilla/5.0"},
            payload["body"].encode(),
        )
        try:
            reply = self.service.answer(call)
        except Refusal as refusal:
            return refusal.status, {"content-type": "application/json"}, [dump(refusal.body)]
        pieces = [reply.body] if reply.frames is None else reply.frames
        return reply.status, reply.headers, pieces

    async def serve(self, call_id, payload):
        """Answer as the page's own ``fetch`` would have it: in torn pieces of text."""
        status, headers, pieces = self.reply(payload)
        await self.send("stream_start", call_id, {"status": status, "headers": headers})
        decoder = codecs.getincrementaldecoder("utf-8")()  # a TextDecoder with stream: true
        for piece in split(pieces, self.chunks, self.seed):
            if text := decoder.decode(piece):
                await self.send("stream_chunk", call_id, {"data": text})
        await self.send("stream_end", call_id, {})


def check_call(told):
    """Hold a call to the dialect of the published page."""
    payload = told["payload"]
    assert str(uuid.UUID(told["id"])) == told["id"]
    assert set(payload) == {"method", "url", "headers", "body", "sent_at"}
    assert payload["url"].startswith(f"{SITE}/v1beta/models")
    assert set(payload["headers"]) <= {"Content-Type"}
    assert all(isinstance(value, list) for value in payload["headers"].values())
    assert isinstance(payload["body"], str)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", payload["sent_at"])
