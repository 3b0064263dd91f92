from dataclasses import dataclass, field

import pytest

from app.canonical.failure import Failure
from app.canonical.loss import Loss
from app.canonical.usage import Usage
from app.gateway.call import Outcome
from app.ledger.entry import AttemptEntry, Entry, attempt_of, entry_of
from app.ledger.price import PriceList, Rates
from tests.ledger.entries import NOON, attempt

PRICES = PriceList(own={"m": Rates(input=2.0, output=4.0)})


@dataclass(slots=True)
class Told(Outcome):
    """What the gateway knows of a request, with all that the ledger asks for."""

    at: float = NOON
    client: str = "codex"
    session: str = "5e55"
    key_id: str = "abc"
    asked_dialect: str = "openai_chat"
    rule: str = ""
    stop: str = "end"
    first_ms: int | None = 120
    duration_ms: int = 900
    stream: bool = True
    cached: bool = False
    trace: str = ""
    tries: list[AttemptEntry] = field(default_factory=list)


def told(**changes):
    fields = {
        "request_id": "req_1",
        "model": "fast",
        "served": "m",
        "account": "claude/one",
        "dialect": "anthropic",
        "grade": "translated",
        "attempts": 1,
        "reason": "alias",
        "losses": (Loss("top_k", "not known"),),
        "usage": Usage(10, output=5),
        "status": 200,
    }
    return Told(**fields | changes)


def made(outcome, *, plan=False):
    return entry_of(outcome, PRICES.cost, lambda account: plan)


def test_an_outcome_becomes_an_entry():
    tries = [attempt(status=529, error="overloaded"), attempt()]
    assert made(told(tries=tries, rule="short ones")) == Entry(
        id="req_1",
        at=NOON,
        client="codex",
        session="5e55",
        key_id="abc",
        dialect="openai_chat",
        asked="fast",
        model="m",
        provider="claude",
        account="claude/one",
        upstream="anthropic",
        grade="translated",
        losses=(("top_k", "not known"),),
        rule="short ones",
        reason="alias",
        status=200,
        stop="end",
        error="",
        tokens=Usage(10, output=5),
        cost=40,
        worth=False,
        first_ms=120,
        duration_ms=900,
        stream=True,
        attempts=tuple(tries),
    )


def test_what_a_plan_serves_is_worth_something_but_not_paid():
    entry = made(told(), plan=True)
    assert (entry.cost, entry.worth, entry.spent) == (40, True, 0)
    assert made(told()).spent == 40


def test_a_price_that_is_not_known_is_no_zero():
    entry = made(told(served="unheard-of"))
    assert (entry.cost, entry.spent) == (None, 0)


def test_without_counts_there_is_no_cost():
    entry = made(told(usage=None))
    assert (entry.tokens, entry.cost) == (None, None)


def test_counts_of_an_answer_passed_on_are_read_now():
    assert made(told(usage=None, read_usage=lambda: Usage(3))).cost == 6


def test_an_answer_from_the_cache_costs_nothing():
    entry = made(told(cached=True))
    assert (entry.cost, entry.cached) == (0, True)


def test_a_request_that_never_left_has_neither_account_nor_cost():
    refused = told(served="", account="", dialect="", grade=None, usage=None, status=404)
    refused.failure = Failure(404, "No such model.", "not_found", code="model_not_found")
    entry = made(refused, plan=True)
    assert (entry.provider, entry.account, entry.grade, entry.worth) == ("", "", "", False)
    assert (entry.error, entry.failed) == ("model_not_found", True)


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (Failure(502, "x", "server"), "server"),
        (Failure(502, "x", "server", code="upstream_closed"), "upstream_closed"),
        (Failure(499, "x", "cancelled", code="client_gone"), ""),
        (None, ""),
    ],
)
def test_a_failure_is_its_code_and_leaving_is_none(failure, error):
    assert made(told(failure=failure)).error == error
    one = attempt_of(told(), failure, 502, NOON, None, 30)
    assert one.error == error


def test_an_attempt_tells_whom_it_asked():
    assert attempt_of(told(), None, 200, NOON + 1, 80, 700) == AttemptEntry(
        at=NOON + 1,
        provider="claude",
        account="claude/one",
        model="m",
        dialect="anthropic",
        grade="translated",
        losses=(("top_k", "not known"),),
        reason="alias",
        status=200,
        error="",
        first_ms=80,
        duration_ms=700,
    )


def test_entries_do_not_change():
    entry = made(told())
    with pytest.raises(AttributeError):
        entry.cost = 0
