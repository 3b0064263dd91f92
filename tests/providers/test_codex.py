"""The Codex provider as a whole: its facts, the head of its calls, what its refusals mean."""

import json
from email.utils import formatdate

import pytest

from app.dialects.openai_responses import OPENAI_RESPONSES as DIALECT
from app.errors import Retry
from app.http import HttpReply, HttpRequest, Limits
from app.providers import CODEX
from app.providers.base import USER_AGENT
from app.providers.codex import classify, codex, is_genuine, shape
from app.providers.codex_profile import CodexEndpoints, known_models
from app.providers.credential import Credential
from app.providers.shaping import Asked
from app.providers.signin import NOT_ALLOWED, CodeSignIn, DeviceSignIn
from app.routing.failover import cooldown_for, may_try_next
from tests.fakes.basic import Clock
from tests.fakes.codex_backend import MODELS, CodexBackend
from tests.fakes.identity import ChatGptIdentity, codex_at
from tests.fakes.upstream import Upstream
from tests.providers.driving import NOW, driving

CREDENTIAL = Credential("t", "oauth", facts={"account_id": "acc-1", "plan": "plus"})
GENUINE = (
    ("originator", "codex_exec"),
    ("User-Agent", "codex_exec/0.169.0 (Debian 13; x86_64) unknown"),
    ("session-id", "0192-session"),
    ("thread-id", "0192-thread"),
    ("x-client-request-id", "0192-thread"),
    ("x-codex-turn-metadata", '{"turn":1}'),
    ("x-codex-window-id", "w:0"),
    ("x-codex-beta-features", "a,b"),
    ("version", "0.169.0"),
    ("authorization", "Bearer theirs"),
    ("x-api-key", "theirs"),
    ("cookie", "c=1"),
    ("openai-organization", "theirs"),
)


def asked(given=None, headers=(), operation="generate", path="/v1/responses", session=""):
    raw = json.dumps(given or {"model": "gpt-5.5", "input": "hi"}).encode()
    return Asked(
        "openai_responses", operation, "gpt-5.5", raw, False, path, headers, CREDENTIAL, session
    )


# Facts


def test_its_ways_to_sign_in_are_browser_and_device():
    assert list(CODEX.sign_ins) == ["browser", "device"]
    assert isinstance(CODEX.sign_ins["browser"], CodeSignIn)
    assert isinstance(CODEX.sign_ins["device"], DeviceSignIn)
    assert CODEX.consent is None
    assert "only your own account" in CODEX.notice
    assert CODEX.subscription


def test_its_tokens_go_to_openai_alone():
    assert CODEX.hosts == {"auth.openai.com", "chatgpt.com"}
    assert CODEX.base_url == "https://chatgpt.com/backend-api/codex"
    other = codex(CodexEndpoints("https://i.test", "https://a.test/backend-api"))
    assert other.hosts == {"i.test", "a.test"}


@pytest.mark.parametrize(
    ("plan", "has", "lacks"),
    [
        ("free", "gpt-5.5", "gpt-5.4"),
        ("team", "gpt-5.6-sol", "gpt-5.3-codex-spark"),
        ("plus", "gpt-5.3-codex-spark", "gpt-4.1"),
        ("unheard-of", "gpt-5.3-codex-spark", "gpt-4.1"),
        ("", "gpt-5.3-codex-spark", "gpt-4.1"),
    ],
)
def test_its_models_are_known_by_plan_without_asking(plan, has, lacks):
    listed = {row.id for row in known_models(Credential("t", "oauth", facts={"plan": plan}))}
    assert has in listed
    assert lacks not in listed
    assert all(CODEX.serves(name) for name in listed)


def test_without_a_credential_all_models_are_known():
    assert len(known_models(None)) == len({row.id for row in known_models(None)}) == 7


@pytest.mark.parametrize("model", ["gpt-4.1", "gpt-4o", "o3", "chatgpt-4o-latest", "claude-x"])
def test_models_of_the_api_alone_are_not_its_family(model):
    assert not CODEX.serves(model)


def test_every_call_names_workspace_and_caller():
    made = CODEX.prepare(
        HttpRequest("GET", "https://a.test"), CREDENTIAL, "openai_responses", GENUINE
    )
    fields = {key.lower(): value for key, value in made.headers}
    assert fields == {
        "authorization": "Bearer t",
        "chatgpt-account-id": "acc-1",
        "originator": "dragoman",
        "user-agent": USER_AGENT,
    }


# The head of a call


def test_another_client_goes_under_our_name_and_shows_nothing_of_its_head():
    headers = (("User-Agent", "opencode/1"), ("x-session-id", "s"), ("originator", "opencode"))
    shaped = shape(asked(headers=headers, session="s" * 48))
    fields = dict(shaped.headers)
    key = json.loads(shaped.body)["prompt_cache_key"]
    assert fields == {
        "accept": "text/event-stream",
        "originator": "dragoman",
        "user-agent": USER_AGENT,
        "session-id": key,
    }
    assert shaped.always_streams


def test_without_a_session_none_is_made_up():
    assert "session-id" not in dict(shape(asked()).headers)


def test_codex_itself_keeps_its_name_and_its_turns():
    shaped = shape(asked({"model": "m", "input": "x", "prompt_cache_key": "k"}, GENUINE))
    assert dict(shaped.headers) == {
        "accept": "text/event-stream",
        "originator": "codex_exec",
        "user-agent": "codex_exec/0.169.0 (Debian 13; x86_64) unknown",
        "session-id": "0192-session",
        "thread-id": "0192-thread",
        "x-client-request-id": "0192-thread",
        "x-codex-turn-metadata": '{"turn":1}',
        "x-codex-window-id": "w:0",
        "x-codex-beta-features": "a,b",
        "version": "0.169.0",
    }


@pytest.mark.parametrize(
    ("originator", "agent", "genuine"),
    [
        ("codex_cli_rs", "codex_cli_rs/0.169.0 (x)", True),
        ("codex-tui", "codex-tui/0.146.0", True),
        ("codex_vscode", "codex_vscode/0.1", True),
        ("Codex Desktop", "Codex Desktop/1.0 (x)", True),
        ("codex_exec", "curl/8", False),
        ("codex_exec", "", False),
        ("", "codex_exec/1", False),
        ("opencode", "opencode/1", False),
        ("my codex", "my codex/1", False),
    ],
)
def test_codex_is_known_by_a_name_that_its_agent_repeats(originator, agent, genuine):
    headers = (("Originator", originator), ("user-agent", agent))
    assert is_genuine(headers) is genuine


@pytest.mark.parametrize("value", ["true", "1", "True"])
def test_the_light_form_has_no_parallel_calls(value):
    tools = [{"type": "function", "name": "a", "parameters": {}}]
    given = {"model": "m", "input": "x", "tools": tools}
    headers = (*GENUINE, ("X-OpenAI-Internal-Codex-Responses-Lite", value))
    shaped = shape(asked(given, headers))
    assert json.loads(shaped.body)["parallel_tool_calls"] is False
    assert dict(shaped.headers)["x-openai-internal-codex-responses-lite"] == value


@pytest.mark.parametrize(
    ("operation", "path", "sent", "accept"),
    [
        ("generate", "/v1/responses", "/responses", "text/event-stream"),
        ("compact", "/v1/responses/compact", "/responses/compact", "application/json"),
        ("generate", "/responses", "/responses", "text/event-stream"),
    ],
)
def test_the_path_has_no_version(operation, path, sent, accept):
    shaped = shape(asked(operation=operation, path=path))
    assert shaped.path == sent
    assert dict(shaped.headers)["accept"] == accept
    assert shaped.always_streams is (operation == "generate")


# Refusals


def failure(status, body, **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = (("date", formatdate(NOW, usegmt=True)), *headers.items())
    reply = HttpReply(status, fields, raw)
    return classify(DIALECT.decode_failure(status, fields, raw), reply)


@pytest.mark.parametrize("status", [429, 403, 400, 503])
@pytest.mark.parametrize(
    "reset", [{"resets_at": NOW + 900}, {"resets_in_seconds": 900}, {"resets_in_seconds": "900"}]
)
def test_a_spent_window_rests_the_account_until_its_reset(status, reset):
    error = {"type": "usage_limit_reached", "message": "The usage limit has been reached"}
    told = failure(status, {"error": {**error, "plan_type": "plus", **reset}})
    assert (told.status, told.kind, told.scope) == (429, "quota", "account")
    assert told.retry_after_s == 900
    assert cooldown_for(told, 0).whole_account
    assert may_try_next(told)
    assert "of the plus plan" in told.hint


def test_a_model_at_capacity_is_a_short_rest_of_the_model():
    text = "Selected model is at capacity. Please try a different model."
    told = failure(400, {"error": {"message": text}})
    rest = cooldown_for(told, 0)
    assert (rest.whole_account, rest.seconds) == (False, 5.0)
    assert may_try_next(told)


@pytest.mark.parametrize(
    "text",
    [
        "The 'gpt-5.4' model is not supported when using Codex with a ChatGPT account.",
        "This model is not available for your plan.",
    ],
)
@pytest.mark.parametrize("status", [400, 422])
def test_a_model_that_the_plan_lacks_is_left_alone_for_half_a_day(text, status):
    told = failure(status, {"detail": text})
    rest = cooldown_for(told, 0)
    assert told.code == "model_not_in_plan"
    assert (rest.whole_account, rest.seconds) == (False, 43_200.0)
    assert may_try_next(told)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, {"code": "model_not_found", "message": "The model `x` does not exist"}),
        (400, {"code": "cyber_policy", "message": "no"}),
        (400, {"code": "context_length_exceeded", "message": "too long"}),
        (413, {"message": "too large"}),
        (400, {"code": "invalid_encrypted_content", "message": "could not be verified"}),
        (400, {"code": "previous_response_not_found", "message": "x"}),
        (400, {"message": "Store must be set to false"}),
    ],
)
def test_faults_of_a_request_go_back_and_rest_nothing(status, error):
    told = failure(status, {"error": error})
    assert not may_try_next(told)
    assert cooldown_for(told, 0) is None
    assert told.status == status


@pytest.mark.parametrize(
    "error",
    [
        {"code": "token_invalidated", "message": "Your authentication token has been invalidated."},
        {"code": "token_expired", "message": "expired"},
        {"type": "authentication_error", "message": "invalid or expired token"},
    ],
)
def test_a_bad_token_speaks_of_the_account_and_others_may_serve(error):
    told = failure(401, {"error": error})
    assert (told.kind, told.scope) == ("authentication", "account")
    assert may_try_next(told)
    assert not told.final


def test_a_suspended_account_is_final():
    told = failure(403, {"error": {"message": "Your account has been suspended."}})
    assert told.final
    assert (told.code, told.retry) == (NOT_ALLOWED, Retry.NEVER)
    assert "API key" in told.hint


def test_a_bot_check_is_waited_for_and_says_nothing_of_the_account():
    page = b"<html><title>Just a moment...</title>"
    told = failure(403, page, **{"content-type": "text/html"})
    assert (told.code, told.retry_after_s, told.scope) == ("bot_check", 10.0, "service")
    assert may_try_next(told)


def test_a_workspace_that_is_not_paid_for_says_what_to_do():
    told = failure(402, {"detail": {"code": "deactivated_workspace"}})
    assert "workspace" in told.hint
    assert cooldown_for(told, 0).whole_account


def test_other_failures_stay_as_they_were_decoded():
    decoded = DIALECT.decode_failure(500, (), b"{}")
    assert classify(decoded, HttpReply(500)) is decoded


# Over sockets


class Desk:
    """The service and a signed-in account of it."""

    def __init__(self, chunks="whole"):
        self.clock = Clock(NOW)
        self.identity = ChatGptIdentity(self.clock)
        self.backend = CodexBackend(self.identity)
        self.fake = Upstream(self.identity, self.backend, chunks=chunks)

    async def __aenter__(self):
        await self.fake.__aenter__()
        self.driving = driving(codex_at(self.fake.url), self.clock)
        self.drive = await self.driving.__aenter__()
        self.held = self.identity.grant()
        facts = {"account_id": self.held.person.account}
        self.credential = Credential(self.held.access, "oauth", facts=facts)
        return self

    async def __aexit__(self, *error):
        await self.driving.__aexit__(*error)
        await self.fake.__aexit__(*error)

    async def ask(self, given, headers=(), operation="generate", path="/v1/responses"):
        return await self.drive.call(
            "gpt-5.5",
            given,
            headers=headers,
            operation=operation,
            path=path,
            credential=self.credential,
            session="s" * 48,
        )


def read_stream(raw):
    events = [json.loads(line[6:]) for line in raw.split(b"\n") if line.startswith(b"data: ")]
    return [event["type"] for event in events], events


UNRULY = {
    "model": "gpt-5.5",
    "input": [
        {"role": "system", "content": "Be kind."},
        {"type": "message", "id": "item_1", "role": "user", "content": "hi"},
    ],
    "max_output_tokens": 50,
    "temperature": 0.2,
    "user": "me",
    "service_tier": "flex",
    "stream": False,
    "store": True,
    "tools": [
        {"type": "function", "name": "mcp__server__" + "x" * 60, "parameters": {"type": "object"}},
        {"type": "web_search_preview"},
    ],
}


async def test_the_service_takes_a_body_that_broke_its_rules():
    async with Desk() as desk:
        shaped, reply = await desk.ask(UNRULY)
        call = desk.fake.requests[-1]
    assert reply.status == 200, reply.body
    kinds, events = read_stream(reply.body)
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "codex.rate_limits",
        "codex.response.metadata",
    ]
    assert kinds[-1] == "response.completed"
    assert events[-1]["response"]["output"] == []
    assert shaped.always_streams
    assert call.headers["chatgpt-account-id"] == desk.held.person.account
    assert call.headers["session-id"] == call.json["prompt_cache_key"]
    assert call.path == "/backend-api/codex/responses"


async def test_a_whole_answer_is_in_the_stream_of_an_empty_output():
    async with Desk() as desk:
        _, reply = await desk.ask({"model": "gpt-5.5", "input": "FAKE:text=hello there;"})
    _, events = read_stream(reply.body)
    done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
    assert done[-1]["content"][0]["text"] == "hello there"


async def test_codex_itself_is_taken_under_its_own_name():
    async with Desk() as desk:
        _, reply = await desk.ask(
            {"model": "gpt-5.5", "input": "x", "client_metadata": {"a": "b"}}, GENUINE
        )
        call = desk.fake.requests[-1]
    assert reply.status == 200
    assert call.headers["originator"] == "codex_exec"
    assert call.headers["x-codex-turn-metadata"] == '{"turn":1}'
    assert call.json["client_metadata"] == {"a": "b"}
    assert "theirs" not in str(dict(call.headers))


async def test_a_compaction_is_answered_whole():
    async with Desk() as desk:
        _, reply = await desk.ask(UNRULY, operation="compact", path="/v1/responses/compact")
    assert reply.status == 200, reply.body
    assert json.loads(reply.body)["output"][0]["type"] == "compaction"


async def test_the_service_lists_its_models():
    async with Desk() as desk:
        provider = desk.drive.provider
        request = provider.prepare(
            provider.list_models(provider.base_url), desk.credential, "openai_responses", ()
        )
        reply = await desk.drive.client.fetch(request, Limits())
        rows = provider.parse_models(reply)
    assert {row.id for row in rows} == set(MODELS)
    assert all(row.context == 272_000 for row in rows)


async def test_a_spent_plan_is_read_from_the_service():
    async with Desk() as desk:
        desk.backend.exhausted = True
        _, reply = await desk.ask({"model": "gpt-5.5", "input": "x"})
        quota = desk.drive.provider.read_quota(reply.headers, NOW)
    decoded = DIALECT.decode_failure(reply.status, reply.headers, reply.body)
    told = classify(decoded, reply)
    assert (told.status, told.kind, told.retry_after_s) == (429, "quota", 3_600)
    assert [window.name for window in quota.windows] == ["5h", "7d"]


async def test_a_model_that_the_plan_lacks_is_read_from_the_service():
    async with Desk() as desk:
        desk.backend.models_of_plan = {"gpt-5.4"}
        _, reply = await desk.ask({"model": "gpt-5.5", "input": "x"})
    told = classify(DIALECT.decode_failure(reply.status, reply.headers, reply.body), reply)
    assert told.code == "model_not_in_plan"


@pytest.mark.parametrize("chunks", ["whole", "bytes", "random:3"])
@pytest.mark.parametrize(
    ("trouble", "wait_s"), [("overloaded", None), ("rate_limit", 20.0), ("quota", 3_600.0)]
)
async def test_trouble_inside_the_stream_is_seen_before_any_content(chunks, trouble, wait_s):
    async with Desk(chunks) as desk:
        text = f"FAKE:empty200error={trouble};"
        _, reply = await desk.ask({"model": "gpt-5.5", "input": text})
    assert reply.status == 200
    kinds, _ = read_stream(reply.body)
    assert kinds == ["codex.rate_limits", "codex.response.metadata", "error"]
    decoder = DIALECT.stream_decoder("openai")
    events = [*decoder.feed(reply.body), *decoder.close()]
    told = classify(events[-1].failure, HttpReply(200))
    assert (told.kind, told.retry_after_s) == (trouble, wait_s)
    assert may_try_next(told)
