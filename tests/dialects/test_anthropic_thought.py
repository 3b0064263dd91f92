"""How Anthropic's models are told to think, and when they must not."""

from dataclasses import replace

import pytest

from app.canonical.parts import Reasoning, Signature, Text, ToolCall, ToolResult
from app.canonical.request import ReasoningConfig, Tool, ToolChoice
from tests.dialects.test_anthropic_request import (
    assistant,
    decode,
    encode,
    load,
    loss_paths,
    request,
    results,
    user,
    wire,
)

F = Tool("f")


@pytest.mark.parametrize(
    ("asked", "most", "sent"),
    [(None, None, 8192), (None, 64000, 64000), (100, 64000, 100), (0, None, 0)],
)
def test_max_tokens_is_always_sent(asked, most, sent):
    assert encode(request(user("x"), max_tokens=asked), max_output=most).body["max_tokens"] == sent


def test_max_tokens_is_lowered_to_what_the_model_can():
    encoded = encode(request(user("x"), max_tokens=100_000), max_output=64000)
    assert encoded.body["max_tokens"] == 64000
    assert loss_paths(encoded) == ["max_tokens"]


EFFORT = ReasoningConfig("on", "high")


@pytest.mark.parametrize(
    ("config", "facts", "thinking", "effort"),
    [
        (EFFORT, {}, {"type": "adaptive"}, "high"),
        (EFFORT, {"official": False}, {"type": "enabled", "budget_tokens": 24576}, None),
        (EFFORT, {"reasoning": "adaptive"}, {"type": "adaptive"}, "high"),
        (EFFORT, {"reasoning": "budget"}, {"type": "enabled", "budget_tokens": 24576}, None),
        (
            EFFORT,
            {"reasoning": "budget", "budget_max": 9000},
            {"type": "enabled", "budget_tokens": 9000},
            None,
        ),
        (ReasoningConfig("on", "minimal"), {"reasoning": "adaptive"}, {"type": "adaptive"}, "low"),
        (
            ReasoningConfig("on", "minimal"),
            {"reasoning": "budget"},
            {"type": "enabled", "budget_tokens": 1024},
            None,
        ),
        (
            ReasoningConfig("on", "max"),
            {"reasoning": "adaptive", "efforts": ("low", "high")},
            {"type": "adaptive"},
            "high",
        ),
        (ReasoningConfig("on", None, 5000), {}, {"type": "enabled", "budget_tokens": 5000}, None),
        (
            ReasoningConfig("on", None, 9000),
            {"reasoning": "adaptive"},
            {"type": "adaptive"},
            "medium",
        ),
        (
            ReasoningConfig("on", None, 100),
            {"reasoning": "budget"},
            {"type": "enabled", "budget_tokens": 1024},
            None,
        ),
        (ReasoningConfig("on", None, -1), {}, {"type": "adaptive"}, None),
        (
            ReasoningConfig("adaptive"),
            {"reasoning": "budget"},
            {"type": "enabled", "budget_tokens": 24576},
            None,
        ),
        (
            ReasoningConfig("on", None, None, True),
            {},
            {"type": "adaptive", "display": "summarized"},
            None,
        ),
        (
            ReasoningConfig("on", "low", None, False),
            {},
            {"type": "adaptive", "display": "omitted"},
            "low",
        ),
        (ReasoningConfig("off"), {}, {"type": "disabled"}, None),
        (ReasoningConfig("on", "none"), {}, {"type": "disabled"}, None),
        (None, {"reasoning": "adaptive"}, None, None),
        (EFFORT, {"reasoning": "none"}, None, None),
    ],
)
def test_thought_is_asked_for_in_the_models_form(config, facts, thinking, effort):
    encoded = encode(request(user("x"), reasoning=config, max_tokens=60000), **facts)
    assert encoded.body.get("thinking") == thinking
    assert encoded.body.get("output_config", {}).get("effort") == effort


def test_a_model_that_cannot_stop_thinking_is_reported():
    encoded = encode(
        request(user("x"), reasoning=ReasoningConfig("off")), can_disable_reasoning=False
    )
    assert "reasoning" in loss_paths(encoded)
    assert encoded.body.get("thinking") != {"type": "disabled"}


def test_an_effort_leaves_room_for_the_answer():
    encoded = encode(request(user("x"), reasoning=EFFORT, max_tokens=8000), reasoning="budget")
    assert encoded.body["thinking"]["budget_tokens"] == 6000
    unlimited = encode(request(user("x"), reasoning=EFFORT), reasoning="budget")
    assert unlimited.body["max_tokens"] == 24576 + 8192
    small = encode(request(user("x"), reasoning=EFFORT, max_tokens=900), reasoning="budget")
    assert "thinking" not in small.body
    assert loss_paths(small) == ["reasoning"]


def test_a_clients_own_budget_stays_below_max_tokens():
    body = wire(thinking={"type": "enabled", "budget_tokens": 9000})
    assert encode(decode(body)).body["thinking"]["budget_tokens"] == 4095


def test_own_effort_beside_a_budget():
    body = wire(
        thinking={"type": "enabled", "budget_tokens": 2000, "display": "updates"},
        output_config={"effort": "high"},
    )
    assert encode(decode(body)).body["output_config"] == {"effort": "high"}
    plain = encode(decode(body), reasoning="budget")
    assert "output_config" not in plain.body
    assert loss_paths(plain) == ["reasoning.effort"]
    adaptive = encode(decode(body), reasoning="adaptive").body
    assert adaptive["thinking"] == {"type": "adaptive", "display": "updates"}


def test_a_forced_call_switches_thought_off():
    for choice in (ToolChoice("required"), ToolChoice("required", ("f",))):
        encoded = encode(request(user("x"), tools=(F,), tool_choice=choice, reasoning=EFFORT))
        assert "thinking" not in encoded.body
        assert "output_config" not in encoded.body
        assert loss_paths(encoded) == ["reasoning"]


def tool_turn(*thought):
    return request(
        user("x"),
        assistant(*thought, ToolCall("c", "f", "{}")),
        results(ToolResult("c", (Text("1"),))),
        tools=(F,),
        reasoning=ReasoningConfig("on", None, 2000),
    )


def test_a_tool_turn_without_its_thought_switches_thought_off():
    lacking = encode(tool_turn("text"))
    assert "thinking" not in lacking.body
    assert loss_paths(lacking) == ["reasoning"]
    foreign = encode(tool_turn(Reasoning("t", signature=Signature("google", "s"))))
    assert "thinking" not in foreign.body
    own = encode(tool_turn(Reasoning("t", signature=Signature("anthropic", "s"))))
    assert own.body["thinking"]["type"] == "enabled"
    done = tool_turn("text")
    finished = replace(done, messages=(*done.messages, assistant("done"), user("next")))
    assert encode(finished).body["thinking"]["type"] == "enabled"
    adaptive = encode(replace(done, reasoning=EFFORT))
    assert adaptive.body["thinking"] == {"type": "adaptive"}


def test_thought_is_off_for_a_prefill():
    asked = request(user("x"), assistant("The"), reasoning=ReasoningConfig("on", None, 2000))
    assert "thinking" not in encode(asked).body


def test_own_effort_alone_for_a_model_with_budgets():
    decoded = replace(decode(load("effort_only")), max_tokens=4096)
    budget = encode(decoded, reasoning="budget").body
    assert budget["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    assert "output_config" not in budget
    known = encode(decoded, reasoning="budget", efforts=("low", "high")).body
    assert "thinking" not in known
    assert known["output_config"] == {"effort": "low"}
    none = encode(decoded, reasoning="none")
    assert "output_config" not in none.body
