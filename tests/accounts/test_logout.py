import asyncio
from dataclasses import replace

import pytest

from app.accounts.account import Account
from app.accounts.imports import IMPORT
from app.accounts.logout import log_out
from app.accounts.manner import Manner
from app.errors import AppError, RequestError
from app.providers import PROVIDERS as BUILT_IN
from app.providers.credential import Credential
from tests.accounts.services import CANARY, CONSENT, KEYED, PROVIDERS, Room, record, refusal
from tests.fakes.basic import Answered, DictVault, unreachable

PAGE = "https://web.test/settings/sessions"
PAGED = {key: replace(provider, manage_url=PAGE) for key, provider in PROVIDERS.items()}


async def opened(*records, **more):
    return await Room(*records, **more).open()


async def leave(room, account_id="web/web-1"):
    return await log_out(room.book, room.driver, account_id)


async def test_logout_revokes_then_deletes():
    room = await opened(record(), steps=[Answered(200, {}, b"{}")])
    assert await leave(room) == "web/web-1 was revoked and removed."
    assert room.sent() == {"token": f"{CANARY}-access-web-1"}
    assert room.vault.records == {}
    assert room.account() is None


@pytest.mark.parametrize("answer", [refusal(500), unreachable()])
async def test_logout_deletes_although_it_cannot_revoke_and_says_where_to_do_it(answer, caplog):
    room = await opened(record(), steps=[answer], providers=PAGED)
    said = await leave(room)
    assert said.startswith("web/web-1 was removed, but could not be revoked at its service: ")
    assert said.endswith(f"End it by hand on the service's own page ({PAGE}).")
    assert room.vault.records == {}
    assert "web/web-1 could not be revoked" in caplog.text
    assert CANARY not in said + caplog.text


async def test_logout_says_that_a_service_names_no_call_and_where_to_do_it():
    room = await opened(record("s", "strict", consent=CONSENT.version), providers=PAGED)
    assert await leave(room, "strict/s") == (
        "strict/s was removed here. Strict offers no call by which Dragoman could revoke it. End it "
        f"by hand on the service's own page ({PAGE})."
    )
    assert room.send.requests == []


async def test_page_is_that_of_the_users_own_server():
    theirs = record("s", "strict", consent=CONSENT.version, host="git.company.test")
    room = await opened(theirs, providers=PAGED)
    assert "(https://git.company.test/settings/sessions)" in await leave(room, "strict/s")


async def test_logout_of_a_key_says_that_it_stays_good():
    key = record("keyed-1", "keyed", credential=Credential("sk-key"))
    room = await opened(key, providers=PAGED)
    assert await leave(room, "keyed/keyed-1") == (
        "keyed/keyed-1 was removed here. The key itself stays good until you delete it at its "
        f"service ({PAGE})."
    )
    assert room.vault.records == {}


async def test_sign_in_that_another_program_may_use_is_not_revoked():
    room = await opened(record(way=IMPORT), providers=PAGED)
    said = await leave(room)
    assert "another program, which may still use it, so it was not revoked" in said
    assert PAGE in said
    assert room.send.requests == []
    assert room.vault.records == {}


async def test_account_that_cannot_be_read_is_removed_and_told_so():
    vault = DictVault(record())
    vault.locked = "Locked."
    room = await opened(vault=vault, providers=PAGED)
    said = await leave(room)
    assert "could not be read, so nothing was revoked" in said
    assert PAGE in said
    assert vault.records == {}
    assert room.account() is None


async def test_record_of_an_unknown_service_is_removed():
    room = await opened(record("g", "gone"))
    assert await leave(room, "gone/g") == (
        "gone/g was removed here. gone offers no call by which Dragoman could revoke it. End it by "
        "hand on the service's own page."
    )


async def test_unknown_account_and_one_of_the_settings_are_refused():
    room = await opened()
    room.book.configure(
        [Account("keyed/k", KEYED, "k", KEYED.base_url, credential=Credential("sk"))]
    )
    for account_id in ("keyed/k", "web/none"):
        with pytest.raises(RequestError):
            await leave(room, account_id)


async def test_account_that_cannot_be_deleted_is_told_and_stays():
    class Stuck(DictVault):
        async def delete(self, account_id):
            raise AppError(f"{account_id} cannot be deleted.")

    room = await opened(vault=Stuck(record()), steps=[Answered(200, {}, b"{}")])
    with pytest.raises(AppError, match="cannot be deleted"):
        await leave(room)
    assert room.account() is not None


async def test_revocation_goes_through_the_providers_proxy():
    room = await opened(record(), steps=[Answered(200, {}, b"{}")])
    room.book.configure([], {"web": Manner(proxy="http://p.test:1")})
    await leave(room)
    assert room.send.requests[-1].proxy == "http://p.test:1"


async def test_nothing_is_revoked_around_a_proxy_that_is_not_there():
    room = await opened(record())
    room.book.configure([], {"web": Manner(trouble="PROXY is not set in this session")})
    assert "could not be revoked at its service: Nothing is sent" in await leave(room)
    assert room.send.requests == []
    assert room.vault.records == {}


async def test_two_logouts_at_once_revoke_once():
    room = await opened(record(), steps=[Answered(200, {}, b"{}")])
    told = await asyncio.gather(leave(room), leave(room), return_exceptions=True)
    assert sorted(type(one).__name__ for one in told) == ["RequestError", "str"]
    assert len(room.send.requests) == 1


@pytest.mark.parametrize(
    "provider",
    # WebAI's cookies are those of many sites, each of which has a page of its own.
    [p for p in BUILT_IN.values() if p.sign_ins and p.id != "webai"],
    ids=lambda provider: provider.id,
)
def test_every_service_that_is_signed_in_to_has_a_page_for_ending_it(provider):
    assert provider.manage_url.startswith("https://")
