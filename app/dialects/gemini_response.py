"""Gemini's whole answers to canon and back.

The canon's answer is the first candidate; further ones stay in ``native``. There too stay what
the canon does not name: fields of the body under their names, those of the candidate under
``candidate``, of its content under ``content``, of the counts under ``usageMetadata``, and the
word of a ``finishReason`` that the canon's stop reason does not give back.

Counts: Google's prompt count includes the cached part and excludes the prompt of tools that it
ran itself; its candidates' count excludes thought.

Source: https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse and the types of
google-genai 3.4 (read November 2026).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import msgspec

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
    ToolResult,
)
from app.canonical.response import ChatResponse, StopReason
from app.canonical.usage import Usage
from app.dialects.base import Encoded, Ending, LossList, ReplyContext
from app.dialects.citations import note_lost
from app.dialects.gemini_parts import (
    DIALECT,
    call_body,
    decode_part,
    fields,
    integer,
    media_body,
    own_fields,
    seal_reasoning,
    seal_signature,
)
from app.dialects.values import need_list, need_text, unique_id
from app.errors import RequestError, UpstreamError

__all__ = [
    "FINISH",
    "Answer",
    "decode_response",
    "encode_part",
    "encode_response",
    "encode_usage",
    "read_ending",
    "read_usage",
]

_STOPS: dict[str, StopReason] = {
    "STOP": "end",
    "MAX_TOKENS": "max_tokens",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "ESCALATION": "content_filter",
    "PUP_LIMITED_DISABLED": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "CONTINUATION": "pause",
}
_SPOILT = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE",
    }
)
"""The model wrote something that the service could not read: another try may succeed."""
FINISH: dict[StopReason, str] = {
    "end": "STOP",
    "max_tokens": "MAX_TOKENS",
    "stop_sequence": "STOP",
    "tool_use": "STOP",
    "refusal": "SAFETY",
    "content_filter": "SAFETY",
    "pause": "CONTINUATION",
    "context_full": "MAX_TOKENS",
}
_ABSENT = msgspec.Raw()
_BLOCKED: Mapping[str, Json] = {"promptFeedback": True}
"""Marks the part that repeats why a prompt was blocked; the wire says it in promptFeedback."""


def read_usage(value: Json) -> tuple[Usage, JsonObject]:
    """Read ``usageMetadata``: the counts, and the fields to keep for this dialect.

    Raises:
        RequestError: a count is no number.
    """
    path = "usageMetadata"
    rest = fields(value, path)

    def count(key: str) -> int | None:
        return max(integer(rest.pop(key), f"{path}.{key}"), 0) if key in rest else None

    prompt = count("promptTokenCount") or 0
    cached = min(count("cachedContentTokenCount") or 0, prompt)
    answer = count("candidatesTokenCount") or 0
    thought = count("thoughtsTokenCount")
    tools = count("toolUsePromptTokenCount")
    total = count("totalTokenCount")
    usage = Usage(
        input=prompt - cached + (tools or 0),
        cache_read=cached,
        output=answer + (thought or 0),
        reasoning=thought,
    )
    if tools is not None:
        rest["toolUsePromptTokenCount"] = tools
    if total is not None and total != usage.total:
        rest["totalTokenCount"] = total
    return usage, rest


def encode_usage(usage: Usage, kept: Json = None) -> JsonObject:
    """Return ``usageMetadata``; ``kept`` are the fields that ``read_usage`` left over."""
    rest = kept if isinstance(kept, dict) else {}
    tools = rest.get("toolUsePromptTokenCount", 0)
    prompt = usage.prompt - (tools if isinstance(tools, int) else 0)
    body: JsonObject = {"promptTokenCount": max(prompt, 0)}
    if usage.cache_read:
        body["cachedContentTokenCount"] = usage.cache_read
    answer = max(usage.output - (usage.reasoning or 0), 0)
    if answer:
        body["candidatesTokenCount"] = answer
    if usage.reasoning is not None:
        body["thoughtsTokenCount"] = usage.reasoning
    body["totalTokenCount"] = usage.total
    return {**body, **rest}


@dataclass(slots=True)
class Answer:
    """What is gathered of an answer beside its parts, from one body or from many chunks."""

    id: str = ""
    model: str = ""
    created: float | None = None
    reason: str | None = None
    """The last ``finishReason``."""
    top: JsonObject = field(default_factory=dict)
    candidate: JsonObject = field(default_factory=dict)
    content: JsonObject = field(default_factory=dict)
    usage: Usage | None = None
    usage_rest: JsonObject = field(default_factory=dict)
    calls: bool = False
    """A tool call was seen."""
    filled: bool = False
    """Anything but thought was seen."""
    bare: bool = False
    """There is a candidate, but it never had content."""
    chosen: bool = False
    taken: set[str] = field(default_factory=set)

    def take_body(self, body: JsonObject) -> JsonObject | None:
        """Read the fields of a body or chunk; return its first candidate, if any.

        Raises:
            RequestError: the body does not follow the dialect.
        """
        top = dict(body)
        candidates = top.pop("candidates", [])
        self.id = need_text(top.pop("responseId", self.id), "responseId")
        self.model = need_text(top.pop("modelVersion", self.model), "modelVersion")
        if "createTime" in top:
            self._take_time(need_text(top.pop("createTime"), "createTime"))
        if "usageMetadata" in top:
            self.usage, self.usage_rest = read_usage(top.pop("usageMetadata"))
        self.top.update(top)
        chosen: JsonObject | None = None
        others: list[Json] = []
        for number, item in enumerate(need_list(candidates, "candidates")):
            candidate = fields(item, f"candidates[{number}]")
            if chosen is None and candidate.get("index", 0) == 0:
                chosen = candidate
            else:
                others.append(item)
        if others:
            self.top["candidates"] = others
        return None if chosen is None else self._take_candidate(chosen)

    def _take_candidate(self, chosen: JsonObject) -> JsonObject:
        candidate = dict(chosen)
        if "finishReason" in candidate:
            self.reason = need_text(candidate.pop("finishReason"), "candidates[0].finishReason")
        self.bare = "content" not in candidate and (self.bare or not self.chosen)
        self.chosen = True
        if candidate.get("index") == 0:
            del candidate["index"]  # written for every answer
        content = fields(candidate.pop("content", {}), "candidates[0].content")
        parts = content.pop("parts", [])
        if content.get("role") == "model":
            del content["role"]
        self.content.update(content)
        self.candidate.update(candidate)
        return {"parts": parts}

    def _take_time(self, text: str) -> None:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.top["createTime"] = text
            return
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        self.created = moment.timestamp()
        if render_time(self.created) != text:
            self.top["createTime"] = text  # more digits than a float holds

    def take_part(self, part: Part) -> Part:
        """Note a part; return it with an id that no other call has."""
        if isinstance(part, ToolCall):
            self.calls = True
            part = replace(part, id=unique_id(part.id, self.taken))
        if not isinstance(part, Reasoning) and not (isinstance(part, Text) and not part.text):
            self.filled = True
        return part

    @property
    def blocked(self) -> bool:
        """Whether the prompt was refused before anything was generated."""
        return not self.chosen and _says_blocked(self.top.get("promptFeedback"))

    def blocked_part(self) -> Refusal | None:
        """Return the service's words about a blocked prompt."""
        feedback = self.top.get("promptFeedback")
        words = feedback.get("blockReasonMessage") if isinstance(feedback, dict) else None
        if not isinstance(words, str) or not words:
            return None
        return Refusal(words, Native(DIALECT, _BLOCKED))

    def stop(self) -> StopReason:
        """Return why the answer ended.

        Raises:
            UpstreamError: the model wrote what the service could not read, and nothing else.
        """
        if self.blocked:
            return "content_filter"
        if self.reason in _SPOILT and not self.filled:
            words = self.candidate.get("finishMessage")
            detail = f" {words}" if isinstance(words, str) else ""
            raise UpstreamError(
                f"The model's answer could not be read by its service ({self.reason}).{detail}",
                code="malformed_answer",
            )
        stop = _STOPS.get(self.reason or "STOP", "end")
        return "tool_use" if stop == "end" and self.calls and self.reason == "STOP" else stop

    def native(self, stop: StopReason) -> Native | None:
        """Return the fields to be written back by this dialect."""
        kept: JsonObject = dict(self.top)
        if self.candidate:
            kept["candidate"] = self.candidate
        if self.content or self.bare:
            kept["content"] = self.content or None
        if self.usage_rest:
            kept["usageMetadata"] = self.usage_rest
        if self.reason is not None and FINISH[stop] != self.reason:
            kept["finishReason"] = self.reason
        return Native(DIALECT, kept) if kept else None


def _says_blocked(feedback: Json) -> bool:
    return isinstance(feedback, dict) and bool(feedback.keys() & {"blockReason", "block_reason"})


def render_time(created: float) -> str | None:
    """Return epoch seconds as RFC 3339; None when no calendar has them."""
    if not 0 <= created < 253402300800:
        return None
    return datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z")


def decode_response(body: JsonObject, issuer: str) -> ChatResponse:
    """Wire to canon.

    Raises:
        UpstreamError: the body does not follow the dialect, or holds nothing that was meant.
    """
    try:
        return _decode(body, issuer)
    except RequestError as error:
        raise UpstreamError(
            f"The service's answer cannot be read: {error.message}", code="malformed_answer"
        ) from error


def _decode(body: JsonObject, issuer: str) -> ChatResponse:
    answer = Answer()
    candidate = answer.take_body(fields(body, "body"))
    if candidate is None and not answer.blocked:
        raise UpstreamError("The service's answer has no candidates.", code="malformed_answer")
    parts: list[Part] = []
    if candidate is None:
        told = answer.blocked_part()
        if told is not None:
            parts.append(told)
    else:
        where = "candidates[0].content.parts"
        for number, item in enumerate(need_list(candidate["parts"], where)):
            found = decode_part(item, f"{where}[{number}]", lambda v: (Signature(issuer, v), None))
            parts.extend(answer.take_part(part) for part in found)
    stop = answer.stop()
    return ChatResponse(
        id=answer.id,
        model=answer.model,
        parts=tuple(parts),
        stop=stop,
        usage=answer.usage,
        created=answer.created,
        native=answer.native(stop),
    )


class _Part(msgspec.Struct, gc=False, rename="camel"):
    function_call: msgspec.Raw = _ABSENT
    old_call: msgspec.Raw = msgspec.field(default=_ABSENT, name="function_call")


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, gc=False, rename="camel"):
    index: int | None = None
    finish_reason: str | None = None
    content: _Content | None = None


class _Ending(msgspec.Struct, gc=False, rename="camel"):
    candidates: list[_Candidate] | None = None
    usage_metadata: msgspec.Raw = _ABSENT


_decode_ending = msgspec.json.Decoder(_Ending).decode


def read_ending(raw: bytes) -> Ending | None:
    """Read usage and stop reason of a whole answer; see ``Dialect.read_ending``."""
    try:
        answer = _decode_ending(raw)
        counts = (
            None if answer.usage_metadata is _ABSENT else msgspec.json.decode(answer.usage_metadata)
        )
        usage = None if counts is None else read_usage(counts)[0]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, RequestError):
        return None
    candidates = answer.candidates or ()
    if len(candidates) != 1 or candidates[0].index or candidates[0].finish_reason in _SPOILT:
        return None
    content = candidates[0].content
    parts = (content.parts if content is not None else None) or ()
    if any(p.function_call is not _ABSENT or p.old_call is not _ABSENT for p in parts):
        return None  # a call among other kinds in one part is none
    return Ending(usage, stop_of(candidates[0].finish_reason))


def is_blocked_part(part: Part) -> bool:
    """Say whether a part only repeats ``promptFeedback``."""
    return isinstance(part, Refusal) and own_fields(part.native) == _BLOCKED


def encode_part(part: Part, reply: ReplyContext) -> JsonObject | None:
    """Return a part for a client, signature included; None for what this dialect cannot say.

    A thought without text whose signature another service issued is the caller's business: it
    travels on the part behind it.
    """
    match part:
        case Text(text=text, signature=signature):
            return _signed({"text": text, **own_fields(part.native)}, signature)
        case Refusal(text=text):
            return {"text": text}
        case Reasoning(text=text, signature=signature):
            body: JsonObject = {"text": text, "thought": True, **own_fields(part.native)}
            if signature is not None:
                body["thoughtSignature"] = seal_reasoning(part, signature, ahead=False)
            return body
        case ToolCall():
            body, _ = call_body(part, part.id or reply.new_id("call_"))
            return _signed(body, part.signature)
        case Media():
            # A file id means nothing to a client of another service.
            return None if part.file_id is not None else media_body(part, "", any_url=True)
        case Opaque(dialect=dialect, body=raw):
            return dict(raw) if dialect == DIALECT else None
        case ToolResult():
            return None


def _signed(body: JsonObject, signature: Signature | None) -> JsonObject:
    if signature is not None:
        body["thoughtSignature"] = seal_signature(signature)
    return body


def rides_ahead(part: Part) -> bool:
    """Say whether a thought has nothing to show and a foreign signature to carry."""
    return (
        isinstance(part, Reasoning)
        and not part.text
        and part.signature is not None
        and part.signature.issuer != "google"
    )


def encode_parts(parts: Iterable[Part], reply: ReplyContext, losses: LossList) -> list[JsonObject]:
    """Return all parts for a client; hidden thought rides on the call or text behind it."""
    bodies: list[JsonObject] = []
    waiting: Reasoning | None = None
    for number, part in enumerate(parts):
        if is_blocked_part(part):
            continue
        if isinstance(part, Reasoning) and rides_ahead(part):
            if waiting is not None:
                bodies.append(alone(waiting))
            waiting = part
            continue
        if isinstance(part, Text):
            note_lost(part.native, DIALECT, losses, f"content[{number}].citations")
        body = encode_part(part, reply)
        if body is None:
            losses.add(f"content[{number}]", "not known to this dialect")
            continue
        if waiting is not None:
            if isinstance(part, Text | ToolCall) and part.signature is None:
                body["thoughtSignature"] = ahead_of(waiting)
            else:
                bodies.append(alone(waiting))
            waiting = None
        bodies.append(body)
    if waiting is not None:
        bodies.append(alone(waiting))
    return bodies


def ahead_of(part: Reasoning) -> str:
    """Return the signature of a hidden thought, sealed for the part behind it."""
    return seal_reasoning(part, part.signature, ahead=True) if part.signature else ""


def alone(part: Reasoning) -> JsonObject:
    """Return a hidden thought as a part of its own."""
    sealed = seal_reasoning(part, part.signature, ahead=False) if part.signature else ""
    return {"text": "", "thought": True, "thoughtSignature": sealed}


def encode_response(response: ChatResponse, reply: ReplyContext) -> Encoded:
    """Canon to wire, for a client."""
    losses = LossList()
    bodies: list[Json] = [*encode_parts(response.parts, reply, losses)]
    kept = dict(own_fields(response.native))
    body = frame(
        bodies,
        FINISH[response.stop],
        kept,
        blocked=response.stop == "content_filter" and not bodies,
    )
    if response.usage is not None:
        body["usageMetadata"] = encode_usage(response.usage, kept.get("usageMetadata"))
    body["modelVersion"] = reply.model
    body["responseId"] = response.id or reply.new_id("resp_")
    created = None if response.created is None else render_time(response.created)
    if created is not None:
        body.setdefault("createTime", created)
    return Encoded(body, losses.done())


_TOLD = ("candidate", "content", "usageMetadata", "finishReason", "candidates")


def stop_of(reason: object) -> StopReason:
    """Return what a finish reason alone says; a call of tools is no reason of its own here."""
    return _STOPS.get(reason, "end") if isinstance(reason, str) else "end"


def frame(parts: list[Json], finish: str, kept: Mapping[str, Json], *, blocked: bool) -> JsonObject:
    """Return a body or last chunk without counts and names.

    Args:
        parts: of the first candidate.
        finish: the ``finishReason`` that the stop reason stands for.
        kept: this dialect's own fields of the answer.
        blocked: nothing was generated; with ``promptFeedback`` in ``kept`` there is no candidate.
    """
    rest = {key: value for key, value in kept.items() if key not in _TOLD}
    feedback = kept.get("promptFeedback")
    if blocked and "finishReason" not in kept and _says_blocked(feedback):
        return rest
    candidate: JsonObject = {"finishReason": kept.get("finishReason", finish), "index": 0}
    own_content = kept.get("content", {})
    if parts or own_content is not None:
        content: JsonObject = {"role": "model"}
        if parts:
            content["parts"] = parts
        if isinstance(own_content, dict):
            content.update(own_content)
        candidate["content"] = content
    own_candidate = kept.get("candidate")
    if isinstance(own_candidate, dict):
        candidate.update(own_candidate)
    others = kept.get("candidates")
    candidates: list[Json] = [candidate, *(others if isinstance(others, list) else ())]
    return {"candidates": candidates, **rest}
