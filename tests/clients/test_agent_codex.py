import tomllib

import pytest

from app.clients import AGENTS
from app.clients.agent import Address, Models, Offered
from tests.clients.corpus import (
    Bench,
    Sample,
    edited_between,
    read_toml,
    refused,
    round_trip,
    variants,
)

PATH = ".codex/config.toml"
ROLES = {"main": "demo-chat"}
SAMPLES = {
    "usual": """# Codex
model = "gpt-5.2-codex"   # the good one
model_reasoning_effort = "high"
approval_policy = "on-request"

[tui]
notifications = true

[projects."/home/user/work"]
trust_level = "trusted"

[mcp_servers.docs]
command = "npx"
args = ["-y", "mcp-docs"]
env = { KEY = "value" }
""",
    "elsewhere": """model_provider = "azure"
model = "gpt-5"

[model_providers.azure]
name = "Azure"
base_url = "https://example.openai.azure.com/openai"
env_key = "AZURE_OPENAI_API_KEY"
query_params = { api-version = "2025-04-01-preview" }

[profiles.fast]
model = "gpt-5-mini"
""",
    "tables-only": "# none of the keys at the top\n\n[features]\nweb_search = true\n\n# end\n",
    "our-name": """model_provider = "dragoman"
[model_providers.dragoman]
name = "Old"
base_url = "http://127.0.0.1:9999/v1"
wire_api = "responses"

[model_providers.dragoman.http_headers]
X-A = "b"

[notice]
hide = true
""",
    "inline": 'model_providers = { local = { name = "L", base_url = "http://localhost:1234/v1" } }\n',
    "odd-order": '[mcp_servers.a]\ncommand = "a"\n[model_providers.x]\nname = "x"\n[mcp_servers.b]\ncommand = "b"\n',
    "long-text": 'developer_instructions = """\n[not a table]\nmodel = "no"\n"""\nmodel = "m"\n',
}
HUGE = "model = 'x'\n" + "".join(
    f'\n[projects."/home/user/p{i}"]\ntrust_level = "trusted" # {i}\n' for i in range(120)
)


def check(values):
    assert values["model"] == "demo-chat"
    assert values["model_context_window"] == 200_000
    assert values["model_provider"] == "dragoman"
    assert values["model_providers"]["dragoman"] == {
        "name": "Dragoman",
        "base_url": "http://127.0.0.1:8317/v1",
        "wire_api": "responses",
    }


@pytest.mark.parametrize("sample", variants(SAMPLES, HUGE))
def test_every_form_of_its_settings_comes_back_byte_for_byte(tmp_path, sample):
    round_trip(tmp_path, "codex", PATH, sample, ROLES, check, read_toml)


@pytest.mark.parametrize("name", SAMPLES)
def test_everything_else_is_still_there_while_connected(tmp_path, name):
    bench = Bench(tmp_path)
    bench.place(PATH, Sample(SAMPLES[name].encode()))
    before = tomllib.loads(SAMPLES[name])
    bench.connect("codex", ROLES)
    text = (bench.home / PATH).read_text()
    after = tomllib.loads(text)
    ours = {"model", "model_provider", "model_providers", "model_context_window"}
    assert {k: v for k, v in after.items() if k not in ours} == {
        k: v for k, v in before.items() if k not in ours
    }
    others = {k: v for k, v in before.get("model_providers", {}).items() if k != "dragoman"}
    assert others.items() <= after["model_providers"].items()
    for line in SAMPLES[name].splitlines():
        if line.startswith("#"):
            assert line in text


def test_broken_settings_are_left_alone_with_the_place(tmp_path):
    refused(tmp_path, "codex", PATH, b'model = "x"\n\n[tui\nx = 1\n', ROLES, 3)


def test_an_edit_in_between_is_noticed(tmp_path):
    edited_between(tmp_path, "codex", PATH, SAMPLES["usual"].encode(), ROLES)


def test_one_process_is_pointed_here_by_words_that_are_toml_and_hold_no_key():
    words = AGENTS["codex"].arguments(Address("http://h:1", "dg-secret"), Models(ROLES))
    assert words[::2] == ("-c",) * 3
    merged = {}
    for word in words[1::2]:
        merged |= tomllib.loads(word)
    assert merged["model"] == "demo-chat"
    assert merged["model_provider"] == "dragoman"
    assert merged["model_providers"]["dragoman"]["base_url"] == "http://h:1/v1"
    assert "dg-secret" not in "".join(words)


def test_the_context_of_models_that_are_large_is_left_to_it(tmp_path):
    words = AGENTS["codex"].arguments(
        Address("http://h:1"), Models(ROLES, (Offered("demo-chat", 400_000),))
    )
    assert not any("model_context_window" in word for word in words)
