"""Dragoman with marks of its own for the relay, a ping that tests can wait for, and pages."""

import contextlib
import json

import pytest
from tornado.httpclient import HTTPClientError

from app.configfile import load_file, locate
from app.instance import Instance
from app.paths import Paths
from app.service import ServeOptions, Service
from tests.fakes.aistudio import Page
from tests.server.running import Server, read_snapshot

MODEL = "gemini-2.5-flash-aistudio"
ASK = f"/v1beta/models/{MODEL}:generateContent"
STREAM = f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"
CHAT = "/v1/chat/completions"
PAGE_HEADERS = {"content-type": "text/event-stream"}


class Relayed(Service):
    """The program, with what a test sets on it before the start."""

    marks = None

    def _build(self, file_limit):
        super()._build(file_limit)
        if self.marks is not None:
            self.relay.marks = self.marks


def build_relayed(home, settings=""):
    """A service that is not started yet; ``settings`` is the text of its file."""
    env = {"DRAGOMAN_HOME": str(home)}
    paths = Paths.find(env)
    paths.config.mkdir(parents=True, exist_ok=True)
    if settings:
        paths.config_file.write_text(settings)
        paths.config_file.chmod(0o600)
    located = locate(None, env)
    config = load_file(located, env)
    instance = Instance.acquire(paths.data, paths.runtime)
    options = ServeOptions(port=0)
    return Relayed(paths, located, options, env, config, instance, read_snapshot=read_snapshot)


def gemini(text):
    return {"contents": [{"role": "user", "parts": [{"text": text}]}]}


def chat(text, **more):
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


def event(text, **more):
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0, **more}
    return f"data: {json.dumps({'candidates': [candidate]}, ensure_ascii=False)}\r\n\r\n"


LAST = event("", finishReason="STOP")


def said(body):
    """The text of a Gemini stream."""
    events = [json.loads(line[6:]) for line in body.decode().split("\r\n") if line[:6] == "data: "]
    parts = [c["content"]["parts"] for e in events for c in e.get("candidates", ())]
    return "".join(part.get("text", "") for found in parts for part in found)


@contextlib.asynccontextmanager
async def relayed(home, settings="", *, marks=None, ping_s=30.0):
    service = build_relayed(home, settings)
    service.marks, service.page_ping_s = marks, ping_s
    try:
        await service.start()
        await service.store.done.wait()
        yield Server(service)
    finally:
        await service.close()


async def relay_key(server, account="aistudio/home", **more):
    _, key = await server.key(kind="relay", label="page", accounts=[account], **more)
    return key


@contextlib.asynccontextmanager
async def page(server, key=None, *, first=True, **options):
    """A connected page; where it is the first of its account its models have been listed."""
    key = key or await relay_key(server)
    found = await Page(**options).connect(server.port, key)
    try:
        if first:
            await found.settled()
        yield found
    finally:
        await found.close()


async def refused(server, key, **options):
    with pytest.raises(HTTPClientError) as caught:
        await Page().connect(server.port, key, **options)
    return caught.value.response
