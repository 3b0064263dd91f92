"""macOS: the owner of a socket by the sysctl ``net.inet.tcp.pcblist_n``.

The table is a header (``xinpgen``) followed by tagged records, several per socket: each begins
with its length and kind and is padded to a multiple of eight bytes, and the length leaves the
padding out. A socket's records come together, the addresses (``xinpcb_n``) first and the owner
(``xsocket_n``) next. Offsets are those of bsd/netinet/in_pcb.h and bsd/sys/socketvar.h in
Apple's published xnu sources, which are packed to four bytes.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from app.server.peer import UNPROVEN, Pair, PeerProof, program_name

__all__ = ["PcbRow", "find_row", "parse_pcblist"]

_XSO_SOCKET = 0x001
_XSO_INPCB = 0x010
_SS_ISCONNECTED = 0x0002
_V4, _V6 = 1, 2

_INPCB_SIZE = 80
_SOCKET_SIZE = 72


@dataclass(frozen=True, slots=True)
class PcbRow:
    """One socket of the table; addresses packed in network order, ``pid`` the last user of it."""

    local: bytes
    port: int
    remote: bytes
    remote_port: int
    connected: bool
    uid: int
    pid: int


def parse_pcblist(data: bytes) -> Iterator[PcbRow]:
    """Read the table; a record that does not fit ends the reading."""
    if len(data) < 4:
        return
    (at,) = struct.unpack_from("=I", data)
    at = _padded(at)
    addresses: tuple[bytes, int, bytes, int] | None = None
    while 0 < at <= len(data) - 8:
        length, kind = struct.unpack_from("=II", data, at)
        if length <= 24 or at + length > len(data):
            return  # the closing xinpgen, or a torn table
        if kind == _XSO_INPCB and length >= _INPCB_SIZE:
            addresses = _addresses(data, at)
        elif kind == _XSO_SOCKET and length >= _SOCKET_SIZE and addresses is not None:
            (state,) = struct.unpack_from("=H", data, at + 26)
            uid, pid = struct.unpack_from("=Ii", data, at + 64)
            yield PcbRow(*addresses, bool(state & _SS_ISCONNECTED), uid, pid)
            addresses = None
        at += _padded(length)


def _addresses(data: bytes, at: int) -> tuple[bytes, int, bytes, int] | None:
    remote_port, port = struct.unpack_from("!HH", data, at + 16)
    remote, local = data[at + 48 : at + 64], data[at + 64 : at + 80]
    family = data[at + 44]
    if family & _V4:  # an IPv4 address lies in the last four bytes of the field
        return local[12:], port, remote[12:], remote_port
    if family & _V6:
        return local, port, remote, remote_port
    return None


def _padded(length: int) -> int:
    return (length + 7) & ~7


def find_row(data: bytes, pair: Pair) -> PcbRow | None:
    """Return the client's connected socket of a pair, or None."""
    for row in parse_pcblist(data):
        if (
            row.port == pair.client_port
            and row.remote_port == pair.server_port
            and row.local == pair.client
            and row.remote == pair.server
            and row.connected
        ):
            return row
    return None


if sys.platform == "darwin":
    import ctypes
    import ctypes.util
    import os

    _libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    _libc.sysctlbyname.argtypes = [
        ctypes.c_char_p,
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.c_size_t),
        ctypes.c_void_p,
        ctypes.c_size_t,
    ]
    _PATH_SIZE = 4096

    def _table() -> bytes:
        name = b"net.inet.tcp.pcblist_n"
        for _ in range(8):  # the table may grow between two calls
            size = ctypes.c_size_t()
            if _libc.sysctlbyname(name, None, ctypes.byref(size), None, 0) != 0:
                break
            size.value += size.value // 8 + 1024
            buffer = ctypes.create_string_buffer(size.value)
            if _libc.sysctlbyname(name, buffer, ctypes.byref(size), None, 0) == 0:
                return buffer.raw[: size.value]
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))

    class MacProver:
        """Compares the owner of the client's socket with our own user."""

        slow = True

        def __init__(self) -> None:
            self._uid = os.getuid()

        def look_up(self, pair: Pair) -> PeerProof:
            """Return the owner of the client's socket; ``UNPROVEN`` when there is none.

            Raises:
                OSError: the table could not be read.
            """
            row = find_row(_table(), pair)
            if row is None:
                return UNPROVEN
            return PeerProof(row.uid == self._uid, row.uid, row.pid or None)

        def close(self) -> None:
            """Do nothing: no handle is kept."""

    def programs_of(pids: frozenset[int]) -> dict[int, str]:
        """Return the names of processes, by process id; those that have ended are absent."""
        names: dict[int, str] = {}
        for pid in pids:
            buffer = ctypes.create_string_buffer(_PATH_SIZE)
            if _libc.proc_pidpath(pid, buffer, _PATH_SIZE) > 0:
                names[pid] = program_name(os.fsdecode(buffer.value))
        return names
