"""The registry that OpenCode reads: ours among the others, for each key its own."""

import json
from dataclasses import replace

import pytest

from app.keys import KeyRecord
from app.ledger.price import Rates, Tier
from app.server.models import ModelRow
from app.server.registry import models_token, render_provider
from tests.server.running import running
from tests.upstream.registry import MODEL, model, registry

SETTINGS = (
    "providers:\n  fake:\n    kind: compatible\n    dialect: anthropic\n"
    "    base_url: http://127.0.0.1:9\n    api_key: sk-fake\n"
    "    models: [claude-sonnet-4-5, other]\nmodels: {registry: false}\n"
)
ROW = ModelRow(
    "claude", "anthropic", display_name="Claude", upstream="claude-sonnet-4-5", dialect="anthropic"
)
REQUIRED = {
    *("id", "name", "attachment", "reasoning", "tool_call", "release_date", "last_updated"),
    *("modalities", "open_weights", "limit"),
}
"""What the schema of models.dev asks of each model."""


def one(row, known=None):
    models = render_provider([row], known or {}, "http://localhost:1")["models"]
    return models[row.id]


def keep(home, document):
    """Put a registry into the cache, as a run before would have left it."""
    folder = home / "cache"
    folder.mkdir(parents=True)
    (folder / "models.dev.json").write_bytes(b'{"fetched_at":1}\n' + document)


async def loaded(server):
    await server.service.model_desk.public.load()
    return server


def test_an_entry_has_all_that_the_schema_asks_for_whatever_is_known():
    bare = one(ModelRow("bare", "x", upstream="bare"))
    assert bare.keys() >= REQUIRED
    assert bare["limit"] == {"context": 128_000, "output": 16_384}
    assert bare["modalities"] == {"input": ["text"], "output": ["text"]}
    assert bare["release_date"] == "1970-01-01"
    assert "cost" not in bare


def test_the_registrys_entry_is_kept_where_nothing_is_known_better():
    row = replace(ROW, context=50, rates=Rates(1.0, 2.0), reads=("text",), created=86_400)
    entry = one(row, {"claude-sonnet-4-5": MODEL})
    assert entry["family"] == "claude-sonnet"
    assert entry["knowledge"] == "2025-07-31"
    assert entry["release_date"] == "2025-09-29"
    assert (entry["id"], entry["name"], entry["attachment"]) == ("claude", "Claude", False)
    assert entry["limit"] == {"context": 50, "output": 16_384}
    assert entry["cost"] == {"input": 1.0, "output": 2.0, "cache_read": 0.3, "cache_write": 3.75}
    assert one(ROW, {"claude-sonnet-4-5": MODEL})["cost"] == MODEL["cost"]


def test_prices_of_long_prompts_are_told():
    row = replace(ROW, rates=Rates(1.0, 2.0, tiers=(Tier(272_000, Rates(2.0, 3.0)),)))
    assert one(row)["cost"] == {
        "input": 1.0,
        "output": 2.0,
        "tiers": [{"tier": {"type": "context", "size": 272_000}, "input": 2.0, "output": 3.0}],
    }


@pytest.mark.parametrize(
    ("dialect", "package", "path"),
    [
        ("anthropic", "@ai-sdk/anthropic", "/v1"),
        ("openai_responses", "@ai-sdk/openai", "/v1"),
        ("gemini", "@ai-sdk/google", "/v1beta"),
        ("openai_chat", "@ai-sdk/openai-compatible", "/v1"),
    ],
)
def test_each_model_names_the_package_that_speaks_its_services_dialect(dialect, package, path):
    known = {"claude-sonnet-4-5": model("x", provider={"npm": "@x/y", "shape": "responses"})}
    entry = one(replace(ROW, dialect=dialect), known)
    assert entry["provider"] == {
        "npm": package,
        "api": f"http://localhost:1{path}",
        "shape": "responses",
    }


def test_models_that_write_no_text_are_left_out():
    drawing = replace(ROW, writes=("image",))
    assert render_provider([drawing], {}, "http://x")["models"] == {}


@pytest.mark.parametrize("path", ["/models/api.json", "/api.json"])
async def test_our_provider_stands_among_those_of_the_registry(tmp_path, path):
    keep(tmp_path, registry())
    async with running(tmp_path, SETTINGS) as server:
        await loaded(server)
        reply = await server.get(path)
        assert reply.status == 200
        found = reply.json
        ours = found.pop("dragoman")
        assert found == json.loads(registry())
        assert set(ours["models"]) == {"claude-sonnet-4-5", "other"}
        assert (ours["id"], ours["env"]) == ("dragoman", ["DRAGOMAN_API_KEY"])
        claude = ours["models"]["claude-sonnet-4-5"]
        assert claude["cost"]["output"] == 15
        assert claude["provider"]["api"] == f"http://localhost:{server.port}/v1"
        listed = (await server.get("/v1/models")).json["data"]
        assert {m["id"]: m["created"] for m in listed}["claude-sonnet-4-5"] == 1_759_104_000


async def test_without_a_registry_our_provider_stands_alone(tmp_path):
    async with running(tmp_path, SETTINGS) as server:
        found = (await server.get("/models/api.json")).json
        assert list(found) == ["dragoman"]
        # The shipped facts count.
        assert found["dragoman"]["models"]["claude-sonnet-4-5"]["limit"]["output"] == 64_000


@pytest.mark.parametrize("root", ["models", "api"])
async def test_each_key_has_an_address_of_its_own_that_shows_its_scope(tmp_path, root):
    async with running(tmp_path, SETTINGS) as server:
        record, plain = await server.key(label="agent", models=["other"])
        found = (await server.get(f"/{root}/{models_token(record)}/api.json")).json
        assert set(found["dragoman"]["models"]) == {"other"}
        by_key = await server.get("/api.json", {"Authorization": f"Bearer {plain}"})
        assert by_key.json == found
        await server.service.revoke_key(record.id)
        gone = await server.get(f"/{root}/{models_token(record)}/api.json")
        assert (gone.status, gone.json["error"]["code"]) == (401, "invalid_key")


async def test_an_admin_keys_address_shows_everything_and_a_relay_keys_nothing(tmp_path):
    async with running(tmp_path, SETTINGS) as server:
        admin, _ = await server.key(label="admin", kind="admin")
        relay = KeyRecord("r", "r", "relay", "0" * 64, 0.0)
        found = (await server.get(f"/models/{models_token(admin)}/api.json")).json
        assert set(found["dragoman"]["models"]) == {"claude-sonnet-4-5", "other"}
        assert (await server.get(f"/models/{models_token(relay)}/api.json")).status == 401


async def test_guessing_addresses_slows_the_guesser(tmp_path):
    async with running(tmp_path, SETTINGS) as server:
        statuses = [(await server.get(f"/models/{i:032x}/api.json")).status for i in range(25)]
        assert statuses[0] == 401
        assert statuses[-1] == 429
        record, _ = await server.key(label="agent")
        assert (await server.get(f"/models/{models_token(record)}/api.json")).status == 200


async def test_the_address_of_a_key_is_told_to_who_controls_the_program(tmp_path):
    async with running(tmp_path, SETTINGS) as server:
        record, _ = await server.key(label="my agent")
        token = {"Authorization": f"Bearer {server.service.instance.token}"}
        for name in ("my%20agent", record.id):
            reply = await server.get(f"/admin/models/address?key={name}", token)
            assert reply.json == {"path": f"/models/{models_token(record)}"}
        missing = await server.get("/admin/models/address?key=x", token)
        assert (missing.status, missing.json["error"]["code"]) == (404, "key_not_found")
        assert (await server.get("/admin/models/address?key=x")).status == 401
        assert (await server.get("/admin/models/address", token)).status == 400


async def test_a_web_page_of_another_name_is_refused(tmp_path):
    async with running(tmp_path, SETTINGS) as server:
        record, _ = await server.key(label="agent")
        path = f"/models/{models_token(record)}/api.json"
        assert (await server.get(path, {"Host": "evil.example"})).status == 403


def test_a_token_is_of_its_key_alone_and_not_part_of_it():
    one, two = (KeyRecord("k", "k", "client", digit * 64, 0.0) for digit in "12")
    assert models_token(one) != models_token(two)
    assert len(models_token(one)) == 32
    assert models_token(one) not in one.sha256
