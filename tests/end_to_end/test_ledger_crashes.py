"""The whole program's ledger when the program is killed, told to stop, or has no room on the disk."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and limits as on Linux")


class Program:
    """``dragoman serve`` in a process of its own, on the data of a folder."""

    def __init__(self, home):
        self.home = home
        env = {k: v for k, v in os.environ.items() if not k.startswith("DRAGOMAN_")}
        env |= {"DRAGOMAN_HOME": str(home), "HOME": str(home)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve", "--port", "0"],
            cwd=ROOT,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self.record = self._until(self._record)
        self._until(lambda: self.get("/healthz"))

    def _record(self):
        try:
            record = json.loads((self.home / "run" / "instance.json").read_text())
        except (OSError, ValueError):
            return None
        return record if record["pid"] == self.process.pid and record["port"] else None

    def _until(self, true):
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                if found := true():
                    return found
            time.sleep(0.01)
        pytest.fail(f"it never came to that: {self.process.stderr.read().decode()[-2000:]}")

    def ask(self, path, body=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.record['port']}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.record['token']}"},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310 - loopback
            return reply.headers, reply.read()

    def get(self, path):
        return json.loads(self.ask(path)[1])

    def say(self, count):
        """Make requests that are answered; return their ids."""
        body = {"model": "demo-chat", "messages": [{"role": "user", "content": "hi"}]}
        return [self.ask("/v1/chat/completions", body)[0]["x-request-id"] for _ in range(count)]

    def level(self, name):
        """A number of the page of metrics."""
        lines = self.ask("/metrics")[1].decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

    def wait_written(self, count):
        self._until(lambda: self.level("dragoman_ledger_written") >= count)

    def wait_warning(self, words):
        def told():
            return any(words in one for one in self.get("/v1/health")["config"]["warnings"])

        self._until(told)

    def rows(self):
        """The ids in the ledger, and how many requests its sums know."""

        def read():
            try:
                page = self.get("/admin/requests?limit=500")["requests"]
                total = self.get("/admin/usage")["total"]["requests"]
            except urllib.error.HTTPError:  # it is still opening
                return None
            return ({row["id"] for row in page}, total)

        return self._until(read)

    def end(self, number):
        self.process.send_signal(number)
        self.process.wait(60)
        self.process.stderr.close()


@pytest.fixture
def start(tmp_path):
    started = []

    def begin():
        started.append(Program(tmp_path))
        return started[-1]

    yield begin
    for program in started:
        if program.process.poll() is None:
            program.end(signal.SIGKILL)


def test_a_killed_program_has_what_was_written_and_its_sums_agree(start):
    program = start()
    first = program.say(30)
    program.wait_written(30)
    program.say(30)
    program.end(signal.SIGKILL)
    again = start()
    ids, total = again.rows()
    assert set(first) <= ids
    assert total == len(ids)
    (new,) = again.say(1)
    again.wait_written(1)
    assert new in again.rows()[0]


def test_a_program_that_is_told_to_stop_has_written_everything(start):
    program = start()
    ids = program.say(60)
    program.end(signal.SIGTERM)
    assert program.process.returncode == 0
    assert start().rows() == (set(ids), 60)


def test_without_room_on_the_disk_requests_go_on_and_status_says_so(start):
    import resource

    program = start()
    program.say(1)
    program.wait_written(1)
    soft, hard = resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, (4_096, hard))
    ids = program.say(40)  # each answered with 200, or this raises
    program.wait_warning("the ledger cannot be written")
    assert program.level("dragoman_ledger_ok") == 0
    assert program.level("dragoman_ledger_waiting") > 0
    resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, (soft, hard))
    program.wait_written(41)
    assert set(ids) <= program.rows()[0]
    assert program.level("dragoman_ledger_ok") == 1


def test_a_locked_database_delays_rows_and_loses_none(start, tmp_path):
    import sqlite3

    program = start()
    program.say(1)
    program.wait_written(1)
    other = sqlite3.connect(tmp_path / "data" / "dragoman.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        ids = program.say(20)
        program.wait_warning("the ledger cannot be written")
    finally:
        other.execute("COMMIT")
        other.close()
    program.wait_written(21)
    assert set(ids) <= program.rows()[0]


def test_a_damaged_file_is_set_aside_at_the_start(start, tmp_path):
    data = tmp_path / "data"
    data.mkdir(parents=True)
    (data / "dragoman.db").write_bytes(b"this was a database once" * 1_000)
    program = start()
    ids = program.say(3)
    program.wait_written(3)
    assert program.rows() == (set(ids), 3)
    (aside,) = data.glob("dragoman.db.damaged-*")
    assert aside.read_bytes().startswith(b"this was")
