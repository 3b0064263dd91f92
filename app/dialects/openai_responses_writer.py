"""A conversation as the input items of the Responses dialect.

Each part gives its item; the assistant's consecutive words share one. Fields that a client of
this dialect wrote on an item come back from the parts' native fields.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping

from app.canonical.ids import RESPONSES_CALL, fit_id
from app.canonical.parts import (
    Json,
    JsonObject,
    Media,
    Opaque,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from app.canonical.profile import Target
from app.canonical.request import Message
from app.dialects.base import LossList
from app.dialects.openai_responses_content import encode_content
from app.dialects.openai_responses_items import (
    encode_image_call,
    encode_result_output,
    encode_spoken,
    made_call_id,
    reasoning_body,
)
from app.dialects.openai_responses_values import (
    EASY,
    ISSUER,
    ITEM,
    ITEMS,
    NAME,
    STRING,
    UNSIGNED,
    VENDOR_FIELDS,
    fields_of,
    fit_item_id,
    wire_fields,
)
from app.dialects.values import unique_id
from app.errors import TranslationError

__all__ = ["encode_items"]


def encode_items(messages: tuple[Message, ...], target: Target, losses: LossList) -> list[Json]:
    """Return a conversation as input items.

    Raises:
        TranslationError: content that Responses cannot express.
    """
    writer = _Writer(target, losses)
    for number, message in enumerate(messages):
        writer.write(number, message)
    return writer.items


class _Writer:
    """Turns messages into items."""

    def __init__(self, target: Target, losses: LossList) -> None:
        self.items: list[Json] = []
        self._target = target
        self._losses = losses
        self._unique: set[str] = set()
        self._waiting: dict[str, deque[str]] = {}
        self._spoken: JsonObject | None = None
        self._made = False
        """The open message is ours, not one that the client wrote as an item."""
        self._content: list[Json] = []

    def write(self, number: int, message: Message) -> None:
        """Append the items of one message."""
        path = f"messages[{number}]"
        if message.name is not None:
            self._losses.add(f"{path}.name", "not known to this dialect")
        if message.role == "assistant":
            self._write_assistant(number, message, path)
        else:
            self._write_other(message, path)

    def _write_other(self, message: Message, path: str) -> None:
        fields = fields_of(message.native)
        role = "user" if message.role == "tool" else message.role
        content: list[Json] = []
        for number, part in enumerate(message.parts):
            place = f"{path}.content[{number}]"
            if isinstance(part, ToolResult):
                self._close_message(role, content, {})
                content = []
                self._write_result(part, place)
            elif isinstance(part, Opaque) and part.dialect == NAME and fields.get(ITEMS):
                self._put_opaque(part)
            else:
                content.append(encode_content(part, place))
        keep_empty = not message.parts and message.native is not None and ITEM not in fields
        if content or (keep_empty and fields):
            self._close_message(role, content, fields, keep_empty=True)

    def _close_message(
        self,
        role: str,
        content: list[Json],
        fields: Mapping[str, Json],
        *,
        keep_empty: bool = False,
    ) -> None:
        if not content and not keep_empty:
            return
        item: JsonObject = {} if fields.get(EASY) else {"type": "message"}
        item["role"] = role
        item["content"] = _shorten(content) if fields.get(STRING) else content
        self._add_fields(item, "message", fields)
        self.items.append(item)

    def _add_fields(self, item: JsonObject, kind: str, fields: Mapping[str, Json]) -> None:
        """Add an item's own fields; nulls that the service refuses when sent back are left out."""
        for key, value in wire_fields(fields).items():
            if key == "id" and isinstance(value, str):
                item["id"] = fit_item_id(kind, value)
            elif key in VENDOR_FIELDS and self._target.issuer != ISSUER:
                continue
            elif value is not None or (kind == "reasoning" and key in ("content",)):
                item[key] = value

    def _put_opaque(self, part: Opaque) -> None:
        item = {
            key: value
            for key, value in part.body.items()
            if not (key in ("id", "status") and value is None)
            and not (key in VENDOR_FIELDS and self._target.issuer != ISSUER)
        }
        self.items.append(item)

    def _write_assistant(self, number: int, message: Message, path: str) -> None:
        if not message.parts:
            item = fields_of(message.native).get(ITEM)
            if isinstance(item, dict):
                self._spoken = item
                self._end_spoken()
            return
        for place, part in enumerate(message.parts):
            where = f"{path}.content[{place}]"
            if isinstance(part, Text | Refusal):
                self._speak(part, where)
                continue
            self._end_spoken()
            match part:
                case ToolCall():
                    self._write_call(number, place, part, where)
                case Reasoning():
                    self._write_reasoning(part, where)
                case Opaque(dialect=dialect) if dialect == NAME:
                    self._put_opaque(part)
                case ToolResult():
                    self._write_result(part, where)
                case Media():
                    picture = encode_image_call(part)
                    if picture is None:
                        raise TranslationError(f"{where}: the assistant cannot say this.", where)
                    picture.setdefault("id", "ig_" + _digest(part.data or ""))
                    self.items.append(picture)
                case _:
                    raise TranslationError(
                        f"{where} holds a block that only its own service understands.", where
                    )
        self._end_spoken()

    def _speak(self, part: Text | Refusal, where: str) -> None:
        start = fields_of(part.native).get(ITEM)
        if isinstance(start, dict):
            self._end_spoken()
            self._spoken = start
            self._made = False
        elif self._spoken is None:
            self._made = True
            # The service's types want id and status of what the assistant said.
            self._spoken = {"id": "msg_" + _digest(f"{where}.{part.text}"), "status": "completed"}
        content = encode_spoken(part)
        if isinstance(part, Text):
            if part.signature is not None:
                self._losses.add(f"{where}.signature", "belongs to another service")
            if self._made:
                content.setdefault("annotations", [])
        self._content.append(content)

    def _end_spoken(self) -> None:
        if self._spoken is None:
            return
        fields, content = self._spoken, self._content
        self._spoken, self._content = None, []
        self._close_message("assistant", content, fields, keep_empty=True)

    def _write_call(self, message: int, place: int, part: ToolCall, where: str) -> None:
        if part.signature is not None:
            self._losses.add(f"{where}.signature", "belongs to another service")
        raw = part.id or made_call_id(message, place, part.name)
        call_id = unique_id(fit_id(raw, RESPONSES_CALL), self._unique)
        self._waiting.setdefault(part.id, deque()).append(call_id)
        if part.kind == "custom":
            item: JsonObject = {"type": "custom_tool_call", "input": part.arguments}
        else:
            item = {"type": "function_call", "arguments": part.arguments or "{}"}
        item["call_id"] = call_id
        item["name"] = part.name
        if part.namespace is not None:
            item["namespace"] = part.namespace
        self._add_fields(item, str(item["type"]), fields_of(part.native))
        self.items.append(item)

    def _write_result(self, part: ToolResult, where: str) -> None:
        if part.is_error:
            self._losses.add(f"{where}.is_error", "not known to this dialect")
        waiting = self._waiting.get(part.call_id)
        if waiting:
            call_id = waiting.popleft() if len(waiting) > 1 else waiting[0]
        else:
            call_id = fit_id(part.call_id, RESPONSES_CALL)
        custom = part.kind == "custom"
        item: JsonObject = {
            "type": "custom_tool_call_output" if custom else "function_call_output",
            "call_id": call_id,
            "output": encode_result_output(part, where),
        }
        fields = dict(fields_of(part.native))
        if "name" in fields:
            fields["name"] = part.name
        self._add_fields(item, str(item["type"]), fields)
        self.items.append(item)

    def _write_reasoning(self, part: Reasoning, where: str) -> None:
        fields = fields_of(part.native)
        signature = part.signature
        own = part.native is not None and part.native.dialect == NAME
        if signature is None and own and not fields.get(UNSIGNED):
            value = None  # a stored thought, named by its id
        elif signature is not None and signature.issuer == self._target.issuer:
            value = signature.value
        else:
            self._losses.add(where, "a thought of another service, which alone can read it")
            return
        item: JsonObject = {"type": "reasoning"}
        if part.id is not None:
            item["id"] = fit_item_id("reasoning", part.id)
        elif value is not None and not own:
            item["id"] = "rs_" + _digest(value)
        body = reasoning_body(part)
        item["summary"] = body.pop("summary")
        if value is not None:
            item["encrypted_content"] = value
        self._add_fields(item, "reasoning", body)
        self.items.append(item)


def _shorten(content: list[Json]) -> Json:
    """Return a single plain text as a string, as the client wrote it."""
    if len(content) == 1 and isinstance(content[0], dict):
        text = content[0].get("text")
        if isinstance(text, str):
            return text
    return content


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]
