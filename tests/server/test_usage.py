"""The ledger's routes over a real socket and database; who may ask is the guard's to say."""

import csv
import io
import json
from types import SimpleNamespace

import pytest
import tornado.httpserver
import tornado.netutil
from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from app.dialects import DIALECTS
from app.errors import AccessError, AppError
from app.keys import KeyRecord
from app.ledger.budget import Budget
from app.ledger.ledger import Ledger
from app.ledger.meter import Meter
from app.server.guard import Grant
from app.server.pages import page_routes
from app.server.policy import AccessPolicy
from app.server.usage import usage_routes
from app.store.database import Database
from app.store.ledger import LedgerStore
from tests.ledger.entries import NOON, attempt, entry


class Access:
    """Lets control calls in that have the token."""

    policy = AccessPolicy()

    def __init__(self):
        self.kinds = []

    def must_wait(self, *_):
        return False

    def check(self, kind, _context, _method, _path, _query, headers):
        self.kinds.append(kind)
        if headers.get("Authorization") != "Bearer token":
            raise AccessError("No.", code="access_denied")
        return Grant("local")


class Control(SimpleNamespace):
    async def list_keys(self):
        if self.keys is None:
            raise AppError("No keys.", code="store_unavailable", status=503)
        return self.keys


@pytest.fixture
def ledger(tmp_path):
    database = Database(None, tmp_path)
    database.migrate()
    meter = Meter(now=lambda: NOON + 60)
    work = Budget("work", 10_000_000, scope=("key", "k1"))
    meter.set_budgets([work, Budget("t", 1_000, unit="tokens")])
    made = Ledger(
        spill=None,
        meter=meter,
        now=lambda: NOON + 60,
        every_s=0.01,
    )
    made.start(lambda: LedgerStore(database))
    assert made.opened.wait(5)
    yield made
    made.close(0.0)
    database.close()


@pytest.fixture
def control():
    record = KeyRecord("k1", "work", "client", "0" * 64, NOON)
    return Control(access=Access(), new_id=lambda p: f"{p}1", dialects=DIALECTS, keys=[record])


@pytest.fixture
def ask(io_loop, ledger, control):
    routes = usage_routes(control, ledger, lambda: NOON + 60)
    server = tornado.httpserver.HTTPServer(page_routes(control, routes))
    (sock,) = tornado.netutil.bind_sockets(0, "127.0.0.1")
    server.add_socket(sock)
    port = sock.getsockname()[1]

    async def get(path, allowed=True):
        token = "token" if allowed else "wrong"
        request = HTTPRequest(
            f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {token}"}
        )
        return await AsyncHTTPClient().fetch(request, raise_error=False)

    yield get
    server.stop()


def fill(ledger, *entries):
    for one in entries:
        ledger.note(one)
    assert ledger.flush()


async def test_a_report_is_json_with_rows_and_their_total(ask, ledger, control):
    fill(ledger, entry("a", key_id="k1"), entry("b", model="gpt-5", cost=50_000))
    reply = await ask("/admin/usage?by=model&since=7d")
    body = json.loads(reply.body)
    assert reply.code == 200
    assert [row["name"] for row in body["rows"]] == ["gpt-5", "claude-sonnet-4-5"]
    assert body["total"]["requests"] == 2
    assert body["total"]["cost_usd"] == pytest.approx(0.051)
    assert body["rows"][0]["first_ms"]["p50"] > 0
    assert "trouble" not in body
    assert control.access.kinds == ["control"]


async def test_keys_have_labels_and_do_without_where_they_cannot_be_read(ask, ledger, control):
    fill(ledger, entry("a", key_id="k1"), entry("b"))
    for keys, labels in ((control.keys, {"work", None}), (None, {None})):
        control.keys = keys
        body = json.loads((await ask("/admin/usage?by=key")).body)
        assert {row.get("label") for row in body["rows"]} == labels


async def test_a_report_can_be_had_as_csv(ask, ledger):
    fill(ledger, entry("a"))
    reply = await ask("/admin/usage?by=provider&format=csv")
    assert reply.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert 'filename="dragoman-usage-by-provider.csv"' in reply.headers["Content-Disposition"]
    (line,) = csv.DictReader(io.StringIO(reply.body.decode()))
    assert (line["provider"], line["requests"]) == ("claude", "1")


async def test_requests_are_listed_by_pages_and_filters(ask, ledger):
    fill(ledger, *(entry(f"r{i}", at=NOON + i, client=f"c{i % 2}") for i in range(5)))
    first = json.loads((await ask("/admin/requests?limit=2&agent=c0")).body)
    assert [row["id"] for row in first["requests"]] == ["r4", "r2"]
    rest = json.loads((await ask(f"/admin/requests?limit=2&agent=c0&cursor={first['next']}")).body)
    assert [row["id"] for row in rest["requests"]] == ["r0"]


async def test_one_request_is_shown_with_its_attempts(ask, ledger):
    fill(ledger, entry("req_a", attempts=(attempt(error="overloaded"), attempt())))
    found = json.loads((await ask("/admin/requests/req_a")).body)["request"]
    assert [one["error"] for one in found["tries"]] == ["overloaded", ""]
    missing = await ask("/admin/requests/req_b")
    assert missing.code == 404
    assert json.loads(missing.body)["error"]["code"] == "request_not_found"


async def test_budgets_are_shown_in_their_own_units(ask, ledger):
    fill(ledger, entry("a", key_id="k1", cost=8_000_000))
    money, tokens = json.loads((await ask("/admin/budgets")).body)["budgets"]
    assert (money["used"], money["limit"], money["level"], money["key"]) == (
        8.0,
        10.0,
        "warn",
        "k1",
    )
    assert (tokens["used"], tokens["limit"], tokens["used_percent"]) == (180, 1_000, 18.0)
    assert money["resets_at"] > NOON


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/admin/usage?by=weekday", "by"),
        ("/admin/usage?format=xml", "format"),
        ("/admin/requests?limit=0", "limit"),
    ],
)
async def test_wrong_fields_are_refused_by_name(ask, path, param):
    reply = await ask(path)
    assert reply.code == 400
    assert json.loads(reply.body)["error"]["param"] == param


@pytest.mark.parametrize(
    "path", ["/admin/usage", "/admin/requests", "/admin/requests/x", "/admin/budgets"]
)
async def test_who_may_not_control_sees_nothing(ask, path, control):
    reply = await ask(path, allowed=False)
    assert reply.code == 401
    assert control.access.kinds == ["control"]


async def test_trouble_with_writing_is_said_beside_the_answer(ask, ledger, tmp_path):
    import sqlite3

    fill(ledger, entry("a"))
    other = sqlite3.connect(tmp_path / "dragoman.db", isolation_level=None)
    other.execute("DROP TABLE attempts")
    ledger.note(entry("b"))
    assert not ledger.flush(0.2)
    body = json.loads((await ask("/admin/requests")).body)
    assert [row["id"] for row in body["requests"]] == ["a"]
    assert "cannot be written" in body["trouble"]
    other.close()
