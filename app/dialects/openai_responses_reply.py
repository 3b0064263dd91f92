"""Answers of the Responses dialect for a client: canonical events to items and stream events.

One builder serves both forms. It keeps the finished items, and in streams it also writes the
events that tell of them; the whole answer is the response object of its terminal event. So what a
client reads from the deltas, from the ``*.done`` events and from the final object is the same.

States: nothing sent; *started* (``response.created`` and ``response.in_progress`` are out); a
*message* item may be open across several Text and Refusal parts, which become its content parts;
any other part is an item of its own, opened and closed with the part; *ended* after a terminal
event, after which nothing is written.

The slot for opaque text is ``encrypted_content`` of a ``reasoning`` item. Foreign signatures are
sealed into it; the signature of a call or of a text gets an item of its own with an empty summary
(see ``openai_responses_request``). A thought without any signature is sealed empty, which tells
later requests that no service takes it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

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
from app.canonical.failure import Failure
from app.canonical.fold import unfold
from app.canonical.ids import RESPONSES_CALL, fit_id
from app.canonical.loss import Loss
from app.canonical.parts import (
    Json,
    JsonObject,
    Media,
    Native,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
)
from app.canonical.response import ChatResponse, StopReason
from app.canonical.usage import Usage
from app.dialects.base import Encoded, LossList, ReplyContext, dump
from app.dialects.carrier import seal
from app.dialects.citations import LOST, foreign_citations, url_citation, web_citations
from app.dialects.openai_responses_failure import encode_stream_error
from app.dialects.openai_responses_items import encode_image_call
from app.dialects.openai_responses_settings import default_settings, own_settings
from app.dialects.openai_responses_values import (
    CONTENT,
    ISSUER,
    ITEM,
    NAME,
    TYPE,
    fields_of,
    fit_item_id,
    wire_fields,
)
from app.dialects.values import unique_id

__all__ = ["ResponsesStreamEncoder", "encode_response", "encode_usage"]

_INCOMPLETE: dict[StopReason, str] = {
    "max_tokens": "max_output_tokens",
    "context_full": "max_output_tokens",
    "content_filter": "content_filter",
}
_PRIVATE = ("@item", "annotations", "logprobs")


def encode_response(response: ChatResponse, reply: ReplyContext) -> Encoded:
    """Encode a whole answer for a client."""
    builder = ResponsesStreamEncoder(reply, quiet=True)
    builder.encode(unfold(response))
    return Encoded(builder.final, builder.losses)


def encode_usage(usage: Usage | None) -> Json:
    """Return usage as OpenAI counts it: the input includes what a cache held."""
    if usage is None:
        return None
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write,
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": usage.total,
    }


class ResponsesStreamEncoder:
    """Encodes one answer; see ``StreamEncoder`` for the contract.

    Args:
        reply: whom and what is answered.
        quiet: keep the items only and write no events.
    """

    def __init__(self, reply: ReplyContext, *, quiet: bool = False) -> None:
        self._reply = reply
        self._quiet = quiet
        self._losses = LossList()
        self._out: list[bytes] = []
        self._sequence = 0
        self._started = False
        self._ended = False
        self._id = ""
        self._created = int(reply.created)
        self._usage: Usage | None = None
        self._settings = default_settings(reply.request)
        self._wishes: JsonObject = {} if reply.request is None else own_settings(reply.request)
        self._items: list[Json] = []
        self._calls: set[str] = set()
        self._message: JsonObject | None = None
        """The open message item; its content holds the finished content parts."""
        self._item: JsonObject = {}
        """The open item of any other kind."""
        self._part: Part | None = None
        self._pieces: list[str] = []
        self._template = b""
        self._notes: JsonObject = {}
        """Native fields of the open part."""
        self._annotations: list[Json] = []
        self._cited: list[Json] = []
        """Citations of the open text in another dialect's form."""
        self._announced = 0
        self._signature: Signature | None = None
        self._carried = False
        """The open part's signature is out already."""
        self._section: int | None = None
        self._sections: list[str] = []
        self.final: JsonObject = {}
        """The response object of the terminal event."""

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What the answer held and this dialect cannot say."""
        return self._losses.done()

    def ping(self) -> bytes:
        """Return an SSE comment."""
        return b": keep-alive\n\n"

    def encode(self, events: list[Event]) -> bytes:
        """Return the stream events for ``events``, in one piece."""
        for place, event in enumerate(events):
            if self._ended:
                break
            kind = type(event)
            if kind is TextDelta or kind is ArgumentsDelta:
                if self._template and event.text:  # type: ignore[union-attr]  # one of the two
                    self._delta(event.text)  # type: ignore[union-attr]
            else:
                self._take(event, events, place)
        data = b"".join(self._out)
        self._out.clear()
        return data

    def _take(self, event: Event, events: Sequence[Event], place: int) -> None:
        match event:
            case ReasoningDelta(text=text, section=section):
                self._think(text, section)
            case PartStarted(part=part):
                self._start_part(part, events, place)
            case PartEnded():
                self._end_part()
            case SignatureDelta(signature=signature):
                self._signature = signature
            case Annotated(native=native):
                self._annotate(native)
            case Started():
                self._start(event)
            case UsageSeen(usage=usage):
                self._usage = usage
            case Finished():
                self._finish(event)
            case Failed(failure=failure):
                self._fail(failure)
            case _:
                self._out.append(self.ping())

    # Events ------------------------------------------------------------------------------------

    def _emit(self, kind: str, fields: Mapping[str, Json]) -> None:
        if self._quiet:
            return
        data = _escape(dump({"type": kind, **fields, "sequence_number": self._sequence}))
        self._sequence += 1
        self._out.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), data))

    def _set_template(self, kind: str, fields: Mapping[str, Json]) -> None:
        """Render the constant part of the delta events that follow, once."""
        head = dump({"type": kind, **fields})[:-1].replace(b"%", b"%%")
        self._template = (
            b"event: %b\ndata: " % kind.encode() + head + b',"delta":%b,"sequence_number":%d}\n\n'
        )

    def _delta(self, text: str) -> None:
        self._pieces.append(text)
        if self._quiet:
            return
        self._out.append(self._template % (_escape(dump(text)), self._sequence))
        self._sequence += 1

    def _add_item(self, item: JsonObject) -> JsonObject:
        self._emit("response.output_item.added", {"output_index": len(self._items), "item": item})
        return item

    def _close_item(self, item: JsonObject) -> None:
        self._emit("response.output_item.done", {"output_index": len(self._items), "item": item})
        self._items.append(item)

    # Start and end -----------------------------------------------------------------------------

    def _start(self, event: Started) -> None:
        if self._started:
            return
        self._started = True
        self._id = event.id if event.id.startswith("resp_") else self._reply.new_id("resp_")
        if event.created is not None:
            self._created = int(event.created)
        self._usage = event.usage
        if not self._quiet:
            response = self._response("in_progress", {})
            self._emit("response.created", {"response": response})
            self._emit("response.in_progress", {"response": response})

    def _response(self, status: str, native: Mapping[str, Json]) -> JsonObject:
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": self._reply.model,
            "output": list(self._items),
            **self._settings,
            **native,
            **self._wishes,
            "usage": None,
        }

    def _finish(self, event: Finished) -> None:
        self._start(Started("", ""))
        self._end_part()
        reason = _INCOMPLETE.get(event.stop)
        if event.stop == "refusal" and not self._items and self._message is None:
            self._start_part(Refusal(""), [], 0)
            self._delta("The model declined to answer.")
            self._end_part()
        self._end_message("completed" if reason is None else "incomplete")
        native = dict(fields_of(event.native))
        details = native.pop("incomplete_details", None)
        status = "completed" if reason is None else "incomplete"
        if event.stop == "pause" and isinstance(details, dict):
            status, reason = "incomplete", "steered"
        response = self._response(status, native)
        if reason is not None:
            response["incomplete_details"] = (
                details if isinstance(details, dict) else {"reason": reason}
            )
        response["usage"] = encode_usage(event.usage or self._usage)
        self.final = response
        self._emit(f"response.{status}", {"response": response})
        self._ended = True

    def _fail(self, failure: Failure) -> None:
        self._start(Started("", ""))
        response = self._response("failed", {})
        response["error"] = encode_stream_error(failure)
        response["usage"] = encode_usage(self._usage)
        self.final = response
        self._emit("response.failed", {"response": response})
        self._ended = True

    # Parts -------------------------------------------------------------------------------------

    def _start_part(self, part: Part, events: Sequence[Event], place: int) -> None:
        self._start(Started("", ""))
        self._end_part()
        self._pieces = []
        self._template = b""
        self._notes = dict(fields_of(getattr(part, "native", None)))
        self._signature = getattr(part, "signature", None)
        self._carried = False
        if not isinstance(part, Text | Refusal):
            self._end_message("completed")
        match part:
            case Text() | Refusal():
                self._start_words(part, _ahead(events, place, self._signature))
            case Reasoning():
                self._start_thought(part)
            case ToolCall():
                self._start_call(part, _ahead(events, place, self._signature))
            case Media():
                self._show(part)
            case Opaque(dialect=dialect, body=body) if dialect == NAME:
                self._close_item(self._add_item(dict(body)))
            case _:
                self._losses.add(f"output[{len(self._items)}]", "a block of another service")

    def _end_part(self) -> None:
        part, self._part = self._part, None
        match part:
            case Text() | Refusal():
                self._end_words(part)
            case Reasoning():
                self._end_thought(part)
            case ToolCall():
                self._end_call(part)
            case _:
                pass
        self._template = b""

    def _annotate(self, native: Native) -> None:
        self._cited.extend(foreign_citations(native, NAME))
        fields = fields_of(native)
        note = fields.get(ITEM)
        if isinstance(note, dict) and self._message is not None:
            self._message.update({k: v for k, v in note.items() if k != "id"})
        added = fields.get("annotations")
        for annotation in added if isinstance(added, list) else ():
            self._annotations.append(annotation)
            self._announce(annotation)
        odds = fields.get("logprobs")
        if isinstance(odds, list):
            old = self._notes.get("logprobs")
            self._notes["logprobs"] = [*(old if isinstance(old, list) else ()), *odds]
        self._notes.update({k: v for k, v in fields.items() if k not in _PRIVATE})

    # Words -------------------------------------------------------------------------------------

    def _start_words(self, part: Text | Refusal, signature: Signature | None) -> None:
        note = self._notes.get(ITEM)
        fields = note if isinstance(note, dict) else {}
        if isinstance(note, dict) or signature is not None:
            self._end_message("completed")
        if signature is not None:
            self._carry(signature, {"text": True})
            self._carried = True
        if self._message is None:
            self._open_message(fields)
        message = self._message or {}
        content = message["content"]
        number = len(content) if isinstance(content, list) else 0
        self._part = part
        self._cited = foreign_citations(part.native, NAME)[:]
        self._annotations = []
        self._announced = 0
        place: JsonObject = {
            "item_id": message["id"],
            "output_index": len(self._items),
            "content_index": number,
        }
        empty: JsonObject = {"type": "refusal", "refusal": ""}
        if isinstance(part, Text):
            empty = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
            self._set_template("response.output_text.delta", {**place, "logprobs": []})
        else:
            self._set_template("response.refusal.delta", place)
        self._emit("response.content_part.added", {**place, "part": empty})
        self._item = place
        if part.text:
            self._delta(part.text)

    def _open_message(self, fields: Mapping[str, Json]) -> None:
        given = fields.get("id")
        fresh = given if isinstance(given, str) else self._reply.new_id("msg_")
        item: JsonObject = {
            "id": fit_item_id("message", fresh),
            "type": "message",
            "status": "in_progress",
            "role": "assistant",
            "content": [],
            **{k: v for k, v in wire_fields(fields).items() if k not in ("id", "status")},
        }
        self._add_item(item)
        self._message = {**item, "content": []}

    def _announce(self, annotation: Json) -> None:
        if not isinstance(self._part, Text):
            return
        self._emit(
            "response.output_text.annotation.added",
            {**self._item, "annotation_index": self._announced, "annotation": annotation},
        )
        self._announced += 1

    def _cite(self, size: int) -> list[Json]:
        pages, lost = web_citations(self._cited)
        self._cited = []
        if lost:
            self._losses.add(f"output[{len(self._items)}].annotations", LOST)
        return [{"type": "url_citation", **url_citation(page, size)} for page in pages]

    def _end_words(self, part: Text | Refusal) -> None:
        place, text = self._item, "".join(self._pieces)
        known = self._notes.get("annotations")
        early: list[Json] = list(known) if isinstance(known, list) else []
        early.extend(self._cite(len(text)))
        self._part = part
        for annotation in early:
            self._announce(annotation)
        self._part = None
        extra = {k: v for k, v in wire_fields(self._notes).items() if k not in _PRIVATE}
        odds = self._notes.get("logprobs")
        odds = odds if isinstance(odds, list) else []
        if isinstance(part, Text):
            done: JsonObject = {
                "type": "output_text",
                "annotations": [*self._annotations, *early],
                "logprobs": odds,
                "text": text,
                **extra,
            }
            fields: JsonObject = {**place, "logprobs": odds, "text": text}
            self._emit("response.output_text.done", fields)
        else:
            done = {"type": "refusal", "refusal": text, **extra}
            self._emit("response.refusal.done", {**place, "refusal": text})
        if TYPE in self._notes and isinstance(part, Text):
            done["type"] = self._notes[TYPE]
        self._emit("response.content_part.done", {**place, "part": done})
        if self._message is not None and isinstance(self._message["content"], list):
            self._message["content"].append(done)
        if self._signature is not None and not self._carried:
            self._end_message("completed")
            self._carry(self._signature, {"text": True, "after": True})

    def _end_message(self, status: str) -> None:
        message, self._message = self._message, None
        if message is not None:
            self._close_item({**message, "status": status})

    def _carry(self, signature: Signature, extra: Mapping[str, Json]) -> None:
        """Send a signature that has no slot of its own, in a thought without words."""
        item: JsonObject = {
            "id": self._reply.new_id("rs_"),
            "type": "reasoning",
            "summary": [],
            "encrypted_content": seal(signature, extra),
        }
        self._close_item(self._add_item(item))

    # Thoughts ----------------------------------------------------------------------------------

    def _start_thought(self, part: Reasoning) -> None:
        fresh = self._reply.new_id("rs_") if part.id is None else part.id
        item: JsonObject = {
            "id": fit_item_id("reasoning", fresh),
            "type": "reasoning",
            "summary": [],
        }
        self._item = self._add_item(item)
        self._part = part
        self._section = None
        self._sections = []
        for number, text in enumerate(part.sections or ((part.text,) if part.text else ())):
            self._think(text, number)

    def _think(self, text: str, section: int) -> None:
        if not text or not isinstance(self._part, Reasoning):
            return
        if section != self._section:
            self._end_section()
            self._section = section
            place = self._section_place()
            if CONTENT in self._notes:
                added, delta = "response.content_part.added", "response.reasoning_text.delta"
            else:
                added = "response.reasoning_summary_part.added"
                delta = "response.reasoning_summary_text.delta"
            self._emit(added, {**place, "part": self._section_part("")})
            self._set_template(delta, place)
        self._delta(text)

    def _section_place(self) -> JsonObject:
        key = "content_index" if CONTENT in self._notes else "summary_index"
        return {
            "item_id": self._item["id"],
            "output_index": len(self._items),
            key: len(self._sections),
        }

    def _section_part(self, text: str) -> JsonObject:
        kind = "reasoning_text" if CONTENT in self._notes else "summary_text"
        return {"type": kind, "text": text}

    def _end_section(self) -> None:
        if self._section is None:
            return
        text, place = "".join(self._pieces), self._section_place()
        stem = "response.reasoning_summary"
        if CONTENT in self._notes:
            self._emit("response.reasoning_text.done", {**place, "text": text})
            self._emit("response.content_part.done", {**place, "part": self._section_part(text)})
        else:
            self._emit(f"{stem}_text.done", {**place, "text": text})
            self._emit(f"{stem}_part.done", {**place, "part": self._section_part(text)})
        self._sections.append(text)
        self._pieces = []
        self._section = None

    def _end_thought(self, part: Reasoning) -> None:
        self._end_section()
        item: JsonObject = {**self._item}
        texts: list[Json] = [self._section_part(text) for text in self._sections]
        item["content" if CONTENT in self._notes else "summary"] = texts
        item.update(wire_fields(self._notes))
        encrypted = self._slot(part)
        if encrypted is not None:
            item["encrypted_content"] = encrypted
        self._close_item(item)

    def _slot(self, part: Reasoning) -> str | None:
        signature = self._signature
        if signature is not None and signature.issuer == ISSUER:
            return signature.value
        if signature is None and part.id is not None:
            return None  # this dialect's own thought, kept by the service
        extra: JsonObject = {}
        if part.redacted:
            extra["redacted"] = True
        if not part.summary and self._sections:
            extra["full"] = True
        return seal(signature or Signature("", ""), extra)

    # Calls and pictures ------------------------------------------------------------------------

    def _start_call(self, part: ToolCall, signature: Signature | None) -> None:
        raw = part.id or self._reply.new_id("call_")
        call_id = unique_id(fit_id(raw, RESPONSES_CALL), self._calls)
        if signature is not None:
            self._carry(signature, {"call": call_id})
            self._carried = True
        custom = part.kind == "custom"
        kind = "custom_tool_call" if custom else "function_call"
        given = self._notes.get("id")
        fresh = given if isinstance(given, str) else self._reply.new_id("ctc_" if custom else "fc_")
        item: JsonObject = {
            "id": fit_item_id(kind, fresh),
            "type": kind,
            "status": "in_progress",
            "call_id": call_id,
            "name": part.name,
            "input" if custom else "arguments": "",
        }
        if part.namespace is not None:
            item["namespace"] = part.namespace
        self._item = self._add_item(item)
        self._part = part
        stem = "response.custom_tool_call_input" if custom else "response.function_call_arguments"
        place: JsonObject = {"item_id": item["id"], "output_index": len(self._items)}
        self._set_template(f"{stem}.delta", place)
        if part.arguments:
            self._delta(part.arguments)

    def _end_call(self, part: ToolCall) -> None:
        custom = part.kind == "custom"
        if not custom and not self._pieces:
            self._delta("{}")
        text = "".join(self._pieces)
        place: JsonObject = {"item_id": self._item["id"], "output_index": len(self._items)}
        if custom:
            self._emit("response.custom_tool_call_input.done", {**place, "input": text})
        else:
            # Some versions of the official SDK want the name here, others do not know it.
            fields: JsonObject = {**place, "name": part.name, "arguments": text}
            self._emit("response.function_call_arguments.done", fields)
        extra = {k: v for k, v in wire_fields(self._notes).items() if k not in ("id", "status")}
        key = "input" if custom else "arguments"
        self._close_item({**self._item, **extra, "status": "completed", key: text})
        if self._signature is not None and not self._carried:
            self._carry(self._signature, {"call": self._item["call_id"]})

    def _show(self, part: Media) -> None:
        item = encode_image_call(part)
        if item is None:
            self._losses.add(f"output[{len(self._items)}]", "not known to this dialect")
            return
        item.setdefault("id", self._reply.new_id("ig_"))
        self._add_item({**item, "status": "in_progress", "result": None})
        place: JsonObject = {"item_id": item["id"], "output_index": len(self._items)}
        self._emit("response.image_generation_call.completed", place)
        self._close_item(item)


def _ahead(events: Sequence[Event], place: int, signature: Signature | None) -> Signature | None:
    """Return the signature of the part that starts at ``place``, if it is known by now."""
    if signature is not None:
        return signature
    for event in islice(events, place + 1, None):
        match event:
            case SignatureDelta(signature=found):
                return found
            case PartEnded() | PartStarted():
                return None
            case _:
                pass
    return None


def _escape(data: bytes) -> bytes:
    # Some clients split lines at these two characters, which JSON may hold raw.
    if b"\xe2" in data:  # one byte is found several times as fast as three
        return data.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return data
