import pytest

from tests.clients.corpus import Bench, edited_between, read_yaml, refused, round_trip, variants

PATH = ".continue/config.yaml"
ROLES = {"main": "demo-chat", "small": "demo-think"}
SAMPLES = {
    "usual": """name: My Config
version: 0.0.1
schema: v1
models:
  - name: GPT-4o
    provider: openai
    model: gpt-4o
    roles: [chat, edit]
    # autocomplete is another one
  - name: Codestral
    provider: mistral
    model: codestral-latest
    roles:
      - autocomplete
context:
  - provider: code
  - provider: docs
""",
    "anchors": """name: A
version: 1.0.0
schema: v1
defaults: &defaults
  provider: openai
models:
  - <<: *defaults
    name: One
    model: one
""",
    "no-models": "name: A\nversion: 1.0.0\nschema: v1\nmodels: []\n",
}


def check(values):
    entries = {entry["name"]: entry for entry in values["models"]}
    assert entries["Dragoman"]["apiBase"] == "http://127.0.0.1:8317/v1"
    assert entries["Dragoman"]["roles"] == ["chat", "edit", "apply"]
    assert entries["Dragoman small"]["model"] == "demo-think"
    assert values["schema"] == "v1"


@pytest.mark.parametrize("sample", variants(SAMPLES))
def test_every_form_of_its_settings_comes_back_byte_for_byte(tmp_path, sample):
    round_trip(tmp_path, "continue", PATH, sample, ROLES, check, read_yaml)


def test_broken_settings_are_left_alone_with_the_place(tmp_path):
    refused(tmp_path, "continue", PATH, b"name: a\nmodels:\n\t- x\n", ROLES, 3)


def test_an_edit_in_between_is_noticed(tmp_path):
    edited_between(tmp_path, "continue", PATH, SAMPLES["usual"].encode(), ROLES)


def test_what_every_file_must_have_is_set_only_where_it_is_missing(tmp_path):
    bench = Bench(tmp_path)
    file = bench.home / PATH
    file.parent.mkdir()
    file.write_text("name: Mine\nmodels: []\n")
    bench.connect("continue", ROLES)
    values = read_yaml(file.read_bytes())
    assert (values["name"], values["version"]) == ("Mine", "1.0.0")
