import io
import os
import pty
import sys
import termios

import pytest

from app.cli.typed import Typed, is_terminal

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")


class Terminal:
    """A pseudo terminal: ``type`` is what somebody does at it."""

    def __init__(self):
        self.master, slave = pty.openpty()
        self.stream = os.fdopen(slave, "r")

    def type(self, text):
        os.write(self.master, text.encode())

    def settings(self):
        return termios.tcgetattr(self.stream.fileno())

    def close(self):
        self.stream.close()
        os.close(self.master)


@pytest.fixture
def terminal():
    made = Terminal()
    yield made
    made.close()


def test_lines_come_as_they_are_typed(terminal):
    with Typed(terminal.stream) as typed:
        assert typed.here
        assert typed.wait(0) is None
        terminal.type("the-co")
        assert typed.wait(0) is None
        terminal.type("de\nnext\n")
        assert typed.wait(1) == "the-code"
        assert typed.length == 0
        assert typed.line() == "next"


def test_length_of_what_is_typed_is_known(terminal):
    with Typed(terminal.stream) as typed:
        terminal.type("ab")
        while typed.length < 2:
            assert typed.wait(0.05) is None


def test_nothing_is_shown_and_the_terminal_is_left_as_it_was(terminal):
    before = terminal.settings()
    with Typed(terminal.stream) as typed:
        assert not terminal.settings()[3] & termios.ECHO
        terminal.type("canary-secret\n")
        assert typed.line() == "canary-secret"
        os.set_blocking(terminal.master, False)
        with pytest.raises(BlockingIOError):
            os.read(terminal.master, 100)
    assert terminal.settings() == before


def test_terminal_is_left_as_it_was_after_a_failure_too(terminal):
    before = terminal.settings()
    with pytest.raises(KeyboardInterrupt), Typed(terminal.stream):
        raise KeyboardInterrupt
    assert terminal.settings() == before


def test_text_longer_than_a_terminal_line_is_taken_whole(terminal):
    long = "x" * 3_000
    with Typed(terminal.stream) as typed:
        for _ in range(3):
            terminal.type(long)
            while typed.wait(0.01) is None and typed.length % 3_000:
                pass
        terminal.type("\n")
        assert typed.line() == long * 3


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("ab\x7fc\n", "ac"),
        ("\x7fa\n", "a"),
        ("ab\x15c\n", "c"),
        ("a\x1bb\x07c\n", "abc"),
        ("\n  \n a b \r", " a b "),
        ("é\u2026\n", "é…"),
    ],
)
def test_editing_keys(terminal, keys, line):
    with Typed(terminal.stream) as typed:
        terminal.type(keys)
        assert typed.line() == line


def test_end_of_input_is_the_end(terminal):
    with Typed(terminal.stream) as typed:
        terminal.type("\x04")
        assert typed.line() is None


def test_terminal_that_goes_away_is_the_end():
    made = Terminal()
    with Typed(made.stream) as typed:
        os.close(made.master)
        assert typed.wait(0.1) is None
        assert typed.line() is None
        typed._restore = None  # there is nothing to restore any more
    made.stream.close()


def test_nothing_is_read_where_nobody_sits():
    stream = io.StringIO("a line\n")
    with Typed(stream) as typed:
        assert not typed.here
        assert typed.wait(0) is None
        assert typed.line() is None
    assert stream.read() == "a line\n"
    stream.close()
    assert not is_terminal(stream)
    assert not is_terminal(None)
