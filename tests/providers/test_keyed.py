"""Signing in with an API key."""

import pytest

from app.errors import RequestError, UpstreamError
from app.http import HttpReply
from app.providers import ANTHROPIC, GEMINI, OPENAI, compatible
from app.providers.signin import Answered

NOW = 1_800_000_000.0
LOCAL = compatible("local", "openai_chat", "http://127.0.0.1:11434/v1")


def sign_in(provider, text, status=200, body=b'{"data": []}', base_url=""):
    """Run the steps; returns the request and what was granted."""
    steps = provider.sign_ins["key"].run(text, base_url)
    request = next(steps)
    try:
        steps.send(Answered(HttpReply(status, (), body), NOW))
    except StopIteration as stopped:
        return request, stopped.value
    raise AssertionError("more was asked for")


@pytest.mark.parametrize(
    ("provider", "url", "field", "value"),
    [
        (ANTHROPIC, "https://api.anthropic.com/v1/models?limit=1000", "x-api-key", "KEY"),
        (OPENAI, "https://api.openai.com/v1/models", "authorization", "Bearer KEY"),
        (
            GEMINI,
            "https://generativelanguage.googleapis.com/v1beta/models?pageSize=1000",
            "x-goog-api-key",
            "KEY",
        ),
        (LOCAL, "http://127.0.0.1:11434/v1/models", "authorization", "Bearer KEY"),
    ],
)
def test_a_key_is_checked_by_the_list_of_models(provider, url, field, value):
    request, granted = sign_in(provider, "some-key-0123456789abcdef")
    assert (request.method, request.url) == ("GET", url)
    sent = {name.lower(): text for name, text in request.headers}
    assert sent[field] == value.replace("KEY", "some-key-0123456789abcdef")
    assert (granted.credential.secret, granted.credential.kind) == (
        "some-key-0123456789abcdef",
        "api_key",
    )
    assert granted.credential.obtained_at == NOW


def test_an_address_of_the_users_own_is_asked():
    request, _ = sign_in(OPENAI, "some-key", base_url="https://proxy.example/v1")
    assert request.url == "https://proxy.example/v1/models"


def test_a_key_has_a_name_that_does_not_tell_it():
    _, one = sign_in(OPENAI, "sk-0123456789abcdef-wxyz")
    _, again = sign_in(OPENAI, "  'sk-0123456789abcdef-wxyz'\n")
    _, other = sign_in(OPENAI, "sk-0123456789abcdef-wxyy")
    assert one.identity == again.identity
    assert one.identity.id != other.identity.id
    assert one.identity.name == "…wxyz"
    assert "0123456789" not in str(one.identity)
    _, short = sign_in(LOCAL, "tiny")
    assert short.identity.name == ""


@pytest.mark.parametrize("text", ["", "  ", "a b", "abc", "schlüssel-lang", "x" * 5000, "a\nb-c-d"])
def test_what_is_no_key_is_refused_before_anybody_is_asked(text):
    with pytest.raises(RequestError) as caught:
        next(OPENAI.sign_ins["key"].run(text, ""))
    assert caught.value.code == "no_key"
    assert text.strip() == "" or text not in caught.value.text


@pytest.mark.parametrize(
    ("provider", "text", "words"),
    [
        (OPENAI, "dg-0123456789", "Dragoman"),
        (ANTHROPIC, "sk-ant-oat01-0123456789", "dragoman login claude"),
        (ANTHROPIC, "sk-ant-ort01-0123456789", "refresh token"),
        (OPENAI, "ghu_0123456789", "dragoman login copilot"),
        (OPENAI, "sk-ant-api03-0123456789", "dragoman login anthropic"),
        (ANTHROPIC, "AIza0123456789", "dragoman login gemini"),
        (GEMINI, "sk-proj-0123456789", "dragoman login openai"),
    ],
)
def test_a_key_in_the_wrong_place_is_told(provider, text, words):
    with pytest.raises(RequestError, match=words):
        next(provider.sign_ins["key"].run(text, ""))


def test_a_compatible_server_may_hand_out_keys_of_any_form():
    assert sign_in(LOCAL, "sk-ant-api03-0123456789")[1].credential.secret.startswith("sk-ant-")


@pytest.mark.parametrize(
    ("provider", "status", "body"),
    [
        (OPENAI, 401, b"{}"),
        (OPENAI, 403, b"{}"),
        (GEMINI, 400, b'{"error": {"message": "API key not valid. Please pass a valid API key."}}'),
    ],
)
def test_a_key_that_is_refused_is_not_kept(provider, status, body):
    with pytest.raises(RequestError) as caught:
        sign_in(provider, "some-key-0123456789", status, body)
    assert caught.value.code == "key_refused"
    assert "some-key" not in caught.value.text


@pytest.mark.parametrize("status", [200, 404, 429])
def test_an_answer_that_knows_the_key_or_cannot_tell_keeps_it(status):
    assert sign_in(OPENAI, "some-key-0123456789", status)[1].credential.secret


@pytest.mark.parametrize("status", [302, 400, 500, 503])
def test_a_service_that_cannot_check_it_now_is_told(status):
    with pytest.raises(UpstreamError, match=str(status)):
        sign_in(OPENAI, "some-key-0123456789", status)
