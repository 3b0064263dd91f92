"""Answers given again: to the same caller, for the same question, for a time."""

import pytest

from app.canonical.request import ChatRequest, ServerTool
from app.gateway.answers import AnswerRules, Answers, is_deterministic
from app.ledger.entry import entry_of
from app.providers import compatible
from tests.fakes.basic import Answered, Clock
from tests.gateway.scripted import (
    CHAT,
    JSON,
    SSE,
    Desk,
    account,
    anthropic_whole,
    ask_body,
    chat_chunk,
    chat_stream,
    chat_whole,
    refusal,
)

FIXED = {"temperature": 0}


class Kitchen(Desk):
    """A desk whose answers are cached by rules that a test may change."""

    def __init__(self, *accounts, **rules):
        self.rules = AnswerRules(enabled=True, **rules)
        self.time = Clock(0.0)
        self.cache = Answers(self.time, lambda: self.rules)
        super().__init__(*(accounts or [account(CHAT, "one", ["m"])]), answers=self.cache)

    def whole(self, *texts):
        return self.answers(*(Answered(200, JSON, chat_whole(text)) for text in texts))

    async def say(self, text="hi", *, stream=False, dialect="openai_chat", more=None, **options):
        body = ask_body(dialect, "m", stream=stream, text=text, **(FIXED if more is None else more))
        return await self.ask(body, dialect, **options)

    @property
    def asked(self):
        return len(self.send.requests)


async def test_the_same_question_is_answered_from_the_cache():
    desk = Kitchen().whole("first", "second")
    one, two = await desk.say(), await desk.say()
    assert one.body == two.body == chat_whole("first")
    assert desk.asked == 1
    assert one.header("x-dragoman-route").endswith("attempts=1; account=one")
    assert two.header("x-dragoman-route") == (
        "provider=server; model=m; grade=verbatim; attempts=0; account=one; cache=hit"
    )
    assert two.header("content-type") == "application/json"
    assert (desk.cache.hits, desk.cache.misses) == (1, 1)


async def test_a_hit_is_in_the_ledger_as_such_and_costs_nothing():
    desk = Kitchen().whole("first")
    await desk.say()
    await desk.say()
    one, two = (
        entry_of(outcome, lambda _model, _usage: 500, lambda _account: False)
        for outcome in desk.outcomes
    )
    assert (one.cached, one.cost, one.attempts != ()) == (False, 500, True)
    assert (two.cached, two.cost, two.attempts, two.tokens) == (True, 0, (), None)
    assert (two.account, two.model, two.status, two.stop) == ("server/one", "m", 200, "end")
    assert two.reason == "answered before"


async def test_a_stream_is_given_again_as_a_stream():
    desk = Kitchen().answers(Answered(200, SSE, chat_stream("a", "b")))
    one, two = await desk.say(stream=True), await desk.say(stream=True)
    assert one.body == two.body
    assert len(two.pieces) == 1
    assert two.header("content-type") == "text/event-stream; charset=utf-8"
    assert two.header("cache-control") == "no-cache"
    assert desk.asked == 1
    await desk.whole("whole").say()  # another form of answer is another question
    assert desk.asked == 2


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"temperature": 0.7},
        {"temperature": 0, "n": 2},
    ],
)
async def test_what_leaves_something_to_chance_is_asked_each_time(more):
    desk = Kitchen().whole("first", "second")
    await desk.say(more=more)
    assert (await desk.say(more=more)).json["choices"][0]["message"]["content"] == "second"
    assert len(desk.cache) == 0


def test_a_seed_is_as_good_as_no_temperature_but_a_search_finds_other_things_tomorrow():
    search = ServerTool("anthropic", {"type": "web_search_20250305"}, "web_search")
    assert is_deterministic(ChatRequest("m", (), seed=7))
    assert is_deterministic(ChatRequest("m", (), temperature=0.0))
    assert not is_deterministic(ChatRequest("m", (), temperature=0.0, tools=(search,)))
    assert not is_deterministic(ChatRequest("m", ()))


@pytest.mark.parametrize(
    "other",
    [
        {"text": "ho"},
        {"owner": "key:2"},
        {"more": {"temperature": 0, "max_tokens": 5}},
        {"more": {"temperature": 0, "stop": ["x"]}},
        {"more": {"temperature": 0, "x_unknown": 1}},
        {"memory_scope": "socket"},
    ],
)
async def test_another_question_or_another_caller_has_another_answer(other):
    desk = Kitchen().whole("first", "second")
    await desk.say()
    assert (await desk.say(**other)).json["choices"][0]["message"]["content"] == "second"


async def test_the_same_question_in_other_spelling_is_the_same():
    desk = Kitchen().whole("first", "second")
    await desk.ask(b'{"model":"m","temperature":0,"messages":[{"role":"user","content":"hi"}]}')
    client = await desk.ask(
        b'{ "messages": [{"content": "hi", "role": "user"}],\n "temperature": 0.0, "model": "m",'
        b' "user": "somebody" }'
    )
    assert client.header("x-dragoman-route").endswith("cache=hit")


async def test_a_route_that_leads_elsewhere_has_its_own_answer():
    other = compatible("other", "openai_chat", "http://other.test/v1")
    desk = Kitchen(account(CHAT, "one", ["m"]), account(other, "two", ["m"])).whole("first", "two")
    await desk.say()
    answer = await desk.say(allows=lambda account, _model: account.provider.id == "other")
    assert answer.json["choices"][0]["message"]["content"] == "two"


async def test_answers_are_forgotten_in_time():
    desk = Kitchen(ttl_s=60).whole("first", "second")
    await desk.say()
    desk.time.advance(59)
    await desk.say()
    assert desk.asked == 1
    desk.time.advance(1)
    await desk.say()
    assert desk.asked == 2
    desk.time.advance(59)
    await desk.say()
    assert desk.asked == 2


@pytest.mark.parametrize(
    ("wish", "asked", "last"), [("no-cache", 2, "second"), ("No-Store, max-age=0", 2, "first")]
)
async def test_a_client_may_ask_anew(wish, asked, last):
    desk = Kitchen().whole("first", "second", "third")
    await desk.say()
    await desk.say(headers=(("Cache-Control", wish),))
    assert desk.asked == asked
    assert (await desk.say()).json["choices"][0]["message"]["content"] == last


async def test_the_least_recently_used_goes_when_there_is_no_room():
    size = len(chat_whole("x" * 1_000)) + 1_024
    desk = Kitchen(max_bytes=size * 8 + 10)
    desk.whole(*(str(i) * 1_000 for i in range(10)))
    for i in range(8):
        await desk.say(str(i))
    await desk.say("0")
    assert (len(desk.cache), desk.asked) == (8, 8)
    await desk.say("8")
    assert len(desk.cache) == 8
    assert desk.cache.size <= desk.rules.max_bytes
    await desk.say("0")
    assert desk.asked == 9
    await desk.say("1")
    assert desk.asked == 10


async def test_an_answer_that_would_fill_the_room_is_not_kept():
    desk = Kitchen(max_bytes=1_000).whole("x" * 500, "y")
    await desk.say()
    assert len(desk.cache) == 0


@pytest.mark.parametrize(
    ("answer", "stream"),
    [
        (refusal(500), False),
        (Answered(200, SSE, [chat_chunk({"content": "half"})]), True),
        (Answered(200, SSE, [*chat_stream("a")[:-1], chat_chunk({}, "content_filter")]), True),
    ],
)
async def test_failures_and_broken_answers_are_not_kept(answer, stream):
    desk = Kitchen().answers(answer, answer, answer)
    await desk.say(stream=stream)
    assert len(desk.cache) == 0


async def test_a_translated_answer_is_kept_as_the_client_saw_it():
    claude = compatible("claude", "anthropic", "http://claude.test/v1")
    desk = Kitchen(account(claude, "one", ["m"]))
    desk.answers(Answered(200, JSON, anthropic_whole("bonjour")))
    one, two = await desk.say(), await desk.say()
    assert one.body == two.body
    assert two.json["choices"][0]["message"]["content"] == "bonjour"
    assert desk.asked == 1


async def test_a_wrong_body_is_told_by_whoever_answers_it():
    desk = Kitchen().answers(refusal(400, message="no such role"))
    body = {"model": "m", "temperature": 0, "messages": [{"role": "nobody", "content": 1}]}
    assert (await desk.ask(body)).status == 400


async def test_off_is_off_and_forgets():
    desk = Kitchen().whole("first", "second", "third")
    await desk.say()
    desk.rules = AnswerRules()
    await desk.say()
    assert (desk.asked, len(desk.cache), desk.cache.size) == (2, 0, 0)
    plain = Desk(account(CHAT, "one", ["m"])).answers(
        *(Answered(200, JSON, chat_whole(text)) for text in ("a", "b"))
    )
    for _ in range(2):
        await plain.ask(ask_body("openai_chat", "m", temperature=0))
    assert len(plain.send.requests) == 2
    assert len(plain.gateway.answers) == 0
