"""What a client hears when no account can serve, from the states that accounts really come into."""

import time
from dataclasses import replace

import pytest

from app.accounts.quota import Quotas
from app.accounts.vaultstate import Trouble
from app.errors import AccountError
from app.gateway.resources import local_time
from app.providers.quota import Quota, QuotaWindow
from app.routing.catalog import Catalog
from tests.accounts.services import HOUR, PROVIDERS, Room, record, refusal
from tests.gateway.scripted import Desk, ask_body

MODEL = "m"


def at(moment):
    return time.strftime("%H:%M", time.localtime(moment))


class Place:
    """A room of accounts, and a gateway over its roster."""

    def __init__(self, *records, **more):
        self.room = Room(*records, providers=more.pop("providers", PROVIDERS))
        self.quotas = Quotas()
        self.desk = Desk(
            catalog=Catalog(aliases={MODEL: "web/m"}),
            spent_window=lambda account_id, model: self.quotas.spent_window(
                account_id, model, self.room.wall()
            ),
            clock=local_time,
        )
        self.desk.gateway.roster = self.room.roster
        self.desk.gateway.now = self.room.wall

    async def open(self):
        await self.room.open()
        return self

    async def ask(self, **more):
        dialect = more.pop("dialect", "openai_chat")
        client = await self.desk.ask(ask_body(dialect, MODEL), dialect, **more)
        assert client.status != 401
        return client, client.json["error"]

    def rest(self, seconds, reason="You have hit your limit. Upgrade to go on.", label="web-1"):
        roster = self.room.roster
        roster.pause(f"web/{label}", None, seconds, reason, self.room.wall())


async def test_signed_out_is_said_in_three_words():
    place = await Place(record(left=-HOUR)).open()
    place.room.send.script(refusal())
    with pytest.raises(AccountError):
        await place.room.refresher.fresh(place.room.account())
    client, error = await place.ask()
    assert "(web-1: not signed in any more)" in error["message"]
    assert (client.status, error["code"]) == (400, "accounts_unavailable")
    assert "dragoman doctor" in error["message"]


async def test_paused_by_the_user():
    place = await Place(record(paused=True)).open()
    client, error = await place.ask()
    assert "(web-1: paused by you)" in error["message"]
    assert client.status == 400


async def test_terms_that_nobody_agreed_to():
    strict = replace(PROVIDERS["strict"], id="web")
    place = await Place(record(), providers={"web": strict}).open()
    _, error = await place.ask()
    terms = "its terms of use must be agreed to; `dragoman accounts agree web-1` shows them"
    assert f"(web-1: {terms})" in error["message"]


async def test_vault_that_is_locked():
    place = Place(record())
    place.room.vault.locked = "The system keyring is locked. Unlock it, then try again."
    place.room.book.show_sealed()
    client, error = await place.ask()
    assert "(web-1: The system keyring is locked)" in error["message"]
    assert client.status == 400


async def test_file_of_one_account_that_is_damaged():
    place = Place(record())
    place.room.vault.locked = "shut"
    place.room.vault.troubles = (Trouble("web/web-1", "damaged", "Its file is damaged."),)
    place.room.book.show_sealed()
    _, error = await place.ask()
    assert "(web-1: Its file is damaged)" in error["message"]


async def test_quota_window_is_named_with_the_time_of_its_end():
    place = await Place(record(), record("web-2")).open()
    now = place.room.wall()
    spent = QuotaWindow("5h", 100.0, now + 2 * HOUR, exhausted=True)
    place.quotas.note("web/web-1", Quota((spent,), now, "headers"))
    place.rest(2 * HOUR)
    place.rest(3 * HOUR, label="web-2")
    client, error = await place.ask()
    told = f"web-1: 5-hour window used up, back {at(now + 2 * HOUR)}"
    assert told in error["message"]
    assert f"web-2: You have hit your limit, back {at(now + 3 * HOUR)}" in error["message"]
    assert (client.status, client.header("retry-after")) == (429, str(round(2 * HOUR)))


async def test_the_way_an_account_can_be_waited_for_wins_over_those_that_need_a_person():
    place = await Place(record(paused=True), record("web-2")).open()
    place.rest(20.0, "busy", "web-2")
    client, error = await place.ask()
    assert "web-1: paused by you; web-2: busy, back in 20 s" in error["message"]
    assert (client.status, client.header("retry-after")) == (429, "20")


@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses", "anthropic"])
async def test_callers_with_a_key_see_providers_and_no_labels(dialect):
    place = await Place(record("ada-1"), record("ada-2", left=-HOUR)).open()
    place.rest(900.0, "The plan of web/ada-1 is used up.", "ada-1")
    place.room.send.script(refusal())
    with pytest.raises(AccountError):
        await place.room.refresher.fresh(place.room.account("web/ada-2"))
    _, error = await place.ask(dialect=dialect, show_account=False)
    assert "web: The plan of Web is used up, back" in error["message"]
    assert "ada" not in error["message"]


async def test_accounts_beyond_the_callers_scope_are_not_spoken_of():
    place = await Place(record(paused=True), record("web-2", paused=True)).open()
    _, error = await place.ask(allows=lambda account, model: account.label == "web-2")
    assert "web-2: paused" in error["message"]
    assert "web-1" not in error["message"]


@pytest.mark.parametrize(
    ("later_s", "form"),
    [(60, "%H:%M"), (30 * HOUR, "%a %H:%M"), (20 * 24 * HOUR, "%d %b %H:%M")],
)
def test_time_of_day_names_the_day_when_it_is_another(later_s, form):
    noon = time.mktime((2026, 11, 21, 12, 0, 0, 0, 0, -1))
    moment = noon + later_s
    assert local_time(moment, noon) == time.strftime(form, time.localtime(moment))
