import pytest

from app.clients import AGENTS
from app.clients.agent import Address, Models
from tests.clients.corpus import (
    Bench,
    edited_between,
    read_json,
    read_yaml,
    refused,
    round_trip,
    variants,
)

PATH = ".config/goose/config.yaml"
DECLARED = ".config/goose/custom_providers/dragoman.json"
ROLES = {"main": "demo-chat", "small": "demo-think", "planning": "other"}
SAMPLES = {
    "usual": """# Model Configuration
active_provider: anthropic
providers:
  anthropic:
    enabled: true
    model: claude-sonnet-4-5-20250929
    configured: true
GOOSE_TEMPERATURE: 0.7

# Extensions
extensions:
  developer:
    bundled: true
    enabled: true
    name: developer
    timeout: 300
    type: builtin
GOOSE_SEARCH_PATHS:
  - "/usr/local/bin"
  - "~/custom/tools"
""",
    "old": "GOOSE_PROVIDER: openai\nGOOSE_MODEL: gpt-4o\nGOOSE_MODE: smart_approve\n",
    "four-blanks": "providers:\n    openai:\n        model: x # mine\nactive_provider: openai\n",
    "null": "providers:\nactive_provider: ''\n",
}


def check(values):
    assert values["active_provider"] == "dragoman"
    assert values["providers"]["dragoman"] == {
        "enabled": True,
        "model": "demo-chat",
        "configured": True,
    }
    assert values["GOOSE_FAST_MODEL"] == "demo-think"
    assert values["GOOSE_PLANNER_MODEL"] == "other"


@pytest.mark.parametrize("sample", variants(SAMPLES))
def test_every_form_of_its_settings_comes_back_byte_for_byte(tmp_path, sample):
    round_trip(tmp_path, "goose", PATH, sample, ROLES, check, read_yaml)


def test_its_provider_is_declared_in_a_file_of_its_own(tmp_path):
    bench = Bench(tmp_path)
    bench.connect("goose", ROLES)
    declared = read_json((bench.home / DECLARED).read_bytes())
    assert declared["engine"] == "openai"
    assert declared["base_url"] == "http://127.0.0.1:8317/v1"
    assert [model["name"] for model in declared["models"]] == ["demo-chat", "demo-think", "other"]
    bench.disconnect("goose")
    assert list(bench.home.iterdir()) == []


def test_broken_settings_are_left_alone_with_the_place(tmp_path):
    refused(tmp_path, "goose", PATH, b"a: 1\nproviders: [\n", ROLES, 3)
    assert not (tmp_path / "home" / DECLARED).exists()


def test_an_edit_in_between_is_noticed(tmp_path):
    edited_between(tmp_path, "goose", PATH, SAMPLES["usual"].encode(), ROLES)


def test_one_process_gets_the_address_without_a_version():
    variables = AGENTS["goose"].environment(Address("http://h:1"), Models(ROLES))
    assert variables["OPENAI_HOST"] == "http://h:1"
    assert variables["GOOSE_PLANNER_MODEL"] == "other"


def test_on_windows_it_is_among_the_roaming_settings(tmp_path):
    bench = Bench(tmp_path, "windows")
    bench.connect("goose", ROLES)
    assert (bench.home / "AppData/Roaming/Block/goose/config/config.yaml").exists()
