"""The WebSocket form of Responses: one JSON text per message, in both directions.

A client sends ``{"type": "response.create", …}`` with the fields of the POST body; the answer is
the same events as the stream's, one per message, without the framing of server-sent events.

Source: ``ResponsesClientEvent`` and ``ResponsesServerEvent`` of openai-python 3.
"""

from __future__ import annotations

import msgspec

from app.canonical.failure import Failure
from app.canonical.parts import JsonObject
from app.dialects.base import DELETE, dump, patch_object, read_head
from app.dialects.openai_errors import encode_openai_failure, render_openai_error
from app.dialects.sse import SseParser
from app.errors import RequestError

__all__ = ["decode_ws_message", "encode_ws_failure", "wants_answer", "ws_frames"]


def decode_ws_message(text: str | bytes) -> bytes:
    """Return the body that the same call has as a POST: streamed, without the socket's own keys.

    Raises:
        RequestError: no JSON object, or not of type ``response.create``.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    head = read_head(raw)
    kind = _value(head, "type")
    if kind != "response.create":
        raise RequestError(
            f"Only response.create messages are understood here, not {kind!r}.", param="type"
        )
    return patch_object(
        head, {"type": DELETE, "stream_id": DELETE, "generate": DELETE, "stream": True}
    )


def wants_answer(text: str | bytes) -> bool:
    """Say whether a ``response.create`` message asks for an answer.

    ``"generate": false`` only warms the service's cache up.

    Raises:
        RequestError: no JSON object.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return _value(read_head(raw), "generate") is not False


def _value(head: dict[str, msgspec.Raw], key: str) -> object:
    if key not in head:
        return None
    try:
        value: object = msgspec.json.decode(head[key])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise RequestError(f"{key} is not valid JSON.", param=key) from error
    return value


def ws_frames(sse: bytes) -> list[str]:
    """Return each event of a piece of encoder output as one JSON text; comments are dropped."""
    parser = SseParser()
    frames = parser.feed(sse) + parser.close()
    return [frame.data.decode("utf-8", "replace") for frame in frames]


def encode_ws_failure(failure: Failure, request_id: str) -> str:
    """Return the ``error`` message for a call that failed before its answer began."""
    reply = encode_openai_failure(failure, request_id)
    headers: JsonObject = {k: v for k, v in reply.headers if k != "content-type"}
    message: JsonObject = {
        "type": "error",
        "status": reply.status,
        "error": render_openai_error(failure),
        "headers": headers,
    }
    return dump(message).decode()
