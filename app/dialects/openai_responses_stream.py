"""Event streams of the Responses dialect: upstream bytes to canonical events.

Output items may overlap on the wire; the canon has one part open at a time. So one item is
*live*: its events are told at once. Events of another item wait in that item until the live one is
done, then they are replayed. Nothing else is buffered.

A text may come as deltas, in ``*.done`` events, in the finished item, in the terminal response, or
in several of these: each place adds only what the places before it have not told. An item ends
with ``output_item.done``; where that is missing, with the terminal event.

Terminal events: ``response.completed`` (``response.done`` on WebSockets), ``response.incomplete``,
``response.failed``, ``error``. Progress of hosted tools and service notes (``codex.*``) tell
nothing; a hosted tool's finished item becomes an Opaque part.

Source: ``ResponseStreamEvent`` of openai-python 3; Codex's streams (observed 2026-11).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import msgspec

from app.canonical.events import (
    Annotated,
    ArgumentsDelta,
    Event,
    Failed,
    Finished,
    PartEnded,
    PartStarted,
    ReasoningDelta,
    SignatureDelta,
    Started,
    TextDelta,
)
from app.canonical.failure import Failure, cut_stream
from app.canonical.parts import Json, JsonObject, Native, Part, Reasoning, Refusal, Text, ToolCall
from app.dialects.openai_errors import malformed_stream
from app.dialects.openai_responses_answer import (
    answer_native,
    decode_item,
    decode_usage,
    item_fields,
    name_call,
    seconds_of,
    stop_of,
)
from app.dialects.openai_responses_events import Item, Wire, decode_odd_wire, decode_wire
from app.dialects.openai_responses_failure import event_failure, failure_in
from app.dialects.openai_responses_items import decode_call, decode_reasoning
from app.dialects.openai_responses_values import CALL_TYPES, CONTENT, ITEM, NAME, fields_of
from app.dialects.sse import Frame, SseParser
from app.errors import RequestError, UpstreamError

__all__ = ["ResponsesStreamDecoder"]


_KIND_OF_EVENT = (
    ("response.output_text.", "message"),
    ("response.refusal.", "message"),
    ("response.content_part.", "message"),
    ("response.reasoning", "reasoning"),
    ("response.function_call_arguments.", "function_call"),
    ("response.custom_tool_call_input.", "custom_tool_call"),
)


class ResponsesStreamDecoder:
    """Decodes one upstream stream; see ``StreamDecoder`` for the contract."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._sse = SseParser()
        self._events: list[Event] = []
        self._started = False
        self._ended = False
        self._created: float | None = None
        self._index = -1
        """Index of the last part."""
        self._open = False
        self._items: dict[int, Item] = {}
        self._by_id: dict[str, Item] = {}
        self._live: Item | None = None
        self._queue: deque[Item] = deque()
        self._ids: set[str] = set()
        self._called = False
        self._refused = False
        self._handlers: dict[str, Callable[[Item, Wire], None]] = {
            "response.output_item.added": self._on_added,
            "response.output_item.done": self._on_done,
            "response.content_part.added": self._on_part_added,
            "response.content_part.done": self._on_part_done,
            "response.output_text.delta": self._on_text,
            "response.output_text.done": self._on_text_done,
            "response.refusal.delta": self._on_refusal,
            "response.refusal.done": self._on_refusal_done,
            "response.output_text.annotation.added": self._on_annotation,
            "response.reasoning_summary_text.delta": self._on_summary,
            "response.reasoning_summary_text.done": self._on_summary_done,
            "response.reasoning_summary_part.done": self._on_summary_part_done,
            "response.reasoning_text.delta": self._on_thought,
            "response.reasoning_text.done": self._on_thought_done,
            "response.function_call_arguments.delta": self._on_arguments,
            "response.function_call_arguments.done": self._on_arguments_done,
            "response.custom_tool_call_input.delta": self._on_arguments,
            "response.custom_tool_call_input.done": self._on_arguments_done,
        }

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that ``data`` completes; wire faults give ``Failed``."""
        try:
            for frame in self._sse.feed(data):
                self._frame(frame, cut=False)
        except UpstreamError as error:
            self._fail(malformed_stream(error.message))
        return self._taken()

    def close(self) -> list[Event]:
        """Return what the end of the stream brings; a cut gives ``Failed``."""
        for frame in self._sse.close():
            self._frame(frame, cut=True)
        if not self._ended:
            self._fail(cut_stream())
        return self._taken()

    def _taken(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _frame(self, frame: Frame, *, cut: bool) -> None:
        data = frame.data
        if self._ended or not data or data == b"[DONE]":
            return
        try:
            wire = decode_wire(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            found = decode_odd_wire(data)
            if found is None:
                if not cut:
                    self._fail(malformed_stream("The upstream sent an event that is not JSON."))
                return
            wire = found
        live = self._live
        if (
            live is not None
            and wire.type == "response.output_text.delta"
            and wire.output_index == live.index
            and wire.content_index == live.at
            and wire.delta
            and not wire.logprobs
        ):  # nearly every event of most streams
            live.sent[live.at] += len(wire.delta)
            self._events.append(TextDelta(self._index, wire.delta))
            return
        try:
            self._take(wire, frame)
        except RequestError as error:
            self._fail(
                malformed_stream(
                    f"The upstream's stream breaks the Responses format: {error.message}"
                )
            )

    def _take(self, wire: Wire, frame: Frame) -> None:
        kind = wire.type or frame.event
        handler = self._handlers.get(kind)
        if handler is None:
            self._take_other(kind, wire, frame)
            return
        if not self._started:
            self._start({})
        item = self._item_of(kind, wire)
        if item is None or item.closed:
            return
        if item is self._live:
            handler(item, wire)
            self._go_on()
            return
        wire.type = kind
        item.waiting.append(wire)
        if self._live is None:
            self._go_on()

    def _take_other(self, kind: str, wire: Wire, frame: Frame) -> None:
        if kind in ("response.created", "response.in_progress", "response.queued"):
            if not self._started:
                self._start(wire.response or {})
        elif kind in ("response.completed", "response.incomplete", "response.done"):
            self._finish(wire.response or {})
        elif kind in ("response.failed", "response.cancelled", "error") or not kind:
            failure = event_failure(frame.data, self._created)
            if failure is not None:
                self._fail(failure)

    def _go_on(self) -> None:
        """Let the next waiting items speak, as long as none is live."""
        while self._live is None or self._live.closed:
            self._live = self._queue.popleft() if self._queue else None
            if self._live is None:
                return
            waiting, self._live.waiting = self._live.waiting, []
            for wire in waiting:
                if not self._live.closed:
                    self._handlers[wire.type](self._live, wire)

    def _item_of(self, kind: str, wire: Wire) -> Item | None:
        announced = kind == "response.output_item.added"
        known = self._by_id.get(wire.item_id or _id(wire.item or {}) or "")
        if known is not None and not announced:
            return known
        index = wire.output_index
        if index is None:
            index = max(max(self._items, default=-1) + announced, 0)
        item = self._items.get(index)
        if item is not None and item.closed and announced and known is None:
            # Some compatible servers count every item as the first.
            index = max(self._items) + 1
            item = None
        if item is None:
            raw = wire.item or {}
            name = raw.get("type")
            if not isinstance(name, str):
                name = next((k for start, k in _KIND_OF_EVENT if kind.startswith(start)), "")
            item = Item(index, name)
            self._items[index] = item
            self._queue.append(item)
        item_id = wire.item_id or (wire.item or {}).get("id")
        if isinstance(item_id, str):
            self._by_id.setdefault(item_id, item)
        return item

    # Items -------------------------------------------------------------------------------------

    def _on_added(self, item: Item, wire: Wire) -> None:
        item.raw = wire.item or {}
        if item.kind in CALL_TYPES and isinstance(item.raw.get("name"), str):
            self._start_call(item, item.raw)

    def _on_done(self, item: Item, wire: Wire) -> None:
        self._complete(item, wire.item or item.raw)

    def _complete(self, item: Item, body: JsonObject) -> None:
        """Tell what is left of an item, given as the service finished it."""
        if body.get("type") is None and item.kind:
            body = {"type": item.kind, **body}
        if item.kind == "message":
            self._complete_message(item, body)
        elif item.kind == "reasoning":
            self._complete_reasoning(item, body)
        elif item.kind in CALL_TYPES:
            self._complete_call(item, body)
        elif item.kind:
            path = f"output[{item.index}]"
            for part in decode_item(body, item.index, path, self._issuer, self._ids):
                self._start_part(part)
                self._end_part()
        item.closed = True

    # Words -------------------------------------------------------------------------------------

    def _on_part_added(self, item: Item, wire: Wire) -> None:
        kind = (wire.part or {}).get("type")
        if item.kind == "message" and kind in ("output_text", "refusal", "text"):
            self._speak(item, wire.content_index or 0, refusal=kind == "refusal")

    def _on_text(self, item: Item, wire: Wire) -> None:
        number = wire.content_index or 0
        if wire.delta and (item.at == number or self._speak(item, number, refusal=False)):
            item.sent[number] += len(wire.delta)
            self._events.append(TextDelta(self._index, wire.delta))
        if wire.logprobs:
            item.logprobs.extend(wire.logprobs)

    def _on_refusal(self, item: Item, wire: Wire) -> None:
        number = wire.content_index or 0
        if wire.delta and (item.at == number or self._speak(item, number, refusal=True)):
            item.sent[number] += len(wire.delta)
            self._events.append(TextDelta(self._index, wire.delta))

    def _on_text_done(self, item: Item, wire: Wire) -> None:
        self._add_words(item, wire.content_index or 0, wire.text, refusal=False)

    def _on_refusal_done(self, item: Item, wire: Wire) -> None:
        self._add_words(item, wire.content_index or 0, wire.refusal, refusal=True)

    def _on_part_done(self, item: Item, wire: Wire) -> None:
        part = wire.part or {}
        if item.kind != "message":
            return
        refusal = part.get("type") == "refusal"
        text = part.get("refusal" if refusal else "text")
        self._add_words(item, wire.content_index or 0, text, refusal=refusal)
        if item.at == (wire.content_index or 0):
            item.final = part

    def _on_annotation(self, item: Item, wire: Wire) -> None:
        number = wire.content_index or 0
        if wire.annotation and (item.at == number or self._speak(item, number, refusal=False)):
            item.annotations += 1
            self._events.append(
                Annotated(self._index, Native(NAME, {"annotations": [wire.annotation]}))
            )

    def _speak(self, item: Item, number: int, *, refusal: bool) -> bool:
        """Open the content part ``number``; False when it is already over."""
        if item.kind != "message" or number < item.at:
            return False
        if number == item.at:
            return True
        self._end_words(item)
        item.at = number
        item.sent[number] = 0
        native: Native | None = None
        if item.first:
            item.native = {ITEM: item_fields(item.raw)}
            native = Native(NAME, dict(item.native))
            item.first = False
        self._start_part(Refusal("", native) if refusal else Text("", native=native))
        return True

    def _add_words(self, item: Item, number: int, text: Json, *, refusal: bool) -> None:
        if not isinstance(text, str) or not self._speak(item, number, refusal=refusal):
            return
        rest = text[item.sent[number] :]
        if rest:
            item.sent[number] = len(text)
            self._events.append(TextDelta(self._index, rest))

    def _end_words(self, item: Item) -> None:
        """Close the open content part with what its final form adds."""
        if item.at < 0 or not self._open:
            return
        skip = ("type", "text", "refusal", "annotations", "logprobs")
        extra: JsonObject = {
            key: value
            for key, value in item.final.items()
            if key not in skip and value not in (None, [])
        }
        notes = item.final.get("annotations")
        if isinstance(notes, list) and len(notes) > item.annotations:
            extra["annotations"] = notes[item.annotations :]
        odds = item.final.get("logprobs") or item.logprobs
        if isinstance(odds, list) and odds:
            extra["logprobs"] = odds
        if ITEM in item.native and ITEM in item.final:
            extra[ITEM] = item.final[ITEM]
        self._annotate(item, extra)
        self._end_part()
        item.native = {}
        item.final = {}
        item.annotations = 0
        item.logprobs = []

    def _complete_message(self, item: Item, body: JsonObject) -> None:
        if item.first:
            item.raw = body
        content = body.get("content")
        for number, part in enumerate(content if isinstance(content, list) else ()):
            if not isinstance(part, dict) or number < item.at:
                continue
            refusal = part.get("type") == "refusal"
            words = part.get("refusal" if refusal else "text")
            self._add_words(item, number, words, refusal=refusal)
            if item.at == number:
                item.final = part
        if ITEM in item.native and body:
            item.final = {**item.final, ITEM: item_fields(body)}
        self._end_words(item)

    # Thoughts ----------------------------------------------------------------------------------

    def _on_summary(self, item: Item, wire: Wire) -> None:
        self._think(item, "summary", wire.summary_index or 0, wire.delta)

    def _on_summary_done(self, item: Item, wire: Wire) -> None:
        self._add_thought(item, "summary", wire.summary_index or 0, wire.text)

    def _on_summary_part_done(self, item: Item, wire: Wire) -> None:
        text = (wire.part or {}).get("text")
        self._add_thought(item, "summary", wire.summary_index or 0, text)

    def _on_thought(self, item: Item, wire: Wire) -> None:
        self._think(item, "content", wire.content_index or 0, wire.delta)

    def _on_thought_done(self, item: Item, wire: Wire) -> None:
        self._add_thought(item, "content", wire.content_index or 0, wire.text)

    def _think(
        self, item: Item, mode: Literal["summary", "content"], section: int, text: str | None
    ) -> None:
        if not text or item.kind != "reasoning":
            return
        if not item.mode:
            item.mode = mode
            item.native = {CONTENT: True} if mode == "content" else {}
            native = Native(NAME, dict(item.native)) if item.native else None
            self._start_part(Reasoning(summary=mode == "summary", id=_id(item.raw), native=native))
        if item.mode != mode:
            return  # a summary of the thought that is being told, or the reverse: see the end
        item.sent[section] = item.sent.get(section, 0) + len(text)
        self._events.append(ReasoningDelta(self._index, text, section))

    def _add_thought(
        self, item: Item, mode: Literal["summary", "content"], section: int, text: Json
    ) -> None:
        if isinstance(text, str):
            self._think(item, mode, section, text[item.sent.get(section, 0) :])

    def _complete_reasoning(self, item: Item, body: JsonObject) -> None:
        path = f"output[{item.index}]"
        whole = decode_reasoning(body, path, self._issuer, exact=False)
        fields = dict(fields_of(whole.native))
        if not item.mode:
            item.raw = body
        told_as = item.mode or ("content" if CONTENT in fields else "summary")
        texts = body.get("content" if told_as == "content" else "summary")
        for section, part in enumerate(texts if isinstance(texts, list) else ()):
            if isinstance(part, dict):
                mode: Literal["summary", "content"] = (
                    "content" if told_as == "content" else "summary"
                )
                self._add_thought(item, mode, section, part.get("text"))
        if item.mode == "summary" and CONTENT in fields:
            fields = {k: v for k, v in fields.items() if k not in (CONTENT, "summary")}
            fields["content"] = body["content"]
        if not item.mode:
            self._start_part(Reasoning(id=_id(body), native=whole.native))
            item.native = fields
        if whole.signature is not None:
            self._events.append(SignatureDelta(self._index, whole.signature))
        self._annotate(item, fields)
        self._end_part()

    # Calls -------------------------------------------------------------------------------------

    def _start_call(self, item: Item, body: JsonObject) -> None:
        path = f"output[{item.index}]"
        call = decode_call({**body, "type": item.kind}, path, exact=False)
        call = name_call(call, item.index, self._ids)
        item.mode = "call"
        item.native = dict(fields_of(call.native))
        self._start_part(replace(call, arguments=""))

    def _on_arguments(self, item: Item, wire: Wire) -> None:
        # Without a name there is no call yet: its arguments come again with the finished item.
        if wire.delta and item.mode == "call":
            item.sent[0] = item.sent.get(0, 0) + len(wire.delta)
            self._events.append(ArgumentsDelta(self._index, wire.delta))

    def _on_arguments_done(self, item: Item, wire: Wire) -> None:
        self._add_arguments(item, wire.input if wire.arguments is None else wire.arguments)

    def _add_arguments(self, item: Item, text: str | None) -> None:
        if text is None or item.mode != "call":
            return
        sent = item.sent.get(0, 0)
        if len(text) > sent:
            item.sent[0] = len(text)
            self._events.append(ArgumentsDelta(self._index, text[sent:]))

    def _complete_call(self, item: Item, body: JsonObject) -> None:
        body = {**body, "type": item.kind}
        if item.mode != "call":
            self._start_call(item, body)
        call = decode_call(body, f"output[{item.index}]", exact=False)
        if call.arguments != "{}" or not item.sent.get(0):
            self._add_arguments(item, call.arguments)
        self._annotate(item, dict(fields_of(call.native)))
        self._end_part()

    # Parts, start and end ----------------------------------------------------------------------

    def _start(self, response: Mapping[str, Any]) -> None:
        self._started = True
        self._created = seconds_of(response.get("created_at"))
        name, model = response.get("id"), response.get("model")
        self._events.append(
            Started(
                name if isinstance(name, str) else "",
                model if isinstance(model, str) else "",
                None,
                self._created,
            )
        )

    def _start_part(self, part: Part) -> None:
        self._index += 1
        self._open = True
        self._called = self._called or isinstance(part, ToolCall)
        self._refused = self._refused or isinstance(part, Refusal)
        self._events.append(PartStarted(self._index, part))

    def _annotate(self, item: Item, fields: Mapping[str, Json]) -> None:
        news = {key: value for key, value in fields.items() if item.native.get(key) != value}
        if news:
            self._events.append(Annotated(self._index, Native(NAME, news)))

    def _end_part(self) -> None:
        if self._open:
            self._open = False
            self._events.append(PartEnded(self._index))

    def _finish(self, response: JsonObject) -> None:
        if response.get("status") in ("failed", "cancelled"):
            self._fail(failure_in({"response": response}, "response.failed", self._created))
            return
        if not self._started:
            self._start(response)
        output = response.get("output")
        for index, body in enumerate(output if isinstance(output, list) else ()):
            if isinstance(body, dict):
                self._finish_item(index, body)
        for item in list(self._items.values()):
            if not item.closed:
                done = Wire("response.output_item.done", item.index, item=item.raw)
                self._take(done, Frame("", b""))
        self._go_on()
        self._ended = True
        self._events.append(
            Finished(
                stop_of(response, called=self._called, refused=self._refused),
                decode_usage(response.get("usage")),
                None,
                answer_native(response),
            )
        )

    def _finish_item(self, index: int, body: JsonObject) -> None:
        """Take an item of the terminal response, unless its own events have told it."""
        item = self._by_id.get(_id(body) or "") or self._items.get(index)
        index = item.index if item is not None else index
        done = Wire("response.output_item.done", index, item=body)
        if item is None or not item.closed:
            self._take(done, Frame("", b""))

    def _fail(self, failure: Failure) -> None:
        if self._ended:
            return
        self._ended = True
        self._end_part()
        self._events.append(Failed(failure))


def _id(item: Mapping[str, Json]) -> str | None:
    value = item.get("id")
    return value if isinstance(value, str) else None
