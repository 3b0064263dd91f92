"""How much memory processes take, asked of the system at most every half minute.

Linux: proportional set size, of a process and of all that it started. macOS: the footprint of the
process (``proc_pid_rusage``); Windows: its private working set; both without its children. The
last two follow the systems' documentation (read 2026-11) and were not run there.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = ["MemoryGauge", "read_memory", "tree_of"]

_KEEP_S = 30.0
_STEP = 1024 * 1024
"""Shown in whole megabytes, so that what is shown does not change all the time."""


class MemoryGauge:
    """Remembers what was read for half a minute."""

    def __init__(
        self,
        read: Callable[[int], int | None] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read or read_memory
        self._now = now
        self._known: dict[int, tuple[float, int | None]] = {}

    def of(self, pid: int | None) -> int | None:
        """Return the bytes that a process takes, in whole megabytes; None when nobody knows."""
        if pid is None:
            return None
        now = self._now()
        known = self._known.get(pid)
        if known is None or now - known[0] >= _KEEP_S:
            self._known = {p: k for p, k in self._known.items() if now - k[0] < _KEEP_S}
            taken = self._read(pid)
            known = (now, None if taken is None else taken // _STEP * _STEP)
            self._known[pid] = known
        return known[1]


def read_memory(pid: int) -> int | None:
    """Return the bytes that a process takes; None when the system does not tell.

    Ours is looked at alone: what we start is counted by itself.
    """
    if sys.platform == "linux":
        family = (pid,) if pid == os.getpid() else tree_of(pid)
        sizes = [size for one in family if (size := _linux(one)) is not None]
        return sum(sizes) if sizes else None
    if sys.platform == "darwin":
        return _macos(pid)
    if sys.platform == "win32":
        return _windows(pid)
    return None


def tree_of(pid: int, proc: Path = Path("/proc")) -> tuple[int, ...]:
    """Return a process and all that descends from it (Linux)."""
    children: dict[int, list[int]] = {}
    for number, parent in _parents(proc):
        children.setdefault(parent, []).append(number)
    found = [pid]
    for one in found:  # grows while it is walked
        found.extend(children.get(one, ()))
    return tuple(found)


def _parents(proc: Path) -> Iterable[tuple[int, int]]:
    for folder in proc.iterdir():
        if folder.name.isdigit():
            try:
                text = (folder / "stat").read_text("utf-8", "replace")
            except OSError:
                continue  # it ended meanwhile
            # The name in brackets may hold brackets and blanks itself.
            yield int(folder.name), int(text.rpartition(")")[2].split()[1])


def _linux(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii", "replace")
    except OSError:
        return None  # it has ended, or is another user's
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return None


def _macos(pid: int) -> int | None:
    # struct rusage_info_v0: uuid[16], then 64-bit fields; ri_phys_footprint is the eighth.
    info = (ctypes.c_uint8 * 256)()
    library = ctypes.CDLL("/usr/lib/libproc.dylib")
    if library.proc_pid_rusage(pid, 0, ctypes.byref(info)) != 0:
        return None
    return ctypes.c_uint64.from_buffer(info, 16 + 7 * 8).value


def _windows(pid: int) -> int | None:
    class Counters(ctypes.Structure):
        _fields_ = (
            ("size", ctypes.c_uint32),
            ("faults", ctypes.c_uint32),
            *((f"size_{number}", ctypes.c_size_t) for number in range(8)),
        )

    kernel = getattr(ctypes, "WinDLL")("kernel32")  # noqa: B009 - only there on Windows
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        return None
    try:
        counters = Counters(size=ctypes.sizeof(Counters))
        held = ctypes.c_void_p(handle)
        if not kernel.K32GetProcessMemoryInfo(held, ctypes.byref(counters), counters.size):
            return None
        return int(counters.size_1)  # WorkingSetSize, after PeakWorkingSetSize
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))
