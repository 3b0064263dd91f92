"""Prompts and answers, kept only where ``ledger.bodies`` says so.

What is kept of a call: the request as the client sent it, with secrets cut out, and the answer as
its parts (text, thoughts, tool calls) in no dialect's form. Both have a largest size, and are
dropped after some days, or earlier when all of them take too much room. Switching the setting off
removes the file.

``add`` costs the request nothing but a hand-over: a thread cuts, packs and writes. Bodies are worth
less than rows of the ledger: when more than a few wait they are dropped and counted, and what waits
when the program is killed is lost.

States: idle (no thread) → working (from the first call on) → closed (``close``).
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from app.canonical.events import TextDelta
from app.canonical.failure import Failure
from app.canonical.fold import fold
from app.canonical.parts import Part, Reasoning, Refusal, Text, ToolCall
from app.canonical.response import ChatResponse
from app.dialects.base import Dialect
from app.dialects.translate import decode_reply
from app.errors import AppError
from app.http import Headers
from app.log import scrub

if TYPE_CHECKING:
    from app.store.bodies import BodyStore

__all__ = [
    "Answer",
    "Bodies",
    "Heard",
    "Kept",
    "Request",
    "Rules",
    "as_json",
    "read_answer",
    "redacted",
]

_log = logging.getLogger("dragoman.ledger")

_MOST_WAITING: Final = 200
_MOST_WAITING_BYTES: Final = 64 * 1024 * 1024
_TIDY_EVERY_S: Final = 3_600.0
_BATCH: Final = 20
_IDLE_S: Final = 600.0
"""How long the thread waits for more before it looks at the clock for tidying."""
_KEPT_HEADERS: Final = frozenset(("anthropic-beta", "anthropic-version", "openai-beta"))
"""Header fields that change what a request means."""
_MASK: Final = "***"
_SECRET_KEY: Final = re.compile(
    r"(?i)(?:api[_-]?key|authorization|password|passphrase|secret|cookie"
    r"|(?:access|refresh|auth|id)[_-]?token)"
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be kept; from the settings."""

    on: bool = False
    days: float = 7
    body_bytes: int = 1024 * 1024
    """Of a request or of an answer; more is cut, and a request that was cut cannot be replayed."""
    all_bytes: int = 512 * 1024 * 1024
    """Of the file's content."""


class Request(msgspec.Struct, frozen=True):
    """A request as it is kept."""

    dialect: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: Any
    """JSON; the beginning as text where it was cut."""
    cut: bool = False


class Answer(msgspec.Struct, frozen=True):
    """An answer as it is kept."""

    status: int
    parts: tuple[dict[str, Any], ...] = ()
    """Each with ``type`` (text, reasoning, refusal, tool_call, or the name of another part), and
    ``text``, or ``name`` and ``arguments``."""
    stop: str = ""
    error: str = ""
    """Message of a failure."""
    raw: str = ""
    """The beginning of what no dialect could read."""
    cut: bool = False

    @property
    def text(self) -> str:
        """What was said, without thoughts and calls."""
        return "".join(part["text"] for part in self.parts if part["type"] in ("text", "refusal"))


@dataclass(frozen=True, slots=True)
class Kept:
    """A request and its answer."""

    id: str
    at: float
    request: Request
    answer: Answer


@dataclass(frozen=True, slots=True)
class Heard:
    """A call as it went by."""

    id: str
    at: float
    dialect: Dialect
    path: str
    query: str
    headers: Headers
    request: bytes
    status: int
    answer: bytes
    """As it was sent to the client."""
    streamed: bool
    plain: bool = True
    """Whether the answer is in the dialect's own form."""
    cut: bool = False
    """The answer is longer than what is here."""


class Bodies:
    """See the module. Safe for several threads.

    Args:
        folder: the data folder, where the file is made with the first call.
        rules: asked with every call, and when tidying.
        now: epoch seconds.
        every_s: how long calls are gathered, in seconds.
    """

    def __init__(
        self,
        folder: Path,
        rules: Callable[[], Rules],
        *,
        now: Callable[[], float] = time.time,
        every_s: float = 0.5,
    ) -> None:
        self._folder = folder
        self._rules = rules
        self._now = now
        self._every_s = every_s
        self._changed = threading.Condition()
        self._waiting: deque[Heard] = deque()
        self._waiting_bytes = 0
        self._busy = False
        self._closing = False
        self._thread: threading.Thread | None = None
        self._store: BodyStore | None = None
        self._guard = threading.Lock()
        """Held while the file is opened, used or removed."""
        self.trouble = ""
        """Why bodies cannot be kept; empty when they can."""
        self.dropped = 0

    @property
    def on(self) -> bool:
        """Whether anything is kept."""
        return self._rules().on

    @property
    def waiting(self) -> int:
        """How many calls are still to be written."""
        return len(self._waiting)

    def add(self, heard: Heard) -> None:
        """Take a call; it is written soon."""
        size = len(heard.request) + len(heard.answer)
        with self._changed:
            if (
                self._closing
                or len(self._waiting) >= _MOST_WAITING
                or self._waiting_bytes + size > _MOST_WAITING_BYTES
            ):
                if not self.dropped:
                    _log.warning("prompts and answers are not kept: too many wait")
                self.dropped += 1
                return
            self._waiting.append(heard)
            self._waiting_bytes += size
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="bodies", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until what was taken is written or given up; tell whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout_s)

    def find(self, name: str) -> Kept | None:
        """Return a call by its id; None when it was not kept, or no longer is. Blocks.

        Raises:
            AppError: the file cannot be used.
        """
        self.flush()
        with self._guard:
            if self._store is None and not (self._folder / "bodies.db").exists():
                return None
            row = self._opened().find(name)
        if row is None:
            return None
        try:
            request = msgspec.msgpack.decode(zlib.decompress(row.request), type=Request)
            answer = msgspec.msgpack.decode(zlib.decompress(row.answer), type=Answer)
        except (msgspec.MsgspecError, zlib.error) as error:
            _log.warning("the bodies of %s cannot be read: %s", name, error)
            return None
        return Kept(row.id, row.at, request, answer)

    def tidy(self) -> None:
        """Remove what is too old or too much; everything where nothing may be kept. Blocks."""
        rules = self._rules()
        with self._guard:
            if not rules.on:
                self._remove()
            elif self._store is not None or (self._folder / "bodies.db").exists():
                self._opened().trim(self._now() - rules.days * 86_400, rules.all_bytes)

    def close(self, grace_s: float = 3.0) -> None:
        """Write what waits, and close the file."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(grace_s)
        with self._guard:
            if self._store is not None:
                self._store.close()
                self._store = None

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        tidy_at = time.monotonic()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._closing, _IDLE_S)
                if self._waiting and not self._closing:
                    self._changed.wait(self._every_s)
                some = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                self._waiting_bytes -= sum(len(one.request) + len(one.answer) for one in some)
                self._busy = bool(some)
                if self._closing and not some:
                    return
            try:
                if some:
                    self._write(some)
                if time.monotonic() >= tidy_at:
                    tidy_at = time.monotonic() + _TIDY_EVERY_S
                    self.tidy()
                self.trouble = ""
            except AppError as error:
                self._set_trouble(error.message)
            except Exception:  # the root of a thread; a call that breaks it must not end it
                _log.exception("prompts and answers could not be kept")
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _write(self, some: list[Heard]) -> None:
        from app.store.bodies import BodyRow

        rules = self._rules()
        if not rules.on:
            return
        rows = [
            BodyRow(
                one.id,
                one.at,
                zlib.compress(msgspec.msgpack.encode(_request(one, rules.body_bytes))),
                zlib.compress(msgspec.msgpack.encode(_answer(one, rules.body_bytes))),
            )
            for one in some
        ]
        with self._guard:
            self._opened().add(rows)

    def _opened(self) -> BodyStore:
        if self._store is None:
            from app.store.bodies import BodyStore

            self._store = BodyStore(self._folder, self._now())
        return self._store

    def _remove(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
        for path in self._folder.glob("bodies.db*"):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                _log.info("prompts and answers are no longer kept: %s was removed", path.name)

    def _set_trouble(self, message: str) -> None:
        if not self.trouble:
            _log.warning("prompts and answers are not kept: %s", message)
        self.trouble = message


# --- what is kept ----------------------------------------------------------------------------


def redacted(value: Any) -> Any:
    """Return a JSON value without what is, or looks like, a secret."""
    match value:
        case str():
            return scrub(value)
        case list():
            return [redacted(item) for item in value]
        case dict():
            return {
                key: _MASK
                if isinstance(item, str) and item and _SECRET_KEY.fullmatch(key)
                else redacted(item)
                for key, item in value.items()
            }
        case _:
            return value


def _request(heard: Heard, most: int) -> Request:
    headers = tuple(
        (key.lower(), scrub(value)) for key, value in heard.headers if key.lower() in _KEPT_HEADERS
    )
    body: Any
    cut = False
    try:
        body = redacted(msgspec.json.decode(heard.request))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        body, cut = scrub(heard.request[:most].decode("utf-8", "replace")), True
    else:
        if len(text := msgspec.json.encode(body)) > most:
            body, cut = text[:most].decode("utf-8", "replace"), True
    return Request(heard.dialect.name, heard.path, scrub(heard.query), headers, body, cut)


def _answer(heard: Heard, most: int) -> Answer:
    answer = read_answer(
        heard.dialect, heard.status, heard.answer, streamed=heard.streamed, plain=heard.plain
    )
    if heard.cut:
        answer = msgspec.structs.replace(answer, cut=True)
    left = most
    parts: list[dict[str, Any]] = []
    for part in answer.parts:
        kept = {name: scrub(text) for name, text in part.items()}
        size = sum(map(len, kept.values()))
        if size > left:
            kept = {name: text[: max(left, 20)] for name, text in kept.items()}
            answer = msgspec.structs.replace(answer, cut=True)
        parts.append(kept)
        left -= size
        if left <= 0:
            break
    return msgspec.structs.replace(
        answer,
        parts=tuple(parts),
        error=scrub(answer.error[:2_000]),
        raw=scrub(answer.raw[: min(most, 65_536)]),
        cut=answer.cut or len(parts) < len(answer.parts),
    )


def read_answer(
    dialect: Dialect, status: int, raw: bytes, *, streamed: bool, plain: bool = True
) -> Answer:
    """Return what an answer says.

    Args:
        dialect: of the client.
        status: of the answer.
        raw: as it was sent.
        streamed: whether it is a stream of events.
        plain: whether it is in the dialect's own form; else only its text can be shown.
    """
    if status >= 400:
        failure = dialect.decode_failure(status, (), raw)
        return Answer(status, error=failure.message)
    read: ChatResponse | None = None
    if plain:
        try:
            if streamed:
                decoder = dialect.stream_decoder(dialect.issuer)
                events = [*decoder.feed(raw), *decoder.close()]
                folded = fold(events)
                if isinstance(folded, Failure):  # what was said before it broke is worth keeping
                    said = "".join(e.text for e in events if isinstance(e, TextDelta))
                    parts = ({"type": "text", "text": said},) if said else ()
                    return Answer(status, parts, error=folded.message)
                read = folded
            else:
                read = decode_reply(dialect, raw, dialect.issuer)
        except (AppError, msgspec.MsgspecError, UnicodeError, RecursionError):
            read = None  # shown as it is
    if read is None:
        return Answer(status, raw=raw.decode("utf-8", "replace"))
    return Answer(status, tuple(map(_part, read.parts)), read.stop)


def _part(part: Part) -> dict[str, Any]:
    match part:
        case Text(text=text):
            return {"type": "text", "text": text}
        case Refusal(text=text):
            return {"type": "refusal", "text": text}
        case Reasoning(text=text):
            return {"type": "reasoning", "text": text}
        case ToolCall(name=name, arguments=arguments):
            return {"type": "tool_call", "name": name, "arguments": arguments}
        case _:
            return {"type": type(part).__name__.lower(), "text": ""}


def as_json(kept: Kept) -> Mapping[str, Any]:
    """Return a call for people and scripts."""
    return {
        "id": kept.id,
        "at": kept.at,
        "request": msgspec.to_builtins(kept.request),
        "answer": msgspec.to_builtins(kept.answer) | {"text": kept.answer.text},
    }
