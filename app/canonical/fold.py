"""Events to a whole answer, and back.

``fold(unfold(response)) == response`` for every response, and ``fold`` of a decoder's events is
the answer that the same service would have given without streaming.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from app.canonical.events import (
    Annotated,
    ArgumentsDelta,
    Event,
    Failed,
    Finished,
    PartEnded,
    PartStarted,
    Ping,
    ReasoningDelta,
    SignatureDelta,
    Started,
    TextDelta,
    UsageSeen,
)
from app.canonical.failure import Failure, cut_stream
from app.canonical.parts import Json, Native, Part, Reasoning, Refusal, Signature, Text, ToolCall
from app.canonical.response import ChatResponse
from app.canonical.usage import Usage

__all__ = ["Fold", "fold", "told_late", "unfold"]


class Fold:
    """Collects events into a response; ``add`` each, then take ``result``."""

    __slots__ = (
        "_annotations",
        "_failure",
        "_finished",
        "_open",
        "_parts",
        "_sections",
        "_signature",
        "_started",
        "_text",
        "_usage",
    )

    def __init__(self) -> None:
        self._started: Started | None = None
        self._finished: Finished | None = None
        self._failure: Failure | None = None
        self._usage: Usage | None = None
        self._parts: list[Part] = []
        self._open: Part | None = None
        self._reset()

    def _reset(self) -> None:
        self._text: list[str] = []
        self._sections: dict[int, list[str]] = {}
        self._signature: Signature | None = None
        self._annotations: list[Native] = []

    def add(self, event: Event) -> None:
        """Take one event."""
        match event:
            case TextDelta(text=text) | ArgumentsDelta(text=text):
                self._text.append(text)
            case ReasoningDelta(text=text, section=section):
                self._sections.setdefault(section, []).append(text)
            case PartStarted(part=part):
                self._open = part
            case PartEnded():
                self._end_part()
            case SignatureDelta():
                self._sign(event)
            case Annotated(native=native):
                self._annotations.append(native)
            case Started():
                self._started = event
                self._usage = event.usage or self._usage
            case UsageSeen(usage=usage):
                self._usage = usage
            case Finished():
                self._finished = event
            case Failed(failure=failure):
                self._failure = failure
            case Ping():
                pass

    def _sign(self, event: SignatureDelta) -> None:
        self._signature = event.signature
        if isinstance(self._open, Reasoning):
            self._open = told_late(self._open, event)

    def _end_part(self) -> None:
        part = self._open
        if part is None:
            return
        text = "".join(self._text)
        match part:
            case Text():
                part = replace(part, text=part.text + text)
            case Refusal():
                part = replace(part, text=part.text + text)
            case ToolCall():
                part = replace(part, arguments=part.arguments + text)
            case Reasoning():
                sections = ["".join(pieces) for _, pieces in sorted(self._sections.items())]
                part = replace(
                    part,
                    text=part.text + "\n\n".join(sections),
                    sections=tuple(sections) if len(sections) > 1 else part.sections,
                )
            case _:
                pass
        if self._signature is not None and isinstance(part, Text | Reasoning | ToolCall):
            part = replace(part, signature=self._signature)
        for native in self._annotations:
            if not isinstance(part, Text | Refusal | ToolCall | Reasoning):
                break
            part = replace(part, native=merge_native(part.native, native))
        self._parts.append(part)
        self._open = None
        self._reset()

    def result(self) -> ChatResponse | Failure:
        """Return the response, or why there is none."""
        if self._failure is not None:
            return self._failure
        if self._finished is None:
            return cut_stream()
        self._end_part()
        started = self._started or Started("", "")
        native = self._finished.native
        if started.native is not None:
            native = merge_native(started.native, native) if native else started.native
        return ChatResponse(
            id=started.id,
            model=started.model,
            parts=tuple(self._parts),
            stop=self._finished.stop,
            usage=self._finished.usage or self._usage,
            stop_sequence=self._finished.stop_sequence,
            created=started.created,
            native=native,
        )


def told_late(part: Reasoning, event: SignatureDelta) -> Reasoning:
    """Return an open thought with what came with its signature, but for the signature itself."""
    if event.id is None and not event.summary:
        return part
    return replace(part, id=event.id or part.id, summary=event.summary or part.summary)


def merge_native(first: Native | None, second: Native) -> Native:
    """Merge two sets of native fields of one dialect: lists are appended, the rest replaced."""
    if first is None or first.dialect != second.dialect:
        return second
    fields: dict[str, Json] = dict(first.fields)
    for key, value in second.fields.items():
        old = fields.get(key)
        if isinstance(old, list) and isinstance(value, list):
            fields[key] = [*old, *value]
        else:
            fields[key] = value
    return Native(second.dialect, fields)


def fold(events: Iterable[Event]) -> ChatResponse | Failure:
    """Return the whole answer that a stream of events tells."""
    state = Fold()
    for event in events:
        state.add(event)
    return state.result()


def unfold(response: ChatResponse) -> list[Event]:
    """Return a response as the events of a stream."""
    events: list[Event] = [Started(response.id, response.model, None, response.created)]
    for index, part in enumerate(response.parts):
        events.extend(_unfold_part(index, part))
    events.append(Finished(response.stop, response.usage, response.stop_sequence, response.native))
    return events


def _unfold_part(index: int, part: Part) -> list[Event]:
    events: list[Event] = []
    match part:
        case Text(text=text, signature=signature):
            events.append(PartStarted(index, replace(part, text="", signature=None)))
            if text:
                events.append(TextDelta(index, text))
            if signature is not None:
                events.append(SignatureDelta(index, signature))
        case Refusal(text=text):
            events.append(PartStarted(index, replace(part, text="")))
            if text:
                events.append(TextDelta(index, text))
        case ToolCall(arguments=arguments, signature=signature):
            events.append(PartStarted(index, replace(part, arguments="", signature=None)))
            if arguments:
                events.append(ArgumentsDelta(index, arguments))
            if signature is not None:
                events.append(SignatureDelta(index, signature))
        case Reasoning(text=text, sections=sections, signature=signature):
            start = replace(part, text="", sections=(), signature=None)
            events.append(PartStarted(index, start))
            for number, section in enumerate(sections or ((text,) if text else ())):
                events.append(ReasoningDelta(index, section, number))
            if signature is not None:
                events.append(SignatureDelta(index, signature))
        case _:
            events.append(PartStarted(index, part))
    events.append(PartEnded(index))
    return events
