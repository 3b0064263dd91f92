"""The body rules of ChatGPT's Codex service, over a Responses body.

The service takes fewer fields than OpenAI's API, stores nothing, and only streams. What it refuses
is taken out, what it demands is put in, and everything else keeps its bytes; a body that follows
the rules already (Codex's own) is returned as the very same object.

Source: CLIProxyAPI 7.2 ``codex_executor_request.go``, opencode, kleis and pi compared (2026-08);
openai/codex issue 26173 for ``store``.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from app.canonical.parts import Json
from app.dialects.base import read_head
from app.dialects.openai_responses_store import previous_id, unknown_previous
from app.errors import RequestError
from app.providers.rawjson import (
    Fields,
    join,
    read_array,
    read_fields,
    read_text,
    read_value,
    write,
)

__all__ = ["Fitted", "fit_body"]

_REFUSED = (
    "max_output_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "truncation",
    "user",
    "previous_response_id",
    "generate",
    "prompt_cache_retention",
    "prompt_cache_options",
    "safety_identifier",
    "context_management",
)
"""Fields that the service answers with 400."""
_UNCOMPACTED = ("stream", "store", "include", "stream_options", "service_tier")
"""What a compaction has none of: it answers one JSON value and keeps nothing."""
_INCLUDE: tuple[Json, ...] = ("reasoning.encrypted_content",)
"""Without it a stateless conversation loses its thoughts."""
_SEARCH = re.compile(r"web_search_preview(?:_\d{4}_\d{2}_\d{2})?")
_LONGEST_NAME = 64
_LONGEST_ID = 64
_ID_BEGINS = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fc",
    "reasoning": "rs",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctc",
    "web_search_call": "ws",
}
"""How the id of an item begins; OpenAI refuses others (clients compared, 2026-11)."""
_NAMED_ITEMS = ("function_call", "custom_tool_call")
_CACHE_MARK = "prompt_cache_breakpoint"


@dataclass(frozen=True, slots=True)
class Fitted:
    """A body as the service takes it."""

    body: bytes
    names: Mapping[str, str]
    """Tool names as sent → as the caller knows them."""
    cache_key: str
    """``prompt_cache_key`` in it; empty for none."""


def fit_body(body: bytes, *, session: str, lite: bool, compact: bool) -> Fitted:
    """Return a body that follows the rules.

    Args:
        body: a Responses body.
        session: of the conversation; a cache key is derived from it where the body has none.
        lite: the caller is a Codex that asked for its light form, which has no parallel calls.
        compact: for ``/responses/compact`` instead of an answer.

    Raises:
        RequestError: no JSON object.
        AppError: it goes on from an answer that the service does not have, since it stores none.
    """
    head = read_head(body)
    name = previous_id(head)
    if name is not None:
        # Leaving it out would lose the conversation and answer something else.
        raise unknown_previous(name)
    fitted = dict(head)
    for key in (*_REFUSED, *(_UNCOMPACTED if compact else ())):
        fitted.pop(key, None)
    if not compact:
        _force(fitted, "stream", True)
        _force(fitted, "store", False)
        _force(fitted, "include", list(_INCLUDE))
        _fit_stream_options(fitted)
        if "service_tier" in fitted and read_text(fitted["service_tier"]) != "priority":
            del fitted["service_tier"]
    if read_text(fitted.get("instructions")) is None:
        _force(fitted, "instructions", "")
    names = _fit_tools(fitted)
    _fit_parallel(fitted, lite=lite)
    _fit_input(fitted, {name: sent for sent, name in names.items()})
    key = _fit_cache_key(fitted, session)
    same = len(fitted) == len(head) and all(fitted.get(k) is value for k, value in head.items())
    return Fitted(body if same else bytes(join(fitted)), names, key)


def _force(head: Fields, key: str, value: Json) -> None:
    """Set a field; its bytes stay where it has that value already."""
    told = read_value(head.get(key))
    if told != value or type(told) is not type(value):
        head[key] = write(value)


def _fit_stream_options(head: Fields) -> None:
    options = read_fields(head.get("stream_options"))
    if options is not None and set(options) == {"reasoning_summary_delivery"}:
        return
    delivery = (options or {}).get("reasoning_summary_delivery")
    if delivery is not None:
        head["stream_options"] = join({"reasoning_summary_delivery": delivery})
    else:
        head.pop("stream_options", None)


def _fit_parallel(head: Fields, *, lite: bool) -> None:
    if not read_array(head.get("tools")):
        head.pop("parallel_tool_calls", None)
    elif lite:
        _force(head, "parallel_tool_calls", False)
    elif bytes(head.get("parallel_tool_calls", b"null")) == b"null":
        _force(head, "parallel_tool_calls", True)


def _fit_cache_key(head: Fields, session: str) -> str:
    """Return the conversation's cache key, made of the session where the caller gave none."""
    key = read_text(head.get("prompt_cache_key"))
    if key:
        return key
    if not session:
        return ""
    key = str(uuid.UUID(bytes=sha256(session.encode()).digest()[:16], version=4))
    head["prompt_cache_key"] = write(key)
    return key


# --- tools ---------------------------------------------------------------------------------------


def _fit_tools(head: Fields) -> dict[str, str]:
    """Shorten names and rename the search tool; return sent name → caller's name."""
    names = _short_names(_all_names(head))
    tools = read_array(head.get("tools"))
    if tools is not None:
        fitted = [_fit_tool(tool, names) for tool in tools]
        if any(new is not old for new, old in zip(fitted, tools, strict=True)):
            head["tools"] = join(fitted)
    choice = head.get("tool_choice")
    if choice is not None:
        head["tool_choice"] = _fit_tool(choice, names)
    return {sent: name for name, sent in names.items()}


def _fit_tool(raw: msgspec.Raw, names: Mapping[str, str]) -> msgspec.Raw:
    """Return a tool, or a choice of one, as the service knows it; the same object if nothing is.

    Namespaces and a choice among ``allowed_tools`` hold further tools.
    """
    fields = read_fields(raw)
    if fields is None:
        return raw
    changed = False
    kind = read_text(fields.get("type")) or ""
    if _SEARCH.fullmatch(kind):
        fields["type"] = write("web_search")
        changed = True
    sent = names.get(read_text(fields.get("name")) or "")
    if sent is not None and kind in ("function", "custom"):
        fields["name"] = write(sent)
        changed = True
    inner = read_array(fields.get("tools"))
    if inner is not None:
        fitted = [_fit_tool(tool, names) for tool in inner]
        if any(new is not old for new, old in zip(fitted, inner, strict=True)):
            fields["tools"] = join(fitted)
            changed = True
    return join(fields) if changed else raw


def _all_names(head: Fields) -> list[str]:
    """Return the names of all functions and custom tools, declared or called before."""
    found: list[str] = []

    def collect(tools: Iterable[msgspec.Raw]) -> None:
        for raw in tools:
            fields = read_fields(raw) or {}
            name = read_text(fields.get("name"))
            if name is not None and read_text(fields.get("type")) in ("function", "custom"):
                found.append(name)
            collect(read_array(fields.get("tools")) or ())

    collect(read_array(head.get("tools")) or ())
    for raw in read_array(head.get("input")) or ():
        fields = read_fields(raw) or {}
        name = read_text(fields.get("name"))
        if name is not None and read_text(fields.get("type")) in _NAMED_ITEMS:
            found.append(name)
    return list(dict.fromkeys(found))


def _short_names(names: list[str]) -> dict[str, str]:
    """Return the names that are too long, each with a short one unlike all others."""
    taken = {name for name in names if len(name) <= _LONGEST_NAME}
    short: dict[str, str] = {}
    for name in names:
        if len(name) <= _LONGEST_NAME:
            continue
        base = name
        if name.startswith("mcp__") and "__" in name[5:]:
            # The server's part says least; the tool's own name is what the model goes by.
            base = f"mcp__{name.rpartition('__')[2]}"
        sent = base[:_LONGEST_NAME]
        number = 1
        while sent in taken:
            mark = f"_{number}"
            sent = base[: _LONGEST_NAME - len(mark)] + mark
            number += 1
        taken.add(sent)
        short[name] = sent
    return short


# --- input ---------------------------------------------------------------------------------------


def _fit_input(head: Fields, names: Mapping[str, str]) -> None:
    text = read_text(head.get("input"))
    if text is not None:
        content: Json = [{"type": "input_text", "text": text}]
        head["input"] = write([{"type": "message", "role": "user", "content": content}])
        return
    items = read_array(head.get("input"))
    if items is None:
        if "input" in head:
            raise RequestError("input must be a string or a list of items.", param="input")
        return
    fitted = [new for item in items if (new := _fit_item(item, names)) is not None]
    if len(fitted) != len(items) or any(
        new is not old for new, old in zip(fitted, items, strict=True)
    ):
        head["input"] = join(fitted)


def _fit_item(raw: msgspec.Raw, names: Mapping[str, str]) -> msgspec.Raw | None:
    """Return an item as the service takes it, or None when it has to go.

    A thought that the service cannot open again goes: it stores none, so one without its encrypted
    content, or with an id that is not its own, would end in 400.
    """
    fields = read_fields(raw)
    if fields is None:
        return raw
    kind = read_text(fields.get("type")) or "message"
    changed = False
    if kind == "reasoning" and not read_text(fields.get("encrypted_content")):
        return None
    if "id" in fields and not _is_own_id(kind, read_text(fields["id"])):
        if kind == "reasoning":
            return None
        del fields["id"]  # optional: the service makes its own
        changed = True
    if kind == "message" and read_text(fields.get("role")) == "system":
        fields["role"] = write("developer")
        changed = True
    if kind in _NAMED_ITEMS and (sent := names.get(read_text(fields.get("name")) or "")):
        fields["name"] = write(sent)
        changed = True
    if _CACHE_MARK.encode() in bytes(raw):
        changed = _drop_marks(fields) or changed
    return join(fields) if changed else raw


def _is_own_id(kind: str, name: str | None) -> bool:
    return (
        name is not None
        and len(name) <= _LONGEST_ID
        and name.startswith(_ID_BEGINS.get(kind, ""))
        and name != ""
    )


def _drop_marks(fields: Fields) -> bool:
    """Take cache marks out of an item's parts; say whether there were any."""
    found = False
    for key in ("content", "output"):
        parts = read_array(fields.get(key))
        if parts is None:
            continue
        kept: list[msgspec.Raw] = []
        for raw in parts:
            part = read_fields(raw)
            if part is not None and part.pop(_CACHE_MARK, None) is not None:
                raw, found = join(part), True
            kept.append(raw)
        fields[key] = join(kept)
    return found
