"""The keyring of the operating system: where the vault's key lies.

The one border to the ``keyring`` library. It is imported at the first call, since it loads D-Bus or
Cocoa bindings. All calls block, some for as long as a person leaves a dialog unanswered, and a hung
service blocks for ever. ``Keychain`` therefore makes them on daemon threads: they hold up neither
the loop nor the end of the process.

Stores that would not protect the key are refused: those that keep it as plain text, those that
forget it, and those that ask for a password on a terminal, which a program in the background does
not have.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar

from app.accounts.sealed import KEY_BYTES, key_id
from app.errors import AccountError
from app.log import redact

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend
    from secretstorage import Collection

__all__ = [
    "Fetched",
    "Keychain",
    "Keyring",
    "KeyringFault",
    "KeyringTrouble",
    "SystemKeyring",
    "in_thread",
]

_log = logging.getLogger("dragoman.vault")
_T = TypeVar("_T")

KeyringTrouble: TypeAlias = Literal["absent", "locked", "slow", "denied"]

_REFUSED_MODULES = ("keyring.backends.null", "keyring.backends.fail", "keyrings.", "sagecipher")
"""``keyrings.alt`` holds plain text or asks on a terminal, as ``keyrings.cryptfile`` does."""
_REFUSED_NAMES = ("plaintext", "null", "fail", "uncrypted")

_FREEDESKTOP = "keyring.backends.SecretService.Keyring"
_DENIED = frozenset(
    {
        "KeychainDenied",  # macOS: the person said no
        "SecAuthFailure",  # macOS: the program's signature is not on the entry's list
        "PromptDismissedException",  # Secret Service
    }
)
_DENIED_BY_DBUS = "org.freedesktop.DBus.Error.AccessDenied"
"""A sandbox (Flatpak, Snap) keeps the program from the service."""
_WINDOWS_DENIED = 5
_WINDOWS_NO_SESSION = 1312
"""ERROR_NO_SUCH_LOGON_SESSION: services and SSH sessions have no credential store."""
_MACOS_NO_DIALOG = -25308
"""errSecInteractionNotAllowed: a session without screen cannot unlock the keychain."""


class KeyringFault(AccountError):
    """The keyring did not serve; ``trouble`` says how, ``message`` why in the library's words."""

    def __init__(self, trouble: KeyringTrouble, message: str) -> None:
        super().__init__(message, code=f"keyring_{trouble}")
        self.trouble: KeyringTrouble = trouble


class Keyring(Protocol):
    """A store of short secrets by name. Both calls block and raise ``KeyringFault``."""

    def read(self, entry: str) -> str | None:
        """Return the secret of an entry, or None where there is no such entry."""
        ...

    def write(self, entry: str, secret: str) -> None:
        """Store a secret."""
        ...


class SystemKeyring:
    """The keyring of this session: Secret Service, KWallet, Keychain or Credential Manager."""

    def __init__(self, service: str = "dragoman") -> None:
        self._service = service

    def read(self, entry: str) -> str | None:
        """Return the secret of an entry, or None where there is no such entry.

        Raises:
            KeyringFault: no keyring, or it is locked or refuses.
        """
        return _guarded(lambda: _backend().get_password(self._service, entry))

    def write(self, entry: str, secret: str) -> None:
        """Store a secret.

        Raises:
            KeyringFault: as ``read``.
        """
        _guarded(lambda: _backend().set_password(self._service, entry, secret))


def _guarded(call: Callable[[], _T]) -> _T:
    try:
        return call()
    except KeyringFault:
        raise
    except Exception as error:  # the systems' libraries raise what they like
        raise fault_of(error) from error


def _backend() -> KeyringBackend:
    """Return the best store that protects what it holds.

    The library's own choice is made once and kept; here it is made anew each time, so that a
    keyring which is started later is found, and without its chainer, which reads from every store.

    Raises:
        KeyringFault: ``absent``.
    """
    from keyring import backend, core
    from keyring.backends.chainer import ChainerBackend

    chosen = core.load_env() or core.load_config()
    if chosen is not None:
        if not is_safe(type(chosen)):
            raise KeyringFault(
                "absent",
                f"The keyring chosen in this session ({_name(type(chosen))}) does not protect "
                "what it holds, so it is not used.",
            )
        if not isinstance(chosen, ChainerBackend):
            return chosen
    backend._load_plugins()
    found = [kind for kind in backend.KeyringBackend.get_viable_backends() if is_safe(kind)]
    if not found:
        raise KeyringFault("absent", "No keyring service is running in this session.")
    best = max(found, key=lambda kind: kind.priority)()
    if _name(type(best)) == _FREEDESKTOP:
        best.get_preferred_collection = lambda: _collection(best)  # type: ignore[attr-defined]
    return best


def _collection(store: KeyringBackend) -> Collection:
    """Return the collection of the Secret Service that the store works on, unlocked.

    The library's own way leaves its connection to the bus open where the collection stays locked.
    """
    import secretstorage
    from keyring.errors import KeyringLocked

    bus = secretstorage.dbus_init()
    try:
        path = getattr(store, "preferred_collection", None)
        if path is None:
            collection = secretstorage.get_default_collection(bus)
        else:
            collection = secretstorage.Collection(bus, path)
        if collection.is_locked():
            collection.unlock()
            if collection.is_locked():
                raise KeyringLocked("The keyring's collection was not unlocked.")
    except BaseException:
        bus.close()
        raise
    return collection


def is_safe(kind: type[object]) -> bool:
    """Say whether a store of the ``keyring`` library protects what it holds."""
    name = kind.__name__.lower()
    return not (
        kind.__module__.startswith(_REFUSED_MODULES)
        or any(word in name for word in _REFUSED_NAMES)
        or name == "chainerbackend"
    )


def fault_of(error: BaseException) -> KeyringFault:
    """Return what an error of the ``keyring`` library, or of what it stands on, means."""
    chain = [error]
    while (cause := chain[-1].__cause__) is not None and len(chain) < 8:
        chain.append(cause)
    names = {type(item).__name__ for item in chain}
    codes = {getattr(item, "winerror", None) for item in chain}
    codes |= {item.args[0] for item in chain if item.args and isinstance(item.args[0], int)}
    text = str(error) or type(error).__name__
    if (
        names & _DENIED
        or _WINDOWS_DENIED in codes
        or any(getattr(item, "name", "") == _DENIED_BY_DBUS for item in chain)
        or (names & {"PasswordSetError"} and "Cancelled" in text)  # KWallet
    ):
        return KeyringFault("denied", text)
    if names & {"NoKeyringError", "SecretServiceNotAvailableException"}:
        return KeyringFault("absent", text)
    if _WINDOWS_NO_SESSION in codes:
        return KeyringFault("absent", text)
    if names & {"KeyringLocked", "InitError", "LockedException"} or _MACOS_NO_DIALOG in codes:
        return KeyringFault("locked", text)
    if names & {"PasswordSetError", "KeyringError"}:
        return KeyringFault("denied", text)
    return KeyringFault("absent", f"{type(error).__name__}: {text}")


def _name(kind: type[object]) -> str:
    return f"{kind.__module__}.{kind.__name__}"


@dataclass(frozen=True, slots=True, repr=False)
class Fetched:
    """Keys by id that the keyring holds; ``made`` is the id of one that was made just now."""

    keys: dict[str, bytes]
    made: str = ""


class Keychain:
    """Keys in a keyring, with a limit to the wait.

    One call runs at a time. One that overran its limit goes on; the next ``fetch`` joins it, so
    that there is never a second dialog beside an unanswered one.
    """

    def __init__(self, keyring: Keyring, limit_s: float) -> None:
        self._keyring = keyring
        self._limit_s = limit_s
        self._pending: asyncio.Future[Fetched] | None = None
        self._asked: tuple[Any, ...] = ()

    async def fetch(self, ids: tuple[str, ...], *, make: bool, late: bool = False) -> Fetched:
        """Return those of the keys that are there.

        Args:
            ids: the keys that are looked for.
            make: when none of them is there, make a new one and store it.
            late: a failure of the call that overran is the answer, too; else it is made again.

        Raises:
            KeyringFault: the keyring did not serve, or (``slow``) not in time.
        """
        pending = self._pending
        if pending is not None:
            await self._wait(pending)
            if self._asked != (ids, make) or (pending.exception() is not None and not late):
                pending = None
        if pending is None:
            pending = self._start(ids, make)
            await self._wait(pending)
        self._pending = None
        return pending.result()

    async def answer(self) -> bool:
        """Wait, however long it takes, for a call that overran; False when there is none."""
        if self._pending is None:
            return False
        await asyncio.wait({self._pending})
        return True

    def _start(self, ids: tuple[str, ...], make: bool) -> asyncio.Future[Fetched]:
        self._asked = (ids, make)
        keyring = self._keyring
        self._pending = in_thread(lambda: _fetch(keyring, ids, make), "keyring")
        return self._pending

    async def _wait(self, pending: asyncio.Future[Fetched]) -> None:
        await asyncio.wait({pending}, timeout=self._limit_s)
        if not pending.done():
            raise KeyringFault(
                "slow", f"The system keyring has not answered for {self._limit_s:g} s."
            )


def _fetch(keyring: Keyring, ids: tuple[str, ...], make: bool) -> Fetched:
    keys: dict[str, bytes] = {}
    for name in ids:
        key = _decode(keyring.read(_entry(name)))
        if key is not None and key_id(key) == name:
            keys[name] = key
    if keys or not make:
        return Fetched(keys)
    key = secrets.token_bytes(KEY_BYTES)
    name, text = key_id(key), base64.b64encode(key).decode()
    redact(text)
    keyring.write(_entry(name), text)
    if keyring.read(_entry(name)) != text:
        raise KeyringFault("denied", "The system keyring did not keep what was stored in it.")
    return Fetched({name: key}, name)


def _entry(name: str) -> str:
    return f"vault-{name}"


def _decode(text: str | None) -> bytes | None:
    if text is None:
        return None
    redact(text)
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == KEY_BYTES else None


def in_thread(call: Callable[[], _T], name: str) -> asyncio.Future[_T]:
    """Make a call that may never return, on a thread that nobody waits for at the end."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()
    future.add_done_callback(lambda done: done.cancelled() or done.exception())

    def settle(result: _T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # the call's own

    def run() -> None:
        result, error = None, None
        try:
            result = call()
        except Exception as raised:  # a thread's root; whoever waits is told
            error = raised
            _log.debug("%s: %s", name, raised)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
