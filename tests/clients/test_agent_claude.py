import pytest

from tests.clients.corpus import (
    Bench,
    Sample,
    edited_between,
    read_jsonc,
    refused,
    round_trip,
    variants,
)

PATH = ".claude/settings.json"
ROLES = {"main": "demo-chat", "small": "demo-think", "planning": "opus"}
SAMPLES = {
    "usual": """{
  "$schema": "https://json.schemastore.org/claude-code-settings.json",
  "permissions": {
    "allow": ["Bash(npm run test:*)", "Read(~/.zshrc)"],
    "deny": []
  },
  "model": "opus",
  "hooks": {}
}
""",
    "with-env": '{\n\t"env": {\n\t\t"DISABLE_TELEMETRY": "1"\n\t},\n\t"theme": "dark"\n}\n',
    "elsewhere": """{
  "env": {"ANTHROPIC_BASE_URL": "https://gateway.example", "ANTHROPIC_AUTH_TOKEN": "sk-mine"},
  "apiKeyHelper": "/usr/bin/key"
}
""",
    "one-line": '{"env":{"A":"b"},"permissions":{"allow":[]}}\n',
}
HUGE = (
    '{\n  "permissions": {\n    "allow": [\n'
    + ",\n".join(f'      "Bash(command-{i}:*)"' for i in range(2_000))
    + "\n    ]\n  }\n}\n"
)


def check(values):
    env = values["env"]
    assert env["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:8317"
    assert env["ANTHROPIC_AUTH_TOKEN"] == "dragoman"
    assert env["ANTHROPIC_MODEL"] == env["ANTHROPIC_DEFAULT_SONNET_MODEL"] == "demo-chat"
    assert env["ANTHROPIC_DEFAULT_HAIKU_MODEL"] == "demo-think"
    assert env["ANTHROPIC_DEFAULT_OPUS_MODEL"] == "opus"
    assert env["CLAUDE_CODE_AUTO_COMPACT_WINDOW"] == "200000"


@pytest.mark.parametrize("sample", variants(SAMPLES, HUGE))
def test_every_form_of_its_settings_comes_back_byte_for_byte(tmp_path, sample):
    round_trip(tmp_path, "claude", PATH, sample, ROLES, check, read_jsonc)


def test_broken_settings_are_left_alone_with_the_place(tmp_path):
    refused(tmp_path, "claude", PATH, b'{\n  "env": {\n  "a" 1}\n}\n', ROLES, 3)


def test_an_edit_in_between_is_noticed(tmp_path):
    edited_between(tmp_path, "claude", PATH, SAMPLES["usual"].encode(), ROLES)


def test_without_models_its_own_choice_stands(tmp_path):
    bench = Bench(tmp_path)
    bench.place(PATH, Sample(SAMPLES["usual"].encode()))
    bench.connect("claude", {})
    values = read_jsonc((bench.home / PATH).read_bytes())
    assert values["model"] == "opus"
    assert set(values["env"]) == {"ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN"}


def test_its_folder_can_be_moved(tmp_path):
    bench = Bench(tmp_path, env={"CLAUDE_CONFIG_DIR": str(tmp_path / "elsewhere")})
    bench.connect("claude", {})
    assert (tmp_path / "elsewhere" / "settings.json").exists()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'{\n  // mine\n  "theme": "dark"\n}\n', 2),
        (b'{\n  "theme": "dark" /* mine */\n}\n', 2),
        (b'{\n  "a": [1],\n  "theme": "// no comment",\n}\n', 3),
    ],
)
def test_what_it_does_not_read_itself_is_left_alone_with_the_place(tmp_path, content, line):
    refused(tmp_path, "claude", PATH, content, ROLES, line)


def test_a_comment_that_came_later_is_no_obstacle_to_disconnecting(tmp_path):
    bench = Bench(tmp_path)
    bench.place(PATH, Sample(b'{"theme": "dark"}\n'))
    bench.connect("claude", ROLES)
    file = bench.home / PATH
    file.write_bytes(b"// theirs\n" + file.read_bytes())
    bench.disconnect("claude")
    assert file.read_bytes() == b'// theirs\n{"theme": "dark"}\n'
