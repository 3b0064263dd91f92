"""Windows on AI Studio with a desktop that only notes what it is told."""

import asyncio
import json

import pytest

from app.providers.aistudio import AISTUDIO
from app.providers.aistudio_window import BUILD
from app.server.aistudio import Studio
from app.upstream.relay import Relay
from tests.fakes.basic import Clock
from tests.server.running import running
from tests.services.running import reached

CONSENT = AISTUDIO.consent.version
APP = "https://aistudio.google.com/apps/drive/1CPW7FpWGsDZzkaYgYOyXQ_6FWgxieLmL"
REFUSED = "https://accounts.google.com/v3/signin/rejected"


class Shower:
    def __init__(self, windows=True):
        self.windows = windows
        self.did = []

    def processes(self):
        return (("dashboard", 7, 1.0, "ready"), ("aistudio/home", 8, 2.0, "ready"))

    def __getattr__(self, name):
        return lambda *arguments: self.did.append((name, *arguments))


class Socket:
    """A page's socket that is always there."""

    def send_text(self, _text):
        return asyncio.sleep(0)

    def end(self, _code, _reason):
        return None

    def permitted(self):
        return True


class Room:
    def __init__(self, tmp_path, *, windows=True, first_s=0.0):
        self.clock = Clock()
        self.relay = Relay(self.clock, lambda: "id")
        self.heard = asyncio.Event()
        self.studio = Studio(
            tmp_path / "aistudio.json", self.relay, self.heard.set, self.clock, first_s=first_s
        )
        self.shower = Shower(windows)
        self.studio.attach(self.shower)

    def says(self, **event):
        self.studio.heard("home", event)

    @property
    def view(self):
        return self.studio.view("home")

    @property
    def window(self):
        return self.view["window"]["state"]


async def test_user_is_led_from_the_sign_in_to_the_connection(tmp_path):
    room = Room(tmp_path)
    assert room.view["step"] == "closed"
    room.studio.open("home")
    assert room.shower.did == [("open", "home", BUILD)]
    room.says(event="opened")
    assert room.window == "shown"
    room.says(event="loaded", url="https://accounts.google.com/v3/signin/identifier")
    assert room.view["step"] == "sign_in"
    room.says(event="at", url="https://aistudio.google.com/apps")
    assert (room.view["step"], room.view["signed_in"]) == ("build", True)
    room.says(event="at", url=APP)
    assert (room.view["step"], room.view["app_loaded"]) == ("app", True)
    assert "local network" in room.view["text"]
    room.relay.open("home", Socket())
    assert (room.view["step"], room.view["connected"]) == ("connected", True)


async def test_refusal_of_google_is_answered_with_the_browser_and_the_key(tmp_path):
    room = Room(tmp_path)
    room.studio.open("home")
    room.says(event="opened")
    room.says(event="loaded", url=REFUSED, refused=True)
    assert room.view["step"] == "refused"
    assert "dragoman login gemini" in room.view["text"]
    room.says(event="menu", name="browser")
    assert room.shower.did[1:] == [("close", "home"), ("browse", BUILD)]
    assert (room.view["where"], room.window) == ("browser", "closed")
    room.relay.open("home", Socket())  # the same page, and the same relay
    assert room.view["step"] == "connected"


async def test_refusal_is_forgotten_once_the_sign_in_went_on(tmp_path):
    room = Room(tmp_path)
    room.studio.open("home")
    room.says(event="loaded", url="https://accounts.google.com/signin", refused=True)
    assert room.view["step"] == "refused"
    room.says(event="at", url=APP)
    assert room.view["step"] == "app"


async def test_app_is_opened_again_where_it_was(tmp_path):
    room = Room(tmp_path)
    room.studio.open("home")
    room.says(event="at", url=f"{APP}?showPreview=true")
    room.studio.shut("home")
    again = Room(tmp_path)
    again.studio.open("home")
    assert again.shower.did == [("open", "home", APP)]


async def test_window_hides_and_shows_and_works_on(tmp_path):
    room = Room(tmp_path)
    room.studio.open("home")
    room.says(event="opened")
    room.says(event="hidden")  # its user closed it
    assert room.window == "hidden"
    room.relay.open("home", Socket())
    assert room.view["step"] == "connected"
    room.studio.open("home")
    assert room.shower.did[-1] == ("order", "home", "show")
    assert room.window == "shown"
    room.studio.hide("home")
    assert room.shower.did[-1] == ("order", "home", "hide")
    room.says(event="menu", name="hide")
    assert room.shower.did[-1] == ("order", "home", "hide")


async def test_window_that_dies_is_opened_again_later_each_time(tmp_path):
    room = Room(tmp_path, first_s=3.0)
    room.studio.open("home")
    waits = []
    for _ in range(5):
        room.says(event="opened")
        room.says(event="ended")
        assert room.window == "waiting"
        waits.append(room.view["window"]["until"] - room.clock())
        one = room.studio._all["home"]
        one.timer.cancel()
        room.studio._show(one)
    assert waits == [3.0, 6.0, 12.0, 24.0, 48.0]
    room.says(event="opened")
    room.says(event="ended")
    assert room.window == "failed"
    assert "ended 6 times" in room.view["window"]["reason"]
    room.studio.open("home")
    assert room.window == "opening"


async def test_window_that_dies_is_opened_again_by_itself(tmp_path):
    room = Room(tmp_path)
    room.studio.open("home")
    room.says(event="opened")
    room.says(event="ended")
    await reached(lambda: room.window == "opening")
    assert room.shower.did == [("open", "home", BUILD)] * 2


async def test_window_that_lived_long_begins_to_count_anew(tmp_path):
    room = Room(tmp_path, first_s=3.0)
    room.studio.open("home")
    for _ in range(20):
        room.says(event="opened")
        room.clock.advance(601)
        room.says(event="ended")
        assert room.view["window"]["until"] == room.clock() + 3.0
        room.studio._show(room.studio._all["home"])
    room.studio.close()


async def test_window_that_was_closed_stays_closed(tmp_path):
    room = Room(tmp_path)
    room.studio.open("home")
    room.says(event="opened")
    room.studio.shut("home")
    room.says(event="ended")
    assert room.window == "closed"
    for order in (room.studio.hide, room.studio.shut):
        with pytest.raises(Exception, match="no window of aistudio/home"):
            order("home")


async def test_sign_out_deletes_the_profile_and_forgets_the_app(tmp_path):
    room = Room(tmp_path)
    room.studio.open("home")
    room.says(event="at", url=APP)
    assert "deleted" in room.studio.sign_out("home")
    assert room.shower.did[-1] == ("forget", "home")
    assert json.loads((tmp_path / "aistudio.json").read_text()) == {}
    assert room.view["address"] == BUILD


async def test_sleeping_tab_is_told(tmp_path):
    room = Room(tmp_path)
    room.relay.open("home", Socket())
    room.clock.advance(121)
    assert room.view["step"] == "asleep"


async def test_desktop_without_windows_has_the_browser(tmp_path):
    room = Room(tmp_path, windows=False)
    room.studio.open("home")
    assert room.shower.did == [("browse", BUILD)]
    assert room.view["where"] == "browser"


async def test_toolkit_that_is_missing_ends_in_the_browser(tmp_path):
    room = Room(tmp_path)
    room.studio.open("home")
    room.says(event="browser")  # the desktop fell back to it
    assert (room.window, room.view["where"]) == ("closed", "browser")


async def test_windows_are_told_with_their_state(tmp_path):
    room = Room(tmp_path)
    room.studio.open("home")
    room.says(event="opened")
    room.says(event="hidden")
    assert room.studio.windows() == (
        ("dashboard", 7, 1.0, "ready"),
        ("aistudio/home", 8, 2.0, "hidden"),
    )


@pytest.mark.parametrize("content", [b"{", b"[1]"])
async def test_broken_file_counts_as_none(tmp_path, caplog, content):
    (tmp_path / "aistudio.json").write_bytes(content)
    assert Room(tmp_path).studio.labels() == ()
    assert "cannot be read" in caplog.text


# --- routes ----------------------------------------------------------------------------------------


def control(server):
    return {"Authorization": f"Bearer {server.service.instance.token}"}


LOGIN = "/v1/auth/aistudio/login"


async def test_login_opens_the_window_once_the_terms_are_agreed_to(tmp_path):
    async with running(tmp_path) as server:
        shower = Shower()
        server.service.studio.attach(shower)
        reply = await server.post(LOGIN)
        assert (reply.status, reply.json["error"]["code"]) == (409, "consent_required")
        assert AISTUDIO.consent.text in reply.json["error"]["message"]
        reply = await server.post(LOGIN, {"consent": CONSENT})
        assert (reply.status, reply.json["opened"]) == (202, True)
        assert reply.json["window"]["state"] == "opening"
        assert shower.did == [("open", "home", BUILD)]
        status = (await server.get("/v1/auth/aistudio/status")).json
        assert (status["authenticated"], status["window"]["state"]) == (False, "opening")
        parts = (await server.get("/v1/health")).json
        assert [p["name"] for p in parts["parts"] if p["kind"] == "window"] == [
            "dashboard",
            "aistudio/home",
        ]
        assert parts["processes"] == 3


async def test_relay_key_stands_for_the_agreement(tmp_path):
    async with running(tmp_path) as server:
        await server.key(kind="relay", label="page", accounts=["aistudio/work"])
        reply = await server.post(LOGIN, {"account": "aistudio/work"})
        assert (reply.status, reply.json["opened"]) == (202, False)  # there is no desktop
        assert reply.json["url"] == BUILD
        reply = await server.get(f"{LOGIN}?account=work")
        assert reply.json["account"] == "aistudio/work"


async def test_sign_out_needs_more_than_the_same_user(tmp_path):
    async with running(tmp_path) as server:
        shower = Shower()
        server.service.studio.attach(shower)
        path = "/v1/auth/aistudio?account=home"
        assert (await server.ask("DELETE", path)).status == 401
        reply = await server.ask("DELETE", path, b"", control(server))
        assert "deleted" in reply.json["message"]
        assert shower.did == [("forget", "home")]


async def test_windows_are_ordered_about_by_the_dashboard(tmp_path):
    async with running(tmp_path) as server:
        shower = Shower()
        server.service.studio.attach(shower)
        base = "/admin/aistudio/windows/home"
        assert (await server.post(f"{base}/show")).status == 401
        for order in ("show", "browser", "sign-out"):
            assert (await server.post(f"{base}/{order}", b"", control(server))).status == 200
        reply = await server.post(f"{base}/hide", b"", control(server))
        assert reply.json["error"]["code"] == "no_window"
        reply = await server.post(f"{base}/close", b"", control(server))
        assert reply.json["error"]["code"] == "no_window"
        assert [name for name, *_ in shower.did] == ["open", "close", "browse", "forget"]
        listed = (await server.get("/admin/aistudio", control(server))).json
        assert listed["windows"] is True
        assert [one["account"] for one in listed["accounts"]] == ["aistudio/home"]
        assert listed["consent"]["version"] == CONSENT


@pytest.mark.parametrize("body", [b"{", b'{"where":"moon"}', b'{"x":1}'])
async def test_wrong_body_is_told(tmp_path, body):
    async with running(tmp_path) as server:
        assert (await server.post(LOGIN, body)).json["error"]["code"] == "invalid_json"
