import pytest

from tests.clients.corpus import Bench, edited_between, read_jsonc, refused, round_trip, variants

PATH = ".config/crush/crush.json"
ROLES = {"main": "demo-chat", "small": "demo-think"}
SAMPLES = {
    "usual": """{
    "$schema": "https://charm.land/crush.json",
    "providers": {
        "deepseek": {
            "type": "openai-compat",
            "base_url": "https://api.deepseek.com/v1",
            "api_key": "$DEEPSEEK_API_KEY",
            "models": []
        }
    },
    "lsp": {"go": {"command": "gopls"}}
}
""",
    "elsewhere": '{"models": {"large": {"provider": "openai", "model": "gpt-5"}}}\n',
}


def check(values):
    provider = values["providers"]["dragoman"]
    assert (provider["type"], provider["api_key"]) == ("openai-compat", "dragoman")
    assert provider["base_url"] == "http://127.0.0.1:8317/v1"
    assert [
        (m["id"], m["context_window"], m["default_max_tokens"]) for m in provider["models"]
    ] == [
        ("demo-chat", 200_000, 64_000),
        ("demo-think", 128_000, 8_192),
    ]
    assert values["models"]["large"] == {"provider": "dragoman", "model": "demo-chat"}
    assert values["models"]["small"] == {"provider": "dragoman", "model": "demo-think"}


@pytest.mark.parametrize("sample", variants(SAMPLES))
def test_every_form_of_its_settings_comes_back_byte_for_byte(tmp_path, sample):
    round_trip(tmp_path, "crush", PATH, sample, ROLES, check, read_jsonc)


def test_broken_settings_are_left_alone_with_the_place(tmp_path):
    refused(tmp_path, "crush", PATH, b'{"lsp": {}}\n{}\n', ROLES, 2)


def test_an_edit_in_between_is_noticed(tmp_path):
    edited_between(tmp_path, "crush", PATH, SAMPLES["usual"].encode(), ROLES)


def test_its_place_depends_on_the_system(tmp_path):
    bench = Bench(tmp_path, "windows")
    bench.connect("crush", ROLES)
    assert (bench.home / "AppData/Local/crush/crush.json").exists()
