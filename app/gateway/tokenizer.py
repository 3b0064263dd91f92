"""Token counts without a service: OpenAI's ``o200k_base`` table, shipped with the program.

The counts are exact for OpenAI's models since GPT-4o and an estimate for everybody else's.

Theory of operation. States: empty → loading → loaded → empty … closed. The first count loads the
table in a thread, and counts that come meanwhile wait for the same load. A loaded table takes some
40 MB, so it goes once nothing was counted for a while. A table that cannot be read is tried once
and never again; four characters then count as one token. Nothing is ever downloaded: the encoding
is built from the file's own pattern and ranks.

A text is counted in slices, cut where a word starts: a single long match would use up the stack of
the pattern engine. A text too long to count within a second is sampled and the count scaled.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import sys
import zlib
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from app.paths import asset
from app.tasks import spawn

if TYPE_CHECKING:
    import tiktoken

__all__ = ["Tokenizer"]

_log = logging.getLogger("dragoman.tokens")

_ASSET = "tokens/o200k_base.gz"
_CHARS_PER_TOKEN = 4
"""OpenAI's rule of thumb for English text."""
_INLINE_CHARS = 8_192
"""A text up to this long takes about a millisecond, less than the way to a thread is worth."""
_SLICE_CHARS = 65_536
_SAMPLED_SLICES = 32
"""A text of more slices is sampled: 2 million characters take about half a second."""


class _Head(msgspec.Struct):
    """The first line of the asset; ``packaging/tokens.py`` describes the format."""

    pattern: str
    special: dict[str, int]
    count: int


class Tokenizer:
    """Counts the tokens of texts.

    Args:
        path: the table; the shipped one when None.
        idle_s: seconds without a count after which the table's memory is given back.

    ``close`` ends it; counts after that are by length.
    """

    def __init__(self, path: Path | None = None, *, idle_s: float = 600.0) -> None:
        self._path = path
        self._idle_s = idle_s
        self._encoding: tiktoken.Encoding | None = None
        self._loading: asyncio.Task[tiktoken.Encoding | None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unusable = False

    @property
    def loaded(self) -> bool:
        """Whether the table is in memory."""
        return self._encoding is not None

    async def count(self, text: str) -> int:
        """Return the number of tokens of a text; what looks like a special token is plain text.

        Texts of more than 2 million characters are sampled, so their count is within some percent.
        """
        if not text:
            return 0
        encoding = self._encoding or await self._load()
        if encoding is None:
            return max(1, len(text) // _CHARS_PER_TOKEN)
        self._rest()
        if len(text) <= _INLINE_CHARS:
            return len(encoding.encode_ordinary(text))
        try:
            return await asyncio.to_thread(_count_slices, encoding, text)
        finally:
            self._rest()

    def close(self) -> None:
        """Give the memory back for good."""
        self._unusable = True
        self._drop()

    async def _load(self) -> tiktoken.Encoding | None:
        """Return the table, or None when there is none; all who wait share one load."""
        if self._unusable:
            return None
        if self._loading is None:
            self._loading = spawn(self._read(), "token table")
        # One caller that leaves must not end the load for the others.
        return await asyncio.shield(self._loading)

    async def _read(self) -> tiktoken.Encoding | None:
        try:
            encoding = await asyncio.to_thread(_read_encoding, self._path)
        except (OSError, EOFError, ValueError, zlib.error, msgspec.MsgspecError) as error:
            self._unusable = True
            _log.warning("tokens are counted by length, the table cannot be read: %s", error)
            return None
        finally:
            self._loading = None
        if self._unusable:  # closed meanwhile
            return None
        self._encoding = encoding
        self._rest()
        return encoding

    def _rest(self) -> None:
        """Start the idle time anew."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._encoding is not None:
            self._timer = asyncio.get_running_loop().call_later(self._idle_s, self._drop)

    def _drop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._encoding is not None:
            self._encoding = None
            _give_back()


def _read_encoding(path: Path | None) -> tiktoken.Encoding:
    """Build the encoding from its file.

    Raises:
        OSError: there is no such file, or it is not gzip.
        EOFError: it ends early.
        zlib.error: its content is damaged.
        msgspec.MsgspecError: its first line is not what it should be.
        ValueError: the tokens do not add up.
    """
    plain = gzip.decompress((asset(_ASSET) if path is None else path).read_bytes())
    line, _, rest = plain.partition(b"\n")
    head = msgspec.json.decode(line, type=_Head)
    lengths, tokens = rest[: head.count], rest[head.count :]
    if len(lengths) != head.count or sum(lengths) != len(tokens):
        raise ValueError(f"it does not hold {head.count} tokens")
    ends = accumulate(lengths, initial=0)
    ranks = {tokens[start:end]: rank for rank, (start, end) in enumerate(pairwise(ends))}

    import tiktoken  # late: counting is rare, and start-up is not the time for it

    encoding = tiktoken.Encoding(
        "o200k_base",
        pat_str=head.pattern,
        mergeable_ranks=ranks,
        special_tokens=head.special,
    )
    # The encoding has its own copy below Python and needs this one, 20 MB, only to be pickled.
    ranks.clear()
    return encoding


def _give_back() -> None:
    """Ask glibc for what it keeps of freed memory: here 25 MB, in pieces too small to go alone."""
    if sys.platform == "linux":
        import ctypes  # late: most runs never count

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none and needs none
        if trim is not None:
            trim(0)


def _count_slices(encoding: tiktoken.Encoding, text: str) -> int:
    """Count a long text piece by piece, of a very long one an even sample."""
    if len(text) <= _SLICE_CHARS * _SAMPLED_SLICES:
        total = start = 0
        while start < len(text):
            end = _cut(text, start)
            total += len(encoding.encode_ordinary(text[start:end]))
            start = end
        return total
    starts = [
        number * (len(text) - _SLICE_CHARS) // (_SAMPLED_SLICES - 1)
        for number in range(_SAMPLED_SLICES)
    ]
    total = sum(len(encoding.encode_ordinary(text[s : s + _SLICE_CHARS])) for s in starts)
    return round(total * len(text) / (_SAMPLED_SLICES * _SLICE_CHARS))


def _cut(text: str, start: int) -> int:
    """Return where the slice from ``start`` ends: before the last word, as words carry their blank.

    Cut there, the slices have the same tokens as the whole. A slice without a blank is cut at its
    full length, which costs at most a token or two.
    """
    limit = start + _SLICE_CHARS
    if limit >= len(text):
        return len(text)
    blank = text.rfind(" ", start + 1, limit)
    return limit if blank < 0 else blank
