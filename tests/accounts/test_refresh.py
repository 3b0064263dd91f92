import asyncio
import logging
from dataclasses import replace

import pytest

from app.accounts.account import Account
from app.accounts.manner import Manner
from app.errors import AccountError, AppError, RequestError, Retry, UpstreamError
from app.providers.credential import Credential
from app.providers.signin import NOT_ALLOWED, SIGN_IN_AGAIN
from tests.accounts.services import (
    CANARY,
    HOUR,
    KEYED,
    PROVIDERS,
    START,
    WEB,
    Room,
    granted,
    record,
    refusal,
)
from tests.fakes.basic import Answered, unreachable

WEB_1 = "web/web-1"


async def opened(*records, **more):
    return await Room(*(records or (record(),)), **more).open()


async def settled(room):
    """Let renewals in the background come to their end."""
    while room.refresher._flights:
        await asyncio.wait(list(room.refresher._flights.values()))
        await asyncio.sleep(0)


# On demand


async def test_good_credential_is_returned_at_once():
    room = await opened()
    assert await room.refresher.fresh(room.account()) is room.account()
    assert room.send.requests == []


async def test_account_of_the_settings_is_left_as_it_is():
    room = await opened()
    account = Account("keyed/k", KEYED, "k", KEYED.base_url, Credential("sk-1"))
    assert await room.refresher.fresh(account) is account


async def test_expired_credential_is_renewed_first_and_stored_before_it_is_used():
    room = await opened(record(left=-1), steps=[granted(2)])
    order = []

    async def note():
        order.append(f"storing while {room.secret()} is in force")

    room.vault.hold = note
    account = await room.refresher.fresh(room.account())
    assert account.credential.secret == f"{CANARY}-access-2"
    assert order == [f"storing while {CANARY}-access-web-1 is in force"]
    stored = room.vault.records[WEB_1]
    assert stored.credential.renewal == f"{CANARY}-refresh-2"
    assert stored.renewed_at == START
    assert room.sent() == {"renewal": f"{CANARY}-refresh-web-1"}


async def test_renewal_goes_through_the_providers_proxy():
    room = await opened(record(left=-1), steps=[granted(2)])
    room.book.configure([], {"web": Manner(proxy="http://p.test:1")})
    account = await room.refresher.fresh(room.account())
    assert account.proxy == "http://p.test:1"
    assert [request.proxy for request in room.send.requests] == ["http://p.test:1"]


async def test_nothing_is_renewed_around_a_proxy_that_is_not_there():
    room = await opened(record(left=100))
    room.book.configure([], {"web": Manner(trouble="PROXY is not set in this session")})
    room.timers.go(0)
    await settled(room)
    assert room.send.requests == []
    renewal = room.refresher.renewal(WEB_1)
    assert "PROXY is not set" in renewal.error
    assert not renewal.over


async def test_200_parallel_calls_cause_exactly_one_renewal():
    release = asyncio.Event()
    room = await opened(
        record(left=-1), steps=[Answered(200, {}, [release.wait, *granted(2).chunks])]
    )
    waiting = [asyncio.ensure_future(room.refresher.fresh(room.account())) for _ in range(200)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(room.send.requests) == 1
    release.set()
    accounts = await asyncio.gather(*waiting)
    assert {a.credential.secret for a in accounts} == {f"{CANARY}-access-2"}
    assert len(room.send.requests) == 1
    assert len(room.vault.stored) == 1


async def test_caller_that_leaves_does_not_end_the_renewal_for_others():
    release = asyncio.Event()
    room = await opened(
        record(left=-1), steps=[Answered(200, {}, [release.wait, *granted(2).chunks])]
    )
    leaving = asyncio.ensure_future(room.refresher.fresh(room.account()))
    staying = asyncio.ensure_future(room.refresher.fresh(room.account()))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.sleep(0)
    release.set()
    assert (await staying).credential.secret == f"{CANARY}-access-2"


async def test_credential_that_is_due_is_used_and_renewed_in_the_background():
    room = await opened(record(left=HOUR / 2), steps=[granted(2)])
    account = await room.refresher.fresh(room.account())
    assert account.credential.secret == f"{CANARY}-access-web-1"
    await settled(room)
    assert room.secret() == f"{CANARY}-access-2"


async def test_old_account_value_gets_the_newest_credential():
    room = await opened(record(left=-1), steps=[granted(2)])
    old = room.account()
    await room.refresher.fresh(old)
    assert (await room.refresher.fresh(old)).credential.secret == f"{CANARY}-access-2"
    assert len(room.send.requests) == 1


async def test_service_that_fails_never_takes_a_working_token_away():
    room = await opened(record(left=30), steps=[unreachable()])
    account = await room.refresher.fresh(room.account())
    assert account.credential.secret == f"{CANARY}-access-web-1"
    assert room.account().ready
    again = await room.refresher.fresh(room.account())
    assert again.credential.secret == f"{CANARY}-access-web-1"
    assert len(room.send.requests) == 1, "the service is left alone for a while"


async def test_nothing_to_use_and_no_answer_says_when_to_come_back():
    room = await opened(record(left=-1), steps=[unreachable()])
    with pytest.raises(AccountError, match="could not be reached") as caught:
        await room.refresher.fresh(room.account())
    assert (caught.value.code, caught.value.retry) == ("renewal_failed", Retry.NEXT_ACCOUNT)
    with pytest.raises(AccountError) as caught:
        await room.refresher.fresh(room.account())
    assert caught.value.retry_after_s == 30
    assert len(room.send.requests) == 1
    room.send.script(granted(2))
    room.timers.go(30)
    await settled(room)
    assert (await room.refresher.fresh(room.account())).credential.secret == f"{CANARY}-access-2"


async def test_each_caller_gets_an_error_of_its_own():
    room = await opened(record(left=-1), steps=[unreachable()])
    errors = await asyncio.gather(
        *(room.refresher.fresh(room.account()) for _ in range(3)), return_exceptions=True
    )
    assert len({id(error) for error in errors}) == 3


async def test_end_without_a_way_to_renew_is_told():
    provider = replace(WEB, renew=None)
    room = await opened(record(left=100), providers={"web": provider})
    assert (await room.refresher.fresh(room.account())).ready
    room.timers.go(100)
    account = room.account()
    assert "dragoman login web" in account.trouble
    with pytest.raises(AccountError) as caught:
        await room.refresher.fresh(account)
    assert caught.value.code == SIGN_IN_AGAIN


async def test_long_lived_token_without_a_renewal_is_used_to_its_end():
    room = await opened(record(credential=Credential("s-long", "oauth", START + 2 * HOUR)))
    room.timers.go(2 * HOUR - 61)
    assert (await room.refresher.fresh(room.account())).ready
    with pytest.raises(AccountError) as caught:
        await room.refresher.rejected(room.account(), "s-long")
    assert caught.value.code == "key_refused"
    with pytest.raises(RequestError):
        await room.refresher.renew(WEB_1)
    room.timers.go(61)
    assert "dragoman login web" in room.account().trouble
    assert room.send.requests == []


async def test_credential_without_an_end_is_never_renewed():
    room = await opened(record(credential=Credential("s-without-end", "oauth", None, "r")))
    room.timers.go(90 * 86_400)
    assert room.send.requests == []
    assert room.timers.next_s is None


# Ahead of time


async def test_renewal_comes_an_hour_before_the_end():
    room = await opened(steps=[granted(2)])
    room.timers.go(7 * HOUR - 1)
    assert room.send.requests == []
    room.timers.go(1)
    await settled(room)
    assert room.secret() == f"{CANARY}-access-2"
    assert room.refresher.renewal(WEB_1).next_at == START + 7 * HOUR + 7 * HOUR


@pytest.mark.parametrize(("jitter", "lead_s"), [(-1, 0.9 * HOUR), (1, 1.1 * HOUR)])
async def test_moment_is_spread_by_a_tenth(jitter, lead_s):
    room = await opened(jitter=jitter)
    assert room.refresher.renewal(WEB_1).next_at == pytest.approx(START + 8 * HOUR - lead_s)


async def test_one_timer_waits_for_the_soonest_of_all():
    room = await opened(record(), record("web-2", left=2 * HOUR), record("web-3", left=HOUR + 60))
    assert len(room.timers.set) == 1
    assert room.timers.next_s == 60


async def test_paused_and_resting_accounts_are_renewed_too():
    room = await opened(record(paused=True), steps=[granted(2)])
    room.roster.pause(WEB_1, None, 86_400, "5-hour window used up", START)
    room.timers.go(7 * HOUR)
    await settled(room)
    assert room.vault.records[WEB_1].credential.secret == f"{CANARY}-access-2"
    room.book.set_trouble(WEB_1, "")
    await room.book.pause(WEB_1, paused=False)
    assert room.roster.overall(room.account(), room.wall()).health == "cooling"


async def test_lead_longer_than_half_a_life_does_not_renew_all_the_time():
    short = record(credential=Credential("s-90-minutes", "oauth", START + 5_400, "r", {}, START))
    room = await opened(short)
    assert room.refresher.renewal(WEB_1).next_at == START + 2_700


async def test_renewal_that_does_not_move_the_end_is_not_repeated_at_once():
    room = await opened(record(left=HOUR / 2), steps=[granted(2, life=0)])
    await room.refresher.fresh(room.account())
    await settled(room)
    assert len(room.send.requests) == 1
    room.send.script(granted(3))
    room.timers.go(29)
    await settled(room)
    assert len(room.send.requests) == 1


async def test_short_lived_token_is_renewed_ahead_only_while_it_is_used():
    short = record(credential=Credential("s-60", "oauth", START + 60, "r", {}, START))
    provider = replace(WEB, renew_lead_s=10)
    room = await opened(short, providers={"web": provider}, steps=[granted(2, life=60)])
    room.timers.go(3_600)
    assert room.send.requests == []
    await room.refresher.fresh(room.account())
    assert len(room.send.requests) == 1
    room.send.script(granted(3, life=60))
    assert (await room.refresher.fresh(room.account())).credential.secret.endswith("access-2")
    room.timers.go(50)
    await settled(room)
    assert room.secret() == f"{CANARY}-access-3"
    room.timers.go(3_600)
    assert len(room.send.requests) == 2


# Clocks


async def test_sleep_of_the_computer_is_noticed_soon_after():
    room = await opened(steps=[granted(2)])
    room.wall.now += 9 * HOUR  # the steady clock stood still, and with it the timer
    room.timers.go(15 * 60)
    await settled(room)
    assert room.secret() == f"{CANARY}-access-2"


async def test_waking_up_can_be_told():
    room = await opened(steps=[granted(2)])
    room.wall.now += 9 * HOUR
    room.refresher.woke()
    await settled(room)
    assert room.secret() == f"{CANARY}-access-2"


async def test_request_after_a_sleep_renews_first():
    room = await opened(steps=[granted(2)])
    room.wall.now += 9 * HOUR
    assert (await room.refresher.fresh(room.account())).credential.secret == f"{CANARY}-access-2"


async def test_clock_that_is_set_back_does_not_keep_an_old_token():
    room = await opened(steps=[granted(2)])
    room.wall.now -= 30 * 86_400
    room.timers.go(7 * HOUR)
    await settled(room)
    assert room.secret() == f"{CANARY}-access-2"


async def test_waking_up_does_not_shorten_what_a_service_asked_for():
    error = UpstreamError("Busy.", retry_after_s=500.0)
    room = await opened(record(left=100), steps=[error])
    room.timers.go(0)
    await settled(room)
    room.refresher.woke()
    assert len(room.send.requests) == 1


# Refusals


@pytest.mark.parametrize(
    ("status", "need", "words"),
    [(400, "sign_in", "not signed in any more"), (429, "", "not allowed")],
)
async def test_account_whose_token_has_ended_says_what_helps(status, need, words):
    room = await opened(record(left=-1), steps=[refusal(status)])
    with pytest.raises(AccountError):
        await room.refresher.fresh(room.account())
    assert room.account().trouble.startswith(f"{words}. ")
    assert room.book.need(WEB_1) == need


@pytest.mark.parametrize(("status", "code"), [(400, SIGN_IN_AGAIN), (429, NOT_ALLOWED)])
async def test_refusal_is_final_but_the_working_token_goes_on(status, code, caplog):
    room = await opened(steps=[refusal(status)])
    with caplog.at_level(logging.ERROR):
        room.timers.go(7 * HOUR)
        await settled(room)
    assert "cannot be renewed" in caplog.text
    assert [account_id for account_id, _ in room.told] == [WEB_1]
    assert room.account().ready
    assert room.refresher.renewal(WEB_1).over
    assert (await room.refresher.fresh(room.account())).ready
    room.timers.go(HOUR - 30)
    assert (await room.refresher.fresh(room.account())).ready, "30 seconds are left"
    room.timers.go(30)
    account = room.account()
    assert not account.ready
    with pytest.raises(AccountError) as caught:
        await room.refresher.fresh(account)
    assert caught.value.code == code
    assert len(room.send.requests) == 1, "nothing is tried again after a refusal"


async def test_signing_in_again_ends_the_trouble():
    room = await opened(record(left=-1), steps=[refusal()])
    with pytest.raises(AccountError):
        await room.refresher.fresh(room.account())
    assert not room.account().ready
    await room.book.put(record(credential=Credential("s-new", "oauth", START + 8 * HOUR, "r")))
    room.refresher.signed_in(WEB_1)
    assert (await room.refresher.fresh(room.account())).credential.secret == "s-new"
    assert room.refresher.renewal(WEB_1).error == ""


async def test_somebody_may_ask_for_another_try():
    room = await opened(record(left=-1), steps=[refusal(), granted(2)])
    with pytest.raises(AccountError):
        await room.refresher.fresh(room.account())
    renewed = await room.refresher.renew(WEB_1)
    assert renewed.credential.secret == f"{CANARY}-access-2"
    assert room.account().ready
    with pytest.raises(RequestError) as caught:
        await room.refresher.renew("web/none")
    assert caught.value.status == 404


async def test_what_has_nothing_to_renew_says_so():
    room = await opened(record("k", "keyed"))
    with pytest.raises(RequestError) as caught:
        await room.refresher.renew("keyed/k")
    assert caught.value.code == "not_renewable"


async def test_failures_are_tried_again_later_and_later(caplog):
    room = await opened(steps=[unreachable() for _ in range(8)])
    begun = []
    with caplog.at_level(logging.WARNING):
        room.timers.go(7 * HOUR)
        for _ in range(7):
            await settled(room)
            begun.append(room.timers.next_s)
            room.timers.go(room.timers.next_s)
    await settled(room)
    assert begun == [30, 60, 120, 240, 480, 900, 900]
    assert caplog.text.count("could not be renewed") == 8
    assert room.refresher.renewal(WEB_1).error_at > START


async def test_wait_that_a_service_asks_for_is_kept():
    room = await opened(record(left=-1), steps=[UpstreamError("Busy.", retry_after_s=200.0)])
    room.timers.go(0)
    await settled(room)
    assert room.timers.next_s == 200


# Rejected tokens


async def test_rejected_token_is_renewed_once_for_all():
    room = await opened(steps=[granted(2)])
    used = room.secret()
    accounts = await asyncio.gather(
        *(room.refresher.rejected(room.account(), used) for _ in range(50))
    )
    assert {a.credential.secret for a in accounts} == {f"{CANARY}-access-2"}
    assert len(room.send.requests) == 1


async def test_token_that_is_no_longer_in_force_causes_no_renewal():
    room = await opened(steps=[granted(2)])
    used = room.secret()
    await room.refresher.rejected(room.account(), used)
    account = await room.refresher.rejected(room.account(), used)
    assert account.credential.secret == f"{CANARY}-access-2"
    assert len(room.send.requests) == 1


async def test_token_that_is_refused_just_after_it_was_given_out_is_not_renewed_again():
    room = await opened(steps=[granted(2)])
    await room.refresher.rejected(room.account(), room.secret())
    with pytest.raises(AccountError) as caught:
        await room.refresher.rejected(room.account(), room.secret())
    assert caught.value.code == "token_refused"
    assert room.account().ready
    room.timers.go(60)
    room.send.script(granted(3))
    await room.refresher.rejected(room.account(), room.secret())
    assert room.secret() == f"{CANARY}-access-3"


async def test_rejected_token_that_cannot_be_renewed_takes_the_account_out_of_use():
    room = await opened(steps=[refusal()])
    with pytest.raises(AccountError) as caught:
        await room.refresher.rejected(room.account(), room.secret())
    assert caught.value.code == SIGN_IN_AGAIN
    assert not room.account().ready


async def test_rejected_token_and_a_service_that_fails_is_no_end():
    room = await opened(steps=[unreachable()])
    with pytest.raises(AccountError) as caught:
        await room.refresher.rejected(room.account(), room.secret())
    assert caught.value.code == "renewal_failed"
    assert room.account().ready


async def test_rejected_key_cannot_be_renewed():
    room = await opened(record("k", "keyed"))
    with pytest.raises(AccountError) as caught:
        await room.refresher.rejected(room.account("keyed/k"), "sk")
    assert caught.value.code == "key_refused"


# Storing


async def test_renewed_token_that_cannot_be_stored_is_used_told_and_stored_later(caplog):
    room = await opened(record(left=-1), steps=[granted(2)])
    room.vault.broken = AppError("The disk is full.")
    with caplog.at_level(logging.WARNING):
        account = await room.refresher.fresh(room.account())
    assert account.credential.secret == f"{CANARY}-access-2"
    assert "could not be stored" in caplog.text
    assert room.told == [(WEB_1, "Its sign-in could not be stored: The disk is full.")]
    room.vault.broken = None
    room.timers.go(30)
    await settled(room)
    assert room.vault.records[WEB_1].credential.secret == f"{CANARY}-access-2"
    assert len(room.send.requests) == 1


async def test_token_that_could_never_be_stored_is_renewed_all_the_same():
    room = await opened(record(left=-1), steps=[granted(2), granted(3)])
    room.vault.broken = AppError("The disk is full.")
    await room.refresher.fresh(room.account())
    room.timers.go(8 * HOUR)
    await settled(room)
    assert (await room.refresher.fresh(room.account())).credential.secret == f"{CANARY}-access-3"
    assert room.sent() == {"renewal": f"{CANARY}-refresh-2"}


async def test_account_that_is_removed_meanwhile_is_gone():
    release = asyncio.Event()
    room = await opened(
        record(left=-1), steps=[Answered(200, {}, [release.wait, *granted(2).chunks])]
    )
    waiting = asyncio.ensure_future(room.refresher.fresh(room.account()))
    await asyncio.sleep(0)
    await room.book.remove(WEB_1)
    release.set()
    with pytest.raises(AccountError) as caught:
        await waiting
    assert caught.value.code == "account_removed"
    assert room.vault.records == {}


async def test_sign_in_that_comes_first_is_not_overwritten():
    room = await opened(record(left=-1))
    async with room.book.exclusive(WEB_1):
        waiting = asyncio.ensure_future(room.refresher.fresh(room.account()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await room.book.put(record(credential=Credential("s-new", "oauth", START + HOUR, "r")))
    assert (await waiting).credential.secret == "s-new"
    assert room.send.requests == []


async def test_account_that_is_renamed_goes_on_being_renewed():
    room = await opened(steps=[granted(2)])
    old = room.account()
    await room.book.rename(WEB_1, "work")
    room.wall.now += 9 * HOUR
    account = await room.refresher.fresh(old)
    assert (account.id, account.credential.secret) == ("web/work", f"{CANARY}-access-2")


# The end


async def test_closing_waits_for_what_runs_and_begins_nothing():
    release = asyncio.Event()
    room = await opened(
        record(left=-1), steps=[Answered(200, {}, [release.wait, *granted(2).chunks])]
    )
    room.timers.go(0)
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(room.refresher.close())
    await asyncio.sleep(0)
    release.set()
    await closing
    assert room.vault.records[WEB_1].credential.secret == f"{CANARY}-access-2"
    assert room.timers.set == []


async def test_no_secret_is_told_to_anybody(caplog):
    leak = refusal(said=f"the token {CANARY}-refresh-web-1 was used")
    with caplog.at_level(logging.DEBUG):
        room = await opened(record(left=-1), record("web-2", left=-1), steps=[leak, unreachable()])
        for account in room.roster.accounts():
            with pytest.raises(AccountError) as caught:
                await room.refresher.fresh(account)
            assert CANARY not in caught.value.text + repr(caught.value)
    told = caplog.text + repr(room.told) + repr(room.refresher.renewal(WEB_1))
    told += "".join(a.trouble for a in room.roster.accounts()) + repr(room.roster.accounts())
    assert CANARY not in told


async def test_many_renewals_over_days_leave_nothing_behind():
    room = await opened(*(record(f"web-{n}") for n in range(1, 5)), providers=PROVIDERS, jitter=0.5)
    number = 1

    def answer(_request):
        nonlocal number
        number += 1
        return granted(number) if number % 5 else unreachable()

    room.send.script(*[answer] * 2_000)
    for _ in range(24 * 30):
        room.timers.go(HOUR)
        await settled(room)
        for account in room.roster.accounts():
            fresh = await room.refresher.fresh(account)
            assert fresh.credential.expires_at > room.wall()
        await settled(room)
    assert number > 400
    assert len(room.refresher._courses) == 4
    assert len(room.timers.set) == 1
