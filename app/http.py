"""HTTP as values: what the rooms below the network hand each other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from app.errors import UpstreamError

__all__ = ["Headers", "HttpReply", "HttpRequest", "Limits", "Send", "StreamedReply", "header"]

Headers: TypeAlias = tuple[tuple[str, str], ...]
"""Header fields in order; names keep their spelling, comparison ignores case."""


def header(headers: Headers | list[tuple[str, str]], name: str) -> str | None:
    """Return the first value of a header field, or None; ``name`` in any case."""
    name = name.lower()
    for key, value in headers:
        if key.lower() == name:
            return value
    return None


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request to an upstream: absolute ``url``, complete ``headers`` (no Host, no length).

    ``proxy`` is the proxy URL of this call, or ``direct``; None for the general setting.
    """

    method: str
    url: str
    headers: Headers = ()
    body: bytes = b""
    proxy: str | None = None


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A complete answer, body decoded from its content encoding."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """Return the first value of a header field, or None."""
        return header(self.headers, name)


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits of one call, in seconds; all of them end in ``UpstreamError`` 504.

    ``first_byte_s`` counts from the end of sending to the first byte of the answer's head,
    ``idle_s`` between two reads of the body, ``total_s`` over the whole call (None: no limit).
    ``max_body_bytes`` bounds what ``StreamedReply.read`` collects.
    """

    connect_s: float = 10.0
    first_byte_s: float = 120.0
    idle_s: float = 300.0
    total_s: float | None = None
    max_body_bytes: int = 64 * 1024 * 1024


async def _nothing() -> None:
    return None


@dataclass(slots=True)
class StreamedReply:
    """An answer whose body is still to be read.

    ``chunks`` yields the decoded body, one item per socket read, and raises ``UpstreamError``
    when the connection breaks or a time limit passes. ``aclose`` must be awaited in every case:
    it gives the connection back, or ends it when the body was not read to its end.
    """

    status: int
    headers: Headers
    chunks: AsyncIterator[bytes]
    aclose: Callable[[], Awaitable[None]] = field(default=_nothing)

    def header(self, name: str) -> str | None:
        """Return the first value of a header field, or None."""
        return header(self.headers, name)

    async def read(self, limit_bytes: int = 64 * 1024 * 1024) -> bytes:
        """Collect the body.

        Raises:
            UpstreamError: the body is longer than ``limit_bytes``, or reading failed.
        """
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks:
            size += len(chunk)
            if size > limit_bytes:
                raise UpstreamError(
                    f"The upstream answer is longer than {limit_bytes} bytes.",
                    code="upstream_too_large",
                )
            parts.append(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)


Send: TypeAlias = Callable[[HttpRequest, Limits], Awaitable[StreamedReply]]
"""Send one request; returns once the answer's head is there. Raises ``UpstreamError``."""
