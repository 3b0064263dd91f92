"""Prove that a frozen program works: start it, ask it, open a window, start it again, end it.

::

    python3 packaging/selftest.py build/frozen/dragoman/dragoman
    xvfb-run -a dbus-run-session -- python3 packaging/selftest.py build/frozen/dragoman/dragoman

The second form gives a Linux machine without a desktop one for the time of the test. The program
runs in a folder of its own, so accounts and settings of whoever calls this are neither read nor
touched. What this session cannot show is named as skipped; ``--desktop`` makes that a failure.
Only the standard library is used here.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

WAIT_S = 60.0
"""A build server may be slow; nothing waits for this long without need."""

_DEMO = "demo-chat"
_QUESTION = "Say hello"

DIALECTS: Mapping[str, tuple[str, dict[str, Any], str]] = {
    "openai_chat": (
        "/v1/chat/completions",
        {"model": _DEMO, "stream": True, "messages": [{"role": "user", "content": _QUESTION}]},
        "data: [DONE]",
    ),
    "openai_responses": (
        "/v1/responses",
        {"model": _DEMO, "stream": True, "input": _QUESTION},
        '"response.completed"',
    ),
    "anthropic": (
        "/v1/messages",
        {
            "model": _DEMO,
            "stream": True,
            "max_tokens": 200,
            "messages": [{"role": "user", "content": _QUESTION}],
        },
        '"message_stop"',
    ),
    "gemini": (
        f"/v1beta/models/{_DEMO}:streamGenerateContent?alt=sse",
        {"contents": [{"role": "user", "parts": [{"text": _QUESTION}]}]},
        '"finishReason"',
    ),
}
"""Dialect → path, body, and what a whole stream ends with."""


class Failed(Exception):
    """The program did not do what it must; the text says what."""


def until(holds: Callable[[], Any], what: str) -> Any:
    """Wait until something holds and return it.

    Raises:
        Failed: it did not within ``WAIT_S``.
    """
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.05)
    raise Failed(f"{what}: not within {WAIT_S:.0f} s")


# Processes


def parse_ps(text: str) -> dict[int, tuple[int, str]]:
    """Return process → parent and command line, from ``ps -axww -o pid=,ppid=,command=``."""
    found = {}
    for line in text.splitlines():
        pid, parent, command = (*line.split(None, 2), "")[:3]
        found[int(pid)] = (int(parent), command.strip())
    return found


def parse_cim(text: str) -> dict[int, tuple[int, str]]:
    """Return the same from what PowerShell says in JSON."""
    rows = json.loads(text or "[]")
    return {
        row["ProcessId"]: (row["ParentProcessId"], row.get("CommandLine") or row.get("Name") or "")
        for row in (rows if isinstance(rows, list) else [rows])
    }


def processes() -> dict[int, tuple[int, str]]:
    """Return all processes: number → parent and command line. Those that only wait to be buried
    are left out."""
    if sys.platform == "win32":
        ask = "Get-CimInstance Win32_Process | Select ProcessId,ParentProcessId,CommandLine,Name"
        command = ["powershell", "-NoProfile", "-Command", f"{ask} | ConvertTo-Json -Compress"]
        return parse_cim(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if not sys.platform.startswith("linux"):
        command = ["ps", "-axww", "-o", "pid=,ppid=,command="]
        return parse_ps(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            words = (
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            )
        except OSError:
            continue  # it has ended meanwhile
        if state not in "ZX":
            found[int(folder.name)] = (int(parent), words.strip())
    return found


def below(root: int, table: Mapping[int, tuple[int, str]]) -> set[int]:
    """Return the processes that a process has started, and they in turn."""
    found: set[int] = set()
    fresh = {root}
    while fresh:
        fresh = {pid for pid, (parent, _) in table.items() if parent in fresh and pid not in found}
        found |= fresh
    return found


def windows(root: int, table: Mapping[int, tuple[int, str]]) -> set[int]:
    """Return those of a process's family that are windows."""
    return {pid for pid in below(root, table) if "window" in table[pid][1]}


# The program


class Program:
    """A frozen program in a folder of its own.

    Args:
        executable: the program; on Windows the one with a console.
        home: an empty folder.
    """

    def __init__(self, executable: Path, home: Path) -> None:
        self.executable = executable.resolve()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        dropped = ("DRAGOMAN_", "PYTHON", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(dropped)
        }
        self.environment |= {
            "DRAGOMAN_HOME": str(home),
            "DRAGOMAN_SERVER__PORT": str(self.port),
            "NO_AT_BRIDGE": "1",
            "PYTHONIOENCODING": "utf-8",
        }
        data = home / "data"
        data.mkdir(mode=0o700, parents=True)
        # The first steps would open a window of their own at a time that nobody can foresee.
        (data / "desktop.json").write_text('{"welcomed": true}', "utf-8")
        (home / "tmp").mkdir()
        self._output = home / "output.txt"

    def run(self, *words: str) -> str:
        """Run a command and return what it says.

        Raises:
            Failed: it ended with anything but 0.
        """
        done = subprocess.run(
            [str(self.executable), *words],
            env=self.environment,
            capture_output=True,
            timeout=WAIT_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        if done.returncode != 0:
            raise Failed(f"dragoman {' '.join(words)} ended with {done.returncode}: {said}")
        return said

    @contextlib.contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run it in the background; what it still is afterwards is killed."""
        with self._output.open("wb") as output:
            process = subprocess.Popen(
                [str(self.executable), *words],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()

    def said(self) -> str:
        """Return what the one in the background has said."""
        return self._output.read_text("utf-8", "replace")

    def get(self, path: str, body: object = None) -> str:
        """Ask it something over HTTP, past any proxy, and return the whole answer."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            None if body is None else json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=WAIT_S) as reply:
            return str(reply.read().decode("utf-8"))

    def healthy(self, process: subprocess.Popen[bytes]) -> bool:
        """Return whether it answers.

        Raises:
            Failed: it has ended.
        """
        if process.poll() is not None:
            raise Failed(f"it ended with {process.returncode}: {self.said()}")
        try:
            self.get("/healthz")
        except (urllib.error.URLError, OSError):
            return False
        return True

    def window_command(self) -> tuple[list[str], list[str]]:
        """Return how its windows are started, and the folders of their libraries.

        On Linux under the distribution's Python, as ``app/desktop/windows.py`` does it there.
        """
        if not sys.platform.startswith("linux"):
            return [str(self.executable), "window"], []
        inside = self.executable.parent / "_internal"
        script = inside / "app" / "desktop" / "window.py"
        return ["/usr/bin/python3", "-I", str(script)], [str(inside / "window-packages")]


def has_desktop(env: Mapping[str, str] = os.environ, platform: str = sys.platform) -> bool:
    """Return whether this session can show a tray and windows."""
    if not platform.startswith("linux"):
        return True
    display = env.get("DISPLAY") or env.get("WAYLAND_DISPLAY")
    return bool(display and env.get("DBUS_SESSION_BUS_ADDRESS"))


def check_stream(name: str, text: str) -> None:
    """Check that a stream of the demo is whole.

    Raises:
        Failed: it has no answer, or no end.
    """
    events = [line for line in text.splitlines() if line.startswith("data:")]
    if len(events) < 2 or DIALECTS[name][2] not in text:
        raise Failed(f"{name}: no whole stream came: {text[-500:]}")


def check_window(program: Program) -> None:
    """Open a window with the program's own page, and close it as the program would.

    Raises:
        Failed: it did not open or did not close.
    """
    command, packages = program.window_command()
    heard: queue.Queue[str] = queue.Queue()
    process = subprocess.Popen(
        command,
        env=program.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdin is not None  # noqa: S101 - pipes were asked for
    assert process.stdout is not None  # noqa: S101
    stdout = process.stdout

    def listen() -> None:
        with stdout:
            for line in stdout:
                heard.put(line.decode("utf-8", "replace"))
        heard.put("")

    listener = threading.Thread(target=listen)
    listener.start()
    lines: list[str] = []

    def hear(event: str) -> None:
        while f'"event": "{event}"' not in (lines[-1] if lines else ""):
            try:
                lines.append(heard.get(timeout=WAIT_S))
            except queue.Empty:
                lines.append("")
            if not lines[-1]:
                raise Failed(f"the window never said {event!r}: {''.join(lines)}")

    try:
        with process.stdin as stdin:
            first = {
                "url": f"http://127.0.0.1:{program.port}/admin",
                "title": "Selftest",
                "gui": "gtk" if packages else None,
                "packages": packages,
            }
            stdin.write(json.dumps(first).encode() + b"\n")
            stdin.flush()
            hear("opened")
            hear("loaded")
        if process.wait(WAIT_S) != 0:
            raise Failed(f"the window ended with {process.returncode}: {''.join(lines)}")
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        listener.join(WAIT_S)


def check_second_start(program: Program, process: subprocess.Popen[bytes]) -> None:
    """Start it once more, as a click does, and see that the first one shows itself.

    Where no panel shows its icon, the program has opened its dashboard at some time after its start.
    A second start would bring that one to the front, which nothing tells, so it is ended before.

    Raises:
        Failed: a second one runs, or no window appeared.
    """
    shown = windows(process.pid, processes())
    for pid in shown:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            os.kill(pid, signal.SIGTERM)
    until(lambda: not set(shown) & processes().keys(), "the end of windows that were open")
    before = below(process.pid, processes())
    said = program.run()
    if "runs already" not in said:
        raise Failed(f"the second start said: {said}")

    def window_appeared() -> bool:
        return bool(windows(process.pid, processes()) - before)

    until(window_appeared, "a window of the first start after the second")


def selftest(executable: Path, *, desktop: bool, say: Callable[[str], None] = print) -> None:
    """Test a frozen program; says each thing that holds.

    Args:
        executable: the program.
        desktop: whether this session can show tray and windows.
        say: takes a line.

    Raises:
        Failed: something does not hold.
    """
    with tempfile.TemporaryDirectory(prefix="dragoman-selftest-") as folder:
        program = Program(executable, Path(folder))
        say(f"ok  {program.run('--version').strip()}")
        program.run("--help")
        say("ok  the command line answers")
        started = time.monotonic()
        with program.running(*([] if desktop else ["serve"])) as process:
            until(lambda: program.healthy(process), "the first answer")
            say(f"ok  started and healthy after {time.monotonic() - started:.2f} s")
            for name, (path, body, _) in DIALECTS.items():
                check_stream(name, program.get(path, body))
                say(f"ok  {name} streams an answer")
            if desktop:
                check_window(program)
                say("ok  a window opens and closes")
                check_second_start(program, process)
                say("ok  a second start shows the first")
            else:
                say("--  skipped, there is no desktop: window, second start")
            family = {process.pid, *below(process.pid, processes())}
            program.run("stop")
            try:
                code = process.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                raise Failed(f"it does not end: {program.said()}") from None
            if code != 0:
                raise Failed(f"it ended with {code}: {program.said()}")
            say("ok  it ends when it is told to")
            until(lambda: not family & processes().keys(), "the end of its processes")
            say("ok  no process is left")


def main(arguments: Sequence[str]) -> int:
    """Test the program that is named; returns 1 when something does not hold."""
    words = [word for word in arguments if word != "--desktop"]
    if len(words) != 1:
        print("usage: selftest.py [--desktop] PROGRAM", file=sys.stderr)
        return 2
    desktop = has_desktop()
    if "--desktop" in arguments and not desktop:
        print("selftest: this session has no display with a session bus", file=sys.stderr)
        return 1
    try:
        selftest(Path(words[0]), desktop=desktop, say=lambda line: print(line, flush=True))
    except Failed as failure:
        print(f"selftest: {failure}", file=sys.stderr)
        return 1
    print("selftest passed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
