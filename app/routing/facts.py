"""What rules may ask of a call: cheap facts of its head, and those that need the decoded request.

Everything that costs something is a function and is called only when a rule asks. Counting tokens
may need a thread, so the first question for them may end the evaluation with ``TokensWanted``; who
catches it counts and begins again with the number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import msgspec

from app.canonical.parts import Media, Part, Text, ToolResult
from app.canonical.request import ChatRequest, ServerTool
from app.errors import AppError
from app.http import Headers
from app.routing.suffix import split_suffix

__all__ = ["FactsMissing", "RequestFacts", "TokensWanted", "readable"]

_T = TypeVar("_T")

_SEED_CHARS = 2_000
"""Of each text, for the fingerprint of a conversation's beginning."""


class TokensWanted(Exception):
    """A rule asks for the number of tokens, which nobody has counted yet."""


class FactsMissing(Exception):
    """A fact that a rule asks for cannot be had: the body cannot be read, or a rule failed."""


def readable(decode: Callable[[], ChatRequest]) -> Callable[[], ChatRequest]:
    """Return a decoder for ``RequestFacts.request``: what it cannot read becomes a missing fact.

    Args:
        decode: decodes the body; decoding it twice costs nothing.
    """

    def request() -> ChatRequest:
        try:
            return decode()
        except AppError as error:
            raise FactsMissing(f"the body cannot be read: {error.message}") from error
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise FactsMissing(f"the body cannot be read: {error}") from error

    return request


def _wanted() -> int:
    raise TokensWanted


def _unread() -> ChatRequest:
    raise FactsMissing("the body was not given")


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """One call as rules see it."""

    model: str
    """The name that the client sent, with its suffix; empty when it named none."""
    path: str = ""
    stream: bool = False
    client: str = ""
    """Name of the calling program (``claude``, ``codex``, ``python``); empty when unknown."""
    key: str = ""
    """Label of the key; empty for callers without one."""
    headers: Headers = field(default=(), repr=False)
    conversation: str = ""
    """Equal for the calls of one conversation; empty when it has no name."""
    request: Callable[[], ChatRequest] = field(default=_unread, repr=False)
    """Decodes the body, once; raises ``FactsMissing`` when it cannot be read."""
    tokens: Callable[[], int] = field(default=_wanted, repr=False)
    """Number of tokens of the prompt: system, messages, tools, calls and results.

    Raises ``TokensWanted`` while it is not known."""
    _kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def counted(self, tokens: int) -> RequestFacts:
        """Return the facts with the number of tokens."""
        return replace(self, tokens=lambda: tokens)

    def names(self) -> tuple[str, ...]:
        """Return the model's name as sent, and without its suffix where it has one."""
        return self._keep("names", self._names)

    def thinking(self) -> bool:
        """Say whether the model is really asked to think: switched off is not on."""
        config = self.request().reasoning
        if config is None or config.mode == "off" or config.effort == "none":
            return False
        return config.budget_tokens != 0

    def tools(self) -> tuple[str, ...]:
        """Return the names of the tools that are offered, those that the service runs, too."""
        return self._keep("tools", lambda: tuple(_tool_names(self.request())))

    def images(self) -> bool:
        """Say whether there are images, be it in the result of a tool."""
        return self._keep("images", lambda: _has_images(self.request()))

    def header(self, name: str) -> tuple[str, ...]:
        """Return the values of a header field; ``name`` in small letters."""
        return tuple(value for key, value in self.headers if key.lower() == name)

    def seed(self) -> str:
        """Return a text that is the same for all calls of a conversation, as well as can be told.

        Without a name, a conversation is known by how it begins: the system text and the first
        message of the user stay while it grows.
        """
        return self.conversation or self._keep("seed", self._first_words)

    def _names(self) -> tuple[str, ...]:
        base, level = split_suffix(self.model)
        return (self.model,) if level is None else (self.model, base)

    def _first_words(self) -> str:
        try:
            request = self.request()
        except FactsMissing:
            return ""
        first = next((m.parts for m in request.messages if m.role == "user"), ())
        words = [p.text[:_SEED_CHARS] for p in (*request.system, *first) if isinstance(p, Text)]
        text = "\0".join(words).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=16).hexdigest()

    def _keep(self, name: str, make: Callable[[], _T]) -> _T:
        if name not in self._kept:
            self._kept[name] = make()
        kept: _T = self._kept[name]
        return kept


def _tool_names(request: ChatRequest) -> Iterable[str]:
    for tool in request.tools:
        if not isinstance(tool, ServerTool):
            yield tool.name
            continue
        if tool.purpose is not None:
            yield tool.purpose
        # A declaration names its tool by a value ("web_search") or by a key that holds its options.
        for key, value in tool.body.items():
            if isinstance(value, str):
                yield value
            elif isinstance(value, dict):
                yield key


def _has_images(request: ChatRequest) -> bool:
    parts: Iterable[Part] = (part for message in request.messages for part in message.parts)
    return any(
        isinstance(inner, Media) and inner.kind == "image"
        for part in (*request.system, *parts)
        for inner in (part.content if isinstance(part, ToolResult) else (part,))
    )
