"""Token counts: the service's own where it has a count call, else an estimate."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from app.canonical.failure import Failure, failure_of
from app.canonical.parts import (
    Json,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from app.canonical.profile import Target
from app.canonical.request import ChatRequest, ServerTool
from app.dialects.base import Delete, dump, patch_object
from app.dialects.identity import identity_edits
from app.dialects.tools import fit_tools
from app.errors import AccountError, AppError, TranslationError, UpstreamError
from app.gateway.asking import prepare
from app.gateway.call import Outcome, Sink
from app.gateway.refusal import without_secrets
from app.gateway.resources import Resources
from app.gateway.work import Work
from app.http import Limits
from app.routing.plan import Candidate

__all__ = ["count", "countable_text", "media_tokens"]

_LIMITS = Limits(first_byte_s=30.0, idle_s=30.0, total_s=60.0)
_MESSAGE_TOKENS = 4
"""What a message's frame costs in every service's format, about."""
_IMAGE_TOKENS = 1_100
"""A middling image: Anthropic charges width times height over 750, OpenAI 765 for 1024 pixels."""
_BYTES_PER_DOCUMENT_TOKEN = 40
"""A PDF page of about 60 KB costs some 1,500 tokens."""


async def count(gateway: Resources, work: Work, sink: Sink, outcome: Outcome) -> None:
    """Answer a client's count call.

    Raises:
        AppError: the request is invalid.
    """
    call = work.call
    for candidate in work.plan.candidates:
        outcome.attempts += 1
        tokens = await _ask(gateway, work, candidate, outcome)
        if isinstance(tokens, int):
            estimate = False
            break
        if tokens is not None and tokens.scope == "request":
            raise _as_error(tokens)
    else:
        request = work.request()
        tokens = await gateway.counter(countable_text(request)) + media_tokens(request)
        estimate = True
    body = dump(call.dialect.encode_count(tokens))
    outcome.status = 200
    headers = (
        ("content-type", "application/json"),
        ("x-dragoman-count", "estimate" if estimate else "exact"),
        *gateway.own_headers(call, outcome),
    )
    sink.reply(200, headers, body)


async def _ask(
    gateway: Resources, work: Work, candidate: Candidate, outcome: Outcome
) -> int | Failure | None:
    """Return the service's own count, why it gave none, or None where it has no such call."""
    account, provider = candidate.account, candidate.account.provider
    call = work.call
    dialect_name = call.dialect.name if call.dialect.name in provider.counts else candidate.dialect
    if dialect_name not in provider.counts:
        return None
    upstream = gateway.dialects[dialect_name]
    outcome.account, outcome.served, outcome.dialect = account.id, candidate.model, dialect_name
    same = dialect_name == call.dialect.name and not work.sealed
    edits: dict[str, Json | Delete] = {}
    if same and dialect_name not in provider.vendors:
        edits |= identity_edits(dialect_name, work.head)
    if same and "model" in work.head and work.peek.model != candidate.model:
        edits["model"] = candidate.model
    profile = gateway.catalog.profile(account, candidate.public, candidate.model)
    target = Target(profile, provider.issuer, provider.official)
    try:
        if same and not edits:
            outcome.grade = "verbatim"
            body = call.raw
        elif same:
            outcome.grade = "patched"
            body = patch_object(work.head, edits)
        else:
            outcome.grade = "translated"
            fitted, _ = fit_tools(work.request(), upstream.name, target)
            body = dump(
                upstream.encode_count_request(replace(fitted, model=candidate.model), target).body
            )
        prepared = await prepare(
            gateway,
            account,
            dialect_name,
            "count_tokens",
            candidate.model,
            upstream.path("count_tokens", candidate.model, stream=False),
            body,
            client_headers=call.headers if same else (),
        )
        reply = await gateway.send(prepared.request, _LIMITS)
        try:
            raw = await reply.read(1024 * 1024)
        finally:
            await reply.aclose()
        if reply.status != 200:
            return without_secrets(upstream.decode_failure(reply.status, reply.headers, raw))
        answer = msgspec.json.decode(raw)
        return upstream.decode_count(answer if isinstance(answer, dict) else {})
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return failure_of(UpstreamError("The upstream's count is not valid JSON."))
    except (AccountError, TranslationError, UpstreamError) as error:
        return replace(failure_of(error), scope="service")  # an estimate is still to be had


def _as_error(failure: Failure) -> AppError:
    error = AppError(failure.message, status=failure.status, code=failure.code, param=failure.param)
    error.passed_on = not failure.ours
    return error


def countable_text(request: ChatRequest) -> str:
    """Return all that costs prompt tokens as one text: system, messages, tools, results."""
    pieces: list[str] = []
    for part in request.system:
        _add(part, pieces)
    for message in request.messages:
        for part in message.parts:
            _add(part, pieces)
    for tool in request.tools:
        if isinstance(tool, ServerTool):
            pieces.append(msgspec.json.encode(dict(tool.body)).decode())
        else:
            pieces.append(f"{tool.name}\n{tool.description or ''}")
            if tool.schema is not None:
                pieces.append(msgspec.json.encode(tool.schema).decode())
    return "\n".join(pieces)


def _add(part: Part, pieces: list[str]) -> None:
    match part:
        case Text(text=text) | Refusal(text=text) | Reasoning(text=text):
            pieces.append(text)
        case ToolCall(name=name, arguments=arguments):
            pieces.append(f"{name}\n{arguments}")
        case ToolResult(content=content):
            for inner in content:
                _add(inner, pieces)
        case Media(text=text) if text:
            pieces.append(text)
        case Opaque(body=body):
            pieces.append(msgspec.json.encode(dict(body)).decode())
        case _:
            pass


def media_tokens(request: ChatRequest) -> int:
    """Return an estimate for what is no text: message frames, images and documents."""
    tokens = _MESSAGE_TOKENS * len(request.messages)
    for message in request.messages:
        for part in message.parts:
            inner = part.content if isinstance(part, ToolResult) else (part,)
            tokens += sum(_media(item) for item in inner if isinstance(item, Media))
    return tokens


def _media(media: Media) -> int:
    if media.text:
        return 0
    if media.kind == "image" or media.data is None:
        return _IMAGE_TOKENS
    return max(_IMAGE_TOKENS, len(media.data) * 3 // 4 // _BYTES_PER_DOCUMENT_TOKEN)
