import io
import json
import logging
import stat
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app import log
from app.log import Redactor, follow, redact, scrub, setup, tail

CANARY = "canary'7f3a/9c secret+value"


@pytest.fixture
def stderr():
    return io.StringIO()


@pytest.fixture
def start(stderr, monkeypatch):
    """Set up logging as the program does, and undo it."""
    root = logging.getLogger()
    level = root.level
    undo = []

    def begin(*args, **kwargs):
        if sys.stderr is not None:  # only now: pytest sets its own before each test's body
            monkeypatch.setattr(sys, "stderr", stderr)
        if not undo:  # pytest's own handlers raise on a record that cannot be formatted
            monkeypatch.setattr(root, "handlers", [])
        undo.append(setup(*args, **kwargs))
        return undo[-1]

    yield begin
    for close in undo:
        close()
    root.setLevel(level)
    logging.captureWarnings(False)
    for name in log._CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "state" / "dragoman.log"


@pytest.fixture
def logger():
    return logging.getLogger("dragoman.test")


# Redaction


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdefghijklmnop",
        "sk-ant-api03-abcdefghijkl_mn-op",
        "sk-ant-oat01-abcdefghijklmnop",
        "dg-0123456789abcdefghijABCDEFGHIJ01",
        "AIzaSyA1234567890abcdefghijklmnopqrstuv",
        "ya29.a0AfH6SNabc-def_ghi.jkl",
        "gho_16C7e42F292c6912E7710c838347Ae178B4a",
        "ghu_16C7e42F292c6912E7710c838347Ae178B4a",
        "github_pat_11ABCDEFG0abcdefghijkl_mnop",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-def_ghi",
    ],
)
@pytest.mark.parametrize(
    "around", ["{}", "key {}, then", "('{}',)", "https://h/{}/x", '{{"a":"{}"}}']
)
def test_secret_of_a_known_shape_is_cut_out_anywhere(secret, around):
    shown = scrub(around.format(secret))
    assert secret not in shown
    assert secret[-8:] not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.def-123", "Authorization: ***"),
        ("with Bearer abcdef123 sent", "with Bearer *** sent"),
        ("('x-api-key', 'plain-value')", "('x-api-key', ***)"),
        ("{'X-Goog-Api-Key': 'plain-value', 'a': 1}", "{'X-Goog-Api-Key': ***, 'a': 1}"),
        ("Cookie: a=b; c=d", "Cookie: ***"),
        ("(b'Authorization', b'Basic dTpw')", "(b'Authorization', b***)"),
        ("GET /v1beta/models?key=plain&alt=sse", "GET /v1beta/models?key=***&alt=sse"),
        ("/v1/ws?x=1&auth_token=plain", "/v1/ws?x=1&auth_token=***"),
        ("grant=x&refresh_token=plain&a=b", "grant=x&refresh_token=***&a=b"),
        ('{"access_token": "plain", "b": 1}', '{"access_token": ***, "b": 1}'),
        ("client_secret='plain'", "client_secret=***"),
        ("/callback?code=plain&state=plain", "/callback?code=***&state=***"),
        ("http://user:pass@proxy:3128/", "http://***@proxy:3128/"),
        ("postgresql+psycopg://u:p@h/d", "postgresql+psycopg://***@h/d"),
    ],
)
def test_value_beside_a_telling_name_is_cut_out(text, shown):
    assert scrub(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "listening on http://127.0.0.1:8317",
        "key server.port has changed",
        "input_tokens=512 output_tokens=7",
        "risk-free task-force desk-bound",
        "the bearer of news",
        "claude-sonnet-4-5 via anthropic-1 in 12 ms",
        "status code=200",
        "a@b.example",
    ],
)
def test_ordinary_text_stays_as_it_is(text):
    assert scrub(text) == text


def test_registered_secret_is_cut_out_in_every_spelling():
    redactor = Redactor()
    redactor.add(CANARY)
    from urllib.parse import quote

    for form in (CANARY, repr(CANARY), quote(CANARY, safe="")):
        assert "canary" not in redactor.scrub(f"x {form} y")


def test_longer_secret_goes_first_so_that_nothing_of_it_remains():
    redactor = Redactor()
    redactor.add("abcdefgh")
    redactor.add("abcdefgh-longer")
    assert redactor.scrub("<abcdefgh-longer>") == "<***>"


@pytest.mark.parametrize("secret", [None, "", "1234567"])
def test_short_values_are_not_registered(secret):
    redactor = Redactor()
    redactor.add(secret)
    assert redactor.scrub("a 1234567 b") == "a 1234567 b"


def test_registry_is_bounded_and_forgets_the_oldest():
    redactor = Redactor(limit=2)
    redactor.add("secret-number-1")
    redactor.add("secret-number-2")
    redactor.add("secret-number-1")  # used again: not the oldest any more
    redactor.add("secret-number-3")
    shown = redactor.scrub("secret-number-1 secret-number-2 secret-number-3")
    assert shown == "*** secret-number-2 ***"


def test_registering_from_several_threads_loses_none():
    redactor = Redactor()
    names = [f"thread-secret-{i:03}" for i in range(200)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(redactor.add, names))
    assert redactor.scrub(" ".join(names)).split() == ["***"] * 200


class Showing:
    """A value whose text has the secret."""

    def __str__(self):
        return CANARY

    __repr__ = __str__


def raise_with_cause():
    try:
        raise ValueError(CANARY)
    except ValueError as error:
        raise RuntimeError(f"outer {CANARY}") from error


def log_exception(logger):
    try:
        raise_with_cause()
    except RuntimeError:
        logger.exception("failed")


def log_group(logger):
    try:
        raise ExceptionGroup(CANARY, [KeyError(CANARY)])
    except ExceptionGroup:
        logger.exception("failed")


def log_cached_text(logger):
    record = logger.makeRecord("dragoman.test", logging.ERROR, "f", 1, "failed", (), None)
    record.exc_text = f"Traceback\n{CANARY}"
    logger.handle(record)


SLOTS = {
    "message": lambda logger: logger.error(CANARY),
    "argument": lambda logger: logger.error("x %s", CANARY),
    "repr": lambda logger: logger.error("x %r", CANARY),
    "object": lambda logger: logger.error("x %s", Showing()),
    "mapping": lambda logger: logger.error("x %(a)s", {"a": CANARY}),
    "nested": lambda logger: logger.error("x %s", {"a": [CANARY]}),
    "bytes": lambda logger: logger.error("x %r", CANARY.replace("'", "").encode()),
    "bad format": lambda logger: logger.error("x %d", CANARY),
    "bad count": lambda logger: logger.error(f"{CANARY} %s %s", "one"),  # noqa: G004
    "exception": log_exception,
    "group": log_group,
    "cached exception": log_cached_text,
    "extra": lambda logger: logger.error("x", extra={"detail": CANARY}),
    "extra object": lambda logger: logger.error("x", extra={"detail": Showing()}),
    "extra nested": lambda logger: logger.error("x", extra={"detail": {"a": [{CANARY}]}}),
    "extra key": lambda logger: logger.error("x", extra={"detail": {CANARY: 1}}),
    "extra name": lambda logger: logger.error("x", extra={CANARY: 1}),
    "escaped": lambda logger: logger.error(json.dumps({"a": CANARY})),
}


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("slot", SLOTS)
def test_canary_comes_through_no_slot(start, stderr, file, logger, slot, as_json):
    redact(CANARY)
    redact(CANARY.replace("'", ""))
    close = start("debug", as_json=as_json, file=file)
    SLOTS[slot](logger)
    close()
    written = file.read_text()
    assert written
    assert stderr.getvalue() == written
    assert "canary" not in written
    assert "7f3a" not in written


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_text_under_a_telling_name_is_not_shown(start, file, logger, as_json):
    close = start(as_json=as_json, file=file)
    logger.info("x", extra={"refresh_token": "plain", "more": {"Cookie": "plain"}, "tokens": 7})
    close()
    written = file.read_text()
    assert "plain" not in written
    assert "7" in written.split("tokens", 2)[-1]


# Form


def test_text_record_is_one_line_with_time_level_name_and_extras(start, file, logger):
    close = start(file=file)
    logger.info("hello %s", "world", extra={"account": "claude-1"})
    close()
    (line,) = file.read_text().splitlines()
    assert line.endswith("Z INFO test: hello world account=claude-1")
    assert line[4] == "-"
    assert line[10] == "T"


def test_json_record_has_typed_fields(start, file, logger):
    close = start(as_json=True, file=file)
    logger.warning("hello %s", "world", extra={"n": 1, "names": ("a", "b"), "none": None})
    log_exception(logger)
    close()
    first, second = [json.loads(line) for line in file.read_text().splitlines()]
    assert (first["level"], first["logger"], first["message"]) == (
        "warning",
        "dragoman.test",
        "hello world",
    )
    assert first["extra"] == {"n": 1, "names": ["a", "b"], "none": None}
    assert "RuntimeError" in second["trace"]


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_record_cannot_forge_another(start, file, logger, as_json):
    forged = "x\n2026-01-01T00:00:00.000Z ERROR forged: \u2028\x1b[31m\rno\x85"
    close = start(as_json=as_json, file=file)
    logger.info(forged)
    logger.info("x", extra={"a": forged, "b\nc": 1})
    try:
        raise ValueError(forged)
    except ValueError:
        logger.exception("failed")
    close()
    lines = file.read_bytes().decode().split("\n")
    assert lines.pop() == ""
    records = [line for line in lines if not line.startswith("  | ")]
    assert len(records) == 3
    assert not any(line.startswith("2026-01-01T00:00:00.000Z ERROR forged") for line in lines)
    if not as_json:
        assert not any(char in line for char in "\r\x1b\x85\u2028" for line in lines)


def test_stack_is_written_under_its_record(start, file, logger):
    close = start(file=file)
    logger.info("here", stack_info=True)
    close()
    first, *rest = file.read_text().splitlines()
    assert first.endswith("here")
    assert rest
    assert all(line.startswith("  | ") for line in rest)


def test_long_message_is_shortened_after_redaction(start, file, logger):
    redact("very-secret-at-the-cut")
    close = start(file=file)
    logger.info("%s%s", "x" * 16_374, "very-secret-at-the-cut" + "y" * 50_000)
    close()
    written = file.read_text()
    assert len(written) < 17_000
    assert "more characters)" in written
    assert "very" not in written


# Set-up


def test_level_holds_and_chatty_libraries_are_quiet_below_debug(start, file, logger):
    close = start("info", file=file)
    logger.debug("not this")
    logging.getLogger("httpx").info("nor this")
    logger.info("but this")
    close()
    close = start("debug", file=file)
    logging.getLogger("httpx").info("now this")
    close()
    assert [line.rpartition(": ")[2] for line in file.read_text().splitlines()] == [
        "but this",
        "now this",
    ]


def test_setting_up_again_replaces_the_handlers(start, stderr, file, logger):
    start("info", file=file)
    start("info", file=file)
    logger.info("once")
    assert stderr.getvalue().count("once") == 1
    assert file.read_text().count("once") == 1


def test_python_warnings_are_logged(start, file):
    import warnings

    close = start(file=file)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("look out", UserWarning, stacklevel=1)
        close()
    assert "look out" in file.read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_log_files_are_private(start, file, logger, monkeypatch):
    monkeypatch.setattr(log, "FILE_BYTES", 200)
    close = start(file=file)
    for i in range(20):
        logger.info("record %d", i)
    close()
    assert {stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_log_rotates_and_keeps_five_files(start, file, logger, monkeypatch):
    monkeypatch.setattr(log, "FILE_BYTES", 200)
    close = start(file=file)
    for i in range(100):
        logger.info("record %d", i)
    close()
    names = sorted(path.name for path in file.parent.iterdir())
    assert names == ["dragoman.log"] + [f"dragoman.log.{n}" for n in range(1, 5)]
    assert all(path.stat().st_size <= 200 for path in file.parent.iterdir())
    assert "record 99" in file.read_text()


def test_file_that_cannot_be_renamed_grows_on(start, file, logger, monkeypatch):
    monkeypatch.setattr(log, "FILE_BYTES", 100)
    close = start(file=file)

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(log.os, "replace", refuse)
    for i in range(10):
        logger.info("record %d", i)
    close()
    assert len(file.read_text().splitlines()) == 10


def test_unwritable_file_is_a_warning_and_errors_still_go_out(start, stderr, tmp_path, logger):
    (tmp_path / "taken").write_text("")
    start(file=tmp_path / "taken" / "dragoman.log")
    logger.error("still here")
    assert "there is no log file" in stderr.getvalue()
    assert "still here" in stderr.getvalue()


def test_program_without_standard_error_logs_to_the_file(start, file, logger, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    close = start(file=file)
    logger.info("hello")
    close()
    assert "hello" in file.read_text()


def test_failing_handler_does_not_print_the_record(start, stderr, logger, monkeypatch):
    start()

    def fail(*_):
        raise TypeError(CANARY)

    monkeypatch.setattr(log._TextFormatter, "format", fail)
    logger.error("secret words %s", CANARY)
    assert stderr.getvalue() == "a log record of dragoman.test was lost: TypeError\n"


def test_closed_terminal_is_no_error(start, stderr, file, logger):
    close = start(file=file)
    stderr.close()
    logger.info("hello")
    close()
    assert "hello" in file.read_text()


# Reading


def write(path, *lines):
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8", newline="\n") as stream:
        stream.writelines(f"{line}\n" for line in lines)


def rotate(path):
    for n in (4, 3, 2, 1):
        old = path.with_name(f"{path.name}.{n - 1}") if n > 1 else path
        if old.exists():
            old.replace(path.with_name(f"{path.name}.{n}"))


def test_tail_gives_the_last_lines_in_order(file):
    write(file, *(f"line {i}" for i in range(50)))
    assert tail(file, 3) == ["line 47", "line 48", "line 49"]
    assert len(tail(file, 100)) == 50
    assert tail(file, 0) == []


def test_tail_of_a_missing_log_is_empty(file):
    assert tail(file, 10) == []


def test_tail_reaches_into_older_files(file):
    write(file, "one", "two")
    rotate(file)
    write(file, "three")
    rotate(file)
    write(file, "four")
    assert tail(file, 3) == ["two", "three", "four"]


def test_tail_reads_long_lines_and_torn_letters_whole(file):
    write(file, "first", "ä" * 100_000, "é last")
    found = tail(file, 2)
    assert [len(line) for line in found] == [100_000, 6]
    assert set(found[0]) == {"ä"}


class Script:
    """Stands in for a stop event: each wait runs the next step, and the last one ends."""

    def __init__(self, *steps):
        self._steps = list(steps)

    def wait(self, timeout):
        assert 0 < timeout <= 1
        if self._steps:
            self._steps.pop(0)()
        return not self._steps


def test_follow_gives_new_lines_only(file):
    write(file, "old")
    script = Script(lambda: write(file, "a", "b"), lambda: None, lambda: write(file, "c"))
    assert list(follow(file, script)) == ["a", "b", "c"]


def test_follow_waits_for_a_line_to_be_whole(file):
    write(file)

    def append(text):
        with file.open("a") as stream:
            stream.write(text)

    script = Script(lambda: append("hel"), lambda: append("lo\nhalf"))
    assert list(follow(file, script)) == ["hello"]


def test_follow_survives_rotation_without_losing_a_line(file):
    write(file, "old")

    def turn():
        write(file, "before")
        rotate(file)
        write(file, "after")

    script = Script(turn, lambda: write(file, "more"))
    assert list(follow(file, script)) == ["before", "after", "more"]


def test_follow_survives_several_rotations_between_two_looks(file):
    write(file, "old")

    def turn():
        write(file, "1")
        rotate(file)
        write(file, "2")
        rotate(file)
        write(file, "3")
        rotate(file)  # and there is no current file for a moment

    script = Script(turn, lambda: write(file, "4"))
    assert list(follow(file, script)) == ["1", "2", "3", "4"]


def test_follow_begins_with_a_file_that_is_not_there_yet(file):
    script = Script(lambda: None, lambda: write(file, "first"), lambda: write(file, "second"))
    assert list(follow(file, script)) == ["first", "second"]


def test_follow_begins_anew_when_the_file_was_emptied(file):
    write(file, "old", "older")

    def empty():
        file.write_text("new\n")

    assert list(follow(file, Script(empty))) == ["new"]


def test_follow_ends_on_an_event_of_another_thread(file):
    write(file)
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        lines = pool.submit(lambda: list(follow(file, stop, poll_s=0.01)))
        stop.set()
        assert lines.result(timeout=10) == []


def test_follow_sees_what_the_real_handler_rotates(start, file, logger, monkeypatch):
    monkeypatch.setattr(log, "FILE_BYTES", 300)
    start(file=file)

    def burst(first):
        return lambda: [logger.info("record %d", i) for i in range(first, first + 10)]

    script = Script(burst(0), burst(10), burst(20))
    numbers = [int(line.rpartition(" ")[2]) for line in follow(file, script)]
    assert numbers == list(range(30))
