"""The guide to routing: its tables say what the program has."""

import re
from pathlib import Path
from typing import get_args

from app.accounts.pace import SUBSCRIPTION
from app.canonical.failure import Failure
from app.config import Quota
from app.configrules import Action, Condition, MoveReason, Strategy
from app.errors import Retry
from app.gateway.exchange import MAX_ATTEMPTS
from app.routing.chains import MOST_STEPS
from app.routing.failover import cooldown_for
from app.routing.strategy import DEFAULT_STRATEGY, SPREADING

PAGE = (Path(__file__).parents[2] / "assets" / "docs" / "routing.md").read_text("utf-8")
CODE = re.compile(r"`([^`]+)`")
KINDS = {
    "rate limit": ("rate_limit",),
    "quota": ("quota",),
    "overloaded, server error, unreachable, time-out": (
        "overloaded",
        "server",
        "unavailable",
        "timeout",
    ),
    "model not found": ("not_found",),
    "refused key, no credit, no permission": ("authentication", "payment", "permission"),
}
SECONDS = {"s": 1, "min": 60}


def table(first):
    """The rows of the table whose first heading this is, heading and rule left out."""
    found = re.search(rf"^\| {first} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines()]


def names(first):
    return [name for row in table(first) for name in CODE.findall(row[0])]


def fields(model):
    return {info.alias or name for name, info in model.model_fields.items()}


def test_conditions_and_actions_are_all_there():
    assert sorted(names("condition")) == sorted(fields(Condition))
    assert sorted(names("action")) == sorted(fields(Action))


def test_reasons_to_move_on_are_all_there():
    assert sorted(names("reason")) == sorted(get_args(MoveReason))


def test_strategies_say_for_whom_they_are():
    told = {CODE.findall(row[0])[0]: row[2] for row in table("strategy")}
    assert told.keys() == set(get_args(Strategy))
    assert {name for name, whom in told.items() if whom == "keys"} == SPREADING
    assert "the default" in next(row[1] for row in table("strategy") if DEFAULT_STRATEGY in row[0])


def test_pauses_are_as_long_as_the_page_says():
    rows = table("failure")
    assert [row[0] for row in rows] == list(KINDS)
    for kind, first, longest in rows:
        for one in KINDS[kind]:
            failure = Failure(500, "x", one, scope="account", retry=Retry.NEXT_ACCOUNT)
            for level, text in ((0, first), (30, longest)):
                number, unit = text.split()
                assert cooldown_for(failure, level).seconds == int(number) * SECONDS[unit], one


def test_numbers_are_those_of_the_program():
    assert f"at most {MOST_STEPS}" in PAGE
    assert f"at most {MAX_ATTEMPTS}" in PAGE
    assert f"`quota.low_percent` ({Quota().low_percent:g} %)" in PAGE
    pace = f"{SUBSCRIPTION.at_once} calls at once and begins {SUBSCRIPTION.per_minute} in a minute"
    assert pace in PAGE
