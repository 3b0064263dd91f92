import json
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from app.accounts.account import Account
from app.canonical.failure import Failure
from app.dialects import DIALECTS
from app.errors import AccountError, RequestError, Retry, UpstreamError
from app.gateway.asking import prepare
from app.gateway.resources import Resources
from app.http import HttpReply, Limits
from app.providers.base import Credential
from app.providers.copilot import COPILOT, DIRECT, EDITOR, GITHUB, classify, copilot
from app.providers.github import GitHub
from app.providers.shaping import Asked
from app.providers.signin import NOT_ALLOWED, SIGN_IN_AGAIN, Answered
from app.routing.catalog import Catalog
from app.routing.failover import cooldown_for, may_try_next
from tests.fakes.basic import Clock
from tests.fakes.copilot import Copilot
from tests.fakes.github import OPENCODE, User
from tests.fakes.github import GitHub as FakeGitHub
from tests.fakes.service import bearer
from tests.fakes.upstream import Upstream
from tests.gateway.scripted import Desk, ask_body, gemini_path
from tests.providers.github_driving import driving

LIMITS = Limits(2, 5, 5, 10)
DATE = ("date", "Sat, 21 Nov 2026 16:00:00 GMT")


class World:
    """GitHub and Copilot behind one address, a provider that calls there, and who drives it."""

    def __init__(self, url, clock, github, upstream, drive, provider):
        self.url = url
        self.clock = clock
        self.github = github
        self.upstream = upstream
        self.drive = drive
        self.provider = provider
        self.copilot = next(s for s in upstream.services if s.name == "copilot")

    async def sign_in(self, way, user=None, host=""):
        self.drive.on_show = lambda shown: self.github.approve(shown.user_code, user)
        return await self.drive.run(self.provider.sign_ins[way].run(host))

    async def send(self, request):
        return await self.drive.client.fetch(request, LIMITS)

    async def call(self, credential, dialect, body, client_headers=()):
        """Send a call the way the gateway does."""
        account = Account("copilot/x", self.provider, "x", self.provider.base_url, credential)
        gateway = Resources(DIALECTS, None, None, self.clock, str, None)
        raw = json.dumps(body).encode()
        path = DIALECTS[dialect].path("generate", body["model"], stream=body.get("stream", False))
        prepared = await prepare(
            gateway,
            account,
            dialect,
            "generate",
            body["model"],
            path,
            raw,
            stream=body.get("stream", False),
            client_headers=client_headers,
        )
        return await self.send(prepared.request)

    async def models(self, credential):
        request = self.provider.list_models(self.provider.base_url, credential)
        request = self.provider.prepare(request, credential, "openai_chat", ())
        return self.provider.parse_models(await self.send(request))


@pytest.fixture
def world(io_loop):
    """Return a function that opens the world."""
    clock = Clock()
    github = FakeGitHub(clock)
    service = Copilot(github)

    class Opened:
        async def __aenter__(self):
            self.upstream = Upstream(github, service)
            await self.upstream.start()
            url = self.upstream.url
            github.base = url
            here = GitHub(
                "github.com",
                url,
                url,
                url,
                plans=(("business", f"{url}/business"),),
                apis=(("api.individual.githubcopilot.com", url),),
            )
            provider = copilot(here, lambda domain: replace(here, host=domain))
            self.driving = driving(clock, provider)
            drive = await self.driving.__aenter__()
            return World(url, clock, github, self.upstream, drive, provider)

        async def __aexit__(self, *args):
            await self.driving.__aexit__(*args)
            await self.upstream.stop()
            assert not self.upstream.faulty

    return Opened


# Facts


def test_tokens_go_to_the_hosts_of_github_and_copilot_alone():
    assert COPILOT.hosts == {
        "github.com",
        "api.github.com",
        "api.githubcopilot.com",
        "api.individual.githubcopilot.com",
        "api.business.githubcopilot.com",
        "api.enterprise.githubcopilot.com",
    }


def test_only_the_editor_family_carries_an_editors_fields():
    direct = {key.lower(): value for key, value in DIRECT.headers}
    assert direct["user-agent"].startswith("dragoman/")
    assert set(direct) == {"user-agent", "openai-intent"}
    editor = {key.lower() for key, _ in EDITOR.headers}
    assert editor == {
        "user-agent",
        "editor-version",
        "editor-plugin-version",
        "copilot-integration-id",
        "openai-intent",
    }


def test_the_user_is_told_what_to_expect():
    assert "not promised" in COPILOT.notice
    assert COPILOT.subscription


# Signing in


async def test_the_direct_family_signs_in_once_and_for_all(world):
    async with world() as w:
        granted = await w.sign_in("device", User(login="mona", id=7, plan="individual_pro"))
        credential = granted.credential
        assert credential.secret in w.github.tokens
        assert (credential.kind, credential.expires_at, credential.renewal) == ("oauth", None, "")
        assert credential.facts == {"family": "direct", "host": "github.com", "api": w.url}
        identity = granted.identity
        assert (identity.id, identity.name, identity.plan) == ("7", "mona", "individual_pro")


async def test_the_editor_family_exchanges_its_token(world):
    async with world() as w:
        granted = await w.sign_in("device_editor")
        credential = granted.credential
        assert credential.secret in w.github.exchanged
        assert credential.renewal in w.github.tokens
        assert credential.secrets == (credential.secret, credential.renewal)
        assert credential.expires_at - w.clock.now == 1_800
        assert credential.facts["api"] == w.url
        assert credential.facts["family"] == "editor"


@pytest.mark.parametrize("way", ["device", "device_editor"])
async def test_where_calls_go_is_told_by_the_plan(world, way):
    async with world() as w:
        user = User(plan="business", proxy="proxy.unknown.example.com")
        granted = await w.sign_in(way, user)
        assert granted.credential.facts["api"] == f"{w.url}/business"


async def test_a_token_that_points_elsewhere_is_not_followed(world):
    async with world() as w:
        granted = await w.sign_in("device_editor", User(proxy="proxy.evil.example.com"))
        assert granted.credential.facts["api"] == w.url


@pytest.mark.parametrize("way", ["device", "device_editor"])
async def test_an_organisations_own_server_is_named_in_the_credential(world, way):
    async with world() as w:
        granted = await w.sign_in(way, host="https://company.ghe.com/")
        assert granted.credential.facts["host"] == "company.ghe.com"
        assert granted.identity.id.endswith("@company.ghe.com")
        if way == "device_editor":
            renewed = await w.drive.run(w.provider.renew(granted.credential))
            assert renewed.facts["host"] == "company.ghe.com"


def test_a_wrong_server_is_refused_before_anything_is_sent():
    with pytest.raises(RequestError):
        next(COPILOT.sign_ins["device"].run("no server"))


async def test_an_account_without_a_seat_is_told_so_in_the_editor_family(world):
    async with world() as w:
        with pytest.raises(AccountError, match="do not have access") as caught:
            await w.sign_in("device_editor", User(seat=False))
        assert caught.value.code == NOT_ALLOWED


async def test_a_plan_that_cannot_be_learned_does_not_cost_the_sign_in(world):
    async with world() as w:
        granted = await w.sign_in("device", User(seat=False))
        assert granted.identity.plan == ""
        assert granted.credential.facts["api"] == w.url


def after_the_name():
    """Return the steps of a sign-in up to the question for the plan."""
    steps = COPILOT.sign_ins["device"].run("")
    next(steps)
    begun = b'{"device_code":"d","user_code":"u"}'
    steps.send(Answered(HttpReply(200, (), begun), 0.0))
    steps.send(Answered(HttpReply(0), 0.0))
    steps.send(Answered(HttpReply(0), 8.0))
    steps.send(Answered(HttpReply(200, (), b'{"access_token":"gho_x"}'), 8.0))
    asked = steps.send(Answered(HttpReply(200, (), b'{"id":1,"login":"mona"}'), 8.0))
    assert asked.url == "https://api.github.com/copilot_internal/user"
    return steps


def test_a_broken_network_does_not_cost_a_sign_in_that_is_through():
    with pytest.raises(StopIteration) as stopped:
        after_the_name().throw(UpstreamError("gone"))
    assert stopped.value.value.credential.secret == "gho_x"


def test_a_token_that_is_revoked_at_once_does():
    with pytest.raises(AccountError) as caught:
        after_the_name().send(Answered(HttpReply(401), 8.0))
    assert caught.value.code == SIGN_IN_AGAIN


# Renewing


async def test_renewing_exchanges_the_github_token_again(world):
    async with world() as w:
        old = (await w.sign_in("device_editor", User(plan="business"))).credential
        w.clock.advance(1_500)
        new = await w.drive.run(w.provider.renew(old))
        assert new.secret != old.secret
        assert new.renewal == old.renewal
        assert new.expires_at == old.expires_at + 1_500
        assert new.facts == old.facts
        w.clock.advance(1_000)
        assert {m.id for m in await w.models(new)}
        expired = await w.send(
            w.provider.prepare(w.provider.list_models(w.url, old), old, "openai_chat", ())
        )
        assert expired.status == 401


async def test_a_wrong_clock_here_does_not_make_a_new_token_old(world):
    async with world() as w:
        steps = w.provider.renew(Credential("", "oauth", 0, "ghu_x", {"family": "editor"}))
        next(steps)
        body = b'{"token":"tid=1","expires_at":5,"refresh_in":1500}'
        with pytest.raises(StopIteration) as stopped:
            steps.send(Answered(HttpReply(200, (), body), 1_000_000.0))
        assert stopped.value.value.expires_at == 1_000_000.0 + 1_500 + w.provider.renew_lead_s


async def test_a_revoked_github_token_means_signing_in_again(world):
    async with world() as w:
        old = (await w.sign_in("device_editor")).credential
        w.github.revoke(old.renewal)
        with pytest.raises(AccountError) as caught:
            await w.drive.run(w.provider.renew(old))
        assert caught.value.code == SIGN_IN_AGAIN


async def test_a_seat_that_was_taken_away_is_a_refusal(world):
    async with world() as w:
        user = User()
        old = (await w.sign_in("device_editor", user)).credential
        user.seat = False
        with pytest.raises(AccountError) as caught:
            await w.drive.run(w.provider.renew(old))
        assert caught.value.code == NOT_ALLOWED


def test_the_direct_family_has_nothing_to_renew():
    with pytest.raises(AccountError) as caught:
        next(COPILOT.renew(Credential("gho_x", "oauth", facts={"family": "direct"})))
    assert caught.value.code == SIGN_IN_AGAIN


async def test_an_answer_without_a_token_is_a_failure(world):
    async with world() as w:
        old = (await w.sign_in("device_editor")).credential
        steps = w.provider.renew(old)
        next(steps)
        with pytest.raises(UpstreamError):
            steps.send(Answered(HttpReply(200, (), b"{}"), 0.0))


# Calls


@pytest.mark.parametrize("way", ["device", "device_editor"])
async def test_the_list_names_the_dialects_of_each_model(world, way):
    async with world() as w:
        credential = (await w.sign_in(way)).credential
        facts = {m.id: m for m in await w.models(credential)}
        assert facts["gpt-5.2-codex"].dialects == ("openai_responses",)
        assert facts["claude-opus-4.6"].dialects == ("anthropic",)
        assert facts["claude-sonnet-4.5"].dialects == ("anthropic", "openai_chat")
        assert facts["grok-code-fast-1"].dialects == ()
        assert set(facts).isdisjoint({"gpt-4o-old", "claude-opus-41", "realtime-1"})


@pytest.mark.parametrize("way", ["device", "device_editor"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "client"),
    [
        ("gpt-4.1", "openai_chat"),
        ("gpt-5.2-codex", "openai_chat"),
        ("claude-opus-4.6", "openai_responses"),
        ("claude-sonnet-4.5", "anthropic"),
        ("gemini-3-pro", "anthropic"),
        ("grok-code-fast-1", "openai_responses"),
    ],
)
async def test_each_model_is_called_where_it_is_served(world, way, stream, model, client):
    async with world() as w:
        credential = (await w.sign_in(way)).credential
        facts = {m.id: m for m in await w.models(credential)}
        dialect = w.provider.dialect_for(model, client, facts[model])
        prompt = [{"role": "user", "content": "say hello"}]
        body = {
            "openai_chat": {"messages": prompt, "max_tokens": 50, "service_tier": "auto"},
            "openai_responses": {"input": prompt, "service_tier": "auto"},
            "anthropic": {"messages": prompt, "max_tokens": 50},
        }[dialect]
        reply = await w.call(credential, dialect, {"model": model, "stream": stream, **body})
        assert reply.status == 200, reply.body
        assert w.copilot.initiators == ["user"]
        if dialect == "openai_chat" and stream:
            assert b'"usage":{' in reply.body


@pytest.mark.parametrize(
    ("model", "client", "dialect"),
    [
        ("gpt-5.2", "openai_chat", "openai_responses"),
        ("gpt-5-mini", "openai_responses", "openai_chat"),
        ("claude-sonnet-4.5", "openai_chat", "anthropic"),
        ("claude-3.5-sonnet", "anthropic", "openai_chat"),
        ("gpt-4.1", "openai_responses", "openai_chat"),
        ("gemini-3-pro", "gemini", "openai_chat"),
    ],
)
def test_a_model_without_a_line_is_called_by_its_name(model, client, dialect):
    assert COPILOT.dialect_for(model, client) == dialect


@pytest.mark.parametrize("way", ["device", "device_editor"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("client", ["openai_chat", "openai_responses", "anthropic", "gemini"])
async def test_every_client_reaches_every_model_through_the_gateway(world, way, stream, client):
    async with world() as w:
        credential = (await w.sign_in(way)).credential
        listed = {"copilot/x": {m.id: m for m in await w.models(credential)}}
        account = Account("copilot/x", w.provider, "x", w.provider.base_url, credential)
        desk = Desk(account, catalog=Catalog(listed), send=w.drive.client.send)
        for model in ("gpt-4.1", "gpt-5-mini", "gpt-5.2-codex", "claude-opus-4.6", "gemini-3-pro"):
            path = gemini_path(model, stream=stream) if client == "gemini" else None
            body = ask_body(client, model, stream=stream)
            seen = await desk.ask(body, client, path, "alt=sse" if path and stream else "")
            assert seen.status == 200, (model, seen.body)
            assert desk.outcome.failure is None
        assert w.copilot.initiators == ["user"] * 5


async def test_what_follows_from_a_turn_in_a_tool_loop_is_the_agents(world):
    async with world() as w:
        credential = (await w.sign_in("device")).credential
        listed = {"copilot/x": {m.id: m for m in await w.models(credential)}}
        account = Account("copilot/x", w.provider, "x", w.provider.base_url, credential)
        desk = Desk(account, catalog=Catalog(listed), send=w.drive.client.send)
        tool = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
        used = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
        result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "42"}
        asked = {"role": "user", "content": "look"}
        turns = [
            asked,
            {"role": "assistant", "content": [used]},
            {"role": "user", "content": [result]},
        ]
        for model in ("gpt-4.1", "gpt-5.2-codex", "claude-opus-4.6"):
            for messages in (turns[:1], turns):
                body = {"model": model, "max_tokens": 50, "tools": [tool], "messages": messages}
                seen = await desk.ask(body, "anthropic")
                assert seen.status == 200, seen.body
        assert w.copilot.initiators == ["user", "agent"] * 3


async def test_a_call_carries_the_bearer_of_its_family_and_no_other(world):
    async with world() as w:
        direct = (await w.sign_in("device")).credential
        editor = (await w.sign_in("device_editor")).credential
        body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}]}
        for credential in (direct, editor):
            assert (await w.call(credential, "openai_chat", body)).status == 200
            assert bearer(w.upstream.requests[-1].headers) == credential.secret


async def test_the_callers_own_fields_do_not_travel(world):
    async with world() as w:
        credential = (await w.sign_in("device")).credential
        body = {
            "model": "claude-opus-4.6",
            "max_tokens": 5,
            "messages": [{"role": "user", "content": "hi"}],
        }
        sent = (
            ("x-api-key", "sk-caller"),
            ("authorization", "Bearer caller"),
            ("anthropic-beta", "claude-code-20250219,interleaved-thinking-2025-05-14"),
            ("user-agent", "claude-cli/2"),
        )
        assert (await w.call(credential, "anthropic", body, sent)).status == 200
        seen = w.upstream.requests[-1].headers
        assert "x-api-key" not in seen
        assert seen["user-agent"].startswith("dragoman/")
        assert seen["anthropic-beta"] == "interleaved-thinking-2025-05-14"


@pytest.mark.parametrize(
    ("host", "base"),
    [("github.com", ""), ("company.ghe.com", "https://copilot-api.company.ghe.com")],
)
def test_a_token_from_elsewhere_goes_to_the_server_that_gave_it(host, base):
    facts = {"family": "direct", "host": host}
    credential = Credential("gho_x", "oauth", facts=facts)
    call = Asked(
        "openai_chat", "generate", "gpt-4.1", b'{"messages":[]}', False, "/", (), credential
    )
    assert COPILOT.shape(call).base_url == base
    models = COPILOT.list_models(COPILOT.base_url, credential).url
    assert models == f"{base or COPILOT.base_url}/models"


def test_a_call_without_a_sign_in_is_shaped_all_the_same():
    call = Asked("openai_chat", "generate", "gpt-4.1", b'{"messages":[]}', False, "/", (), None)
    shaped = COPILOT.shape(call)
    assert (shaped.base_url, shaped.headers[: len(DIRECT.headers)]) == ("", DIRECT.headers)
    assert COPILOT.list_models("https://x").url == "https://x/models"


# What refusals mean


def refused(status, code=None, *headers, body=b'{"error":{}}', kind="invalid_request"):
    failure = Failure(status, "words", kind, code)
    return classify(failure, HttpReply(status, headers, body))


async def test_a_spent_plan_rests_until_the_month_ends_and_leaves_other_models_alone(world):
    async with world() as w:
        credential = (await w.sign_in("device")).credential
        w.copilot.spent = True
        body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}]}
        reply = await w.call(credential, "openai_chat", body)
        found = DIALECTS["openai_chat"].decode_failure(reply.status, (DATE,), reply.body)
        failure = w.provider.classify(found, HttpReply(reply.status, (DATE,), reply.body))
        assert (failure.kind, failure.scope) == ("quota", "model")
        assert failure.retry_after_s == 8 * 3600 + 9 * 86_400
        assert may_try_next(failure)
        assert not cooldown_for(failure, 0).whole_account


def test_a_stated_wait_of_a_spent_plan_is_believed():
    failure = replace(Failure(402, "w", "payment"), retry_after_s=60.0)
    assert classify(failure, HttpReply(402, (DATE,))).retry_after_s == 60.0


@pytest.mark.parametrize("code", ["quota_exceeded", "free_quota_exceeded"])
def test_a_spent_plan_is_known_by_its_code_under_any_status(code):
    assert refused(429, code).kind == "quota"


async def test_a_wrong_endpoint_is_not_held_against_the_account(world):
    async with world() as w:
        credential = (await w.sign_in("device")).credential
        body = {"model": "gpt-5.2-codex", "messages": [{"role": "user", "content": "hi"}]}
        reply = await w.call(credential, "openai_chat", body)
        found = DIALECTS["openai_chat"].decode_failure(reply.status, reply.headers, reply.body)
        failure = w.provider.classify(found, reply)
        assert failure.code == "unsupported_api_for_model"
        assert failure.retry is Retry.NEXT_ACCOUNT
        assert cooldown_for(failure, 0) is None


def test_a_model_outside_the_plan_is_named_with_the_page_that_helps():
    assert "settings/copilot" in refused(400, "model_not_supported").hint


def test_a_prompt_that_is_too_long_is_told_in_the_words_that_clients_know():
    failure = refused(400, "model_max_prompt_tokens_exceeded")
    assert (failure.kind, failure.code) == ("context_full", "context_length_exceeded")
    assert (failure.native, failure.retry) == (None, Retry.NEVER)


def test_a_forbidden_account_is_left_alone_for_good():
    failure = refused(403, kind="permission")
    assert failure.final
    assert not may_try_next(failure)
    assert cooldown_for(failure, 0).whole_account


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ((("content-type", "text/html"),), b"x"),
        ((), b"<html>blocked by the network</html>"),
        ((("retry-after", "5"),), b"{}"),
    ],
)
def test_a_403_that_is_not_copilots_word_on_the_account_is_not_final(headers, body):
    assert not refused(403, None, *headers, body=body, kind="permission").final


def test_other_failures_stay_as_they_are():
    failure = Failure(500, "w", "server")
    assert classify(failure, HttpReply(500)) is failure


# What is left


@pytest.mark.parametrize("way", ["device", "device_editor"])
async def test_what_is_left_is_asked_with_the_github_token(world, way):
    async with world() as w:
        credential = (await w.sign_in(way, User(plan="business"))).credential
        quota = await w.drive.run(w.provider.quota_steps(credential))
        (premium,) = quota.windows
        assert (premium.name, premium.used_percent) == ("premium", pytest.approx(20.0))
        assert (premium.left, premium.limit, premium.exhausted) == (240, 300, False)
        assert premium.resets_at == 1_796_083_200.0
        assert (quota.plan, quota.source, quota.note) == ("business", "usage call", "")
        sent = w.upstream.requests[-1].headers["authorization"].removeprefix("token ")
        assert sent in w.github.tokens


@pytest.mark.parametrize(
    ("overage", "note"), [(False, "still answer"), (True, "further ones are billed")]
)
async def test_spent_premium_requests_do_not_close_the_account(world, overage, note):
    async with world() as w:
        user = User(remaining=0, overage=overage)
        credential = (await w.sign_in("device", user)).credential
        quota = await w.drive.run(w.provider.quota_steps(credential))
        assert quota.windows[0].used_percent == 100.0
        assert not quota.windows[0].exhausted
        assert note in quota.note


async def test_a_plan_without_a_limit_shows_no_percentage(world):
    async with world() as w:
        credential = (await w.sign_in("device", User(unlimited=True))).credential
        assert (await w.drive.run(w.provider.quota_steps(credential))).windows == ()


def quota_of(**snapshots):
    steps = COPILOT.quota_steps(Credential("gho_x", "oauth", facts={"family": "direct"}))
    next(steps)
    body = json.dumps({"quota_snapshots": snapshots}).encode()
    with pytest.raises(StopIteration) as stopped:
        steps.send(Answered(HttpReply(200, (), body), 1.0))
    return stopped.value.value


def test_a_percentage_is_taken_where_there_are_no_numbers():
    premium, chat = quota_of(
        premium_interactions={"percent_remaining": 12.5, "entitlement": 0}, chat={"remaining": 3}
    ).windows
    assert (premium.used_percent, premium.left) == (87.5, None)
    assert (chat.used_percent, chat.left, chat.exhausted) == (None, 3, False)


async def test_a_spent_free_plan_is_closed():
    steps = COPILOT.quota_steps(Credential("gho_x", "oauth", facts={"family": "direct"}))
    asked = next(steps)
    assert urlsplit(asked.url).netloc in GITHUB.hosts
    body = {
        "quota_reset_date": "someday",
        "quota_snapshots": {"chat": {"entitlement": 50, "remaining": 0}, "completions": {}},
    }
    with pytest.raises(StopIteration) as stopped:
        steps.send(Answered(HttpReply(200, (), json.dumps(body).encode()), 1.0))
    (chat,) = stopped.value.value.windows
    assert (chat.name, chat.exhausted, chat.resets_at) == ("chat", True, None)


async def test_a_quota_call_that_is_refused_tells_why(world):
    async with world() as w:
        credential = Credential(w.github.grant(OPENCODE), "oauth", facts={"family": "direct"})
        w.github.revoke(credential.secret)
        with pytest.raises(AccountError) as caught:
            await w.drive.run(w.provider.quota_steps(credential))
        assert caught.value.code == SIGN_IN_AGAIN
