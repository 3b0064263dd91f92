"""The listening sockets, and the process's allowance of open files.

Both loopback addresses are bound on one port, since ``localhost`` means either. A machine without
IPv6 is normal; a port that is free on one address and taken on the other is not, because calls
to ``localhost`` would then reach some other program.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.errors import AppError, ConfigError, ConfigProblem

__all__ = [
    "FileBudget",
    "Holder",
    "ListenError",
    "bind",
    "holder_of",
    "open_files",
    "raise_file_limit",
]

BACKLOG = 4096
LOOPBACK = ("127.0.0.1", "::1")
_PORT_TRIES = 20


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that listens on a port: its id, and the program's name when known."""

    pid: int
    program: str | None

    def __str__(self) -> str:
        return f"{self.program or 'a program'} (process {self.pid})"


class ListenError(ConfigError):
    """An address could not be bound.

    ``code`` is ``port_in_use``, ``port_not_permitted`` or ``address_not_available``; ``holder``
    is the process that has the port, where it can be found.
    """

    def __init__(self, code: str, message: str, hint: str, holder: Holder | None = None) -> None:
        AppError.__init__(self, message, hint=hint, code=code)
        key = "server.host" if code == "address_not_available" else "server.port"
        self.problems = (ConfigProblem("config.yaml", 0, key, message),)
        self.holder = holder


def bind(port: int, hosts: Sequence[str] = LOOPBACK) -> list[socket.socket]:
    """Open listening sockets on one port at several addresses.

    Args:
        port: 0 picks one that is free at every address.
        hosts: IP addresses or names; ``loopback`` and ``localhost`` stand for ``127.0.0.1`` and
            ``::1``. Whether others may be bound is decided elsewhere (``guard.refuses_bind``).

    Returns:
        Non-blocking sockets, in the order of ``hosts``. ``::1`` is left out where the system has
        no IPv6, as long as another address is there.

    Raises:
        ListenError: the port is in use, may not be used, or an address is not this machine's.
    """
    addresses = _addresses(hosts)
    for _ in range(_PORT_TRIES):
        try:
            return _bind_all(port, addresses)
        except ListenError as error:
            # With port 0 the first address picks; the same number may be taken at the next.
            if port != 0 or error.code != "port_in_use":
                raise
    raise ListenError(
        "port_in_use",
        f"No port was found that is free at {' and '.join(a for _, a in addresses)}.",
        "Set one: `server: {port: …}`.",
    )


def _addresses(hosts: Sequence[str]) -> list[tuple[socket.AddressFamily, str]]:
    """Resolve hosts to families and addresses, without duplicates."""
    found: dict[tuple[socket.AddressFamily, str], None] = {}
    for host in hosts:
        for name in LOOPBACK if host.lower() in ("loopback", "localhost") else (host,):
            name = name.removeprefix("[").removesuffix("]")
            try:
                version = ipaddress.ip_address(name.partition("%")[0]).version
            except ValueError:
                try:
                    infos = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
                except OSError as error:
                    raise ListenError(
                        "address_not_available",
                        f"The address {name!r} to listen on is not known: {error.strerror}.",
                        "Set `server: {host: loopback}`, or an address of this machine.",
                    ) from error
                found.update({(info[0], str(info[4][0])): None for info in infos})
            else:
                family = socket.AF_INET if version == 4 else socket.AF_INET6
                found[(family, name)] = None
    return list(found)


def _bind_all(
    port: int, addresses: Sequence[tuple[socket.AddressFamily, str]]
) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses:
            try:
                sock = _bind_one(family, address, port)
            except OSError as error:
                others = len(addresses) > 1
                if address == "::1" and others and error.errno in _NO_IPV6:
                    continue
                raise _explained(error, address, port) from error
            sockets.append(sock)
            port = sock.getsockname()[1]
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


_NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})


def _bind_one(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":
            # There SO_REUSEADDR would let any program take the port over.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            # Restart at once, although connections of the last run linger in TIME-WAIT.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _explained(error: OSError, address: str, port: int) -> ListenError:
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    taken = (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", errno.EADDRINUSE))
    if error.errno in taken:
        holder = holder_of(port)
        by = f" by {holder}" if holder else ""
        hint = "Stop that program, or set another port: `server: {port: …}`."
        if holder is not None and holder.program == "dragoman":
            hint = "Dragoman is running already: see `dragoman status`, or `dragoman stop`."
        return ListenError("port_in_use", f"{where} is already in use{by}.", hint, holder)
    if error.errno in (errno.EACCES, errno.EPERM):
        hint = "Set a port of 1024 or above: `server: {port: 8317}`."
        if port >= 1024:
            # Windows says so, too, of a port that another program holds exclusively.
            hint = (
                "Another program, a reserved port range or a security rule keeps it; set another "
                "port: `server: {port: …}`."
            )
        return ListenError(
            "port_not_permitted", f"The system does not permit listening on {where}.", hint
        )
    return ListenError(
        "address_not_available",
        f"Listening on {where} failed: {error.strerror or error}.",
        "Set `server: {host: loopback}`, or an address of this machine.",
    )


def holder_of(port: int) -> Holder | None:
    """Find the process that listens on a port: on Linux, among those that we may look into."""
    if sys.platform != "linux":
        return None
    from app.server.peer_linux import LISTEN, name_of, processes_of, read_proc_net

    inodes = [r.inode for r in read_proc_net() if r.port == port and r.state == LISTEN]
    try:
        pids = processes_of(inodes)
    except OSError:
        return None
    for pid in pids.values():
        return Holder(pid, name_of(pid))
    return None


# Open files.

_MAC_CAP = 10240
"""OPEN_MAX: macOS reports a hard limit of infinity and refuses anything above this."""
_CAP = 1_048_576
"""More than we can use; an infinite hard limit still ends at the kernel's ``nr_open``."""


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one.

    Returns:
        The limit now in force; 0 where there is none (Windows).
    """
    if sys.platform == "win32":
        return 0
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    cap = _MAC_CAP if sys.platform == "darwin" else _CAP
    wanted = cap if hard == resource.RLIM_INFINITY else min(hard, cap)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            return soft  # a sandbox may forbid it; what there is has to do
        return wanted
    return cap if soft == resource.RLIM_INFINITY else soft


def open_files() -> int:
    """Count this process's open files; 0 where they cannot be counted cheaply."""
    folder = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
    try:
        return len(os.listdir(folder))
    except OSError:
        return 0


class FileBudget:
    """Tells when the process comes near its limit of open files.

    Counting costs a directory listing, so it is done at most once a second; between two counts
    each new connection is reckoned as two files, its own and one to an upstream.

    Args:
        limit: most open files; 0 means that there is no limit.
        connections: how many connections are open now.
        now: monotonic seconds.
        count: counts the open files.
        share: part of the limit from which on it counts as near.
    """

    def __init__(
        self,
        limit: int,
        connections: Callable[[], int],
        now: Callable[[], float] = time.monotonic,
        count: Callable[[], int] = open_files,
        share: float = 0.9,
    ) -> None:
        self._threshold = limit * share
        self._connections = connections
        self._now = now
        self._count = count
        self._counted_at = float("-inf")
        self._files = 0
        self._then = 0

    def near_limit(self) -> bool:
        """Tell whether no further connection should be taken on."""
        if not self._threshold:
            return False
        now, connections = self._now(), self._connections()
        if now - self._counted_at >= 1.0:
            self._counted_at = now
            self._files = self._count()
            self._then = connections
        grown = max(0, connections - self._then)
        return self._files + 2 * grown >= self._threshold
