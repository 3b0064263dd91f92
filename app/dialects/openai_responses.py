"""OpenAI Responses: ``POST /v1/responses`` and its token count.

Requests are in ``openai_responses_request`` (read) and ``openai_responses_upstream`` (written),
whole answers in ``openai_responses_answer`` (read) and ``openai_responses_reply`` (written),
streams in ``openai_responses_stream`` (read) and again ``openai_responses_reply``.

Source: https://platform.openai.com/docs/api-reference/responses; the types of openai-python 3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from app.canonical.failure import Failure
from app.canonical.parts import DialectName, Json, JsonObject
from app.canonical.profile import Target
from app.canonical.request import ChatRequest
from app.canonical.response import ChatResponse, StopReason
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
from app.dialects.openai_errors import decode_openai_failure, encode_openai_failure
from app.dialects.openai_responses_answer import decode_response, decode_usage, read_ending
from app.dialects.openai_responses_failure import event_failure
from app.dialects.openai_responses_reply import ResponsesStreamEncoder, encode_response
from app.dialects.openai_responses_request import decode_request
from app.dialects.openai_responses_stream import ResponsesStreamDecoder
from app.dialects.openai_responses_upstream import encode_request
from app.dialects.openai_responses_values import ISSUER
from app.dialects.sse import Frame
from app.errors import RequestError, UpstreamError
from app.http import Headers, HttpReply

__all__ = ["OPENAI_RESPONSES", "OpenAIResponsesDialect"]

_ROUTES = (
    Route("POST", re.compile(r"(?:/v1)?/responses"), "generate"),
    Route("POST", re.compile(r"(?:/v1)?/responses/input_tokens"), "count_tokens", stream=False),
)
_COUNTED = (
    "model",
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "text",
    "truncation",
    "previous_response_id",
    "conversation",
)
"""What the count call takes."""

_TYPE = re.compile(rb'"type"\s*:\s*"([^"]{1,80})"')
_QUIET = ("response.created", "response.in_progress", "response.queued")
_FINAL = ("response.completed", "response.incomplete", "response.done")
_FAILED = ("response.failed", "response.cancelled", "error")


class _Answer(msgspec.Struct):
    model: str | None = None
    status: str | None = None
    usage: dict[str, Any] | None = None


class _Final(msgspec.Struct):
    response: _Answer | None = None


_decode_final = msgspec.json.Decoder(_Final).decode


class OpenAIResponsesDialect:
    """The Responses wire format; see ``base.Dialect`` for the contract."""

    name: DialectName = "openai_responses"
    issuer = ISSUER
    final_names: tuple[bytes, ...] = (
        b"response.completed",
        b"response.incomplete",
        b"response.failed",
    )
    routes = _ROUTES

    def peek(self, raw: bytes | Head, path: str, query: str, route: Route) -> Peek:
        """Read model, stream, session hint and whether thought is asked for.

        Raises:
            RequestError: no JSON object, or a field of the wrong type.
        """
        head = read_head(raw)
        model = _head_value(head, "model")
        if not isinstance(model, str) or not model:
            raise RequestError("model must be a string that names a model.", param="model")
        stream = _head_value(head, "stream")
        if stream is not None and not isinstance(stream, bool):
            raise RequestError("stream must be a boolean.", param="stream")
        reasoning = _head_value(head, "reasoning")
        effort = reasoning.get("effort") if isinstance(reasoning, dict) else None
        return Peek(
            model=model,
            stream=bool(stream) and route.stream is not False,
            operation=route.operation,
            session=_session(head),
            reasoning=isinstance(reasoning, dict) and effort != "none",
        )

    def path(self, operation: Operation, model: str, *, stream: bool) -> str:
        """Return the path of an upstream call."""
        return "/v1/responses/input_tokens" if operation == "count_tokens" else "/v1/responses"

    def decode_request(self, body: JsonObject, peek: Peek) -> ChatRequest:
        """Wire to canon; see ``openai_responses_request``."""
        return decode_request(body)

    def encode_request(self, request: ChatRequest, target: Target) -> Encoded:
        """Canon to wire; see ``openai_responses_upstream``."""
        return encode_request(request, target)

    def decode_response(self, body: JsonObject, issuer: str) -> ChatResponse:
        """Wire to canon; see ``openai_responses_answer``."""
        return decode_response(body, issuer)

    def read_ending(self, raw: bytes) -> Ending | None:
        """Read usage and stop reason of a whole answer; see ``Dialect.read_ending``."""
        return read_ending(raw)

    def encode_response(self, response: ChatResponse, reply: ReplyContext) -> Encoded:
        """Canon to wire; see ``openai_responses_reply``."""
        return encode_response(response, reply)

    def stream_decoder(self, issuer: str) -> StreamDecoder:
        """Return a decoder for one upstream stream."""
        return ResponsesStreamDecoder(issuer)

    def stream_encoder(self, reply: ReplyContext) -> StreamEncoder:
        """Return an encoder for one client stream."""
        return ResponsesStreamEncoder(reply)

    def decode_failure(self, status: int, headers: Headers, body: bytes) -> Failure:
        """Read an error answer; see ``openai_errors``."""
        return decode_openai_failure(status, headers, body, self.name)

    def encode_failure(self, failure: Failure, request_id: str) -> HttpReply:
        """Return the error answer for a client; see ``openai_errors``."""
        return encode_openai_failure(failure, request_id)

    def inspect(self, frame: Frame) -> Sight:
        """Say what a frame means; only terminal and error frames are decoded."""
        kind = frame.event
        if not kind:
            match = _TYPE.search(frame.data)
            kind = match.group(1).decode("ascii", "replace") if match else ""
        if kind in _FINAL:
            return _final_sight(frame)
        if kind in _FAILED or (not kind and frame.data.find(b'"error"') >= 0):
            failure = event_failure(frame.data)
            return NOTHING if failure is None else Sight(failure=failure)
        if kind in _QUIET or not kind.startswith("response."):
            return NOTHING
        return Sight(content=True)

    def encode_count_request(self, request: ChatRequest, target: Target) -> Encoded:
        """Return the body for ``POST /v1/responses/input_tokens``."""
        encoded = encode_request(request, target)
        body = {key: value for key, value in encoded.body.items() if key in _COUNTED}
        return Encoded(body, encoded.losses)

    def decode_count(self, body: JsonObject) -> int:
        """Return ``input_tokens``.

        Raises:
            UpstreamError: there is no such count.
        """
        tokens = body.get("input_tokens")
        if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
            raise UpstreamError("The upstream's answer has no input_tokens.")
        return tokens

    def encode_count(self, tokens: int) -> JsonObject:
        """Return the answer to a client's count call."""
        return {"object": "response.input_tokens", "input_tokens": tokens}


def _head_value(head: Mapping[str, msgspec.Raw], key: str) -> Json:
    if key not in head:
        return None
    try:
        value: Json = msgspec.json.decode(head[key])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise RequestError(f"{key} is not valid JSON.", code="invalid_json", param=key) from error
    return value


def _session(head: Mapping[str, msgspec.Raw]) -> str | None:
    for key in ("prompt_cache_key", "conversation", "previous_response_id"):
        value = _head_value(head, key)
        if isinstance(value, dict):
            value = value.get("id")
        if isinstance(value, str) and value:
            return value
    return None


def _final_sight(frame: Frame) -> Sight:
    try:
        answer = _decode_final(frame.data).response
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Sight(terminal=True)
    if answer is None:
        return Sight(terminal=True)
    if answer.status in ("failed", "cancelled"):
        return Sight(failure=event_failure(frame.data))
    stop: StopReason = "end"
    if answer.status == "incomplete":
        stop = "content_filter" if b'"content_filter"' in frame.data else "max_tokens"
    elif b'"function_call"' in frame.data or b'"custom_tool_call"' in frame.data:
        stop = "tool_use"
    return Sight(terminal=True, usage=decode_usage(answer.usage), model=answer.model, stop=stop)


OPENAI_RESPONSES = OpenAIResponsesDialect()
