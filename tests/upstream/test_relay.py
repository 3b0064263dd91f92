import asyncio

import pytest

from app.errors import RequestError, UpstreamError
from app.http import HttpRequest, Limits
from app.keys import KeyRecord
from app.providers.aistudio import SCHEME
from app.upstream.relay import Relay, label_of, relay_labels, with_relay
from app.upstream.relay_page import REPLACED
from tests.fakes.basic import Answered, Clock, Ids, ScriptedSend
from tests.upstream.pages import Socket, tell

GET = HttpRequest("GET", f"{SCHEME}home/v1beta/models?pageSize=5")


class Scene:
    def __init__(self):
        self.clock = Clock()
        self.changes = []
        self.relay = Relay(
            self.clock, Ids(), changed=lambda account, on: self.changes.append((account, on))
        )

    def open(self, label="home"):
        socket = Socket()
        return self.relay.open(label, socket), socket

    def troubles(self):
        return {account.id: account.trouble for account in self.relay.accounts()}


@pytest.mark.parametrize(("account", "label"), [("aistudio/home", "home"), ("home", "home")])
def test_a_relay_key_names_an_account_with_or_without_its_service(account, label):
    assert label_of(account) == label


@pytest.mark.parametrize("account", ["", "claude/x", "aistudio/", "a b", "../x"])
def test_other_accounts_have_no_page(account):
    with pytest.raises(RequestError) as caught:
        label_of(account)
    assert caught.value.code == "invalid_label"


def test_accounts_are_those_of_the_relay_keys_in_force():
    def key(kind, *accounts, **more):
        return KeyRecord("id", "label", kind, "sha", 1.0, accounts=accounts or None, **more)

    keys = [
        key("relay", "aistudio/work"),
        key("relay", "home"),
        key("relay", "aistudio/home"),
        key("relay", "claude/x"),
        key("relay", "old", expires_at=5.0),
        key("relay", "gone", revoked_at=5.0),
        key("client", "aistudio/client"),
        key("admin"),
    ]
    assert relay_labels(keys, 10.0) == ("work", "home")


async def test_other_addresses_are_handed_on():
    scene = Scene()
    send = ScriptedSend(Answered(204))
    reply = await with_relay(send, scene.relay)(HttpRequest("GET", "https://x.test/"), Limits())
    assert reply.status == 204
    await reply.aclose()
    send.assert_settled()


async def test_a_call_goes_to_google_through_the_page_of_its_account():
    scene = Scene()
    scene.open("work")
    page, socket = scene.open("home")
    asking = asyncio.ensure_future(with_relay(ScriptedSend(), scene.relay)(GET, Limits()))
    call_id = await socket.asked()
    assert socket.sent[0]["payload"]["url"] == (
        "https://generativelanguage.googleapis.com/v1beta/models?pageSize=5"
    )
    await tell(page, "http_response", call_id, status=200, headers={"A": "b"}, body="{}")
    reply = await asking
    assert (reply.status, reply.headers, await reply.read()) == (200, (("a", "b"),), b"{}")


async def test_fetch_collects_and_lets_go_of_what_is_too_long():
    scene = Scene()
    page, socket = scene.open()
    asking = asyncio.ensure_future(scene.relay.fetch(GET, Limits(max_body_bytes=3)))
    call_id = await socket.asked()
    await tell(page, "stream_chunk", call_id, data="abc")
    await tell(page, "stream_end", call_id)
    assert (await asking).body == b"abc"
    asking = asyncio.ensure_future(scene.relay.fetch(GET, Limits(max_body_bytes=3)))
    await tell(page, "stream_chunk", await socket.asked(2), data="abcd")
    with pytest.raises(UpstreamError, match="longer than 3 bytes"):
        await asking
    assert page.calls == {}


async def test_without_a_page_the_hint_says_to_open_it():
    scene = Scene()
    with pytest.raises(UpstreamError) as caught:
        await scene.relay.send(GET, Limits())
    assert (caught.value.status, caught.value.code) == (503, "relay_not_connected")
    assert "Open the app" in caught.value.hint


async def test_accounts_stay_when_their_page_is_gone():
    scene = Scene()
    page, _ = scene.open()
    assert scene.troubles() == {"aistudio/home": ""}
    page.lost("reload")
    assert "no page is connected" in scene.troubles()["aistudio/home"]
    scene.open()
    assert scene.troubles() == {"aistudio/home": ""}
    assert scene.changes == [
        ("aistudio/home", True),
        ("aistudio/home", False),
        ("aistudio/home", True),
    ]
    (account,) = scene.relay.accounts()
    assert (account.base_url, account.credential) == ("aistudio://home", None)


async def test_accounts_with_a_key_wait_for_their_page():
    scene = Scene()
    scene.open()
    scene.relay.know(["home", "work", "work"])
    assert list(scene.troubles()) == ["aistudio/home", "aistudio/work"]
    assert scene.changes == [("aistudio/home", True), ("aistudio/work", False)]
    assert [account.order for account in scene.relay.accounts()] == [1000, 1001]


async def test_a_second_page_changes_nothing_for_the_account():
    scene = Scene()
    one, _ = scene.open()
    two, _ = scene.open()
    one.lost("x")
    assert scene.changes == [("aistudio/home", True)]
    two.lost("x")
    assert scene.changes[-1] == ("aistudio/home", False)


async def test_a_page_replaces_its_older_self_only():
    scene = Scene()
    old, old_socket = scene.open()
    other, other_socket = scene.open()
    elsewhere, elsewhere_socket = scene.open("work")
    for page in (old, elsewhere):
        await tell(page, "hello", client_id="same")
    await tell(other, "hello", client_id="other")
    new, _ = scene.open()
    await tell(new, "hello", client_id="same")
    assert old_socket.ended == (REPLACED, "replaced by new connection")
    assert other_socket.ended is None
    assert elsewhere_socket.ended is None
    assert [view.client_id for view in scene.relay.pages()] == ["other", "same", "same"]


async def test_the_page_with_fewest_calls_is_asked_and_the_newest_of_equals():
    scene = Scene()
    sockets = [scene.open()[1] for _ in range(2)]
    tasks = [asyncio.ensure_future(scene.relay.send(GET, Limits())) for _ in range(3)]
    await sockets[1].asked(2)
    await sockets[0].asked(1)
    scene.relay.close_all()
    for task in tasks:
        with pytest.raises(UpstreamError, match="stopping"):
            await task


async def test_a_page_whose_key_was_revoked_is_not_asked():
    scene = Scene()
    _, revoked = scene.open()
    page, good = scene.open()
    revoked.good = False
    asking = asyncio.ensure_future(scene.relay.send(GET, Limits()))
    await tell(page, "stream_end", await good.asked())
    await (await asking).aclose()
    assert revoked.ended is not None
    assert revoked.sent == []


async def test_views_tell_of_a_page_that_sleeps():
    scene = Scene()
    page, _ = scene.open()
    (view,) = scene.relay.pages()
    assert (view.account, view.running, view.asleep) == ("aistudio/home", 0, False)
    scene.clock.advance(200)
    assert scene.relay.pages()[0].asleep
    await tell(page, "ping")
    assert not scene.relay.pages()[0].asleep


async def test_too_many_pages_of_one_account_are_refused():
    scene = Scene()
    for _ in range(8):
        scene.open()
    with pytest.raises(RequestError) as caught:
        scene.open()
    assert caught.value.status == 429
    scene.open("work")


async def test_stopping_ends_every_page():
    scene = Scene()
    _, one = scene.open()
    _, two = scene.open("work")
    scene.relay.close_all()
    assert one.ended[0] == two.ended[0] == 1001
    assert scene.relay.pages() == ()
