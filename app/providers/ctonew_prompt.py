"""From a Chat request to what cto.new's own chat takes: one text, and nothing beside it.

There are no tools, no images, no structured answers and no sampling settings. What would change
the meaning of the answer is refused; settings that only tune it are left out, as everywhere.
"""

from __future__ import annotations

from typing import Any

import msgspec

from app.dialects.base import Head
from app.errors import RequestError, TranslationError

__all__ = ["Job", "make_job"]

_HEADINGS = {
    "system": "System",
    "developer": "System",
    "user": "User",
    "assistant": "Assistant",
}
_TOOLS_HINT = (
    "Use another model for agents, or sign in to ctonew by its command line (`cli`), whose "
    "endpoint takes tools."
)


class Job(msgspec.Struct, frozen=True, omit_defaults=True):
    """One chat, as ``app.upstream.ctonew`` carries it out."""

    model: str
    """Key of the model, without our prefix."""
    prompt: str
    public: str
    """The name that answers carry."""
    user: str = ""
    organization: str = ""
    stream: bool = False
    include_usage: bool = False


def make_job(head: Head, model: str, public: str, user: str, organization: str) -> Job:
    """Return the chat for a Chat request.

    Args:
        head: top level of the request's body.
        model: key of the model.
        public: the name that answers carry.
        user: id of the account's user.
        organization: id of the account's organisation; may be empty.

    Raises:
        TranslationError: the request has what cannot be said; ``param`` says where.
        RequestError: there is no message.
    """
    for name in ("tools", "functions"):
        if _value(head, name):
            raise TranslationError(
                "cto.new's chat takes no tools.",
                name,
                hint=_TOOLS_HINT,
            )
    form = _value(head, "response_format")
    if isinstance(form, dict) and form.get("type", "text") != "text":
        raise TranslationError("cto.new's chat has no structured answers.", "response_format")
    count = _value(head, "n")
    if isinstance(count, int) and count > 1:
        raise TranslationError("cto.new's chat gives one answer at a time.", "n")
    options = _value(head, "stream_options")
    return Job(
        model,
        _prompt(_value(head, "messages")),
        public,
        user,
        organization,
        _value(head, "stream") is True,
        isinstance(options, dict) and options.get("include_usage") is True,
    )


def _value(head: Head, name: str) -> Any:
    return msgspec.json.decode(head[name]) if name in head else None


def _prompt(messages: Any) -> str:
    """Return all messages as one text; a single question stays as it is."""
    if not isinstance(messages, list) or not messages:
        raise RequestError("The request has no messages.", param="messages")
    said: list[tuple[str, str]] = []
    for number, message in enumerate(messages):
        path = f"messages[{number}]"
        if not isinstance(message, dict):
            raise RequestError("A message must be an object.", param=path)
        heading = _HEADINGS.get(str(message.get("role")))
        if heading is None or message.get("tool_calls") or message.get("function_call"):
            raise TranslationError(
                "cto.new's chat takes no calls of tools and no results.", path, hint=_TOOLS_HINT
            )
        if text := _text(message.get("content"), f"{path}.content"):
            said.append((heading, text))
    if not said:
        raise RequestError("The messages have no text.", param="messages")
    if len(said) == 1 and said[0][0] == "User":
        return said[0][1]
    return "\n\n".join(f"{heading}:\n{text}" for heading, text in said)


def _text(content: Any, path: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise RequestError("The content must be a text or a list.", param=path)
    texts = []
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get(kind) if isinstance(part, dict) and kind in ("text", "refusal") else None
        if not isinstance(text, str):
            raise TranslationError("cto.new's chat takes only text.", f"{path}[{number}]")
        texts.append(text)
    return "\n".join(texts)
