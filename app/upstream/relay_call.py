"""One call that a page carries out: the messages that answer it, and the queue of its answer."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import msgspec

from app.errors import UpstreamError
from app.http import Headers, Limits
from app.upstream import failures

__all__ = [
    "NOTHING",
    "THE_PAGE",
    "Call",
    "Message",
    "Payload",
    "headers_of",
    "payload_of",
    "read_message",
    "refuse",
]

THE_PAGE = "The AI Studio page"
"""Who answers, in the texts of errors."""
_NOT_PASSED = frozenset(
    ("content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive")
)
"""What the browser has already dealt with when a page reads an answer."""
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Payload(msgspec.Struct):
    """What any message of a page may carry; what it means depends on the type."""

    status: int | None = None
    headers: dict[str, Any] | None = None
    body: str | None = None
    data: str | None = None
    seq: int | None = None
    error: Any = None
    message: Any = None
    code: Any = None
    http_response: Payload | None = None
    client_id: Any = None
    version: Any = None


class Message(msgspec.Struct):
    """The envelope of every frame."""

    type: str
    id: str | None = None
    payload: msgspec.Raw = msgspec.Raw()


read_message = msgspec.json.Decoder(Message).decode
_read_payload = msgspec.json.Decoder(Payload | None).decode
NOTHING = Payload()
"""What a message without a payload carries."""


def payload_of(told: Message) -> Payload | None:
    """Return what a message carries; None when it cannot be read."""
    if not told.payload:
        return NOTHING
    try:
        return _read_payload(told.payload) or NOTHING
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def headers_of(sent: Mapping[str, Any] | None) -> Headers:
    """Read header fields, whose values are texts or lists of texts; what no browser sends is left out."""
    fields: list[tuple[str, str]] = []
    for name, value in (sent or {}).items():
        if name.lower() in _NOT_PASSED:
            continue
        values = value if isinstance(value, list) else [value]
        fields += [
            (name.lower(), one)
            for one in values
            if isinstance(one, str) and not _CONTROL.search(name + one)
        ]
    return tuple(fields)


class Call:
    """One call and the queue of its answer. States: asked → begun → ended or failed."""

    __slots__ = (
        "_carried",
        "_ended",
        "_free",
        "_headers",
        "_limits",
        "_news",
        "_next_seq",
        "_pieces",
        "_resume",
        "_status",
        "_total_at",
        "error",
        "paused",
        "waiting_bytes",
    )

    def __init__(self, limits: Limits, resume: Callable[[], None]) -> None:
        self.error: UpstreamError | None = None
        self.paused = False
        self.waiting_bytes = 0
        self._limits = limits
        self._resume = resume
        total_s = limits.total_s
        loop = asyncio.get_running_loop()
        self._total_at = None if total_s is None else loop.time() + total_s
        self._status: int | None = None
        self._headers: Headers = ()
        self._pieces: deque[bytes] = deque()
        self._ended = False
        self._carried = False
        """A piece of the body has come."""
        self._next_seq = 0
        self._news = asyncio.Event()
        self._free = asyncio.Event()
        """Set while no more waits than may."""
        self._free.set()

    # --- from the page -----------------------------------------------------------------------------

    def begin(self, status: int, headers: Headers) -> None:
        """Take the head; only the first one counts."""
        if self._status is None:
            self._status = status
            self._headers = headers
            self._news.set()

    def in_order(self, seq: int | None) -> bool:
        """Say whether a numbered chunk is the next one; pages need not number them."""
        if seq is None:
            return True
        expected, self._next_seq = self._next_seq, seq + 1
        return seq == expected

    def add(self, text: str) -> None:
        """Put a piece of the body into the queue; without a head the status is 200."""
        self.begin(200, ())
        self._carried = True
        data = text.encode("utf-8", "replace")
        self._pieces.append(data)
        self.waiting_bytes += len(data)
        self._free.clear()
        self._news.set()

    def answer(self, told: Payload) -> None:
        """Take a whole answer."""
        if self._carried:
            self.fail(UpstreamError(f"{THE_PAGE} answered twice.", code="upstream_protocol"))
            return
        self.begin(told.status or 200, headers_of(told.headers))
        if told.body:
            self.add(told.body)
        self.end()

    def end(self) -> None:
        """Take the end; without anything before it the answer is an empty 200."""
        self.begin(200, ())
        self._ended = True
        self._news.set()

    def fail(self, error: UpstreamError) -> None:
        """End the answer with an error, which the reader meets after the pieces before it."""
        if not self._ended:
            self.error = error
        self._free.set()
        self._news.set()

    @property
    def begun(self) -> bool:
        """Whether a head is there."""
        return self._status is not None

    async def emptied(self) -> None:
        """Wait until the reader has taken what waits, or is gone."""
        await self._free.wait()

    # --- to the reader -------------------------------------------------------------------------------

    async def head(self) -> tuple[int, Headers]:
        """Return status and header fields once they are there.

        Raises:
            UpstreamError: the call failed, or a time limit passed.
        """
        while self._status is None:
            if self.error is not None:
                raise self.error
            await self._wait(failures.Stage.FIRST_BYTE, self._limits.first_byte_s)
        return self._status, self._headers

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body, all that waits at once.

        Raises:
            UpstreamError: the call failed, or a time limit passed.
        """
        while True:
            if self._pieces:
                data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
                self._take_all()
                yield data
            elif self.error is not None:
                raise self.error
            elif self._ended:
                return
            else:
                await self._wait(failures.Stage.IDLE, self._limits.idle_s)

    def leave(self) -> None:
        """Nobody reads any more."""
        self.paused = False
        self._take_all()

    def _take_all(self) -> None:
        self._pieces.clear()
        self.waiting_bytes = 0
        self._free.set()
        if self.paused:
            self.paused = False
            self._resume()

    async def _wait(self, stage: failures.Stage, limit_s: float) -> None:
        self._news.clear()
        at = asyncio.get_running_loop().time() + limit_s
        if self._total_at is not None and self._total_at < at:
            at, stage, limit_s = self._total_at, failures.Stage.TOTAL, self._limits.total_s or 0.0
        try:
            async with asyncio.timeout_at(at):
                await self._news.wait()
        except TimeoutError as error:
            raise failures.timed_out(THE_PAGE, stage, limit_s) from error


def refuse(call: Call, told: Payload) -> None:
    """End a call with what a page tells of its failure, in either of two forms.

    Where the page had an answer of the service, that is the answer.
    """
    answer = told.http_response
    words: str = next((w for w in (told.message, told.error) if isinstance(w, str) and w), "")
    code = told.code if isinstance(told.code, str) else ""
    reason = f": {words[:300]}" if words else ""
    if answer is not None and answer.status and 100 <= answer.status < 600 and not call.begun:
        call.answer(answer)
    elif code == "FETCH_ERROR" or "Failed to fetch" in words:
        call.fail(
            UpstreamError(
                f"{THE_PAGE} could not reach Google{reason}.",
                hint="The browser may be offline, an extension may block the call, or the page "
                "may not run inside of AI Studio.",
                code="upstream_unreachable",
            )
        )
    elif not code and told.status and 400 <= told.status < 600 and not call.begun:
        kind = {"content-type": "text/plain; charset=utf-8"}
        call.answer(Payload(status=told.status, headers=kind, body=words))
    else:
        call.fail(UpstreamError(f"{THE_PAGE} failed{reason}.", code="upstream_closed"))
