"""The answer of cto.new's chat as a Chat Completion, streamed or whole.

cto.new counts no tokens. The counts here are a quarter of the texts' bytes, which is near enough
to see an order of magnitude, and say of themselves that they are estimates.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from app.canonical.parts import Json, JsonObject
from app.dialects.base import dump
from app.dialects.sse import render_frame
from app.providers.ctonew_frames import Heard
from app.providers.ctonew_prompt import Job

__all__ = ["Answer"]

_BYTES_PER_TOKEN = 4


@dataclass(slots=True)
class Answer:
    """Collects what was heard, and renders it."""

    job: Job
    id: str
    created: int
    """Epoch seconds."""
    _text: list[str] = field(default_factory=list)
    _thinking: list[str] = field(default_factory=list)
    _begun: bool = False

    def add(self, heard: list[Heard]) -> None:
        """Take pieces of an answer that is wanted whole."""
        for piece in heard:
            (self._text if piece.kind == "text" else self._thinking).append(piece.text)

    def encode(self, heard: list[Heard]) -> bytes:
        """Return the stream's frames for some pieces; empty for none."""
        self.add(heard)
        return b"".join(
            self._chunk({"content" if piece.kind == "text" else "reasoning_content": piece.text})
            for piece in heard
        )

    def close(self) -> bytes:
        """Return the frames that end the stream."""
        out = self._chunk({}, "stop")
        if self.job.include_usage:
            out += render_frame(dump({**self._base("chat.completion.chunk", []), **self._usage()}))
        return out + render_frame(b"[DONE]")

    def whole(self) -> bytes:
        """Return the answer as one JSON object."""
        message: JsonObject = {"role": "assistant", "content": "".join(self._text)}
        if self._thinking:
            message["reasoning_content"] = "".join(self._thinking)
        choice: JsonObject = {"index": 0, "message": message, "finish_reason": "stop"}
        return dump({**self._base("chat.completion", [choice]), **self._usage()})

    def _chunk(self, delta: JsonObject, finish: str | None = None) -> bytes:
        if not self._begun:
            self._begun = True
            delta = {"role": "assistant", **delta}
        choice: JsonObject = {"index": 0, "delta": delta, "finish_reason": finish}
        return render_frame(dump(self._base("chat.completion.chunk", [choice])))

    def _base(self, kind: str, choices: list[Json]) -> JsonObject:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.job.public,
            "choices": choices,
        }

    def _usage(self) -> JsonObject:
        asked = _estimate(self.job.prompt)
        thought = _estimate("".join(self._thinking))
        written = _estimate("".join(self._text)) + thought
        return {
            "usage": {
                "prompt_tokens": asked,
                "completion_tokens": written,
                "total_tokens": asked + written,
                "completion_tokens_details": {"reasoning_tokens": thought},
                "estimated": True,
            }
        }


def _estimate(text: str) -> int:
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)
