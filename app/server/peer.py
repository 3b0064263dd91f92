"""Who holds the other end of a connection, asked of the kernel once per connection.

The proof is the one thing that makes keyless calls safe: the kernel's own table says which user
owns the client's socket. Each system has its table and its file:

- Linux: one ``inet_diag`` query by 4-tuple, about 10 µs (``peer_linux``);
- Windows: ``GetExtendedTcpTable`` and the SID of the owning process (``peer_windows``);
- macOS: the ``net.inet.tcp.pcblist_n`` table (``peer_macos``).

What makes a lookup by address a proof: both ends are loopback addresses, so the client's socket
is in this kernel's table; the 4-tuple is unique while our end is alive; and our end is checked to
be alive *after* the lookup, so the row cannot be that of a later socket which reuses the port.
Whatever goes wrong, the answer is "not proven", never an error: the caller then needs a key.
"""

from __future__ import annotations

import re
import socket
import sys
import time
from asyncio import get_running_loop
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol

from app.tasks import spawn

__all__ = [
    "UNPROVEN",
    "NoProver",
    "Pair",
    "PeerProof",
    "ProgramNames",
    "Prover",
    "default_program_names",
    "default_prover",
    "pair_of",
    "program_name",
    "prove",
]


@dataclass(frozen=True, slots=True)
class PeerProof:
    """What the kernel says about the client's socket.

    Attributes:
        same_user: the socket belongs to the user that we run as.
        uid: its owner where users have numbers, else None.
        key: what ``ProgramNames`` finds the program by: the socket's inode on Linux, the process
            id elsewhere; None when unknown.
    """

    same_user: bool
    uid: int | None = None
    key: int | None = None


UNPROVEN = PeerProof(same_user=False)
"""Nothing is known; treated as another user."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A TCP connection as the *client's* socket sees it.

    Attributes:
        family: ``socket.AF_INET`` or ``socket.AF_INET6``; a v4-mapped pair is ``AF_INET``.
        client: packed address of the client's end, 4 or 16 bytes.
        client_port: its port.
        server: packed address of our end.
        server_port: our port.
    """

    family: int
    client: bytes
    client_port: int
    server: bytes
    server_port: int

    @property
    def loopback(self) -> bool:
        """Both ends are loopback addresses, so that the client runs on this machine."""
        if self.family == socket.AF_INET:
            return self.client[0] == 127 and self.server[0] == 127
        return self.client == self.server == _LOOPBACK_V6


_LOOPBACK_V6 = b"\0" * 15 + b"\1"
_MAPPED = b"\0" * 10 + b"\xff\xff"


def pair_of(local: Any, remote: Any) -> Pair | None:
    """Build a pair from ``getsockname()`` and ``getpeername()``; None when it is not IP."""
    if not (isinstance(local, tuple) and isinstance(remote, tuple)):
        return None
    family = socket.AF_INET6 if ":" in remote[0] else socket.AF_INET
    try:
        client = socket.inet_pton(family, remote[0].partition("%")[0])
        server = socket.inet_pton(family, local[0].partition("%")[0])
    except OSError:
        return None
    if family == socket.AF_INET6 and client.startswith(_MAPPED) and server.startswith(_MAPPED):
        return Pair(socket.AF_INET, client[12:], remote[1], server[12:], local[1])
    return Pair(family, client, remote[1], server, local[1])


class Prover(Protocol):
    """Looks one connection up in the kernel's table."""

    slow: bool
    """A lookup takes long enough (above 0.1 ms) that it belongs in an executor."""

    def look_up(self, pair: Pair) -> PeerProof:
        """Return what the kernel says; ``UNPROVEN`` when it has no such live socket.

        Raises:
            OSError: the kernel could not be asked.
        """

    def close(self) -> None:
        """Release what the prover holds."""


class NoProver:
    """Proves nothing; for systems without a table that we can read."""

    slow = False

    def look_up(self, pair: Pair) -> PeerProof:
        """Return ``UNPROVEN``."""
        return UNPROVEN

    def close(self) -> None:
        """Do nothing."""


def prove(sock: socket.socket, prover: Prover) -> PeerProof:
    """Tell whether our own user holds the other end of an accepted connection.

    Returns ``UNPROVEN`` for a connection that is not loopback at both ends, that is closed, or
    that the kernel does not know. May be called from any thread, one call per prover at a time.
    """
    try:
        pair = pair_of(sock.getsockname(), sock.getpeername())
        if pair is None or not pair.loopback:
            return UNPROVEN
        proof = prover.look_up(pair)
        # Fails with ENOTCONN once the client's end is reset: then the row that was found may
        # belong to a later connection from the same port.
        sock.getpeername()
    except OSError:
        return UNPROVEN
    return proof


def default_prover() -> Prover:
    """Return the prover of this system."""
    if sys.platform == "linux":
        from app.server.peer_linux import LinuxProver

        return LinuxProver()
    if sys.platform == "win32":
        from app.server.peer_windows import WindowsProver

        return WindowsProver()
    if sys.platform == "darwin":
        from app.server.peer_macos import MacProver

        return MacProver()
    return NoProver()


# The calling program's name.


class ProgramNames:
    """Finds which program holds a socket: off the loop, cached, never awaited.

    A name is a courtesy of logs and the dashboard, so it may come late or not at all. Lookups
    are gathered: all sockets asked about while one scan runs are answered by the next one. A
    scan that took ``d`` seconds is followed by a rest of nine times that, so that clients which
    open a connection per request cost at most a tenth of a core.

    Args:
        find: takes the keys wanted, returns the names of those that were found; runs in the
            loop's executor and may block.
        now: monotonic seconds.
        size: names kept.
        age_s: seconds after which a name is looked up again; keys are reused by the kernel.
    """

    def __init__(
        self,
        find: Callable[[frozenset[int]], Mapping[int, str]],
        now: Callable[[], float] = time.monotonic,
        size: int = 1024,
        age_s: float = 600.0,
    ) -> None:
        self._find = find
        self._now = now
        self._size = size
        self._age_s = age_s
        self._names: OrderedDict[int, tuple[float, str | None]] = OrderedDict()
        self._wanted: set[int] = set()
        self._scanning = False
        self._rest_until = 0.0

    def get(self, key: int | None) -> str | None:
        """Return the name if it is known; else have it looked up and return None.

        Must be called on the event loop.
        """
        if key is None:
            return None
        known = self._names.get(key)
        if known is not None and self._now() - known[0] < self._age_s:
            return known[1]
        if len(self._wanted) < self._size:
            self._wanted.add(key)
        if not self._scanning and self._now() >= self._rest_until:
            self._scanning = True
            spawn(self._scan(), "find the calling program")
        return None

    async def _scan(self) -> None:
        wanted = frozenset(self._wanted)
        started = self._now()
        try:
            found = await get_running_loop().run_in_executor(None, self._find, wanted)
        finally:
            ended = self._now()
            self._scanning = False
            self._rest_until = ended + 9 * (ended - started)
            self._wanted -= wanted
        for key in wanted:
            # Not found is remembered, too: the program has ended, or is not ours to look at.
            self._names[key] = (ended, found.get(key))
            self._names.move_to_end(key)
        while len(self._names) > self._size:
            self._names.popitem(last=False)


def default_program_names() -> ProgramNames:
    """Return the finder of program names of this system."""
    if sys.platform == "linux":
        from app.server.peer_linux import programs_of

        return ProgramNames(programs_of)
    if sys.platform == "win32":
        from app.server.peer_windows import programs_of

        return ProgramNames(programs_of)
    if sys.platform == "darwin":
        from app.server.peer_macos import programs_of

        return ProgramNames(programs_of)
    return ProgramNames(lambda keys: {})


_INTERPRETERS = re.compile(r"(python|node|bun|deno|ruby|perl|java)(w?[0-9.]*)")
_DULL = frozenset({"index", "cli", "main", "bin", "dist", "src", "build", "lib", "__main__", "app"})
"""Script and folder names that say nothing about the program."""


def program_name(executable: str, arguments: tuple[str, ...] = (), title: str = "") -> str:
    """Return the name a person would use for a program.

    An interpreter that runs a script is named after the script, or after the package folder
    when the script's own name says nothing (``…/claude-code/cli.js`` is ``claude-code``).

    Args:
        executable: path or name of the executable, in any system's notation.
        arguments: the arguments after the executable's own name.
        title: the name that the process has given itself, if any; trusted over an interpreter's.
    """
    name = _stem(executable)
    match = _INTERPRETERS.fullmatch(name)
    if match is None:
        return name
    plain = match[1]
    script = next((a for a in arguments if not a.startswith("-")), "")
    flagged = bool(arguments) and arguments[0] in ("-c", "-m", "-e", "-p", "--eval")
    if script and not flagged:
        for part in (_stem(script), *_folders(script)):
            if part and part not in _DULL and not part.startswith("."):
                return part
    if title and _INTERPRETERS.fullmatch(title) is None and title != "MainThread":
        return title
    return plain


def _stem(path: str) -> str:
    name = PurePosixPath(path.replace("\\", "/")).name
    return re.sub(r"\.(exe|py|pyw|js|mjs|cjs|ts|rb|pl|jar)$", "", name, flags=re.IGNORECASE)


def _folders(path: str) -> tuple[str, ...]:
    return tuple(reversed(PurePosixPath(path.replace("\\", "/")).parts[:-1]))
