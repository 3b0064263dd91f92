import pytest

from app.clients import AGENTS
from app.clients.agent import Address, Models
from tests.clients.corpus import edited_between, read_yaml, refused, round_trip, variants

PATH = ".aider.conf.yml"
ROLES = {"main": "demo-chat", "small": "demo-think"}
SAMPLES = {
    "usual": """##########################################################
# Sample .aider.conf.yml

# Main model:
#model: xxx
model: sonnet

## Use dark mode
dark-mode: true
auto-commits: false
read: [CONVENTIONS.md, "other file.md"]
alias:
  - "fast:gpt-5-mini"
  - "smart:o3"
""",
    "elsewhere": """openai-api-base: https://gateway.example/v1 # company
openai-api-key: sk-mine
model: openai/gpt-5
weak-model: 'openai/gpt-5-mini'
""",
    "comments-only": "# nothing is set\n#model: x\n",
    "document-marks": "---\ndark-mode: true\n...\n",
    "folded": "message: >-\n  two\n  lines\nset-env:\n- A=b\n",
    "flow": "{dark-mode: true, auto-commits: false}\n",
}
HUGE = (
    "read:\n" + "".join(f"  - docs/file-{i}.md # {i}\n" for i in range(400)) + "dark-mode: true\n"
)


def check(values):
    assert values["openai-api-base"] == "http://127.0.0.1:8317/v1"
    assert values["openai-api-key"] == "dragoman"
    assert values["model"] == "openai/demo-chat"
    assert values["weak-model"] == "openai/demo-think"


@pytest.mark.parametrize("sample", variants(SAMPLES, HUGE))
def test_every_form_of_its_settings_comes_back_byte_for_byte(tmp_path, sample):
    round_trip(tmp_path, "aider", PATH, sample, ROLES, check, read_yaml)


def test_broken_settings_are_left_alone_with_the_place(tmp_path):
    refused(tmp_path, "aider", PATH, b"model: a\n  weak: b\n", ROLES, 2)


def test_an_edit_in_between_is_noticed(tmp_path):
    edited_between(tmp_path, "aider", PATH, SAMPLES["usual"].encode(), ROLES)


def test_one_process_gets_variables_of_its_options():
    variables = AGENTS["aider"].environment(Address("http://h:1"), Models(ROLES))
    assert variables == {
        "OPENAI_API_BASE": "http://h:1/v1",
        "OPENAI_API_KEY": "dragoman",
        "AIDER_MODEL": "openai/demo-chat",
        "AIDER_WEAK_MODEL": "openai/demo-think",
    }
