"""Keys and tokens that a program prints (``credential_command``): 1Password, pass, a cloud's CLI.

The program is started as its argument list stands, without a shell unless the settings ask for
one, with an empty standard input and without the variables that hold other accounts' secrets. What
it prints is either the bare key, or a JSON object. Of that the first of ``access_token``, ``token``,
``api_key``, ``key``, ``secret`` and ``SessionToken`` is used, with its expiry in ``expires_at``
(epoch seconds, or a time in RFC 3339), ``expiration`` or ``Expiration`` (RFC 3339, as in AWS's
``credential_process``) or ``expires_in`` (seconds). What it writes to standard error is not shown:
some programs repeat there what they were asked for.

One run serves all who wait for it. What was printed is kept in memory until a minute before its
expiry; a service that refuses it makes the next call run the program again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from app import log
from app.config import CredentialCommand
from app.errors import AccountError
from app.providers.credential import Credential
from app.providers.ratelimits import parse_moment
from app.tasks import spawn

__all__ = ["CommandCredentials", "parse_printed", "run_program"]

_log = logging.getLogger("dragoman.accounts")

_FIELDS = ("access_token", "token", "api_key", "key", "secret", "SessionToken")
_MOST_BYTES = 256 * 1024
_LEAD_S = 60.0
_AGAIN_S = 30.0
"""How long a failure is told without another run: a password manager asks the user each time."""

RunProgram = Callable[[CredentialCommand], Awaitable[bytes]]


@dataclass(slots=True)
class _Kept:
    credential: Credential
    command: CredentialCommand
    """That printed it; another one may print another key."""
    until: float
    """Epoch seconds until which it is used without another run."""


class CommandCredentials:
    """Runs the programs and keeps what they print, in memory only.

    Args:
        run: runs one program; see ``run_program``.
        now: epoch seconds UTC.
    """

    def __init__(self, run: RunProgram, now: Callable[[], float]) -> None:
        self._run = run
        self._now = now
        self._kept: dict[str, _Kept] = {}
        self._failed: dict[str, tuple[AccountError, float]] = {}
        self._running: dict[str, tuple[CredentialCommand, asyncio.Task[Credential]]] = {}

    async def get(self, account_id: str, command: CredentialCommand) -> Credential:
        """Return an account's credential.

        Raises:
            AccountError: the program failed, took too long, or printed nothing that is a key
                (code ``credential_command_failed``).
        """
        kept = self._kept.get(account_id)
        if kept is not None and kept.command == command and self._now() < kept.until:
            return kept.credential
        failed = self._failed.get(account_id)
        if failed is not None and self._now() < failed[1]:
            raise _again(failed[0])
        running = self._running.get(account_id)
        if running is not None and running[0] == command:
            return await asyncio.shield(running[1])
        task = spawn(self._fetch(account_id, command), f"credential of {account_id}")
        self._running[account_id] = command, task
        task.add_done_callback(lambda done: self._ended(account_id, done))
        return await asyncio.shield(task)

    def rejected(self, account_id: str, secret: str) -> None:
        """Take note that a service refused what was printed: the next call runs the program."""
        kept = self._kept.get(account_id)
        if kept is not None and kept.credential.secret == secret:
            del self._kept[account_id]

    def trouble(self, account_id: str) -> str:
        """Return why the last run failed; empty when it did not."""
        failed = self._failed.get(account_id)
        return "" if failed is None else failed[0].text

    def keep_only(self, account_ids: frozenset[str]) -> None:
        """Forget accounts that are gone, and every failure: the settings have changed."""
        for account_id in self._kept.keys() - account_ids:
            del self._kept[account_id]
        self._failed.clear()

    async def _fetch(self, account_id: str, command: CredentialCommand) -> Credential:
        try:
            printed = await self._run(command)
            credential = parse_printed(printed, self._now())
        except AccountError as error:
            self._failed[account_id] = (error, self._now() + _AGAIN_S)
            _log.warning("%s: %s", account_id, error.message)
            raise
        log.redact(credential.secret)
        self._failed.pop(account_id, None)
        now = self._now()
        until = now + command.lifetime_s
        if credential.expires_at is not None:
            until = max(now + 1.0, credential.expires_at - _LEAD_S)
        self._kept[account_id] = _Kept(credential, command, until)
        return credential

    def _ended(self, account_id: str, task: asyncio.Task[Credential]) -> None:
        if self._running.get(account_id, (None, None))[1] is task:
            del self._running[account_id]
        if not task.cancelled():
            task.exception()  # whoever waits is told; nobody may be waiting any more


def _again(error: AccountError) -> AccountError:
    """Return an error for one more caller: each needs an object, for its traceback."""
    return AccountError(error.message, hint=error.hint, code=error.code)


def parse_printed(printed: bytes, now: float) -> Credential:
    """Return the credential that a program printed.

    Raises:
        AccountError: there is none in it, or it has expired already.
    """
    try:
        text = printed.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise _failed("printed something that is no text") from None
    if not text:
        raise _failed("printed nothing")
    expires_at: float | None = None
    if text.startswith("{"):
        text, expires_at = _of_object(text, now)
    if not re.fullmatch(r"[\x21-\x7e]{1,65536}", text):
        raise _failed("printed more than one word, or characters that no key has")
    if expires_at is not None and expires_at <= now:
        raise _failed("printed a key that has expired already")
    return Credential(text, "api_key", expires_at, obtained_at=now)


def _of_object(text: str, now: float) -> tuple[str, float | None]:
    try:
        fields = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise _failed("printed JSON that cannot be read") from None
    secret = next((fields[name] for name in _FIELDS if isinstance(fields.get(name), str)), "")
    if not secret:
        raise _failed(f"printed JSON without any of {', '.join(_FIELDS)}")
    return secret.strip(), _expiry(fields, now)


def _expiry(fields: Mapping[str, object], now: float) -> float | None:
    for name in ("expires_at", "expiration", "Expiration"):
        value = fields.get(name)
        if isinstance(value, str) and (moment := parse_moment(value)) is not None:
            return moment
        if isinstance(value, int | float) and not isinstance(value, bool):
            # Programs in JavaScript count milliseconds.
            return value / 1000.0 if value > 1e11 else float(value)
    span = fields.get("expires_in")
    if isinstance(span, int | float) and not isinstance(span, bool) and span > 0:
        return now + span
    return None


def _failed(what: str) -> AccountError:
    return AccountError(
        f"The credential_command {what}.",
        code="credential_command_failed",
        hint="Run it by hand to see what it says; `dragoman doctor` tries it again.",
    )


def run_program(env: Mapping[str, str]) -> RunProgram:
    """Return what runs a program.

    Args:
        env: its environment, without the variables that hold secrets of other accounts.
    """

    async def run(command: CredentialCommand) -> bytes:
        words = command.command
        # A session of its own, so that what it has started can be ended with it.
        options: dict[str, Any] = {
            "stdin": DEVNULL,
            "stdout": PIPE,
            "stderr": DEVNULL,
            "env": dict(env),
            "start_new_session": os.name == "posix",
        }
        try:
            if command.shell:
                process = await asyncio.create_subprocess_shell(" ".join(words), **options)
            else:
                process = await asyncio.create_subprocess_exec(*words, **options)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it cannot be started"
            raise _failed(f"{words[0]!r} cannot be started: {reason}") from error
        try:
            async with asyncio.timeout(command.timeout_s):
                printed = await _printed(process)
                status = await process.wait()
        except TimeoutError:
            raise _failed(f"took longer than {command.timeout_s:g} s") from None
        finally:
            await _end(process)
        if status != 0:
            raise _failed(f"ended with exit code {status}")
        return printed

    return run


async def _printed(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    printed = b""
    while piece := await process.stdout.read(65_536):
        printed += piece
        if len(printed) > _MOST_BYTES:
            raise _failed("printed more than 256 KB")
    return printed


async def _end(process: asyncio.subprocess.Process) -> None:
    """Leave no program behind, whatever happened; its pipe is closed with it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        elif process.returncode is None:
            process.kill()
    await process.wait()
    transport = getattr(process, "_transport", None)
    if transport is not None:
        transport.close()
