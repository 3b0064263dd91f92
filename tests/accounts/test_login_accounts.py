"""Sign-ins: which account they are for, what comes before their start, and how they end."""

import asyncio
import logging

import pytest

from app.accounts.flow import ConsentNeeded
from app.accounts.login import CODE_S
from app.errors import AccountError, AppError, RequestError
from app.providers.credential import Identity
from tests.accounts.doors import door, state_of, ticks
from tests.accounts.services import (
    CANARY,
    CONSENT,
    START,
    WEB,
    granted,
    record,
    refusal,
)
from tests.fakes.basic import Answered

# Which account


async def sign_in(room, number=1, *, start=(), **more):
    room.send.script(granted(number, **more))
    flow = await room.logins.start("web", **dict(start))
    return await room.logins.callback(state_of(flow), "the-code")


async def test_same_person_again_repairs_the_account_in_place():
    old = record("work", identity=Identity("id-web-1"), primary=True, created_at=START - 9, order=3)
    room = await door(old)
    done = await sign_in(room, 7)
    assert (done.account, done.repaired) == ("web/work", True)
    (stored,) = room.vault.records.values()
    assert stored.credential.secret == f"{CANARY}-access-7"
    assert (stored.label, stored.primary, stored.created_at, stored.order) == (
        "work",
        True,
        START - 9,
        3,
    )
    assert stored.identity.name == "web-1@example.org"


async def test_another_person_is_another_account():
    room = await door(record())
    done = await sign_in(room, 2, id="id-2", name="two@example.org")
    assert done.account == "web/web-2"
    assert room.vault.records["web/web-2"].order == 1


async def test_label_may_be_chosen_and_must_be_free():
    room = await door(record())
    done = await sign_in(room, 2, start={"label": "work"}, id="id-2")
    assert done.account == "web/work"
    with pytest.raises(RequestError) as caught:
        await room.logins.start("web", label="web-1")
    assert caught.value.code == "label_taken"
    with pytest.raises(RequestError) as caught:
        await room.logins.start("web", label="a b")
    assert caught.value.code == "invalid_label"


async def test_two_flows_of_one_person_make_one_account():
    room = await door(steps=[granted(1), granted(2)])
    flows = [await room.logins.start("web") for _ in range(2)]
    done = await asyncio.gather(*(room.logins.callback(state_of(f), "the-code") for f in flows))
    assert [flow.account for flow in done] == ["web/web-1", "web/web-1"]
    assert len(room.vault.records) == 1


async def test_repair_by_the_right_person():
    room = await door(record())
    done = await sign_in(room, 5, start={"account": "web-1"})
    assert (done.state, done.repaired) == ("done", True)


async def test_repair_by_another_person_changes_nothing_until_it_is_confirmed():
    room = await door(record())
    aside = await sign_in(
        room, 2, start={"account": "web/web-1"}, id="id-2", name="two@example.org"
    )
    assert (aside.state, aside.code) == ("other_identity", "other_identity")
    assert "two@example.org" in aside.error
    assert "web-1@example.org" in aside.error
    assert room.secret() == f"{CANARY}-access-web-1"
    assert room.signed_in == []
    done = await room.logins.confirm(aside.id)
    assert (done.state, done.account, done.repaired) == ("done", "web/web-1", True)
    assert room.vault.records["web/web-1"].identity.id == "id-2"
    with pytest.raises(RequestError) as caught:
        await room.logins.confirm(aside.id)
    assert caught.value.code == "nothing_to_confirm"


async def test_confirmed_person_with_an_account_repairs_that_one():
    room = await door(record(), record("web-2"))
    aside = await sign_in(room, 5, start={"account": "web-1"}, id="id-web-2", name="web-2")
    assert "web-2, which is theirs" in aside.error
    done = await room.logins.confirm(aside.id)
    assert done.account == "web/web-2"
    assert room.secret("web/web-2") == f"{CANARY}-access-5"
    assert room.secret("web/web-1") == f"{CANARY}-access-web-1"


async def test_confirmed_sign_in_that_cannot_be_stored_fails():
    room = await door(record())
    aside = await sign_in(room, 2, start={"account": "web-1"}, id="id-2")
    room.vault.broken = AppError("The disk is full.")
    ended = await room.logins.confirm(aside.id)
    assert (ended.state, ended.error) == ("failed", "The disk is full.")
    assert room.secret() == f"{CANARY}-access-web-1"


async def test_account_that_is_removed_meanwhile_is_made_anew():
    room = await door(record())
    flow = await room.logins.start("web", account="web-1")
    await room.book.remove("web/web-1")
    room.send.script(granted(2, id="id-2"))
    done = await room.logins.callback(state_of(flow), "the-code")
    assert (done.state, done.repaired, done.account) == ("done", False, "web/web-1")


async def test_what_nobody_confirms_is_dropped():
    room = await door(record())
    aside = await sign_in(room, 2, start={"account": "web-1"}, id="id-2")
    room.timers.go(CODE_S)
    assert room.logins.get(aside.id).state == "expired"
    with pytest.raises(RequestError):
        await room.logins.confirm(aside.id)
    assert room.secret() == f"{CANARY}-access-web-1"


async def test_account_whose_owner_is_not_known_is_repaired_by_whoever_signs_in():
    room = await door(record(identity=Identity("")))
    done = await sign_in(room, 2, start={"account": "web-1"}, id="id-2")
    assert (done.state, done.repaired) == ("done", True)


async def test_sign_in_that_cannot_be_stored_fails_loudly():
    room = await door()
    room.vault.broken = AppError("The disk is full.")
    ended = await sign_in(room)
    assert (ended.state, ended.error) == ("failed", "The disk is full.")
    assert room.signed_in == []


# Before the start


async def test_locked_vault_is_told_before_anybody_signs_in():
    room = await door()
    room.vault.locked = "The keyring is locked."
    with pytest.raises(AccountError, match="keyring is locked"):
        await room.logins.start("web")
    assert room.logins.flows() == ()


async def test_text_has_to_be_agreed_to_first_and_the_agreement_is_kept():
    room = await door(steps=[granted(1)])
    for consent in ("", "2020-01-01"):
        with pytest.raises(ConsentNeeded) as caught:
            await room.logins.start("strict", consent=consent)
        assert (caught.value.status, caught.value.consent) == (409, CONSENT)
        assert CONSENT.text in caught.value.message
    flow = await room.logins.start("strict", consent=CONSENT.version)
    room.wall.advance(60)
    await room.logins.callback(state_of(flow), "the-code")
    stored = room.vault.records["strict/strict-1"]
    assert (stored.consent, stored.consented_at) == (CONSENT.version, START)


async def test_repair_needs_no_second_agreement_to_the_same_text():
    agreed = record("s", "strict", consent=CONSENT.version, consented_at=START - 9)
    room = await door(agreed, record("t", "strict", consent="2020-01-01"), steps=[granted(1)])
    with pytest.raises(ConsentNeeded):
        await room.logins.start("strict", account="t")
    flow = await room.logins.start("strict", account="s")
    aside = await room.logins.callback(state_of(flow), "the-code")
    await room.logins.confirm(aside.id)
    assert room.vault.records["strict/s"].consented_at == START - 9


@pytest.mark.parametrize(
    ("provider", "more", "code"),
    [
        ("none", {}, "unknown_provider"),
        ("web", {"way": "telepathy"}, "unknown_way"),
        ("web", {"account": "nobody"}, "unknown_account"),
    ],
)
async def test_what_is_not_there_is_404(provider, more, code):
    room = await door()
    with pytest.raises(RequestError) as caught:
        await room.logins.start(provider, **more)
    assert (caught.value.status, caught.value.code) == (404, code)
    with pytest.raises(RequestError) as caught:
        room.logins.get("none")
    assert caught.value.status == 404


async def test_sign_ins_at_once_are_limited():
    room = await door()
    for _ in range(4):
        await room.logins.start("web")
    with pytest.raises(RequestError) as caught:
        await room.logins.start("web")
    assert (caught.value.status, caught.value.code) == (429, "too_many_sign_ins")
    assert caught.value.retry_after_s == 300
    assert (await room.logins.start("keyed")).state == "waiting"
    room.logins.cancel(room.logins.flows()[0].id)
    assert (await room.logins.start("web")).state == "waiting"


async def test_ended_flows_are_forgotten():
    room = await door()
    first = await room.logins.start("web")
    room.logins.cancel(first.id)
    room.timers.go(CODE_S + 700)
    await room.logins.start("web")
    with pytest.raises(RequestError):
        room.logins.get(first.id)
    for _ in range(200):
        room.logins.cancel((await room.logins.start("web")).id)
    assert len(room.logins.flows()) < 80


# The end, and secrets


async def test_closing_lets_a_sign_in_that_is_being_finished_end():
    release = asyncio.Event()
    room = await door(steps=[Answered(200, {}, [release.wait, *granted(1).chunks])])
    working, waiting = await room.logins.start("web"), await room.logins.start("web")
    finishing = asyncio.ensure_future(room.logins.callback(state_of(working), "the-code"))
    await ticks()
    closing = asyncio.ensure_future(room.logins.close())
    await ticks()
    release.set()
    await closing
    assert (await finishing).state == "done"
    assert room.logins.get(waiting.id).state == "cancelled"
    await ticks()
    assert room.ports.open_now == []


async def test_fault_of_ours_fails_the_flow_and_is_logged(caplog):
    room = await door()
    flow = await room.logins.start("web")
    room.book.twin = None
    room.send.script(granted(1))
    with caplog.at_level(logging.ERROR):
        ended = await room.logins.callback(state_of(flow), "the-code")
        await ticks()
    assert ended.state == "failed"
    assert "TypeError" in caplog.text


async def test_no_secret_is_told_to_anybody(caplog):
    code = f"{CANARY}-code"
    with caplog.at_level(logging.DEBUG):
        room = await door(steps=[refusal(said=f"{code} was used"), granted(1)])
        flow = await room.logins.start("web")
        told = [await room.logins.callback(state_of(flow), code)]
        flow = await room.logins.start("web")
        assert state_of(flow) not in repr(flow)
        told.append(await room.logins.callback(state_of(flow), code))
        told.append(room.logins._attempts)
        told.append(WEB)
    assert [t.state for t in told[:2]] == ["failed", "done"]
    assert CANARY not in "".join(map(repr, told[:2])) + caplog.text
    assert CANARY not in told[0].error
