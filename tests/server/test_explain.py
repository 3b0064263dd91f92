"""The explanation's route, and the questions it takes."""

import re
from types import SimpleNamespace

import msgspec
import pytest
import tornado.httpserver
import tornado.netutil
from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from app.canonical.request import ReasoningConfig
from app.dialects import DIALECTS
from app.errors import AccessError, AccountError, RequestError
from app.routing.facts import TokensWanted
from app.server.explain import ExplainDesk, explain_call, explain_routes, read_question
from app.server.guard import Grant
from app.server.pages import page_routes
from app.server.policy import AccessPolicy
from tests.routing.accounts import READY, account, catalog
from tests.routing.calls import rules

CHAT = {"model": "gpt-5", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
CLAUDE = {
    "model": "claude-x",
    "max_tokens": 5_000,
    "thinking": {"type": "enabled", "budget_tokens": 2_000},
    "tools": [{"name": "Bash", "input_schema": {"type": "object"}}],
    "messages": [{"role": "user", "content": "hi"}],
}


def question(**body):
    return read_question(body, DIALECTS)


def test_flags_alone_are_a_question():
    asked = question(
        model="gpt-5(high)",
        stream=True,
        tools=["a"],
        images=True,
        client="claude",
        key="work",
        headers={"X-Team": "a"},
        conversation="c",
        thinking="low",
    )
    facts = asked.facts
    assert facts.names() == ("gpt-5(high)", "gpt-5")
    assert (facts.stream, facts.client, facts.key, facts.conversation) == (
        True,
        "claude",
        "work",
        "c",
    )
    assert facts.tools() == ("a",)
    assert facts.images()
    assert facts.thinking()
    assert facts.header("x-team") == ("a",)
    assert asked.request is None
    with pytest.raises(TokensWanted):
        facts.tokens()


@pytest.mark.parametrize(
    ("path", "body", "dialect", "model", "stream"),
    [
        ("/v1/chat/completions", CHAT, "openai_chat", "gpt-5", True),
        ("/v1/messages", CLAUDE, "anthropic", "claude-x", False),
        ("/v1/messages?beta=true", CLAUDE, "anthropic", "claude-x", False),
        ("/v1/responses", {"model": "o", "input": "hi"}, "openai_responses", "o", False),
        (
            "/v1beta/models/gemini-x:streamGenerateContent",
            {"contents": [{"parts": [{"text": "hi"}]}]},
            "gemini",
            "gemini-x",
            True,
        ),
    ],
)
def test_a_request_is_read_in_the_dialect_of_its_path(path, body, dialect, model, stream):
    asked = question(request=body, path=path)
    assert (asked.dialect, asked.facts.model, asked.facts.stream) == (dialect, model, stream)
    assert asked.facts.path == path.partition("?")[0]
    assert asked.request is not None


def test_without_a_path_the_first_dialect_that_can_read_the_body_has_it():
    assert question(request=CHAT).dialect == "openai_chat"
    gemini = {"contents": [{"parts": [{"text": "hi"}]}]}
    assert question(request=gemini, model="gemini-x").facts.model == "gemini-x"


def test_what_the_question_says_wins_over_its_request():
    asked = question(
        request=CLAUDE, path="/v1/messages", model="m", stream=True, thinking=False, tools=[]
    )
    facts = asked.facts
    assert (facts.model, facts.stream, facts.thinking(), facts.tools()) == ("m", True, False, ())
    plain = question(request=CLAUDE, path="/v1/messages").facts
    assert plain.thinking()
    assert plain.tools() == ("Bash",)
    on = question(thinking=True).facts.request().reasoning
    assert isinstance(on, ReasoningConfig)
    assert on.mode == "adaptive"


def test_images_may_be_thought_away():
    with_image = {
        **CHAT,
        "messages": [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}],
            }
        ],
    }
    path = "/v1/chat/completions"
    assert question(request=with_image, path=path).facts.images()
    assert not question(request=with_image, path=path, images=False).facts.images()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"modle": "a"}, "modle"),
        ({"model": 5}, "model"),
        ({"tokens": "many"}, "tokens"),
        ({"tokens": True}, "tokens"),
        ({"tokens": -1}, "tokens"),
        ({"stream": "yes"}, "stream"),
        ({"tools": [1]}, "tools"),
        ({"headers": {"a": 1}}, "headers"),
        ({"thinking": "deep"}, "thinking"),
        ({"thinking": [1]}, "thinking"),
        ({"request": [1]}, "request"),
        ({"request": {"model": "a"}, "path": "/nowhere"}, "path"),
        ({"request": {"model": "a", "messages": 5}, "path": "/v1/messages"}, "messages"),
    ],
)
def test_wrong_questions_say_where(body, param):
    with pytest.raises(RequestError) as caught:
        question(**body)
    assert (caught.value.param or "").startswith(param)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"tokens": -1}, "tokens must not be negative."),
        ({"tokens": "many"}, "tokens must be a whole number."),
        ({"tools": [1]}, "tools must be a list of names."),
        ({"headers": {"a": 1}}, "headers must be an object of texts."),
        ({"thinking": [1]}, "thinking must be true, false or a level."),
        ({"modle": "a"}, "modle is not known here; known are request, path, model, tokens, "),
    ],
)
def test_wrong_questions_are_told_in_words(body, told):
    with pytest.raises(RequestError, match=re.escape(told)):
        question(**body)


RULES = """
rules:
  - {name: long, when: {tokens: 100}, then: {model: claude-x}}
  - {name: thinks, when: {thinking: true}, then: {provider: openai}}
"""


def desk(count=None):
    accounts = [account("openai/work"), account("anthropic/a")]

    async def no_count(_request):
        raise AssertionError("nobody asked for a count")

    return ExplainDesk(
        rules=lambda: rules(RULES),
        accounts=lambda: accounts,
        catalog=catalog,
        state_of=lambda *_: READY,
        ranking=lambda _decision, conversation: lambda *_: (0, conversation),
        count=count or no_count,
        no_account=lambda plan: AccountError(f"nobody for {plan.model}"),
        dialects=DIALECTS,
    )


async def test_the_number_of_tokens_is_given_counted_or_missing():
    async def count(request):
        assert request.messages
        return 101

    given = await explain_call(desk(), {"model": "gpt-5-x", "tokens": 500})
    assert (given["rule"], given["candidates"][0]["account"]) == ("long", "anthropic/a")
    counted = await explain_call(desk(count), {"request": CHAT, "path": "/v1/chat/completions"})
    assert counted["rule"] == "long"
    missing = await explain_call(desk(), {"model": "gpt-5-x"})
    assert missing["rule"] == ""
    assert "neither tokens nor a request was given" in missing["rules"][0]["why"]


async def test_a_rule_about_thinking_is_explained():
    trace = await explain_call(desk(), {"model": "gpt-5-x", "tokens": 1, "thinking": True})
    assert trace["rule"] == "thinks"
    assert [c["account"] for c in trace["candidates"]] == ["openai/work"]
    assert list(trace["left_out"]) == [
        {"account": "anthropic/a", "why": "thinks wants openai alone"}
    ]


# Over a socket.


class Access:
    policy = AccessPolicy()

    def must_wait(self, *_):
        return False

    def check(self, kind, _context, _method, _path, _query, headers):
        if kind != "control" or headers.get("Authorization") != "Bearer token":
            raise AccessError("No.", code="access_denied")
        return Grant("local")


@pytest.fixture
def ask(io_loop):
    control = SimpleNamespace(access=Access(), new_id=lambda p: f"{p}1", dialects=DIALECTS)
    routes = explain_routes(control, lambda body: explain_call(desk(), body))
    server = tornado.httpserver.HTTPServer(page_routes(control, routes))
    (sock,) = tornado.netutil.bind_sockets(0, "127.0.0.1")
    server.add_socket(sock)
    port = sock.getsockname()[1]

    async def post(body, *, stranger=False):
        request = HTTPRequest(
            f"http://127.0.0.1:{port}/admin/route/explain",
            method="POST",
            body=body,
            headers={"Authorization": f"Bearer {'other' if stranger else 'token'}"},
        )
        return await AsyncHTTPClient().fetch(request, raise_error=False)

    yield post
    server.stop()


async def test_the_route_answers_with_the_trace(ask):
    reply = await ask(msgspec.json.encode({"model": "gpt-5-x", "tokens": 1}))
    assert reply.code == 200
    assert msgspec.json.decode(reply.body)["asked"] == "gpt-5-x"


async def test_wrong_questions_and_strangers_are_refused(ask):
    assert (await ask(b"{")).code == 400
    assert (await ask(b'{"tokens": "a"}')).code == 400
    assert (await ask(b"{}", stranger=True)).code == 401
