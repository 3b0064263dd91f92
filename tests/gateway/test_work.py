import pytest

from app.dialects import DIALECTS
from app.dialects.base import Peek, read_head
from app.errors import RequestError
from app.gateway.work import Work
from app.routing.plan import Plan
from tests.gateway.scripted import Desk, ask_body


def work(body, dialect="openai_chat", **peek):
    call = Desk().call(body, dialect)
    return Work(call, Peek("m", stream=True, **peek), Plan("m", ()), read_head(call.raw))


def test_request_is_decoded_once():
    made = work(ask_body("openai_chat", "m"))
    assert made.request() is made.request()


def test_wrong_request_is_a_request_fault():
    with pytest.raises(RequestError):
        work({"model": "m", "messages": "no"}).request()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_ping_has_no_content(dialect):
    ping = work({"model": "m"}, dialect).ping()
    assert ping
    assert b"data: {" not in ping or dialect == "anthropic"


def test_ping_of_a_list_is_white_space():
    assert work({}, "gemini", variant="array").ping().strip() == b""
