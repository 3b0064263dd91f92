import contextlib
from dataclasses import replace

import pytest

from app.providers.signin import CookiePage
from app.server.accounts import account_routes
from app.server.places import Places, cookie_page, place_routes
from tests.fakes.basic import Answered
from tests.server.desk import DeskServer
from tests.server.test_signin import error_of

PLACES = "/admin/accounts/places"
START = "/admin/accounts/web/oauth/start"


class Shower:
    """A desktop that notes what it is asked to show."""

    windows, line, remembered = True, "", {}

    def __init__(self):
        self.shown = []

    def show(self, flow, place):
        self.shown.append((flow, place))


class PlacesServer(DeskServer):
    def __init__(self):
        super().__init__()
        web = self.providers["web"]
        page = CookiePage("https://web.test/in", "c", "id.web.test", "https://id.web.test/", "uat")
        cookie = replace(web.sign_ins["cookie"], cookie=page)
        self.providers["web"] = replace(web, sign_ins={**web.sign_ins, "cookie": cookie})
        self.places = Places()

    def routes(self):
        opener = self.places.opener(self.desk)
        return [
            *place_routes(self.control, self.desk, self.places),
            *account_routes(self.control, self.desk, opener),
        ]


@contextlib.asynccontextmanager
async def serving():
    server = PlacesServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def test_without_a_desktop_whoever_asks_shows_the_page():
    async with serving() as server:
        told = (await server.admin("GET", PLACES)).json
        assert told == {
            "desktop": False,
            "windows": False,
            "line": "",
            "remembered": {},
            "pages": {"web/cookie": "https://web.test/in"},
        }
        flow = (await server.admin("POST", START, {"way": "browser"})).json["flow"]
        path = f"/admin/accounts/flows/{flow}/place"
        answer = await server.admin("POST", path, {"place": "window"})
        assert answer.json == {"shown": False}


async def test_desktop_is_told_what_to_show_and_where():
    async with serving() as server:
        shower = Shower()
        shower.line, shower.remembered = "sudo install it", {"web": "browser"}
        server.places.attach(shower)
        told = (await server.admin("GET", PLACES)).json
        assert (told["desktop"], told["windows"], told["line"]) == (True, True, "sudo install it")
        assert told["remembered"] == {"web": "browser"}
        flow = (await server.admin("POST", START, {"way": "browser"})).json["flow"]
        path = f"/admin/accounts/flows/{flow}/place"
        for place in ("window", "browser", "here"):
            assert (await server.admin("POST", path, {"place": place})).json == {"shown": True}
        assert shower.shown == [(flow, "window"), (flow, "browser"), (flow, "here")]


@pytest.mark.parametrize("body", [{"place": "elsewhere"}, {}, {"place": "window", "url": "x"}])
async def test_wrong_places_are_refused(body):
    async with serving() as server:
        flow = (await server.admin("POST", START, {"way": "browser"})).json["flow"]
        answer = await server.admin("POST", f"/admin/accounts/flows/{flow}/place", body)
        assert (answer.status, error_of(answer)["code"]) == (400, "invalid_json")


async def test_flow_that_has_ended_has_no_page():
    async with serving() as server:
        server.places.attach(shower := Shower())
        flow = (await server.admin("POST", START, {"way": "browser"})).json["flow"]
        server.desk.logins.cancel(flow)
        path = f"/admin/accounts/flows/{flow}/place"
        answer = await server.admin("POST", path, {"place": "window"})
        assert (answer.status, error_of(answer)["code"]) == (409, "sign_in_over")
        gone = await server.admin("POST", "/admin/accounts/flows/00/place", {"place": "window"})
        assert gone.status == 404
        assert shower.shown == []


async def test_all_of_it_needs_control():
    async with serving() as server:
        assert (await server.ask("GET", PLACES, b"")).status == 401
        path = "/admin/accounts/flows/00/place"
        assert (await server.ask("POST", path, b"{}")).status == 401


@pytest.mark.parametrize(("remembered", "place"), [({}, "window"), ({"web": "browser"}, "browser")])
async def test_sign_in_that_a_program_begins_opens_where_the_user_had_it(remembered, place):
    async with serving() as server:
        server.places.attach(shower := Shower())
        shower.remembered = remembered
        flow = (await server.ask("GET", "/v1/auth/web/login", b"")).json["flow"]
        assert shower.shown == [(flow, place)]


async def test_code_is_shown_for_a_program_too():
    async with serving() as server:
        server.places.attach(shower := Shower())
        server.send.script(Answered(200, {}, b'{"user_code":"AB-CD"}'))
        flow = (await server.ask("GET", "/v1/auth/web/login?way=device", b"")).json["flow"]
        assert shower.shown == [(flow, "ours")]


async def test_only_a_cookie_has_a_page():
    async with serving() as server:
        assert cookie_page(server.desk, "web", "cookie").host == "id.web.test"
        for provider, way in (("web", "browser"), ("web", "none"), ("none", "cookie")):
            assert cookie_page(server.desk, provider, way) is None
