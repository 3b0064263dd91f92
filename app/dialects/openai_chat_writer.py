"""Chat streams for clients: events to chunks.

Everything of a delta chunk but the text is rendered once per stream.
"""

from __future__ import annotations

from collections.abc import Mapping

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
from app.canonical.fold import told_late
from app.canonical.loss import Loss
from app.canonical.parts import (
    Json,
    JsonObject,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)
from app.canonical.usage import Usage
from app.dialects.base import LossList, ReplyContext, dump
from app.dialects.citations import LOST, foreign_citations
from app.dialects.openai_chat_answer import (
    ANSWER_KEYS,
    answer_id,
    call_id_of,
    chat_annotations,
    finish_reason_of,
    first_choice,
    wants_functions,
)
from app.dialects.openai_chat_parts import call_signature, media_url
from app.dialects.openai_chat_thought import encode_usage, text_details, thought_details
from app.dialects.openai_chat_values import NAME, own_fields
from app.dialects.openai_errors import render_openai_error

__all__ = ["ChatStreamEncoder", "escape_lines"]

_DONE = b"data: [DONE]\n\n"
_PING = b": ping\n\n"
_LINE = b"\xe2\x80\xa8"
_PARAGRAPH = b"\xe2\x80\xa9"


def escape_lines(data: bytes) -> bytes:
    """Escape U+2028 and U+2029, at which some clients split lines; only JSON may hold them."""
    # One byte is found several times as fast as three, and most answers have none of it.
    if b"\xe2" in data and (_LINE in data or _PARAGRAPH in data):
        return data.replace(_LINE, b"\\u2028").replace(_PARAGRAPH, b"\\u2029")
    return data


class ChatStreamEncoder:
    """Encodes one client stream."""

    __slots__ = (
        "_calls",
        "_chars",
        "_cited",
        "_content",
        "_done",
        "_head",
        "_legacy",
        "_losses",
        "_open",
        "_piece",
        "_piece_end",
        "_refused",
        "_reply",
        "_section",
        "_signed",
        "_size",
        "_tail",
        "_text_at",
        "_thought",
        "_usage",
    )

    def __init__(self, reply: ReplyContext) -> None:
        self._reply = reply
        self._legacy = wants_functions(reply)
        self._head = b""
        self._tail = b""
        self._content = b""
        self._thought = b""
        self._piece = self._piece_end = b""
        """Begin and end of the open call's argument chunks."""
        self._open: Part | None = None
        self._calls = 0
        self._chars = 0
        """Characters of content so far, from which citations count."""
        self._cited: list[Json] = []
        self._losses = LossList()
        self._size = 0
        self._signed: Signature | None = None
        self._section = 0
        self._text_at = 0
        self._usage: Usage | None = None
        self._refused = False
        self._done = False

    def encode(self, events: list[Event]) -> bytes:
        """Return the wire form of all the events."""
        out: list[bytes] = []
        for event in events:
            if type(event) is TextDelta:
                if type(self._open) is Refusal:
                    out.append(self._delta({"refusal": event.text}))
                else:
                    self._chars += len(event.text)
                    out.append(self._content + dump(event.text) + self._tail)
            elif type(event) is ArgumentsDelta:
                self._size += len(event.text)
                if self._piece:
                    out.append(self._piece + dump(event.text) + self._piece_end)
            elif type(event) is ReasoningDelta:
                out.append(self._reasoning(event))
            elif not self._done:
                out.append(self._other(event))
        return escape_lines(b"".join(out))

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What this dialect could not say so far."""
        return self._losses.done()

    def ping(self) -> bytes:
        """Return a comment."""
        return _PING

    def _other(self, event: Event) -> bytes:
        match event:
            case Started():
                return self._start(event.id, own_fields(event.native))
            case PartStarted(part=part):
                return self._begin(part)
            case SignatureDelta(signature=signature):
                if isinstance(self._open, Reasoning):
                    self._open = told_late(self._open, event)
                return self._signature(signature)
            case Annotated(native=native):
                self._cited.extend(foreign_citations(native, NAME))
                return b""
            case PartEnded():
                return self._end()
            case UsageSeen(usage=usage):
                self._usage = usage
                return b""
            case Finished():
                return self._finish(event)
            case Failed(failure=failure):
                self._done = True
                return b"data: %b\n\n" % dump({"error": render_openai_error(failure)}) + _DONE
            case Ping():
                return _PING
            case _:
                return b""

    def _start(self, response_id: str, extras: Mapping[str, Json]) -> bytes:
        base: JsonObject = {
            "id": answer_id(response_id, self._reply),
            "object": "chat.completion.chunk",
            "created": int(self._reply.created),
            "model": self._reply.model,
        }
        base.update({k: v for k, v in extras.items() if k not in ANSWER_KEYS and k[0:1] != "$"})
        self._head = b"data: " + dump(base)[:-1] + b',"choices":'
        self._tail = b'},"finish_reason":null}]}\n\n'
        self._content = self._head + b'[{"index":0,"delta":{"content":'
        self._thought = self._head + b'[{"index":0,"delta":{"reasoning_content":'
        return self._delta({"role": "assistant", "content": ""})

    def _delta(self, delta: Mapping[str, Json]) -> bytes:
        return self._head + b'[{"index":0,"delta":' + dump(delta)[:-1] + self._tail

    def _reasoning(self, event: ReasoningDelta) -> bytes:
        text = event.text
        if event.section > self._section:
            self._section = event.section
            if self._size:
                text = "\n\n" + text
        self._size += len(text)
        return self._thought + dump(text) + self._tail

    def _begin(self, part: Part) -> bytes:
        self._open = part
        self._refused = self._refused or isinstance(part, Refusal)
        self._size = self._section = 0
        self._signed = None
        self._start_text(part)
        match part:
            case ToolCall():
                return self._begin_call(part)
            case Text(text=text) | Refusal(text=text):
                key = "refusal" if isinstance(part, Refusal) else "content"
                return self._delta({key: text}) if text else b""
            case Reasoning(text=text):
                self._size = len(text)
                return self._delta({"reasoning_content": text}) if text else b""
            case Media(kind="image"):
                image: JsonObject = {"url": media_url(part, "image/png")}
                return self._delta({"images": [{"type": "image_url", "image_url": image}]})
            case Media() | Opaque() | ToolResult():
                return b""

    def _start_text(self, part: Part) -> None:
        text = part.text if isinstance(part, Text) else ""
        self._cited = foreign_citations(part.native, NAME)[:] if isinstance(part, Text) else []
        self._text_at = self._chars
        self._chars += len(text)

    def _cite(self) -> bytes:
        size = self._chars - self._text_at
        notes, lost = chat_annotations(self._cited, size, self._text_at)
        self._cited = []
        if lost:
            self._losses.add("annotations", LOST)
        return self._delta({"annotations": notes}) if notes else b""

    def _begin_call(self, call: ToolCall) -> bytes:
        index = self._calls
        self._calls += 1
        self._size = len(call.arguments)
        if self._legacy:
            if index:
                self._piece = b""  # the old function form holds one call only
                return b""
            self._piece = self._head + b'[{"index":0,"delta":{"function_call":{"arguments":'
            self._piece_end = b"}" + self._tail
            function: JsonObject = {"name": call.name, "arguments": call.arguments}
            return self._delta({"function_call": function})
        kind, key = ("custom", "input") if call.kind == "custom" else ("function", "arguments")
        opening: JsonObject = {
            "index": index,
            "id": call_id_of(call, self._reply),
            "type": kind,
            kind: {"name": call.name, key: call.arguments},
        }
        self._piece = self._head + b'[{"index":0,"delta":{"tool_calls":[{"index":%d,"%b":{"%b":' % (
            index,
            kind.encode(),
            key.encode(),
        )
        self._piece_end = b"}}]" + self._tail
        begun = self._delta({"tool_calls": [opening]})
        if call.signature is not None:
            begun += self._signature(call.signature)
        return begun

    def _signature(self, signature: Signature) -> bytes:
        part = self._open
        if isinstance(part, ToolCall):
            if self._legacy:
                return b""
            google: JsonObject = {"google": {"thought_signature": call_signature(signature)}}
            # OpenAI's own stream helper reads the call's body in every delta of it.
            body: JsonObject = (
                {"custom": {"input": ""}}
                if part.kind == "custom"
                else {"function": {"arguments": ""}}
            )
            item: JsonObject = {"index": self._calls - 1, **body, "extra_content": google}
            return self._delta({"tool_calls": [item]})
        self._signed = signature
        return b""

    def _end(self) -> bytes:
        part, signed = self._open, self._signed
        self._open = self._signed = None
        out = b""
        if isinstance(part, Text | Reasoning):
            signed = signed or part.signature
        if isinstance(part, Reasoning) and signed is not None:
            if details := thought_details(part, signed, self._size):
                out = self._delta({"reasoning_details": details})
        elif isinstance(part, Text) and signed is not None:
            out = self._delta({"reasoning_details": text_details(signed)})
        elif isinstance(part, ToolCall) and part.kind == "function" and not self._size:
            out = self._piece + b'"{}"' + self._piece_end if self._piece else b""
        self._piece = b""
        return out + self._cite() if self._cited else out

    def _finish(self, event: Finished) -> bytes:
        self._done = True
        fields = own_fields(event.native)
        inner = first_choice(event.native)
        delta = inner.get("message")
        finish = finish_reason_of(event.stop, refused=self._refused)
        if self._legacy and finish == "tool_calls":
            finish = "function_call"
        choice: JsonObject = {
            "index": 0,
            "delta": delta if isinstance(delta, dict) else {},
            "finish_reason": finish,
        }
        choice.update({k: v for k, v in inner.items() if k not in ("message", *choice)})
        extras = {k: v for k, v in fields.items() if k not in ANSWER_KEYS and k[0:1] != "$"}
        more = b"," + dump(extras)[1:-1] if extras else b""
        out = self._head + dump([choice]) + more + b"}\n\n"
        usage = event.usage or self._usage
        if self._reply.include_usage and usage is not None:
            counts = encode_usage(usage, fields.get("usage"))
            out += self._head + b'[],"usage":' + dump(counts) + b"}\n\n"
        return out + _DONE
