"""One attempt's translation: which grade, what is sent, and how the answer comes back.

Grades, chosen after routing:

- *verbatim*: same dialect, nothing to change; request and response bytes are untouched;
- *patched*: same dialect, named top-level keys replaced, the rest kept byte for byte;
- *translated*: through the canon. Also taken within one dialect when the history carries another
  vendor's sealed signatures, which only the canon can take out again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, TypeAlias

import msgspec

from app.canonical.events import Event
from app.canonical.fold import unfold
from app.canonical.loss import Loss
from app.canonical.parts import Json, JsonObject, Part
from app.canonical.profile import Target
from app.canonical.request import ChatRequest
from app.canonical.response import ChatResponse
from app.dialects.base import (
    Delete,
    Dialect,
    Encoded,
    Ending,
    ReplyContext,
    StreamEncoder,
    dump,
    patch_object,
)
from app.dialects.carrier import SEAL_MARK
from app.dialects.tools import Restorer, ToolNames, fit_tools
from app.errors import TranslationError, UpstreamError

__all__ = [
    "ClientSide",
    "Grade",
    "StreamPipe",
    "Translation",
    "Watch",
    "carries_seal",
    "decode_reply",
    "encode_whole",
    "read_ending",
    "translate",
]

Grade: TypeAlias = Literal["verbatim", "patched", "translated"]


class ClientSide(Protocol):
    """The half of a dialect that faces a client (``Dialect``, or completions over Chat)."""

    def encode_response(self, response: ChatResponse, reply: ReplyContext) -> Encoded:
        """Canon to wire, for a client."""
        ...

    def stream_encoder(self, reply: ReplyContext) -> StreamEncoder:
        """Return an encoder for one client stream."""
        ...


class Watch(Protocol):
    """Sees the canonical events of an answer on their way (the replay cache)."""

    def see(self, events: list[Event]) -> None:
        """Look at events; must not change them."""
        ...


@dataclass(frozen=True, slots=True)
class Translation:
    """What is sent for one attempt."""

    grade: Grade
    body: bytes
    losses: tuple[Loss, ...] = ()
    names: ToolNames = field(default_factory=ToolNames)
    request: ChatRequest | None = None
    """The client's request as decoded; None unless the grade is ``translated``."""


def translate(
    client: Dialect,
    upstream: Dialect,
    raw: bytes,
    head: Mapping[str, msgspec.Raw],
    model: str,
    target: Target,
    *,
    request: ChatRequest | None,
    edits: Mapping[str, Json | Delete],
    verbatim_ok: bool,
) -> Translation:
    """Build the body of one attempt.

    Args:
        client: dialect of the caller.
        upstream: dialect of the candidate.
        raw: the caller's body.
        head: its top level.
        model: the upstream's model name.
        target: for whom the body is.
        request: the decoded request; needed only when the grade is ``translated``.
        edits: same-dialect edits that this candidate needs (vendor identity, service quirks).
        verbatim_ok: False where the caller's surface is not the dialect itself (completions), and
            for a body that ``carries_seal``.

    Raises:
        TranslationError: the target cannot express the content.
    """
    if client.name == upstream.name and verbatim_ok:
        changes = dict(edits)
        if (
            "model" in head
            and client.name != "gemini"
            and msgspec.json.decode(head["model"]) != model
        ):
            changes["model"] = model
        if not changes:
            return Translation("verbatim", raw)
        return Translation("patched", patch_object(head, changes))
    if request is None:
        raise TranslationError("The request could not be read.", "")
    if request.choices > 1 and client.name != upstream.name:
        raise TranslationError(
            "Several alternative answers (n, candidateCount) cannot be asked of this model.", "n"
        )
    fitted, names = fit_tools(request, upstream.name, target)
    encoded = upstream.encode_request(replace(fitted, model=model), target)
    return Translation("translated", dump(encoded.body), encoded.losses, names, request)


def carries_seal(raw: bytes) -> bool:
    """Say whether a body holds a sealed signature of another vendor."""
    return SEAL_MARK in raw


class StreamPipe:
    """Upstream stream bytes to client stream bytes, translated."""

    __slots__ = ("_decoder", "_encoder", "_restorer", "_watch")

    def __init__(
        self,
        client: ClientSide,
        upstream: Dialect,
        issuer: str,
        names: ToolNames,
        reply: ReplyContext,
        watch: Watch | None,
    ) -> None:
        self._decoder = upstream.stream_decoder(issuer)
        self._encoder = client.stream_encoder(reply)
        self._restorer = Restorer(names) if names.back else None
        self._watch = watch

    def decode(self, data: bytes) -> list[Event]:
        """Return the events of an upstream chunk, tools restored."""
        return self._restore(self._decoder.feed(data))

    def close(self) -> list[Event]:
        """Return the events that the end of the stream brings."""
        return self._restore(self._decoder.close())

    def encode(self, events: list[Event]) -> bytes:
        """Return events in the client's dialect."""
        if self._watch is not None:
            self._watch.see(events)
        return self._encoder.encode(events)

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What the client's dialect could not say so far."""
        return self._encoder.losses

    def ping(self) -> bytes:
        """Return a sign of life."""
        return self._encoder.ping()

    def _restore(self, events: list[Event]) -> list[Event]:
        return events if self._restorer is None else self._restorer.apply(events)


def encode_whole(
    client: ClientSide,
    response: ChatResponse,
    names: ToolNames,
    reply: ReplyContext,
    watch: Watch | None,
) -> tuple[bytes, tuple[Loss, ...]]:
    """Return a whole answer in the client's dialect, and what it could not say."""
    parts: tuple[Part, ...] = names.restore_parts(response.parts)
    if parts is not response.parts:
        response = replace(response, parts=parts)
    if watch is not None:
        watch.see(unfold(response))
    encoded = client.encode_response(response, reply)
    return dump(encoded.body), encoded.losses


def read_ending(upstream: Dialect, raw: bytes, issuer: str) -> Ending:
    """Return usage and stop reason of an upstream's whole answer.

    Raises:
        UpstreamError: it cannot be read.
    """
    ending = upstream.read_ending(raw)
    if ending is not None:
        return ending
    answer = decode_reply(upstream, raw, issuer)
    return Ending(answer.usage, answer.stop)


def decode_reply(upstream: Dialect, raw: bytes, issuer: str) -> ChatResponse:
    """Decode an upstream's whole answer.

    Raises:
        UpstreamError: it is not JSON, or does not follow the dialect.
    """
    try:
        body: JsonObject = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamError(
            "The upstream's answer is not valid JSON.", code="upstream_protocol"
        ) from error
    if not isinstance(body, dict):
        raise UpstreamError("The upstream's answer is no JSON object.", code="upstream_protocol")
    return upstream.decode_response(body, issuer)
