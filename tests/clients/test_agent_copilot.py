import pytest

from app.clients import AGENTS
from app.clients.agent import Address, Models
from app.errors import RequestError
from tests.clients.corpus import Bench, read_env

ROLES = {"main": "demo-chat"}


def test_its_variables_are_kept_for_the_shell_integration_and_go_again(tmp_path):
    bench = Bench(tmp_path)
    bench.connect("copilot", ROLES)
    file = bench.data / "env" / "copilot.env"
    assert read_env(file.read_bytes()) == {
        "COPILOT_PROVIDER_BASE_URL": "http://127.0.0.1:8317/v1",
        "COPILOT_PROVIDER_TYPE": "openai",
        "COPILOT_PROVIDER_API_KEY": "dragoman",
        "COPILOT_MODEL": "demo-chat",
    }
    bench.disconnect("copilot")
    assert not file.parent.exists()


def test_it_needs_a_model(tmp_path):
    with pytest.raises(RequestError) as caught:
        Bench(tmp_path).connect("copilot", {})
    assert caught.value.code == "model_needed"
    assert "--model" in caught.value.hint


def test_one_process_gets_the_same_variables():
    variables = AGENTS["copilot"].environment(Address("http://h:1"), Models(ROLES))
    assert variables["COPILOT_PROVIDER_BASE_URL"] == "http://h:1/v1"
