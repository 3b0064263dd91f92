import pytest

from tests.clients.corpus import (
    Bench,
    edited_between,
    read_env,
    read_jsonc,
    refused,
    round_trip,
    variants,
)

ENV, SETTINGS = ".gemini/.env", ".gemini/settings.json"
ROLES = {"main": "demo-chat"}
ENV_SAMPLES = {
    "usual": "# keys\nGEMINI_API_KEY=AIza-mine\nGOOGLE_CLOUD_PROJECT='p'\n",
    "spaced": "\n\nA = b\nexport C=d\n\n",
}
SETTINGS_SAMPLES = {
    "usual": """{
  "security": {
    "auth": {
      "selectedType": "oauth-personal"
    }
  },
  "ui": { "theme": "Default" },
  "mcpServers": {}
}
""",
    "commented": '{\n  // which model\n  "model": { "name": "gemini-3-pro-preview" }\n}\n',
}


def check_env(values):
    assert values["GEMINI_API_KEY"] == "dragoman"
    assert values["GOOGLE_GEMINI_BASE_URL"] == "http://127.0.0.1:8317"


def check_settings(values):
    assert values["security"]["auth"]["selectedType"] == "gemini-api-key"
    assert values["model"]["name"] == "demo-chat"


@pytest.mark.parametrize("sample", variants(ENV_SAMPLES, "A=b\n" * 20_000))
def test_every_form_of_its_variables_comes_back_byte_for_byte(tmp_path, sample):
    round_trip(tmp_path, "gemini", ENV, sample, ROLES, check_env, read_env)


@pytest.mark.parametrize("sample", variants(SETTINGS_SAMPLES, mark=False))
def test_every_form_of_its_settings_comes_back_byte_for_byte(tmp_path, sample):
    round_trip(tmp_path, "gemini", SETTINGS, sample, ROLES, check_settings, read_jsonc)


def test_broken_settings_are_left_alone_with_the_place(tmp_path):
    refused(tmp_path, "gemini", SETTINGS, b'{\n  "ui": [1, 2\n}\n', ROLES, 3)
    assert not (tmp_path / "home" / ENV).exists()


def test_half_a_pair_of_marks_is_left_alone_with_the_place(tmp_path):
    refused(tmp_path, "gemini", ENV, b"A=b\n# >>> dragoman >>>\nB=c\n", ROLES, 2)


def test_an_edit_of_the_second_file_in_between_stops_both(tmp_path):
    edited_between(tmp_path, "gemini", SETTINGS, b"{}\n", ROLES)
    assert not (tmp_path / "home" / ENV).exists()


def test_its_home_can_be_moved(tmp_path):
    bench = Bench(tmp_path, env={"GEMINI_CLI_HOME": str(tmp_path / "there")})
    bench.connect("gemini", {})
    assert (tmp_path / "there" / ".gemini" / ".env").exists()


@pytest.mark.parametrize(
    ("content", "line"), [(b'{\n  "ui": {},\n}\n', 2), (b"\xef\xbb\xbf{}\n", 1)]
)
def test_what_it_does_not_read_itself_is_left_alone_with_the_place(tmp_path, content, line):
    refused(tmp_path, "gemini", SETTINGS, content, ROLES, line)
