import asyncio
import hashlib
from base64 import urlsafe_b64encode
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from app.accounts.login import CODE_S
from app.accounts.manner import Manner
from app.errors import AccountError, RequestError
from app.providers.credential import Credential
from app.providers.signin import Listen
from tests.accounts.doors import Ports, door, state_of, ticks
from tests.accounts.services import (
    CANARY,
    LISTEN,
    START,
    granted,
    refusal,
)
from tests.fakes.basic import Answered, unreachable

# In a browser


async def test_browser_sign_in_makes_an_account():
    room = await door(steps=[granted(1)])
    flow = await room.logins.start("web")
    assert (flow.kind, flow.way, flow.state, flow.listening) == (
        "browser",
        "browser",
        "waiting",
        True,
    )
    assert flow.expires_in(room.wall()) == 300
    assert room.ports.open_now == [LISTEN]
    done = await room.logins.callback(state_of(flow), "the-code", at=LISTEN)
    await ticks()
    assert (done.state, done.account, done.repaired) == ("done", "web/web-1", False)
    assert (done.name, done.plan, done.url) == ("web-1@example.org", "plus", "")
    assert room.ports.open_now == []
    assert room.timers.set == []
    stored = room.vault.records["web/web-1"]
    assert (stored.way, stored.created_at, stored.consent) == ("browser", START, "")
    assert room.secret() == f"{CANARY}-access-1"
    assert room.signed_in == ["web/web-1"]


async def test_sign_in_goes_through_the_providers_proxy():
    room = await door(steps=[granted(1)])
    room.book.configure([], {"web": Manner(proxy="http://p.test:1")})
    flow = await room.logins.start("web")
    assert (await room.logins.callback(state_of(flow), "the-code")).state == "done"
    assert [request.proxy for request in room.send.requests] == ["http://p.test:1"]


async def test_no_sign_in_begins_while_its_proxy_is_not_there():
    room = await door()
    room.book.configure([], {"web": Manner(trouble="PROXY is not set in this session")})
    with pytest.raises(AccountError, match="PROXY is not set"):
        await room.logins.start("web")
    assert room.logins.flows() == ()


async def test_verifier_belongs_to_the_challenge_and_is_new_each_time():
    room = await door(steps=[granted(1), granted(2, id="x")])
    flows = [await room.logins.start("web") for _ in range(2)]
    verifiers = []
    for flow in flows:
        challenge = parse_qs(urlsplit(flow.url).query)["challenge"][0]
        await room.logins.callback(state_of(flow), "the-code")
        verifier = room.sent()["verifier"]
        digest = hashlib.sha256(verifier.encode()).digest()
        assert urlsafe_b64encode(digest).rstrip(b"=").decode() == challenge
        assert len(verifier) == 128
        verifiers.append(verifier)
    assert len(set(verifiers)) == 2
    assert len({state_of(flow) for flow in flows}) == 2


async def test_state_is_taken_once():
    room = await door(steps=[granted(1)])
    flow = await room.logins.start("web")
    state = state_of(flow)
    await room.logins.callback(state, "the-code")
    with pytest.raises(RequestError, match="already") as caught:
        await room.logins.callback(state, "the-code")
    assert (caught.value.status, caught.value.code) == (404, "unknown_state")
    assert len(room.send.requests) == 1


async def test_two_browsers_at_once_are_one():
    room = await door(steps=[granted(1)])
    flow = await room.logins.start("web")
    results = await asyncio.gather(
        *(room.logins.callback(state_of(flow), "the-code") for _ in range(5)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, RequestError) for result in results) == 4
    assert len(room.send.requests) == 1


@pytest.mark.parametrize("state", ["", "0" * 32, "é", "\udc80", "x" * 100_000])
async def test_wrong_state_is_refused_and_the_flow_goes_on(state):
    room = await door(steps=[granted(1)])
    flow = await room.logins.start("web")
    with pytest.raises(RequestError) as caught:
        await room.logins.callback(state, "the-code")
    assert caught.value.code == "unknown_state"
    assert (await room.logins.callback(state_of(flow), "the-code")).state == "done"


@pytest.mark.parametrize("at", [Listen(54_998, "/callback"), "strict", "codex"])
async def test_state_that_comes_to_another_place_is_foreign(at):
    room = await door()
    flow = await room.logins.start("web")
    with pytest.raises(RequestError) as caught:
        await room.logins.callback(state_of(flow), "the-code", at=at)
    assert caught.value.code == "unknown_state"
    assert room.logins.get(flow.id).state == "waiting"


async def test_state_of_an_ended_flow_is_refused():
    room = await door()
    flow, other = await room.logins.start("web"), await room.logins.start("web")
    room.logins.cancel(other.id)
    room.timers.go(CODE_S)
    for ended in (flow, other):
        with pytest.raises(RequestError):
            await room.logins.callback(state_of(ended), "the-code")
    assert room.send.requests == []


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("", "access_denied", "access_denied"),
        ("", "", "no code"),
        ("c", "server_error", "server_error"),
        ("", "<script>alert(1)</script>", "scriptalert(1)/script"),
    ],
)
async def test_browser_that_comes_back_without_a_code_ends_the_flow(code, error, words):
    room = await door()
    flow = await room.logins.start("web")
    ended = await room.logins.callback(state_of(flow), code, error)
    assert (ended.state, ended.code) == ("failed", "sign_in_declined")
    assert words in ended.error
    assert "<" not in ended.error
    await ticks()
    assert room.ports.open_now == []


@pytest.mark.parametrize("answer", [refusal(), refusal(429), unreachable(), refusal(500)])
async def test_code_that_is_not_accepted_fails_the_flow(answer):
    room = await door(steps=[answer])
    flow = await room.logins.start("web")
    ended = await room.logins.callback(state_of(flow), "the-code")
    assert ended.state == "failed"
    assert ended.error
    assert room.vault.records == {}
    assert room.logins.get(flow.id) == ended


async def test_flow_expires_after_five_minutes():
    room = await door()
    flow = await room.logins.start("web")
    room.timers.go(CODE_S - 1)
    assert room.logins.get(flow.id).expires_in(room.wall()) == 1
    room.timers.go(1)
    await ticks()
    ended = room.logins.get(flow.id)
    assert (ended.state, ended.expires_in(room.wall())) == ("expired", 0)
    assert room.ports.open_now == []


async def test_code_that_came_in_time_is_finished_although_the_time_runs_out():
    release = asyncio.Event()
    room = await door(steps=[Answered(200, {}, [release.wait, *granted(1).chunks])])
    flow = await room.logins.start("web")
    finishing = asyncio.ensure_future(room.logins.callback(state_of(flow), "the-code"))
    await ticks()
    room.timers.go(CODE_S)
    assert room.logins.cancel(flow.id).state == "working"
    release.set()
    assert (await finishing).state == "done"


async def test_page_that_is_closed_does_not_end_what_it_began():
    release = asyncio.Event()
    room = await door(steps=[Answered(200, {}, [release.wait, *granted(1).chunks])])
    flow = await room.logins.start("web")
    finishing = asyncio.ensure_future(room.logins.callback(state_of(flow), "the-code"))
    await ticks()
    finishing.cancel()
    await ticks()
    release.set()
    await ticks(20)
    assert room.logins.get(flow.id).state == "done"


async def test_cancelled_flow_lets_go_of_everything():
    room = await door()
    flow = await room.logins.start("web")
    assert room.logins.cancel(flow.id).state == "cancelled"
    await ticks()
    assert (room.ports.open_now, room.timers.set) == ([], [])
    assert room.logins.cancel(flow.id).state == "cancelled"


async def test_busy_port_offers_to_paste():
    room = await door(ports=Ports("Port 54999 is used by node (process 7)."), steps=[granted(1)])
    flow = await room.logins.start("web")
    assert not flow.listening
    assert flow.notice.startswith("Port 54999 is used by node (process 7).")
    assert "paste" in flow.notice
    pasted = f"http://localhost:54999/callback?code=the-code&state={state_of(flow)}"
    assert (await room.logins.paste(flow.id, pasted)).state == "done"


# Pasted


@pytest.mark.parametrize(
    "form",
    [
        "http://localhost:54999/callback?code=the-code&state={state}",
        "localhost:54999/callback?state={state}&code=the-code",
        "?code=the-code&state={state}",
        "the-code#{state}",
        "  the-code#{state}\n",
        "the-code",
    ],
)
@pytest.mark.parametrize("way", ["browser", "paste"])
async def test_pasted_forms_finish_the_flow(form, way):
    room = await door(steps=[granted(1)])
    flow = await room.logins.start("web", way)
    state = state_of(flow)
    done = await room.logins.paste(flow.id, form.format(state=state))
    assert done.state == "done"
    assert room.sent()["code"] == "the-code"
    assert room.sent()["state"] == state


async def test_pasted_text_of_another_sign_in_is_refused_and_the_flow_goes_on():
    room = await door(steps=[granted(1)])
    flow, other = await room.logins.start("web"), await room.logins.start("web")
    with pytest.raises(RequestError, match="another sign-in"):
        await room.logins.paste(flow.id, f"the-code#{state_of(other)}")
    with pytest.raises(RequestError):
        await room.logins.paste(flow.id, "no code in here at all?")
    assert room.logins.get(flow.id).state == "waiting"
    assert (await room.logins.paste(flow.id, f"the-code#{state_of(flow)}")).state == "done"
    with pytest.raises(RequestError) as caught:
        await room.logins.paste(flow.id, f"the-code#{state_of(flow)}")
    assert (caught.value.status, caught.value.code) == (409, "sign_in_over")


async def test_pasted_page_that_says_no_ends_the_flow():
    room = await door()
    flow = await room.logins.start("web")
    ended = await room.logins.paste(flow.id, "http://localhost/callback?error=access_denied")
    assert ended.state == "failed"
    assert "access_denied" in ended.error


# With a device code


async def test_device_sign_in_shows_a_code_and_waits():
    answers = [Answered(200, {}, b'{"user_code":"AB-CD"}'), Answered(202), Answered(202)]
    room = await door(steps=[*answers, granted(1)])
    gate = asyncio.Event()

    async def sleep(seconds):
        await gate.wait()
        room.wall.advance(seconds)

    room.driver = replace(room.driver, sleep=sleep)
    room.logins._driver = room.driver
    flow = await room.logins.start("web", "device")
    assert (flow.kind, flow.state) == ("device", "waiting")
    assert (flow.user_code, flow.url) == ("AB-CD", "https://web.test/device")
    assert flow.expires_in(room.wall()) == 900
    assert room.ports.open_now == []
    gate.set()
    await ticks(30)
    assert room.logins.get(flow.id).state == "done"
    assert room.vault.records["web/web-1"].way == "device"


async def test_device_sign_in_may_be_cancelled_and_asks_no_more():
    room = await door(steps=[Answered(200, {}, b'{"user_code":"AB-CD"}')])
    room.logins._driver = replace(room.driver, sleep=lambda _s: asyncio.Event().wait())
    flow = await room.logins.start("web", "device")
    task = room.logins._attempts[flow.id].task
    room.logins.cancel(flow.id)
    await ticks()
    assert task.cancelled()
    assert len(room.send.requests) == 1


async def test_device_sign_in_that_fails_at_once_is_returned_as_failed():
    room = await door(steps=[unreachable()])
    flow = await room.logins.start("web", "device")
    assert flow.state == "failed"
    assert "could not be reached" in flow.error


async def test_service_that_gives_out_no_code_in_time_ends_the_flow():
    room = await door(steps=[Answered(200, {}, [asyncio.Event().wait])])
    starting = asyncio.ensure_future(room.logins.start("web", "device"))
    await ticks()
    room.timers.go(45)
    flow = await starting
    assert (flow.state, flow.code) == ("failed", "sign_in_slow")
    await ticks()
    assert room.logins._attempts[flow.id].task.cancelled()
    assert room.timers.set == []


async def test_device_code_expires_when_the_service_says():
    room = await door(steps=[Answered(200, {}, b'{"user_code":"AB-CD"}')])
    room.logins._driver = replace(room.driver, sleep=lambda _s: asyncio.Event().wait())
    flow = await room.logins.start("web", "device")
    room.timers.go(899)
    assert room.logins.get(flow.id).state == "waiting"
    room.timers.go(1)
    assert room.logins.get(flow.id).state == "expired"
    await ticks()


async def test_own_server_is_asked_and_remembered():
    answers = [Answered(200, {}, b'{"user_code":"AB-CD"}'), granted(1)]
    room = await door(steps=answers)
    await room.logins.start("web", "device", host="https://Git.Corp.test/")
    await ticks(20)
    assert {urlsplit(r.url).hostname for r in room.send.requests} == {"git.corp.test"}
    assert room.vault.records["web/web-1"].host == "git.corp.test"


@pytest.mark.parametrize(
    "host", ["corp", "git corp.test", "git.corp.test:80", "-x.test", "a@b.test"]
)
async def test_what_is_no_host_name_is_refused(host):
    room = await door()
    with pytest.raises(RequestError) as caught:
        await room.logins.start("web", "device", host=host)
    assert caught.value.code == "invalid_host"


# With a secret


async def test_typed_key_is_checked_and_kept():
    room = await door(steps=[granted(1, id="", name="")])
    flow = await room.logins.start("keyed")
    assert (flow.kind, flow.prompt) == ("secret", "API key")
    done = await room.logins.submit(flow.id, f" {CANARY}-key-1\n")
    assert (done.state, done.account) == ("done", "keyed/keyed-1")
    assert room.vault.records["keyed/keyed-1"].credential == Credential(f"{CANARY}-key-1")
    assert room.send.requests[0].headers == (("Authorization", f"Bearer {CANARY}-key-1"),)


async def test_slip_of_the_hand_is_told_and_typed_again():
    room = await door(steps=[granted(1)])
    flow = await room.logins.start("keyed")
    for typed in ("", "   ", "x" * 70_000):
        with pytest.raises(RequestError) as caught:
            await room.logins.submit(flow.id, typed)
        assert caught.value.code == "no_secret"
    with pytest.raises(RequestError) as caught:
        await room.logins.submit(flow.id, f"{CANARY}-mistyped")
    assert caught.value.code == "no_key"
    assert CANARY not in caught.value.text
    assert (await room.logins.submit(flow.id, f"{CANARY}-key-1")).state == "done"


async def test_text_for_another_way_is_refused():
    room = await door()
    browser, typed = await room.logins.start("web"), await room.logins.start("keyed")
    with pytest.raises(RequestError) as caught:
        await room.logins.submit(browser.id, f"{CANARY}-key-1")
    assert caught.value.code == "wrong_way"
    with pytest.raises(RequestError) as caught:
        await room.logins.paste(typed.id, "code#state")
    assert caught.value.code == "wrong_way"
