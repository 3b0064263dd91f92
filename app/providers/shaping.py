"""What a service needs changed in a call, as values: its body rules and header fields.

Most services need nothing. Those behind a sign-in have rules of their own (a field that must be
there, one that must not, an answer that is always streamed). A provider's ``shape`` is given the
call as the dialects made it, and returns it as the service wants it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from app.canonical.parts import DialectName
from app.http import Headers
from app.providers.credential import Credential

__all__ = ["Asked", "Operation", "Shaped"]

Operation: TypeAlias = Literal["generate", "count_tokens", "compact", "embeddings", "images"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One call that is about to be sent."""

    dialect: DialectName
    """Of the body."""
    operation: Operation
    model: str
    """The upstream's name."""
    body: bytes
    """A JSON object in the dialect."""
    stream: bool
    """What the client wants."""
    path: str
    """The dialect's path and query."""
    client_headers: Headers
    """All fields of the caller's head where the caller speaks the same dialect, else none."""
    credential: Credential | None
    session: str = ""
    """Hash that stays the same within a conversation, and tells nothing of the caller; may be
    empty."""


@dataclass(frozen=True, slots=True)
class Shaped:
    """The call as the service wants it."""

    body: bytes
    """The very object of ``Asked.body`` when nothing had to change."""
    path: str
    headers: Headers = ()
    """Further fields; they replace the provider's fixed ones and what the client sent."""
    base_url: str = ""
    """Where this account's calls go, when not to the provider's address."""
    always_streams: bool = False
    """The service only streams; an answer that is wanted whole is collected from the stream."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Tool names as sent → as the caller knows them, to be put back in the answer."""
