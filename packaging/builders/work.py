"""What every build needs: places, steps that are told, programs that must succeed, versions."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import contents

ROOT = contents.ROOT
HERE = ROOT / "packaging"
BUILD = ROOT / "build"
DIST = ROOT / "dist"


class BuildError(Exception):
    """A build cannot go on; the text says why and what to do."""


def say(text: str) -> None:
    """Tell the person who waits."""
    print(f"build: {text}", flush=True)


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is done now, and afterwards how long it took."""
    say(f"{what} ...")
    started = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - started:.0f} s")


def run(command: Sequence[str | Path], **options: object) -> None:
    """Run a program whose output people see.

    Raises:
        BuildError: it is not installed, or failed.
    """
    words = [str(word) for word in command]
    try:
        subprocess.run(words, check=True, **options)  # type: ignore[call-overload]
    except FileNotFoundError as error:
        raise BuildError(f"{words[0]} is not installed.") from error
    except subprocess.CalledProcessError as error:
        raise BuildError(f"{Path(words[0]).name} ended with {error.returncode}.") from error


def version() -> str:
    """Return the version of this checkout."""
    return contents.version_of((ROOT / "app" / "__init__.py").read_text("utf-8"))


def commit() -> str:
    """Return the commit of this checkout; empty where nothing tells."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("GITHUB_SHA", "")
    return found.stdout.strip()


def sha256(path: Path) -> str:
    """Return the checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def finish(path: Path) -> None:
    """Say what was built, and write its checksum beside it."""
    digest = sha256(path)
    sums = path.with_name(f"{path.name}.sha256")
    sums.write_text(contents.checksum_lines([(path.name, digest)]), "ascii", newline="\n")
    shown = path.relative_to(ROOT).as_posix()
    print(contents.result_line(shown, path.stat().st_size, digest), flush=True)


def built_at() -> int:
    """Return the time of the build in epoch seconds: of the commit, so that it can be repeated."""
    if stated := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(stated)
    command = ["git", "show", "--no-patch", "--format=%ct", "HEAD"]
    try:
        found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return int(time.time())
    return int(found.stdout)


def architecture() -> str:
    """Return what Debian calls this machine."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
