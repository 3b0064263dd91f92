"""Scopes, limits and routes of keys, as the official SDKs of each dialect meet them."""

import json
import math
import time
import urllib.error
import urllib.request

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import errors, types

from tests.end_to_end.running import PUBLIC, dragoman, settings

MODEL = PUBLIC["openai_chat"]
OTHER = PUBLIC["anthropic"]


class Refused(Exception):
    """What a client was told: status, words, header fields, and the error's type or code."""

    def __init__(self, status, text, headers, kind):
        super().__init__(text)
        self.status, self.text, self.headers, self.kind = status, text, headers, kind


class Chat:
    def __init__(self, address, key):
        self.sdk = openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sdk.close()

    def ask(self, model=MODEL, *, stream=False):
        try:
            return self.answer(model, stream)
        except openai.APIStatusError as error:
            kind = error.body["type"] if isinstance(error.body, dict) else None
            raise Refused(
                error.status_code, str(error), error.response.headers, (type(error).__name__, kind)
            ) from error

    def answer(self, model, stream):
        messages = [{"role": "user", "content": "hi"}]
        if stream:
            with self.sdk.chat.completions.create(
                model=model, messages=messages, stream=True
            ) as chunks:
                return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        return self.sdk.chat.completions.create(model=model, messages=messages)

    def names(self):
        return {model.id for model in self.sdk.models.list()}

    over = (
        ("RateLimitError", "rate_limit_error"),
        ("RateLimitError", "usage_limit_reached"),  # a wait that is too long to sit out
    )
    stranger = "AuthenticationError"
    missing = "NotFoundError"


class Responses(Chat):
    def answer(self, model, stream):
        if stream:
            with self.sdk.responses.create(model=model, input="hi", stream=True) as events:
                return [event.type for event in events]
        return self.sdk.responses.create(model=model, input="hi")


class Messages:
    def __init__(self, address, key):
        self.sdk = anthropic.Anthropic(base_url=address, api_key=key, max_retries=0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sdk.close()

    def ask(self, model=MODEL, *, stream=False):
        body = {
            "model": model,
            "max_tokens": 64,
            "messages": [{"role": "user", "content": "hi"}],
        }
        try:
            if stream:
                with self.sdk.messages.stream(**body) as running:
                    return running.get_final_text()
            return self.sdk.messages.create(**body)
        except anthropic.APIStatusError as error:
            kind = (type(error).__name__, error.body["error"]["type"])
            raise Refused(error.status_code, str(error), error.response.headers, kind) from error

    def names(self):
        return {model.id for model in self.sdk.models.list()}

    over = (("RateLimitError", "rate_limit_error"),)
    stranger = "AuthenticationError"
    missing = "NotFoundError"


class Gemini:
    def __init__(self, address, key):
        self.headers = {}
        self.client = httpx.Client(event_hooks={"response": [self.see]})
        options = types.HttpOptions(base_url=address, httpx_client=self.client)
        self.sdk = genai.Client(api_key=key, http_options=options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sdk.close()
        self.client.close()

    def see(self, response):
        self.headers = response.headers

    def ask(self, model=MODEL, *, stream=False):
        try:
            if stream:
                chunks = self.sdk.models.generate_content_stream(model=model, contents="hi")
                return "".join(chunk.text or "" for chunk in chunks)
            return self.sdk.models.generate_content(model=model, contents="hi")
        except errors.APIError as error:
            kind = (type(error).__name__, error.status)
            raise Refused(error.code, str(error), self.headers, kind) from error

    def names(self):
        return {model.name.removeprefix("models/") for model in self.sdk.models.list()}

    over = (("ClientError", "RESOURCE_EXHAUSTED"),)
    stranger = missing = "ClientError"


CLIENTS = [Chat, Responses, Messages, Gemini]


class Keys:
    """The control routes, with the local token."""

    def __init__(self, running):
        self.address = f"{running.address}/admin/keys"
        self.token = running.service.instance.token

    def post(self, path="", **body):
        return self._ask("POST", path, json.dumps(body).encode())

    def make(self, **body):
        return self.post(label=f"test {time.monotonic_ns()}", **body)

    def list(self):
        return {record["id"]: record for record in self._ask("GET", "")["keys"]}

    def _ask(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(self.address + path, body, headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310 - loopback
            return json.load(reply)


@pytest.fixture(scope="module")
def priced(upstream, tmp_path_factory):
    """A Dragoman that knows what its models cost: a dollar for a thousand tokens."""
    prices = "models: {prices: {gpt-4.1: {input: 1000, output: 1000}}}\n"
    with dragoman(tmp_path_factory.mktemp("home"), settings(upstream.url, prices)) as found:
        yield found


@pytest.fixture
def place(priced):
    priced.rest()
    return priced.address


@pytest.fixture
def keys(priced):
    return Keys(priced)


@pytest.fixture(params=CLIENTS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


def refused(client, model=MODEL, **options):
    with pytest.raises(Refused) as caught:
        client.ask(model, **options)
    return caught.value


@pytest.mark.parametrize(
    "scope",
    [
        {"models": ["over-openai-*"]},
        {"models": [MODEL]},
        {"models": ["*-chat"]},
        {"providers": ["chat"]},
        {"accounts": ["chat/chat-1"]},
        {"accounts": ["chat/*"]},
        {"providers": ["chat", "gemini"], "models": ["over-*"], "accounts": ["chat/*"]},
    ],
    ids=str,
)
def test_key_serves_its_scope_and_nothing_else(place, keys, kind, scope):
    made = keys.make(**scope)
    with kind(place, made["key"]) as client:
        assert client.ask(MODEL)
        assert client.ask(MODEL, stream=True)
        refusal = refused(client, OTHER)
        assert (refusal.status, refusal.kind[0]) == (404, kind.missing)
        assert "anthropic-1" not in refusal.text
        names = client.names()
        assert MODEL in names
        assert OTHER not in names
        assert refused(client, OTHER, stream=True).status == 404


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("1 request/minute", "1 of 1 request in the last minute"),
        ("1 request/day", "1 of 1 request today"),
        ("1 request/month", "1 of 1 request this month"),
        ("1 token/minute", "of 1 token in the last minute"),
        ("1 token/day", "of 1 token today"),
        ("$0.001/day", "of $0.001 today"),
        ("$0.001/month", "of $0.001 this month"),
    ],
)
def test_over_limit_is_the_sdks_own_error_with_a_true_wait(place, keys, kind, limit, words, stream):
    made = keys.make(limits=[limit])
    with kind(place, made["key"]) as client:
        assert client.ask(stream=stream)
        (use,) = keys.list()[made["record"]["id"]]["limits"]
        assert use["reached"]
        before = time.time()
        refusal = refused(client, stream=stream)
        assert refusal.status == 429
        assert refusal.kind in kind.over
        assert words in refusal.text
        assert made["record"]["label"] in refusal.text
        told = int(refusal.headers["retry-after"])
        assert math.ceil(use["free_at"] - time.time()) <= told
        assert told <= math.ceil(use["free_at"] - before)
        assert made["key"] not in refusal.text


def test_raised_limit_lets_the_next_call_through(place, keys, kind):
    made = keys.make(limits=["1 request/day"])
    with kind(place, made["key"]) as client:
        client.ask()
        assert refused(client).status == 429
        keys.post(f"/{made['record']['id']}", limits=["2 requests/day"])
        assert client.ask()
        assert refused(client).status == 429


def test_one_key_over_its_limit_holds_back_no_other(place, keys, kind):
    spent, free = keys.make(limits=["1 request/day"]), keys.make(limits=["9 requests/day"])
    with kind(place, spent["key"]) as client, kind(place, free["key"]) as other:
        client.ask()
        assert refused(client).status == 429
        assert other.ask()
        assert keys.list()[free["record"]["id"]]["limits"][0]["used"] == 1


def test_key_sends_calls_where_it_says(place, keys, kind):
    made = keys.make(
        providers=["chat"], default_model=MODEL, aliases={"gpt-*": MODEL, "claude-*": MODEL}
    )
    with kind(place, made["key"]) as client:
        for name in ("default", "gpt-9", "claude-of-tomorrow"):
            assert client.ask(name)
            assert client.ask(name, stream=True)
        assert refused(client, "llama").status == 404


def test_rotated_revoked_and_expired_keys_are_strangers(place, keys, kind):
    made = keys.make()
    path = f"/{made['record']['id']}"
    with kind(place, made["key"]) as old:
        assert old.ask()
        fresh = keys.post(f"{path}/rotate")["key"]
        assert (refused(old).status, refused(old).kind[0]) == (401, kind.stranger)
    with kind(place, fresh) as client:
        assert client.ask()
        keys.post(f"{path}/revoke")
        refusal = refused(client)
        assert refusal.status == 401
        assert "revoked" in refusal.text
    ends = keys.make(expires_at=time.time() + 0.2)
    with kind(place, ends["key"]) as client:
        while keys.list()[ends["record"]["id"]]["state"] == "active":
            pass
        refusal = refused(client)
        assert (refusal.status, "expired" in refusal.text) == (401, True)


def test_sdk_that_retries_waits_as_long_as_told_and_succeeds(place, keys, priced):
    """The minute is taken from the meter, so that no test has to wait for one."""
    made = keys.make(limits=["1 request/minute"])
    with openai.OpenAI(base_url=f"{place}/v1", api_key=made["key"], max_retries=2) as sdk:
        ask = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
        assert sdk.chat.completions.create(**ask)
        minute = priced.service.spending.meter._tally.minute(made["record"]["id"])
        second, amounts = minute._seconds.pop()
        minute._seconds.append((second - 59, amounts))
        assert sdk.chat.completions.create(**ask)
        assert keys.list()[made["record"]["id"]]["limits"][0]["used"] >= 1


def test_wrong_keys_are_errors_of_each_sdk(place, kind):
    with kind(place, "dg-" + "x" * 32) as client:
        refusal = refused(client)
        assert refusal.status in (401, 429)  # 429 once there were too many
        assert "dg-" not in refusal.text


def test_changes_need_the_right_to(place, keys):
    made = keys.make()
    for path in ("", f"/{made['record']['id']}", f"/{made['record']['id']}/rotate"):
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{place}/admin/keys{path}", b"{}", {"x-api-key": made["key"]}, method="POST"
        )
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=10)  # noqa: S310
        assert caught.value.code == 403
        caught.value.close()
