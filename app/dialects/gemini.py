"""Google Gemini: ``generateContent``, ``streamGenerateContent`` and ``countTokens``.

The path names model and operation. A stream that is not asked for with ``alt=sse`` is one JSON
list, which ``Peek.variant`` says as ``array``.

Source: https://ai.google.dev/api (read November 2026) and the types of google-genai 3.4. What
clients send is in the modules beside this one: ``gemini_request`` reads requests,
``gemini_upstream`` writes them, ``gemini_response`` and ``gemini_stream`` have the answers,
``gemini_failure`` the errors, ``gemini_schema`` the subsets of JSON Schema.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote, unquote

import msgspec

from app.canonical.failure import Failure
from app.canonical.parts import DialectName, Json, JsonObject
from app.canonical.profile import Target
from app.canonical.request import ChatRequest
from app.canonical.response import ChatResponse
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
    read_head,
)
from app.dialects.gemini_failure import decode_failure, encode_failure, failure_of_error
from app.dialects.gemini_parts import DIALECT, ISSUER, fields, integer
from app.dialects.gemini_request import decode_request
from app.dialects.gemini_response import (
    decode_response,
    encode_response,
    read_ending,
    read_usage,
    stop_of,
)
from app.dialects.gemini_stream import GeminiStreamDecoder
from app.dialects.gemini_upstream import encode_count_request, encode_request
from app.dialects.gemini_writer import GeminiStreamEncoder
from app.dialects.sse import Frame
from app.errors import RequestError, UpstreamError
from app.http import Headers, HttpReply

__all__ = ["GEMINI", "GeminiDialect"]

_ROOT = r"/v1(?:beta1?|alpha)?/(?:(?:publishers/google/)?models/|(?=tunedModels/))(?P<model>.+):"
_METHODS: tuple[tuple[str, Operation, bool], ...] = (
    ("generateContent", "generate", False),
    ("streamGenerateContent", "generate", True),
    ("countTokens", "count_tokens", False),
)
_ROUTES = tuple(
    Route("POST", re.compile(_ROOT + method), operation, stream)
    for method, operation, stream in _METHODS
)
_PREFIX = re.compile(r"(?:models/|publishers/google/models/)+")
_CONTENT = Sight(content=True)
_EMPTY_TEXT = re.compile(rb'"text"\s*:\s*""')


class GeminiDialect:
    """The dialect of Google's Gemini API; stateless."""

    @property
    def name(self) -> DialectName:
        """The dialect's name."""
        return DIALECT

    final_names: tuple[bytes, ...] = ()

    @property
    def issuer(self) -> str:
        """Issuer of signatures that a client sends back unsealed."""
        return ISSUER

    @property
    def routes(self) -> tuple[Route, ...]:
        """The paths of ``v1``, ``v1beta`` and ``v1alpha``; ``models/`` may stand in the model."""
        return _ROUTES

    def peek(self, raw: bytes | Head, path: str, query: str, route: Route) -> Peek:
        """Read what routing needs: nearly everything stands in the path.

        Raises:
            RequestError: the body is no JSON object, or the path has no model.
        """
        head = read_head(raw)
        found = route.pattern.fullmatch(path)
        model = _PREFIX.sub("", unquote(found["model"]), count=1) if found is not None else ""
        if not model.strip():
            raise RequestError("The path names no model.", param="model")
        stream = bool(route.stream)
        return Peek(
            model=model,
            stream=stream,
            operation=route.operation,
            session=_session(head),
            reasoning=_thinks(head),
            variant="array" if stream and not _wants_sse(query) else "",
        )

    def path(self, operation: Operation, model: str, *, stream: bool) -> str:
        """Return path and query of an upstream call."""
        name = _PREFIX.sub("", model, count=1)
        root = "" if name.startswith("tunedModels/") else "models/"
        if operation == "count_tokens":
            method = "countTokens"
        else:
            method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/v1beta/{root}{quote(name, safe='/:@')}:{method}"

    def decode_request(self, body: JsonObject, peek: Peek) -> ChatRequest:
        """Wire to canon.

        Raises:
            RequestError: the body does not follow the dialect; ``param`` says where.
        """
        return decode_request(body, peek)

    def encode_request(self, request: ChatRequest, target: Target) -> Encoded:
        """Canon to wire, for an upstream.

        Raises:
            TranslationError: content that Gemini cannot take.
        """
        return encode_request(request, target)

    def decode_response(self, body: JsonObject, issuer: str) -> ChatResponse:
        """Wire to canon.

        Raises:
            UpstreamError: the body does not follow the dialect.
        """
        return decode_response(body, issuer)

    def read_ending(self, raw: bytes) -> Ending | None:
        """Read usage and stop reason of a whole answer; see ``Dialect.read_ending``."""
        return read_ending(raw)

    def encode_response(self, response: ChatResponse, reply: ReplyContext) -> Encoded:
        """Canon to wire, for a client."""
        return encode_response(response, reply)

    def stream_decoder(self, issuer: str) -> GeminiStreamDecoder:
        """Return a decoder for one upstream stream (``alt=sse``)."""
        return GeminiStreamDecoder(issuer)

    def stream_encoder(self, reply: ReplyContext) -> GeminiStreamEncoder:
        """Return an encoder for one client stream, in the form that ``reply.variant`` says."""
        return GeminiStreamEncoder(reply)

    def decode_failure(self, status: int, headers: Headers, body: bytes) -> Failure:
        """Read a service's error answer; never raises."""
        return decode_failure(status, headers, body)

    def encode_failure(self, failure: Failure, request_id: str) -> HttpReply:
        """Return the whole error answer for a client."""
        return encode_failure(failure, request_id)

    def inspect(self, frame: Frame) -> Sight:
        """Say what a frame of a stream means; only last chunks and errors are decoded."""
        data = frame.data
        if b'"finishReason"' in data or b'"error"' in data or b'"promptFeedback"' in data:
            return _look(data)
        return _CONTENT if _has_content(data) else NOTHING

    def encode_count_request(self, request: ChatRequest, target: Target) -> Encoded:
        """Return the body of ``countTokens``.

        Raises:
            TranslationError: content that Gemini cannot take.
        """
        return encode_count_request(request, target)

    def decode_count(self, body: JsonObject) -> int:
        """Return ``totalTokens``.

        Raises:
            UpstreamError: the body has no such count.
        """
        try:
            return integer(body.get("totalTokens"), "totalTokens")
        except RequestError as error:
            raise UpstreamError(
                f"The service's count cannot be read: {error.message}", code="malformed_answer"
            ) from error

    def encode_count(self, tokens: int) -> JsonObject:
        """Return the answer to a client's count call."""
        return {"totalTokens": tokens}


GEMINI = GeminiDialect()


def _wants_sse(query: str) -> bool:
    asked = parse_qs(query)
    return "sse" in (*asked.get("alt", ()), *asked.get("$alt", ()))


def _decoded(head: dict[str, msgspec.Raw], *names: str) -> Json:
    for name in names:
        if name in head:
            value: Json = msgspec.json.decode(head[name])
            return value
    return None


def _session(head: dict[str, msgspec.Raw]) -> str | None:
    # A cached prompt lives at one account only, so it keeps a conversation there.
    value = _decoded(head, "cachedContent", "cached_content", "session_id", "sessionId")
    return value if isinstance(value, str) and value else None


def _thinks(head: dict[str, msgspec.Raw]) -> bool:
    name = "generationConfig" if "generationConfig" in head else "generation_config"
    if name not in head or b"hinking" not in bytes(head[name]):
        return False
    config = _decoded(head, name)
    thinking = None
    if isinstance(config, dict):
        thinking = config.get("thinkingConfig", config.get("thinking_config"))
    if not isinstance(thinking, dict):
        return False
    return thinking.get("thinkingBudget", thinking.get("thinking_budget")) != 0


def _has_content(data: bytes) -> bool:
    if b'"parts"' not in data:
        return False
    # A lone empty text opens nothing; anything else under `parts` does.
    if b'""' not in data:
        return True
    texts = data.count(b'"text"')
    return texts == 0 or len(_EMPTY_TEXT.findall(data)) < texts


def _look(data: bytes) -> Sight:
    try:
        value: Json = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _CONTENT if _has_content(data) else NOTHING
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return NOTHING
    error = value.get("error")
    if error is not None:
        known: JsonObject = error if isinstance(error, dict) else {"message": error}
        return Sight(failure=failure_of_error(known))
    candidates = value.get("candidates")
    reasons = [
        item["finishReason"]
        for item in (candidates if isinstance(candidates, list) else ())
        if isinstance(item, dict) and item.get("finishReason")
    ]
    ended = bool(reasons)
    feedback = value.get("promptFeedback")
    blocked = not candidates and isinstance(feedback, dict) and "blockReason" in feedback
    model = value.get("modelVersion")
    usage = None
    if "usageMetadata" in value:
        try:
            usage, _ = read_usage(fields(value, "chunk").get("usageMetadata"))
        except RequestError:
            usage = None  # the stream goes on; only its count stays unknown
    return Sight(
        content=_has_content(data),
        terminal=ended or blocked,
        stop=stop_of(reasons[0]) if ended else "content_filter" if blocked else None,
        usage=usage,
        model=model if isinstance(model, str) else None,
    )
