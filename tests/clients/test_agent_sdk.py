from app.clients import AGENTS
from app.clients.agent import Address, Models
from app.clients.agent_sdk import sdk_environment


def test_every_sdk_is_pointed_here_with_the_address_in_its_own_form():
    variables = sdk_environment(Address("http://127.0.0.1:1", "k"))
    assert variables["OPENAI_BASE_URL"] == variables["OPENAI_API_BASE"] == "http://127.0.0.1:1/v1"
    assert variables["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:1"
    assert variables["GOOGLE_GEMINI_BASE_URL"] == "http://127.0.0.1:1"
    assert variables["ANTHROPIC_AUTH_TOKEN"] == variables["GEMINI_API_KEY"] == "k"
    assert AGENTS["sdk"].environment(Address("http://127.0.0.1:1", "k"), Models()) == variables
