"""Signatures that a service no longer accepts: how it says so, and a request without them.

Encrypted thoughts belong to who issued them, which may be one account or one organisation. After a
switch of accounts, or long after they were given out, a service may refuse a history that holds
them. The thoughts are worth less than the answer, so the request is sent once more without.
"""

from __future__ import annotations

import re
from dataclasses import replace

from app.canonical.failure import Failure
from app.canonical.parts import Part, Reasoning, Text, ToolCall
from app.canonical.request import ChatRequest, Message

__all__ = ["blames_signature", "without_signatures"]

_WORDS = re.compile(
    r"(?i)invalid.{0,3}signature.{0,12}thinking|thinking.{0,60}cannot be modified"
    r"|encrypted.content.{0,40}(?:invalid|could not be|not be (?:verified|decrypted))"
    r"|(?:invalid|corrupted|not valid).{0,20}thought.?signature"
    r"|thought.?signature.{0,20}(?:invalid|not valid|corrupted)"
)
"""Anthropic's, OpenAI's and Google's words for it, as reported in 2026."""


def blames_signature(failure: Failure) -> bool:
    """Say whether a service refused a request for a signature or an encrypted thought in it."""
    if failure.code == "invalid_encrypted_content":
        return True
    return failure.status == 400 and _WORDS.search(failure.message) is not None


def without_signatures(request: ChatRequest) -> ChatRequest:
    """Return the request with what is signed in its history told plainly, or left out."""
    messages = tuple(_plain(message) for message in request.messages)
    return replace(request, messages=messages)


def _plain(message: Message) -> Message:
    parts = tuple(plain for part in message.parts if (plain := _without(part)) is not None)
    return replace(message, parts=parts)


def _without(part: Part) -> Part | None:
    match part:
        case Reasoning(signature=None):
            return part
        case Reasoning(text=""):
            return None  # nothing is left of it without what was encrypted
        case Reasoning() | Text() | ToolCall():
            return part if part.signature is None else replace(part, signature=None)
        case _:
            return part
