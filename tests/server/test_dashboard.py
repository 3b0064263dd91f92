import asyncio
import json
import re

import pytest

from app.paths import asset
from app.server.dashboard import Dashboard, dashboard_routes
from app.server.peer import NoProver
from tests.browser.site import site
from tests.server.running import SAY, Server

PAGE = asset("dashboard/index.html").parent


@pytest.fixture
def home(tmp_path):
    return tmp_path


class Client(Server):
    """Asks a site by the local token, by a session, or by nothing."""

    def __init__(self, running):
        super().__init__(running)
        self.token = running.instance.token

    async def admin(self, method, path, body=b"", **headers):
        fields = {"Authorization": f"Bearer {self.token}"} | headers
        return await self.ask(method, path, body, fields)

    async def redeem(self, ticket, **headers):
        return await self.post("/admin/session", {"ticket": ticket}, headers)

    async def sign_in(self):
        ticket = self.service.dashboard_address().partition("=")[2]
        answer = await self.redeem(ticket)
        assert answer.status == 201
        self.token = answer.json["token"]


def code_of(reply):
    return reply.json["error"]["code"]


async def test_page_is_open_and_allows_nothing_but_its_own_files(home):
    async with site(home) as running:
        page = await Client(running).get("/admin")
        assert page.status == 200
        assert page.header("content-type") == "text/html; charset=utf-8"
        policy = page.header("content-security-policy")
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert page.header("x-frame-options") == "DENY"
        assert page.header("referrer-policy") == "no-referrer"


async def test_every_file_of_the_page_is_served_with_its_type(home):
    types = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    async with site(home) as running:
        client = Client(running)
        for file in PAGE.iterdir():
            reply = await client.get(f"/admin/static/{file.name}")
            assert reply.body == file.read_bytes()
            assert reply.header("content-type").startswith(types.get(file.suffix, "text/html"))


@pytest.mark.parametrize(
    "name",
    ["none.js", "../docs/api.md", "..%2fdocs%2fapi.md", "%2e%2e/x.js", "a/b.js", "main.py"],
)
async def test_nothing_else_is(home, name):
    async with site(home) as running:
        assert (await Client(running).get(f"/admin/static/{name}")).status == 404


def test_page_names_no_other_host_and_holds_no_inline_code():
    for file in PAGE.iterdir():
        text = file.read_text("utf-8")
        addresses = set(re.findall(r"https?://[^\s\"'`]+", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}, file.name
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text
        )
    page = (PAGE / "index.html").read_text("utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"\son\w+=|\sstyle=|<style", page)


async def test_ticket_needs_control_and_opens_a_session_once(home):
    async with site(home) as running:
        client = Client(running)
        assert (await client.post("/admin/ticket")).status == 401
        made = await client.admin("POST", "/admin/ticket")
        assert (made.status, made.json["expires_in"]) == (201, 30)
        address, _, ticket = made.json["url"].partition("#ticket=")
        assert address == f"http://localhost:{running.port}/admin"
        opened = await client.redeem(ticket)
        assert opened.status == 201
        again = await client.redeem(ticket)
        assert (again.status, code_of(again)) == (401, "ticket_refused")
        client.token = opened.json["token"]
        assert (await client.admin("GET", "/admin/accounts")).status == 200
        assert (await client.admin("GET", "/admin/keys")).status == 200
        assert (await client.admin("DELETE", "/admin/session")).json == {"ended": True}
        assert (await client.admin("GET", "/admin/accounts")).status == 401


async def test_ticket_is_worth_nothing_without_proof_of_the_user(home):
    async with site(home, prover=NoProver()) as running:
        client = Client(running)
        made = await client.admin("POST", "/admin/ticket")
        ticket = made.json["url"].partition("#ticket=")[2]
        refused = await client.redeem(ticket)
        assert (refused.status, code_of(refused)) == (403, "caller_not_proven")
        assert running.sessions.redeem(ticket) is not None


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
    ],
)
async def test_other_pages_cannot_redeem(home, headers):
    async with site(home) as running:
        client = Client(running)
        ticket = running.sessions.new_ticket()
        refused = await client.redeem(ticket, **headers)
        assert (refused.status, code_of(refused)) == (403, "origin_not_allowed")
        own = {"Origin": f"http://localhost:{running.port}", "Sec-Fetch-Site": "same-origin"}
        assert (await client.redeem(ticket, **own)).status == 201


@pytest.mark.parametrize("body", [b"", b"[]", b'{"ticket": 5}', b'{"ticket": "x", "more": 1}'])
async def test_redeeming_nonsense_is_400(home, body):
    async with site(home) as running:
        assert (await Client(running).post("/admin/session", body)).status == 400


async def test_a_session_is_no_key_for_another_host_or_page(home):
    async with site(home) as running:
        client = Client(running)
        await client.sign_in()
        assert (await client.admin("GET", "/admin/help", Host="evil.example")).status == 403
        assert (
            await client.admin("GET", "/admin/help", Origin="https://evil.example")
        ).status == 403


async def test_all_that_the_page_asks_needs_control(home):
    async with site(home) as running:
        client = Client(running)
        for path in ("live", "models", "help", "help/accounts", "config"):
            assert (await client.get(f"/admin/{path}")).status == 401
        assert (await client.ask("PATCH", "/admin/config", {"changes": []})).status == 401
        assert (await client.post("/admin/show")).status == 401


async def test_live_feed_tells_of_a_request_and_ends_with_the_program(home):
    async with site(home) as running:
        client = Client(running)
        await client.sign_in()
        async with client.dial() as (reader, writer):
            head = {"Authorization": f"Bearer {client.token}"}
            writer.write(client.render("GET", "/admin/live", headers=head))
            assert b"application/x-ndjson" in await reader.readuntil(b"\r\n\r\n")
            await _until(reader, lambda line: line["kind"] == "log")
            await client.post("/v1/chat/completions", SAY | {"stream": True})
            row = await _until(
                reader,
                lambda line: (
                    line["kind"] == "requests"
                    and next((r for r in line["changed"] if r["state"] == "done"), None)
                ),
            )
            assert (row["model"], row["account"], row["status"]) == (
                "demo-chat",
                "demo/demo",
                200,
            )
            assert row["sent_bytes"] > 0
            running.live.close()
            await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 5)
        late = await client.admin("GET", "/admin/live")
        assert (late.status, code_of(late)) == (503, "too_many_readers")


async def _until(reader, find):
    """The first thing that is found in the lines of the feed."""
    while True:
        line = await asyncio.wait_for(reader.readline(), 10)
        if line.startswith(b"{") and (found := find(json.loads(line))):
            return found


async def test_closing_the_page_ends_its_feed(home):
    async with site(home) as running:
        client = Client(running)
        live, gone = running.live, asyncio.Event()
        depart = live.depart
        live.depart = lambda feed: (depart(feed), gone.set())
        async with client.dial() as (reader, writer):
            head = {"Authorization": f"Bearer {client.token}"}
            writer.write(client.render("GET", "/admin/live", headers=head))
            await _until(reader, lambda line: line["kind"] == "log")
            assert not gone.is_set()
        await asyncio.wait_for(gone.wait(), 4)


async def test_models_tell_what_they_can_and_where_they_go(home):
    settings = """
providers:
  local: {kind: compatible, dialect: openai_chat, base_url: "http://127.0.0.1:9/v1", api_key: k,
          models: {gpt-5-mini: inner, off: gone}}
models: {aliases: {fast: gpt-5-mini}, capabilities: {gpt-5-mini: {context: 5000, tools: true}}}
"""
    async with site(home, settings) as running:
        rows = (await Client(running).admin("GET", "/admin/models")).json["models"]
        models = {row["name"]: row for row in rows}
        assert list(models) == ["gpt-5-mini", "off", "fast"]
        mini = models["gpt-5-mini"]
        assert (mini["account"], mini["upstream"]) == ("local/local-1", "inner")
        assert (mini["context"], mini["tools"], mini["reason"]) == (5000, True, "")
        assert mini["accounts"] == models["fast"]["accounts"] == ["local/local-1"]
        assert models["fast"]["alias_of"] == "gpt-5-mini"
        running.roster.pause("local/local-1", None, 60, "it is tired", running.gateway.now())
        rows = (await Client(running).admin("GET", "/admin/models")).json["models"]
        assert (rows[0]["account"], rows[0]["reason"]) == ("", "local-1: it is tired")
        assert rows[0]["context"] == 5000


async def test_settings_are_shown_changed_and_refused(home):
    async with site(home, "# mine\nlogging: {level: info}\n") as running:
        client = Client(running)
        shown = (await client.admin("GET", "/admin/config")).json
        assert shown["values"]["logging"]["level"] == "info"
        change = {"changes": [{"key": ["logging", "level"], "value": "warning"}]}
        done = await client.admin("PATCH", "/admin/config", change)
        assert (done.status, done.json["values"]["logging"]["level"]) == (200, "warning")
        assert running.located.path.read_text().startswith("# mine\n")
        wrong = {"changes": [{"key": ["server", "port"], "value": -1}]}
        refused = await client.admin("PATCH", "/admin/config", wrong)
        assert refused.status == 422
        assert [fault["key"] for fault in refused.json["faults"]] == ["server.port"]
        undo = {"changes": [{"key": ["logging", "level"], "remove": True}]}
        assert (await client.admin("PATCH", "/admin/config", undo)).status == 200
        assert "level" not in running.located.path.read_text()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        ({"changes": [{"key": "server.port"}]}, 400),
        ({"changes": [{"key": ["server", "port"]}] * 101}, 400),
        ({"changes": [{"key": ["database", "url"], "value": "x"}]}, 403),
    ],
)
async def test_wrong_changes_are_refused(home, body, status):
    async with site(home) as running:
        assert (await Client(running).admin("PATCH", "/admin/config", body)).status == status


async def test_help_is_the_shipped_documentation(home):
    async with site(home) as running:
        client = Client(running)
        groups = (await client.admin("GET", "/admin/help")).json["groups"]
        assert groups[0]["title"] == "Start"
        assert {page["name"] for group in groups for page in group["pages"]} == {
            file.stem for file in asset("docs").glob("*.md") if file.stem != "index"
        }
        assert all(page["title"] for group in groups for page in group["pages"])
        page = (await client.admin("GET", "/admin/help/accounts")).json
        assert (page["name"], page["anchor"]) == ("accounts", "")
        assert page["html"].startswith('<h1 id="accounts">Accounts</h1>')
        entry = (await client.admin("GET", "/admin/help/accounts_cooling")).json
        assert (entry["name"], entry["anchor"]) == ("troubleshooting", "accounts_cooling")
        assert 'id="accounts_cooling"' in entry["html"]
        missing = await client.admin("GET", "/admin/help/none")
        assert (missing.status, code_of(missing)) == (404, "no_help_page")


@pytest.mark.parametrize(("window", "shown"), [(None, False), (False, False), (True, True)])
async def test_show_brings_up_the_window_or_gives_an_address(home, window, shown):
    async with site(home) as running:
        show = None if window is None else lambda: window
        dashboard = Dashboard(running.sessions, running.live, None, list, show)
        route = next(r for r in dashboard_routes(running, dashboard) if r[0] == "/admin/show")
        pages = running._server.request_callback._pages
        pages.add_handlers(".*$", [("/shown", *route[1:])])
        answer = (await Client(running).admin("POST", "/shown")).json
        assert answer["shown"] is shown
        assert ("#ticket=" in answer["url"]) is not shown
