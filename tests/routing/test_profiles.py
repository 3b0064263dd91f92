import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.canonical.profile import ModelProfile
from app.canonical.reasoning import EFFORTS
from app.paths import asset
from app.routing.profiles import profile_for
from app.routing.snapshot import parse_snapshot

SHIPPED = sorted(parse_snapshot(asset("models.json").read_bytes()))


@pytest.mark.parametrize(
    ("models", "reasoning", "max_output"),
    [
        ("claude-3-5-sonnet-20241022 claude-3-5-haiku-latest", "none", 8192),
        (
            "claude-3-opus-20240229 claude-3-haiku-20240307 claude-2.1 claude-instant-1",
            "none",
            4096,
        ),
        (
            "claude-3-7-sonnet-20250219 claude-3.7-sonnet claude-3.7-sonnet:thinking",
            "budget",
            64_000,
        ),
        ("claude-sonnet-4-20250514 claude-sonnet-4@20250514 claude-sonnet-4", "budget", 64_000),
        ("claude-sonnet-4-0 claude-sonnet-4-latest claude-sonnet-4:beta", "budget", 64_000),
        ("claude-sonnet-4-5-20250929 claude-haiku-4.5 claude-opus-4-5", "budget", 64_000),
        (
            "claude-opus-4-20250514 claude-opus-4-1 claude-opus-4.1 claude-opus-4-0",
            "budget",
            32_000,
        ),
        ("claude-opus-4@20250514 claude-opus-4-1@20250805 claude-opus-4-latest", "budget", 32_000),
        ("claude-sonnet-4-6", "adaptive", 64_000),
        ("claude-opus-4-6 claude-opus-4.7", "adaptive", 128_000),
        ("claude-opus-4-8 claude-sonnet-5 claude-unheard-9", "adaptive", 128_000),
        ("gpt-5 gpt-5-mini gpt-5-2025-08-07 gpt-5.1 gpt-5.2 gpt-5-codex", "effort", 128_000),
        ("o1 o3-mini o4-mini-deep-research", "effort", 100_000),
        ("gpt-4.1-nano", "none", 32_768),
        ("gpt-4o gpt-4o-mini-2024-07-18", "none", 16_384),
        (
            "gpt-4-turbo gpt-3.5-turbo gpt-5-chat-latest gpt-5.2-chat-latest chatgpt-4o",
            "none",
            None,
        ),
        ("gpt-oss-120b gpt-oss:20b gpt-5-pro gpt-5.2-pro gpt-6 gpt-12", "effort", None),
        ("gemini-2.5-pro gemini-2.5-flash gemini-2.5-flash-lite-preview", "budget", 65_536),
        ("gemini-3-pro-preview gemini-3.1-pro gemini-3-flash gemini-4", "level", 65_536),
        ("gemini-2.5-flash-image gemini-2.5-pro-tts gemini-2.0-flash gemini-1.5-pro", "none", None),
        ("gemma-3-27b-it gemma-7b", "none", None),
        ("deepseek-r1 deepseek-reasoner glm-4.6 kimi-k2-thinking llama-3 '' gpt", "unknown", None),
    ],
)
def test_the_name_tells_how_a_model_thinks_and_how_much_it_says(models, reasoning, max_output):
    found = {name: profile_for(name) for name in models.split()}
    assert {name: p.reasoning for name, p in found.items()} == dict.fromkeys(found, reasoning)
    assert {name: p.max_output for name, p in found.items()} == dict.fromkeys(found, max_output)


@pytest.mark.parametrize(
    ("model", "efforts", "can_disable"),
    [
        ("gpt-5", ("minimal", "low", "medium", "high"), False),
        ("gpt-5-mini", ("minimal", "low", "medium", "high"), False),
        ("gpt-5-pro", ("high",), False),
        ("gpt-5.2-pro", ("medium", "high", "xhigh"), False),
        ("gpt-5-codex", ("low", "medium", "high"), False),
        ("gpt-5.1-codex-mini", ("low", "medium", "high"), False),
        ("gpt-5.1-codex-max", ("low", "medium", "high", "xhigh"), False),
        ("gpt-5.2-codex", ("low", "medium", "high", "xhigh"), False),
        ("gpt-5.1", ("none", "low", "medium", "high"), True),
        ("gpt-5.2", ("none", "low", "medium", "high", "xhigh"), True),
        ("gpt-6", ("none", "low", "medium", "high", "xhigh", "max"), True),
        ("o3", ("low", "medium", "high"), False),
        ("gemini-2.5-pro", (), False),
        ("gemini-2.5-flash", (), True),
        ("gemini-3-pro-preview", ("low", "high"), False),
        ("gemini-3.1-pro-preview", ("low", "medium", "high"), False),
        ("claude-opus-4-6", ("low", "medium", "high", "xhigh", "max"), True),
    ],
)
def test_accepted_efforts_and_whether_thought_can_be_switched_off(model, efforts, can_disable):
    profile = profile_for(model)
    assert profile.efforts == efforts
    assert profile.can_disable_reasoning is can_disable


def test_reasoning_models_of_openai_refuse_sampling_and_stop_sequences():
    for model in ("o1", "o3-mini", "gpt-5", "gpt-5.2-codex", "gpt-6"):
        assert not profile_for(model).sampling
        assert not profile_for(model).stop
    for model in ("gpt-4o", "gpt-5-chat-latest", "claude-opus-4-5", "gemini-3-pro", "unheard"):
        assert profile_for(model).sampling
        assert profile_for(model).stop


def test_system_turns_in_the_middle_are_for_newer_models_of_anthropic():
    assert profile_for("claude-sonnet-5").mid_system
    for model in ("claude-opus-4-7", "claude-sonnet-4-5", "gpt-5"):
        assert not profile_for(model).mid_system


@pytest.mark.parametrize(
    ("model", "legacy"), [("unheard", True), ("gpt-4o", True), ("gpt-5", False), ("x/o3", False)]
)
def test_a_compatible_server_gets_the_older_fields_and_no_free_text_tools(model, legacy):
    profile = profile_for(model, official=False)
    assert profile.legacy_max_tokens is legacy
    assert not profile.custom_tools
    assert not profile.developer_role


def test_openais_own_service_knows_its_newer_fields():
    profile = profile_for("gpt-5")
    assert (profile.legacy_max_tokens, profile.custom_tools, profile.developer_role) == (
        False,
        True,
        True,
    )


@given(st.text(max_size=40))
def test_any_name_has_a_profile_under_itself(model):
    assert profile_for(model).name == model


@given(st.sampled_from(SHIPPED), st.sampled_from(["", "vendor/", "a/b/"]), st.booleans())
def test_a_vendor_a_variant_and_capitals_tell_nothing(model, vendor, shout):
    dressed = f"{vendor}{model.rpartition('/')[2]}:free"
    dressed = dressed.upper() if shout else dressed
    plain, found = profile_for(model), profile_for(dressed)
    for field in ModelProfile.__dataclass_fields__:
        if field != "name":
            assert getattr(found, field) == getattr(plain, field)


def test_facts_of_known_models_agree_with_each_other():
    for profile in map(profile_for, SHIPPED):
        assert list(profile.efforts) == sorted(profile.efforts, key=EFFORTS.index), profile
        if profile.budget_max is not None:
            assert profile.budget_min < profile.budget_max, profile
            assert profile.budget_max < (profile.max_output or profile.budget_max + 1), profile
        if profile.max_output is not None and profile.context is not None:
            assert profile.max_output <= profile.context, profile
        if "none" in profile.efforts:
            assert profile.can_disable_reasoning, profile
