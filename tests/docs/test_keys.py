"""The pages about keys and use name all that there is, and nothing else."""

import re
from pathlib import Path
from typing import get_args

from app.cli.program import build
from app.config import Models
from app.configledger import Budget, Ledger, Price
from app.ledger.query import _FILTERS, _LIST_FILTERS, usage_query
from app.ledger.report import By
from app.server.keys import _KeyRotation, _NewKey

DOCS = Path(__file__).parents[2] / "assets" / "docs"
KEYS = (DOCS / "keys.md").read_text("utf-8")
USAGE = (DOCS / "usage.md").read_text("utf-8")
MODELS = (DOCS / "models.md").read_text("utf-8")
CODE = re.compile(r"`([^`\n]+)`")
NOW = 1_795_262_400.0
PLAIN = {"--help", "--json"}


def options_of(*names):
    import typer

    command = typer.main.get_command(build())
    for name in names:
        command = command.commands[name]
    return {name for one in command.params for name in one.opts if name.startswith("--")} - PLAIN


def first_cells(page, heading):
    found = re.search(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    return [line.split("|")[1] for line in found[1].splitlines()]


def test_every_option_of_a_key_is_in_the_table():
    told = {code.split()[0] for cell in first_cells(KEYS, "option") for code in CODE.findall(cell)}
    assert told == options_of("keys", "create") - {"--label"}
    assert "--keep" in options_of("keys", "rotate")
    assert options_of("keys", "edit") == options_of("keys", "create") - {
        *("--label", "--admin", "--relay"),
    }


def test_every_field_of_a_budget_is_in_the_table():
    told = {code for cell in first_cells(KEYS, "key") for code in CODE.findall(cell)}
    assert told == set(Budget.model_fields)


def test_bodies_of_the_control_routes_are_told():
    rows = {line.split("|")[1].strip(): line for line in KEYS.splitlines() if "/admin/keys" in line}
    making = set(CODE.findall(rows["`POST /admin/keys`"].split("|")[2]))
    assert making == set(_NewKey.__struct_fields__)
    rotating = set(CODE.findall(rows["`POST /admin/keys/{id}/rotate`"].split("|")[2]))
    assert rotating == set(_KeyRotation.__struct_fields__)


def test_prices_and_sizes_of_the_ledger_are_told():
    told = set(re.findall(r"\w+", KEYS + MODELS))
    assert set(Price.model_fields) <= told
    assert {"retention_days", "max_mb"} <= told & set(Ledger.model_fields)
    assert {"capabilities", "prices", "registry"} <= told & set(Models.model_fields)


def test_ways_to_group_and_narrow_use_are_told():
    told = set(CODE.findall(USAGE))
    assert set(get_args(By)) <= told
    assert options_of("usage") - {"--csv"} <= told
    listing = re.search(r"they take the\nsame fields, and further (.*?)\.", USAGE, re.DOTALL)
    further = set(_LIST_FILTERS) - set(_FILTERS) | {"failed", "limit", "cursor"}
    assert set(CODE.findall(listing[1])) == further
    for by in get_args(By):
        assert usage_query({"by": by}, NOW).by == by
