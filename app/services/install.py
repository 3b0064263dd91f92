"""Installs a helper program from the package index into a virtual environment of its own.

Every package is pinned with its hashes (``Packages.lock``), so what runs here is what was looked
at. A stamp is written last: an environment without it, or of another lock, is made anew.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from app.errors import AppError
from app.paths import asset, write_private
from app.services import child as children
from app.services.definition import Packages
from app.services.journal import Journal

__all__ = ["Installer", "find_python", "install_commands", "own_environment", "venv_python"]

_STAMP = ".dragoman"
_OLDEST = (3, 11)

_KEPT = (
    *("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "TEMP", "TMP"),
    *("SYSTEMROOT", "SYSTEMDRIVE", "COMSPEC", "PATHEXT", "WINDIR", "NUMBER_OF_PROCESSORS"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
)
_INDEX = ("PIP_", "UV_")
"""What tells pip and uv where the package index is; for installing only."""


def own_environment(env: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return the environment of a helper program: how this machine is reached, and a home apart.

    Args:
        env: ours, of which nothing else is handed on.
        home: what the program takes for the user's home.
    """
    kept = {name: env[name] for name in _KEPT if name in env}
    return {**kept, "HOME": str(home), "USERPROFILE": str(home), "PYTHONUNBUFFERED": "1"}


def venv_python(folder: Path) -> Path:
    """Return the Python of a virtual environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def find_python(
    *,
    frozen: bool = bool(getattr(sys, "frozen", False)),
    which: Callable[[str], str | None] = shutil.which,
) -> str | None:
    """Return a Python to make an environment with: our own, or for a frozen build one on PATH."""
    if not frozen:
        return sys.executable
    names = [f"python3.{minor}" for minor in range(14, _OLDEST[1] - 1, -1)]
    return next((found for name in (*names, "python3") if (found := which(name))), None)


def install_commands(
    python: str,
    environment: Path,
    lock: Path,
    *,
    uv: str | None,
    has_pip: bool,
) -> tuple[tuple[str, ...], ...]:
    """Return the commands that make an environment and fill it, in order.

    ``venv`` is asked for no pip of its own: Debian keeps that in a package that may be missing.

    Args:
        python: makes the environment.
        environment: its folder, which is not there yet.
        lock: the packages.
        uv: path of uv, which is faster; None without it.
        has_pip: whether ``python`` has pip itself, which can fill other environments.
    """
    target = str(venv_python(environment))
    # Wheels only: a source distribution would run its own build code.
    wanted = ("install", "--require-hashes", "--only-binary", ":all:", "-r", str(lock))
    make = (python, "-m", "venv", "--without-pip", str(environment))
    if uv is not None:
        return make, (uv, "pip", *wanted, "--python", target)
    if has_pip:
        quiet = ("--disable-pip-version-check", "--no-input", "--progress-bar", "off")
        return make, (python, "-m", "pip", "--python", target, *wanted, *quiet)
    return (
        (python, "-m", "venv", str(environment)),
        (target, "-m", "pip", *wanted, "--disable-pip-version-check", "--no-input"),
    )


class Installer:
    """The environment of one helper program.

    Args:
        folder: it is made there, as ``venv``.
        packages: what belongs into it.
        journal: keeps what installing prints.
        env: ours; where the package index is, and the proxy to it, are taken from it.
    """

    def __init__(
        self, folder: Path, packages: Packages, journal: Journal, env: Mapping[str, str]
    ) -> None:
        self._folder = folder
        self._packages = packages
        self._journal = journal
        self._env = env

    @property
    def environment(self) -> Path:
        """Return the folder of the environment."""
        return self._folder / "venv"

    @property
    def python(self) -> Path:
        """Return the environment's Python."""
        return venv_python(self.environment)

    @property
    def installed(self) -> str:
        """Return the version that is installed; empty where there is none, or not all of it."""
        try:
            stamp = (self.environment / _STAMP).read_text("utf-8")
        except OSError:
            return ""
        return self._packages.version if stamp == self._wanted() else ""

    def _wanted(self) -> str:
        digest = hashlib.sha256(asset(self._packages.lock).read_bytes()).hexdigest()
        return f"{self._packages.version} {digest}\n"

    async def install(self) -> None:
        """Make the environment, anew where there is one that is not complete.

        Raises:
            AppError: ``install_failed``; the journal has what was printed.
        """
        python = find_python()
        if python is None:
            raise _failed("There is no Python 3.11 or newer on this machine to install it with.")
        if self.environment.exists():
            shutil.rmtree(self.environment)
        commands = install_commands(
            python,
            self.environment,
            asset(self._packages.lock),
            uv=shutil.which("uv", path=self._env.get("PATH")),
            has_pip=not getattr(sys, "frozen", False)
            and importlib.util.find_spec("pip") is not None,
        )
        for command in commands:
            await self._run(command)
        write_private(self.environment / _STAMP, self._wanted().encode())
        self._journal.write(f"Version {self._packages.version} is installed.")

    async def _run(self, command: Sequence[str]) -> None:
        self._journal.write(f"$ {' '.join(command)}")
        index = {name: value for name, value in self._env.items() if name.startswith(_INDEX)}
        environment = {**own_environment(self._env, self._folder), **index}
        try:
            running = await children.start(command, self._folder, environment, b"", self._journal)
        except OSError as error:
            raise _failed(f"{command[0]} cannot be started: {error.strerror or error}.") from error
        try:
            await running.ended.wait()
        finally:
            await running.stop(2.0)
        if running.code != 0:
            raise _failed(f"Installing failed. {running.describe_end()}")


def _failed(message: str) -> AppError:
    return AppError(
        message,
        code="install_failed",
        hint="`dragoman services logs NAME` shows what was printed.",
        status=502,
    )
