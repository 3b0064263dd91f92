"""Linux: the owner of a socket by ``inet_diag``, and its program by ``/proc``.

One request over ``NETLINK_SOCK_DIAG`` names the client's 4-tuple and brings back that one socket
(sock_diag(7), ``linux/inet_diag.h``). Where netlink is not to be had (some sandboxes and
containers), ``/proc/net/tcp`` and ``tcp6`` are read, which costs milliseconds.

Only a socket in a connected state with an inode counts. A closed socket that the kernel still
winds down has neither owner nor inode and is reported with uid 0, which is no proof for root.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from app.server.peer import UNPROVEN, Pair, PeerProof, program_name

__all__ = [
    "LinuxProver",
    "ProcRow",
    "SocketRow",
    "parse_proc_net",
    "parse_reply",
    "processes_of",
    "programs_of",
    "render_query",
]

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_NLMSG_ERROR = 2
_HEAD = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port id."""
_QUERY = struct.Struct("=BBBBI")
"""struct inet_diag_req_v2 up to the socket id: family, protocol, extensions, pad, states."""
_MESSAGE = struct.Struct("=BBBB48sIIIII")
"""struct inet_diag_msg: family, state, timer, retransmits, id, expires, queues, uid, inode."""

ESTABLISHED, LISTEN = 1, 10
_CONNECTED = frozenset({ESTABLISHED, 4, 5, 8})
"""TCP states of a socket that a process holds: established, FIN-WAIT-1 and -2, CLOSE-WAIT."""


@dataclass(frozen=True, slots=True)
class SocketRow:
    """One socket of an ``inet_diag`` answer."""

    state: int
    port: int
    remote_port: int
    uid: int
    inode: int


@dataclass(frozen=True, slots=True)
class ProcRow:
    """One line of ``/proc/net/tcp`` or ``tcp6``; addresses packed in network order."""

    local: bytes
    port: int
    remote: bytes
    remote_port: int
    state: int
    uid: int
    inode: int


def render_query(pair: Pair, sequence: int) -> bytes:
    """Build the netlink message that asks for the client's socket of a pair."""
    body = _QUERY.pack(pair.family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF)
    body += struct.pack("!HH", pair.client_port, pair.server_port)
    body += pair.client.ljust(16, b"\0") + pair.server.ljust(16, b"\0")
    body += b"\0\0\0\0" + b"\xff" * 8  # any interface, no cookie
    head = _HEAD.pack(_HEAD.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, sequence, 0)
    return head + body


def parse_reply(data: bytes, sequence: int) -> SocketRow | None:
    """Read the answer to one query; None when it answers another (earlier) one.

    Raises:
        OSError: the kernel refused; ``ENOENT`` means that it knows no such socket.
        ValueError: the bytes are no such answer.
    """
    if len(data) < _HEAD.size + 4:
        raise ValueError("short netlink message")
    _, kind, _, answered, _ = _HEAD.unpack_from(data)
    if answered != sequence:
        return None
    if kind == _NLMSG_ERROR:
        (code,) = struct.unpack_from("=i", data, _HEAD.size)
        raise OSError(-code, os.strerror(-code))
    if kind != _SOCK_DIAG_BY_FAMILY or len(data) < _HEAD.size + _MESSAGE.size:
        raise ValueError(f"unexpected netlink message of type {kind}")
    fields = _MESSAGE.unpack_from(data, _HEAD.size)
    port, remote_port = struct.unpack_from("!HH", fields[4])
    return SocketRow(fields[1], port, remote_port, uid=fields[8], inode=fields[9])


def parse_proc_net(text: str) -> Iterator[ProcRow]:
    """Read ``/proc/net/tcp`` or ``tcp6``; lines that do not fit the format are left out.

    Addresses there are 32-bit words in the machine's order (proc_net_tcp in the kernel's
    documentation), ports are hexadecimal numbers.
    """
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) < 10:
            continue
        try:
            local, _, port = words[1].partition(":")
            remote, _, remote_port = words[2].partition(":")
            yield ProcRow(
                _packed(local),
                int(port, 16),
                _packed(remote),
                int(remote_port, 16),
                state=int(words[3], 16),
                uid=int(words[7]),
                inode=int(words[9]),
            )
        except ValueError:
            continue


def _packed(text: str) -> bytes:
    raw = bytes.fromhex(text)
    count = len(raw) // 4
    return struct.pack(f"={count}I", *struct.unpack(f">{count}I", raw))


def read_proc_net() -> Iterator[ProcRow]:
    """Read the kernel's table of TCP sockets, both families."""
    for name in ("tcp", "tcp6"):
        try:
            yield from parse_proc_net(Path("/proc/net", name).read_text("ascii"))
        except OSError:
            continue  # no such family in this kernel, or no /proc


class LinuxProver:
    """Asks over one netlink socket that is kept open; falls back to ``/proc/net``.

    Args:
        uid: the user that counts as our own; None means the one that we run as.
        netlink: try netlink first.
    """

    slow = False

    def __init__(self, uid: int | None = None, netlink: bool = True) -> None:
        self._uid = os.getuid() if uid is None else uid
        self._sequence = 0
        self._netlink: socket.socket | None = None
        if netlink:
            try:
                self._netlink = socket.socket(
                    socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
                )
                # The kernel answers within the send call; the limit is for what cannot happen.
                self._netlink.settimeout(0.05)
            except OSError:
                self._drop_netlink()

    @property
    def uses_netlink(self) -> bool:
        """Whether netlink is in use; if not, each lookup reads ``/proc/net``."""
        return self._netlink is not None

    def look_up(self, pair: Pair) -> PeerProof:
        """Return the owner of the client's socket; ``UNPROVEN`` when there is none."""
        if self._netlink is not None:
            try:
                return self._proof(self._ask(self._netlink, pair))
            except (OSError, ValueError) as error:
                proof = self._from_proc(pair)
                if getattr(error, "errno", None) != errno.ENOENT or proof is not UNPROVEN:
                    # A kernel without the tcp_diag module also says "no such socket": once
                    # /proc knows a socket that netlink does not, netlink is of no use.
                    self._drop_netlink()
                return proof
        return self._from_proc(pair)

    def _ask(self, netlink: socket.socket, pair: Pair) -> SocketRow:
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        netlink.send(render_query(pair, self._sequence))
        while True:
            data, (sender, _) = netlink.recvfrom(4096)
            if sender == 0 and (row := parse_reply(data, self._sequence)) is not None:
                return row  # from the kernel, and to this question

    def _from_proc(self, pair: Pair) -> PeerProof:
        mapped = b"\0" * 10 + b"\xff\xff"
        sides = [(pair.client, pair.server)]
        if pair.family == socket.AF_INET:
            sides.append((mapped + pair.client, mapped + pair.server))
        ports = (pair.client_port, pair.server_port)
        for row in read_proc_net():
            if (row.port, row.remote_port) == ports and (row.local, row.remote) in sides:
                return self._proof(
                    SocketRow(row.state, row.port, row.remote_port, row.uid, row.inode)
                )
        return UNPROVEN

    def _proof(self, row: SocketRow) -> PeerProof:
        if row.state not in _CONNECTED or not row.inode:
            return UNPROVEN
        return PeerProof(row.uid == self._uid, row.uid, row.inode)

    def _drop_netlink(self) -> None:
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    def close(self) -> None:
        """Close the netlink socket; later lookups read ``/proc/net``."""
        self._drop_netlink()


_SOCKET_LINK = re.compile(r"socket:\[([0-9]+)\]")


def processes_of(inodes: Iterable[int]) -> dict[int, int]:
    """Find which processes hold sockets, among those that we may look into.

    Reads every file descriptor of our own user's processes (all of them, as root): milliseconds
    to tens of them, so not for the event loop.

    Returns:
        Process ids by socket inode; inodes that no visible process holds are absent.
    """
    wanted = set(inodes)
    found: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if not wanted:
            break
        if not name.isdigit():
            continue
        for inode in _sockets_of(f"/proc/{name}/fd"):
            if inode in wanted:
                found[inode] = int(name)
                wanted.discard(inode)
    return found


def _sockets_of(folder: str) -> Iterator[int]:
    """Yield the inodes of the sockets among a process's open files."""
    try:
        files = os.listdir(folder)
    except OSError:
        return  # another user's process, or one that has ended
    for name in files:
        try:
            match = _SOCKET_LINK.fullmatch(os.readlink(f"{folder}/{name}"))
        except OSError:
            continue  # closed since the listing, as the listing's own file always is
        if match is not None:
            yield int(match[1])


def programs_of(inodes: frozenset[int]) -> dict[int, str]:
    """Find the names of the programs that hold sockets, by inode; see ``processes_of``."""
    names: dict[int, str] = {}
    for inode, pid in processes_of(inodes).items():
        name = name_of(pid)
        if name is not None:
            names[inode] = name
    return names


def name_of(pid: int) -> str | None:
    """Return the name of a process, or None when it has ended."""
    folder = Path("/proc", str(pid))
    try:
        title = (folder / "comm").read_text("utf-8", "replace").strip()
        words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return None
    try:
        executable = os.readlink(folder / "exe").removesuffix(" (deleted)")
    except OSError:
        executable = words[0]  # not ours to resolve
    return program_name(executable or title, tuple(word for word in words[1:] if word), title)
