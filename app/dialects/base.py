"""What a wire dialect is, and the few operations that all of them share.

A dialect knows one wire format in both directions and both roles: it decodes a client's request
and encodes the answer for it; it encodes a request for an upstream and decodes its answer. It
does no I/O, reads no clock and makes no random ids: those come in through ``ReplyContext``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import msgspec

from app.canonical.events import Event
from app.canonical.failure import Failure
from app.canonical.loss import Loss
from app.canonical.parts import DialectName, Json, JsonObject
from app.canonical.profile import Target
from app.canonical.request import ChatRequest
from app.canonical.response import ChatResponse, StopReason
from app.canonical.usage import Usage
from app.dialects.sse import Frame
from app.errors import RequestError
from app.http import Headers, HttpReply

__all__ = [
    "DELETE",
    "Delete",
    "Dialect",
    "Encoded",
    "Ending",
    "Head",
    "Operation",
    "Peek",
    "ReplyContext",
    "Route",
    "Sight",
    "Skipped",
    "StreamDecoder",
    "StreamEncoder",
    "decode_object",
    "dump",
    "patch_object",
    "read_head",
]

Operation: TypeAlias = Literal["generate", "count_tokens"]

dump = msgspec.json.Encoder().encode
"""JSON value to compact bytes."""

_decode_any = msgspec.json.Decoder().decode
_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Route:
    """One path of a dialect.

    ``pattern`` matches the whole path (no query), percent-decoded except for ``%2F``; a group
    ``model`` holds the model where the path names it.
    """

    method: str
    pattern: re.Pattern[str]
    operation: Operation
    stream: bool | None = None
    """Whether this path streams; None: the body says."""


@dataclass(frozen=True, slots=True)
class Peek:
    """What routing needs of a request before anything is decoded."""

    model: str
    stream: bool
    operation: Operation = "generate"
    session: str | None = None
    """A hint that is equal for the calls of one conversation (a key or id the client sent)."""
    reasoning: bool = False
    """The client asks for thought: the first byte may take longer."""
    variant: str = ""
    """Set by a dialect for its own encoder (Gemini: ``array`` when ``alt=sse`` is missing)."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A body to send, and what it could not say."""

    body: JsonObject
    losses: tuple[Loss, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplyContext:
    """What an encoder needs to know to answer a client."""

    model: str
    """The model name that the client asked for; shown to it in the answer."""
    request: ChatRequest | None
    """The client's request where it was decoded; encoders echo settings from it (Responses)."""
    created: float
    """Epoch seconds of the answer."""
    new_id: Callable[[str], str]
    """Makes an id with the given prefix (``msg_``): prefix + 24 characters [0-9A-Za-z]."""
    include_usage: bool = True
    """Chat: end the stream with a usage chunk."""
    variant: str = ""
    """``Peek.variant`` of the request."""


@dataclass(slots=True)
class Sight:
    """What one frame of a pass-through stream tells the gateway; nothing is translated.

    Like events these are made in large numbers, and so, for speed, not frozen, but they are not
    modified either: some are shared.
    """

    content: bool = False
    """Carries or opens content that a client acts upon: no failover after it."""
    terminal: bool = False
    """The stream is complete with this frame."""
    usage: Usage | None = None
    failure: Failure | None = None
    """The service reports a failure inside the stream."""
    model: str | None = None
    """Model that the service says it used."""
    stop: StopReason | None = None
    """Why the answer ended, as far as the frame tells."""


NOTHING = Sight()


@dataclass(frozen=True, slots=True)
class Ending:
    """What a whole answer says of itself beside its content."""

    usage: Usage | None
    """None when the service did not say."""
    stop: StopReason


class Skipped(msgspec.Struct, gc=False):
    """A JSON object of which nothing is read."""


class StreamDecoder(Protocol):
    """Upstream bytes to events; keeps the grammar of ``canonical.events``."""

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that ``data`` completes.

        Never raises on wire faults: a malformed stream yields ``Failed``.
        """
        ...

    def close(self) -> list[Event]:
        """End of the stream: close what is open; ``Failed(cut_stream())`` when it was cut."""
        ...


class StreamEncoder(Protocol):
    """Events to client bytes."""

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What the dialect could not say so far."""
        ...

    def encode(self, events: list[Event]) -> bytes:
        """Return the wire form of all the events, to be sent in one write (may be empty)."""
        ...

    def ping(self) -> bytes:
        """Return a sign of life that no client takes for content."""
        ...


class Dialect(Protocol):
    """One wire format."""

    @property
    def name(self) -> DialectName:
        """The dialect's name."""
        ...

    @property
    def issuer(self) -> str:
        """Issuer of signatures that a client of this dialect sends back unsealed."""
        ...

    @property
    def routes(self) -> tuple[Route, ...]:
        """The paths on which clients call it."""
        ...

    @property
    def final_names(self) -> tuple[bytes, ...]:
        """Names of the events that end a stream and repeat the whole answer, however long."""
        ...

    def peek(self, raw: bytes | Head, path: str, query: str, route: Route) -> Peek:
        """Read what routing needs, without decoding the rest; ``raw`` may be its ``read_head``.

        Raises:
            RequestError: the body is no JSON object, or the model is missing or not a string.
        """
        ...

    def path(self, operation: Operation, model: str, *, stream: bool) -> str:
        """Return path and query of an upstream call, relative to the API's root.

        The version is part of it (``/v1/messages``,
        ``/v1beta/models/m:streamGenerateContent?alt=sse``).
        """
        ...

    def decode_request(self, body: JsonObject, peek: Peek) -> ChatRequest:
        """Wire to canon.

        Raises:
            RequestError: the body does not follow the dialect; ``param`` says where.
        """
        ...

    def encode_request(self, request: ChatRequest, target: Target) -> Encoded:
        """Canon to wire, for an upstream; ``request.model`` is the upstream's name.

        Raises:
            TranslationError: content that this dialect cannot express.
        """
        ...

    def decode_response(self, body: JsonObject, issuer: str) -> ChatResponse:
        """Wire to canon. ``issuer`` is who signed what is signed in it.

        Raises:
            UpstreamError: the body does not follow the dialect.
        """
        ...

    def read_ending(self, raw: bytes) -> Ending | None:
        """Read usage and stop reason of a whole answer without decoding its content.

        Returns:
            What ``decode_response`` would say; None where only that can tell.
        """
        ...

    def encode_response(self, response: ChatResponse, reply: ReplyContext) -> Encoded:
        """Canon to wire, for a client."""
        ...

    def stream_decoder(self, issuer: str) -> StreamDecoder:
        """Return a decoder for one upstream stream."""
        ...

    def stream_encoder(self, reply: ReplyContext) -> StreamEncoder:
        """Return an encoder for one client stream."""
        ...

    def decode_failure(self, status: int, headers: Headers, body: bytes) -> Failure:
        """Read a service's error answer; never raises, whatever the body is."""
        ...

    def encode_failure(self, failure: Failure, request_id: str) -> HttpReply:
        """Return the whole error answer for a client.

        That is status, ``content-type``, the dialect's ``retry-after`` headers and the body.
        """
        ...

    def inspect(self, frame: Frame) -> Sight:
        """Say what a frame of this dialect's stream means to the gateway, cheaply."""
        ...

    def encode_count_request(self, request: ChatRequest, target: Target) -> Encoded:
        """Return the body for the service's own token count call."""
        ...

    def decode_count(self, body: JsonObject) -> int:
        """Return the number of tokens that a count call answered.

        Raises:
            UpstreamError: the body has no count.
        """
        ...

    def encode_count(self, tokens: int) -> JsonObject:
        """Return the answer to a client's count call."""
        ...


class Delete:
    """Marks a key for removal in ``patch_object``."""


DELETE = Delete()


@dataclass(slots=True)
class LossList:
    """Collects losses while encoding."""

    items: list[Loss] = field(default_factory=list)

    def add(self, path: str, reason: str) -> None:
        """Note one loss."""
        self.items.append(Loss(path, reason))

    def done(self) -> tuple[Loss, ...]:
        """Return what was noted."""
        return tuple(self.items)


def decode_object(raw: bytes) -> JsonObject:
    """Decode a JSON object.

    Raises:
        RequestError: not JSON (NaN included), not UTF-8, nested too deeply, or not an object.
    """
    try:
        value = _decode_any(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _not_json(error) from error
    if not isinstance(value, dict):
        raise RequestError("The body must be a JSON object.", code="invalid_json")
    return value


Head: TypeAlias = dict[str, msgspec.Raw]
"""The top level of a JSON object: keys in order, values not decoded."""


def read_head(raw: bytes | Head) -> Head:
    """Split the top level of a JSON object without decoding its values; order is kept.

    A head that was read already is returned as it is.

    Raises:
        RequestError: as ``decode_object``; also for a key that occurs twice, since two readers
            of such a body may disagree about what it says.
    """
    if isinstance(raw, dict):
        return raw
    try:
        if not raw.isascii():
            raw.decode("utf-8")
        head = _decode_raw(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _not_json(error) from error
    _refuse_twins(raw, head)
    return head


def _not_json(error: Exception) -> RequestError:
    if isinstance(error, RecursionError):
        return RequestError("The body nests too deeply.", code="invalid_json")
    if isinstance(error, UnicodeDecodeError):
        return RequestError("The body is not valid UTF-8.", code="invalid_json")
    if isinstance(error, msgspec.ValidationError):
        return RequestError("The body must be a JSON object.", code="invalid_json")
    return RequestError(f"The body is not valid JSON: {error}.", code="invalid_json")


_COLON = re.compile(rb"\s*:")
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)


def _raw_size(value: msgspec.Raw) -> int:
    return memoryview(value).nbytes


def _is_spaced(text: bytes, head: Mapping[str, msgspec.Raw]) -> bool:
    """Say whether a body is these keys and values, spaced as ``json.dumps`` does it."""
    at = 0
    border = b"{"
    for key, value in head.items():
        name = b'%b"%b": ' % (border, key.encode())
        held = bytes(value)
        if not (text.startswith(name, at) and text.startswith(held, at + len(name))):
            return False
        at += len(name) + len(held)
        border = b", "
    return text[at:] == b"}"


def _refuse_twins(raw: bytes, head: Mapping[str, msgspec.Raw]) -> None:
    # A dict keeps the last of two equal keys. If every byte of the body is accounted for by the
    # keys and values that survived (compactly or as Python's json.dumps spaces them), nothing was
    # dropped; only other spacings pay for a scan. The length alone proves the compact form; as
    # many bytes as spaces would take may also be a dropped key, so those are put together again.
    count = len(head)
    size = sum(len(key) + _raw_size(value) for key, value in head.items())
    text = raw.strip()
    slack = len(text) - size - 2 - 4 * count + (1 if count else 0)
    if slack == 0 or (slack == 2 * count - 1 and _is_spaced(text, head)):
        return
    depth = 0
    keys: list[bytes] = []
    for match in _TOKEN.finditer(raw):
        token = match.group()
        if token in b"{[":
            depth += 1
        elif token in b"}]":
            depth -= 1
        elif depth == 1 and _COLON.match(raw, match.end()):
            keys.append(token)
    names = [msgspec.json.decode(key, type=str) for key in keys]
    if len(names) != len(set(names)):
        name = next(name for name in names if names.count(name) > 1)
        raise RequestError(f"The body has the key {name!r} twice.", code="invalid_json", param=name)


def patch_object(
    raw: bytes | Mapping[str, msgspec.Raw], edits: Mapping[str, Json | Delete]
) -> bytes:
    """Replace, add or delete top-level keys of a JSON object; all else keeps bytes and order.

    Args:
        raw: the body, or its ``read_head``.
        edits: key to new value, or ``DELETE``.
    """
    head = read_head(raw) if isinstance(raw, bytes) else raw
    pieces: list[bytes] = []
    for key, value in head.items():
        if key in edits:
            edit = edits[key]
            if not isinstance(edit, Delete):
                pieces.append(dump(key) + b":" + dump(edit))
        else:
            pieces.append(dump(key) + b":" + bytes(value))
    for key, edit in edits.items():
        if key not in head and not isinstance(edit, Delete):
            pieces.append(dump(key) + b":" + dump(edit))
    return b"{" + b",".join(pieces) + b"}"
