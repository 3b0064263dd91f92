import json

import pytest

from tests.fakes.basic import Clock
from tests.fakes.clerk import LIFE_S, PAGE, Clerk
from tests.fakes.service import Call, Refusal

VERSIONS = {"__clerk_api_version": "2025-11-10", "_clerk_js_version": "6.7.3"}
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def clerk(clock):
    return Clerk(clock)


def call(clerk, method, path, cookie, query=VERSIONS, body=b"", **more):
    fields = {"cookie": f"__client={cookie}", "origin": PAGE, "referer": f"{PAGE}/"}
    fields |= {"user-agent": "t", "content-type": FORM}
    reply = clerk.answer(Call(method, path, query, fields | more, body))
    return reply, json.loads(reply.body)


def exchange(clerk, cookie, session="sess_1", **more):
    return call(clerk, "POST", f"/v1/client/sessions/{session}/tokens", cookie, **more)


def status(clerk, *args, **more):
    with pytest.raises(Refusal) as caught:
        exchange(clerk, *args, **more)
    return caught.value.status


def test_each_exchange_gives_a_new_cookie_and_refuses_the_old_one(clerk, clock):
    browser = clerk.sign_in()
    first = browser.cookie
    reply, body = exchange(clerk, first)
    assert clerk.issued[body["jwt"]] == (browser, int(clock.now) + LIFE_S)
    assert reply.headers["set-cookie"].startswith(f"__client={browser.cookie}; ")
    assert browser.cookie != first
    assert status(clerk, first) == 401
    assert clerk.replayed == 1
    exchange(clerk, browser.cookie)


def test_session_and_organization_are_told_to_the_browser_that_is_signed_in(clerk):
    browser = clerk.sign_in(session="sess_7", organization="org_7")
    _, client = call(clerk, "GET", "/v1/client", browser.cookie)
    assert client["response"]["last_active_session_id"] == "sess_7"
    path = "/v1/me/organization_memberships"
    _, memberships = call(clerk, "GET", path, browser.cookie)
    assert memberships["response"]["data"][0]["organization"]["id"] == "org_7"
    cookie = browser.cookie
    clerk.sign_out(browser)
    _, client = call(clerk, "GET", "/v1/client", cookie)
    assert client["response"] is None
    with pytest.raises(Refusal):
        call(clerk, "GET", path, cookie)


def test_what_does_not_fit_is_refused(clerk):
    cookie = clerk.sign_in().cookie
    assert status(clerk, cookie, query={}) == 400
    assert status(clerk, cookie, origin="https://elsewhere.test") == 400
    assert status(clerk, cookie, **{"content-type": "application/json"}) == 415
    assert status(clerk, cookie, **{"user-agent": ""}) == 403
    assert status(clerk, cookie, session="sess_other") == 404
    assert status(clerk, cookie, body=b"organization_id=org_other") == 403
    assert status(clerk, "unknown") == 401
    assert clerk.exchanges == 0
    exchange(clerk, cookie, body=b"organization_id=org_1")
