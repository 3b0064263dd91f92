"""Logging: where records go, how they look, and what they must not hold.

Records go to standard error and to a private file that is kept at five times five megabytes.
Redaction happens while a record is rendered, on every part that reaches the output: message with
its arguments, traceback, stack, and extra fields. Two means work together: secrets that the program
knows are registered with ``redact`` and cut out wherever they stand; what merely looks like a
secret (vendor key prefixes, bearer values, token fields) is cut out by pattern.

A record cannot forge another: line ends and control characters inside it are escaped, and the lines
of a traceback begin with a bar.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import re
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, TextIO, TypeAlias
from urllib.parse import quote

import msgspec

from app.paths import private_dir

__all__ = ["LEVELS", "Level", "Redactor", "cut", "follow", "redact", "scrub", "setup", "tail"]

Level: TypeAlias = Literal["debug", "info", "warning", "error"]

LEVELS: dict[Level, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

FILE_BYTES = 5_000_000
FILES = 5
"""Five megabytes hold some weeks of ordinary use; five files are what a bug report can carry."""

_MAX_TEXT = 16_384
"""Characters of one part of a record; a body that slips into a message must not fill the disk."""

_MASK = "***"
_CHATTY = ("httpx", "httpcore", "asyncio", "tornado.access", "keyring", "urllib3", "alembic")
"""Libraries that speak at ``info`` about each call; below ``warning`` only in debug."""


# Redaction.

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # Vendor prefixes: OpenAI and Anthropic (sk-, sk-ant-), our own keys, Google keys and OAuth
        # tokens, GitHub tokens, Slack-like app tokens are told by their first letters.
        (r"\bsk-[A-Za-z0-9_-]{6,}", _MASK),
        (r"\bdg-[A-Za-z0-9]{8,}", _MASK),
        (r"\bAIza[A-Za-z0-9_-]{16,}", _MASK),
        (r"\bya29\.[A-Za-z0-9._-]+", _MASK),
        (r"\b(?:gh[opusr]|github_pat)_[A-Za-z0-9_]{8,}", _MASK),
        # A JSON Web Token: base64url of '{"' begins with eyJ.
        (r"\beyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*)*", _MASK),
        (r"(?i)\bbearer\s+[A-Za-z0-9._~+/=-]{6,}", f"Bearer {_MASK}"),
        # Header fields, also as the repr of a pair or a mapping: ('x-api-key', 'v'), "Cookie": "v".
        (
            r"(?i)\b((?:proxy-)?authorization|x-api-key|x-goog-api-key|set-cookie|cookie)"
            r"(['\"]?\s*[:=,]\s*(?:b(?=['\"]))?)(\"[^\"]*\"|'[^']*'|[^\r\n\"',)}\]]+)",
            rf"\1\2{_MASK}",
        ),
        # Fields of forms, queries and JSON; `key` only in a query, where Gemini has it.
        (r"(?i)([?&]key=)[^&\s\"'#]+", rf"\1{_MASK}"),
        (
            r"(?i)((?:auth|access|refresh|id|csrf)_token|client_secret|code_verifier|api_?key"
            r"|password|passphrase)(['\"]?\s*[:=]\s*(?:b(?=['\"]))?)(\"[^\"]*\"|'[^']*'|[^&\s\"',;)}\]]+)",
            rf"\1\2{_MASK}",
        ),
        (r"(?i)([?&](?:code|state|ticket)=)[^&\s\"'#]+", rf"\1{_MASK}"),
        # User name and password of a proxy or database URL.
        (r"(://)[^/\s@\"']+@", rf"\1{_MASK}@"),
    )
)


class Redactor:
    """Cuts secrets out of text. The newest ``limit`` registered ones are kept.

    Safe to use from several threads.
    """

    def __init__(self, limit: int = 1024) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._needles: tuple[str, ...] = ()
        """What to look for, longest first: a secret may be part of another."""

    def add(self, secret: str | None) -> None:
        """Register a secret; fewer than eight characters are not, they would mask ordinary words."""
        if secret is None or len(secret) < 8:
            return
        forms = {secret, quote(secret, safe=""), repr(secret)[1:-1]}
        with self._lock:
            if secret in self._known:
                self._known.move_to_end(secret)
                return
            self._known[secret] = tuple(forms)
            if len(self._known) > self._limit:
                self._known.popitem(last=False)
            needles = {form for known in self._known.values() for form in known}
            self._needles = tuple(sorted(needles, key=len, reverse=True))

    def cut(self, text: str) -> str:
        """Return the text with every known secret replaced by ``***``."""
        for needle in self._needles:
            if needle in text:
                text = text.replace(needle, _MASK)
        return text

    def scrub(self, text: str) -> str:
        """Return the text with every known or apparent secret replaced by ``***``."""
        text = self.cut(text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text


_redactor = Redactor()
"""One for the process, as logging itself is."""


def redact(secret: str | None) -> None:
    """Register a secret that no record may show; None and short values are ignored."""
    _redactor.add(secret)


def scrub(text: str) -> str:
    """Return a text as the log would show it, for other places that people read."""
    return _redactor.scrub(text)


def cut(text: str) -> str:
    """Return a text without the secrets that are registered; what merely looks like one stays."""
    return _redactor.cut(text)


# Rendering.

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _escape(text: str) -> str:
    """Make one line of a text; control characters and line ends are shown as Python writes them."""
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def _clean(text: str) -> str:
    """Redact first, then shorten: half a secret would no longer be recognised."""
    text = _redactor.scrub(text)
    if len(text) > _MAX_TEXT:
        return f"{text[:_MAX_TEXT]}… ({len(text) - _MAX_TEXT} more characters)"
    return text


def _message(record: logging.LogRecord) -> str:
    try:
        return _clean(record.getMessage())
    except Exception as error:  # a wrong format, or a value whose str() fails
        return _clean(f"{record.msg!s} (its arguments cannot be shown: {type(error).__name__})")


def _trace(record: logging.LogRecord) -> str:
    """Return traceback and stack, without line end; empty where there are none."""
    parts = []
    if record.exc_info and record.exc_info[0] is not None:
        parts.append("".join(traceback.format_exception(*record.exc_info)))
    elif record.exc_text:
        parts.append(record.exc_text)
    if record.stack_info:
        parts.append(record.stack_info)
    return _clean("\n".join(part.rstrip("\n") for part in parts))


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {
        _clean(name): _field(name, value, 0)
        for name, value in vars(record).items()
        if name not in _STANDARD and not name.startswith("_")
    }


def _plain(value: object, depth: int = 0) -> Any:
    """Return an extra field as JSON types with every text redacted."""
    match value:
        case None | bool() | int() | float():
            return value
        case Mapping() if depth < 4:
            return {_clean(str(k)): _field(str(k), v, depth) for k, v in value.items()}
        case list() | tuple() | set() | frozenset() if depth < 4:
            return [_plain(item, depth + 1) for item in value]
        case str():
            return _clean(value)
        case _:
            return _clean(repr(value))


def _field(name: str, value: object, depth: int) -> Any:
    """Redact a value by its name, too: apart from the name it may look like anything."""
    if isinstance(value, str | bytes) and _TELLING.search(name):
        return _MASK
    return _plain(value, depth + 1)


_TELLING = re.compile(r"(?i)token|secret|passw|passphrase|api_?key|authorization|cookie|credential")
"""Names of fields whose text is not shown; counts of tokens are numbers and stay."""


class _TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.123Z INFO gateway: message key=value``, then the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        name = record.name.removeprefix("dragoman.")
        line = f"{_timestamp(record)} {record.levelname} {name}: {_message(record)}"
        for key, value in _extra(record).items():
            line += f" {key}={value}"
        lines = [_escape(line)]
        if trace := _trace(record):
            lines += [f"  | {_escape(part)}" for part in trace.splitlines()]
        return "\n".join(lines)


class _JsonFormatter(logging.Formatter):
    """One object per line: time, level, logger, message, then trace and extra where present."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        if trace := _trace(record):
            entry["trace"] = trace
        if extra := _extra(record):
            entry["extra"] = extra
        return msgspec.json.encode(entry).decode()


def _timestamp(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


# Handlers.


class _Quiet(logging.Handler):
    """Keeps a handler's own failure from printing the record unredacted, as logging would."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError | ValueError) or sys.stderr is None:
            return  # a closed terminal or a full disk: nowhere to tell it
        with suppress(OSError, ValueError):
            sys.stderr.write(f"a log record of {record.name} was lost: {type(error).__name__}\n")


class _ErrorStream(_Quiet, logging.StreamHandler[TextIO]):
    """Standard error."""


class _File(_Quiet, logging.handlers.RotatingFileHandler):
    """The rotating file, mode 0600."""

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
        handle = os.open(self.baseFilename, flags, 0o600)
        return os.fdopen(handle, "a", encoding="utf-8", errors="backslashreplace")

    def rotate(self, source: str, dest: str) -> None:
        # Windows refuses to rename a file that somebody reads: it grows on, and the next record
        # tries again.
        with suppress(PermissionError):
            os.replace(source, dest)


def setup(
    level: Level = "info", *, as_json: bool = False, file: Path | None = None
) -> Callable[[], None]:
    """Send all records of the process to standard error and to a file.

    Handlers of an earlier call are replaced. A file that cannot be opened is a warning, not a
    failure: the proxy runs on a read-only disk, too.

    Args:
        level: least level that is written.
        as_json: one JSON object per line instead of text.
        file: the log, usually ``Paths.log_file``; None for none.

    Returns:
        A function that closes the handlers and takes them off again.
    """
    formatter = _JsonFormatter() if as_json else _TextFormatter()
    handlers: list[logging.Handler] = []
    if sys.stderr is not None:  # a windowed program on Windows has none
        handlers.append(_ErrorStream(sys.stderr))
    refused: OSError | None = None
    if file is not None:
        try:
            private_dir(file.parent)
            handlers.append(_File(file, maxBytes=FILE_BYTES, backupCount=FILES - 1))
        except OSError as error:
            refused = error
    root = logging.getLogger()
    _remove([handler for handler in root.handlers if isinstance(handler, _Quiet)])
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
    root.setLevel(LEVELS[level])
    for name in _CHATTY:
        least = logging.NOTSET if level == "debug" else max(logging.WARNING, LEVELS[level])
        logging.getLogger(name).setLevel(least)
    logging.captureWarnings(True)
    if refused is not None:
        logging.getLogger("dragoman.log").warning("there is no log file: %s", refused)
    return lambda: _remove(handlers)


def _remove(handlers: list[logging.Handler]) -> None:
    root = logging.getLogger()
    for handler in handlers:
        root.removeHandler(handler)
        handler.close()


# Reading.


def tail(path: Path, count: int) -> list[str]:
    """Return the last ``count`` lines of a log, oldest first, older files of it included."""
    lines: list[str] = []
    for part in _parts(path):
        if len(lines) >= count:
            break
        with suppress(FileNotFoundError):  # rotated away between the two steps
            lines = _last_lines(part, count - len(lines)) + lines
    return lines


def _parts(path: Path) -> list[Path]:
    """Return the files of a log, newest first; not all need exist."""
    return [path, *(path.with_name(f"{path.name}.{n}") for n in range(1, FILES))]


def _last_lines(path: Path, count: int) -> list[str]:
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        content = b""
        while position > 0 and content.count(b"\n") <= count:
            step = min(65_536, position)
            position = file.seek(position - step)
            content = file.read(step) + content
    return [line.decode("utf-8", "replace") for line in content.splitlines()[-count:]]


class Stop(Protocol):
    """What ends ``follow``; ``threading.Event`` is one."""

    def wait(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds; return True when it is time to end."""


def follow(path: Path, stop: Stop, *, poll_s: float = 0.25) -> Iterator[str]:
    """Yield each line that is added to a log from now on, until ``stop`` says so.

    Runs on a thread of its own and looks at the file four times a second: it lives only while a
    person watches. Nothing is missed when the log rotates; the file is not kept open meanwhile,
    which would keep Windows from rotating it.
    """
    reader = _Follower(path)
    while True:
        ending = stop.wait(poll_s)
        yield from reader.read()
        if ending:
            return


class _Follower:
    """Remembers which file was read how far, across renames."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None
        self._offset = 0
        self._rest = b""
        with suppress(FileNotFoundError):
            found = path.stat()
            self._identity = (found.st_dev, found.st_ino)
            self._offset = found.st_size

    def read(self) -> list[str]:
        """Return the complete lines that are new, in order."""
        with ExitStack() as opened:
            newer: list[BinaryIO] = []
            for part in _parts(self._path):
                try:
                    file = opened.enter_context(part.open("rb"))
                except FileNotFoundError:
                    continue
                newer.append(file)
                if _identity(file) == self._identity:
                    break
            else:
                newer = newer[:1]  # the file we read is gone; begin with the current one
            content = b"".join(self._new(file) for file in reversed(newer))
        *lines, self._rest = (self._rest + content).split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]

    def _new(self, file: BinaryIO) -> bytes:
        identity = _identity(file)
        size = os.fstat(file.fileno()).st_size
        known = identity == self._identity and self._offset <= size  # else new, or truncated
        file.seek(self._offset if known else 0)
        content = file.read()
        self._identity, self._offset = identity, file.tell()
        return content


def _identity(file: BinaryIO) -> tuple[int, int]:
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino
