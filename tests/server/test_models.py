"""The shapes of the model list; the official clients' types read them."""

from dataclasses import replace

import pytest
from anthropic.types import ModelInfo
from google.genai.types import Model as GeminiModel
from openai.types import Model as OpenAIModel

from app.accounts.account import Account
from app.accounts.roster import AccountState
from app.keys import KeyRecord
from app.ledger.price import Rates
from app.providers import ANTHROPIC, DEMO, OPENAI
from app.providers.base import ModelFacts
from app.routing.catalog import Capabilities, Catalog
from app.routing.snapshot import Prices, SnapshotRow
from app.server.guard import Grant
from app.server.models import Facts, ModelRow, list_models, render_models
from app.upstream.modelsdev import parse_registry
from tests.upstream.registry import registry

FULL = ModelRow("org/big", "fake", ("one", "two"), "Big One", 1_700_000_000, 200_000, 8_000)
BARE = ModelRow("small", "fake")
CLIENTS = {"openai_chat": OpenAIModel, "anthropic": ModelInfo}


def test_openai_list_has_sizes_and_labels_where_they_are_known():
    body = render_models([FULL, BARE], "openai_chat")
    assert body["object"] == "list"
    assert body["data"] == [
        {
            "id": "org/big",
            "object": "model",
            "created": 1_700_000_000,
            "owned_by": "fake",
            "display_name": "Big One",
            "max_input_tokens": 200_000,
            "max_tokens": 8_000,
            "x_dragoman": {"accounts": ["one", "two"]},
        },
        {"id": "small", "object": "model", "created": 0, "owned_by": "fake"},
    ]


def test_anthropic_list_says_where_it_begins_and_ends():
    body = render_models([FULL, BARE], "anthropic")
    assert (body["first_id"], body["last_id"], body["has_more"]) == ("org/big", "small", False)
    assert body["data"][0] == {
        "type": "model",
        "id": "org/big",
        "display_name": "Big One",
        "created_at": "2023-11-14T22:13:20Z",
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 8_000,
    }
    assert body["data"][1]["display_name"] == "small"


def test_gemini_list_names_models_as_resources():
    body = render_models([FULL, BARE], "gemini")
    assert list(body) == ["models"]
    assert body["models"][0] == {
        "name": "models/org/big",
        "version": "org/big",
        "displayName": "Big One",
        "supportedGenerationMethods": ["generateContent", "countTokens"],
        "inputTokenLimit": 200_000,
        "outputTokenLimit": 8_000,
    }
    assert "inputTokenLimit" not in body["models"][1]


@pytest.mark.parametrize("form", ["openai_chat", "openai_responses", "anthropic", "gemini"])
def test_single_model_is_the_lines_own_object(form):
    whole = render_models([FULL], form)
    (line,) = whole.get("data") or whole["models"]
    assert render_models([FULL], form, single=True) == line


@pytest.mark.parametrize("form", CLIENTS)
@pytest.mark.parametrize("row", [FULL, BARE])
def test_official_clients_read_each_line(form, row):
    line = render_models([row], form, single=True)
    assert CLIENTS[form].model_validate(line, strict=False).id == row.id


def test_google_reads_each_line():
    line = render_models([FULL], "gemini", single=True)
    model = GeminiModel.model_validate({"name": line["name"], "displayName": line["displayName"]})
    assert (model.name, model.display_name) == ("models/org/big", "Big One")


@pytest.mark.parametrize(
    ("form", "empty"),
    [
        ("openai_chat", {"object": "list", "data": []}),
        ("anthropic", {"data": [], "has_more": False, "first_id": None, "last_id": None}),
        ("gemini", {"models": []}),
    ],
)
def test_empty_list_is_a_list(form, empty):
    assert render_models([], form) == empty


USER = Grant("same_user")
ONE = Account("anthropic/one", ANTHROPIC, "one", ANTHROPIC.base_url)
TWO = Account("anthropic/two", ANTHROPIC, "two", ANTHROPIC.base_url)
CHAT = Account("openai/work", OPENAI, "work", OPENAI.base_url, models={"mine": "gpt-5"})
LISTED = {
    "anthropic/one": {
        "claude-sonnet-4-5": ModelFacts("claude-sonnet-4-5"),
        "old": ModelFacts("old"),
    },
    "anthropic/two": {"claude-sonnet-4-5": ModelFacts("claude-sonnet-4-5", images=False)},
}


def listed(*accounts, catalog=None, grant=USER, states=None, demo=False, **more):
    def state(account, model):
        found = (states or {}).get((account.id, model)) or (states or {}).get(account.id)
        return found or AccountState("ready")

    facts = Facts(state=state, **more)
    rows = list_models(accounts, catalog or Catalog(listed=LISTED), grant, demo=demo, facts=facts)
    return {row.id: row for row in rows}


def test_what_is_known_of_a_model_is_merged_from_all_who_know():
    read = parse_registry(registry())
    rates = Rates(3.0, 15.0)
    catalog = Catalog(
        listed=LISTED,
        snapshot=read.rows,
        capabilities={"claude-sonnet-4-5": Capabilities(context=7)},
    )
    row = listed(ONE, TWO, catalog=catalog, registry=read, rates=lambda _: rates)[
        "claude-sonnet-4-5"
    ]
    assert row.context == 7  # the user's word
    assert (row.max_output, row.created) == (64_000, 1_759_104_000)  # the registry's
    assert (row.display_name, row.reads) == ("Claude Sonnet 4.5", ("image", "pdf", "text"))
    assert (row.reasoning, row.tools, row.rates) == (True, True, rates)
    assert (row.accounts, row.owned_by, row.dialect) == (("one", "two"), "anthropic", "anthropic")
    extra = render_models([row], "openai_chat")["data"][0]["x_dragoman"]
    assert extra == {
        "accounts": ["one", "two"],
        "reads": ["image", "pdf", "text"],
        "writes": ["text"],
        "reasoning": True,
        "tools": True,
        "prices": {"input": 3.0, "output": 15.0},
    }


def test_a_service_that_says_a_model_sees_nothing_is_believed():
    catalog = Catalog(listed=LISTED, snapshot=parse_registry(registry()).rows)
    assert listed(TWO, catalog=catalog)["claude-sonnet-4-5"].reads == ("pdf", "text")
    sees = Catalog(
        listed={"anthropic/one": {"blind": ModelFacts("blind", images=True)}},
        snapshot={"blind": SnapshotRow("x", input=frozenset({"text"}))},
    )
    assert listed(ONE, catalog=sees)["blind"].reads == ("image", "text")


@pytest.mark.parametrize(
    "changes", [{"enabled": False}, {"paused": True}, {"trouble": "sign in again"}]
)
def test_accounts_that_cannot_be_called_list_nothing(changes):
    assert listed(replace(ONE, **changes)) == {}


@pytest.mark.parametrize("health", ["refused", "unusable", "disabled"])
def test_accounts_that_somebody_has_to_look_after_list_nothing(health):
    rows = listed(ONE, TWO, states={"anthropic/one": AccountState(health, "why")})
    assert set(rows) == {"claude-sonnet-4-5"}
    assert rows["claude-sonnet-4-5"].accounts == ("two",)


def test_a_model_that_cools_down_is_listed_with_the_time_of_its_return():
    cooling = AccountState("cooling", "slow down", 500.0)
    later = AccountState("cooling", "slow down", 900.0)
    assert listed(ONE, states={"anthropic/one": cooling})["old"].until == 500.0
    both = {"anthropic/one": later, "anthropic/two": cooling}
    row = listed(ONE, TWO, states=both)["claude-sonnet-4-5"]
    assert row.until == 500.0
    assert render_models([row], "openai_chat")["data"][0]["x_dragoman"]["cooling_until"] == 500.0
    assert listed(ONE, TWO, states={"anthropic/one": later})["claude-sonnet-4-5"].until is None
    soft = AccountState("cooling", "failed a moment ago", 500.0, soft=True)
    assert listed(ONE, states={"anthropic/one": soft})["old"].until is None


def test_names_of_the_settings_are_listed_where_they_lead_somewhere():
    catalog = Catalog(
        listed=LISTED,
        aliases={
            "fast": "old",
            "deep": "fast(high)",
            "exact": "anthropic/one/old",
            "gone": "nowhere",
            "round": "around",
            "around": "round",
            "lost": "openai/nowhere",
        },
        chains={
            "either": ("nowhere", "old", "claude-sonnet-4-5"),
            "neither": ("nowhere",),
            "claude-sonnet-4-5": ("old",),
        },
    )
    rows = listed(ONE, CHAT, catalog=catalog)
    assert set(rows) == {"claude-sonnet-4-5", "old", "mine", "fast", "deep", "exact", "either"}
    assert rows["deep"].upstream == rows["exact"].upstream == "old"
    assert (rows["mine"].upstream, rows["mine"].owned_by) == ("gpt-5", "openai")
    assert (rows["either"].upstream, rows["either"].display_name) == ("old", "either")


def test_a_chain_cools_down_only_with_all_of_its_models():
    cooling = AccountState("cooling", "slow down", 500.0)
    catalog = Catalog(listed=LISTED, chains={"either": ("old", "claude-sonnet-4-5")})
    one = listed(ONE, catalog=catalog, states={("anthropic/one", "old"): cooling})
    assert one["either"].until is None
    assert listed(ONE, catalog=catalog, states={"anthropic/one": cooling})["either"].until == 500.0


def test_a_key_sees_its_scope_and_no_labels():
    key = KeyRecord("k", "k", "client", "0" * 64, 0.0, models=("old",))
    catalog = Catalog(listed=LISTED, aliases={"fast": "old", "best": "claude-sonnet-4-5"})
    rows = listed(ONE, catalog=catalog, grant=Grant("key", key))
    assert set(rows) == {"old", "fast"}
    assert rows["old"].accounts == ()


def test_a_name_of_the_settings_may_be_a_keys_scope_like_what_it_stands_for():
    catalog = Catalog(
        listed=LISTED, aliases={"fast": "old"}, chains={"either": ("fast", "claude-sonnet-4-5")}
    )

    def seen(*models):
        key = KeyRecord("k", "k", "client", "0" * 64, 0.0, models=models)
        return set(listed(ONE, catalog=catalog, grant=Grant("key", key)))

    assert seen("fast") == {"fast"}
    assert seen("either") == {"either"}
    assert seen("old") == {"old", "fast", "either"}
    assert seen("nothing") == set()


def test_the_demo_is_listed_only_while_nothing_else_is_there():
    demo = Account("demo/demo", DEMO, "demo", DEMO.base_url)
    catalog = Catalog(listed=LISTED | {"demo/demo": {"demo-chat": ModelFacts("demo-chat")}})
    assert set(listed(demo, catalog=catalog)) == {"demo-chat"}
    assert "demo-chat" not in listed(demo, ONE, catalog=catalog)
    assert "demo-chat" in listed(demo, ONE, catalog=catalog, demo=True)


def test_prices_that_nobody_knows_are_left_out():
    snapshot = {"old": SnapshotRow("x", prices=Prices())}
    row = listed(ONE, catalog=Catalog(listed=LISTED, snapshot=snapshot))["old"]
    assert "prices" not in render_models([row], "openai_chat")["data"][0]["x_dragoman"]
