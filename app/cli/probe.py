"""One short streamed answer, timed: the doctor's proof that an account works."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from app.cli.client import Client
from app.errors import AppError, UpstreamError
from app.help import without_address

__all__ = ["Answer", "ask"]

_MAX_TOKENS = 16
"""Enough to see that text comes; the least that the Responses services take."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came: ``tokens`` of output, by the service's count where it gave one."""

    tokens: int
    first_s: float
    """Seconds until the first token."""
    total_s: float


def ask(client: Client, model: str, *, now: Callable[[], float] = time.monotonic) -> Answer:
    """Ask a model for a word and read the stream to its end.

    Raises:
        AppError: the instance refused, the stream holds an error, or it ended without an answer.
    """
    begun = now()
    first: float | None = None
    pieces, counted, ended = 0, None, False
    request = {
        "model": model,
        "messages": [{"role": "user", "content": "Reply with the word: ready"}],
        "max_tokens": _MAX_TOKENS,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    for line in client.stream("/v1/chat/completions", request):
        data = line.removeprefix(b"data:").strip()
        if not line.startswith(b"data:"):
            continue  # a comment that keeps the connection open, or the end of an event
        if data == b"[DONE]":
            ended = True
            break
        chunk = _chunk(data)
        if _has_token(chunk):
            first = now() if first is None else first
            pieces += 1
        if usage := chunk.get("usage"):
            counted = usage.get("completion_tokens")
    if not ended or first is None:
        raise UpstreamError(
            "The answer ended early." if not ended else "The answer holds no text.",
            code="upstream_incomplete",
        )
    return Answer(pieces if counted is None else counted, first - begun, now() - begun)


def _chunk(data: bytes) -> dict[str, Any]:
    """Return one event of the stream; raise when it says that the answer failed."""
    try:
        chunk: dict[str, Any] = msgspec.json.decode(data, type=dict)
    except msgspec.DecodeError as error:
        raise UpstreamError("The stream holds something that is no event.") from error
    if failure := chunk.get("error"):
        text = failure.get("message") if isinstance(failure, dict) else failure
        raise AppError(without_address(str(text)), code="answer_failed", status=502)
    return chunk


def _has_token(chunk: dict[str, Any]) -> bool:
    """Say whether an event brings text, thought or a call; a model may think all 16 tokens."""
    for choice in chunk.get("choices") or ():
        delta = choice.get("delta") or {}
        keys = ("content", "reasoning_content", "reasoning", "tool_calls", "refusal")
        if any(delta.get(key) for key in keys):
            return True
    return False
