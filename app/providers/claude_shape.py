"""A Messages call as Claude's subscription service takes it.

Two cases. A *genuine Claude Code* is recognised by what only it sends together; its body is not
touched, its own head travels on, and the two betas that an OAuth token needs are ensured. For *every
other caller* exactly four things are added, without which the service refuses an OAuth token: the
two betas; user agent and ``x-app``; the preamble as first system block; and a prefix to the names
of the caller's tools, which the answer's names lose again. Nothing else is made up: no billing
block, no device or session ids, no other client's SDK fields.

Source: CLIProxyAPI 7.2 and four other clients compared (2026-08), decisions on account safety.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping

import msgspec

from app.canonical.parts import Json
from app.dialects.base import Head, read_head
from app.http import Headers, header
from app.providers import claude_profile as profile
from app.providers.rawjson import (
    Fields,
    join,
    read_array,
    read_fields,
    read_text,
    read_value,
    write,
)
from app.providers.shaping import Asked, Shaped

__all__ = ["is_genuine", "shape", "shape_own"]

_AGENT = re.compile(r"claude-cli/\d+\.\d+\.\d+\S* \(external, [^()]+\)")
_HEX_64 = re.compile(r"[0-9a-f]{64}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_FLAT_USER = re.compile(
    rf"user_[0-9a-f]{{64}}_account_(?:{_UUID.pattern})?_session_{_UUID.pattern}"
)
_BILLING = "x-anthropic-billing-header"
_LONGEST_NAME = 128
"""Of a tool, as the service takes it (its reference, read 2026-11)."""


def shape(asked: Asked) -> Shaped:
    """Return the call as the service wants it; the body's very object for a genuine Claude Code.

    Raises:
        RequestError: the body is no JSON object.
    """
    path = _with_beta(asked.path)
    if is_genuine(asked):
        return Shaped(asked.body, path, _genuine_headers(asked.client_headers))
    body, listed, names = _fit_body(asked)
    betas = join_betas(profile.NEEDED_BETAS, (*_sent_betas(asked.client_headers), *listed))
    headers = (
        ("anthropic-beta", betas),
        ("user-agent", profile.USER_AGENT),
        ("x-app", profile.X_APP),
    )
    return Shaped(body, path, headers, names=names)


def shape_own(asked: Asked) -> Shaped:
    """Return a call that brings its own sign-in: nothing of it is changed, its own head goes on."""
    return Shaped(asked.body, _with_beta(asked.path), _genuine_headers(asked.client_headers))


def _with_beta(path: str) -> str:
    base, _, query = path.partition("?")
    if "beta=true" in query.split("&"):
        return path
    return f"{base}?{query}&beta=true" if query else f"{base}?beta=true"


# --- genuine Claude Code -------------------------------------------------------------------------


def is_genuine(asked: Asked) -> bool:
    """Say whether Claude Code itself is calling, by all of its marks together.

    User agent, ``x-app``, its beta, and a ``metadata.user_id`` of its form, which count calls do
    not have.
    """
    fields = asked.client_headers
    if not _AGENT.fullmatch(header(fields, "user-agent") or ""):
        return False
    # Claude Code marks its calls in the background with "cli-bg" (observed 2026-11).
    if header(fields, "x-app") not in (profile.X_APP, "cli-bg"):
        return False
    if profile.NEEDED_BETAS[0] not in _sent_betas(fields):
        return False
    return asked.operation == "count_tokens" or _names_device(read_head(asked.body))


def _names_device(head: Head) -> bool:
    user = read_text((read_fields(head.get("metadata")) or {}).get("user_id"))
    if user is None:
        return False
    if not user.startswith("{"):
        return _FLAT_USER.fullmatch(user) is not None
    inner = read_value(msgspec.Raw(user.encode("utf-8", "replace")))
    if not isinstance(inner, dict):
        return False
    device, account, session = (
        inner.get(key) for key in ("device_id", "account_uuid", "session_id")
    )
    return (
        isinstance(device, str)
        and _HEX_64.fullmatch(device) is not None
        and isinstance(session, str)
        and _UUID.fullmatch(session) is not None
        # Empty while Claude Code itself is not signed in.
        and (account in (None, "") or (isinstance(account, str) and bool(_UUID.fullmatch(account))))
    )


def _genuine_headers(fields: Headers) -> Headers:
    kept = {
        key.lower(): value
        for key, value in fields
        if key.lower() in profile.GENUINE_HEADERS
        or key.lower().startswith(profile.GENUINE_PREFIXES)
    }
    betas = join_betas(_sent_betas(fields), profile.NEEDED_BETAS)
    return (*kept.items(), ("anthropic-beta", betas))


def _sent_betas(fields: Headers) -> tuple[str, ...]:
    """Return the beta names of all ``anthropic-beta`` lines, in order."""
    lines = (value for key, value in fields if key.lower() == "anthropic-beta")
    return tuple(name.strip() for line in lines for name in line.split(",") if name.strip())


def join_betas(first: Iterable[str], then: Iterable[str]) -> str:
    """Return beta names as one line, each once."""
    return ",".join(dict.fromkeys((*first, *then)))


# --- every other caller --------------------------------------------------------------------------


def _fit_body(asked: Asked) -> tuple[bytes, tuple[str, ...], Mapping[str, str]]:
    """Return body, beta names that stood in it, and the names of tools on the way back."""
    head = read_head(asked.body)
    fitted = dict(head)
    listed = _take_betas(fitted)
    names: Mapping[str, str] = {}
    if asked.operation != "count_tokens":
        # What is counted is the caller's own text, so nothing is added to a count.
        fitted["system"] = _with_preamble(head.get("system"))
        names = _rename_tools(fitted)
    if all(fitted.get(key) is value for key, value in head.items()) and len(head) == len(fitted):
        return asked.body, listed, names
    return bytes(join(fitted)), listed, names


def _take_betas(head: Fields) -> tuple[str, ...]:
    """Take ``betas`` out of a body: SDKs know it as an argument, the service only as a header."""
    given = read_value(head.pop("betas", None))
    values: list[Json] = given if isinstance(given, list) else [given]
    return tuple(
        name.strip()
        for value in values
        if isinstance(value, str)
        for name in value.split(",")
        if name.strip()
    )


def _with_preamble(system: msgspec.Raw | None) -> msgspec.Raw:
    """Return the system text with the preamble as first block, once.

    The caller's blocks and their cache marks keep their bytes; the preamble has no mark of its own,
    so that a caller's four stay four.
    """
    ours = write({"type": "text", "text": profile.PREAMBLE})
    if system is None or bytes(system) == b"null":
        return join([ours])
    text = read_text(system)
    if text is not None:
        if text.strip() in ("", profile.PREAMBLE):
            return join([ours])
        return join([ours, write({"type": "text", "text": text})])
    blocks = read_array(system)
    if blocks is None or _has_preamble(blocks):
        return system  # of another type: the service says what is wrong with it
    return join([ours, *blocks])


def _has_preamble(blocks: list[msgspec.Raw]) -> bool:
    for block in blocks[:2]:
        text = read_text((read_fields(block) or {}).get("text")) or ""
        if text.startswith(_BILLING):
            continue
        return text.startswith(profile.PREAMBLE)
    return False


# --- names of tools ------------------------------------------------------------------------------


def _rename_tools(head: Fields) -> Mapping[str, str]:
    """Rename the caller's tools wherever they are named; return sent name → caller's name.

    Tools of the service itself (with a dated ``type``) keep their names everywhere.
    """
    tools = [(raw, read_fields(raw)) for raw in read_array(head.get("tools")) or ()]
    own: list[str] = []
    served: set[str] = set()
    for _, fields in tools:
        name = read_text((fields or {}).get("name"))
        if fields is None or name is None:
            continue
        if _is_callers(fields):
            own.append(name)
        else:
            served.add(name)
    messages = _messages_with_calls(head.get("messages"))
    own += [name for name in _called(messages) if name not in served]
    sent = _sent_names(own, served)
    changed = {name: other for name, other in sent.items() if name != other}
    if not changed:
        return {}

    def rename(fields: Fields, key: str = "name") -> bool:
        other = changed.get(read_text(fields.get(key)) or "")
        if other is not None:
            fields[key] = write(other)
        return other is not None

    declared = [
        join(fields) if fields is not None and _is_callers(fields) and rename(fields) else raw
        for raw, fields in tools
    ]
    if any(new is not old for new, (old, _) in zip(declared, tools, strict=True)):
        head["tools"] = join(declared)
    choice = read_fields(head.get("tool_choice"))
    if choice is not None and read_text(choice.get("type")) == "tool" and rename(choice):
        head["tool_choice"] = join(choice)
    if messages:
        whole = read_array(head.get("messages")) or []
        for number, message in messages.items():
            whole[number] = _renamed_message(message, rename, changed)
        head["messages"] = join(whole)
    return {other: name for name, other in changed.items()}


def _is_callers(tool: Fields) -> bool:
    """Say whether a tool is the caller's own and no server tool."""
    return bytes(tool.get("type", b"null")) in (b"null", b'"custom"')


def _messages_with_calls(raw: msgspec.Raw | None) -> dict[int, Fields]:
    """Return the messages that name tools, opened one level, by index."""
    found: dict[int, Fields] = {}
    for number, message in enumerate(read_array(raw) or ()):
        text = bytes(message)
        if b'"tool_use"' in text or b'"tool_reference"' in text:
            fields = read_fields(message)
            if fields is not None:
                found[number] = fields
    return found


def _called(messages: Mapping[int, Fields]) -> list[str]:
    names: list[str] = []
    for message in messages.values():
        for block in read_array(message.get("content")) or ():
            fields = read_fields(block) or {}
            name = read_text(fields.get("name"))
            if name is not None and read_text(fields.get("type")) == "tool_use":
                names.append(name)
    return names


def _sent_names(own: Iterable[str], served: set[str]) -> dict[str, str]:
    """Return what each tool is called to the service: prefixed, and unlike all others."""
    wanted = list(dict.fromkeys(own))
    sent = {name: name for name in wanted if name.startswith(profile.TOOL_PREFIX)}
    taken = {*sent, *served}
    for name in wanted:
        if name in sent:
            continue
        base = other = _cut(profile.TOOL_PREFIX + name, name)
        number = 2
        while other in taken:
            other = f"{base[: _LONGEST_NAME - 8]}_{number}"
            number += 1
        sent[name] = other
        taken.add(other)
    return sent


def _cut(sent: str, name: str) -> str:
    if len(sent) <= _LONGEST_NAME or len(name) > _LONGEST_NAME:
        return sent  # a name that was too long before is for the service to refuse
    mark = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{sent[: _LONGEST_NAME - 9]}_{mark}"


def _renamed_message(
    message: Fields, rename: Callable[[Fields], bool], changed: Mapping[str, str]
) -> msgspec.Raw:
    blocks = read_array(message.get("content"))
    if blocks is None:
        return join(message)
    for number, block in enumerate(blocks):
        if b'"tool_reference"' in bytes(block):
            blocks[number] = write(_renamed_references(read_value(block), changed))
            continue
        fields = read_fields(block)
        if fields is not None and read_text(fields.get("type")) == "tool_use" and rename(fields):
            blocks[number] = join(fields)
    return join({**message, "content": join(blocks)})


def _renamed_references(value: Json, changed: Mapping[str, str]) -> Json:
    """Return a search result whose references name the tools as they are sent."""
    if isinstance(value, list):
        return [_renamed_references(item, changed) for item in value]
    if not isinstance(value, dict):
        return value
    done = {key: _renamed_references(item, changed) for key, item in value.items()}
    name = done.get("tool_name")
    if done.get("type") == "tool_reference" and isinstance(name, str):
        done["tool_name"] = changed.get(name, name)
    return done
