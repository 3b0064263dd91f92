"""Starting an instance as a process of its own, and ending one.

The child is ``serve --background``. It writes to a pipe until it listens and then closes its end,
so that the end of the pipe means ready or dead, without polling; the instance record and
``/healthz`` tell which of the two.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import app
from app import instance
from app.cli.client import Client
from app.cli.running import client_of
from app.errors import AppError
from app.instance import InstanceRecord
from app.paths import Paths

__all__ = ["START_S", "STOP_S", "Launched", "end", "launch", "own_command", "own_environment"]

START_S = 10.0
"""A start takes under a second; a cold disk and a virus scanner make it several."""
STOP_S = 15.0
"""Running answers get their grace time first."""
_POLL_S = 0.05
_LAST_LINES = 15


@dataclass(frozen=True, slots=True)
class Launched:
    """A child that listens: how to reach it, and its process, to be waited for once it was ended.

    The two may have different ids: on Windows the interpreter of a virtual environment is a
    launcher.
    """

    record: InstanceRecord
    process: subprocess.Popen[bytes]


def own_command() -> list[str]:
    """Return the command that starts this very program.

    ``-P`` keeps the current folder off the import path: one of its files may be called as ours.
    """
    if getattr(sys, "frozen", False):
        return [sys.executable]
    return [sys.executable, "-P", "-m", "app"]


def own_environment() -> dict[str, str]:
    """Return this process's environment, in which ``own_command`` finds the program.

    The child reads the same settings, hence needs the same variables. Nothing is added but where
    the code is, when that is no place for packages.
    """
    environment = dict(os.environ)
    root = Path(app.__file__).resolve().parent.parent
    if not getattr(sys, "frozen", False) and root.name not in ("site-packages", "dist-packages"):
        paths = [str(root), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return environment


def launch(
    arguments: Sequence[str],
    paths: Paths,
    *,
    timeout_s: float = START_S,
    command: Sequence[str] | None = None,
) -> Launched:
    """Start an instance in the background and return once it is healthy.

    Args:
        arguments: options of ``serve``; no secret, since others can see them.
        paths: the folders whose instance it will be.
        timeout_s: how long it may take.
        command: how to start this program; ``own_command`` by default.

    Raises:
        AppError: ``start_failed`` with what it said, or ``start_slow``.
    """
    deadline = time.monotonic() + timeout_s
    process = subprocess.Popen(  # noqa: S603 - this program itself
        [*(own_command() if command is None else command), "serve", "--background", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=own_environment(),
        **_detached(),
    )
    said: list[bytes] = []
    let_go = threading.Event()
    threading.Thread(target=_attend, args=(process, said, let_go), daemon=True).start()
    if not let_go.wait(timeout_s):
        raise AppError(
            f"Dragoman was started as process {process.pid}, but is not ready after "
            f"{timeout_s:g} s.",
            code="start_slow",
            status=504,
            hint="`dragoman logs` shows how far it came; `dragoman status` says when it runs.",
        )
    found = instance.read(paths.data, paths.runtime)
    if found.state != "live" or found.record is None:
        raise _failed(process, b"".join(said), max(1.0, deadline - time.monotonic()))
    Client(found.record.port, timeout_s=max(1.0, deadline - time.monotonic())).get("/healthz")
    return Launched(found.record, process)


def _detached() -> dict[str, Any]:
    """Return the arguments that keep a child alive when this terminal is closed."""
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        return {"creationflags": flags}
    return {"start_new_session": True}


def _attend(process: subprocess.Popen[bytes], said: list[bytes], let_go: threading.Event) -> None:
    """Read what a child says until it lets go of the pipe, then see to its end, whenever it is."""
    assert process.stderr is not None  # noqa: S101 - a pipe was asked for
    with process.stderr as pipe:
        said.append(pipe.read())
    let_go.set()
    process.wait()


def _failed(process: subprocess.Popen[bytes], said: bytes, patience_s: float) -> AppError:
    """Return what a child said when it gave up: its own error, else its last lines."""
    try:
        code = process.wait(patience_s)
    except subprocess.TimeoutExpired:
        code = None
    lines = said.decode("utf-8", "replace").splitlines()
    first = next((i for i, line in enumerate(lines) if line.startswith("error: ")), None)
    if first is None:
        ended = "did not publish its address" if code is None else f"ended with exit code {code}"
        message = "\n".join([f"Dragoman could not start; it {ended}.", *lines[-_LAST_LINES:]])
        return AppError(message, code="start_failed", status=503, hint="See `dragoman logs`.")
    text = "\n".join(lines[first:]).removeprefix("error: ")
    text, _, command = text.partition("\nhelp: ")
    message, _, hint = text.partition("\nhint: ")
    told = command.strip().rpartition(" ")[2]
    return AppError(message, code=told or "start_failed", status=503, hint=hint)


def end(record: InstanceRecord, paths: Paths, *, timeout_s: float = STOP_S) -> None:
    """Ask an instance to stop and return once it has let go of its folder. Nothing is killed.

    Raises:
        AppError: ``instance_unreachable``, or ``stop_slow``.
    """
    deadline = time.monotonic() + timeout_s
    client_of(record).post("/admin/stop")
    while _holds(record, paths):
        if time.monotonic() > deadline:
            raise AppError(
                f"Dragoman (process {record.pid}) was asked to stop, but still runs after "
                f"{timeout_s:g} s.",
                code="stop_slow",
                status=504,
                hint="It may be finishing an answer; look again with `dragoman status`.",
            )
        time.sleep(_POLL_S)


def _holds(record: InstanceRecord, paths: Paths) -> bool:
    """Say whether an instance still has its folder; the kernel takes it when the process ends."""
    seen = instance.read(paths.data, paths.runtime)
    if seen.state == "live":
        return seen.record == record
    return seen.state == "foreign"
