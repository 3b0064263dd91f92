"""The page about rules and hooks names all that they are given; ``tests/test_extensions.py`` runs it."""

import re
from pathlib import Path

from app.gateway.call import Outcome
from app.gateway.exchange import _told
from app.routing.facts import RequestFacts

PAGE = (Path(__file__).parents[2] / "assets" / "docs" / "extensions.md").read_text("utf-8")
ROUTINGS_OWN = {"counted", "names", "seed"}


def test_every_fact_of_a_call_is_named():
    told = set(re.findall(r"`facts\.(\w+)", PAGE))
    there = {name for name in dir(RequestFacts) if not name.startswith("_")}
    assert told == there - ROUTINGS_OWN


def test_everything_that_hooks_are_told_at_the_end_is_named():
    sentence = re.search(r"answer\)` is told (.*?); what it returns", PAGE, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", sentence[1])) == set(_told(Outcome("req_1")))
