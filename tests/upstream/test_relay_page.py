import asyncio
import json

import pytest

from app.errors import RequestError, UpstreamError
from app.http import HttpRequest, Limits
from app.providers.aistudio import SCHEME
from app.upstream.relay_page import REFUSED, Marks, Page
from tests.fakes.basic import Clock, Ids
from tests.upstream.pages import Socket, tell

URL = "https://google.test/v1beta/models"
POST = HttpRequest(
    "POST",
    f"{SCHEME}home/v1beta/models",
    (("content-type", "application/json"), ("User-Agent", "dragoman"), ("x-secret", "s")),
    '{"é":1}'.encode(),
)


class Home:
    """What a page belongs to."""

    def __init__(self, marks=None):
        self.now = Clock()
        self.new_id = Ids()
        self.marks = marks or Marks()
        self.gone = []
        self.greeted = []

    def named(self, page):
        self.greeted.append(page.client_id)

    def left(self, page, reason):
        self.gone.append(reason)


class Scene:
    def __init__(self, marks=None, *, hello=True):
        self.home = Home(marks)
        self.socket = Socket()
        self.page = Page(self.home, "aistudio/home", self.socket)
        self.page.extended = hello

    async def ask(self, request=POST, limits=None):
        """Begin a call; returns its id and the task that awaits its head."""
        count = self.socket.kinds().count("http_request")
        task = asyncio.ensure_future(self.page.run(request, URL, limits or Limits()))
        return await self.socket.asked(count + 1), task

    async def tell(self, kind, call_id=None, **payload):
        await tell(self.page, kind, call_id, **payload)


async def test_a_call_carries_one_header_field_and_nothing_of_ours():
    scene = Scene()
    call_id, task = await scene.ask()
    assert scene.socket.sent == [
        {
            "id": call_id,
            "type": "http_request",
            "payload": {
                "method": "POST",
                "url": URL,
                "headers": {"Content-Type": ["application/json"]},
                "body": '{"é":1}',
                "sent_at": "2026-02-02T02:40:00Z",
            },
        }
    ]
    await scene.tell("stream_end", call_id)
    await (await task).aclose()
    assert scene.page.calls == {}
    assert scene.socket.kinds() == ["http_request"]


async def test_a_body_that_is_no_text_is_refused():
    scene = Scene()
    with pytest.raises(RequestError, match="UTF-8"):
        await scene.page.run(HttpRequest("POST", "aistudio://home/", (), b"\xff"), URL, Limits())
    assert scene.page.calls == {}


@pytest.mark.parametrize("hello", [True, False])
async def test_leaving_cancels_at_a_page_that_knows_the_word(hello):
    scene = Scene(hello=hello)
    call_id, task = await scene.ask()
    await scene.tell("stream_start", call_id, status=200)
    reply = await task
    await reply.aclose()
    await reply.aclose()
    cancels = [told["id"] for told in scene.socket.sent if told["type"] == "cancel"]
    assert cancels == ([call_id] if hello else [])
    await scene.tell("stream_chunk", call_id, data="late")


async def test_leaving_before_the_head_cancels_too():
    scene = Scene()
    _, task = await scene.ask()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert scene.socket.kinds() == ["http_request", "cancel"]


async def test_a_page_that_takes_no_call_has_the_limit_of_the_head():
    scene = Scene()
    scene.socket.hold = asyncio.Event()
    _, task = await scene.ask(limits=Limits(first_byte_s=0.0))
    with pytest.raises(UpstreamError, match="stopped taking the request"):
        await task
    scene.socket.hold.set()


async def test_a_socket_that_is_closed_already_is_told():
    scene = Scene()
    scene.socket.gone = True
    with pytest.raises(UpstreamError) as caught:
        await scene.page.run(POST, URL, Limits())
    assert caught.value.code == "upstream_closed"
    assert scene.page.calls == {}


async def test_losing_the_socket_fails_every_call_once():
    scene = Scene()
    _, one = await scene.ask()
    _, two = await scene.ask()
    scene.page.lost("reload")
    scene.page.lost("again")
    for task in (one, two):
        with pytest.raises(UpstreamError, match="reload"):
            await task
    assert scene.home.gone == ["reload"]
    await scene.page.feed("garbage after the end")
    assert scene.socket.ended is None


async def test_a_page_pauses_one_call_and_goes_on_when_it_is_read():
    scene = Scene(Marks(pause_bytes=10))
    slow, task = await scene.ask()
    await scene.tell("stream_chunk", slow, data="x" * 10)
    assert "pause" not in scene.socket.kinds()
    await scene.tell("stream_chunk", slow, data="x")
    await scene.tell("stream_chunk", slow, data="x")
    assert scene.socket.kinds().count("pause") == 1
    reply = await task
    assert await anext(aiter(reply.chunks)) == b"x" * 12
    assert scene.socket.sent[-1] == {"id": slow, "type": "resume"}
    await reply.aclose()


async def test_a_call_that_has_ended_is_not_resumed():
    scene = Scene(Marks(pause_bytes=10))
    call_id, task = await scene.ask()
    await scene.tell("stream_chunk", call_id, data="x" * 11)
    await scene.tell("stream_end", call_id)
    reply = await task
    assert await reply.read() == b"x" * 11
    assert "resume" not in scene.socket.kinds()


async def test_the_socket_is_left_unread_until_there_is_room():
    scene = Scene(Marks(most_bytes=10, patience_s=5.0), hello=False)
    call_id, task = await scene.ask()
    feeding = asyncio.ensure_future(scene.tell("stream_chunk", call_id, data="x" * 11))
    reply = await task
    assert not feeding.done()
    assert len(await anext(aiter(reply.chunks))) == 11
    await feeding
    await reply.aclose()


async def test_leaving_makes_room_too():
    scene = Scene(Marks(most_bytes=10, patience_s=5.0), hello=False)
    call_id, task = await scene.ask()
    feeding = asyncio.ensure_future(scene.tell("stream_chunk", call_id, data="x" * 11))
    await (await task).aclose()
    await feeding


async def test_a_reader_that_is_too_slow_fails_alone():
    scene = Scene(Marks(most_bytes=10, patience_s=0.0))
    call_id, task = await scene.ask()
    await scene.tell("stream_chunk", call_id, data="x" * 11)
    reply = await task
    chunks = aiter(reply.chunks)
    assert await anext(chunks) == b"x" * 11
    with pytest.raises(UpstreamError, match="too slowly") as caught:
        await anext(chunks)
    assert caught.value.code == "client_too_slow"
    assert scene.socket.sent[-1] == {"id": call_id, "type": "cancel"}
    assert scene.socket.ended is None
    await reply.aclose()


async def test_a_hello_names_the_page_and_is_answered():
    scene = Scene(hello=False)
    await scene.tell("hello", client_id="abc-1", version=1, models=[])
    assert scene.home.greeted == ["abc-1"]
    assert scene.page.extended
    assert scene.socket.sent == [
        {"id": "", "type": "welcome", "payload": {"account": "aistudio/home", "version": 1}}
    ]


@pytest.mark.parametrize("odd", ["", "a b", "x" * 200, 5, None])
async def test_an_odd_id_names_nobody(odd):
    scene = Scene(hello=False)
    await scene.tell("hello", client_id=odd)
    assert (scene.home.greeted, scene.page.client_id) == ([], "")


async def test_a_sign_of_life_is_noted_and_looks_at_the_key():
    scene = Scene()
    scene.home.now.advance(30)
    await scene.page.feed(json.dumps({"type": "ping", "id": "p"}))
    assert scene.page.heard_at - scene.page.opened_at == 30
    assert scene.socket.sent == [{"id": "p", "type": "pong"}]
    scene.socket.good = False
    await scene.page.feed(json.dumps({"type": "ping"}))
    assert scene.socket.ended == (REFUSED, "the relay key is no longer valid")
    assert scene.home.gone == ["the relay key is no longer valid"]
