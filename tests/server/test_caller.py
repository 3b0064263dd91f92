"""Access where requests arrive: what is awaited, what is asked, what an answer may be read by."""

import asyncio
import socket

import pytest
from tornado.httputil import HTTPHeaders

from app.accounts.account import Account
from app.errors import AccessError
from app.keys import KeyIndex, KeyRecord, hash_key
from app.providers import compatible
from app.server import caller
from app.server.caller import Access, account_scope, cors
from app.server.front import FrontContext
from app.server.guard import Grant
from app.server.peer import PeerProof
from app.server.policy import AccessPolicy

HOST = "127.0.0.1:8317"
PAGE = "https://app.test"
KEY = KeyRecord("k1", "mine", "client", hash_key("dg-mine"), 1.0, providers=("fake",))


class Prover:
    """Proves everybody, at once or slowly."""

    def __init__(self, *, slow=False):
        self.slow = slow
        self.asked = 0

    def look_up(self, _pair):
        self.asked += 1
        return PeerProof(True, "proven")

    def close(self):
        pass


@pytest.fixture
def context():
    """Makes the context of a real connection on loopback."""
    opened = []

    def make(prover):
        listening = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listening.getsockname())
        served, address = listening.accept()
        opened.extend((listening, client, served))
        return FrontContext(served, address, prover)

    yield make
    for sock in opened:
        sock.close()


def access(**more):
    options = {"policy": AccessPolicy(), "keys": KeyIndex([KEY]), "local_token": "token"}
    return Access(**(options | more), now=lambda: 5.0)


def headers(**fields):
    fields = {"Host": HOST} | fields
    return HTTPHeaders({name.replace("_", "-"): value for name, value in fields.items()})


def check(given, context, kind="inference", method="POST", path="/v1/x", query="", **fields):
    return given.check(kind, context, method, path, query, headers(**fields))


def test_connection_of_another_server_is_refused():
    with pytest.raises(AccessError, match="not known") as caught:
        check(access(), object())
    assert caught.value.code == "unknown_connection"


def test_call_is_judged_by_its_connection_keys_and_policy(context):
    given = access()
    assert check(given, context(Prover())).who == "same_user"
    assert check(given, context(Prover()), x_api_key="dg-mine").key is KEY
    given.policy = AccessPolicy(keyless="never")
    with pytest.raises(AccessError, match="keyless: never"):
        check(given, context(Prover()))


def test_wrong_keys_are_counted_over_all_connections(context):
    given = access()
    statuses = []
    for _ in range(22):
        with pytest.raises(AccessError) as caught:
            check(given, context(Prover()), x_api_key="dg-wrong")
        statuses.append(caught.value.status)
    assert statuses == [401] * 20 + [429] * 2
    assert check(given, context(Prover()), x_api_key="dg-mine").who == "key"


# Waiting


def test_nothing_is_awaited_once_the_keys_are_read_and_the_prover_is_quick(context):
    assert not access().must_wait(context(Prover()), "", headers(x_api_key="dg-mine"))


@pytest.mark.parametrize(
    ("query", "fields", "waits"),
    [
        ("", {}, False),
        ("", {"x_api_key": "sk-other"}, False),
        ("", {"x_api_key": "dg-mine"}, True),
        ("", {"x_goog_api_key": "dg-mine"}, True),
        ("", {"Authorization": "Bearer dg-mine"}, True),
        ("key=dg-mine", {}, True),
        ("alt=sse", {}, False),
    ],
)
async def test_only_calls_with_a_key_wait_for_the_keys(context, query, fields, waits):
    given = access(loaded=asyncio.Event())
    assert given.must_wait(context(Prover()), query, headers(**fields)) is waits


async def test_slow_prover_is_awaited_once_per_connection(context):
    given, prover = access(), Prover(slow=True)
    connection = context(prover)
    assert given.must_wait(connection, "", headers())
    await given.ready(connection)
    assert not given.must_wait(connection, "", headers())
    assert check(given, connection).who == "same_user"
    assert prover.asked == 1


async def test_ready_returns_when_the_keys_are_read(context):
    given = access(loaded=asyncio.Event())
    waiting = asyncio.ensure_future(given.ready(context(Prover())))
    await asyncio.sleep(0)
    assert not waiting.done()
    given.loaded.set()
    await asyncio.wait_for(waiting, 5)


async def test_keys_that_never_come_are_not_awaited_for_ever(context, monkeypatch, caplog):
    monkeypatch.setattr(caller, "_LOADING_S", 0.01)
    await access(loaded=asyncio.Event()).ready(context(Prover()))
    assert "the keys are still not read" in caplog.text


# What the grant means for the answer


def test_answer_has_cors_fields_only_for_a_listed_page():
    sent = headers(Origin=PAGE)
    assert cors(Grant("same_user"), "POST", "/v1/x", "", sent) == ()
    fields = dict(cors(Grant("key", KEY, PAGE), "POST", "/v1/x", "", sent))
    assert fields["Access-Control-Allow-Origin"] == PAGE


def test_scope_of_a_key_is_asked_per_account_and_model():
    def account(name):
        provider = compatible(name, "openai_chat", "http://x.test/v1")
        return Account(f"{name}/one", provider, "one", provider.base_url)

    everything = account_scope(Grant("same_user"))
    narrow = account_scope(Grant("key", KEY))
    assert everything(account("other"), "m")
    assert narrow(account("fake"), "m")
    assert not narrow(account("other"), "m")


@pytest.mark.parametrize(
    ("scope", "model", "held"),
    [
        (("gpt-5",), "openai/gpt-5", True),
        (("gpt-5",), "openai/work/gpt-5", True),
        (("gpt-*",), "openai/work/gpt-5", True),
        (("gpt-5",), "openai/home/gpt-5", False),
        (("gpt-5",), "other/gpt-5", False),
        (("gpt-5",), "openai/o3", False),
        (("openai/*",), "openai/o3", True),
    ],
)
def test_scope_of_models_holds_for_names_that_name_their_account(scope, model, held):
    provider = compatible("openai", "openai_chat", "http://x.test/v1")
    asked = Account("openai/work", provider, "work", provider.base_url)
    key = KeyRecord("k1", "mine", "client", "ab", 1.0, models=scope)
    assert account_scope(Grant("key", key))(asked, model) is held
