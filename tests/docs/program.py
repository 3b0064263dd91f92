"""A running Dragoman in an empty home, as a process of its own."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(home):
    """The environment of somebody whose home is empty and who has the command ``dragoman``."""
    shim = home / "bin" / "dragoman"
    shim.parent.mkdir(parents=True, exist_ok=True)
    shim.write_text(f'#!/bin/sh\nexec {sys.executable!r} -P -m app "$@"\n')
    shim.chmod(0o755)
    env = {k: v for k, v in os.environ.items() if not k.startswith("DRAGOMAN_")}
    return env | {
        "DRAGOMAN_HOME": str(home / "data"),
        "HOME": str(home),
        "PATH": f"{shim.parent}{os.pathsep}{env['PATH']}",
        "PYTHONPATH": str(ROOT),
    }


@contextlib.contextmanager
def serving(env):
    """Serve on a free port, which it gives, until the end."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "app", "serve", "--port", str(port)],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/healthz", process)
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _wait_for(url, process):
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - loopback
                return
        except OSError:
            time.sleep(0.02)
    if process.poll() is None:
        process.kill()
    pytest.fail(f"it does not answer: {process.communicate()[1].decode()}")


def admin_key(env):
    """Make an admin key as people do."""
    done = subprocess.run(
        ["dragoman", "keys", "create", "--admin", "--label", "scripts"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("dg-"), done.stdout
    return done.stdout.strip()
