import pytest

from tests.clients.corpus import (
    Bench,
    Sample,
    edited_between,
    read_yaml,
    refused,
    round_trip,
    variants,
)

FOLDER = ".config/io.datasette.llm"
PATH = f"{FOLDER}/extra-openai-models.yaml"
ROLES = {"main": "demo-chat"}
SAMPLES = {
    "usual": """- model_id: gpt-3.5-turbo-0613
  model_name: gpt-3.5-turbo-0613
  aliases: ["0613"]
# local
- model_id: orca-openai-compat
  model_name: orca-mini-3b.ggmlv3
  api_base: "http://localhost:8080"
""",
    "indented": "  - model_id: a\n    model_name: b\n",
    "ours-by-hand": """- model_id: dragoman/demo-chat
  model_name: demo-chat
  api_base: http://localhost:1/v1
- model_id: other
  model_name: other
  headers:
    X-Title: LLM
""",
    "list-in-brackets": "[{model_id: a, model_name: b}]\n",
}
HUGE = "".join(f"- model_id: m{i}\n  model_name: n{i} # {i}\n" for i in range(120))


def check(values):
    entries = {entry["model_id"]: entry for entry in values}
    for name in ("demo-chat", "demo-think"):
        entry = entries[f"dragoman/{name}"]
        assert entry["model_name"] == name
        assert entry["api_base"] == "http://127.0.0.1:8317/v1"
        assert entry["supports_tools"] is True


@pytest.mark.parametrize("sample", variants(SAMPLES, HUGE))
def test_every_form_of_its_models_comes_back_byte_for_byte(tmp_path, sample):
    round_trip(tmp_path, "llm", PATH, sample, ROLES, check, read_yaml)


@pytest.mark.parametrize("content", [b"gpt-4o", b"gpt-4o-mini\n"])
def test_its_default_model_comes_back(tmp_path, content):
    bench = Bench(tmp_path)
    file = f"{FOLDER}/default_model.txt"
    before = bench.place(file, Sample(content))
    bench.connect("llm", ROLES)
    assert (bench.home / file).read_text().strip() == "dragoman/demo-chat"
    bench.disconnect("llm")
    assert bench.seen(file) == before


def test_broken_models_are_left_alone_with_the_place(tmp_path):
    refused(tmp_path, "llm", PATH, b"- model_id: a\n- 'b\n", ROLES, 3)


def test_an_edit_in_between_is_noticed(tmp_path):
    edited_between(tmp_path, "llm", PATH, SAMPLES["usual"].encode(), ROLES)


@pytest.mark.parametrize(
    ("system", "env", "folder"),
    [
        ("linux", {}, ".config/io.datasette.llm"),
        ("macos", {}, "Library/Application Support/io.datasette.llm"),
        ("windows", {}, "AppData/Roaming/io.datasette.llm"),
    ],
)
def test_its_folder_depends_on_the_system(tmp_path, system, env, folder):
    bench = Bench(tmp_path, system, env)
    bench.connect("llm", ROLES)
    assert (bench.home / folder / "extra-openai-models.yaml").exists()


def test_a_file_of_ours_is_removed_since_an_empty_one_makes_it_fail(tmp_path):
    bench = Bench(tmp_path)
    bench.connect("llm", ROLES)
    file = bench.home / PATH
    file.write_text("# a comment of mine\n" + file.read_text())
    bench.disconnect("llm")
    assert file.read_text() == "# a comment of mine\n"
