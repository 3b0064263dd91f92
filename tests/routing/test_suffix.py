import msgspec
import pytest

from app.canonical.profile import Target
from app.canonical.request import ReasoningConfig
from app.dialects import DIALECTS
from app.dialects.base import DELETE, Delete, dump, patch_object, read_head
from app.routing.profiles import profile_for
from app.routing.suffix import (
    has_suffix,
    parse_level,
    reasoning_edits,
    render_level,
    split_suffix,
    with_reasoning,
)
from tests.routing.calls import chat


@pytest.mark.parametrize(
    ("name", "base", "level"),
    [
        ("gpt-5(high)", "gpt-5", "high"),
        ("gpt-5(HIGH)", "gpt-5", "high"),
        ("claude-opus-4-5(16384)", "claude-opus-4-5", 16_384),
        ("m(none)", "m", "none"),
        ("m(0)", "m", 0),
        ("m( auto )", "m", "auto"),
        ("vendor/m(low)", "vendor/m", "low"),
        ("m", "m", None),
        ("m()", "m()", None),
        ("m(turbo)", "m(turbo)", None),
        ("(high)", "(high)", None),
        ("m(99999999)", "m(99999999)", None),
        ("m(-1)", "m(-1)", None),
        ("m(1e3)", "m(1e3)", None),
        ("m(high)(low)", "m(high)", "low"),
        ("m((high))", "m((high))", None),
        ("m(high) ", "m(high) ", None),
        ("", "", None),
    ],
)
def test_a_suffix_is_taken_off_where_it_is_one(name, base, level):
    assert split_suffix(name) == (base, level)


def test_a_model_that_a_service_calls_so_keeps_its_name():
    assert split_suffix("m(high)", lambda name: name == "m(high)") == ("m(high)", None)


def test_long_hostile_names_are_split_at_once():
    name = "(" * 100_000 + ")" * 100_000
    assert split_suffix(name) == (name, None)


def test_parts_are_read_and_rendered():
    assert has_suffix("m(turbo)")
    assert not has_suffix("m")
    assert parse_level("x") is None
    assert render_level("high") == "reasoning high"
    assert render_level(5) == "5 tokens of thought"


def test_levels_become_what_the_client_could_have_asked_for():
    shown = chat(reasoning=ReasoningConfig(effort="low", visible=True))
    assert with_reasoning(shown, "high").reasoning == ReasoningConfig(effort="high", visible=True)
    assert with_reasoning(shown, 0).reasoning == ReasoningConfig(mode="off")
    assert with_reasoning(shown, "none").reasoning == ReasoningConfig(mode="off")
    assert with_reasoning(chat(), 2_048).reasoning == ReasoningConfig(budget_tokens=2_048)
    auto = with_reasoning(chat(), "auto").reasoning
    assert (auto.mode, auto.budget_tokens) == ("adaptive", -1)


CASES = [
    (
        "openai_chat",
        "/v1/chat/completions",
        "gpt-5",
        {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}], "x_own": 1},
    ),
    (
        "openai_responses",
        "/v1/responses",
        "gpt-5",
        {"model": "gpt-5", "input": "hi", "prompt_cache_key": "k"},
    ),
    (
        "anthropic",
        "/v1/messages",
        "claude-sonnet-4-5",
        {
            "model": "claude-sonnet-4-5",
            "max_tokens": 32_000,
            "messages": [{"role": "user", "content": "hi"}],
            "metadata": {"user_id": "u"},
        },
    ),
    (
        "gemini",
        "/v1beta/models/gemini-2.5-pro:generateContent",
        "gemini-2.5-pro",
        {
            "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
            "generationConfig": {"temperature": 0.5},
        },
    ),
]


def decode(name, path, body):
    dialect = DIALECTS[name]
    route = next(r for r in dialect.routes if r.method == "POST" and r.pattern.fullmatch(path))
    raw = dump(body)
    return dialect.decode_request(body, dialect.peek(raw, path, "", route))


@pytest.mark.parametrize(("name", "path", "model", "body"), CASES, ids=[c[0] for c in CASES])
@pytest.mark.parametrize("level", ["high", 4_096])
def test_a_body_is_patched_in_its_own_dialect_and_else_kept(name, path, model, body, level):
    request = decode(name, path, body)
    target = Target(profile_for(model, official=True), "x", True)
    edits = reasoning_edits(DIALECTS[name], request, level, target)
    assert edits
    patched = msgspec.json.decode(patch_object(read_head(dump(body)), edits))
    again = decode(name, path, patched)
    reasoning = again.reasoning
    assert reasoning is not None
    assert reasoning.mode != "off"
    assert reasoning.effort or reasoning.budget_tokens
    assert again.messages == request.messages
    assert {k: v for k, v in patched.items() if k not in edits} == {
        k: v for k, v in body.items() if k not in edits
    }


def test_thinking_that_was_on_is_taken_out_again():
    name, path, model, body = CASES[2]
    body = {**body, "thinking": {"type": "enabled", "budget_tokens": 2_048}}
    target = Target(profile_for(model, official=True), "x", True)
    edits = reasoning_edits(DIALECTS[name], decode(name, path, body), "none", target)
    kept = {k: v for k, v in edits.items() if not isinstance(v, Delete)}
    patched = {**body, **kept}
    for key, value in edits.items():
        if value is DELETE:
            del patched[key]
    again = decode(name, path, patched)
    assert again.reasoning is None or again.reasoning.mode == "off"


def test_gemini_keeps_what_stands_beside_the_thought():
    name, path, model, body = CASES[3]
    target = Target(profile_for(model, official=True), "x", True)
    edits = reasoning_edits(DIALECTS[name], decode(name, path, body), 1_024, target)
    patched = msgspec.json.decode(patch_object(read_head(dump(body)), edits))
    assert decode(name, path, patched).temperature == 0.5
