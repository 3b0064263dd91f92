import asyncio
import os
import subprocess
import sys

import pytest

from app.services import child as children
from app.services.journal import Journal
from tests.services.running import STAND_IN, free_port, lives, reached

ENV = {"PATH": os.environ["PATH"]}


def python(text):
    return (sys.executable, "-I", "-c", text)


async def ended(tmp_path, text, first_line=b""):
    journal = Journal(tmp_path / "log")
    child = await children.start(python(text), tmp_path / "home", ENV, first_line, journal)
    await child.ended.wait()
    return child, journal.file.read_text() if journal.file.exists() else ""


async def test_what_it_prints_is_kept_and_its_end_described(tmp_path):
    child, log = await ended(tmp_path, "import sys; print('hello'); print('oh', file=sys.stderr)")
    assert "hello" in log
    assert "oh" in log
    assert child.code == 0
    child, _ = await ended(tmp_path, "raise SystemExit('no luck')")
    assert child.describe_end() == "It ended with exit code 1: no luck"


async def test_silent_end_is_described_too(tmp_path):
    child, log = await ended(tmp_path, "raise SystemExit(3)")
    assert log == ""
    assert child.describe_end() == "It ended with exit code 3."


async def test_first_line_is_read_from_standard_input_and_nowhere_else(tmp_path):
    text = "import sys, os; print(sys.stdin.readline().strip() == 's3cret', os.environ.get('HOME'))"
    _, log = await ended(tmp_path, text, b"s3cret\n")
    assert "True None" in log
    assert "s3cret" not in log


async def test_one_that_does_not_read_its_first_line_does_no_harm(tmp_path):
    child, _ = await ended(tmp_path, "pass", b"x" * 1_000_000 + b"\n")
    assert child.code == 0


async def test_stopping_twice_does_no_harm(tmp_path):
    journal = Journal(tmp_path / "log")
    child = await children.start(
        python("import time; time.sleep(600)"), tmp_path, ENV, b"", journal
    )
    assert await child.wait(0.0) is False
    await child.stop(5.0)
    await child.stop(5.0)
    assert not lives(child.pid)
    assert child.describe_end().startswith("It was ended by SIGTERM")


async def test_start_that_is_cancelled_leaves_no_process(tmp_path):
    mark = tmp_path / "pid"
    text = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    journal = Journal(tmp_path / "log")
    starting = asyncio.ensure_future(children.start(python(text), tmp_path, ENV, b"", journal))
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not mark.exists() or not lives(int(mark.read_text() or "0") or 2**22)


async def test_missing_program_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        await children.start((str(tmp_path / "x"),), tmp_path, ENV, b"", Journal(tmp_path / "log"))


PARENT = """
import asyncio, pathlib, sys
from app.services import child
from app.services.journal import Journal

async def main():
    folder = pathlib.Path(sys.argv[1])
    command = (sys.executable, "-I", sys.argv[2], sys.argv[3])
    started = await child.start(command, folder, {}, b"{}\\n", Journal(folder / "log"))
    print(started.pid, flush=True)
    await started.ended.wait()

asyncio.run(main())
"""


def test_nothing_outlives_a_program_that_is_killed(tmp_path):
    command = [sys.executable, "-c", PARENT, str(tmp_path), str(STAND_IN), str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=STAND_IN.parents[2]) as parent:
        pid = int(parent.stdout.readline())
        asyncio.run(reached(lambda: "listening" in log_of(tmp_path)))
        assert lives(pid)
        parent.kill()
    asyncio.run(reached(lambda: not lives(pid)))


def log_of(folder):
    return (folder / "log").read_text() if (folder / "log").exists() else ""
