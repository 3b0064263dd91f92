"""Requests of the Responses dialect: wire to canon.

Consecutive items of the assistant (thoughts, words, calls, hosted tools) become one message, and
consecutive tool outputs another; ``openai_responses_writer`` makes items of them again.

A foreign signature of a call or a text has no slot of its own here: it travels in a ``reasoning``
item with an empty summary, whose sealed content says which call (``{"call": id}``) or that it is
the neighbouring text (``{"text": true}``, with ``"after": true`` when it follows) it belongs to.

Source: https://platform.openai.com/docs/api-reference/responses/create and openai-python 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import get_args

from app.canonical.parts import (
    Json,
    JsonObject,
    Native,
    Opaque,
    Part,
    Refusal,
    Signature,
    Text,
    ToolCall,
)
from app.canonical.request import ChatRequest, Effort, Message, OutputFormat, ReasoningConfig, Role
from app.dialects.carrier import open_seal
from app.dialects.openai_responses_content import decode_content
from app.dialects.openai_responses_items import (
    decode_call,
    decode_image_call,
    decode_reasoning,
    decode_result,
    decode_spoken,
)
from app.dialects.openai_responses_tools import decode_tool_choice, decode_tools
from app.dialects.openai_responses_values import (
    CALL_TYPES,
    EASY,
    INPUT,
    ISSUER,
    ITEM,
    ITEMS,
    LOGPROBS,
    NAME,
    OUTPUT_TYPES,
    STORED,
    STRING,
    UNSIGNED,
    USER,
    fields_of,
    native_of,
)
from app.dialects.values import (
    need_list,
    need_object,
    need_text,
    opt_count,
    opt_flag,
    opt_number,
    opt_text,
    wrong,
)
from app.errors import RequestError

__all__ = ["decode_request"]


_CLIENT_ITEMS = (
    "mcp_approval_response",
    "compaction_trigger",
    "additional_tools",
    "configuration_update",
)
"""Items that the client makes and that do not end in ``_output``."""

_KNOWN = (
    "model",
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "max_output_tokens",
    "temperature",
    "top_p",
    "top_logprobs",
    "reasoning",
    "text",
    "stream",
    "prompt_cache_key",
    "service_tier",
    "metadata",
    "store",
)


def decode_request(body: JsonObject) -> ChatRequest:
    """Decode a body of ``POST /v1/responses``.

    Raises:
        RequestError: it does not follow the dialect; ``param`` says where.
    """
    native = {key: value for key, value in body.items() if key not in _KNOWN}
    include = native.get("include")
    instructions = opt_text(body, "instructions", "body")
    return ChatRequest(
        model=need_text(body.get("model"), "model"),
        messages=_decode_input(body),
        system=(Text(instructions),) if instructions else (),
        tools=decode_tools(body.get("tools")),
        tool_choice=decode_tool_choice(body.get("tool_choice")),
        parallel_tools=opt_flag(body, "parallel_tool_calls"),
        max_tokens=opt_count(body, "max_output_tokens"),
        temperature=_optional_number(body, "temperature"),
        top_p=_optional_number(body, "top_p"),
        logprobs=True if isinstance(include, list) and LOGPROBS in include else None,
        top_logprobs=opt_count(body, "top_logprobs"),
        reasoning=_decode_reasoning_config(body.get("reasoning")),
        output=_decode_output(body, native),
        verbosity=_decode_verbosity(body),
        stream=bool(opt_flag(body, "stream")),
        cache_key=opt_text(body, "prompt_cache_key", "body"),
        user=_decode_user(native),
        service_tier=opt_text(body, "service_tier", "body"),
        metadata=_decode_metadata(body.get("metadata")),
        store=opt_flag(body, "store"),
        native=Native(NAME, native),
    )


def _optional_number(body: JsonObject, key: str) -> float | None:
    value = opt_number(body, key)
    try:
        return None if value is None else float(value)
    except OverflowError as error:
        raise RequestError(f"{key} is too large.", param=key) from error


def _decode_user(native: JsonObject) -> str | None:
    # safety_identifier replaced user. Where only one of them came it goes back under the same
    # name; where both came the older one stays native.
    user = opt_text(native, "user", "body")
    safety = opt_text(native, "safety_identifier", "body")
    if safety is None and user is not None:
        del native["user"]
        native[USER] = True
        return user
    if safety is not None and user is None:
        del native["safety_identifier"]
    return safety


def _decode_metadata(value: Json) -> Mapping[str, str] | None:
    if value is None:
        return None
    pairs = need_object(value, "metadata")
    return {key: need_text(text, f"metadata.{key}") for key, text in pairs.items()}


def _decode_reasoning_config(value: Json) -> ReasoningConfig | None:
    if value is None:
        return None
    config = need_object(value, "reasoning")
    fields = {key: v for key, v in config.items() if key != "effort"}
    word = opt_text(config, "effort", "reasoning")
    effort = next((e for e in get_args(Effort) if e == word), None)
    if effort is None and word is not None:
        fields["effort"] = word
    asked = config.get("summary") or config.get("generate_summary")
    return ReasoningConfig(
        mode="off" if effort == "none" else "on",
        effort=effort,
        visible=True if asked else None,
        native=Native(NAME, fields),
    )


def _decode_output(body: JsonObject, native: JsonObject) -> OutputFormat | None:
    if body.get("text") is None:
        return None
    text = need_object(body["text"], "text")
    extras = {k: v for k, v in text.items() if k not in ("format", "verbosity")}
    if extras:
        native["text"] = extras
    if text.get("format") is None:
        return None
    form = need_object(text["format"], "text.format")
    kind = need_text(form.get("type"), "text.format.type")
    if kind in ("text", "json_object"):
        return OutputFormat("text" if kind == "text" else "json_object")
    if kind != "json_schema":
        native["text"] = {**extras, "format": form}
        return None
    strict = form.get("strict")
    if strict is not None and not isinstance(strict, bool):
        raise wrong("text.format.strict", "a boolean", strict)
    return OutputFormat(
        "json_schema",
        need_object(form.get("schema"), "text.format.schema"),
        opt_text(form, "name", "text.format"),
        strict,
        opt_text(form, "description", "text.format"),
    )


def _decode_verbosity(body: JsonObject) -> str | None:
    text = body.get("text")
    return opt_text(text, "verbosity", "text") if isinstance(text, dict) else None


def _decode_input(body: JsonObject) -> tuple[Message, ...]:
    value = body.get("input")
    if value is None:
        if any(body.get(key) is not None for key in STORED):
            return ()
        raise RequestError("input is missing.", param="input")
    if isinstance(value, str):
        return (Message("user", (Text(value),), native=Native(NAME, {INPUT: True})),)
    if not isinstance(value, list):
        raise wrong("input", "a string or a list of items", value)
    reader = _Reader()
    for number, item in enumerate(value):
        path = f"input[{number}]"
        reader.take(need_object(item, path), path)
    return reader.done()


@dataclass(slots=True)
class _Carried:
    """A text's signature that came in an item of its own."""

    signature: Signature
    place: int
    """Number of parts before it."""
    after: bool
    """It belongs to the text before it, not to the one that follows."""


class _Reader:
    """Groups items into messages."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._said: list[Part] = []
        self._results: list[Part] = []
        self._calls: dict[str, Signature] = {}
        self._texts: list[_Carried] = []

    def done(self) -> tuple[Message, ...]:
        """Return the messages."""
        self._flush()
        return tuple(self._messages)

    def take(self, item: JsonObject, path: str) -> None:
        """Take one item."""
        kind = item.get("type")
        if kind is None and "role" in item:
            kind = "message"
        elif kind is None and "id" in item:
            kind = "item_reference"
        kind = need_text(kind, f"{path}.type")
        if kind == "message":
            self._take_message(item, path)
        elif kind == "reasoning":
            self._take_reasoning(item, path)
        elif kind in CALL_TYPES:
            self._say(decode_call(item, path, exact=True))
        elif kind in OUTPUT_TYPES and isinstance(item.get("call_id"), str):
            if self._said:
                self._flush()
            self._results.append(decode_result(item, path))
        elif kind == "image_generation_call":
            self._say(decode_image_call(item) or Opaque(NAME, item))
        elif kind.endswith("_output") or kind in _CLIENT_ITEMS:
            self._flush()
            native = Native(NAME, {ITEMS: True})
            self._messages.append(Message("user", (Opaque(NAME, item),), native=native))
        else:
            self._say(Opaque(NAME, item))

    def _say(self, part: Part) -> None:
        if self._results:
            self._flush()
        self._said.append(part)

    def _flush(self) -> None:
        if self._results:
            self._messages.append(Message("tool", tuple(self._results)))
            self._results.clear()
        for carried in self._texts:
            self._sign_text(carried)
        if self._said:
            parts = tuple(self._sign_call(part) for part in self._said)
            self._messages.append(Message("assistant", parts))
        self._said.clear()
        self._texts.clear()
        self._calls.clear()

    def _sign_call(self, part: Part) -> Part:
        if isinstance(part, ToolCall) and part.id in self._calls:
            return replace(part, signature=self._calls[part.id])
        return part

    def _sign_text(self, carried: _Carried) -> None:
        places = range(carried.place, len(self._said))
        if carried.after:
            places = range(carried.place - 1, -1, -1)
        for place in places:
            part = self._said[place]
            if isinstance(part, Text):
                self._said[place] = replace(part, signature=carried.signature)
                return

    def _take_message(self, item: JsonObject, path: str) -> None:
        role = need_text(item.get("role"), f"{path}.role")
        fields = {k: v for k, v in item.items() if k not in ("type", "role", "content")}
        if "type" not in item:
            fields[EASY] = True
        if role == "assistant":
            self._take_spoken(item, fields, path)
            return
        known: dict[str, Role] = {"user": "user", "system": "system", "developer": "developer"}
        if role not in known:
            raise RequestError(
                f"{path}.role must be user, assistant, system or developer, not {role!r}.",
                param=f"{path}.role",
            )
        parts, string = decode_content(item.get("content"), f"{path}.content")
        if string:
            fields[STRING] = True
        self._flush()
        self._messages.append(Message(known[role], parts, native=native_of(fields)))

    def _take_spoken(self, item: JsonObject, fields: JsonObject, path: str) -> None:
        content = item.get("content")
        parts: list[Part] = []
        if isinstance(content, str):
            fields[STRING] = True
            parts.append(Text(content))
        else:
            for number, value in enumerate(need_list(content, f"{path}.content")):
                spoken = decode_spoken(value, f"{path}.content[{number}]", exact=True)
                if spoken is None:
                    self._say(Opaque(NAME, item))
                    return
                parts.append(spoken)
        if not parts:
            self._flush()
            self._messages.append(Message("assistant", (), native=Native(NAME, {ITEM: fields})))
            return
        first = parts[0]
        if isinstance(first, Text | Refusal):
            parts[0] = replace(
                first, native=Native(NAME, {ITEM: fields, **fields_of(first.native)})
            )
        for part in parts:
            self._say(part)

    def _take_reasoning(self, item: JsonObject, path: str) -> None:
        part = decode_reasoning(item, path, ISSUER, exact=True)
        opened = open_seal(part.signature.value) if part.signature is not None else None
        if opened is None:
            self._say(part)
            return
        signature, extra = opened
        if self._results:
            self._flush()
        call = extra.get("call")
        if isinstance(call, str):
            self._calls[call] = signature
            return
        if extra.get("text"):
            self._texts.append(_Carried(signature, len(self._said), bool(extra.get("after"))))
            return
        fields = dict(fields_of(part.native))
        if not signature.issuer:
            fields[UNSIGNED] = True
        self._say(
            replace(
                part,
                signature=signature if signature.issuer else None,
                redacted=bool(extra.get("redacted")),
                summary=part.summary and not extra.get("full"),
                native=native_of(fields),
            )
        )
