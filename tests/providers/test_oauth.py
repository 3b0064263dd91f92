import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import AccountError, AppError, RequestError, UpstreamError
from app.http import HttpReply
from app.providers.base import USER_AGENT
from app.providers.oauth import (
    ask_tokens,
    authorize_url,
    bearer_request,
    form_request,
    json_request,
    parse_pasted,
    parse_tokens,
    read_claims,
    token_refusal,
)
from app.providers.signin import NOT_ALLOWED, SIGN_IN_AGAIN, Answered, Wait

NOW = 1_795_000_000.0
JSON = (("content-type", "application/json"),)


def reply(status, body, headers=JSON):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpReply(status, headers, raw)


def jwt(claims):
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJub25lIn0.{payload}.c2ln"


# Requests


def test_the_page_gets_its_parameters_in_order_and_encoded():
    url = authorize_url("https://a.test/authorize", {"scope": "a:b c", "u": "http://l:1/x?y"})
    assert url == "https://a.test/authorize?scope=a%3Ab%20c&u=http%3A%2F%2Fl%3A1%2Fx%3Fy"
    assert authorize_url("https://a.test/?x=1", {"y": "2"}) == "https://a.test/?x=1&y=2"


def test_token_calls_are_forms_or_json_under_our_own_name():
    form = form_request("https://a.test", {"scope": "a b", "code": "x&y=z"}, (("x-more", "1"),))
    assert (form.method, form.body) == ("POST", b"scope=a%20b&code=x%26y%3Dz")
    assert dict(form.headers)["Content-Type"] == "application/x-www-form-urlencoded"
    assert dict(form.headers)["x-more"] == "1"
    plain = json_request("https://a.test", {"b": "1", "a": "2"})
    assert plain.body == b'{"b":"1","a":"2"}'
    bearer = bearer_request("https://a.test", "t0ken")
    assert (bearer.method, bearer.body) == ("GET", b"")
    assert dict(bearer.headers)["Authorization"] == "Bearer t0ken"
    for request in (form, plain, bearer):
        assert dict(request.headers)["User-Agent"] == USER_AGENT
        assert dict(request.headers)["Accept"] == "application/json"


# What the user pastes


@pytest.mark.parametrize(
    "text",
    [
        "http://localhost:54545/callback?code=abc-_1&state=s1",
        "http://localhost:54545/callback?state=s1&code=abc-_1",
        "localhost:54545/callback?code=abc-_1&state=s1",
        "/callback?code=abc-_1&state=s1",
        "?code=abc-_1&state=s1",
        "code=abc-_1&state=s1",
        "&code=abc-_1&state=s1",
        "http://localhost:54545/callback#code=abc-_1&state=s1",
        "#code=abc-_1&state=s1",
        "http://localhost:54545/callback?state=s1#code=abc-_1",
        "http://localhost:54545/callback?code=abc-_1#s1",
        "http://localhost:54545/callback?code=abc-_1%23s1",
        "http://localhost:54545/callback?code=abc-_1%23s1&state=s1",
        "code=abc-_1#state=s1",
        "abc-_1#s1",
        "  abc-_1#s1\n",
        "'abc-_1#s1'",
        '"abc-_1#s1"',
        "<http://localhost:54545/callback?code=abc-_1&state=s1>",
        "http://localhost:54545/callback?code=ab\n  c-_1&sta\r\nte=s1",
        "http://localhost:54545/callback?code=abc-_1&state=s1&scope=a+b",
        "http://localhost:54545/callback?code=abc-_1&code=abc-_1&state=s1",
        "http://localhost:54545/callback?error=&code=abc-_1&state=s1",
    ],
)
def test_every_form_of_a_pasted_code_is_read(text):
    assert parse_pasted(text) == ("abc-_1", "s1")


@pytest.mark.parametrize("text", ["abc-_1", "code=abc-_1", "http://l/callback?code=abc-_1"])
def test_a_code_without_a_state_has_an_empty_one(text):
    assert parse_pasted(text) == ("abc-_1", "")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("code=a%2Bb%2Fc%3D&state=s", "a+b/c="),
        ("code=a+b&state=s", "a+b"),
        ("ab==#s", "ab=="),
        ("a+b#s", "a+b"),
    ],
)
def test_a_code_keeps_its_characters(text, code):
    assert parse_pasted(text) == (code, "s")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "#s1",
        "#",
        "?",
        "http://localhost:54545/callback",
        "http://localhost:54545/callback?state=s1",
        "http://localhost:54545/callback?code=&state=s1",
        "https://claude.ai/oauth/authorize?client_id=x",
        "https://example.test/some/page",
        "localhost:54545",
        "code=é&state=s",
        "a\x00b#s",
        "code=a&code=b&state=s",
        "code=a&state=s&state=t",
    ],
)
def test_a_text_without_one_code_is_refused(text):
    with pytest.raises(RequestError) as caught:
        parse_pasted(text)
    assert caught.value.code == "no_sign_in_code"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://l/callback?error=access_denied&state=s1", "access_denied"),
        ("?error=access_denied&error_description=The+user+said+no", "The user said no"),
        ("error=x&code=abc&state=s1", "x"),
        ("http://l/callback#error=access_denied", "access_denied"),
    ],
)
def test_the_page_of_a_refusal_is_told_as_one(text, words):
    with pytest.raises(AccountError, match=words) as caught:
        parse_pasted(text)
    assert caught.value.code == SIGN_IN_AGAIN


@given(st.text(max_size=60))
def test_any_text_is_a_code_or_an_error(text):
    try:
        code, state = parse_pasted(text)
    except AppError:
        return
    assert code
    assert not any(c.isspace() for c in code + state)


# Token answers


def test_tokens_are_read_with_their_end():
    body = {"access_token": "a", "refresh_token": "r", "id_token": "i", "expires_in": 60, "x": 1}
    tokens = parse_tokens(reply(200, body), NOW, "S")
    assert (tokens.access, tokens.refresh, tokens.id_token) == ("a", "r", "i")
    assert tokens.expires_at == NOW + 60
    assert tokens.body["x"] == 1
    assert repr(tokens) == f"Tokens(expires_at={NOW + 60})"


@pytest.mark.parametrize("lifetime", [None, 0, -5, "soon", True, []])
@pytest.mark.parametrize(
    ("access", "end"), [("opaque", NOW + 3600), (jwt({"exp": int(NOW) + 99}), NOW + 99)]
)
def test_an_odd_lifetime_is_the_tokens_own_or_an_hour(lifetime, access, end):
    body = {"access_token": access, "expires_in": lifetime}
    assert parse_tokens(reply(200, body), NOW, "S").expires_at == end


def test_a_lifetime_may_be_text_and_the_rest_may_be_missing():
    tokens = parse_tokens(
        reply(200, {"access_token": "a", "expires_in": "90", "refresh_token": None}), NOW, "S"
    )
    assert (tokens.expires_at, tokens.refresh, tokens.id_token) == (NOW + 90, "", "")


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"access_token":""}', b'{"access_token":5}']
)
def test_an_answer_without_a_token_is_not_understood(body):
    with pytest.raises(UpstreamError, match="no token"):
        parse_tokens(reply(200, body), NOW, "S")


# Refusals

ENDED = [
    (400, {"error": "invalid_grant", "error_description": "Refresh token not found or invalid"}),
    (400, {"error": {"type": "invalid_grant", "message": "used"}}),
    (400, {"type": "error", "error": {"type": "x", "message": "invalid_grant: used"}}),
    (401, {"error": {"code": "refresh_token_expired", "message": "over"}}),
    (401, {"error": {"code": "refresh_token_invalidated"}}),
    (401, {"error": {"code": "refresh_token_reused", "message": "again"}}),
    (403, {"error": "invalid_grant"}),
    (400, {}),
    (401, b""),
]
REFUSED = [
    (429, {"error": {"type": "rate_limit_error", "message": "Rate limited."}}),
    (429, b""),
    (403, {}),
    (403, {"error": {"type": "permission_error", "message": "no"}}),
    (401, {"error": "invalid_client"}),
    (400, {"error": "unauthorized_client"}),
    (400, {"error": {"message": "only authorized for use with Claude Code"}}),
    (400, {"error": "invalid_grant", "error_description": "Your account has been disabled."}),
    (402, {}),
]
LATER = [
    (500, {"error": "server_error"}),
    (503, b"busy"),
    (529, b""),
    (404, b"not found"),
    (302, b""),
    (408, b""),
    (403, b"<!DOCTYPE html><title>Just a moment</title>"),
    (429, b"<html>cloudflare</html>"),
]


@pytest.mark.parametrize("renewing", [True, False])
@pytest.mark.parametrize(("status", "body"), ENDED)
def test_a_sign_in_that_is_over_asks_for_another(status, body, renewing):
    error = token_refusal(reply(status, body), "S", renewing=renewing)
    assert isinstance(error, AccountError)
    assert error.code == SIGN_IN_AGAIN
    assert "ign in again" in error.hint


@pytest.mark.parametrize("renewing", [True, False])
@pytest.mark.parametrize(("status", "body"), REFUSED)
def test_a_refusal_by_policy_is_final(status, body, renewing):
    error = token_refusal(reply(status, body), "S", renewing=renewing)
    assert isinstance(error, AccountError)
    assert error.code == NOT_ALLOWED
    assert "not tried again" in error.hint


@pytest.mark.parametrize(("status", "body"), LATER)
def test_a_failing_service_is_asked_later(status, body):
    error = token_refusal(reply(status, body, ()), "S", renewing=True)
    assert isinstance(error, UpstreamError)


def test_a_reused_token_is_told_apart():
    body = {"error": {"code": "refresh_token_reused", "message": "x"}}
    error = token_refusal(reply(401, body), "S", renewing=True)
    assert "another program" in error.message


def test_the_services_words_are_shown_without_secrets_and_cut():
    body = {
        "error": "invalid_grant",
        "error_description": "token s3cret-token\nis bad " + "x" * 999,
    }
    error = token_refusal(reply(400, body), "S", renewing=True, secrets=("", "s3cret-token"))
    assert "s3cret" not in error.text
    assert "token *** is bad" in error.text
    assert len(error.text) < 600


# Asking


def run(steps, *outcomes):
    """Send outcomes into steps; return what was asked for and the result or the error."""
    asked, outcomes = [], list(outcomes)
    try:
        step = next(steps)
        while True:
            asked.append(step)
            if isinstance(step, Wait):
                step = steps.send(Answered(HttpReply(0), NOW))
                continue
            outcome = outcomes.pop(0)
            if isinstance(outcome, Exception):
                step = steps.throw(outcome)
            else:
                step = steps.send(Answered(outcome, NOW))
    except StopIteration as stop:
        assert not outcomes
        return asked, stop.value
    except AppError as error:
        assert not outcomes
        return asked, error


REQUEST = form_request("https://a.test", {})
GOOD = reply(200, {"access_token": "a", "expires_in": 60})
BROKEN = UpstreamError("broke")


@pytest.mark.parametrize("trouble", [BROKEN, reply(502, b""), reply(500, {})])
def test_a_renewal_is_tried_three_times_with_pauses(trouble):
    asked, (tokens, now) = run(
        ask_tokens(REQUEST, "S", renewing=True), trouble, reply(503, b""), GOOD
    )
    assert asked == [REQUEST, Wait(1.0), REQUEST, Wait(2.0), REQUEST]
    assert (tokens.access, now) == ("a", NOW)
    asked, error = run(ask_tokens(REQUEST, "S", renewing=True), trouble, trouble, trouble)
    assert len(asked) == 5
    assert isinstance(error, UpstreamError)


@pytest.mark.parametrize("refusal", [*ENDED, *REFUSED])
def test_a_refused_renewal_is_not_tried_again(refusal):
    asked, error = run(ask_tokens(REQUEST, "S", renewing=True), reply(*refusal))
    assert asked == [REQUEST]
    assert isinstance(error, AccountError)


@pytest.mark.parametrize("trouble", [BROKEN, reply(502, b""), reply(400, {})])
def test_a_code_is_exchanged_only_once(trouble):
    asked, error = run(ask_tokens(REQUEST, "S", renewing=False), trouble)
    assert asked == [REQUEST]
    assert isinstance(error, AppError)


# Claims


def test_claims_are_read_without_padding():
    for size in range(5):
        assert read_claims(jwt({"a": "x" * size})) == {"a": "x" * size}


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b",
        "a.b.c",
        "a.!!!.c",
        "a.é.c",
        "a.W10.c",
        "a.MQ.c",
        "sk-ant-oat01-x",
        "..",
        "a.b.c.d",
    ],
)
def test_what_is_no_token_with_claims_has_none(token):
    assert read_claims(token) == {}
