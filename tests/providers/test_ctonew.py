import json

import pytest

from app.canonical.failure import Failure
from app.dialects import DIALECTS
from app.errors import AccountError, Retry, TranslationError, UpstreamError
from app.http import HttpReply, HttpRequest, Limits
from app.providers.base import ModelFacts
from app.providers.credential import Credential
from app.providers.ctonew import CTONEW, classify, ctonew, parse_models
from app.providers.ctonew_session import Sites
from app.providers.shaping import Asked
from app.providers.signin import SIGN_IN_AGAIN, Answered
from app.routing.failover import cooldown_for
from tests.fakes.basic import Clock
from tests.fakes.clerk import Clerk
from tests.fakes.enginelabs import CtoNew, EngineLabs
from tests.providers.github_driving import driving

DATE = ("date", "Sat, 21 Nov 2026 16:00:00 GMT")
WEB = Credential(
    "jwt",
    "oauth",
    renewal="cookie",
    facts={"route": "web", "user_id": "user_1", "organization_id": "org_1"},
)
CLI = Credential("access", "oauth", renewal="refresh", facts={"route": "cli"})


def asked(body, credential, session=""):
    raw = json.dumps(body).encode()
    path = "/v1/chat/completions"
    return Asked(
        "openai_chat", "generate", body["model"], raw, False, path, (), credential, session
    )


BODY = {"model": "ctonew-gpt_5_4", "messages": [{"role": "user", "content": "hi"}]}


# Facts


def test_it_is_off_until_the_user_has_read_what_it_is():
    assert "against the terms" in CTONEW.consent.text
    assert CTONEW.consent.instead
    assert CTONEW.subscription


def test_tokens_go_to_clerk_and_enginelabs_alone():
    assert CTONEW.hosts == {"clerk.cto.new", "api.enginelabs.ai"}


def test_how_early_a_token_is_renewed_can_be_chosen():
    assert CTONEW.renew_lead_s == 10.0
    assert ctonew(renew_lead_s=20.0).renew_lead_s == 20.0


@pytest.mark.parametrize("model", ["ctonew-gpt_5_4", "ctonew-ClaudeSonnet4_5"])
def test_its_models_have_names_of_their_own(model):
    assert CTONEW.serves(model)


@pytest.mark.parametrize("model", ["gpt-5", "claude-sonnet-4-5"])
def test_models_of_other_services_are_not_taken(model):
    assert not CTONEW.serves(model)


# Models


def test_adapters_become_models_without_tools():
    rows = [
        {"key": "gpt_5_4", "model": "GPT-5.4", "enabled": True, "supportsImages": True},
        {"key": "off", "enabled": False},
        {"model": "no key"},
        "odd",
    ]
    (facts,) = parse_models(HttpReply(200, (), json.dumps({"chatAdapters": rows}).encode()))
    assert facts == ModelFacts(
        "ctonew-gpt_5_4", "GPT-5.4", dialects=("openai_chat",), tools=False, images=False
    )


def test_the_command_lines_models_have_the_same_names():
    body = b'{"data":[{"id":"gpt_5_4"},{"id":7}]}'
    (facts,) = parse_models(HttpReply(200, (), body))
    assert (facts.id, facts.tools) == ("ctonew-gpt_5_4", None)


@pytest.mark.parametrize("body", [b"{}", b"[]", b"<html>"])
def test_another_answer_is_no_list(body):
    with pytest.raises(UpstreamError):
        parse_models(HttpReply(200, (), body))


@pytest.mark.parametrize(
    ("credential", "path"), [(WEB, "/chat/adapters"), (CLI, "/models"), (None, "/chat/adapters")]
)
def test_each_way_has_its_list(credential, path):
    request = CTONEW.list_models(CTONEW.base_url, credential)
    assert request.url == f"https://api.enginelabs.ai{path}"


# Calls


def test_a_chat_of_the_page_becomes_a_job_for_the_half_that_carries_it_out():
    shaped = CTONEW.shape(asked(BODY, WEB))
    assert shaped.base_url == "ctonew+https://api.enginelabs.ai"
    assert shaped.path == "/engine-agent/chat"
    job = json.loads(shaped.body)
    assert job == {
        "model": "gpt_5_4",
        "prompt": "hi",
        "public": "ctonew-gpt_5_4",
        "user": "user_1",
        "organization": "org_1",
    }
    fields = dict(shaped.headers)
    assert fields["Cookie"] == "__client=cookie"
    assert fields["Origin"] == "https://cto.new"
    assert fields["User-Agent"].startswith("dragoman/")


def test_tools_are_refused_for_the_page_and_passed_to_the_command_line():
    body = {**BODY, "tools": [{"type": "function", "function": {"name": "f"}}]}
    with pytest.raises(TranslationError) as caught:
        CTONEW.shape(asked(body, WEB))
    assert (caught.value.status, caught.value.param) == (400, "tools")
    assert json.loads(CTONEW.shape(asked(body, CLI)).body)["tools"] == body["tools"]


def test_a_call_of_the_command_line_goes_to_its_endpoint_with_the_conversations_name():
    shaped = CTONEW.shape(asked(BODY, CLI, "conversation-1"))
    assert (shaped.base_url, shaped.path) == ("https://api.enginelabs.ai", "/chat/completions")
    assert json.loads(shaped.body) == {**BODY, "model": "gpt_5_4"}
    assert dict(shaped.headers) == {
        "x-session-id": "conversation-1",
        "x-session-affinity": "conversation-1",
    }
    assert CTONEW.shape(asked(BODY, CLI)).headers == ()


def test_without_a_sign_in_there_is_no_call():
    with pytest.raises(AccountError) as caught:
        CTONEW.shape(asked(BODY, None))
    assert caught.value.code == SIGN_IN_AGAIN


# Refusals


@pytest.mark.parametrize("status", [402, 403])
def test_a_limit_that_is_reached_rests_the_account_until_midnight(status):
    failure = classify(Failure(status, "w", "permission"), HttpReply(status, (DATE,)))
    assert (failure.kind, failure.scope, failure.retry) == ("quota", "account", Retry.NEXT_ACCOUNT)
    assert failure.retry_after_s == 8 * 3600
    assert cooldown_for(failure, 0).whole_account


def test_a_limit_without_a_clock_rests_for_a_while():
    failure = classify(Failure(402, "w", "payment"), HttpReply(402))
    assert failure.retry_after_s is None
    assert cooldown_for(failure, 0) is not None


def test_a_refusal_that_is_final_stays_final():
    failure = Failure(403, "account suspended", "permission", final=True)
    assert classify(failure, HttpReply(403)) is failure


def test_too_many_calls_rest_the_account():
    failure = classify(Failure(429, "w", "rate_limit", scope="model"), HttpReply(429))
    assert failure.scope == "account"


@pytest.mark.parametrize(("status", "kind"), [(401, "authentication"), (500, "server")])
def test_other_failures_stay_as_they_are(status, kind):
    failure = Failure(status, "w", kind)
    assert classify(failure, HttpReply(status)) is failure


# Over real sockets


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def labs(clock):
    return EngineLabs(Clerk(clock))


@pytest.fixture
def opened(clock, labs):
    class Opened:
        async def __aenter__(self):
            self.server = CtoNew(labs.clerk, labs)
            await self.server.start()
            provider = ctonew(Sites(clerk=self.server.url, api=self.server.url))
            self.driving = driving(clock, provider)
            return await self.driving.__aenter__()

        async def __aexit__(self, *args):
            await self.driving.__aexit__(*args)
            await self.server.stop()
            assert not self.server.faulty

    return Opened


async def signed_in(drive, labs, way="cookie"):
    typed = labs.clerk.sign_in().cookie if way == "cookie" else labs.cli_file()
    return (await drive.run(drive.provider.sign_ins[way].run(typed, ""))).credential


async def fetch(drive, request, credential):
    request = drive.provider.prepare(request, credential, "openai_chat", ())
    return await drive.client.fetch(request, Limits(2, 5, 5, 10))


@pytest.mark.parametrize("way", ["cookie", "cli"])
async def test_models_are_listed_by_either_way(opened, labs, way):
    async with opened() as drive:
        credential = await signed_in(drive, labs, way)
        request = drive.provider.list_models(drive.provider.base_url, credential)
        facts = drive.provider.parse_models(await fetch(drive, request, credential))
    assert facts[0].id == "ctonew-gpt_5_4"
    assert len(facts) == (2 if way == "cookie" else 3)


async def test_the_command_line_answers_a_chat(opened, labs):
    async with opened() as drive:
        credential = await signed_in(drive, labs, "cli")
        shaped = drive.provider.shape(asked(BODY, credential, "s-1"))

        request = HttpRequest(
            "POST",
            shaped.base_url + shaped.path,
            (("content-type", "application/json"), *shaped.headers),
            shaped.body,
        )
        reply = await fetch(drive, request, credential)
    assert reply.status == 200, reply.body
    assert labs.sessions == [("s-1", "s-1")]


async def test_what_is_left_is_told_by_day_and_week(opened, labs, clock):
    async with opened() as drive:
        quota = await drive.run(drive.provider.quota_steps(await signed_in(drive, labs)))
    day, week = quota.windows
    assert (day.name, day.used_percent, day.left, day.limit) == ("day", 10.0, 270, 300)
    assert clock.now < day.resets_at <= clock.now + 86_400
    assert (week.name, week.used_percent, week.resets_at) == ("week", 50.0, None)
    assert (day.exhausted, week.exhausted) == (False, False)


@pytest.mark.parametrize(
    ("usage", "spent"),
    [
        ({"dailyUsage": 300}, ["day"]),
        ({"weeklyUsage": 900}, ["week"]),
        ({}, ["day"]),
        ({"dailyLimit": None, "weeklyLimit": None}, ["day"]),
    ],
)
async def test_a_limit_that_is_reached_closes_its_window(opened, labs, usage, spent):
    labs.reached = True
    labs.usage |= usage
    async with opened() as drive:
        quota = await drive.run(drive.provider.quota_steps(await signed_in(drive, labs)))
    assert [window.name for window in quota.windows if window.exhausted] == spent


async def test_a_token_that_has_expired_gets_no_quota(opened, labs, clock):
    async with opened() as drive:
        credential = await signed_in(drive, labs)
        clock.advance(61)
        with pytest.raises(AccountError) as caught:
            await drive.run(drive.provider.quota_steps(credential))
    assert caught.value.code == SIGN_IN_AGAIN


def test_a_quota_call_that_fails_is_a_failure():
    steps = CTONEW.quota_steps(WEB)
    next(steps)
    with pytest.raises(UpstreamError, match="tell what is left"):
        steps.send(Answered(HttpReply(503), 0.0))


async def test_a_refused_token_is_read_as_such_by_the_dialect(opened, labs):
    async with opened() as drive:
        request = drive.provider.list_models(drive.provider.base_url, WEB)
        reply = await fetch(drive, request, WEB)
    found = DIALECTS["openai_chat"].decode_failure(reply.status, reply.headers, reply.body)
    assert classify(found, reply).kind == "authentication"
