"""Writes entries in batches, on a thread of its own.

``add`` never waits and never fails: a request is served whatever becomes of its row. The thread
sleeps until there is something, gathers for half a second or until a batch is full, and writes the
batch in one transaction. What can go wrong:

- *The database cannot be used* (locked, full, unreachable): entries wait in memory, the same batch
  is tried again after a growing pause, and ``state`` says so. Entries are dropped, and counted,
  only when more wait than memory should hold.
- *The file is damaged*: when a second try on fresh connections finds it so as well, it is put
  aside, never deleted, and a new one is begun.
- *An entry cannot be written* though others can: it alone is dropped, counted and logged.
- *The program stops*: ``close`` writes all that waits. Where the database still cannot be used the
  rest goes into a file beside it, and into the database at the next start.
- *The program is killed*: what came within the last half second, and the batch being written, is
  lost; rows and sums still agree.

States: new → running (``start``) → closed (``close``).
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import msgspec

from app.errors import AppError
from app.ledger.entry import Entry
from app.ledger.row import attempt_rows, row_of
from app.store.rows import AttemptRow, RequestRow

__all__ = ["Store", "Writer", "WriterState"]

_log = logging.getLogger("dragoman.ledger")

_EVERY_S: Final = 0.5
_BATCH: Final = 500
_MAX_WAITING: Final = 50_000
"""About 50 MB; half a day of one person's heaviest use without a database."""
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
_TIDY_EVERY_S: Final = 3_600.0
_STRETCH: Final = 32
"""Rows made at a time. Threads change places after five milliseconds only, unless one of them
waits; a whole batch in one go would hold up requests for nearly as long."""
_BREATH_S: Final = 0.0002
_LAST_TRY_S: Final = 10.0
"""How long the last call of the database may take beyond the time that ``close`` allows."""
_SET_ASIDE_AFTER: Final = 2
"""Tries that find the file damaged; the first may have met a passing fault of a disk."""

_TEXTS = (
    *("id", "client", "session", "key_id", "asked", "model", "provider", "account"),
    *("rule", "reason", "stop", "error", "trace"),
)
_ATTEMPT_TEXTS = ("provider", "account", "model", "reason", "error")
_ENTRIES = msgspec.json.Decoder(Entry)


class Store(Protocol):
    """Where rows go; ``store.ledger.LedgerStore`` is one. Calls block."""

    def add(
        self,
        rows: Sequence[RequestRow],
        tries: Sequence[AttemptRow],
        *,
        again: bool = False,
    ) -> int:
        """Write all of it or nothing; ``again``: leave out what is there already."""
        ...

    def set_aside(self, now: float) -> Path | None:
        """Put a damaged file aside and begin a new one; None where there is no file."""
        ...


@dataclass(frozen=True, slots=True)
class WriterState:
    """How the writing goes."""

    name: Literal["new", "ok", "trouble", "closed"]
    sentence: str
    """For people; empty while all is well."""
    waiting: int
    """Entries not written yet."""
    written: int
    """Since the start, as are the next two."""
    dropped: int
    """Entries lost for want of room."""
    refused: int
    """Entries that the database would not take."""


class Writer:
    """See the module. All methods may be called from any thread."""

    def __init__(
        self,
        open_store: Callable[[], Store],
        *,
        spill: Path | None = None,
        tidy: Callable[[Store], None] | None = None,
        recalled: Callable[[Entry], None] | None = None,
        now: Callable[[], float] = time.time,
        every_s: float = _EVERY_S,
        batch: int = _BATCH,
        max_waiting: int = _MAX_WAITING,
        pause_s: float = _FIRST_PAUSE_S,
    ) -> None:
        """Prepare; nothing is opened before ``start``.

        Args:
            open_store: opens the store, in the thread; called again after an ``AppError``.
            spill: file for what could not be written at the end; None loses it.
            tidy: removes what is too old; called in the thread once after the start and then
                about hourly.
            recalled: told, in the thread, of each entry that an earlier program left in the file.
            now: the clock, epoch seconds.
            every_s: how long entries are gathered, in seconds.
            batch: entries that are enough for a write.
            max_waiting: entries kept while the database cannot be used.
            pause_s: first pause after a failure, in seconds; doubled up to half a minute.
        """
        self._open_store = open_store
        self._spill = spill
        self._tidy = tidy
        self._recalled = recalled
        self._now = now
        self._every_s = every_s
        self._batch = batch
        self._max_waiting = max_waiting
        self._first_pause_s = pause_s
        self._changed = threading.Condition()
        self._waiting: deque[Entry] = deque()
        self._asleep = False
        """Whether the thread has nothing to do; only then is an entry worth waking it."""
        self._hurry = False
        self._closing = False
        self._give_up_at: float | None = None
        self._thread: threading.Thread | None = None
        self._store: Store | None = None
        self._trouble = ""
        self._notice = ""
        self._taken = self._settled = 0
        self._written = self._dropped = self._refused = 0
        self._closed = False

    def start(self) -> None:
        """Begin to write, beginning with what an earlier program left in the file."""
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def add(self, entry: Entry) -> None:
        """Take an entry; it is written soon."""
        with self._changed:
            if self._closed or len(self._waiting) >= self._max_waiting:
                if not self._dropped:
                    _log.error("entries of the ledger are dropped: too many wait")
                self._dropped += 1
                return
            self._waiting.append(entry)
            self._taken += 1
            if self._asleep or len(self._waiting) == self._batch:
                self._changed.notify_all()

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until what was taken before this call is written; tell whether it is."""
        with self._changed:
            wanted = self._taken
            self._hurry = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._settled >= wanted, timeout_s)

    def close(self, grace_s: float = 5.0) -> None:
        """Write what waits, or put it into the file for the next start.

        Args:
            grace_s: how long a database that cannot be used is tried again, in seconds.
        """
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._give_up_at = time.monotonic() + grace_s
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(grace_s + _LAST_TRY_S)
        with self._changed:
            self._closed = True
            rest = list(self._waiting)
            self._waiting.clear()
        self._keep(rest)

    @property
    def state(self) -> WriterState:
        """How it goes."""
        with self._changed:
            waiting, dropped = len(self._waiting), self._dropped
            name: Literal["new", "ok", "trouble", "closed"] = "ok"
            sentence = self._notice
            if self._closed:
                name = "closed"
            elif self._trouble:
                name = "trouble"
                sentence = (
                    f"Requests are served, but the ledger cannot be written: {self._trouble} "
                    f"{waiting:,} entries wait in memory."
                )
            elif self._thread is None:
                name = "new"
            if dropped:
                sentence = f"{sentence} {dropped:,} entries were dropped.".strip()
            return WriterState(name, sentence, waiting, self._written, dropped, self._refused)

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            if self._open_first():
                self._recall()
                self._loop()
        except Exception:
            _log.exception("the ledger's thread has failed; entries wait for the stop")
            with self._changed:
                self._trouble = "its thread has failed; the log has the details."

    def _open_first(self) -> bool:
        """Open the store before anything is written, for those who ask it; False at the end."""
        pause_s = self._first_pause_s
        while True:
            try:
                self._opened()
            except AppError as error:
                self._set_trouble(error.message)
                if self._pause(pause_s):
                    return False
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            else:
                with self._changed:
                    self._recovered()
                return True

    def _loop(self) -> None:
        tidy_at = time.monotonic()
        while True:
            entries = self._next(tidy_at)
            if entries:
                if not self._write_until_done(entries):
                    return
            elif self._closing:
                return
            if self._tidy is not None and time.monotonic() >= tidy_at and not self._closing:
                tidy_at = time.monotonic() + _TIDY_EVERY_S
                self._tidy_up(self._tidy)

    def _next(self, tidy_at: float) -> list[Entry]:
        """Wait for entries and return a batch; empty when it is time to tidy, or at the end."""
        with self._changed:
            self._asleep = True
            pause_s = None if self._tidy is None else max(0.0, tidy_at - time.monotonic())
            self._changed.wait_for(lambda: bool(self._waiting) or self._closing, pause_s)
            self._asleep = False
            if self._waiting:
                self._changed.wait_for(
                    lambda: len(self._waiting) >= self._batch or self._hurry or self._closing,
                    self._every_s,
                )
            entries = list(itertools.islice(self._waiting, self._batch))
            if len(entries) == len(self._waiting):
                self._hurry = False
            return entries

    def _write_until_done(self, entries: list[Entry], *, again: bool = False) -> bool:
        """Write the entries, which stay in the queue meanwhile; False when time is up."""
        rows, tries = _made(entries)
        pause_s, damaged = self._first_pause_s, 0
        while True:
            try:
                self._opened().add(rows, tries, again=again)
            except AppError as error:
                if error.code == "store_conflict":
                    return self._write_each(entries, error)
                damaged = damaged + 1 if error.code == "store_damaged" else 0
                if damaged >= _SET_ASIDE_AFTER and self._replace_file():
                    damaged = 0
                    continue
                again = True  # the failure may have come after the success
                self._set_trouble(error.message)
                if self._pause(pause_s):
                    return False
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            except Exception as error:
                return self._write_each(entries, error)
            else:
                self._done(len(entries), len(entries))
                return True

    def _write_each(self, entries: list[Entry], error: Exception) -> bool:
        """Find the entry that the database does not take, and write the others."""
        if len(entries) == 1:
            _log.error("entry %r is not taken: %s", entries[0].id[:100], error)
            self._done(1, 0)
            return True
        return all(self._write_until_done([entry], again=True) for entry in entries)

    def _opened(self) -> Store:
        if self._store is None:
            self._store = self._open_store()
        return self._store

    def _replace_file(self) -> bool:
        """Put the damaged file aside; False where that is not possible."""
        try:
            aside = self._opened().set_aside(self._now())
        except AppError as error:
            self._set_trouble(error.message)
            return False
        if aside is None:
            return False
        _log.error("the database was damaged; it is kept as %s, and a new one was begun", aside)
        with self._changed:
            self._notice = (
                f"The database was damaged; it is kept as {aside.name}, and a new one was begun."
            )
        return True

    def _set_trouble(self, message: str) -> None:
        with self._changed:
            first = not self._trouble
            self._trouble = message
        if first:
            _log.error("the ledger cannot be written: %s", message)

    def _pause(self, pause_s: float) -> bool:
        """Wait before the next try; True when the program ends and time is up."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing, pause_s)
            if self._give_up_at is None:
                return False
            # From here on tries are short and few: somebody waits for the end.
            left = self._give_up_at - time.monotonic()
            if left <= 0 or not self._waiting:
                return True
            self._changed.wait(min(left, self._first_pause_s))
            return False

    def _done(self, taken: int, written: int) -> None:
        with self._changed:
            for _ in range(taken):
                self._waiting.popleft()
            self._settled += taken
            self._written += written
            self._refused += taken - written
            self._recovered()
            self._changed.notify_all()

    def _recovered(self) -> None:
        if self._trouble:
            _log.warning("the ledger can be written again")
            self._trouble = ""

    def _tidy_up(self, tidy: Callable[[Store], None]) -> None:
        try:
            tidy(self._opened())
        except AppError as error:
            _log.warning("old entries of the ledger are not removed: %s", error.message)
        except Exception:  # the root of a task of its own; entries go on being written
            _log.exception("old entries of the ledger are not removed")

    # --- what could not be written ---------------------------------------------------------------

    def _keep(self, rest: list[Entry]) -> None:
        """Append entries to the file."""
        if not rest:
            return
        if self._spill is None:
            _log.error("%d entries of the ledger are lost", len(rest))
            return
        lines = b"".join(msgspec.json.encode(_plain(entry)) + b"\n" for entry in rest)
        try:
            number = os.open(self._spill, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with open(number, "wb") as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            _log.error("%d entries of the ledger are lost: %s", len(rest), error)
        else:
            _log.warning("%d entries of the ledger wait in %s", len(rest), self._spill)

    def _recall(self) -> None:
        """Take what an earlier program left in the file; the file goes once all is written."""
        if self._spill is None or not self._spill.exists():
            return
        entries: list[Entry] = []
        for line in self._spill.read_bytes().splitlines():
            with contextlib.suppress(msgspec.MsgspecError):  # the disk was full within a line
                entries.append(_ENTRIES.decode(line))
        if self._recalled is not None:
            for entry in entries:
                self._recalled(entry)
        for start in range(0, len(entries), self._batch):
            some = entries[start : start + self._batch]
            with self._changed:
                self._waiting.extendleft(reversed(some))
                self._taken += len(some)
            if not self._write_until_done(some, again=True):  # once written, yet not unlinked
                with self._changed:  # still in the file
                    for _ in some:
                        self._waiting.popleft()
                return
        self._spill.unlink()


def _made(entries: Sequence[Entry]) -> tuple[list[RequestRow], list[AttemptRow]]:
    """Return the rows of entries, made with pauses in which the event loop has the interpreter."""
    rows: list[RequestRow] = []
    tries: list[AttemptRow] = []
    for start in range(0, len(entries), _STRETCH):
        if start:
            time.sleep(_BREATH_S)
        for entry in entries[start : start + _STRETCH]:
            rows.append(row_of(entry))
            tries += attempt_rows(entry)
    return rows, tries


def _plain(entry: Entry) -> Entry:
    """Return an entry whose texts are cut and clean, as in its rows, so that JSON can hold it."""
    tries = tuple(
        msgspec.structs.replace(one, **_texts(row, _ATTEMPT_TEXTS))
        for one, row in zip(entry.attempts, attempt_rows(entry), strict=True)
    )
    return msgspec.structs.replace(entry, attempts=tries, **_texts(row_of(entry), _TEXTS))


def _texts(row: RequestRow | AttemptRow, names: tuple[str, ...]) -> dict[str, Any]:
    losses = msgspec.json.decode(row.losses, type=tuple[tuple[str, str], ...])
    return {"losses": losses} | {name: getattr(row, name) for name in names}
