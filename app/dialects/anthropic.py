"""The Anthropic Messages dialect: its routes, and what joins its two halves.

Requests are in ``anthropic_request`` (read) and ``anthropic_upstream`` (written), answers in
``anthropic_answer``, ``anthropic_stream`` (read) and ``anthropic_writer`` (written), failures in
``anthropic_failure``.
"""

from __future__ import annotations

import re

import msgspec

from app.canonical.failure import Failure
from app.canonical.parts import DialectName, Json, JsonObject
from app.canonical.profile import Target
from app.canonical.request import ChatRequest
from app.canonical.response import ChatResponse
from app.canonical.usage import Usage
from app.dialects.anthropic_answer import (
    count_usage,
    decode_response,
    decode_stop,
    encode_response,
    read_ending,
)
from app.dialects.anthropic_failure import (
    decode_failure,
    encode_failure,
    error_object,
    failure_in_stream,
)
from app.dialects.anthropic_request import decode_request
from app.dialects.anthropic_stream import AnthropicDecoder
from app.dialects.anthropic_upstream import encode_request
from app.dialects.anthropic_values import ISSUER, NAME, parse_object
from app.dialects.anthropic_writer import AnthropicEncoder
from app.dialects.base import (
    NOTHING,
    Encoded,
    Ending,
    Head,
    Operation,
    Peek,
    ReplyContext,
    Route,
    Sight,
    StreamDecoder,
    StreamEncoder,
    read_head,
)
from app.dialects.sse import Frame
from app.dialects.values import need_text
from app.errors import RequestError, UpstreamError
from app.http import Headers, HttpReply

__all__ = ["ANTHROPIC", "AnthropicDialect"]

_MESSAGES = "/v1/messages"
_COUNT = "/v1/messages/count_tokens"
_COUNT_KEYS = (
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "cache_control",
)
"""What the count call takes of a request (``MessageCountTokensParams``)."""

_decode_any = msgspec.json.Decoder().decode


class AnthropicDialect:
    """Anthropic Messages (``POST /v1/messages``)."""

    __slots__ = ()

    name: DialectName = NAME
    issuer = ISSUER
    final_names: tuple[bytes, ...] = ()
    routes = (
        Route("POST", re.compile(re.escape(_MESSAGES)), "generate"),
        Route("POST", re.compile(re.escape(_COUNT)), "count_tokens", stream=False),
    )

    def peek(self, raw: bytes | Head, path: str, query: str, route: Route) -> Peek:
        """Read model, stream, session and thought; see ``Dialect.peek``."""
        head = read_head(raw)
        if "model" not in head:
            raise RequestError("model is missing.", param="model")
        model = need_text(_value(head, "model"), "model")
        stream = _value(head, "stream")
        if not isinstance(stream, bool | None):
            raise RequestError("stream must be a boolean.", param="stream")
        thinking = _value(head, "thinking")
        return Peek(
            model=model,
            stream=bool(stream) and route.operation == "generate",
            operation=route.operation,
            session=_session(_value(head, "metadata")),
            reasoning=isinstance(thinking, dict) and thinking.get("type") not in (None, "disabled"),
        )

    def path(self, operation: Operation, model: str, *, stream: bool) -> str:
        """Return the path of an upstream call; see ``Dialect.path``."""
        return _MESSAGES if operation == "generate" else _COUNT

    def decode_request(self, body: JsonObject, peek: Peek) -> ChatRequest:
        """Wire to canon; see ``Dialect.decode_request``."""
        return decode_request(body, peek)

    def encode_request(self, request: ChatRequest, target: Target) -> Encoded:
        """Canon to wire; see ``Dialect.encode_request``."""
        return encode_request(request, target)

    def decode_response(self, body: JsonObject, issuer: str) -> ChatResponse:
        """Wire to canon; see ``Dialect.decode_response``."""
        return decode_response(body, issuer)

    def read_ending(self, raw: bytes) -> Ending | None:
        """Read usage and stop reason of a whole answer; see ``Dialect.read_ending``."""
        return read_ending(raw)

    def encode_response(self, response: ChatResponse, reply: ReplyContext) -> Encoded:
        """Canon to wire; see ``Dialect.encode_response``."""
        return encode_response(response, reply)

    def stream_decoder(self, issuer: str) -> StreamDecoder:
        """Return a decoder for one upstream stream."""
        return AnthropicDecoder(issuer, failure_in_stream)

    def stream_encoder(self, reply: ReplyContext) -> StreamEncoder:
        """Return an encoder for one client stream."""
        return AnthropicEncoder(reply, error_object)

    def decode_failure(self, status: int, headers: Headers, body: bytes) -> Failure:
        """Read a service's error answer; see ``Dialect.decode_failure``."""
        return decode_failure(status, headers, body)

    def encode_failure(self, failure: Failure, request_id: str) -> HttpReply:
        """Return the whole error answer; see ``Dialect.encode_failure``."""
        return encode_failure(failure, request_id)

    def inspect(self, frame: Frame) -> Sight:
        """Say what a frame means to the gateway; see ``Dialect.inspect``.

        ``usage`` of a ``message_delta`` holds what that frame says; services that count the
        prompt in ``message_start`` only leave it 0 there.
        """
        kind = frame.event or _type_of(frame.data)
        if kind in ("content_block_delta", "content_block_start"):
            return _CONTENT
        if kind == "message_stop":
            return _TERMINAL
        if kind not in ("message_start", "message_delta", "error"):
            return NOTHING
        body = parse_object(frame.data)
        if body is None:
            return NOTHING
        if kind == "error":
            return Sight(failure=failure_in_stream(body))
        holder = body.get("message") if kind == "message_start" else body
        if not isinstance(holder, dict):
            return NOTHING
        model = holder.get("model")
        delta = body.get("delta")
        word = delta.get("stop_reason") if isinstance(delta, dict) else None
        return Sight(
            usage=_usage(holder),
            model=model if isinstance(model, str) else None,
            stop=decode_stop(word)[0] if isinstance(word, str) else None,
        )

    def encode_count_request(self, request: ChatRequest, target: Target) -> Encoded:
        """Return the body of a count call; see ``Dialect.encode_count_request``."""
        whole = encode_request(request, target)
        body = {key: whole.body[key] for key in _COUNT_KEYS if key in whole.body}
        return Encoded(body, whole.losses)

    def decode_count(self, body: JsonObject) -> int:
        """Return the number of tokens; see ``Dialect.decode_count``."""
        tokens = body.get("input_tokens")
        if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 0:
            raise UpstreamError(
                "The upstream's count has no input_tokens.", code="upstream_protocol"
            )
        return tokens

    def encode_count(self, tokens: int) -> JsonObject:
        """Return the answer to a count call."""
        return {"input_tokens": tokens}


_CONTENT = Sight(content=True)
_TERMINAL = Sight(terminal=True)
_TYPE = re.compile(rb'"type"\s*:\s*"([a-z_]+)"')


def _type_of(data: bytes) -> str:
    # For servers that leave out the ``event`` line. ``type`` need not come first.
    match = _TYPE.search(data, 0, 64)
    if match is not None and data[: match.start()].strip() == b"{":
        return match[1].decode()
    body = parse_object(data)
    kind = None if body is None else body.get("type")
    return kind if isinstance(kind, str) else ""


def _usage(holder: JsonObject) -> Usage | None:
    raw = holder.get("usage")
    if not isinstance(raw, dict):
        return None
    try:
        return count_usage(raw)
    except RequestError:
        return None  # the stream goes to the client as it is; only the ledger lacks the counts


def _value(head: dict[str, msgspec.Raw], key: str) -> Json:
    value: Json = _decode_any(head[key]) if key in head else None
    return value


_SESSION = re.compile(r"_session_([0-9A-Za-z-]+)$")


def _session(metadata: Json) -> str | None:
    """Return the session in ``metadata.user_id``.

    Claude Code writes a JSON object with ``session_id`` there; before 2.1 it was
    ``user_…_account_…_session_…``.
    """
    user = metadata.get("user_id") if isinstance(metadata, dict) else None
    if not isinstance(user, str):
        return None
    if user.startswith("{"):
        inner = parse_object(user.encode("utf-8", "replace"))
        session = None if inner is None else inner.get("session_id")
        return session if isinstance(session, str) and session else None
    match = _SESSION.search(user)
    return None if match is None else match[1]


ANTHROPIC = AnthropicDialect()
