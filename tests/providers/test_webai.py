import json

import pytest

from app.canonical.failure import Failure
from app.errors import RequestError, Retry, UpstreamError
from app.http import HttpReply
from app.providers.shaping import Asked
from app.providers.webai import WEBAI, classify, parse_models, read_cookies

CHAT = "/v1/chat/completions"


def asked(model):
    body = json.dumps({"model": model, "messages": [], "seed": 1}).encode()
    return Asked("openai_chat", "generate", model, body, False, CHAT, (), None)


def test_it_is_off_until_the_user_has_read_what_it_is():
    assert "third parties" in WEBAI.consent.text
    assert WEBAI.consent.instead


def test_names_end_so_that_none_is_taken_for_a_services_own():
    assert WEBAI.serves("gpt-4o-webai")
    assert not WEBAI.serves("gpt-4o")
    assert not WEBAI.serves("-webai")


def test_list_has_models_without_sites_and_without_what_runs_programs():
    rows = [
        {"id": "gpt-4o", "provider": False, "vision": True},
        {"id": "Copilot", "provider": True},
        {"id": "agent-tools"},
        {"id": ""},
        {"id": 5},
        "gpt",
        {"id": "plain"},
    ]
    reply = HttpReply(200, (), json.dumps({"data": rows}).encode())
    assert [(m.id, m.images) for m in parse_models(reply)] == [
        ("gpt-4o-webai", True),
        ("plain-webai", None),
    ]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"data":5}', b"\xff", b"<html>"])
def test_what_is_no_list_is_told(body):
    with pytest.raises(UpstreamError, match="no model list"):
        parse_models(HttpReply(200, (), body))


def test_suffix_is_taken_off_and_the_rest_left_as_it_is():
    shaped = WEBAI.shape(asked("gpt-4o-webai"))
    assert shaped.body == b'{"model":"gpt-4o","messages":[],"seed":1}'
    assert shaped.path == CHAT


def test_model_that_runs_programs_is_refused():
    with pytest.raises(RequestError, match="runs programs") as caught:
        WEBAI.shape(asked("agent-tools-webai"))
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("kind", "words", "scope"),
    [
        ("server", "None of the web sites", "model"),
        ("overloaded", "None of the web sites", "model"),
        ("authentication", "dragoman login webai", "model"),
        ("rate_limit", "", "model"),
        ("invalid_request", "", "request"),
    ],
)
def test_refusals_are_the_sites_and_concern_one_model(kind, words, scope):
    failure = Failure(500, "Request execution failed", kind, Retry.NEXT_ACCOUNT, scope="request")
    told = classify(failure, HttpReply(500))
    assert words in told.hint
    assert told.scope == scope
    assert "Request execution failed" in told.message


@pytest.mark.parametrize(
    ("text", "jars"),
    [
        ('[{"domain":".google.com","name":"SID","value":"a"}]', {".google.com": {"SID": "a"}}),
        ('{"github.com":{"user_session":"b c"}}', {"github.com": {"user_session": "b c"}}),
        ("__Secure-1PSID=x; NID=y=z", {".google.com": {"__Secure-1PSID": "x", "NID": "y=z"}}),
        ("Cookie: SID=q;", {".google.com": {"SID": "q"}}),
        (
            '[{"domain":"A.com","name":"n","value":"1"},{"domain":"a.com","name":"m","value":"2"},3]',
            {"a.com": {"n": "1", "m": "2"}},
        ),
    ],
)
def test_cookies_are_read_in_the_forms_that_people_have(text, jars):
    assert read_cookies(f" {text}\n") == jars


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "5",
        "hello",
        "a=b; c=d",
        '[{"domain":"../etc","name":"n","value":"v"}]',
        '[{"domain":"a.com","name":"n m","value":"v"}]',
        '{"a.com":{"n":"new\\nline"}}',
        '[{"domain":"a.com","name":"n"}]',
        "SID=" + "x" * 600_000,
    ],
)
def test_what_are_no_cookies_is_refused_without_repeating_it(text):
    with pytest.raises(RequestError) as caught:
        read_cookies(text)
    assert caught.value.code == "no_cookies"
    assert "Cookie-Editor" in caught.value.hint


def test_too_many_cookies_are_refused():
    rows = [{"domain": "a.com", "name": f"n{i}", "value": "v"} for i in range(2001)]
    with pytest.raises(RequestError, match="too many"):
        read_cookies(json.dumps(rows))


def test_sign_in_asks_nobody_and_sends_the_cookies_nowhere():
    steps = WEBAI.sign_ins["cookies"].run('{".google.com":{"SID":"a"},"github.com":{"s":"b"}}', "")
    with pytest.raises(StopIteration) as ended:
        next(steps)
    granted = ended.value.value
    assert granted.identity.name == "github.com, google.com"
    assert granted.credential.kind == "none"
    request = WEBAI.list_models("webai://service")
    sent = WEBAI.prepare(request, granted.credential, "openai_chat", ())
    assert not [value for _, value in sent.headers if "SID" in value]
