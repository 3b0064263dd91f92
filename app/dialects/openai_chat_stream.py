"""Chat streams from services: chunks to events.

Chat streams do not say where a part begins or ends, and may interleave the fragments of
parallel calls. Parts wait in a queue of slots in the order in which they began; only the first is
open towards the reader, the others hold their events back. Text, refusal and reasoning end when
anything else begins; a call ends when another part has begun and its arguments are complete JSON,
or when the service gives its finish reason. Indices of events are given when a slot is made,
which is the order in which slots open.

Most chunks of a stream differ in their text alone. What stands before and after it is learnt from
a chunk that holds nothing else; a chunk with the same surroundings is not decoded further. It is
the same JSON but for that one string, so nothing can be missed.

The states are: before the first chunk; answering; finish reason seen (the usage chunk may still
come); done. ``Finished`` follows on the usage chunk without choices, ``[DONE]`` or the end of
the bytes, whichever comes first.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
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
    UsageSeen,
)
from app.canonical.failure import Failure, cut_stream
from app.canonical.parts import (
    Json,
    JsonObject,
    Media,
    Native,
    Part,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
)
from app.canonical.response import StopReason
from app.canonical.usage import Usage
from app.dialects.openai_chat_answer import stop_of, tidy_choice
from app.dialects.openai_chat_chunks import (
    CHUNK_KEYS,
    DELTA_KEYS,
    Call,
    Choice,
    Chunk,
    Delta,
    decode_frame,
    lenient_chunk,
    object_of,
    text_or_none,
)
from app.dialects.openai_chat_failure import read_error
from app.dialects.openai_chat_parts import decode_part, split_call_signature
from app.dialects.openai_chat_slots import Kind, Slot
from app.dialects.openai_chat_thought import (
    decode_usage,
    detail_text,
    details_signature,
    field_signature,
    open_detail,
    sealed_part,
    usage_extras,
)
from app.dialects.openai_chat_values import NAME, native_of, rest_of
from app.dialects.openai_errors import malformed_stream
from app.dialects.sse import Frame, SseParser
from app.dialects.values import unique_id
from app.errors import RequestError, UpstreamError

__all__ = ["ChatStreamDecoder"]

_CONTENT_KEY = re.compile(rb'"content"')
_CONTENT = re.compile(rb'"content"\s*:\s*"((?:[^"\\]|\\.)*)"', re.DOTALL)
_TRIES = 8
"""How often the surroundings of the text are learnt anew in a stream where they vary."""
_decode_text = msgspec.json.Decoder(str).decode


class ChatStreamDecoder:
    """Decodes one upstream stream."""

    __slots__ = (
        "_audio",
        "_calls",
        "_choice",
        "_done",
        "_fields",
        "_finish",
        "_has_calls",
        "_issuer",
        "_last_call",
        "_late",
        "_logprobs",
        "_message",
        "_next",
        "_out",
        "_prefix",
        "_refused",
        "_slots",
        "_sse",
        "_started",
        "_suffix",
        "_taken",
        "_tries",
        "_usage",
        "_usage_extras",
    )

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._sse = SseParser()
        self._out: list[Event] = []
        self._slots: deque[Slot] = deque()
        self._calls: dict[int | str, Slot] = {}
        self._last_call: Slot | None = None
        self._taken: set[str] = set()
        self._next = 0
        self._started = False
        self._done = False
        self._finish: str | None = None
        self._has_calls = False
        self._refused = False
        self._usage: Usage | None = None
        self._usage_extras: JsonObject = {}
        self._logprobs: JsonObject = {}
        self._prefix = self._suffix = b""
        self._tries = _TRIES
        self._fields: JsonObject = {}
        self._late: JsonObject = {}
        self._choice: JsonObject = {}
        self._message: JsonObject = {}
        self._audio: JsonObject = {}

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that ``data`` completes."""
        self._out = []
        if self._done:
            return self._out
        try:
            for frame in self._sse.feed(data):
                self._frame(frame)
                if self._done:
                    break
        except UpstreamError as error:
            self._fail(malformed_stream(error.message))
        return self._out

    def close(self) -> list[Event]:
        """End the stream."""
        self._out = []
        if self._done:
            return self._out
        for frame in self._sse.close():
            # With its finish reason seen the answer is whole: half a frame after it is no loss.
            if self._finish is None or _is_json(frame.data):
                self._frame(frame)
        if not self._done:
            if self._finish is not None:
                self._complete()
            else:
                self._fail(cut_stream())
        return self._out

    # Frames

    def _frame(self, frame: Frame) -> None:
        data = frame.data
        if self._prefix and data.startswith(self._prefix) and data.endswith(self._suffix):
            text = self._between(data)
            if text is not None:
                if text:
                    self._text("text", text)
                return
        if data.startswith(b"[DONE]"):
            if self._finish is None:
                self._fail(cut_stream("It sent no finish reason."))
            else:
                self._complete()
            return
        if not data.strip():
            return
        try:
            self._read(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            # Also from fields that only a second look at the whole chunk decodes.
            self._fail(malformed_stream(f"The service sent an event that cannot be read: {error}."))

    def _read(self, frame: Frame) -> None:
        data = frame.data
        body: Mapping[str, Any] | None = None
        try:
            chunk = decode_frame(data)
        except msgspec.ValidationError:
            body = object_of(data)
            chunk = lenient_chunk(body)
        if chunk.error or frame.event == "error":
            fault = chunk.error or (body if body is not None else object_of(data))
            self._fail(read_error(fault, None))
            return
        self._chunk(chunk, data, body)

    def _chunk(self, chunk: Chunk, data: bytes, body: Mapping[str, Any] | None) -> None:
        if not self._started:
            body = object_of(data) if body is None else body
            self._start(body)
        choices = chunk.choices
        choice = choices[0] if choices else None
        if choices and choice is not None and choice.index:
            choice = next((c for c in choices if not c.index), None)
        if choice is not None:
            delta = choice.delta
            if self._tries and delta is not None and delta.content:
                self._learn(chunk, choice.index, delta.content, data)
            if choice.finish_reason or body is not None:
                self._extras(object_of(data) if body is None else body)
            if choice.delta is not None:
                self._delta(choice.delta)
            if choice.logprobs:
                self._add_logprobs(choice.logprobs)
            if choice.finish_reason:
                self._end_all(choice.finish_reason)
        usage = chunk.usage
        if usage is None and isinstance(chunk.x_groq, dict):
            usage = chunk.x_groq.get("usage")
        if usage is not None and not self._done:
            self._see_usage(usage)
            if self._finish is not None and not chunk.choices:
                self._complete()

    def _learn(self, chunk: Chunk, index: int | None, text: str, data: bytes) -> None:
        """Remember what stands around the text of a chunk that holds nothing else."""
        alone = Chunk([Choice(index, Delta(content=text))])
        if chunk != alone or len(_CONTENT_KEY.findall(data)) != 1:
            return
        match = _CONTENT.search(data)
        if match is not None:
            self._tries -= 1
            self._prefix, self._suffix = data[: match.start(1)], data[match.end(1) :]

    def _between(self, data: bytes) -> str | None:
        """Return the text of a chunk that is like the one learnt; None when it is not."""
        start, end = len(self._prefix), len(data) - len(self._suffix)
        if end < start:
            return None
        inner = data[start:end]
        try:
            if b'"' in inner or b"\\" in inner:
                return _decode_text(b'"%b"' % inner)
            return inner.decode()
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def _start(self, body: Mapping[str, Any]) -> None:
        self._started = True
        created = body.get("created")
        number = isinstance(created, int | float) and not isinstance(created, bool)
        self._fields = rest_of(body, CHUNK_KEYS)
        self._out.append(
            Started(
                text_or_none(body.get("id")) or "",
                text_or_none(body.get("model")) or "",
                None,
                float(created) if number and isinstance(created, int | float) else None,
                native_of(self._fields),
            )
        )

    def _extras(self, body: Mapping[str, Any]) -> None:
        """Keep unknown fields; they occur in the first and the last chunk."""
        for key, value in rest_of(body, CHUNK_KEYS).items():
            if key not in self._fields:
                self._late[key] = value
        choices = body.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict) or choice.get("index"):
                continue
            known = frozenset(("index", "delta", "message", "finish_reason", "logprobs"))
            self._choice.update(rest_of(choice, known))
            delta = choice.get("delta")
            if isinstance(delta, dict):
                self._message.update(rest_of(delta, DELTA_KEYS))

    def _add_logprobs(self, logprobs: Any) -> None:
        for key, value in logprobs.items() if isinstance(logprobs, dict) else ():
            before = self._logprobs.setdefault(key, None)
            if isinstance(value, list) and isinstance(before, list):
                before.extend(value)
            elif isinstance(value, list):
                self._logprobs[key] = value

    def _see_usage(self, body: Any) -> None:
        usage = decode_usage(body)
        if usage is not None and usage != self._usage:
            self._usage = usage
            self._usage_extras = usage_extras(body)
            self._out.append(UsageSeen(usage))

    # Parts

    def _delta(self, delta: Delta) -> None:
        thought = delta.reasoning_content or delta.reasoning
        if thought or delta.reasoning_details:
            keys = [key for key in ("reasoning_content", "reasoning") if getattr(delta, key)]
            if delta.reasoning_details:
                self._details(delta.reasoning_details, thought, keys)
            elif thought:
                self._thought(thought, keys)
        if delta.content:
            self._text("text", delta.content)
        if delta.refusal:
            self._refused = True
            self._text("refusal", delta.refusal)
        if delta.tool_calls:
            for call in delta.tool_calls:
                self._call(call)
        if delta.function_call is not None:
            self._call(Call(0, None, None, delta.function_call))
        if delta.annotations or delta.audio or delta.images:
            self._beside(delta)

    def _beside(self, delta: Delta) -> None:
        if isinstance(delta.annotations, list):
            known = self._message.setdefault("annotations", [])
            if isinstance(known, list):
                known.extend(delta.annotations)
        if isinstance(delta.audio, dict):
            for key, value in delta.audio.items():
                before = self._audio.get(key)
                grows = key in ("data", "transcript") and isinstance(value, str)
                self._audio[key] = before + value if grows and isinstance(before, str) else value
        for image in delta.images if isinstance(delta.images, list) else ():
            try:
                part = decode_part(image, "images")
            except RequestError:
                continue
            if isinstance(part, Media):
                self._begin("whole", part).ended = True
                self._advance()

    def _text(self, kind: Literal["text", "refusal"], text: str) -> None:
        slot = self._slots[-1] if self._slots else None
        if slot is None or slot.kind != kind or slot.ended:
            slot = self._begin(kind, Text("") if kind == "text" else Refusal(""))
        event = TextDelta(slot.index, text)
        if slot.open:
            self._out.append(event)
        else:
            slot.held.append(event)

    def _thought(self, text: str, keys: list[str]) -> Slot:
        slot = self._slots[-1] if self._slots else None
        if slot is None or slot.kind != "reasoning" or slot.ended:
            slot = self._begin("reasoning", Reasoning(native=native_of({}, list(keys))))
            slot.key = keys[0] if keys else ""
        if text:
            slot.size += len(text)
            self._put(slot, ReasoningDelta(slot.index, text))
        return slot

    def _details(self, items: list[dict[str, Any]], thought: str | None, keys: list[str]) -> None:
        raw: list[dict[str, Any]] = []
        sealed: list[tuple[Signature, dict[str, Json]]] = []
        for item in items:
            opened = open_detail(item)
            if opened is None:
                raw.append(item)
            else:
                sealed.append(opened)
        if raw or thought:
            text = thought if thought else "".join(detail_text(item) for item in raw)
            slot = self._thought(text, keys)
            for item in raw:
                _merge_detail(slot.details, item)
        for signature, extra in sealed:
            self._sealed(signature, extra)

    def _sealed(self, signature: Signature, extra: dict[str, Json]) -> None:
        slot = self._slots[-1] if self._slots else None
        wanted = "text" if extra.get("part") == "text" else "reasoning"
        if slot is None or slot.kind != wanted or slot.ended:
            if wanted == "text":
                return
            slot = self._begin("reasoning", Reasoning(redacted=extra.get("redacted") is True))
        about = sealed_part(signature, extra)
        self._put(slot, SignatureDelta(slot.index, signature, about.id, about.summary))
        slot.key = ""
        if wanted == "reasoning":
            slot.ended = True
            self._advance()

    def _call(self, call: Call) -> None:
        inner = call.custom or call.function
        name = (inner.name if inner is not None else None) or ""
        text = (call.custom.input if call.custom is not None else None) or ""
        if call.custom is None and call.function is not None:
            text = call.function.arguments or ""
        slot = self._find_call(call, name)
        if slot is None:
            if not name and not call.id and not text:
                return
            slot = self._begin_call(call)
        if call.type == "custom" or call.custom is not None:
            slot.custom = True
        if name and not slot.name:
            slot.name = name
        if call.id and not slot.call_id:
            slot.call_id = call.id
        if text:
            slot.size += len(text)
            if not slot.custom:
                slot.pending.append(text)
            self._put(slot, ArgumentsDelta(slot.index, text))
        signature, _ = split_call_signature(call.extra_content, self._issuer)
        if signature is not None:
            self._put(slot, SignatureDelta(slot.index, signature))
        self._advance()

    def _find_call(self, call: Call, name: str) -> Slot | None:
        if call.index is not None:
            slot = self._calls.get(call.index)
        elif call.id:
            slot = self._calls.get(call.id)
        elif name and self._last_call is not None and self._last_call.name:
            return None
        else:
            slot = self._last_call
        if slot is None or not name or not slot.name:
            return slot
        # Some servers give every call the index 0: another id, or a name after a whole call, is
        # another call. Others repeat name and id in every fragment of one.
        if call.id and slot.call_id and call.id != slot.call_id:
            return None
        return None if not call.id and slot.is_complete() else slot

    def _begin_call(self, call: Call) -> Slot:
        slot = self._begin("call", None)
        self._has_calls = True
        self._last_call = slot
        if call.index is not None:
            self._calls[call.index] = slot
        if call.id:
            self._calls[call.id] = slot
        return slot

    # Slots

    def _begin(self, kind: Kind, part: Part | None) -> Slot:
        if self._slots and self._slots[-1].kind != "call":
            self._slots[-1].ended = True
        slot = Slot(kind, self._next, part)
        self._next += 1
        self._slots.append(slot)
        self._advance()
        return slot

    def _put(self, slot: Slot, event: Event) -> None:
        if slot.open:
            if not slot.closed:
                self._out.append(event)
        else:
            slot.held.append(event)

    def _advance(self) -> None:
        """Open the first slot, and end those that are complete."""
        slots = self._slots
        while slots:
            slot = slots[0]
            if not slot.open:
                if slot.kind == "call" and not slot.name and not slot.ended:
                    return
                self._open(slot)
            if slot.kind == "call" and not slot.ended and len(slots) > 1:
                slot.ended = slot.is_complete()
            if not slot.ended:
                return
            self._close(slot)
            slots.popleft()

    def _open(self, slot: Slot) -> None:
        part = slot.part
        if part is None:
            call_id = unique_id(slot.call_id, self._taken)
            part = ToolCall(call_id, slot.name, "", "custom" if slot.custom else "function")
        self._out.append(PartStarted(slot.index, part))
        self._out.extend(slot.held)
        slot.held.clear()
        slot.open = True

    def _close(self, slot: Slot) -> None:
        if slot.kind == "call" and not slot.custom and not slot.size:
            self._out.append(ArgumentsDelta(slot.index, "{}"))
        if slot.details:
            signature = details_signature(slot.details, self._issuer)
            if signature is not None:
                self._out.append(SignatureDelta(slot.index, signature))
            else:
                fields: JsonObject = {"reasoning_details": slot.details}
                self._out.append(Annotated(slot.index, Native(NAME, fields)))
                self._sign_field(slot)
        else:
            self._sign_field(slot)
        slot.closed = True
        self._out.append(PartEnded(slot.index))

    def _sign_field(self, slot: Slot) -> None:
        if slot.key:
            signature = field_signature(slot.key, self._issuer)
            if signature is not None:
                self._out.append(SignatureDelta(slot.index, signature))

    # Ends

    def _end_all(self, finish: str) -> None:
        for slot in self._slots:
            slot.ended = True
        self._advance()
        if finish == "error":
            self._fail(malformed_stream("The service ended its answer with an error."))
        else:
            self._finish = finish

    def _complete(self) -> None:
        for slot in self._slots:
            slot.ended = True
        self._advance()
        self._done = True
        fields = self._late
        if self._audio:
            self._message["audio"] = self._audio
        choice: JsonObject = dict(self._choice)
        if self._logprobs:
            choice["logprobs"] = self._logprobs
        inner = tidy_choice(choice, self._message)
        if self._usage_extras:
            fields["usage"] = self._usage_extras
        if inner:
            fields["choices"] = [inner]
        stop: StopReason = stop_of(self._finish, calls=self._has_calls, refused=self._refused)
        self._out.append(Finished(stop, self._usage, None, native_of(fields)))

    def _fail(self, failure: Failure) -> None:
        if self._slots and self._slots[0].open:
            self._out.append(PartEnded(self._slots[0].index))
        self._slots.clear()
        self._done = True
        self._out.append(Failed(failure))


def _is_json(data: bytes) -> bool:
    if data.startswith(b"[DONE]"):
        return True
    try:
        object_of(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _merge_detail(details: list[Json], item: dict[str, Any]) -> None:
    """Add a fragment of ``reasoning_details``: those of one type and index are one item."""
    last = details[-1] if details else None
    if (
        isinstance(last, dict)
        and last.get("type") == item.get("type")
        and last.get("index") == item.get("index")
    ):
        for key, value in item.items():
            before = last.get(key)
            grows = key in ("text", "summary", "data")
            if grows and isinstance(before, str) and isinstance(value, str):
                last[key] = before + value
            elif value is not None:
                last[key] = value
    else:
        details.append(dict(item))
