import pytest

from app.routing.profiles import profile_for


@pytest.mark.parametrize("model", ["gpt-5-mini", "openai/gpt-5.2", "o3", "gpt-5-codex"])
def test_reasoning_models_of_openai_know_no_max_tokens_anywhere(model):
    assert not profile_for(model, official=True).legacy_max_tokens
    assert not profile_for(model, official=False).legacy_max_tokens


@pytest.mark.parametrize("model", ["gpt-4.1", "llama3.2", "claude-opus-5", "deepseek-r1"])
def test_compatible_servers_are_sent_max_tokens_for_other_models(model):
    assert not profile_for(model, official=True).legacy_max_tokens
    assert profile_for(model, official=False).legacy_max_tokens


def test_compatible_servers_are_offered_no_free_text_tools():
    assert profile_for("gpt-5-mini", official=True).custom_tools
    assert not profile_for("gpt-5-mini", official=False).custom_tools
    assert not profile_for("gpt-5-mini", official=False).developer_role
