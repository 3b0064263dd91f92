"""Where calls go when the settings have rules: from the bytes of a client to those of a service."""

import asyncio
import json
import textwrap

import pytest

from app.accounts.pace import Pacer
from app.config import Pace
from app.extensions import load_extensions
from app.providers import PROVIDERS, compatible
from app.tasks import spawn
from tests.fakes.basic import Answered
from tests.gateway.scripted import (
    CHAT,
    CHAT_END,
    JSON,
    SSE,
    Desk,
    account,
    anthropic_whole,
    ask_body,
    chat_chunk,
    chat_whole,
    gemini_path,
    gemini_whole,
    refusal,
    responses_body,
)
from tests.routing.calls import rules

OTHER = compatible("other", "openai_chat", "http://other.test/v1")
CLAUDE = compatible("claudes", "anthropic", "http://claude.test")
GOOGLE = compatible("google", "gemini", "http://gemini.test")
REPLIES = compatible("replies", "openai_responses", "http://replies.test/v1")


def made(text, *accounts, **options):
    """A desk with the rules of settings in YAML; every name is served by what is given."""
    desk = Desk(
        *(accounts or (account(CHAT, "one", ["m", "n"]), account(OTHER, "two", ["o", "n"]))),
        **options,
    )
    desk.gateway.rules = rules(text)
    desk.gateway.random = lambda: 0.0
    return desk


def good(*_):
    return Answered(200, JSON, chat_whole())


class Held:
    """An answer that comes when it is let go."""

    def __init__(self):
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    def answer(self, _request):
        self.asked.set()
        return Answered(200, JSON, [self.go.wait, chat_whole()])


def asked(desk):
    """(host, model) of every upstream call."""
    found = []
    for request in desk.send.requests:
        host = request.url.split("/")[2].removesuffix(".test")
        found.append((host, json.loads(request.body).get("model")))
    return found


# Actions.

ACTIONS = {
    "model": ("{model: o}", [("other", "o")]),
    "alias": ("{model: quick}", [("other", "o")]),
    "chain": ("{chain: both}", [("other", "o")]),
    "split": ("{split: {o: 1, m: 0}}", [("other", "o")]),
    "nothing": ("{}", [("chat", "m")]),
    "provider": ("{model: n, provider: other}", [("other", "n")]),
    "account": ("{model: n, account: other/two}", [("other", "n")]),
}


@pytest.mark.parametrize("name", ACTIONS)
async def test_an_action_decides_who_is_asked_for_what(name):
    action, expected = ACTIONS[name]
    text = f"""
    aliases: {{quick: o}}
    chains: {{both: [o, m]}}
    rules: [{{name: this, when: {{model: m}}, then: {action}}}]
    """
    desk = made(text).answers(good)
    client = await desk.ask(ask_body("openai_chat", "m"))
    assert client.status == 200
    assert asked(desk) == expected
    assert desk.outcome.rule == "this"
    trace = json.loads(desk.outcome.trace)
    assert trace["rule"] == "this"
    assert trace["candidates"][0]["account"] == desk.outcome.account


@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses", "anthropic", "gemini"])
async def test_a_refusal_of_the_rules_speaks_the_callers_dialect(dialect):
    desk = made("rules: [{name: no, then: {reject: {message: Not here., status: 451}}}]")
    path = gemini_path("m") if dialect == "gemini" else None
    client = await desk.ask(ask_body(dialect, "m"), dialect, path)
    assert client.status == 451
    assert "Not here." in json.dumps(client.json["error"])
    assert desk.send.requests == []
    assert json.loads(desk.outcome.trace)["error"].startswith("Not here.")


async def test_fields_are_set_overridden_and_removed_and_the_rest_stays_as_it_was():
    text = """
    rules:
      - when: {model: m}
        then:
          set: {temperature: 1, metadata.team: a}
          override: {top_p: 0.5}
          remove: [user]
    """
    desk = made(text).answers(good)
    body = ask_body("openai_chat", "m", user="me", top_p=1, temperature=0, odd={"k": [1]})
    client = await desk.ask(body)
    assert client.status == 200
    del body["user"]
    assert desk.sent() == body | {"top_p": 0.5, "metadata": {"team": "a"}}
    assert desk.outcome.grade == "patched"
    assert "grade=patched" in client.header("x-dragoman-route")


async def test_a_call_without_rules_is_passed_on_untouched():
    desk = made("{}").answers(good)
    raw = b'{ "model" : "m",  "messages": [{"role":"user","content":"hi"}] }'
    await desk.ask(raw)
    assert desk.send.requests[0].body == raw
    assert (desk.outcome.grade, desk.outcome.rule) == ("verbatim", "")


async def test_counting_follows_the_rules_but_leaves_the_body_alone():
    text = "rules: [{when: {model: m}, then: {model: c, set: {temperature: 1}}}]"
    desk = made(text, account(CLAUDE, "a", ["c"]))
    desk.answers(Answered(200, JSON, b'{"input_tokens": 3}'))
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    client = await desk.ask(body, "anthropic", "/v1/messages/count_tokens")
    assert client.json == {"input_tokens": 3} or client.header("x-dragoman-count") == "estimate"
    for request in desk.send.requests:
        assert json.loads(request.body) == body | {"model": "c"}


# Conditions.

LONG = "word " * 50
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
TOOL = {"type": "function", "function": {"name": "Grep", "parameters": {"type": "object"}}}
CONDITIONS = {
    "model": ("{model: m}", {}, {}),
    "glob": ('{model: "?"}', {}, {}),
    "regex": ("{model: '/^[a-m]$/'}", {}, {}),
    "tokens": ("{tokens: 40}", {"text": LONG}, {}),
    "thinking": ("{thinking: true}", {"reasoning_effort": "high"}, {}),
    "tool": ("{tool: grep}", {"tools": [TOOL]}, {}),
    "images": ("{images: true}", {"text": [IMAGE]}, {}),
    "client": ("{client: claude}", {}, {"client": "claude"}),
    "key": ("{key: guest}", {}, {"key_label": "guest"}),
    "path": ("{path: /v1/chat/*}", {}, {}),
    "header": ("{header: {x-team: red}}", {}, {"headers": (("X-Team", "red"),)}),
    "any": ("{any: [{model: z}, {client: codex}]}", {}, {"client": "codex"}),
    "not": ("{not: {model: z}}", {}, {}),
}


@pytest.mark.parametrize("name", CONDITIONS)
async def test_a_condition_that_holds_sends_the_call_elsewhere(name):
    when, body, call = CONDITIONS[name]
    desk = made(f"rules: [{{when: {when}, then: {{model: o}}}}]").answers(good)
    assert (await desk.ask(ask_body("openai_chat", "m", **body), **call)).status == 200
    assert asked(desk) == [("other", "o")]


@pytest.mark.parametrize(
    "name", ["tokens", "thinking", "tool", "images", "client", "key", "header"]
)
async def test_a_condition_that_does_not_hold_leaves_the_call_alone(name):
    desk = made(f"rules: [{{when: {CONDITIONS[name][0]}, then: {{model: o}}}}]").answers(good)
    assert (await desk.ask(ask_body("openai_chat", "m"))).status == 200
    assert asked(desk) == [("chat", "m")]
    assert json.loads(desk.outcome.trace)["rules"][0]["matched"] is False


async def test_tokens_are_counted_only_when_a_rule_comes_to_ask():
    counted = []

    async def counter(text):
        counted.append(text)
        return 100

    text = "rules: [{when: {model: m}, then: {}}, {when: {tokens: 40}, then: {model: o}}]"
    desk = made(text).answers(good, good)
    desk.gateway.counter = counter
    await desk.ask(ask_body("openai_chat", "m"))
    assert counted == []
    await desk.ask(ask_body("openai_chat", "n"))
    assert len(counted) == 1
    assert asked(desk)[1] == ("other", "o")


async def test_a_body_that_cannot_be_read_meets_no_rule_about_it_and_the_client_hears_why():
    desk = made("rules: [{when: {images: true}, then: {model: o}}]")
    desk.answers(refusal(400, message="messages: wrong"))
    client = await desk.ask({"model": "m", "messages": "wrong"})
    assert client.status == 400
    assert asked(desk) in ([], [("chat", "m")])
    assert "cannot be told" in json.loads(desk.outcome.trace)["rules"][0]["why"]


# How much to think.


@pytest.mark.parametrize(
    ("provider", "answer", "path", "expected"),
    [
        (CHAT, chat_whole(), None, {"reasoning_effort": "high"}),
        (REPLIES, json.dumps(responses_body()).encode(), None, {"reasoning": {"effort": "high"}}),
    ],
    ids=["same dialect", "translated"],
)
async def test_a_level_behind_the_name_reaches_the_service(provider, answer, path, expected):
    desk = made("{}", account(provider, "one", ["gpt-5"])).answers(Answered(200, JSON, answer))
    client = await desk.ask(ask_body("openai_chat", "gpt-5(high)", path=path) | {"odd": None})
    assert client.status == 200
    sent = desk.sent()
    assert sent["model"] == "gpt-5"
    assert {key: sent[key] for key in expected if key != "reasoning"} == {
        key: value for key, value in expected.items() if key != "reasoning"
    }
    if "reasoning" in expected:
        assert sent["reasoning"]["effort"] == "high"


async def test_a_level_in_tokens_is_a_budget_and_in_the_path_of_gemini_works_too():
    desk = made("{}", account(GOOGLE, "one", ["gemini-2.5-pro"]))
    desk.answers(Answered(200, JSON, gemini_whole()))
    path = gemini_path("gemini-2.5-pro(2048)")
    client = await desk.ask(ask_body("gemini", ""), "gemini", path)
    assert client.status == 200
    assert desk.sent()["generationConfig"]["thinkingConfig"]["thinkingBudget"] == 2048
    assert desk.send.requests[0].url.endswith("/models/gemini-2.5-pro:generateContent")


async def test_none_switches_thinking_off_where_the_client_wanted_it():
    desk = made("{}", account(CLAUDE, "one", ["claude-sonnet-4-5"]))
    desk.answers(Answered(200, JSON, anthropic_whole()))
    body = ask_body("anthropic", "claude-sonnet-4-5(none)", max_tokens=4096)
    body["thinking"] = {"type": "enabled", "budget_tokens": 2048}
    assert (await desk.ask(body, "anthropic")).status == 200
    assert desk.sent().get("thinking", {"type": "disabled"}) == {"type": "disabled"}


async def test_each_model_of_a_chain_thinks_as_the_chain_says():
    text = "chains: {c: ['gpt-5(high)', 'gpt-5-mini(low)']}"
    desk = made(text, account(CHAT, "one", ["gpt-5"]), account(OTHER, "two", ["gpt-5-mini"]))
    desk.answers(refusal(503), good)
    assert (await desk.ask(ask_body("openai_chat", "c"))).status == 200
    efforts = [json.loads(r.body)["reasoning_effort"] for r in desk.send.requests]
    assert efforts == ["high", "low"]


# Chains and when they move on.

CHAINED = """
retry: {attempts: 1}
chains: {c: [m, o, p]}
moves: {c: {o: [quota], p: [too_long]}}
"""
TOO_LONG = refusal(400, message="too long", code="context_length_exceeded")
MOVES = {
    "on": ([refusal(429, message="quota", code="insufficient_quota"), good], ["m", "o"], 200),
    "not on": ([refusal(500)], ["m"], 500),
    "past a step that does not apply": ([TOO_LONG, good], ["m", "p"], 200),
    "not after a bad request": ([refusal(400, message="bad")], ["m"], 400),
    "on again from the second": (
        [refusal(402), TOO_LONG, good],
        ["m", "o", "p"],
        200,
    ),
}


@pytest.mark.parametrize("name", MOVES)
async def test_a_chain_moves(name):
    answers, models, status = MOVES[name]
    desk = made(
        CHAINED,
        account(CHAT, "one", ["m"]),
        account(OTHER, "two", ["o"]),
        account(OTHER, "three", ["p"]),
    )
    desk.answers(*answers)
    client = await desk.ask(ask_body("openai_chat", "c"))
    assert [model for _, model in asked(desk)] == models
    assert (client.status == 200) is (status == 200)


async def test_the_next_account_of_a_model_comes_before_the_next_model():
    text = "chains: {c: [m, o]}\nmoves: {c: {o: [quota]}}"
    desk = made(
        text,
        account(CHAT, "one", ["m"]),
        account(CHAT, "also", ["m"]),
        account(OTHER, "two", ["o"]),
    )
    desk.answers(refusal(500), refusal(429, code="insufficient_quota"), good)
    client = await desk.ask(ask_body("openai_chat", "c"))
    assert client.status == 200
    assert desk.outcome.failures[0][0] == "server/one"
    assert desk.outcome.failures[1][0] == "server/also"
    assert desk.outcome.account == "other/two"


@pytest.mark.parametrize(
    ("moves", "second"), [("[timeout]", "m"), ("[rate_limit]", "o"), ("[any]", "o")]
)
async def test_a_busy_account_is_left_for_another_model_only_where_a_rate_limit_would_be(
    moves, second
):
    desk = made(
        f"chains: {{c: [m, o]}}\nmoves: {{c: {{o: {moves}}}}}",
        account(CHAT, "one", ["m"]),
        account(OTHER, "two", ["o"]),
    )
    desk.gateway.pacer = Pacer(written={"server": Pace(at_once=1)})
    held = Held()
    desk.answers(held.answer, good)
    first = spawn(desk.ask(ask_body("openai_chat", "c")), "call")
    await held.asked.wait()
    later = spawn(desk.ask(ask_body("openai_chat", "c")), "call")
    if second == "o":
        assert (await later).status == 200
    held.go.set()
    assert (await first).status == (await later).status == 200
    assert [model for _, model in asked(desk)] == ["m", second]


# Asking again.

RETRY = "retry: {attempts: 3, first_wait_s: 0.001, longest_wait_s: 2, budget_s: 20}"
AGAIN = {
    "a server error": ([refusal(500), good], 2, 200),
    "as often as the settings say": ([refusal(500)] * 3, 3, 500),
    "a short rate limit": ([refusal(429, headers={"retry-after-ms": "1"}), good], 2, 200),
    "no long one": ([refusal(429, headers={"retry-after": "30"})], 1, 429),
    "nothing that is wrong with the request": ([refusal(400)], 1, 400),
    "no refused key": ([refusal(401)], 1, None),
    "an error in the stream before its first word": (
        [
            Answered(200, SSE, b'data: {"error": {"message": "busy", "code": 503}}\n\n'),
            Answered(200, SSE, chat_chunk({"content": "hi"}) + CHAT_END),
        ],
        2,
        200,
    ),
}


@pytest.mark.parametrize("name", AGAIN)
async def test_the_only_account_is_asked_again_after(name):
    answers, times, status = AGAIN[name]
    desk = made(RETRY, account(CHAT, "one", ["m"])).answers(*answers)
    stream = "stream" in name
    client = await desk.ask(ask_body("openai_chat", "m", stream=stream))
    assert len(desk.send.requests) == times
    assert f"attempts={times}" in client.header("x-dragoman-route")
    assert status is None or client.status == status
    assert len(desk.outcome.tries) == times


async def test_another_account_comes_before_another_try():
    desk = made(RETRY, account(CHAT, "one", ["n"]), account(OTHER, "two", ["n"]))
    desk.answers(refusal(500), refusal(500), good)
    assert (await desk.ask(ask_body("openai_chat", "n"))).status == 200
    assert [host for host, _ in asked(desk)] == ["chat", "other", "other"]


async def test_nothing_is_asked_again_once_an_answer_has_begun():
    desk = made(RETRY, account(CHAT, "one", ["m"]))
    desk.answers(Answered(200, SSE, [chat_chunk({"content": "hi"}), OSError("gone")][:1]))
    client = await desk.ask(ask_body("openai_chat", "m", stream=True))
    assert len(desk.send.requests) == 1
    assert "error" in client.events()[-1]


async def test_the_waits_end_with_the_budget():
    text = "retry: {attempts: 9, first_wait_s: 1, longest_wait_s: 8, budget_s: 0}"
    desk = made(text, account(CHAT, "one", ["m"])).answers(refusal(500))
    assert (await desk.ask(ask_body("openai_chat", "m"))).status == 500
    assert len(desk.send.requests) == 1


async def test_the_demo_is_not_asked_again_for_the_error_it_was_asked_for():
    demo = PROVIDERS["demo"]
    desk = made(RETRY, account(demo, "demo", ["demo-error-500"])).answers(refusal(500))
    await desk.ask(ask_body("openai_chat", "demo-error-500"))
    assert len(desk.send.requests) == 1


# The order among accounts.


async def test_turns_go_round_among_accounts_with_keys():
    desk = made(
        "strategies: {server: round_robin}",
        *(account(CHAT, label, ["m"]) for label in ("a", "b", "c")),
    )
    desk.answers(*[good] * 6)
    for _ in range(6):
        await desk.ask(ask_body("openai_chat", "m"))
    assert [o.account[-1] for o in desk.outcomes] == ["a", "b", "c", "a", "b", "c"]


async def test_weights_divide_the_calls():
    desk = made(
        "strategies: {'*': weighted}\nweights: {server/a: 3, server/b: 1}",
        account(CHAT, "a", ["m"]),
        account(CHAT, "b", ["m"]),
    )
    desk.answers(*[good] * 80)
    for _ in range(80):
        await desk.ask(ask_body("openai_chat", "m"))
    served = [o.account[-1] for o in desk.outcomes]
    assert 55 <= served.count("a") <= 65


async def test_the_account_with_the_least_to_do_is_first():
    desk = made(
        "strategies: {server: least_used}", account(CHAT, "a", ["m"]), account(CHAT, "b", ["m"])
    )
    held = Held()
    desk.answers(held.answer, good, good)
    first = spawn(desk.ask(ask_body("openai_chat", "m")), "call")
    await held.asked.wait()
    await desk.ask(ask_body("openai_chat", "m"))
    await desk.ask(ask_body("openai_chat", "m"))
    held.go.set()
    await first
    assert sorted(o.account for o in desk.outcomes) == ["server/a", "server/b", "server/b"]


async def test_a_rule_may_order_accounts_for_its_calls_alone():
    text = "rules: [{when: {client: batch}, then: {strategy: round_robin}}]"
    desk = made(text, account(CHAT, "a", ["m"]), account(CHAT, "b", ["m"]))
    desk.answers(*[good] * 4)
    for client in ("batch", "batch", "", ""):
        await desk.ask(ask_body("openai_chat", "m"), client=client)
    assert [o.account[-1] for o in desk.outcomes] == ["a", "b", "a", "a"]


# The caller's own sign-in.


async def test_a_caller_with_its_own_sign_in_goes_there_unless_a_rule_sends_it_elsewhere():
    own = account(OTHER, "own")
    text = (
        "rules: [{when: {model: small}, then: {model: m}}, {when: {model: no}, then: {reject: no}}]"
    )
    desk = made(
        text,
        account(CHAT, "one", ["m"]),
        own_sign_in=lambda headers, dialect, model: own if model != "m" else None,
    )
    desk.answers(good, good)
    await desk.ask(ask_body("openai_chat", "large"))
    await desk.ask(ask_body("openai_chat", "small"))
    assert asked(desk) == [("other", "large"), ("chat", "m")]
    traces = [json.loads(outcome.trace)["candidates"][0]["why"] for outcome in desk.outcomes]
    assert traces == ["the caller's own sign-in", "listed by server"]
    assert (await desk.ask(ask_body("openai_chat", "no"))).status == 403


# Calls beside generation.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rules: [{when: {path: /v1/embeddings}, then: {model: o}}]", [("other", "o")]),
        ("aliases: {e: m}", [("chat", "m")]),
        ("rules: [{when: {images: true}, then: {model: o}}]", [("chat", "m")]),
    ],
    ids=["path", "alias", "a rule about the body does not match"],
)
async def test_embeddings_go_by_rules_about_their_head(text, expected):
    desk = made(text).answers(Answered(200, JSON, b'{"data": []}'))
    name = "e" if "aliases" in text else "m"
    client = await desk.ask(
        {"model": name, "input": "hi"}, "openai_chat", "/v1/embeddings", extra="embeddings"
    )
    assert client.status == 200
    assert asked(desk) == expected


# Hooks.

HOOKS = """
told = []


class Stamp:
    def on_request(self, facts, body):
        return {"seed": len(facts.client), "logprobs": ...}

    def on_response(self, facts, answer):
        told.append((facts.model, dict(answer)))


class Broken:
    def on_request(self, facts, body):
        raise ValueError("oh no")


HOOKS = {"stamp": Stamp(), "broken": Broken(), "told": told}
"""


@pytest.fixture
def hooked(tmp_path):
    def make(*names, text="{}"):
        file = tmp_path / "own.py"
        source = textwrap.dedent(HOOKS).replace(', "told": told', "")
        file.write_text(source, "utf-8")
        file.chmod(0o600)
        found = load_extensions(["own.py"], tmp_path, ())
        assert found.problems == ()
        desk = made(text)
        desk.gateway.extensions = found
        desk.gateway.hooks = names
        return desk

    return make


async def test_hooks_change_the_body_and_hear_of_the_end(hooked):
    desk = hooked("stamp").answers(good)
    body = ask_body("openai_chat", "m", logprobs=True)
    await desk.ask(body, client="codex")
    del body["logprobs"]
    assert desk.sent() == body | {"seed": 5}
    hook = desk.gateway.extensions.hooks["stamp"].on_response
    (told,) = hook.__func__.__globals__["told"]
    model, answer = told
    assert model == "m"
    assert (answer["status"], answer["model"], answer["account"]) == (200, "m", "server/one")
    assert (answer["provider"], answer["error"]) == ("server", None)
    assert answer["input_tokens"] > 0


async def test_a_hook_sees_the_body_as_rules_left_it(hooked):
    text = "rules: [{then: {set: {seed: 9}, override: {n: 1}}}]"
    desk = hooked("stamp", text=text).answers(good)
    await desk.ask(ask_body("openai_chat", "m"), client="x")
    assert (desk.sent()["seed"], desk.sent()["n"]) == (1, 1)


async def test_a_hook_that_fails_changes_nothing_and_the_trace_says_so(hooked):
    desk = hooked("broken").answers(good)
    body = ask_body("openai_chat", "m")
    assert (await desk.ask(body)).status == 200
    assert desk.sent() == body
    assert any("broken failed" in note for note in json.loads(desk.outcome.trace)["notes"])
    assert desk.gateway.extensions.health()[1]["failures"] == 1


@pytest.mark.parametrize("found", [True, False])
async def test_a_model_that_nobody_knows_is_looked_for_once(found):
    async def look_again():
        looked.append(True)
        return found

    looked = []
    desk = Desk(account(CHAT, "one", ["m"]), look_again=look_again)
    client = await desk.ask(ask_body("openai_chat", "unheard-of"))
    assert client.json["error"]["code"] == "model_not_found"
    assert len(looked) == 1
    wrong = await desk.ask({"messages": []})
    assert wrong.status == 400
    assert len(looked) == 1
