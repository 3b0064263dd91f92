"""Refused signatures and requests without them."""

import pytest

from app.canonical.failure import Failure
from app.canonical.parts import Reasoning, Signature, Text, ToolCall
from app.canonical.request import ChatRequest, Message
from app.canonical.stale import blames_signature, without_signatures

SIGNED = Signature("anthropic", "x")


def failure(message, status=400, code=None):
    return Failure(status, message, "invalid_request", code=code)


@pytest.mark.parametrize(
    "refusal",
    [
        failure("messages.1.content.0: Invalid `signature` in `thinking` block"),
        failure(
            "messages.3.content.1: `thinking` or `redacted_thinking` blocks in the latest assistant "
            "message cannot be modified."
        ),
        failure("The encrypted content for item rs_1 could not be verified."),
        failure("x", code="invalid_encrypted_content"),
        failure("Thought signature is not valid."),
        failure("Corrupted thought signature."),
        failure("Invalid thought_signature in part 0"),
    ],
)
def test_refused_signatures_are_known_by_the_services_words(refusal):
    assert blames_signature(refusal)


@pytest.mark.parametrize(
    "refusal",
    [
        failure("max_tokens is required"),
        failure("Invalid signature", 401),
        failure("Invalid `signature` in `thinking` block", 500),
        failure("thinking.budget_tokens must be at least 1024"),
        failure("content is invalid"),
    ],
)
def test_other_refusals_are_left_alone(refusal):
    assert not blames_signature(refusal)


def test_what_is_signed_stays_as_far_as_it_can_be_read():
    request = ChatRequest(
        "m",
        messages=(
            Message("user", (Text("hi"),)),
            Message(
                "assistant",
                (
                    Reasoning("thought", signature=SIGNED, id="rs_1"),
                    Reasoning("", signature=SIGNED, redacted=True),
                    Reasoning("unsigned"),
                    Text("so", signature=SIGNED),
                    ToolCall("call_1", "f", "{}", signature=SIGNED),
                ),
            ),
        ),
    )
    first, second = without_signatures(request).messages
    assert first is not None
    assert first == request.messages[0]
    assert second.parts == (
        Reasoning("thought", id="rs_1"),
        Reasoning("unsigned"),
        Text("so"),
        ToolCall("call_1", "f", "{}"),
    )
