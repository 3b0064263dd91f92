import asyncio
import logging
from dataclasses import replace

import pytest

from app.accounts.account import Account
from app.accounts.book import AccountBook, check_label
from app.accounts.manner import Manner
from app.accounts.vaultstate import Trouble
from app.errors import AccountError, AppError, RequestError
from app.providers.credential import Credential, Identity
from tests.accounts.services import CANARY, CONSENT, KEYED, START, Room, record
from tests.fakes.basic import DictVault


def configured(label="keyed-1", **changes):
    values = {"credential": Credential("sk-in-the-settings")} | changes
    return Account(f"keyed/{label}", KEYED, label, KEYED.base_url, **values)


async def opened(*records, **more):
    return await Room(*records, **more).open()


# What is in force


async def test_records_become_accounts_beside_those_of_the_settings():
    room = await opened(record())
    room.book.configure([configured()])
    assert [a.id for a in room.roster.accounts()] == ["keyed/keyed-1", "web/web-1"]
    account = room.account()
    assert account.base_url == "https://api.web.test"
    assert account.credential.secret == f"{CANARY}-access-web-1"
    assert account.ready


async def test_primary_comes_first_then_order_then_age():
    room = await opened(
        record("a", order=2),
        record("b", order=1),
        record("c", order=1, created_at=START - 1),
        record("d", order=9, primary=True),
    )
    assert [a.label for a in room.roster.accounts()] == ["d", "b", "c", "a"]
    assert [a.order for a in room.roster.accounts()] == [0, 1, 2, 3]


async def test_own_address_of_a_record_is_used():
    room = await opened(record(base_url="https://mine.test"))
    assert room.account().base_url == "https://mine.test"


async def test_signed_in_account_is_called_as_its_providers_entry_says():
    room = await opened(record(), record("s", "strict", consent=CONSENT.version))
    manner = Manner((("X-Team", "red"),), "http://p.test:1", models={"fast": "m"})
    room.book.configure([], {"web": manner})
    account = room.account()
    assert (account.headers, account.proxy) == (manner.headers, manner.proxy)
    assert account.models == {"fast": "m"}
    assert account.ready
    assert room.account("strict/s").proxy is None
    room.book.configure([], {"web": Manner(enabled=False)})
    assert not room.account().enabled
    room.book.configure([], {"web": Manner(trouble="PROXY is not set in this session")})
    assert (room.account().ready, room.account().trouble) == (
        False,
        "PROXY is not set in this session",
    )
    room.book.configure([])
    assert room.account().ready


async def test_changes_are_told():
    told = []
    vault = DictVault(record())
    room = Room(vault=vault)
    book = AccountBook(
        vault, room.roster, room.book.providers, room.wall, lambda: told.append(True)
    )
    await book.load()
    await book.pause("web/web-1", paused=True)
    assert len(told) == 2


async def test_locked_vault_shows_its_accounts_with_the_reason_until_it_is_opened():
    vault = DictVault(record())
    vault.locked = "The keyring is locked. Unlock it."
    room = await opened(vault=vault)
    account = room.account()
    assert (account.ready, account.credential) == (False, None)
    assert account.trouble == "The keyring is locked. Unlock it."
    with pytest.raises(RequestError, match="cannot be read: The keyring is locked") as caught:
        room.book.get("web/web-1")
    assert caught.value.code == "account_sealed"
    with pytest.raises(AccountError, match="cannot be kept now") as caught:
        room.book.require_vault()
    assert caught.value.code == "vault_unusable"
    vault.locked = ""
    await room.book.load()
    assert room.account().ready
    room.book.require_vault()


async def test_accounts_are_there_before_the_vault_is_open():
    vault = DictVault(record())
    vault.locked = "It is being opened."
    room = Room(vault=vault)
    room.book.show_sealed()
    assert room.account().trouble == "It is being opened."


async def test_vault_that_fails_leaves_its_accounts_unusable(caplog):
    class Failing(DictVault):
        async def load(self):
            raise AppError("The disk is gone.")

    with caplog.at_level(logging.ERROR):
        room = await opened(vault=Failing(record()))
    assert not room.account().ready
    assert "The disk is gone." in caplog.text


async def test_single_file_that_cannot_be_read_says_why():
    class Partly(DictVault):
        async def load(self):
            self.troubles = (Trouble("web/web-2", "damaged", "Its file is damaged.", "Sign in."),)
            return (self.records["web/web-1"],)

    room = await opened(vault=Partly(record(), record("web-2")))
    assert room.account("web/web-1").ready
    assert room.account("web/web-2").trouble == "Its file is damaged. Sign in."
    assert room.book.sealed_ids() == ("web/web-2",)


async def test_account_of_the_settings_hides_a_sign_in_of_the_same_name(caplog):
    room = await opened(record("keyed-1", "keyed"))
    with caplog.at_level(logging.WARNING):
        room.book.configure([configured()])
    assert room.account("keyed/keyed-1").credential.secret == "sk-in-the-settings"
    assert "hides" in caplog.text


async def test_record_of_an_unknown_service_is_kept_and_not_used():
    room = await opened(record("x", "gone"))
    assert room.roster.accounts() == ()
    assert room.book.find("gone/x") is not None


async def test_text_that_was_not_agreed_to_keeps_an_account_from_being_used():
    room = await opened(record("s", "strict"), record("t", "strict", consent=CONSENT.version))
    assert "`dragoman accounts agree s`" in room.account("strict/s").trouble
    assert room.account("strict/t").ready
    with pytest.raises(RequestError):
        await room.book.agree("strict/s", "2020-01-01")
    await room.book.agree("strict/s", CONSENT.version)
    assert room.account("strict/s").ready
    stored = room.vault.records["strict/s"]
    assert (stored.consent, stored.consented_at) == (CONSENT.version, START)


async def test_trouble_is_shown_and_taken_back():
    room = await opened(record())
    room.book.set_trouble("web/web-1", "Signed out.")
    assert room.roster.overall(room.account(), START).reason == "Signed out."
    room.book.set_trouble("web/web-1", "")
    assert room.account().ready


# Changes


async def test_what_a_person_has_to_do_is_told():
    room = await opened(record(), record("s", "strict", consent="2020-01-01"))
    need = room.book.need
    assert (need("web/web-1"), need("strict/s"), need("web/none")) == ("", "consent", "")
    room.book.set_trouble("web/web-1", "Signed out.")
    room.book.set_trouble("strict/s", "Not allowed.", need="")
    assert (need("web/web-1"), need("strict/s")) == ("sign_in", "")
    renamed = await room.book.rename("web/web-1", "other")
    assert (need(renamed.id), need("web/web-1")) == ("sign_in", "sign_in")
    room.book.set_trouble("web/other", "")
    assert need("web/other") == ""


@pytest.mark.parametrize(
    ("code", "need"),
    [("damaged", "sign_in"), ("wrong_key", "sign_in"), ("newer", ""), ("unreadable", "")],
)
async def test_file_that_is_lost_needs_a_sign_in_and_one_that_may_come_back_does_not(code, need):
    class Damaged(DictVault):
        async def load(self):
            return ()

    vault = Damaged(record())
    vault.troubles = (Trouble("web/web-1", code, "It cannot be read."),)
    room = await opened(vault=vault)
    assert room.book.need("web/web-1") == need


async def test_vault_that_is_shut_needs_no_sign_in():
    vault = DictVault(record())
    vault.locked = "The keyring is locked."
    room = Room(vault=vault)
    room.book.show_sealed()
    assert room.book.need("web/web-1") == "vault"


async def test_pause_and_resume_are_stored():
    room = await opened(record())
    await room.book.pause("web/web-1", paused=True)
    assert room.roster.overall(room.account(), START).reason == "paused by you"
    assert room.vault.records["web/web-1"].paused
    await room.book.pause("web/web-1", paused=False)
    assert room.account().ready


async def test_one_account_of_a_service_is_primary():
    room = await opened(record("a", primary=True), record("b"), record("k", "keyed", primary=True))
    await room.book.make_primary("web/b")
    primary = {r.id for r in room.vault.records.values() if r.primary}
    assert primary == {"web/b", "keyed/k"}


async def test_two_that_become_primary_at_once_leave_one():
    room = await opened(record("a", primary=True), record("b"), record("c"))

    async def slow():
        await asyncio.sleep(0)

    room.vault.hold = slow
    await asyncio.gather(room.book.make_primary("web/b"), room.book.make_primary("web/c"))
    assert [one.label for one in room.vault.records.values() if one.primary] == ["c"]
    assert [one.label for one in room.book.records() if one.primary] == ["c"]


async def test_renaming_keeps_everything_else_and_the_old_name_finds_it():
    room = await opened(record())
    room.roster.pause("web/web-1", None, 60, "not allowed", START, refused=True)
    await room.book.rename("web/web-1", "work")
    await room.book.rename("web/work", "office")
    assert list(room.vault.records) == ["web/office"]
    assert room.roster.overall(room.account("web/office"), START).health == "refused"
    assert room.book.find("web/web-1").label == "office"
    assert room.book.find("web/work").label == "office"
    renamed = await room.book.rename("web/office", "web-1")
    assert renamed.id == "web/web-1"
    assert room.book.find("web/office").label == "web-1"


async def test_what_names_an_account_follows_it_before_it_is_called_otherwise():
    room = await opened(record())
    followed = []

    async def carry(old_id, new_id):
        followed.append((old_id, new_id, room.account(old_id).id))

    room.book.carry = carry
    await room.book.rename("web/web-1", "work")
    assert followed == [("web/web-1", "web/work", "web/web-1")]


async def test_account_keeps_its_name_where_what_names_it_cannot_follow():
    room = await opened(record())

    async def carry(_old_id, _new_id):
        raise AppError("The keys cannot be changed.")

    room.book.carry = carry
    with pytest.raises(AppError, match="keys cannot be changed"):
        await room.book.rename("web/web-1", "work")
    assert list(room.vault.records) == ["web/web-1"]
    assert room.account("web/web-1").ready
    assert room.book.find("web/work") is None


@pytest.mark.parametrize("label", ["", "-a", "a/b", "a b", "a" * 65, "é", "..", "a\nb"])
async def test_labels_that_are_no_names_are_refused(label):
    with pytest.raises(RequestError) as caught:
        check_label(label)
    assert caught.value.code == "invalid_label"


async def test_label_that_is_taken_is_refused():
    room = await opened(record("a"), record("b"))
    with pytest.raises(RequestError) as caught:
        await room.book.rename("web/a", "b")
    assert (caught.value.status, caught.value.code) == (409, "label_taken")
    assert set(room.vault.records) == {"web/a", "web/b"}


async def test_next_label_leaves_out_those_of_settings_and_locked_files():
    room = await opened(record("keyed-2", "keyed"))
    room.book.configure([configured("keyed-1")])
    assert room.book.next_label("keyed") == "keyed-3"


async def test_account_that_is_not_there_is_told_from_one_of_the_settings():
    room = await opened()
    room.book.configure([configured()])
    with pytest.raises(RequestError) as caught:
        room.book.get("keyed/none")
    assert caught.value.status == 404
    with pytest.raises(RequestError, match="settings") as caught:
        await room.book.pause("keyed/keyed-1", paused=True)
    assert caught.value.code == "account_in_settings"


async def test_change_that_cannot_be_stored_changes_nothing():
    room = await opened(record())
    room.vault.broken = AppError("The disk is full.")
    with pytest.raises(AppError, match="full"):
        await room.book.pause("web/web-1", paused=True)
    assert room.account().ready


async def test_credential_that_cannot_be_stored_is_used_and_stored_later():
    room = await opened(record())
    room.vault.broken = AppError("The disk is full.")
    with pytest.raises(AppError):
        await room.book.store("web/web-1", Credential("second-secret"), renewed_at=START)
    assert room.secret() == "second-secret"
    assert room.book.unsaved("web/web-1") == "The disk is full."
    await room.book.load()
    assert room.secret() == "second-secret", "what is in memory is newer than what is stored"
    room.vault.broken = None
    await room.book.save("web/web-1")
    assert room.vault.records["web/web-1"].credential.secret == "second-secret"
    assert room.book.unsaved("web/web-1") == ""
    await room.book.save("web/web-1")
    assert len(room.vault.stored) == 1


async def test_parallel_changes_all_count():
    room = await opened(record())

    async def slowly():
        await asyncio.sleep(0)

    room.vault.hold = slowly
    await asyncio.gather(
        room.book.pause("web/web-1", paused=True),
        room.book.make_primary("web/web-1"),
        room.book.store("web/web-1", Credential("new-secret")),
        room.book.change("web/web-1", order=7),
    )
    stored = room.vault.records["web/web-1"]
    assert (stored.paused, stored.primary, stored.order) == (True, True, 7)
    assert stored.credential.secret == "new-secret"


async def test_version_that_worked_is_confirmed_once():
    room = await opened(record())
    room.book.worked("web/web-1", "another")
    room.book.worked("web/web-1", f"{CANARY}-access-web-1")
    room.book.worked("web/web-1", f"{CANARY}-access-web-1")
    room.book.worked("web/none", "x")
    await asyncio.sleep(0)
    assert room.vault.confirmed == ["web/web-1"]


async def test_version_that_cannot_be_confirmed_is_logged(caplog):
    class Stubborn(DictVault):
        async def confirm(self, account):
            raise AppError("The disk is gone.")

    room = await opened(vault=Stubborn(record()))
    with caplog.at_level(logging.WARNING):
        room.book.worked("web/web-1", f"{CANARY}-access-web-1")
        await asyncio.sleep(0)
    assert "The disk is gone." in caplog.text


async def test_what_takes_time_with_one_account_does_not_overlap():
    room = await opened(record(), record("web-2"))
    order = []

    async def work(name, account_id):
        async with room.book.exclusive(account_id) as held:
            order.append(f"{name} in {held.label}")
            await asyncio.sleep(0)
            order.append(f"{name} out")

    await asyncio.gather(work("one", "web/web-1"), work("two", "web/web-1"))
    assert order == ["one in web-1", "one out", "two in web-1", "two out"]


async def test_who_waited_for_an_account_that_was_renamed_finds_it():
    room = await opened(record())
    found = []

    async def work():
        async with room.book.exclusive("web/web-1") as held:
            found.append(held.label)

    async with room.book.exclusive("web/web-1"):
        renaming = asyncio.ensure_future(room.book.rename("web/web-1", "work"))
        waiting = asyncio.ensure_future(work())
        await asyncio.sleep(0)
    await asyncio.gather(renaming, waiting)
    assert found == ["work"]


# People


async def test_people_mean_accounts_by_id_label_or_name():
    room = await opened(record("a"), record("b", identity=Identity("9", "a")))
    choose = room.book.choose
    assert choose("web", "web/a").label == "a"
    assert choose("web", "A").label == "a", "a label comes before a name"
    assert choose("web", "a@example.org").label == "a"
    assert choose("web", "nobody") is None
    assert choose("keyed", "a") is None


async def test_twin_is_told_by_the_services_id():
    room = await opened(record("a"), record("b", identity=Identity("")))
    twin = room.book.twin
    assert twin("web", Identity("id-a", "other@example.org")).label == "a"
    assert twin("web", Identity("id-c", "a@example.org")) is None
    assert twin("web", Identity("", "a@example.org")).label == "a"
    assert twin("web", Identity("")) is None
    assert twin("keyed", Identity("id-a")) is None


# Removing


async def test_account_that_cannot_be_read_can_be_removed():
    vault = DictVault(record())
    vault.locked = "Locked."
    room = await opened(vault=vault)
    await room.book.remove("web/web-1")
    assert vault.records == {}
    assert room.account() is None


async def test_unknown_account_and_one_of_the_settings_are_not_removed():
    room = await opened()
    room.book.configure([configured()])
    for account_id in ("keyed/keyed-1", "web/none"):
        with pytest.raises(RequestError):
            await room.book.remove(account_id)


async def test_label_that_was_chosen_is_free_and_is_one():
    room = await opened(record())
    assert room.book.free_label("web", " work ") == "work"
    with pytest.raises(RequestError) as caught:
        room.book.free_label("web", "web-1")
    assert (caught.value.status, caught.value.code) == (409, "label_taken")
    assert "`dragoman login web --account web-1`" in caught.value.hint
    with pytest.raises(RequestError) as caught:
        room.book.free_label("web", "a/b")
    assert caught.value.code == "invalid_label"


async def test_repaired_account_takes_the_place_of_the_one_that_could_not_be_read():
    vault = DictVault(record())
    vault.locked = "Locked."
    room = await opened(vault=vault)
    vault.locked = ""
    await room.book.put(replace(record(), credential=Credential("new-secret")))
    assert room.secret() == "new-secret"
    assert room.book.sealed_ids() == ()
