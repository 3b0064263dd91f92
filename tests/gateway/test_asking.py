"""Calls on their way out: the credential that goes along, the service's shape, renewal."""

import json
from dataclasses import replace

import pytest

from app.errors import AccountError, RequestError
from app.gateway.asking import conversation_of, session_key
from app.providers import ANTHROPIC, Credential
from app.providers.shaping import Shaped
from tests.fakes.basic import Answered
from tests.gateway.scripted import (
    CHAT,
    JSON,
    SSE,
    Desk,
    account,
    anthropic_whole,
    ask_body,
    chat_stream,
    chat_whole,
)

REFUSED = Answered(401, JSON, json.dumps({"error": {"message": "bad token", "code": "x"}}).encode())


def shaped(provider=CHAT, **changes):
    """A provider whose shape makes these changes, and the calls that it was asked about."""
    asked = []

    def shape(call):
        asked.append(call)
        return Shaped(**{"body": call.body, "path": call.path} | changes)

    return replace(provider, shape=shape), asked


def signed_in(label="one", held="old"):
    return replace(account(CHAT, label, ["m"]), credential=Credential(held, "oauth", 50.0))


def bearer(desk, number=-1):
    return dict(desk.send.requests[number].headers)["authorization"]


# The credential


async def test_the_fresh_credential_goes_along():
    async def fresh(asked):
        return replace(asked, credential=Credential("new", "oauth", 99.0))

    desk = Desk(signed_in(), fresh=fresh).answers(Answered(200, JSON, chat_whole()))
    await desk.ask(ask_body("openai_chat", "m"))
    assert bearer(desk) == "Bearer new"


async def test_an_account_without_a_good_credential_is_passed_over():
    async def fresh(asked):
        if asked.label == "one":
            raise AccountError("The sign-in of one is over.", code="sign_in_again")
        return asked

    desk = Desk(signed_in("one"), signed_in("two", "other"), fresh=fresh)
    desk.answers(Answered(200, JSON, chat_whole()))
    client = await desk.ask(ask_body("openai_chat", "m"))
    assert client.status == 200
    assert bearer(desk) == "Bearer other"
    assert [failed for failed, _ in desk.outcome.failures] == ["server/one"]


async def test_a_refused_credential_is_renewed_and_asked_again_once():
    refused = []

    async def rejected(asked):
        refused.append(asked.credential.secret)
        return replace(asked, credential=Credential("new", "oauth"))

    desk = Desk(signed_in(), rejected=rejected).answers(REFUSED, Answered(200, JSON, chat_whole()))
    client = await desk.ask(ask_body("openai_chat", "m"))
    assert client.status == 200
    assert refused == ["old"]
    assert [bearer(desk, 0), bearer(desk, 1)] == ["Bearer old", "Bearer new"]
    assert desk.outcome.attempts == 2


async def test_a_credential_that_is_refused_again_moves_on_to_the_next_account():
    async def rejected(asked):
        return replace(asked, credential=Credential("new", "oauth"))

    desk = Desk(signed_in("one"), signed_in("two", "other"), rejected=rejected)
    desk.answers(REFUSED, REFUSED, Answered(200, JSON, chat_whole()))
    client = await desk.ask(ask_body("openai_chat", "m"))
    assert client.status == 200
    assert [bearer(desk, n) for n in range(3)] == ["Bearer old", "Bearer new", "Bearer other"]


@pytest.mark.parametrize("answer", [None, AccountError("over", code="sign_in_again")])
async def test_without_a_new_credential_the_refusal_stands(answer):
    async def rejected(asked):
        if answer is not None:
            raise answer
        return

    desk = Desk(signed_in(), rejected=rejected).answers(REFUSED)
    client = await desk.ask(ask_body("openai_chat", "m"))
    assert client.status == 400
    assert "bad token" in client.json["error"]["message"]
    assert len(desk.send.requests) == 1


# The shape


async def test_a_shape_that_changes_nothing_leaves_the_call_verbatim():
    provider, asked = shaped()
    raw = b'{ "model":"m", "messages":[{"role":"user","content":"a"}] }'
    desk = Desk(account(provider, "one", ["m"])).answers(Answered(200, JSON, chat_whole()))
    await desk.ask(raw, headers=(("x-own", "1"),))
    assert desk.send.requests[0].body == raw
    assert desk.outcome.grade == "verbatim"
    (call,) = asked
    assert (call.dialect, call.operation, call.model) == ("openai_chat", "generate", "m")
    assert call.client_headers == (("x-own", "1"),)
    assert call.credential.secret == "sk-one"


async def test_a_translated_call_shows_the_shape_nothing_of_the_callers_head():
    provider, asked = shaped()
    desk = Desk(account(provider, "one", ["m"])).answers(Answered(200, JSON, chat_whole()))
    await desk.ask(ask_body("anthropic", "m"), "anthropic")
    assert asked[0].client_headers == ()


async def test_body_path_address_and_fields_are_the_shapes():
    provider, _ = shaped(
        body=b'{"changed":1}',
        path="/answers?x=1",
        headers=(("Authorization", "Token t"), ("x-extra", "yes")),
        base_url="http://elsewhere.test",
    )
    desk = Desk(account(provider, "one", ["m"])).answers(Answered(200, JSON, chat_whole()))
    await desk.ask(ask_body("openai_chat", "m"))
    request = desk.send.requests[0]
    assert (request.url, request.body) == ("http://elsewhere.test/answers?x=1", b'{"changed":1}')
    fields = [(key, value) for key, value in request.headers if key.lower() == "authorization"]
    assert fields == [("Authorization", "Token t")]
    assert ("x-extra", "yes") in request.headers
    assert desk.outcome.grade == "patched"


async def test_a_shape_that_cannot_take_the_call_answers_the_client():
    def shape(call):
        raise RequestError("This service takes no tools.", param="tools")

    desk = Desk(account(replace(CHAT, shape=shape), "one", ["m"])).answers()
    client = await desk.ask(ask_body("openai_chat", "m"))
    assert client.status == 400
    assert client.json["error"]["param"] == "tools"


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic", "openai_responses"])
async def test_an_answer_that_always_streams_is_collected_for_who_wants_it_whole(dialect):
    provider, _ = shaped(always_streams=True)
    desk = Desk(account(provider, "one", ["m"])).answers(Answered(200, SSE, chat_stream("a", "b")))
    client = await desk.ask(ask_body(dialect, "m"), dialect)
    assert client.status == 200
    assert client.header("content-type") == "application/json"
    assert ("accept", "text/event-stream") in desk.send.requests[0].headers
    assert "ab" in client.body.decode()
    assert desk.outcome.tokens() is not None


async def test_a_failure_in_a_collected_stream_goes_on_to_the_next_account():
    provider, _ = shaped(always_streams=True)
    broken = chat_stream("a")[:-1]
    desk = Desk(account(provider, "one", ["m"]), account(CHAT, "two", ["m"]))
    desk.answers(Answered(200, SSE, broken), Answered(200, JSON, chat_whole()))
    client = await desk.ask(ask_body("openai_chat", "m"))
    assert client.status == 200
    assert desk.outcome.attempts == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_names_are_put_back_in_the_answer(stream):
    provider, _ = shaped(names={"mcp_Read": "read", "mcp_Other": "other"})
    call = {
        "id": "call_1",
        "index": 0,
        "type": "function",
        "function": {"name": "mcp_Read", "arguments": '{"name":"mcp_Read"}'},
    }
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    if stream:
        head["object"] += ".chunk"
        start = {**head, "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}
        end = {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
        body = b"".join(b"data: %b\n\n" % json.dumps(e).encode() for e in (start, end))
        answer = Answered(200, SSE, body + b"data: [DONE]\n\n")
    else:
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        answer = Answered(200, JSON, json.dumps({**head, "choices": [choice]}).encode())
    desk = Desk(account(provider, "one", ["m"])).answers(answer)
    client = await desk.ask(ask_body("openai_chat", "m", stream=stream))
    if stream:
        calls = [
            c
            for event in client.events()
            for choice in event["choices"]
            for c in choice["delta"].get("tool_calls", ())
        ]
        assert "".join(c["function"].get("name") or "" for c in calls) == "read"
        text = "".join(c["function"].get("arguments") or "" for c in calls)
    else:
        (got,) = client.json["choices"][0]["message"]["tool_calls"]
        assert got["function"]["name"] == "read"
        text = got["function"]["arguments"]
    assert text == '{"name":"mcp_Read"}'


async def test_heads_of_answers_are_shown_also_of_refusals():
    seen = []
    desk = Desk(
        account(CHAT, "one", ["m"]),
        account(CHAT, "two", ["m"]),
        noticed=lambda who, headers: seen.append((who.label, dict(headers).get("x-left"))),
    )
    desk.answers(
        Answered(429, {**JSON, "x-left": "0"}, b"{}"),
        Answered(200, {**JSON, "x-left": "9"}, chat_whole()),
    )
    await desk.ask(ask_body("openai_chat", "m"))
    assert seen == [("one", "0"), ("two", "9")]


# Signatures that are refused

STALE = Answered(
    400,
    JSON,
    json.dumps(
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "messages.1.content.0: Invalid `signature` in `thinking` block",
            },
        }
    ).encode(),
)
THOUGHT = [
    {"role": "user", "content": "a"},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "stale"},
            {"type": "text", "text": "b"},
        ],
    },
    {"role": "user", "content": "c"},
]


async def test_a_refused_signature_is_left_out_and_the_same_account_asked_again():
    desk = Desk(account(ANTHROPIC, "one"), account(ANTHROPIC, "two"))
    desk.answers(STALE, Answered(200, JSON, anthropic_whole()))
    body = ask_body("anthropic", "claude-x", messages=THOUGHT)
    client = await desk.ask(body, "anthropic")
    assert client.status == 200
    assert desk.outcome.account == "anthropic/one"
    assert "stale" in desk.send.requests[0].body.decode()
    again = desk.send.requests[1].body.decode()
    assert "stale" not in again
    assert '"b"' in again
    assert (
        desk.roster.state(desk.roster.get("anthropic/one"), "claude-x", desk.clock()).health
        == "ready"
    )


async def test_a_signature_that_is_still_refused_is_told_once():
    desk = Desk(account(ANTHROPIC, "one"), account(ANTHROPIC, "two")).answers(STALE, STALE)
    client = await desk.ask(ask_body("anthropic", "claude-x", messages=THOUGHT), "anthropic")
    assert client.status == 400
    assert "signature" in client.json["error"]["message"]
    assert len(desk.send.requests) == 2


# Conversations


def name_of(desk, owner="user", headers=(), **body):
    call = desk.call(ask_body("openai_chat", "m", **body), owner=owner, headers=headers)
    return conversation_of(call, call.dialect.peek(call.raw, call.path, "", call.route))


def test_a_conversation_has_one_name_per_caller_that_tells_nothing():
    desk = Desk()
    name = name_of(desk, prompt_cache_key="thread-7")
    assert name == name_of(desk, prompt_cache_key="thread-7", temperature=1)
    assert "thread" not in name
    assert name != name_of(desk, owner="key:1", prompt_cache_key="thread-7")
    assert name != name_of(desk, prompt_cache_key="thread-8")
    assert name_of(desk) == ""


def test_a_conversation_is_also_named_by_the_head():
    desk = Desk()
    name = name_of(desk, headers=(("Session_ID", "thread-7"),))
    assert name == name_of(desk, prompt_cache_key="thread-7")
    assert name == name_of(desk, headers=(("X-Session-Affinity", ""), ("session-id", "thread-7")))


def test_services_are_told_another_name_at_each_account():
    name = session_key("conversation", "codex/one")
    assert name == session_key("conversation", "codex/one")
    assert name not in ("conversation", session_key("conversation", "codex/two"))
    assert session_key("", "codex/one") == ""


async def test_the_shape_is_told_the_conversation():
    provider, asked = shaped()
    desk = Desk(account(provider, "one", ["m"])).answers(
        Answered(200, JSON, chat_whole()), Answered(200, JSON, chat_whole())
    )
    await desk.ask(ask_body("openai_chat", "m", prompt_cache_key="k"))
    await desk.ask(ask_body("openai_chat", "m"))
    assert asked[0].session == session_key(name_of(desk, prompt_cache_key="k"), "server/one")
    assert asked[1].session == ""


# The order of accounts


def two_accounts(**options):
    return Desk(account(CHAT, "one", ["m"]), account(CHAT, "two", ["m"]), **options)


async def served_by(desk, **body):
    desk.answers(Answered(200, JSON, chat_whole()))
    client = await desk.ask(ask_body("openai_chat", "m", **body))
    assert client.status == 200
    return desk.outcome.account.removeprefix("server/")


LIMITED = Answered(429, {**JSON, "retry-after": "60"}, b"{}")


async def test_a_conversation_stays_where_its_prompt_cache_is():
    desk = two_accounts()
    desk.answers(LIMITED, Answered(200, JSON, chat_whole()))
    await desk.ask(ask_body("openai_chat", "m", prompt_cache_key="k"))
    assert desk.outcome.account == "server/two"
    desk.clock.advance(61)
    assert await served_by(desk, prompt_cache_key="k") == "two"
    assert "same conversation" in desk.outcome.reason
    assert await served_by(desk, prompt_cache_key="other") == "one"
    assert await served_by(desk) == "one"


async def test_a_conversation_leaves_an_account_that_rests_and_comes_back_to_it():
    desk = two_accounts()
    assert await served_by(desk, prompt_cache_key="k") == "one"
    desk.answers(LIMITED, Answered(200, JSON, chat_whole()))
    await desk.ask(ask_body("openai_chat", "m", prompt_cache_key="k"))
    assert desk.outcome.account == "server/two"
    desk.clock.advance(61)
    assert await served_by(desk, prompt_cache_key="k") == "one"


async def test_an_answer_that_broke_binds_nothing():
    desk = two_accounts()
    desk.answers(LIMITED, Answered(200, SSE, chat_stream("a")[:-1]))
    await desk.ask(ask_body("openai_chat", "m", stream=True, prompt_cache_key="k"))
    assert desk.outcome.account == "server/two"
    desk.clock.advance(61)
    assert await served_by(desk, prompt_cache_key="k") == "one"


@pytest.mark.parametrize(
    ("one", "two", "first"),
    [
        (None, None, "one"),
        (6.0, 90.0, "one"),
        (5.0, 90.0, "two"),
        (5.0, None, "two"),
        (5.0, 5.0, "one"),
        (0.0, 1.0, "two"),
        (0.0, 0.0, "one"),
    ],
)
async def test_an_account_near_the_end_of_its_window_comes_after_one_with_room(one, two, first):
    left = {"server/one": one, "server/two": two}
    desk = two_accounts(left_percent=lambda account_id, model: left[account_id])
    assert await served_by(desk) == first


async def test_a_conversation_keeps_an_account_that_is_low_but_not_one_that_is_spent():
    left = {"server/one": 3.0, "server/two": 90.0}
    desk = two_accounts(left_percent=lambda account_id, model: left[account_id])
    desk.gateway.affinity.bind(name_of(desk, prompt_cache_key="k"), "server/one")
    assert await served_by(desk, prompt_cache_key="k") == "one"
    left["server/one"] = 0.0
    assert await served_by(desk, prompt_cache_key="k") == "two"


async def test_the_ledger_knows_a_conversation_without_a_name_by_how_it_begins():
    desk = Desk(account(CHAT, "one", ["m"]))
    desk.answers(*[Answered(200, JSON, chat_whole())] * 4)
    first = ask_body("openai_chat", "m")
    more = [{"role": "assistant", "content": "a"}, {"role": "user", "content": "and now?"}]
    await desk.ask(first)
    await desk.ask(first | {"messages": [*first["messages"], *more]})
    await desk.ask(first, owner="somebody else")
    await desk.ask(ask_body("openai_chat", "m", text="another question"))
    one, again, other, new = (outcome.session for outcome in desk.outcomes)
    assert one == again != ""
    assert len({one, other, new}) == 3
