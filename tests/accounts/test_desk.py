import asyncio
import logging

import pytest

from app.accounts.account import Account
from app.accounts.desk import Desk
from app.accounts.flow import ConsentNeeded
from app.accounts.imports import Found
from app.accounts.roster import Roster
from app.errors import AccountError, AppError, RequestError
from app.providers import DEMO
from app.providers.credential import Credential, Identity
from tests.accounts.doors import Ports, state_of, ticks
from tests.accounts.services import (
    CANARY,
    CONSENT,
    HOUR,
    KEYED,
    PROVIDERS,
    START,
    granted,
    record,
    refusal,
)
from tests.fakes.basic import Answered, Clock, DictVault, ScriptedSend, Timers


class House:
    """A desk over fakes."""

    def __init__(self, *records, steps=(), vault=None):
        self.wall, self.steady = Clock(START), Clock(0.0)
        self.timers = Timers(self.wall, self.steady)
        self.vault = DictVault(*records) if vault is None else vault
        self.roster = Roster()
        self.send = ScriptedSend(*steps)
        self.desk = Desk(
            self.vault,
            self.roster,
            PROVIDERS,
            self.send,
            listeners=Ports(),
            now=self.wall,
            monotonic=self.steady,
            call_later=self.timers.call_later,
            jitter=lambda: 0.0,
        )


async def opened(*records, **more):
    house = House(*records, **more)
    await house.desk.open()
    return house


async def test_opening_puts_accounts_in_force_and_sets_the_timer():
    house = await opened(record())
    assert house.roster.get("web/web-1").ready
    assert house.timers.next_s == 900
    await house.desk.close()
    assert house.timers.set == []
    assert house.vault.closed


async def test_keyring_that_was_slow_is_waited_for_in_the_background():
    vault = DictVault(record())
    vault.locked = "The keyring does not answer."
    house = await opened(vault=vault)
    assert house.roster.get("web/web-1").trouble == "The keyring does not answer."
    vault.unlocked.set()
    await ticks()
    assert house.roster.get("web/web-1").ready
    await house.desk.close()


async def test_waiting_for_a_keyring_ends_with_the_program():
    vault = DictVault(record())
    vault.locked = "The keyring does not answer."
    house = await opened(vault=vault)
    await house.desk.close()
    await ticks()
    assert house.desk._late.cancelled()


async def test_vault_that_another_program_holds_is_a_state(caplog):
    class Held(DictVault):
        async def open(self, **_):
            self.locked = "Another program has it."
            raise AppError(self.locked, code="vault_in_use")

    with caplog.at_level(logging.ERROR):
        house = await opened(vault=Held(record()))
    assert "Another program" in caplog.text
    assert not house.roster.get("web/web-1").ready


async def test_start_tries_a_shut_vault_once_more():
    vault = DictVault()
    house = await opened(vault=vault)
    vault.locked = "The keyring is locked."
    with pytest.raises(AccountError):
        await house.desk.start("web")
    flow = await house.desk.start("web", memory_only=True)
    assert flow.state == "waiting"
    await house.desk.close()


async def test_signing_in_again_lifts_a_refusal():
    house = await opened(record(), steps=[granted(2)])
    house.roster.pause("web/web-1", None, 900, "not allowed", START, refused=True)
    flow = await house.desk.start("web", account="web-1")
    await house.desk.logins.callback(state_of(flow), "the-code")
    assert house.desk.view("web/web-1").state == "ready"
    await house.desk.close()


async def test_views_tell_what_there_is_to_know():
    house = await opened(record(primary=True, renewed_at=START - 5, consented_at=START - 6))
    house.desk.configure(
        [
            Account("keyed/k", KEYED, "k", KEYED.base_url, Credential("sk-1")),
            Account("demo/demo", DEMO, "demo", DEMO.base_url),
        ]
    )
    keyed, web = house.desk.views()
    assert (keyed.id, keyed.configured, keyed.state, keyed.name) == ("keyed/k", True, "ready", "")
    assert (web.title, web.label, web.configured) == ("Web", "web-1", False)
    assert (web.name, web.plan, web.way) == ("web-1@example.org", "plus", "browser")
    assert (web.primary, web.paused, web.renewable, web.renewing) == (True, False, True, False)
    assert (web.expires_at, web.next_renewal_at) == (START + 8 * HOUR, START + 7 * HOUR)
    assert (web.renewed_at, web.consented_at) == (START - 5, START - 6)
    assert CANARY not in repr([keyed, web])
    with pytest.raises(RequestError):
        house.desk.view("web/none")
    await house.desk.close()


async def test_view_tells_which_models_rest_and_what_a_person_has_to_do():
    house = await opened(record())
    house.roster.pause("web/web-1", "big", 60, "limit used up", START)
    (view,) = house.desk.views()
    (rest,) = view.resting
    assert (view.state, rest.model, rest.state) == ("ready", "big", "cooling")
    assert (rest.reason, rest.until, rest.since) == ("limit used up", START + 60, START)
    house.wall.advance(61)
    assert house.desk.view("web/web-1").resting == ()
    assert house.desk.view("web/web-1").need == ""
    house.desk.book.set_trouble("web/web-1", "not signed in any more.")
    assert house.desk.view("web/web-1").need == "sign_in"
    await house.desk.close()


async def test_renewal_that_failed_is_told_under_a_new_name_too():
    house = await opened(record(), steps=[refusal(429)])
    with pytest.raises(AccountError):
        await house.desk.refresh("web/web-1")
    before = house.desk.view("web/web-1")
    assert "Too many of these." in before.warning
    await house.desk.book.rename("web/web-1", "work")
    after = house.desk.view("web/work")
    assert (after.warning, after.warning_since) == (before.warning, before.warning_since)
    assert after.next_renewal_at is None  # the service refused: nothing is tried again
    await house.desk.close()


async def test_view_warns_of_what_is_wrong_although_it_serves():
    house = await opened(record(), steps=[refusal(), granted(2)])
    with pytest.raises(AppError):
        await house.desk.refresh("web/web-1")
    view = house.desk.view("web/web-1")
    assert view.state == "ready"
    assert view.warning.startswith("It could not be renewed: Signed out")
    assert view.warning_since == START
    assert view.next_renewal_at is None
    house.vault.broken = AppError("The disk is full.")
    view = await house.desk.refresh("web/web-1")
    assert "would be lost when Dragoman stops: The disk is full." in view.warning
    assert view.renewed_at == START
    await house.desk.close()


async def test_account_that_is_meant():
    house = await opened(record("a"), record("k", "keyed"))
    assert house.desk.choose("web", "") == "web/a"
    await house.desk.book.put(record("b"))
    for name in ("b", "web/b", "b@example.org"):
        assert house.desk.choose("web", name) == "web/b"
    for provider, name, code in (
        ("web", "", "account_needed"),
        ("web", "c", "unknown_account"),
        ("strict", "", "unknown_account"),
    ):
        with pytest.raises(RequestError) as caught:
            house.desk.choose(provider, name)
        assert caught.value.code == code
    await house.desk.close()


async def test_account_that_cannot_be_read_can_be_meant():
    vault = DictVault(record())
    vault.locked = "The keyring is locked."
    house = await opened(vault=vault)
    for name in ("", "web-1", "web/web-1"):
        assert house.desk.choose("web", name) == "web/web-1"
    await house.desk.close()


async def test_logout_says_what_was_done():
    house = await opened(record(), steps=[Answered(200, {}, b"{}")])
    assert "revoked and removed" in await house.desk.logout("web/web-1")
    assert house.desk.views() == []
    assert house.timers.set == []
    await house.desk.close()


async def test_logout_waits_for_a_renewal_and_revokes_the_newest_token():
    release = asyncio.Event()
    house = await opened(
        record(left=-1),
        steps=[Answered(200, {}, [release.wait, *granted(2).chunks]), Answered(200, {}, b"{}")],
    )
    house.timers.go(0)
    await ticks()
    leaving = asyncio.ensure_future(house.desk.logout("web/web-1"))
    await ticks()
    release.set()
    await leaving
    assert f"{CANARY}-access-2".encode() in house.send.requests[-1].body
    assert house.vault.records == {}
    await house.desk.close()


async def test_version_that_worked_can_be_told():
    house = await opened(record())
    house.desk.book.worked("web/web-1", f"{CANARY}-access-web-1")
    await ticks()
    assert house.vault.confirmed == ["web/web-1"]
    await house.desk.close()


# Taking over a sign-in of another program


def found(number=2, provider="web", **changes):
    values = {
        "key": "other:1",
        "program": "Other",
        "path": "~/.other",
        "provider": provider,
        "what": "a sign-in",
        "credential": Credential(
            f"{CANARY}-found-{number}", "oauth", renewal=f"{CANARY}-r{number}"
        ),
        "identity": Identity(f"id-{number}", "ada@example.org"),
    }
    return Found(**(values | changes))


async def test_sign_in_that_is_taken_over_is_a_new_account_with_a_name_of_its_own():
    house = await opened(record(order=3))
    view, repaired = await house.desk.take(found(), label="work")
    assert (view.id, view.way, repaired) == ("web/work", "import", False)
    assert house.vault.records["web/work"].order == 4
    with pytest.raises(RequestError) as caught:
        await house.desk.take(found(3), label="work")
    assert caught.value.code == "label_taken"
    await house.desk.close()


async def test_sign_in_of_an_account_that_is_there_repairs_it():
    house = await opened(record(identity=Identity("id-2", "ada@example.org"), primary=True))
    house.roster.pause("web/web-1", None, 60, "refused", START, refused=True)
    view, repaired = await house.desk.take(found())
    assert (view.id, view.primary, view.state, repaired) == ("web/web-1", True, "ready", True)
    assert house.roster.get("web/web-1").credential.secret == f"{CANARY}-found-2"
    await house.desk.close()


async def test_very_sign_in_that_is_there_is_known_by_its_secret():
    held = record(credential=Credential(f"{CANARY}-found-2", "oauth"), identity=Identity(""))
    house = await opened(held)
    view, repaired = await house.desk.take(found(identity=Identity("")))
    assert (view.id, repaired) == ("web/web-1", True)
    await house.desk.close()


async def test_sign_in_that_is_taken_twice_at_once_is_one_account():
    house = await opened()
    views = await asyncio.gather(house.desk.take(found()), house.desk.take(found()))
    assert [(view.id, repaired) for view, repaired in views] == [
        ("web/web-1", False),
        ("web/web-1", True),
    ]
    assert list(house.vault.records) == ["web/web-1"]
    await house.desk.close()


async def test_terms_come_before_a_sign_in_is_taken_over():
    house = await opened(record("s", "strict", consent=CONSENT.version, consented_at=5.0))
    with pytest.raises(ConsentNeeded):
        await house.desk.take(found(provider="strict"))
    view, _ = await house.desk.take(found(provider="strict"), consent=CONSENT.version)
    assert view.consented_at == START
    again = found(4, "strict", identity=Identity("id-s"))
    view, repaired = await house.desk.take(again)
    assert (view.id, view.consented_at, repaired) == ("strict/s", 5.0, True)
    await house.desk.close()


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (found(credential=None, refusal="Google allows it there only."), "Google allows it"),
        (found(provider="unknown"), "no accounts of this kind"),
    ],
)
async def test_what_cannot_be_taken_says_why(one, words):
    house = await opened()
    with pytest.raises(RequestError, match=words) as caught:
        await house.desk.take(one)
    assert caught.value.code == "not_importable"
    await house.desk.close()


async def test_nothing_is_taken_over_while_there_is_nowhere_to_keep_it():
    vault = DictVault()
    vault.locked = "The keyring is locked."
    house = await opened(vault=vault)
    with pytest.raises(AccountError, match="keyring is locked"):
        await house.desk.take(found())
    await house.desk.close()
