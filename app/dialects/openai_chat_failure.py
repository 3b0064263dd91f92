"""Error objects in the forms that Chat servers use, brought to OpenAI's own."""

from __future__ import annotations

from typing import Any

import msgspec

from app.canonical.failure import Failure
from app.canonical.parts import Json, JsonObject
from app.dialects.base import dump
from app.dialects.openai_chat_values import NAME
from app.dialects.openai_errors import read_openai_error
from app.http import Headers

__all__ = ["fastapi_error", "read_error"]


def read_error(error: Any, status: int | None, headers: Headers = ()) -> Failure:
    """Say what the value of ``error`` means, in any of the forms in use.

    OpenRouter puts the words of the service behind it into ``metadata.raw``; llama.cpp says
    ``exceed_context_size_error``; Ollama and some proxies write a bare string.
    """
    if isinstance(error, str):
        return read_openai_error(
            {"message": error}, status, headers=headers, dialect=NAME, known=False
        )
    if not isinstance(error, dict):
        return read_openai_error({}, status, headers=headers, dialect=NAME, known=False)
    judged = dict(error)
    words = _raw_words(error.get("metadata"))
    message = error.get("message")
    if words and isinstance(message, str) and words not in message:
        judged["message"] = f"{message}: {words}"
    if error.get("type") == "exceed_context_size_error":
        judged["code"] = "context_length_exceeded"
    code = error.get("code")
    if status is None and isinstance(code, int) and 400 <= code < 600:
        status = code
    return read_openai_error(judged, status, headers=headers, dialect=NAME)


def _raw_words(metadata: Json) -> str:
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if isinstance(raw, str):
        try:
            raw = msgspec.json.decode(raw)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return str(raw)[:2000]
    if isinstance(raw, dict):
        inner = raw.get("error", raw)
        words = inner.get("message") if isinstance(inner, dict) else inner
        return words if isinstance(words, str) else ""
    return raw if isinstance(raw, str) else ""


def fastapi_error(detail: Json) -> JsonObject:
    """Return the error object for FastAPI's list of faults (``loc``, ``msg``, ``type``)."""
    items = [item for item in detail if isinstance(item, dict)] if isinstance(detail, list) else []
    said: list[str] = []
    param: str | None = None
    for item in items:
        place = item.get("loc")
        steps = [str(s) for s in place if s != "body"] if isinstance(place, list) else []
        param = param or ".".join(steps) or None
        said.append(": ".join(filter(None, (".".join(steps), str(item.get("msg") or "")))))
    message = "; ".join(filter(None, said)) or dump(detail).decode()[:2000]
    return {"message": message, "param": param}
