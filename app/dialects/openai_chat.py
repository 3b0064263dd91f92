"""The OpenAI Chat Completions dialect.

Source: https://platform.openai.com/docs/api-reference/chat and the types of the official SDK,
with the forms that compatible servers add (OpenRouter, DeepSeek, vLLM, llama.cpp, Ollama,
Mistral, xAI and Google's compatible endpoint).

The canon holds the first of several choices. What an answer has beside it (log probabilities,
annotations, audio, service tier) travels in ``ChatResponse.native``: unknown top-level fields
under their names, and ``choices`` with one object of the unknown fields of the first choice,
whose ``message`` holds the unknown fields of the message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from app.canonical.failure import Failure
from app.canonical.parts import DialectName, JsonObject
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
    StreamDecoder,
    StreamEncoder,
    decode_object,
    read_head,
)
from app.dialects.openai_chat_answer import decode_answer, encode_answer, read_ending, stop_of
from app.dialects.openai_chat_failure import fastapi_error, read_error
from app.dialects.openai_chat_request import decode_chat_request
from app.dialects.openai_chat_stream import ChatStreamDecoder
from app.dialects.openai_chat_thought import decode_usage
from app.dialects.openai_chat_upstream import encode_chat_request
from app.dialects.openai_chat_values import ISSUER, NAME
from app.dialects.openai_chat_writer import ChatStreamEncoder
from app.dialects.openai_errors import (
    decode_openai_failure,
    encode_openai_failure,
    error_of,
    read_openai_error,
)
from app.dialects.sse import Frame
from app.dialects.values import first_object, need_object
from app.errors import RequestError, UpstreamError
from app.http import Headers, HttpReply

__all__ = ["OPENAI_CHAT", "ChatDialect", "inspect_frame"]

_PATH = re.compile(r"/(?:v1/)?chat/completions/?")
_SESSION_KEYS = ("prompt_cache_key", "session_id", "conversation_id")


class ChatDialect:
    """Chat Completions in both directions and both roles."""

    @property
    def name(self) -> DialectName:
        """The dialect's name."""
        return NAME

    final_names: tuple[bytes, ...] = ()

    @property
    def issuer(self) -> str:
        """Issuer of what a client sends back unsealed."""
        return ISSUER

    @property
    def routes(self) -> tuple[Route, ...]:
        """The paths on which clients call it."""
        return (Route("POST", _PATH, "generate"),)

    def peek(self, raw: bytes | Head, path: str, query: str, route: Route) -> Peek:
        """Read model, stream and session.

        Raises:
            RequestError: no JSON object, or no model.
        """
        head = read_head(raw)
        model = _value(head, "model")
        if not isinstance(model, str) or not model:
            raise RequestError("model must be the name of a model.", param="model")
        sessions = (_value(head, key) for key in _SESSION_KEYS)
        effort, wish = _value(head, "reasoning_effort"), _value(head, "reasoning")
        enabled = not isinstance(wish, dict) or wish.get("enabled") is not False
        return Peek(
            model,
            _value(head, "stream") is True,
            session=next((s for s in sessions if isinstance(s, str) and s), None),
            reasoning=effort not in (None, "none") or (bool(wish) and enabled),
        )

    def path(self, operation: Operation, model: str, *, stream: bool) -> str:
        """Return the path of an upstream call.

        Raises:
            RequestError: Chat has no count call.
        """
        if operation == "count_tokens":
            raise _no_count()
        return "/v1/chat/completions"

    def decode_request(self, body: JsonObject, peek: Peek) -> ChatRequest:
        """Wire to canon.

        Raises:
            RequestError: the body does not follow the dialect.
        """
        return decode_chat_request(body)

    def encode_request(self, request: ChatRequest, target: Target) -> Encoded:
        """Canon to wire, for an upstream.

        Raises:
            TranslationError: content that Chat cannot express.
        """
        return encode_chat_request(request, target)

    def decode_response(self, body: JsonObject, issuer: str) -> ChatResponse:
        """Wire to canon.

        Raises:
            UpstreamError: the body does not follow the dialect, or holds an error.
        """
        error = body.get("error")
        if error and not body.get("choices"):
            failure = read_error(error, None)
            raise error_of(failure)
        try:
            return decode_answer(body, issuer)
        except RequestError as error:
            raise UpstreamError(
                f"The service's answer cannot be read: {error.message}", code="upstream_protocol"
            ) from error

    def read_ending(self, raw: bytes) -> Ending | None:
        """Read usage and stop reason of a whole answer; see ``Dialect.read_ending``."""
        return read_ending(raw)

    def encode_response(self, response: ChatResponse, reply: ReplyContext) -> Encoded:
        """Canon to wire, for a client."""
        return encode_answer(response, reply)

    def stream_decoder(self, issuer: str) -> StreamDecoder:
        """Return a decoder for one upstream stream."""
        return ChatStreamDecoder(issuer)

    def stream_encoder(self, reply: ReplyContext) -> StreamEncoder:
        """Return an encoder for one client stream."""
        return ChatStreamEncoder(reply)

    def decode_failure(self, status: int, headers: Headers, body: bytes) -> Failure:
        """Read a service's error answer; never raises."""
        value = first_object(body) or {}
        if "error" in value:
            error = value["error"]
            named = isinstance(error, str) and not isinstance(value.get("message"), str)
            if error and (named or isinstance(error, dict)):
                return read_error(error, status, headers)
        detail = value.get("detail")
        if isinstance(detail, list):
            return read_openai_error(
                fastapi_error(detail), status, headers=headers, dialect=NAME, known=False
            )
        return decode_openai_failure(status, headers, body, NAME)

    def encode_failure(self, failure: Failure, request_id: str) -> HttpReply:
        """Return the whole error answer for a client."""
        return encode_openai_failure(failure, request_id)

    def inspect(self, frame: Frame) -> Sight:
        """Say what a frame means, decoding it only when it may matter."""
        return inspect_frame(frame)

    def encode_count_request(self, request: ChatRequest, target: Target) -> Encoded:
        """Chat has no count call.

        Raises:
            RequestError: always.
        """
        raise _no_count()

    def decode_count(self, body: JsonObject) -> int:
        """Chat has no count call.

        Raises:
            RequestError: always.
        """
        raise _no_count()

    def encode_count(self, tokens: int) -> JsonObject:
        """Chat has no count call.

        Raises:
            RequestError: always.
        """
        raise _no_count()


OPENAI_CHAT = ChatDialect()


def _no_count() -> RequestError:
    return RequestError("Chat Completions has no call that counts tokens.", code="no_count")


def _value(head: Mapping[str, msgspec.Raw], key: str) -> Any:
    raw = head.get(key)
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise RequestError(f"{key} cannot be read.", code="invalid_json", param=key) from None


_FINISH = re.compile(rb'"finish_reason"\s*:\s*"')
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_ERROR = re.compile(rb'"error"\s*:\s*[^n\s]')
_CONTENT = re.compile(
    rb'"(?:content|reasoning_content|reasoning|refusal|arguments|name|input|data|transcript)"'
    rb'\s*:\s*"[^"]'
)


def inspect_frame(frame: Frame) -> Sight:
    """Say what a frame of a pass-through stream means.

    Quotation marks inside strings are escaped, so that the patterns meet keys only. A frame with
    a finish reason counts as terminal, because some servers send no ``[DONE]``.
    """
    data = frame.data
    if data.startswith(b"[DONE]"):
        return Sight(terminal=True)
    if _ERROR.search(data) or frame.event == "error":
        return _inspect_whole(data, error=True)
    if _FINISH.search(data) or _USAGE.search(data):
        return _inspect_whole(data, error=False)
    return _CONTENT_SEEN if _CONTENT.search(data) else NOTHING


_CONTENT_SEEN = Sight(content=True)


def _inspect_whole(data: bytes, *, error: bool) -> Sight:
    try:
        chunk = decode_object(data)
    except RequestError:
        return NOTHING
    fault = chunk.get("error")
    if error and fault:
        return Sight(failure=read_error(fault, None))
    choices = chunk.get("choices")
    reasons = [
        reason
        for choice in (choices if isinstance(choices, list) else ())
        if isinstance(choice, dict) and isinstance(reason := choice.get("finish_reason"), str)
    ]
    finished = any(reasons)
    usage = chunk.get("usage")
    if usage is None and isinstance(chunk.get("x_groq"), dict):
        usage = need_object(chunk["x_groq"], "x_groq").get("usage")
    model = chunk.get("model")
    return Sight(
        content=_CONTENT.search(data) is not None,
        terminal=finished,
        usage=decode_usage(usage),
        model=model if isinstance(model, str) and model else None,
        stop=stop_of(reasons[0], calls=False, refused=False) if finished else None,
    )
