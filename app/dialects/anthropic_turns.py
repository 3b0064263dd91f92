"""A conversation's messages as Anthropic takes them.

The service wants a user message first, tool results before anything else in theirs, no blank
text, unique call ids, and only thought that it signed itself. Its words for each rule stand where
the rule is kept.
"""

from __future__ import annotations

import base64
import binascii
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from app.canonical.ids import ANTHROPIC_CALL, fit_id
from app.canonical.parts import (
    CacheMark,
    Json,
    JsonObject,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from app.canonical.request import Message
from app.dialects.anthropic_values import (
    JOIN,
    LIST,
    NAME,
    TOOL_NAME,
    Outgoing,
    has_mark,
    own_fields,
    parse_arguments,
)
from app.dialects.values import unique_id
from app.errors import TranslationError

__all__ = [
    "Turn",
    "TurnWriter",
    "lacks_thought",
    "marked",
    "plain_text",
    "render_turn",
]


_IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")


@dataclass(slots=True)
class Turn:
    """One wire message in the making."""

    role: str
    blocks: list[JsonObject]
    extras: JsonObject
    listed: bool
    """The client wrote the content as a list, though a string would do."""


class TurnWriter:
    """Writes the messages of one request."""

    __slots__ = ("_answered", "_ids", "_out", "_pending")

    def __init__(self, out: Outgoing) -> None:
        self._out = out
        self._ids: set[str] = set()
        self._pending: dict[str, deque[tuple[str, str]]] = {}
        self._answered: dict[str, str] = {}

    def write(self, kept: list[tuple[int, Message]]) -> list[Turn]:
        """Return the wire messages.

        Args:
            kept: messages with their index in the request; system ones only where they may stay.

        Raises:
            TranslationError: content that cannot be expressed.
        """
        turns: list[Turn] = []
        for index, message in kept:
            self._add_turn(turns, index, message)
        self._begin_with_user(turns)
        self._trim_prefill(turns)
        return turns

    def _add_turn(self, turns: list[Turn], index: int, message: Message) -> None:
        role = {"tool": "user", "developer": "system"}.get(message.role, message.role)
        if message.name is not None:
            self._out.losses.add(f"messages[{index}].name", "not known to this dialect")
        blocks: list[JsonObject] = []
        for j, part in enumerate(message.parts):
            block = self._part(part, f"messages[{index}].content[{j}]", role)
            if block is not None:
                blocks.append(block)
        extras = own_fields(message.native)
        listed = any(has_mark(p.native, LIST) for p in message.parts if isinstance(p, Text))
        same = bool(turns) and turns[-1].role == role
        if same and (not self._out.own or has_mark(message.native, JOIN)):
            _join(turns[-1], blocks, results_first=not self._out.own)
        elif blocks or (self._out.own and not message.parts):
            turns.append(Turn(role, blocks, extras, listed or not blocks))

    def _begin_with_user(self, turns: list[Turn]) -> None:
        first = next((i for i, turn in enumerate(turns) if turn.role != "system"), len(turns))
        if first == len(turns) or turns[first].role == "assistant":
            # The service wants a user message first; a full stop says least.
            turns.insert(first, Turn("user", [{"type": "text", "text": "."}], {}, False))
            self._out.losses.add(
                "messages[0]", "a user message was put first, as the service demands"
            )

    def _trim_prefill(self, turns: list[Turn]) -> None:
        # "final assistant content cannot end with trailing whitespace"
        last = turns[-1]
        if last.role != "assistant" or not last.blocks:
            return
        text = last.blocks[-1].get("text")
        if last.blocks[-1].get("type") == "text" and isinstance(text, str):
            trimmed = text.rstrip()
            if trimmed != text:
                last.blocks[-1]["text"] = trimmed
                self._out.losses.add(
                    "messages[-1]", "white space at the end of a prefill is refused"
                )

    def _part(self, part: Part, path: str, role: str) -> JsonObject | None:
        match part:
            case Text():
                return self.text(part, path)
            case Refusal(text=text):
                return {"type": "text", "text": text} if text.strip() else None
            case Reasoning():
                return self._reasoning(part, path)
            case ToolCall():
                return self._call(part, path)
            case ToolResult():
                return self._result(part, path)
            case Media():
                if role != "user" and not self._out.own:
                    raise TranslationError(f"{part.kind} in {role} messages is refused.", path)
                return self._media(part, path)
            case Opaque(dialect=dialect, body=body):
                if dialect != NAME:
                    raise TranslationError(_foreign_block(dialect, body), path)
                return dict(body)

    def text(self, part: Text, path: str) -> JsonObject | None:
        """Return a text block, or None for a text that the service would refuse."""
        if part.signature is not None:
            self._out.losses.add(f"{path}.signature", "no place for it in this dialect")
        if not part.text.strip():
            # "text content blocks must be non-empty", "must contain non-whitespace text"
            if part.text:
                self._out.losses.add(path, "blank text is refused")
            return None
        block: JsonObject = {"type": "text", "text": part.text}
        block.update(own_fields(part.native))
        return marked(block, part.cache)

    def _reasoning(self, part: Reasoning, path: str) -> JsonObject | None:
        signature = part.signature
        if signature is None or signature.issuer != self._out.target.issuer:
            self._out.losses.add(path, "thought that this service did not sign is refused")
            return None
        if part.redacted:
            block: JsonObject = {"type": "redacted_thinking", "data": signature.value}
        else:
            block = {"type": "thinking", "thinking": part.text, "signature": signature.value}
        block.update(own_fields(part.native))
        return block

    def _call(self, part: ToolCall, path: str) -> JsonObject:
        if part.kind == "custom" or part.namespace is not None:
            raise TranslationError("Free-text and namespaced tools are not known here.", path)
        if not TOOL_NAME.fullmatch(part.name):
            raise TranslationError(f"{part.name!r} is no tool name that is accepted here.", path)
        if part.signature is not None:
            self._out.losses.add(f"{path}.signature", "no place for it in this dialect")
        block: JsonObject = {
            "type": "tool_use",
            "id": self._call_id(part, path),
            "name": part.name,
            "input": self._input(part.arguments, path),
        }
        block.update(own_fields(part.native))
        return marked(block, part.cache)

    def _input(self, arguments: str, path: str) -> JsonObject:
        value = parse_arguments(arguments)
        if value is None:
            self._out.losses.add(f"{path}.arguments", "no JSON object; carried as text under _raw")
            return {"_raw": arguments}
        return value

    def _call_id(self, part: ToolCall, path: str) -> str:
        wanted = part.id or f"{path} {part.name}"
        made = unique_id(fit_id(wanted, ANTHROPIC_CALL), self._ids)
        self._pending.setdefault(part.id, deque()).append((made, part.name))
        return made

    def _result_id(self, part: ToolResult, path: str) -> str:
        """Return the id of the call that a result answers; results of equal ids go in order."""
        queue = self._pending.get(part.call_id)
        if not queue:
            last = self._answered.get(part.call_id)
            return last or fit_id(part.call_id or path, ANTHROPIC_CALL)
        named = next((entry for entry in queue if entry[1] == part.name), queue[0])
        queue.remove(named)
        self._answered[part.call_id] = named[0]
        return named[0]

    def _result(self, part: ToolResult, path: str) -> JsonObject:
        block: JsonObject = {"type": "tool_result", "tool_use_id": self._result_id(part, path)}
        block.update(own_fields(part.native))
        content = self._result_content(part, path)
        if part.is_error:
            block["is_error"] = True
            if not content:
                # "content cannot be empty if `is_error` is true"
                content = "The tool failed."
                self._out.losses.add(path, "an error without a text is refused; a text was added")
        if content:
            block["content"] = content
        return marked(block, part.cache)

    def _result_content(self, part: ToolResult, path: str) -> Json:
        parts = part.content
        if len(parts) == 1 and isinstance(lone := parts[0], Text):
            simple = lone.cache is None and not own_fields(lone.native)
            if simple and not has_mark(lone.native, LIST):
                return lone.text
        blocks: list[Json] = []
        for j, item in enumerate(parts):
            where = f"{path}.content[{j}]"
            match item:
                case Text():
                    block = self.text(item, where)
                case Media():
                    block = self._media(item, where)
                case Opaque(dialect=dialect, body=body) if dialect == NAME:
                    block = dict(body)
                case Opaque(dialect=dialect, body=body):
                    raise TranslationError(_foreign_block(dialect, body), where)
                case _:
                    raise TranslationError("A tool result may hold text and media only.", where)
            if block is not None:
                blocks.append(block)
        return blocks

    def _media(self, part: Media, path: str) -> JsonObject:
        allowed = {"image": self._out.profile.images, "document": self._out.profile.documents}
        if part.kind not in allowed:
            raise TranslationError(f"{part.kind} is not taken by Anthropic's API.", path)
        if not allowed[part.kind]:
            raise TranslationError(f"{self._out.request.model} takes no {part.kind}s.", path)
        if part.detail not in (None, "auto"):
            self._out.losses.add(f"{path}.detail", "not known to this dialect")
        fields = own_fields(part.native)
        source = fields.pop("source", None) or self._source(part, path)
        block: JsonObject = {"type": part.kind, "source": source}
        if part.kind == "document" and part.name is not None:
            block["title"] = part.name
        block.update(fields)
        return marked(block, part.cache)

    def _source(self, part: Media, path: str) -> JsonObject:
        if part.text is not None:
            return {"type": "text", "media_type": "text/plain", "data": part.text}
        if part.url is not None:
            if not part.url.startswith(("https://", "http://")):
                raise TranslationError("Only http and https addresses can be read here.", path)
            return {"type": "url", "url": part.url}
        if part.file_id is not None:
            if not self._out.own:
                raise TranslationError("A file stored at another service cannot be read.", path)
            return {"type": "file", "file_id": part.file_id}
        data = part.data or ""
        media_type = (part.media_type or _sniff(data)).partition(";")[0].strip().lower()
        if media_type == "image/jpg":
            media_type = "image/jpeg"
        if part.kind == "image" and media_type in _IMAGE_TYPES:
            return {"type": "base64", "media_type": media_type, "data": data}
        if part.kind == "document" and media_type == "application/pdf":
            return {"type": "base64", "media_type": media_type, "data": data}
        if part.kind == "document" and _is_textual(media_type):
            return {"type": "text", "media_type": "text/plain", "data": _decode_base64(data, path)}
        raise TranslationError(
            f"{media_type or 'Data of unknown type'} is not taken as {part.kind}.",
            path,
            hint="Images may be JPEG, PNG, GIF or WebP, documents PDF or text.",
        )


def render_turn(turn: Turn) -> Json:
    """Return a wire message; a lone plain text is a string unless the client wrote a list."""
    content: Json = list(turn.blocks)
    if len(turn.blocks) == 1 and not turn.listed:
        text = plain_text(turn.blocks[0])
        content = content if text is None else text
    return {"role": turn.role, "content": content, **turn.extras}


def plain_text(block: Json) -> str | None:
    """Return the text of a block that says nothing more."""
    if isinstance(block, dict) and len(block) == 2 and block.get("type") == "text":
        text = block.get("text")
        return text if isinstance(text, str) else None
    return None


def _join(turn: Turn, blocks: list[JsonObject], *, results_first: bool) -> None:
    """Add blocks to a turn; tool results must come before anything else in theirs."""
    if not results_first:
        turn.blocks.extend(blocks)
        return
    mixed = turn.blocks + blocks
    turn.blocks = [b for b in mixed if b.get("type") == "tool_result"]
    turn.blocks += [b for b in mixed if b.get("type") != "tool_result"]


def lacks_thought(turns: list[Turn]) -> bool:
    """Say whether the tool turn in progress began without thought.

    The service wants the assistant's part of the current turn (everything since the last user
    message that holds no tool results) to begin with a thinking block while thinking is enabled.
    """
    first: Turn | None = None
    for turn in reversed(turns):
        if turn.role == "assistant":
            first = turn
        elif turn.role == "user" and not any(b.get("type") == "tool_result" for b in turn.blocks):
            break
    if first is None or not any(b.get("type") == "tool_use" for b in first.blocks):
        return False
    return first.blocks[0].get("type") not in ("thinking", "redacted_thinking")


def _foreign_block(dialect: str, body: Mapping[str, Json]) -> str:
    kind = body.get("type")
    name = f"A {kind!r} block" if isinstance(kind, str) else "A block"
    return f"{name} of the {dialect} dialect has no counterpart here."


_MAGIC = {
    "/9j/": "image/jpeg",
    "iVBORw0KGgo": "image/png",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
    "JVBERi0": "application/pdf",
}


def _sniff(data: str) -> str:
    return next((kind for start, kind in _MAGIC.items() if data.startswith(start)), "")


def _is_textual(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type in ("application/json", "application/xml")


def _decode_base64(data: str, path: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode("utf-8")
    except (binascii.Error, ValueError) as error:
        raise TranslationError("The document is not base64 of UTF-8 text.", path) from error


def marked(block: JsonObject, cache: CacheMark | None) -> JsonObject:
    """Return the block with its cache mark: the client's own one, or a plain one."""
    own = block.pop("cache_control", None)
    if cache is not None:
        mark: JsonObject = {"type": "ephemeral"}
        if cache.ttl in ("5m", "1h"):
            mark["ttl"] = cache.ttl
        block["cache_control"] = own if own is not None else mark
    return block
