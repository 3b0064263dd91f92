"""Reading what somebody types or pastes, without showing it, while other things go on.

The terminal's own line editing stops at 1,024 characters on macOS and 4,095 on Linux, less than
some cookies have, and it shows what is typed. So characters are taken as they come; Ctrl-C and
Ctrl-Z go on working. Where input is no terminal, nothing is read here.
"""

from __future__ import annotations

import codecs
import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, TextIO

__all__ = ["Typed", "is_terminal"]

_POLL_S = 0.05
_ERASE = ("\x7f", "\b")
_WIPE = "\x15"
"""Ctrl-U, which empties a line."""
_END = ("\x04", "\x1a")
"""Ctrl-D, and Ctrl-Z on Windows: no more comes."""


def is_terminal(stream: TextIO | None) -> bool:
    """Say whether somebody sits at a stream."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


class Typed(AbstractContextManager["Typed"]):
    """Lines as they are typed; a context manager that leaves the terminal as it was.

    Args:
        stream: a terminal; ``sys.stdin`` by default. For any other stream nothing ever comes.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdin if stream is None else stream
        self._here = is_terminal(self._stream)
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._text = ""
        self._ended = not self._here
        self._restore: Callable[[], None] | None = None

    @property
    def here(self) -> bool:
        """Whether there is a terminal to type at."""
        return self._here

    @property
    def length(self) -> int:
        """How many characters of the next line have been typed."""
        return len(self._text)

    def __enter__(self) -> Typed:
        if self._here and sys.platform != "win32":
            self._restore = _quiet(self._stream.fileno())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._restore is not None:
            self._restore()
            self._restore = None

    def wait(self, seconds: float) -> str | None:
        """Wait up to a time for a line to be complete, and return it without its end."""
        if self._ended:
            time.sleep(seconds)
            return None
        end = time.monotonic() + seconds
        while not self._ended:
            left_s = max(0.0, end - time.monotonic())
            for character in self._read(left_s):
                if (line := self._take(character)) is not None:
                    return line
            if time.monotonic() >= end:
                break
        return None

    def line(self) -> str | None:
        """Wait for a line; None when there will be none."""
        while not self._ended:
            if (line := self.wait(60.0)) is not None:
                return line
        return None

    def _take(self, character: str) -> str | None:
        if character in ("\r", "\n"):
            line, self._text = self._text, ""
            return line if line.strip() else None
        if character in _ERASE:
            self._text = self._text[:-1]
        elif character == _WIPE:
            self._text = ""
        elif character in _END and not self._text:
            self._ended = True
        elif character.isprintable() or character == "\t":
            self._text += character
        return None

    def _read(self, seconds: float) -> str:
        if sys.platform == "win32":
            return _read_console(seconds)
        import select

        descriptor = self._stream.fileno()
        ready, _, _ = select.select([descriptor], [], [], seconds)
        if not ready:
            return ""
        # One at a time: what follows a line stays for whoever reads next.
        try:
            piece = os.read(descriptor, 1)
        except OSError:  # the terminal is gone
            piece = b""
        if not piece:
            self._ended = True
        return self._decoder.decode(piece)


def _quiet(descriptor: int) -> Callable[[], None]:
    """Let a terminal give characters as they come and show none; returns what undoes it."""
    if sys.platform == "win32":
        raise NotImplementedError
    import termios

    before = termios.tcgetattr(descriptor)
    now: list[Any] = [part[:] if isinstance(part, list) else part for part in before]
    now[3] &= ~(termios.ECHO | termios.ICANON)
    now[6][termios.VMIN], now[6][termios.VTIME] = 1, 0
    termios.tcsetattr(descriptor, termios.TCSADRAIN, now)
    return lambda: termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _read_console(seconds: float) -> str:
    """Return the next character that is typed into a Windows console, if one is in time."""
    if sys.platform != "win32":
        raise NotImplementedError
    import msvcrt

    end = time.monotonic() + seconds
    while not msvcrt.kbhit():
        if time.monotonic() >= end:
            return ""
        time.sleep(_POLL_S)
    character = msvcrt.getwch()
    if character in ("\x00", "\xe0"):  # a function key comes as two
        msvcrt.getwch()
        return ""
    if character == "\x03":
        raise KeyboardInterrupt
    return character
