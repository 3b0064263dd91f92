import json
from urllib.parse import parse_qsl, urlencode

import pytest

from tests.fakes.basic import Clock
from tests.fakes.github import EDITOR_FIELDS, GRANT, OPENCODE, VSCODE, GitHub, User
from tests.fakes.service import Call, Refusal

JSON = {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def github(clock):
    return GitHub(clock)


def post(github, path, headers=JSON, **form):
    reply = github.answer(Call("POST", path, {}, headers, urlencode(form).encode()))
    assert reply.status == 200
    return json.loads(reply.body)


def begin(github, client_id=OPENCODE):
    return post(github, "/login/device/code", client_id=client_id, scope="read:user")


def poll(github, code, client_id=OPENCODE, grant=GRANT):
    path = "/login/oauth/access_token"
    return post(github, path, client_id=client_id, device_code=code, grant_type=grant)


def get(github, path, token, scheme="Bearer", **headers):
    fields = {"authorization": f"{scheme} {token}", "user-agent": "t", **headers}
    return json.loads(github.answer(Call("GET", path, {}, fields)).body)


def test_a_device_code_grants_one_token(github, clock):
    begun = begin(github)
    clock.advance(5)
    assert poll(github, begun["device_code"])["error"] == "authorization_pending"
    github.approve(begun["user_code"])
    clock.advance(5)
    assert poll(github, begun["device_code"])["access_token"] in github.tokens
    clock.advance(5)
    assert poll(github, begun["device_code"])["error"] == "incorrect_device_code"


def test_polling_too_fast_makes_the_interval_longer(github, clock):
    code = begin(github)["device_code"]
    clock.advance(4)
    assert poll(github, code) == poll(github, code) | {"interval": 10}
    clock.advance(15)
    assert poll(github, code)["error"] == "authorization_pending"


def test_a_code_ends_and_can_be_refused(github, clock):
    begun = begin(github)
    github.deny(begun["user_code"])
    clock.advance(5)
    assert poll(github, begun["device_code"])["error"] == "access_denied"
    clock.advance(900)
    assert poll(github, begun["device_code"])["error"] == "expired_token"


def test_what_does_not_fit_the_code_is_refused(github):
    code = begin(github)["device_code"]
    assert poll(github, code, VSCODE)["error"] == "incorrect_client_credentials"
    assert poll(github, code, grant="password")["error"] == "unsupported_grant_type"
    assert poll(github, "x")["error"] == "incorrect_device_code"
    assert post(github, "/login/device/code", client_id=OPENCODE)["error"] == "invalid_scope"
    with pytest.raises(Refusal) as caught:
        begin(github, "unknown")
    assert caught.value.status == 404


def test_json_must_be_asked_for(github):
    form = urlencode({"client_id": OPENCODE, "scope": "read:user"}).encode()
    reply = github.answer(Call("POST", "/login/device/code", {}, {}, form))
    assert dict(parse_qsl(reply.body.decode()))["expires_in"] == "900"


def test_only_the_editors_application_may_exchange(github):
    fields = dict.fromkeys(EDITOR_FIELDS, "x")
    editor = github.grant(VSCODE)
    exchanged = get(github, "/copilot_internal/v2/token", editor, **fields)
    assert exchanged["token"] in github.exchanged
    assert "proxy-ep=proxy.individual" in exchanged["token"]
    for token, more in ((editor, {}), (github.grant(OPENCODE), fields), ("x", fields)):
        with pytest.raises(Refusal):
            get(github, "/copilot_internal/v2/token", token, **more)


def test_quota_and_name_need_the_github_token(github):
    token = github.grant(VSCODE, User(login="mona"))
    assert get(github, "/user", token)["login"] == "mona"
    told = get(github, "/copilot_internal/user", token, "token")
    assert told["quota_snapshots"]["premium_interactions"]["percent_remaining"] == 80.0
    secret = get(github, "/copilot_internal/v2/token", token, **dict.fromkeys(EDITOR_FIELDS, "x"))
    with pytest.raises(Refusal) as caught:
        get(github, "/copilot_internal/user", secret["token"])
    assert caught.value.status == 401
    github.revoke(token)
    with pytest.raises(Refusal):
        get(github, "/user", token)
