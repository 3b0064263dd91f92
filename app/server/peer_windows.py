"""Windows: the owner of a socket by ``GetExtendedTcpTable`` and the SID of its process.

The table (iphlpapi, ``TCP_TABLE_OWNER_PID_CONNECTIONS``) names the process of each connection;
the process's access token names its user. Both calls are made anew for each connection, because
a remembered process id may by now be another program's.

The parsers are plain functions over the bytes of the tables; layouts are those of
``MIB_TCPROW_OWNER_PID`` and ``MIB_TCP6ROW_OWNER_PID`` (tcpmib.h).
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from app.server.peer import UNPROVEN, Pair, PeerProof, program_name

__all__ = ["TableRow", "find_process", "parse_table"]

ESTABLISHED = 5
_CONNECTED = frozenset({ESTABLISHED, 6, 7, 8})
"""MIB_TCP_STATE of a socket that a process holds: established, FIN-WAIT-1 and -2, CLOSE-WAIT."""

_ROW4 = struct.Struct("<I4sI4sII")
"""state, local address, local port, remote address, remote port, process id."""
_ROW6 = struct.Struct("<16sII16sIIII")
"""local address, scope, port, remote address, scope, port, state, process id."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One connection of the table; addresses packed in network order."""

    local: bytes
    port: int
    remote: bytes
    remote_port: int
    state: int
    pid: int


def parse_table(data: bytes, family: int) -> Iterator[TableRow]:
    """Read a table of connections: a 32-bit count, then that many rows of one family.

    Ports are in network order in the low half of a 32-bit field. Rows beyond the end of the data
    are left out.
    """
    if len(data) < 4:
        return
    (count,) = struct.unpack_from("<I", data)
    layout = _ROW4 if family == socket.AF_INET else _ROW6
    count = min(count, (len(data) - 4) // layout.size)
    for index in range(count):
        fields = layout.unpack_from(data, 4 + index * layout.size)
        if family == socket.AF_INET:
            state, local, port, remote, remote_port, pid = fields
        else:
            local, _, port, remote, _, remote_port, state, pid = fields
        yield TableRow(
            local,
            socket.ntohs(port & 0xFFFF),
            remote,
            socket.ntohs(remote_port & 0xFFFF),
            state,
            pid,
        )


def find_process(data: bytes, pair: Pair) -> int | None:
    """Return the process that holds the client's end of a pair, or None."""
    for row in parse_table(data, pair.family):
        if (
            row.port == pair.client_port
            and row.remote_port == pair.server_port
            and row.local == pair.client
            and row.remote == pair.server
            and row.state in _CONNECTED
        ):
            return row.pid or None
    return None


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _TCP_TABLE_OWNER_PID_CONNECTIONS = 4
    _PROCESS_QUERY_LIMITED_INFORMATION = 0x1000
    _TOKEN_QUERY = 8
    _TOKEN_USER = 1
    _ERROR_INSUFFICIENT_BUFFER = 122

    _iphlpapi = ctypes.WinDLL("iphlpapi", use_last_error=True)
    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
    _iphlpapi.GetExtendedTcpTable.argtypes = [
        ctypes.c_void_p,
        ctypes.POINTER(wintypes.DWORD),
        wintypes.BOOL,
        wintypes.ULONG,
        ctypes.c_int,
        wintypes.ULONG,
    ]
    _iphlpapi.GetExtendedTcpTable.restype = wintypes.DWORD
    _kernel32.OpenProcess.argtypes = [wintypes.DWORD, wintypes.BOOL, wintypes.DWORD]
    _kernel32.OpenProcess.restype = wintypes.HANDLE
    _kernel32.GetCurrentProcess.restype = wintypes.HANDLE
    _kernel32.CloseHandle.argtypes = [wintypes.HANDLE]
    _kernel32.QueryFullProcessImageNameW.argtypes = [
        wintypes.HANDLE,
        wintypes.DWORD,
        wintypes.LPWSTR,
        ctypes.POINTER(wintypes.DWORD),
    ]
    _advapi32.OpenProcessToken.argtypes = [
        wintypes.HANDLE,
        wintypes.DWORD,
        ctypes.POINTER(wintypes.HANDLE),
    ]
    _advapi32.GetTokenInformation.argtypes = [
        wintypes.HANDLE,
        ctypes.c_int,
        ctypes.c_void_p,
        wintypes.DWORD,
        ctypes.POINTER(wintypes.DWORD),
    ]
    _advapi32.GetLengthSid.argtypes = [ctypes.c_void_p]
    _advapi32.GetLengthSid.restype = wintypes.DWORD

    def _table(family: int) -> bytes:
        size = wintypes.DWORD(64 * 1024)
        for _ in range(8):  # the table may grow between two calls
            buffer = ctypes.create_string_buffer(size.value)
            code = _iphlpapi.GetExtendedTcpTable(
                buffer, ctypes.byref(size), False, family, _TCP_TABLE_OWNER_PID_CONNECTIONS, 0
            )
            if code == 0:
                return buffer.raw
            if code != _ERROR_INSUFFICIENT_BUFFER:
                break
        raise OSError(f"GetExtendedTcpTable failed with {code}")

    def _sid_of(process: int) -> bytes:
        token = wintypes.HANDLE()
        if not _advapi32.OpenProcessToken(process, _TOKEN_QUERY, ctypes.byref(token)):
            raise ctypes.WinError(ctypes.get_last_error())
        try:
            size = wintypes.DWORD()
            _advapi32.GetTokenInformation(token, _TOKEN_USER, None, 0, ctypes.byref(size))
            buffer = ctypes.create_string_buffer(size.value)
            if not _advapi32.GetTokenInformation(
                token, _TOKEN_USER, buffer, size, ctypes.byref(size)
            ):
                raise ctypes.WinError(ctypes.get_last_error())
            # TOKEN_USER begins with a pointer to the SID, which lies in the same buffer.
            sid = ctypes.c_void_p.from_buffer(buffer)
            return ctypes.string_at(sid.value or 0, _advapi32.GetLengthSid(sid))
        finally:
            _kernel32.CloseHandle(token)

    class WindowsProver:
        """Compares the SID of the calling process's user with our own."""

        slow = True

        def __init__(self) -> None:
            self._own = _sid_of(_kernel32.GetCurrentProcess())

        def look_up(self, pair: Pair) -> PeerProof:
            """Return whether our user runs the process at the client's end.

            Raises:
                OSError: the table could not be read.
            """
            pid = find_process(_table(pair.family), pair)
            if pid is None:
                return UNPROVEN
            process = _kernel32.OpenProcess(_PROCESS_QUERY_LIMITED_INFORMATION, False, pid)
            if not process:
                return PeerProof(same_user=False, key=pid)  # not ours to open
            try:
                # Held open, the process id cannot pass to another program; the second look
                # shows that it had not done so between the table and the handle.
                same = _sid_of(process) == self._own
                return PeerProof(same and find_process(_table(pair.family), pair) == pid, key=pid)
            finally:
                _kernel32.CloseHandle(process)

        def close(self) -> None:
            """Do nothing: no handle is kept."""

    def programs_of(pids: frozenset[int]) -> dict[int, str]:
        """Return the names of processes, by process id; those that have ended are absent."""
        names: dict[int, str] = {}
        for pid in pids:
            process = _kernel32.OpenProcess(_PROCESS_QUERY_LIMITED_INFORMATION, False, pid)
            if not process:
                continue
            try:
                size = wintypes.DWORD(32768)
                buffer = ctypes.create_unicode_buffer(size.value)
                if _kernel32.QueryFullProcessImageNameW(process, 0, buffer, ctypes.byref(size)):
                    names[pid] = program_name(buffer.value)
            finally:
                _kernel32.CloseHandle(process)
        return names
