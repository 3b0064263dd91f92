"""Thoughts and signatures for clients whose dialect has no slot, or who dropped what was in it.

Services want the thought that led to a tool call back with its result (Anthropic and Gemini 3
refuse the turn, OpenAI thinks again). Chat clients cannot carry it. So the thoughts before each
signed tool call are kept here under the call's id, and put back when the client sends the call
without them. Memory only; bounded in number, size and age; scoped to the caller.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from app.canonical.events import (
    Event,
    PartEnded,
    PartStarted,
    ReasoningDelta,
    SignatureDelta,
)
from app.canonical.ids import ANTHROPIC_CALL, CHAT_CALL, RESPONSES_CALL, fit_id
from app.canonical.parts import Part, Reasoning, Signature, ToolCall
from app.canonical.request import ChatRequest, Message
from app.dialects.translate import Watch

__all__ = ["ReplayCache"]

MAX_ENTRIES = 4_096
MAX_BYTES = 16 * 1024 * 1024
MAX_AGE_S = 6 * 3_600.0
"""A pause within a turn is rarely longer; a thought is useless once its turn is over."""
_RULES = (CHAT_CALL, RESPONSES_CALL, ANTHROPIC_CALL)


@dataclass(slots=True)
class _Entry:
    thoughts: tuple[Reasoning, ...]
    signature: Signature | None
    size: int
    at: float


class ReplayCache:
    """Keeps thoughts by caller and call id; least recently stored go first."""

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        """Take ``clock``: seconds, any epoch."""
        self._clock = clock
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._size = 0

    def watch(self, owner: str) -> Watch:
        """Return an observer for one answer."""
        return _Collector(self, owner)

    def keep(
        self, owner: str, call_id: str, thoughts: tuple[Reasoning, ...], signature: Signature | None
    ) -> None:
        """Remember what belongs to a call."""
        size = 200 + sum(
            len(t.text) + (len(t.signature.value) if t.signature else 0) for t in thoughts
        )
        if size > MAX_BYTES // 4:
            return
        now = self._clock()
        # The id may come back as another dialect's rule rewrote it for the client.
        for name in {call_id, *(fit_id(call_id, rule) for rule in _RULES)}:
            self._drop((owner, name))
            self._entries[owner, name] = _Entry(thoughts, signature, size, now)
            self._size += size
        while self._entries and (
            len(self._entries) > MAX_ENTRIES
            or self._size > MAX_BYTES
            or next(iter(self._entries.values())).at < now - MAX_AGE_S
        ):
            self._drop(next(iter(self._entries)))

    def attach(self, owner: str, request: ChatRequest) -> ChatRequest:
        """Return the request with remembered thoughts before calls that came without any."""
        if not self._entries:
            return request
        messages = tuple(self._attach(owner, message) for message in request.messages)
        return request if messages == request.messages else replace(request, messages=messages)

    def _attach(self, owner: str, message: Message) -> Message:
        if message.role != "assistant" or not any(isinstance(p, ToolCall) for p in message.parts):
            return message
        has_thought = any(isinstance(p, Reasoning) and p.signature for p in message.parts)
        parts: list[Part] = []
        changed = False
        for part in message.parts:
            if isinstance(part, ToolCall):
                entry = self._find(owner, part.id)
                if entry is not None:
                    if entry.thoughts and not has_thought:
                        # First in the message: Anthropic refuses a thought behind text.
                        said = [p for p in parts if not isinstance(p, Reasoning)]
                        parts = [*entry.thoughts, *said]
                        has_thought = changed = True
                    if entry.signature is not None and part.signature is None:
                        part = replace(part, signature=entry.signature)
                        changed = True
            parts.append(part)
        return replace(message, parts=tuple(parts)) if changed else message

    def _find(self, owner: str, call_id: str) -> _Entry | None:
        entry = self._entries.get((owner, call_id))
        if entry is None or entry.at < self._clock() - MAX_AGE_S:
            return None
        return entry

    def _drop(self, key: tuple[str, str]) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= entry.size


class _Collector:
    """Watches one answer; only signed thoughts and signed calls are of interest."""

    __slots__ = ("_cache", "_call", "_owner", "_part", "_pieces", "_signature", "_thoughts")

    def __init__(self, cache: ReplayCache, owner: str) -> None:
        self._cache = cache
        self._owner = owner
        self._thoughts: list[Reasoning] = []
        self._part: Reasoning | None = None
        self._call: ToolCall | None = None
        self._pieces: list[str] = []
        self._signature: Signature | None = None

    def see(self, events: list[Event]) -> None:
        """Look at events on their way to the client."""
        for event in events:
            kind = type(event)
            if kind is ReasoningDelta:
                self._pieces.append(event.text)  # type: ignore[union-attr]
            elif kind is PartStarted or kind is SignatureDelta or kind is PartEnded:
                self._turn(event)

    def _turn(self, event: Event) -> None:
        match event:
            case PartStarted(part=Reasoning() as part):
                self._part, self._call, self._signature = part, None, part.signature
                self._pieces = [part.text] if part.text else []
            case PartStarted(part=ToolCall() as part):
                self._part, self._call, self._signature = None, part, part.signature
            case PartStarted():
                self._part = self._call = self._signature = None
            case SignatureDelta(signature=signature):
                self._signature = signature
            case PartEnded() if self._part is not None:
                if self._signature is not None:
                    thought = replace(
                        self._part, text="".join(self._pieces), signature=self._signature
                    )
                    self._thoughts.append(thought)
                self._part = None
            case PartEnded() if self._call is not None:
                if self._thoughts or self._signature is not None:
                    self._cache.keep(
                        self._owner, self._call.id, tuple(self._thoughts), self._signature
                    )
                self._call = None
            case _:
                pass
