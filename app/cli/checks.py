"""What the doctor looks at on this machine, one function per question."""

from __future__ import annotations

import os
import platform
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.client import Client
from app.cli.terminal import Verdict, advice
from app.errors import AppError, ConfigError
from app.instance import InstanceRecord
from app.paths import Paths

if TYPE_CHECKING:
    from app.config import Config
    from app.configfile import Located

__all__ = [
    "Check",
    "check_clock",
    "check_config",
    "check_folders",
    "check_instance",
    "check_loopback",
    "check_port",
    "check_python",
]

_OLDEST, _NEWEST = (3, 11), (3, 14)
"""Versions of Python that the project is tested with."""

_RELEASED = 1_767_225_600.0
"""2026-01-01 UTC: no clock that is right shows an earlier time to this program."""

_SKEW_S = 300.0
"""Sign-in services refuse tokens of more than a few minutes' difference."""

_CONNECT_S = 2.0


@dataclass(frozen=True, slots=True)
class Check:
    """One answer: ``name`` is stable for scripts, ``text`` and ``hint`` are for people."""

    name: str
    verdict: Verdict
    text: str
    hint: str = ""


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Check:
    """Is this an interpreter that the program is made for?"""
    where = f"{platform.system()} {platform.release()} ({platform.machine()})"
    text = f"Python {version[0]}.{version[1]} on {where}"
    if version < _OLDEST:
        return Check("python", "failed", f"{text} is too old.", "Install Python 3.11 or newer.")
    if version > _NEWEST:
        hint = f"If something breaks, use Python {_NEWEST[0]}.{_NEWEST[1]}."
        return Check("python", "warning", f"{text} is newer than what was tested.", hint)
    return Check("python", "ok", f"{text}.")


def check_config(located: Located, env: Mapping[str, str]) -> tuple[Check, Config | None]:
    """Are the settings valid? Also returns them, when they are."""
    from app.cli.settings import load_checked
    from app.config import warnings

    try:
        config = load_checked(located, env)
    except ConfigError as error:
        hint = "Correct it with `dragoman config edit`."
        return Check("config", "failed", f"The settings are wrong: {error.message}", hint), None
    where = f"The settings in {located.path}" if located.path.exists() else "The default settings"
    if advice := warnings(config, env):
        return Check("config", "warning", f"{where} are valid.", " ".join(advice)), config
    return Check("config", "ok", f"{where} are valid."), config


def check_folders(paths: Paths) -> Check:
    """Can the program write where it has to?"""
    refused = []
    for path in dict.fromkeys((paths.data, paths.state, paths.runtime)):
        existing = next(p for p in (path, *path.parents) if p.exists())
        try:
            if existing == path:
                with tempfile.TemporaryFile(dir=path):
                    pass
            elif not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
                refused.append(f"{path} (cannot be made in {existing})")
        except OSError as error:
            refused.append(f"{path} ({error.strerror or error})")
    if refused:
        return Check(
            "folders",
            "failed",
            f"These folders cannot be written: {'; '.join(refused)}.",
            "Check their owner and permissions, or set DRAGOMAN_HOME to another folder.",
        )
    return Check("folders", "ok", f"The data folder {paths.data} can be written.")


def check_port(config: Config, record: InstanceRecord | None) -> Check:
    """Is the port ours, or free for us?"""
    from app.server.listen import ListenError, bind

    port = config.server.port
    if record is not None:
        text = f"Dragoman listens on port {record.port} (process {record.pid})."
        if port in (0, record.port):
            return Check("port", "ok", text)
        hint = f"The settings say {port}; `dragoman restart` would move it there."
        return Check("port", "warning", text, hint)
    try:
        sockets = bind(port, [config.server.host])
    except ListenError as error:
        return Check("port", "failed", error.message, advice(error))
    for sock in sockets:
        sock.close()
    return Check("port", "ok", f"Port {port} is free." if port else "Any free port is taken.")


def check_loopback(port: int) -> Check:
    """Does ``localhost`` reach the instance, whichever address the name means?"""
    reached, refused = [], []
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        if not _has_address(family, host):
            if family == socket.AF_INET:
                refused.append(f"{host} (this machine does not have it)")
            continue
        try:
            socket.create_connection((host, port), _CONNECT_S).close()
            reached.append(host)
        except OSError as error:
            refused.append(f"{host} ({error.strerror or error})")
    if refused:
        return Check(
            "loopback",
            "failed",
            f"Dragoman is not reached at {' and '.join(refused)}.",
            "A firewall or a proxy of the system may be in the way; use the address that works: "
            f"{' or '.join(reached) or 'none does'}.",
        )
    return Check("loopback", "ok", f"Dragoman is reached at {' and '.join(reached)}.")


def _has_address(family: socket.AddressFamily, host: str) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.bind((host, 0))
    except OSError:
        return False
    return True


def check_clock(paths: Paths, now: float | None = None) -> Check:
    """Can the clock be right? Sign-ins and expiries depend on it."""
    now = time.time() if now is None else now
    hint = "Set the clock, best by switching on the system's time synchronisation."
    shown = time.strftime("%Y-%m-%d %H:%M", time.localtime(now))
    if now < _RELEASED:
        return Check("clock", "failed", f"The clock is wrong: it shows {shown}.", hint)
    for file in (paths.log_file, paths.database_file):
        written = _written_at(file)
        if written is not None and written > now + _SKEW_S:
            text = f"The clock shows {shown}, but {file.name} was written later than that."
            return Check("clock", "failed", text, hint)
    return Check("clock", "ok", f"The clock shows {shown}.")


def _written_at(file: Path) -> float | None:
    try:
        return file.stat().st_mtime
    except OSError:
        return None  # not there yet, or not ours to see: it proves nothing


def check_instance(client: Client) -> Check:
    """Does the instance answer, and what does it think of itself?"""
    try:
        health = client.get("/v1/health")
    except AppError as error:
        return Check("instance", "failed", error.message, advice(error))
    text = f"Dragoman {health['version']} answers; its state is {health['state']}."
    if problems := health["config"]["problems"]:
        return Check("instance", "warning", text, " ".join(map(str, problems)))
    return Check("instance", "ok", text)
