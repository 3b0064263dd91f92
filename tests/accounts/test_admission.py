import asyncio

import pytest

from app.accounts.admission import Admission, Admitted, Aside, Wanted
from app.errors import AppError
from app.providers.credential import Credential, Identity
from app.providers.signin import Granted
from tests.accounts.services import START, Room, record


def granted(number=2, name="two@example.org"):
    return Granted(Credential(f"access-{number}", "oauth"), Identity(f"id-{number}", name, "pro"))


async def opened(*records):
    room = await Room(*records).open()
    return room, Admission(room.book, room.wall)


def wanted(**more):
    return Wanted("web", "device", **more)


async def test_somebody_new_gets_an_account_of_their_own_at_the_end():
    room, admission = await opened(record("a", order=4))
    admitted = await admission.admit(
        wanted(label="work", host="h.test", consent="2026", consented_at=START), granted()
    )
    assert not admitted.repaired
    new = admitted.record
    assert (new.id, new.way, new.order, new.created_at) == ("web/work", "device", 5, START)
    assert (new.host, new.consent, new.consented_at) == ("h.test", "2026", START)
    assert room.secret("web/work") == "access-2"


@pytest.mark.parametrize("label", ["", "web-1"])
async def test_label_that_is_not_free_any_more_gives_way_to_the_next_one(label):
    _, admission = await opened(record())
    assert (await admission.admit(wanted(label=label), granted())).record.id == "web/web-2"


async def test_account_that_is_there_is_repaired_and_keeps_its_place():
    mine = record(
        "mine", order=3, primary=True, paused=True, consent="2026", consented_at=1.0, renewed_at=2.0
    )
    room, admission = await opened(mine)
    same = Granted(Credential("new", "oauth"), mine.identity)
    admitted = await admission.admit(wanted(label="other"), same)
    assert admitted.repaired
    kept = admitted.record
    assert (kept.id, kept.order, kept.primary, kept.paused) == ("web/mine", 3, True, True)
    assert (kept.consent, kept.consented_at, kept.created_at) == ("2026", 1.0, mine.created_at)
    assert (kept.way, kept.renewed_at, kept.credential.secret) == ("device", 0.0, "new")
    assert list(room.vault.records) == ["web/mine"]


async def test_identity_that_is_not_told_leaves_the_one_that_is_known():
    mine = record()
    _, admission = await opened(mine)
    unknown = Granted(Credential("new", "oauth"), Identity(""))
    admitted = await admission.admit(wanted(account="web/web-1"), unknown)
    assert (admitted.repaired, admitted.record.identity) == (True, mine.identity)


async def test_somebody_else_is_put_aside_and_nothing_changes():
    mine = record()
    room, admission = await opened(mine)
    aside = await admission.admit(wanted(account="web/web-1"), granted())
    assert isinstance(aside, Aside)
    assert "two@example.org, but wanted to repair web-1 (web-1@example.org)" in aside.message
    assert "make web-1 theirs" in aside.message
    assert room.vault.records == {"web/web-1": mine}


async def test_confirmed_somebody_else_takes_the_account():
    room, admission = await opened(record())
    admitted = await admission.admit(wanted(account="web/web-1"), granted(), confirmed=True)
    assert (admitted.record.id, admitted.repaired) == ("web/web-1", True)
    assert room.vault.records["web/web-1"].identity.id == "id-2"


async def test_confirmed_somebody_with_an_account_repairs_that_one():
    mine, theirs = record(), record("theirs", identity=Identity("id-2"))
    room, admission = await opened(mine, theirs)
    aside = await admission.admit(wanted(account="web/web-1"), granted())
    assert "repair theirs, which is theirs" in aside.message
    admitted = await admission.admit(wanted(account="web/web-1"), granted(), confirmed=True)
    assert admitted.record.id == "web/theirs"
    assert room.vault.records["web/web-1"] == mine


async def test_two_sign_ins_of_one_person_make_one_account():
    room, admission = await opened()
    made = await asyncio.gather(*(admission.admit(wanted(), granted()) for _ in range(3)))
    assert {one.record.id for one in made} == {"web/web-1"}
    assert [one.repaired for one in made] == [False, True, True]
    assert list(room.vault.records) == ["web/web-1"]


async def test_what_cannot_be_stored_is_told_and_the_next_one_is_admitted():
    room, admission = await opened()
    room.vault.broken = AppError("The disk is full.")
    with pytest.raises(AppError, match="disk is full"):
        await admission.admit(wanted(), granted())
    room.vault.broken = None
    assert isinstance(await admission.admit(wanted(), granted()), Admitted)
