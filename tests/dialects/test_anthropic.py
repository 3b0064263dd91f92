"""The Anthropic dialect: routes, peeking, pass-through sight, counting."""

from pathlib import Path

import pytest

from app.canonical.usage import Usage
from app.dialects.anthropic import ANTHROPIC
from app.dialects.base import dump
from app.dialects.sse import Frame, SseParser
from app.errors import RequestError, UpstreamError

CASES = Path(__file__).parent / "cases" / "anthropic"
GENERATE, COUNT = ANTHROPIC.routes
SESSION = "5f1c8e1e-1111-4222-8333-444455556666"


def peek(body, route=GENERATE):
    return ANTHROPIC.peek(
        body if isinstance(body, bytes) else dump(body), "/v1/messages", "", route
    )


def error(kind, message, **more):
    return {"type": "error", "error": {"type": kind, "message": message}, **more}


# --- routes and peeking --------------------------------------------------------------------------


def test_routes_match_whole_paths():
    assert GENERATE.pattern.fullmatch("/v1/messages")
    assert not GENERATE.pattern.fullmatch("/v1/messages/count_tokens")
    assert COUNT.pattern.fullmatch("/v1/messages/count_tokens")
    assert ANTHROPIC.path("generate", "m", stream=True) == "/v1/messages"
    assert ANTHROPIC.path("count_tokens", "m", stream=False) == "/v1/messages/count_tokens"


def test_peek_reads_what_routing_needs():
    raw = (CASES / "claude_code" / "request.json").read_bytes()
    found = peek(raw)
    assert (found.model, found.stream, found.session) == ("claude-opus-5", True, SESSION)
    assert found.reasoning
    assert found.operation == "generate"
    counted = peek(raw, COUNT)
    assert (counted.stream, counted.operation) == (False, "count_tokens")


@pytest.mark.parametrize(
    ("user", "session"),
    [
        ('{"session_id":"abc"}', "abc"),
        (f"user_ff_account_aa_session_{SESSION}", SESSION),
        ("someone", None),
        ("{broken", None),
        ('{"session_id":3}', None),
        ("[1]", None),
        (None, None),
        (7, None),
    ],
)
def test_the_session_is_read_from_the_user_id(user, session):
    assert peek({"model": "m", "metadata": {"user_id": user}}).session == session


@pytest.mark.parametrize(
    ("thinking", "reasoning"),
    [(None, False), ({"type": "disabled"}, False), ({"type": "adaptive"}, True), ("x", False)],
)
def test_peek_sees_thought(thinking, reasoning):
    assert peek({"model": "m", "thinking": thinking}).reasoning is reasoning


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"[]", None),
        (b"\xff", None),
        ({}, "model"),
        ({"model": 1}, "model"),
        ({"model": "m", "stream": "yes"}, "stream"),
    ],
)
def test_peek_refuses_what_cannot_be_routed(body, param):
    with pytest.raises(RequestError) as caught:
        peek(body)
    assert caught.value.param == param


# --- pass-through sight --------------------------------------------------------------------------


def sights(data):
    parser = SseParser()
    return [ANTHROPIC.inspect(frame) for frame in parser.feed(data) + parser.close()]


@pytest.mark.parametrize("case", ["tools", "crlf"])
def test_inspect_sees_the_milestones(case):
    seen = sights((CASES / case / "stream.sse").read_bytes())
    assert seen[0].model == "claude-opus-5"
    assert not seen[0].content
    assert seen[1].content
    assert not seen[2].content  # the ping
    assert seen[-1].terminal
    assert sum(sight.terminal for sight in seen) == 1
    usage = [sight.usage for sight in seen if sight.usage is not None]
    assert usage[-1] == Usage(usage[0].input, 0, 0, usage[-1].output)


def test_inspect_sees_failures_and_survives_nonsense():
    failed = Frame("error", dump(error("overloaded_error", "Overloaded")))
    assert ANTHROPIC.inspect(failed).failure.kind == "overloaded"
    late_type = Frame("", b'{"x":"' + b"y" * 80 + b'","type":"message_stop"}')
    assert ANTHROPIC.inspect(late_type).terminal
    for data in (b"", b"[DONE]", b"{", b'{"type":1}', b'{"type":"message_delta","usage":3}'):
        assert ANTHROPIC.inspect(Frame("", data)).usage is None
    odd = Frame("message_start", b'{"message":{"usage":{"input_tokens":"x"}}}')
    assert ANTHROPIC.inspect(odd).usage is None
    assert ANTHROPIC.inspect(Frame("message_start", b"{")).usage is None
    assert ANTHROPIC.inspect(Frame("message_start", b'{"message":1}')).usage is None


# --- counting ------------------------------------------------------------------------------------


def test_counts():
    assert ANTHROPIC.decode_count({"input_tokens": 14}) == 14
    assert ANTHROPIC.encode_count(14) == {"input_tokens": 14}


@pytest.mark.parametrize(
    "body", [{}, {"input_tokens": "1"}, {"input_tokens": True}, {"input_tokens": -1}]
)
def test_bad_counts_are_upstream_errors(body):
    with pytest.raises(UpstreamError):
        ANTHROPIC.decode_count(body)
