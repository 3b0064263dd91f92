import logging
import threading
from dataclasses import dataclass, replace

import pytest
from msgspec.structs import replace as replace_entry

from app.canonical.usage import Usage
from app.errors import AppError
from app.keys import KeyIndex, KeyRecord, parse_limit
from app.ledger.budget import Budget
from app.ledger.days import day_of, start_of
from app.ledger.meter import Meter
from app.ledger.row import row_of
from app.store.database import Database
from app.store.ledger import LedgerStore
from tests.ledger.entries import NOON, entry, fault

DAY_S = 86_400.0


@dataclass
class Asked:
    request_id: str
    key_id: str = "k1"
    at: float = NOON


class Clock:
    now = NOON

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path):
    database = Database(None, tmp_path)
    database.migrate()
    yield LedgerStore(database)
    database.close()


def key(*limits, **changes):
    values = {"id": "k1", "label": "laptop", "kind": "client", "sha256": "ab", "created_at": 1.0}
    return KeyRecord(**values | changes, limits=tuple(map(parse_limit, limits)))


def meter_of(clock, *limits):
    return Meter(KeyIndex([key(*limits)]), now=clock)


def served(meter, name, **changes):
    meter.admit(Asked(name, changes.get("key_id", "k1"), changes.get("at", NOON)))
    meter.note(entry(name, **{"key_id": "k1", **changes}))


def refusal(meter, key_id="k1"):
    with pytest.raises(AppError) as caught:
        meter.admit(Asked("refused", key_id))
    return caught.value


def used(meter, *limits):
    return [use.used for use in meter.uses(key(*limits))]


def test_requests_count_when_they_begin_so_that_many_at_once_do_not_pass_the_limit(clock):
    meter = meter_of(clock, "2 requests/minute")
    meter.admit(Asked("a"))
    meter.admit(Asked("b"))
    assert refusal(meter).code == "key_limit_reached"
    assert used(meter, "9/minute", "9/day", "9/month") == [2, 2, 2]


def test_request_that_nobody_was_asked_for_is_given_back(clock):
    meter = meter_of(clock, "1 request/day")
    served(meter, "a", provider="", account="", tokens=None, cost=None, error="model_not_found")
    assert used(meter, "9/minute", "9/day", "9/month") == [0, 0, 0]
    served(meter, "b")
    assert refusal(meter).retry_after_s == start_of(20261122) - NOON


def test_refused_request_does_not_count(clock):
    meter = meter_of(clock, "1 request/day")
    served(meter, "a")
    for _ in range(5):
        refusal(meter)
        meter.note(entry("refused", key_id="k1", provider="", tokens=None, error="x"))
    assert used(meter, "9/minute", "9/day") == [1, 1]


def test_tokens_and_money_count_when_a_request_has_ended(clock):
    meter = meter_of(clock, "180 tokens/day", "$0.002/day")
    meter.admit(Asked("a"))
    meter.admit(Asked("b"))
    meter.note(entry("a", key_id="k1", cost=1_000))
    assert "180 of 180 tokens today" in refusal(meter).message
    meter.note(entry("b", key_id="k1", cost=1_000, worth=True))
    assert used(meter, "9 tokens/day", "$9/month") == [360, 2_000]


def test_tokens_of_a_long_request_count_in_the_minute_in_which_it_ends(clock):
    meter = meter_of(clock, "100 tokens/minute")
    meter.admit(Asked("a"))
    clock.now = NOON + 300
    meter.note(entry("a", key_id="k1", duration_ms=300_000))
    error = refusal(meter)
    assert error.retry_after_s == 61
    clock.now += error.retry_after_s
    meter.admit(Asked("b", at=clock.now))


def test_told_wait_is_true(clock):
    meter = meter_of(clock, "3 requests/minute")
    for i in range(3):
        clock.now = NOON + 5.4 * i
        meter.admit(Asked(str(i), at=clock.now))
    clock.now += 1
    wait_s = refusal(meter).retry_after_s
    clock.now += wait_s - 0.01
    assert refusal(meter).retry_after_s == pytest.approx(0.01, abs=1e-3)
    clock.now += 0.01
    meter.admit(Asked("again", at=clock.now))


def test_stream_of_which_the_service_tells_nothing_is_guessed(clock):
    meter = meter_of(clock, "100 tokens/day")
    meter.guess = lambda one: replace_entry(one, tokens=Usage(input=60, output=40), cost=7)
    served(meter, "a", tokens=None, cost=None, stream=False)  # a count of tokens, for example
    served(meter, "b", tokens=None, cost=None, stream=True, provider="")
    assert used(meter, "9 tokens/day", "$9/day") == [0, 0]
    served(meter, "c", tokens=None, cost=None, stream=True)
    assert used(meter, "9 tokens/day", "$9/day") == [100, 7]
    assert refusal(meter).code == "key_limit_reached"


def test_cached_answer_counts_as_a_request(clock):
    meter = meter_of(clock, "1 request/day")
    served(meter, "a", provider="", account="", cached=True, cost=0)
    assert refusal(meter).code == "key_limit_reached"


def test_other_keys_and_callers_without_a_key_are_not_limited(clock):
    meter = meter_of(clock, "1 request/day")
    served(meter, "a")
    for name, key_id in (("b", "k2"), ("c", ""), ("d", "")):
        served(meter, name, key_id=key_id)
    assert refusal(meter, "k1")


def test_spent_budget_refuses_everybody_or_one_key(clock):
    meter = meter_of(clock)
    meter.set_budgets([Budget("ci", 1_000, scope=("key", "k1"), period="day")])
    served(meter, "a", cost=1_000)
    error = refusal(meter, "k1")
    assert (error.code, error.retry_after_s) == ("budget_exceeded", start_of(20261122) - NOON)
    meter.admit(Asked("b", "k2"))
    meter.set_budgets([Budget("all", 1_000)])
    for key_id in ("", "k1", "k2"):
        assert refusal(meter, key_id).message.startswith("Budget all: ")


def test_spent_budget_of_a_provider_bars_it_alone(clock):
    meter = meter_of(clock)
    assert meter.barred("claude") is None
    meter.set_budgets(
        [
            Budget("day", 500, scope=("provider", "claude"), period="day"),
            Budget("month", 1_000, scope=("provider", "claude")),
            Budget("other", 1, scope=("provider", "openai")),
        ]
    )
    served(meter, "a", cost=500)
    assert meter.barred("claude")[1] == start_of(20261122)
    served(meter, "b", cost=500)
    sentence, until = meter.barred("claude")
    assert sentence.startswith("Budget month: ")
    assert until == start_of(20261201)
    assert meter.barred("openai") is None
    meter.admit(Asked("c"))  # another provider may serve it
    clock.now = until
    assert meter.barred("claude") is None


def test_levels_are_told_once_each_in_the_log(clock, caplog):
    caplog.set_level(logging.WARNING, "dragoman.ledger")
    meter = meter_of(clock)
    meter.set_budgets([Budget("b", 1_000)])
    for i in range(12):
        meter.note(entry(str(i), cost=100))
        meter.set_budgets([Budget("b", 1_000)])  # the settings are read again
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "(80%). At its warn level" in told[0]
    assert "(100%). At its stop level: requests are refused." in told[1]
    clock.now += 30 * DAY_S
    for i in range(8):
        meter.note(entry(f"n{i}", at=clock.now, cost=100))
    assert len(caplog.records) == 3


def test_restart_forgets_nothing_of_this_month(clock, store):
    earlier = [
        entry("today", key_id="k1", cost=100),
        entry("yesterday", key_id="k1", at=NOON - DAY_S, cost=100, worth=True),
        entry("refused", key_id="k1", provider="", tokens=None, cost=None, error="x"),
        entry("cached", key_id="k1", provider="", tokens=None, cost=0, cached=True),
        entry("other", key_id="k2", cost=5),
        entry("before", key_id="k1", at=NOON - 30 * DAY_S, cost=9_999),
    ]
    store.add([row_of(one) for one in earlier], [])
    clock.now = NOON + 30
    meter = meter_of(clock, "3 requests/month")
    meter.set_budgets(
        [Budget("month", 1_000), Budget("claude", 10**6, scope=("provider", "claude"))]
    )
    meter.prime(store.usage)
    limits = ("9/minute", "9/day", "9/month", "9 tokens/minute", "9 tokens/month", "$9/month")
    assert used(meter, *limits) == [2, 2, 3, 180, 360, 200]
    assert [one.used for one in meter.standings()] == [105, 105]
    assert refusal(meter).retry_after_s == start_of(20261201) - clock.now


def test_database_is_counted_once_and_beside_what_was_served_meanwhile(clock, store):
    store.add([row_of(entry("a", key_id="k1"))], [])
    meter = meter_of(clock)
    served(meter, "b")
    meter.prime(store.usage)
    meter.prime(store.usage)
    assert used(meter, "9/day") == [2]


def test_database_that_cannot_be_read_is_counted_later(clock, store):
    store.add([row_of(entry("a", key_id="k1"))], [])
    meter = meter_of(clock)

    class Broken:
        def sums(self, *_):
            raise fault("store_unavailable", "no server.")

    with pytest.raises(AppError):
        meter.prime(Broken())
    meter.prime(store.usage)
    assert used(meter, "9/day") == [1]


def test_changed_limits_hold_for_what_was_used_before(clock):
    keys = KeyIndex([key()])
    meter = Meter(keys, now=clock)
    for i in range(3):
        served(meter, str(i))
    keys.replace([key("3 requests/day")])
    assert refusal(meter).code == "key_limit_reached"
    keys.replace([replace(key("4 requests/day"), label="renamed")])
    served(meter, "more")
    assert "'renamed'" in refusal(meter).message


def test_admitting_from_several_threads_never_passes_a_limit(clock):
    meter = meter_of(clock, "50 requests/day")
    taken = []

    def ask(number):
        for i in range(40):
            try:
                meter.admit(Asked(f"{number}-{i}"))
            except AppError:
                continue
            taken.append(1)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 50
    assert day_of(NOON) == 20261121
