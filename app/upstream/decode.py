"""Content codings taken off a body as it streams: gzip, deflate, br, zstd, and lists of them.

Every decoder gives out at once what its input allows, so that a server-sent event is not held back.
A small body can expand to any size, hence two bounds: what one fed chunk may become
(``max_chunk_bytes``), and, once ``_RATIO_FREE_BYTES`` are out, ``_MAX_RATIO`` times the input. A
body that ends within its compressed form is an error.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from app.errors import UpstreamError
from app.upstream import failures

__all__ = ["MAX_CHUNK_BYTES", "Decoded", "Decoder", "open_decoder"]

MAX_CHUNK_BYTES = 64 * 1024 * 1024
"""Default bound of what one fed chunk may become."""
_RATIO_FREE_BYTES = 8 * 1024 * 1024
_MAX_RATIO = 250
"""Plain JSON and text compress up to about 100 times; a bomb 1,000 times and more."""
_MAX_CODINGS = 3
_STEP_BYTES = 1024 * 1024
_ZSTD_SLICE_BYTES = 1024
"""A zstd block of 4 bytes can become 128 KiB, and the library has no output limit: with slices
this small at most 32 MiB come out before the bound is checked again."""
_ZSTD_WINDOW_BYTES = 8 * 1024 * 1024
"""The window that a zstd decoder on the web supports (RFC 9659)."""


class Decoder(Protocol):
    """One content coding. ``failure`` is what the library raises for bad data."""

    failure: type[Exception]

    def feed(self, data: bytes, limit_bytes: int) -> bytes:
        """Decode some input; the output may pass ``limit_bytes`` by one step, not by more."""

    def complete(self) -> bool:
        """Say whether the input ended where it may; true before any input."""


class _Zlib:
    """gzip (several members allowed, RFC 1952) and deflate, which services send in two forms."""

    failure: type[Exception] = zlib.error

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._inner: Any = zlib.decompressobj(31) if gzip else None
        self._pending = b""
        self._started = False

    def feed(self, data: bytes, limit_bytes: int) -> bytes:
        if self._inner is None:
            data = self._pending + data
            self._pending = data
            if len(data) < 2:
                return b""
            # RFC 1950 says zlib format; raw deflate is common all the same
            wrapped = data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
            self._inner = zlib.decompressobj(15 if wrapped else -15)
        parts: list[bytes] = []
        size = 0
        self._started = True
        while size <= limit_bytes:
            if self._inner.eof:
                if not data or not self._gzip:
                    break  # bytes behind the end of a deflate body mean nothing
                self._inner = zlib.decompressobj(31)
            part = self._inner.decompress(data, _STEP_BYTES)
            data = self._inner.unused_data or self._inner.unconsumed_tail
            parts.append(part)
            size += len(part)
            if not data and len(part) < _STEP_BYTES:  # a full step may have left output behind
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def complete(self) -> bool:
        if self._inner is None:
            return not self._pending
        return not self._started or bool(self._inner.eof)


class _Brotli:
    def __init__(self) -> None:
        import brotli  # type: ignore[import-untyped]  # no stubs exist

        self.failure: type[Exception] = brotli.error
        self._inner = brotli.Decompressor()
        self._started = False

    def feed(self, data: bytes, limit_bytes: int) -> bytes:
        self._started = True
        part: bytes = self._inner.process(data, output_buffer_limit=_STEP_BYTES)
        if self._inner.can_accept_more_data():
            return part
        parts = [part]
        size = len(part)
        while size <= limit_bytes and not self._inner.can_accept_more_data():
            part = self._inner.process(b"", output_buffer_limit=_STEP_BYTES)
            parts.append(part)
            size += len(part)
        return b"".join(parts)

    def complete(self) -> bool:
        return not self._started or bool(self._inner.is_finished())


class _Zstd:
    """zstd, several frames allowed (RFC 8878)."""

    def __init__(self) -> None:
        import zstandard

        self.failure: type[Exception] = zstandard.ZstdError
        self._make: Callable[[], Any] = zstandard.ZstdDecompressor(
            max_window_size=_ZSTD_WINDOW_BYTES
        ).decompressobj
        self._inner = self._make()
        self._started = False

    def feed(self, data: bytes, limit_bytes: int) -> bytes:
        self._started = True
        parts: list[bytes] = []
        size = 0
        for start in range(0, len(data), _ZSTD_SLICE_BYTES):
            piece = data[start : start + _ZSTD_SLICE_BYTES]
            while piece:
                if self._inner.eof:
                    self._inner = self._make()
                part = self._inner.decompress(piece)
                piece = self._inner.unused_data if self._inner.eof else b""
                parts.append(part)
                size += len(part)
                if size > limit_bytes:
                    return b"".join(parts)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def complete(self) -> bool:
        return not self._started or bool(self._inner.eof)


_CODINGS: dict[str, Callable[[], Decoder]] = {
    "gzip": lambda: _Zlib(gzip=True),
    "x-gzip": lambda: _Zlib(gzip=True),
    "deflate": lambda: _Zlib(gzip=False),
    "br": _Brotli,
    "zstd": _Zstd,
}


def open_decoder(codings: str, host: str) -> list[Decoder]:
    """Return decoders for a Content-Encoding value, in the order in which they apply.

    Raises:
        UpstreamError: a coding is unknown, or there are more than three.
    """
    names = [name for part in codings.split(",") if (name := part.strip().lower())]
    names = [name for name in names if name != "identity"]
    if len(names) > _MAX_CODINGS:
        raise failures.violation(host, f"more than {_MAX_CODINGS} content codings")
    decoders: list[Decoder] = []
    for name in reversed(names):
        make = _CODINGS.get(name)
        if make is None:
            raise failures.violation(host, "an unknown content coding")
        decoders.append(make())
    return decoders


class Decoded:
    """A body with its content codings taken off; an async iterator of non-empty chunks.

    Args:
        chunks: the body as it came.
        close: ends the answer; called when decoding fails.
        decoders: in the order in which they apply.
        host: for messages.
        max_chunk_bytes: what one chunk may become.
    """

    __slots__ = ("_chunks", "_close", "_decoders", "_error", "_host", "_limit", "_read", "_wrote")

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        close: Callable[[], Awaitable[None]],
        decoders: list[Decoder],
        host: str,
        max_chunk_bytes: int = MAX_CHUNK_BYTES,
    ) -> None:
        self._chunks = chunks
        self._close = close
        self._decoders = decoders
        self._host = host
        self._limit = max_chunk_bytes
        self._read = 0
        self._wrote = 0
        self._error: UpstreamError | None = None

    def __aiter__(self) -> Decoded:
        return self

    async def __anext__(self) -> bytes:
        if self._error is not None:
            raise self._error
        while True:
            try:
                data = await self._chunks.__anext__()
            except StopAsyncIteration:
                if all(decoder.complete() for decoder in self._decoders):
                    raise
                self._error = failures.violation(self._host, "the compressed body is cut off")
                raise self._error from None
            try:
                data = self._decode(data)
            except UpstreamError as error:
                self._error = error
                await self._close()
                raise
            if data:
                return data

    def _decode(self, data: bytes) -> bytes:
        self._read += len(data)
        for decoder in self._decoders:
            try:
                data = decoder.feed(data, self._limit)
            except decoder.failure as error:
                raise failures.violation(self._host, "the compressed body is damaged") from error
            if len(data) > self._limit:
                raise failures.too_large(self._host, self._limit, "decompressed answer")
        self._wrote += len(data)
        if self._wrote > _RATIO_FREE_BYTES and self._wrote > self._read * _MAX_RATIO:
            raise failures.too_large(self._host, self._read * _MAX_RATIO, "decompressed answer")
        return data
