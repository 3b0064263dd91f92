import pytest

from tests.clients.corpus import Bench, edited_between, read_jsonc, refused, round_trip, variants

PATH = ".config/zed/settings.json"
ROLES = {"main": "demo-chat", "small": "demo-think"}
SAMPLES = {
    "usual": """// Zed settings
//
// For information on how to configure Zed, see the Zed
// documentation: https://zed.dev/docs/configuring-zed
{
  "agent": {
    "default_model": {
      "provider": "zed.dev",
      "model": "claude-sonnet-4"
    }
  },
  "ui_font_size": 16,
  "theme": {
    "mode": "system",
    "light": "One Light", // day
    "dark": "One Dark"
  }
}
""",
    "elsewhere": """{
  "language_models": {
    "openai_compatible": {
      "Mine": { "api_url": "https://h.example/v1", "available_models": [] },
      "Dragoman": { "api_url": "http://localhost:1/v1", "available_models": [] },
    },
  },
}
""",
}


def check(values):
    provider = values["language_models"]["openai_compatible"]["Dragoman"]
    assert provider["api_url"] == "http://127.0.0.1:8317/v1"
    assert provider["available_models"][0] == {
        "name": "demo-chat",
        "display_name": "demo-chat",
        "max_tokens": 200_000,
        "max_output_tokens": 64_000,
    }
    assert values["agent"]["default_model"] == {"provider": "Dragoman", "model": "demo-chat"}
    assert values["agent"]["thread_summary_model"]["model"] == "demo-think"


@pytest.mark.parametrize("sample", variants(SAMPLES, "// long\n" * 20_000 + "{}\n"))
def test_every_form_of_its_settings_comes_back_byte_for_byte(tmp_path, sample):
    round_trip(tmp_path, "zed", PATH, sample, ROLES, check, read_jsonc)


def test_broken_settings_are_left_alone_with_the_place(tmp_path):
    refused(tmp_path, "zed", PATH, b"{\n  // x\n  theme: 1\n}\n", ROLES, 3)


def test_an_edit_in_between_is_noticed(tmp_path):
    edited_between(tmp_path, "zed", PATH, SAMPLES["usual"].encode(), ROLES)


def test_on_windows_it_is_among_the_roaming_settings(tmp_path):
    bench = Bench(tmp_path, "windows", {"APPDATA": str(tmp_path / "roaming")})
    bench.connect("zed", ROLES)
    assert (tmp_path / "roaming" / "Zed" / "settings.json").exists()
