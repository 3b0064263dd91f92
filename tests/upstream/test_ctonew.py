import asyncio
import json
from dataclasses import replace

import pytest

from app.accounts.account import Account
from app.dialects import DIALECTS
from app.dialects.base import decode_object
from app.errors import BugError, UpstreamError
from app.http import HttpRequest, Limits
from app.providers.base import ModelFacts
from app.providers.ctonew import ctonew
from app.providers.ctonew_session import Sites
from app.providers.shaping import Asked
from app.routing.catalog import Catalog
from app.tasks import cancel_all
from app.upstream.client import Client
from app.upstream.ctonew import with_ctonew
from app.upstream.proxies import Environment
from tests.fakes.basic import Answered, Clock, Ids, ScriptedSend
from tests.fakes.clerk import Clerk
from tests.fakes.enginelabs import BUSY, CLOSE, IDLE, CtoNew, EngineLabs, said
from tests.gateway.scripted import Desk, ask_body, gemini_path
from tests.providers.github_driving import Drive

LIMITS = Limits(5, 5, 5)
CHAT = DIALECTS["openai_chat"]


class World:
    """Both halves of the connector over the fakes."""

    def __init__(self, server, stall_s):
        self.server = server
        self.labs = server.labs
        self.client = Client(environment=lambda: Environment({}, lambda host: False))
        self.provider = ctonew(Sites(clerk=server.url, api=server.url))
        self.clock = server.labs.now
        self.send = with_ctonew(
            self.client.send, self.client.way, self.clock, Ids(), stall_s=stall_s
        )
        self.drive = Drive(self.client, self.clock, self.provider)

    async def sign_in(self, **facts):
        browser = self.labs.clerk.sign_in(**facts)
        steps = self.provider.sign_ins["cookie"].run(browser.cookie, "")
        self.credential = (await self.drive.run(steps)).credential
        return self.credential

    def request(self, text="why?", model="gpt_5_4", credential=None, **body):
        credential = credential or self.credential
        name = f"ctonew-{model}"
        body = {"model": name, "messages": [{"role": "user", "content": text}], **body}
        path = "/v1/chat/completions"
        asked = Asked(
            "openai_chat",
            "generate",
            name,
            json.dumps(body).encode(),
            False,
            path,
            (),
            credential,
        )
        shaped = self.provider.shape(asked)
        request = HttpRequest(
            "POST",
            shaped.base_url + shaped.path,
            (("content-type", "application/json"), *shaped.headers),
            shaped.body,
        )
        return self.provider.prepare(request, credential, "openai_chat", ())

    async def ask(self, *args, limits=LIMITS, **more):
        """Send a chat and return (status, body read whole)."""
        reply = await self.send(self.request(*args, **more), limits)
        try:
            return reply.status, await reply.read()
        finally:
            await reply.aclose()

    async def close(self):
        await cancel_all()
        await self.client.aclose()


@pytest.fixture
def labs():
    return EngineLabs(Clerk(Clock()))


@pytest.fixture
def world(labs):
    class Opened:
        def __init__(self, stall_s=5.0):
            self.stall_s = stall_s

        async def __aenter__(self):
            self.server = CtoNew(labs.clerk, labs)
            await self.server.start()
            self.world = World(self.server, self.stall_s)
            await self.world.sign_in()
            return self.world

        async def __aexit__(self, *args):
            await self.world.close()
            await self.server.stop()
            assert not self.server.faulty

    return Opened


def events_of(raw):
    decoder = CHAT.stream_decoder("ctonew")
    return decoder.feed(raw) + decoder.close()


def text_of(raw):
    return "".join(getattr(event, "text", "") for event in events_of(raw))


# The answer


async def test_a_whole_answer_comes_as_one_chat_completion(world, labs):
    async with world() as w:
        status, raw = await w.ask("why is it so?")
        await labs.cleaned.wait()
    assert status == 200
    answer = json.loads(raw)["choices"][0]["message"]
    assert answer["content"] == "gpt_5_4 says: why is it so?"
    assert answer["reasoning_content"] == "let me think"
    assert labs.prompts == [("gpt_5_4", "why is it so?")]
    assert CHAT.decode_response(decode_object(raw), "ctonew").usage.output > 0


async def test_a_stream_comes_as_chat_chunks_and_ends(world, labs):
    async with world() as w:
        reply = await w.send(
            w.request("why?", stream=True, stream_options={"include_usage": True}), LIMITS
        )
        assert reply.header("content-type").startswith("text/event-stream")
        raw = await reply.read()
        await reply.aclose()
        await labs.cleaned.wait()
    assert text_of(raw) == "let me thinkgpt_5_4 says: why?"
    assert raw.endswith(b"data: [DONE]\n\n")
    assert b'"estimated":true' in raw


async def test_other_addresses_are_handed_on():
    send = ScriptedSend(Answered(200, (), b"ok"))
    chat = with_ctonew(send, None, Clock(), Ids())
    reply = await chat(HttpRequest("GET", "https://elsewhere.test/x"), LIMITS)
    assert await reply.read() == b"ok"
    await reply.aclose()
    send.assert_settled()


async def test_another_path_is_a_fault_of_ours():
    chat = with_ctonew(ScriptedSend(), None, Clock(), Ids())
    body = b'{"model":"m","prompt":"p","public":"c"}'
    with pytest.raises(BugError):
        await chat(HttpRequest("POST", "ctonew+https://x.test/other", (), body), LIMITS)


async def test_words_beyond_ascii_arrive_whole(world, labs):
    async with world() as w:
        _, raw = await w.ask("wärüm \U0001f9ea 為什麼?")
    assert labs.prompts[0][1] == "wärüm \U0001f9ea 為什麼?"
    assert "為什麼?" in json.loads(raw)["choices"][0]["message"]["content"]


async def test_snapshots_are_told_once(world, labs):
    labs.frames = [BUSY, said("Hel"), said("Hello"), said("Hello you"), IDLE]
    async with world() as w:
        _, raw = await w.ask()
    assert json.loads(raw)["choices"][0]["message"]["content"] == "Hello you"


async def test_signs_of_life_are_answered(world, labs):
    labs.frames = [BUSY, "ping", labs.ponged.wait, said("x"), IDLE]
    async with world() as w:
        await w.ask()
    assert labs.pongs == 1


async def test_an_account_without_an_organization_is_answered(world, labs):
    async with world() as w:
        credential = await w.sign_in(user="user_2", organization="", session="sess_2")
        status, _ = await w.ask(credential=credential)
    assert status == 200


# Order and clean-up


async def test_the_socket_is_open_before_the_question_is_asked(world, labs):
    seen = []
    async with world() as w:
        w.server.reply = watched(w.server, lambda call: seen.append((call.path, labs.opened)))
        await w.ask()
    paths = dict(seen)
    assert paths["/projects/create-hosted"] == 0
    assert paths["/engine-agent/chat"] == 1


def watched(server, look):
    reply = server.reply

    def looking(call):
        look(call)
        return reply(call)

    return looking


async def test_the_project_is_deleted_and_the_socket_closed(world, labs):
    async with world() as w:
        await w.ask()
        await labs.cleaned.wait()
        await labs.left.wait()
        assert (labs.projects, len(labs.deleted), labs.sockets) == ({}, 1, [])


async def test_a_client_that_leaves_closes_socket_and_project(world, labs):
    waits = asyncio.Event()
    labs.frames = [BUSY, said("one "), waits.wait, said("two"), IDLE]
    async with world() as w:
        reply = await w.send(w.request(stream=True), LIMITS)
        assert b"one" in await anext(reply.chunks)
        await reply.aclose()
        await labs.left.wait()
        await labs.cleaned.wait()
        waits.set()
        assert (labs.sockets, labs.projects) == ([], {})


async def test_a_caller_that_is_cancelled_while_waiting_leaves_nothing_behind(world, labs):
    reached, waits = asyncio.Event(), asyncio.Event()

    async def hold():
        reached.set()
        await waits.wait()

    labs.frames = [BUSY, hold, IDLE]
    async with world() as w:
        task = asyncio.get_running_loop().create_task(w.ask())
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await labs.left.wait()
        await labs.cleaned.wait()
        waits.set()
        assert labs.sockets == []


async def test_a_stream_that_nobody_read_is_cleaned_up(world, labs):
    async with world() as w:
        reply = await w.send(w.request(stream=True), LIMITS)
        await reply.aclose()
        await reply.aclose()
        await labs.cleaned.wait()
    assert len(labs.deleted) == 1


@pytest.mark.parametrize(
    ("step", "words"), [((500, (), b""), "it answered 500"), (UpstreamError("gone"), "gone")]
)
async def test_a_clean_up_that_fails_costs_nobody_anything(world, labs, caplog, step, words):
    caplog.set_level("INFO", "dragoman.upstream")
    async with world() as w:
        tried = asyncio.Event()
        inner = w.client.send

        async def send(request, limits):
            if request.method != "DELETE":
                return await inner(request, limits)
            tried.set()
            if isinstance(step, UpstreamError):
                raise step
            return Answered(*step).reply()

        w.send = with_ctonew(send, w.client.way, w.clock, Ids())
        status, _ = await w.ask()
        await tried.wait()
    assert status == 200
    assert "was not deleted" in caplog.text
    assert words in caplog.text


# One model at a time


async def test_parallel_chats_of_one_account_each_get_their_model(world, labs):
    models = ["gpt_5_4", "ClaudeSonnet4_5"] * 5
    async with world() as w:
        answers = await asyncio.gather(*(w.ask(f"q{i}", m) for i, m in enumerate(models)))
    for number, (model, (_, raw)) in enumerate(zip(models, answers, strict=True)):
        content = json.loads(raw)["choices"][0]["message"]["content"]
        assert content == f"{model} says: q{number}"


async def test_accounts_do_not_wait_for_each_other(world, labs):
    held, both = asyncio.Event(), asyncio.Event()
    preferring = []
    async with world() as w:
        first = w.credential
        second = await w.sign_in(user="user_2", session="sess_2", organization="org_2")
        inner = w.client.send

        async def send(request, limits):
            if request.url.endswith("/teams/preferred-model"):
                preferring.append(request)
                if len(preferring) == 2:
                    both.set()
                held.set()
                await both.wait()  # the second gets here only if it need not wait for the first
            return await inner(request, limits)

        w.send = with_ctonew(send, w.client.way, w.clock, Ids())
        answers = await asyncio.gather(
            w.ask(credential=first), w.ask(model="ClaudeSonnet4_5", credential=second)
        )
    assert [status for status, _ in answers] == [200, 200]


# What goes wrong


@pytest.mark.parametrize(
    "path", ["/projects/create-hosted", "/teams/preferred-model", "/engine-agent/chat", "socket"]
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_on_the_way_is_given_back_as_it_is(world, labs, path, stream):
    labs.refuses[path] = (402, {"message": "Daily limit reached"})
    async with world() as w:
        status, raw = await w.ask(stream=stream)
        if path != "/projects/create-hosted":
            await labs.cleaned.wait()
    assert status == 402
    assert json.loads(raw) == {"message": "Daily limit reached"}
    assert labs.projects == {}


async def test_an_expired_token_is_a_401(world, labs):
    async with world() as w:
        w.clock.advance(61)
        status, _ = await w.ask()
        assert status == 401
        w.credential = await w.drive.run(w.provider.renew(w.credential))
        assert (await w.ask())[0] == 200


async def test_a_socket_that_closes_before_the_answer_is_opened_again_once(world, labs):
    labs.early_closes = 1
    labs.frames = [labs.settled.wait, BUSY, said("late"), IDLE]
    async with world() as w:
        _, raw = await w.ask()
    assert json.loads(raw)["choices"][0]["message"]["content"] == "late"
    assert labs.opened == 2


async def test_a_socket_that_keeps_closing_is_a_failure(world, labs):
    labs.early_closes = 5
    labs.frames = []
    async with world() as w:
        with pytest.raises(UpstreamError) as caught:
            await w.ask()
        await labs.cleaned.wait()
    assert caught.value.code == "upstream_closed"
    assert labs.opened == 2


async def test_a_socket_that_closes_within_the_answer_breaks_it(world, labs):
    labs.frames = [BUSY, said("half "), CLOSE]
    async with world() as w:
        reply = await w.send(w.request(stream=True), LIMITS)
        assert b"half" in await anext(reply.chunks)
        with pytest.raises(UpstreamError) as caught:
            await anext(reply.chunks)
        await reply.aclose()
        await labs.cleaned.wait()
    assert caught.value.code == "upstream_closed"
    assert labs.opened == 1


async def test_silence_ends_the_wait(world, labs):
    labs.frames = [BUSY]
    async with world(stall_s=0.05) as w:
        with pytest.raises(UpstreamError, match=r"0\.05 s") as caught:
            await w.ask()
        await labs.cleaned.wait()
    assert (caught.value.status, caught.value.code) == (504, "upstream_timeout")


async def test_signs_of_life_do_not_keep_an_answer_alive_for_ever(world, labs):
    labs.pings_again = True
    labs.frames = [BUSY, "ping"]
    async with world() as w:
        with pytest.raises(UpstreamError) as caught:
            await w.ask(limits=Limits(5, 5, 0.1))
        await labs.cleaned.wait()
    assert caught.value.code == "upstream_timeout"
    assert labs.pongs > 1


async def test_a_whole_answer_has_its_time(world, labs):
    labs.frames = [BUSY]
    async with world() as w:
        with pytest.raises(UpstreamError) as caught:
            await w.ask(limits=Limits(5, 5, 5, 0.1))
        await labs.cleaned.wait()
    assert caught.value.code == "upstream_timeout"


async def test_an_error_frame_is_told_in_its_words(world, labs):
    labs.frames = [BUSY, {"type": "error", "message": "the model is gone"}]
    async with world() as w:
        with pytest.raises(UpstreamError, match="the model is gone"):
            await w.ask()
        await labs.cleaned.wait()


@pytest.mark.parametrize("body", [b"{}", b"[]", b"no", b'{"projectId": 7}'])
async def test_a_project_without_an_id_is_a_failure(body):
    chat = with_ctonew(ScriptedSend(Answered(201, (), body)), None, Clock(), Ids())
    job = b'{"model":"m","prompt":"p","public":"c"}'
    request = HttpRequest("POST", "ctonew+https://x.test/engine-agent/chat", (), job)
    with pytest.raises(UpstreamError, match="no project"):
        await chat(request, LIMITS)


async def test_secrets_go_only_where_they_belong(world, labs):
    async with world() as w:
        await w.ask()
        await labs.cleaned.wait()
        for call in w.server.requests:
            if call.path.startswith(("/projects", "/teams", "/engine-agent")):
                assert call.headers["authorization"] == f"Bearer {w.credential.secret}"
                assert call.headers["origin"] == "https://cto.new"
                assert w.credential.renewal not in str(call.query)


# Through the gateway


def desk_of(w, **options):
    account = Account("ctonew/x", w.provider, "x", w.provider.base_url, w.credential)
    facts = {"ctonew-gpt_5_4": ModelFacts("ctonew-gpt_5_4", dialects=("openai_chat",))}
    return Desk(account, catalog=Catalog({account.id: facts}), send=w.send, **options)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("client", ["openai_chat", "openai_responses", "anthropic", "gemini"])
async def test_every_client_is_answered(world, client, stream):
    async with world() as w:
        model = "ctonew-gpt_5_4"
        path = gemini_path(model, stream=stream) if client == "gemini" else None
        query = "alt=sse" if path and stream else ""
        desk = desk_of(w)
        seen = await desk.ask(ask_body(client, model, stream=stream), client, path, query)
    assert seen.status == 200
    assert desk.outcome.failure is None
    assert b"says: " in seen.body


async def test_tools_are_refused_in_the_clients_own_form(world, labs):
    async with world() as w:
        tool = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
        body = ask_body("anthropic", "ctonew-gpt_5_4", tools=[tool])
        seen = await desk_of(w).ask(body, "anthropic")
    assert seen.status == 400
    assert "takes no tools" in seen.json["error"]["message"]
    assert labs.prompts == []


async def test_a_token_that_ended_is_renewed_and_the_chat_asked_again(world, labs):
    async with world() as w:

        async def rejected(account):
            credential = await w.drive.run(w.provider.renew(account.credential))
            return replace(account, credential=credential)

        w.clock.advance(61)
        desk = desk_of(w, rejected=rejected)
        seen = await desk.ask(ask_body("openai_chat", "ctonew-gpt_5_4"))
    assert seen.status == 200
    assert desk.outcome.attempts == 2
    assert labs.clerk.replayed == 0


async def test_a_limit_that_is_reached_rests_the_account(world, labs):
    labs.reached = True
    async with world() as w:
        desk = desk_of(w)
        await desk.ask(ask_body("openai_chat", "ctonew-gpt_5_4"))
        account = desk.roster.get("ctonew/x")
        assert desk.roster.overall(account, desk.clock()).health == "cooling"
        await labs.cleaned.wait()
