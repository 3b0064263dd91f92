import json

import pytest

from app.clients import AGENTS
from app.clients.agent import Address, Models
from tests.clients.corpus import (
    Bench,
    Sample,
    edited_between,
    read_jsonc,
    refused,
    round_trip,
    variants,
)

PATH = ".config/opencode/opencode.json"
ROLES = {"main": "demo-chat", "small": "demo-think", "planning": "other"}
SAMPLES = {
    "usual": """{
  "$schema": "https://opencode.ai/config.json",
  "theme": "opencode",
  "model": "anthropic/claude-sonnet-4-5",
  "autoupdate": true
}
""",
    "commented": """{
  // providers of mine
  "provider": {
    "ollama": {
      "npm": "@ai-sdk/openai-compatible",
      "options": { "baseURL": "http://localhost:11434/v1" },
      "models": { "llama3": { "name": "Llama 3" } }, /* small */
    },
  },
  "agent": {"plan": {"temperature": 0.1}},
  "mcp": {},
}
""",
    "elsewhere": """{"model": "dragoman/old", "provider": {"dragoman": {"npm": "x", "options":
  {"baseURL": "http://127.0.0.1:1/v1"}}}}
""",
}
HUGE = json.dumps({"command": {f"c{i}": {"template": "x" * 80} for i in range(800)}}, indent=2)


def check(values):
    provider = values["provider"]["dragoman"]
    assert provider["npm"] == "@ai-sdk/openai-compatible"
    assert provider["options"] == {"baseURL": "http://127.0.0.1:8317/v1", "apiKey": "dragoman"}
    assert provider["models"]["demo-chat"]["limit"] == {"context": 200_000, "output": 64_000}
    assert provider["models"]["other"]["limit"] == {"context": 128_000, "output": 16_384}
    assert values["$schema"] == "https://opencode.ai/config.json"
    assert values["model"] == "dragoman/demo-chat"
    assert values["small_model"] == "dragoman/demo-think"
    assert values["agent"]["plan"]["model"] == "dragoman/other"


@pytest.mark.parametrize("sample", variants(SAMPLES, HUGE))
def test_every_form_of_its_settings_comes_back_byte_for_byte(tmp_path, sample):
    round_trip(tmp_path, "opencode", PATH, sample, ROLES, check, read_jsonc)


def test_broken_settings_are_left_alone_with_the_place(tmp_path):
    refused(tmp_path, "opencode", PATH, b'{\n"model": "x"\n"theme": 1}\n', ROLES, 3)


def test_an_edit_in_between_is_noticed(tmp_path):
    edited_between(tmp_path, "opencode", PATH, SAMPLES["usual"].encode(), ROLES)


def test_the_file_with_comments_is_taken_where_there_is_one(tmp_path):
    bench = Bench(tmp_path)
    rather = ".config/opencode/opencode.jsonc"
    before = bench.place(rather, Sample(b"{\n  // mine\n}\n"))
    bench.connect("opencode", ROLES)
    assert not (bench.home / PATH).exists()
    check(read_jsonc((bench.home / rather).read_bytes()))
    bench.disconnect("opencode")
    assert bench.seen(rather) == before


def test_a_file_with_comments_that_comes_later_takes_over_at_the_next_connecting(tmp_path):
    bench = Bench(tmp_path)
    bench.connect("opencode", ROLES)
    bench.place(".config/opencode/opencode.jsonc", Sample(b"{}\n"))
    bench.connect("opencode", ROLES)
    assert not (bench.home / PATH).exists()
    bench.disconnect("opencode")
    assert (bench.home / ".config/opencode/opencode.jsonc").read_bytes() == b"{}\n"


def test_one_process_gets_the_same_values_from_its_environment():
    variables = AGENTS["opencode"].environment(Address("http://127.0.0.1:8317"), Models(ROLES))
    config = json.loads(variables["OPENCODE_CONFIG_CONTENT"])
    assert config["model"] == "dragoman/demo-chat"
    assert config["agent"] == {"plan": {"model": "dragoman/other"}}
