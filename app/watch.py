"""Hearing of changes to one file without polling.

Each system tells about its folders in its own way: Linux by inotify and macOS by kqueue, both as a
descriptor of the event loop, Windows by ReadDirectoryChangesW on a thread that sleeps in the kernel.
Elsewhere there is no watcher. The folder is watched, not the file: editors write a new file and
rename it over the old one. A symbolic link's target folder is watched, too, so that settings kept
in a dotfiles folder, or mounted as a Kubernetes ConfigMap, are followed.

The systems tell *that* something happened; *whether* it concerns the file is read off its identity,
size and time. A change is reported once these have stood still for ``settle_s``, so that a file
is not read while it is being written.

``watchfiles`` would do this for every system, but its thread wakes twenty times a second, which the
idle budget (``0.3 %`` of a core) does not allow.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias

__all__ = ["Watcher"]

_log = logging.getLogger("dragoman.watch")

_Signature: TypeAlias = tuple[int, int, int] | None
"""Inode, size in bytes, time of change in ns; None: there is no file."""


class _Backend(Protocol):
    """What one system offers. ``update`` is called at the start and after each change."""

    def update(self, folders: list[Path], file: Path) -> None: ...

    def close(self) -> None: ...


class Watcher:
    """Calls a function on the event loop whenever a file has changed, appeared or gone.

    States: idle → watching (``start``) → closed (``close``). Use it on the loop's thread.
    """

    def __init__(self, path: Path, on_change: Callable[[], None], *, settle_s: float = 0.1) -> None:
        """Prepare to watch.

        Args:
            path: the file; it may be missing, its folder must exist when watching starts.
            on_change: called without arguments; what it raises goes to the loop's handler.
            settle_s: seconds without a further change before ``on_change`` is called.
        """
        self._path = path.absolute()
        self._on_change = on_change
        self._settle_s = settle_s
        self._backend: _Backend | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._known: _Signature = None
        self._candidate: _Signature = None

    def start(self) -> bool:
        """Begin to watch; return False where the system or the folder does not allow it."""
        self._loop = asyncio.get_running_loop()
        self._known = self._signature()
        try:
            self._backend = _open_backend(self._loop, self._heard)
            if self._backend is None:
                return False
            self._backend.update(self._folders(), self._path)
        except OSError as error:
            _log.warning("cannot watch %s: %s", self._path.parent, error)
            self.close()
            return False
        return True

    def close(self) -> None:
        """Stop; ``on_change`` is not called any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def _folders(self) -> list[Path]:
        folders = [self._path.parent]
        target = self._path.resolve().parent
        if target not in (folders[0], folders[0].resolve()) and target.is_dir():
            folders.append(target)
        return folders

    def _signature(self) -> _Signature:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _heard(self) -> None:
        if self._timer is None and self._backend is not None:
            self._candidate = self._signature()
            self._timer = self._loop.call_later(self._settle_s, self._settle)

    def _settle(self) -> None:
        self._timer = None
        if self._backend is None:
            return
        now = self._signature()
        if now != self._candidate:
            self._heard()
        elif now != self._known:
            self._known = now
            try:
                self._backend.update(self._folders(), self._path)
            except OSError as error:
                _log.warning("cannot watch %s any more: %s", self._path.parent, error)
            self._on_change()


def _open_backend(loop: asyncio.AbstractEventLoop, heard: Callable[[], None]) -> _Backend | None:
    if sys.platform == "linux":
        return _Inotify(loop, heard)
    if sys.platform == "darwin":
        return _Kqueue(loop, heard)
    if sys.platform == "win32":
        return _DirectoryChanges(loop, heard)
    return None


if sys.platform == "linux":
    _IN_CLOSE_WRITE, _IN_MOVED_FROM, _IN_MOVED_TO = 0x08, 0x40, 0x80
    _IN_CREATE, _IN_DELETE, _IN_IGNORED, _IN_ONLYDIR = 0x100, 0x200, 0x8000, 0x0100_0000
    _IN_EVENTS = _IN_CLOSE_WRITE | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE
    _EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows

    class _Inotify:
        """inotify(7) through the C library: the standard library has no binding."""

        def __init__(self, loop: asyncio.AbstractEventLoop, heard: Callable[[], None]) -> None:
            self._loop = loop
            self._heard = heard
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._fd = self._call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
            loop.add_reader(self._fd, self._read)

        def _call(self, name: str, *arguments: object) -> int:
            result = int(getattr(self._libc, name)(*arguments))
            if result < 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
            return result

        def update(self, folders: list[Path], file: Path) -> None:
            """Watch folders; one that is watched already is not watched twice by the kernel."""
            del file  # the folder tells of writes inside it
            for folder in folders:
                mask = ctypes.c_uint32(_IN_EVENTS | _IN_ONLYDIR)
                self._call("inotify_add_watch", self._fd, os.fsencode(folder), mask)

        def _read(self) -> None:
            try:
                events = os.read(self._fd, 65_536)
            except BlockingIOError:
                return
            position = 0
            while position < len(events):
                _, mask, _, length = _EVENT.unpack_from(events, position)
                position += _EVENT.size + length
                if mask & _IN_IGNORED:
                    _log.warning("the settings folder went away; changes need `config reload`")
            self._heard()

        def close(self) -> None:
            """Let the kernel forget all watches."""
            self._loop.remove_reader(self._fd)
            os.close(self._fd)


if sys.platform == "darwin":
    import select

    class _Kqueue:
        """kqueue(2): a folder tells of names that change, the file of writes in place."""

        def __init__(self, loop: asyncio.AbstractEventLoop, heard: Callable[[], None]) -> None:
            self._loop = loop
            self._heard = heard
            self._watched: list[int] = []
            self._queue = select.kqueue()
            loop.add_reader(self._queue.fileno(), self._read)

        def update(self, folders: list[Path], file: Path) -> None:
            """Open and watch the folders and the file anew: the file may be another one now."""
            self._release()
            for path in (*folders, file):
                try:
                    fd = os.open(path, os.O_EVTONLY | os.O_CLOEXEC)
                except FileNotFoundError:
                    if path == file:
                        continue
                    raise
                self._watched.append(fd)
                event = select.kevent(
                    fd,
                    filter=select.KQ_FILTER_VNODE,
                    flags=select.KQ_EV_ADD | select.KQ_EV_CLEAR,
                    fflags=select.KQ_NOTE_WRITE
                    | select.KQ_NOTE_EXTEND
                    | select.KQ_NOTE_DELETE
                    | select.KQ_NOTE_RENAME,
                )
                self._queue.control([event], 0)

        def _read(self) -> None:
            if self._queue.control(None, 64, 0):
                self._heard()

        def _release(self) -> None:
            for fd in self._watched:
                os.close(fd)
            self._watched = []

        def close(self) -> None:
            """Close the queue and what it watched."""
            self._loop.remove_reader(self._queue.fileno())
            self._queue.close()
            self._release()


if sys.platform == "win32":
    from ctypes import wintypes

    _FILE_LIST_DIRECTORY = 0x0001
    _SHARE_ALL = 0x0007
    _OPEN_EXISTING = 3
    _BACKUP_SEMANTICS_OVERLAPPED = 0x0200_0000 | 0x4000_0000
    _NOTIFY = 0x0001 | 0x0008 | 0x0010  # file names, sizes, last writes
    _WAIT_OBJECT_0 = 0
    _INVALID_HANDLE = ctypes.c_void_p(-1).value

    class _Overlapped(ctypes.Structure):
        _fields_ = (
            ("Internal", ctypes.c_void_p),
            ("InternalHigh", ctypes.c_void_p),
            ("Offset", wintypes.DWORD),
            ("OffsetHigh", wintypes.DWORD),
            ("hEvent", wintypes.HANDLE),
        )

    class _DirectoryChanges:
        """ReadDirectoryChangesW, overlapped, on one thread per folder that waits in the kernel.

        The thread waits for the folder or for an event that ``close`` sets; it owns the folder's
        handle and the buffer, which must outlive a read that was cancelled.
        """

        def __init__(self, loop: asyncio.AbstractEventLoop, heard: Callable[[], None]) -> None:
            self._loop = loop
            self._heard = heard
            self._kernel = ctypes.WinDLL("kernel32", use_last_error=True)
            self._kernel.CreateFileW.restype = wintypes.HANDLE
            self._kernel.CreateEventW.restype = wintypes.HANDLE
            self._stop = wintypes.HANDLE(self._kernel.CreateEventW(None, True, False, None))
            self._threads: dict[Path, threading.Thread] = {}

        def update(self, folders: list[Path], file: Path) -> None:
            """Start a thread for each folder that has none."""
            del file  # the folder tells of writes inside it
            for folder in folders:
                if folder not in self._threads:
                    handle = self._open(folder)
                    thread = threading.Thread(
                        target=self._run, args=(handle,), name=f"watch {folder.name}", daemon=True
                    )
                    self._threads[folder] = thread
                    thread.start()

        def _open(self, folder: Path) -> wintypes.HANDLE:
            handle = self._kernel.CreateFileW(
                wintypes.LPCWSTR(str(folder)),
                wintypes.DWORD(_FILE_LIST_DIRECTORY),
                wintypes.DWORD(_SHARE_ALL),
                None,
                wintypes.DWORD(_OPEN_EXISTING),
                wintypes.DWORD(_BACKUP_SEMANTICS_OVERLAPPED),
                None,
            )
            if handle == _INVALID_HANDLE:
                raise ctypes.WinError(ctypes.get_last_error())
            return wintypes.HANDLE(handle)

        def _run(self, folder: wintypes.HANDLE) -> None:
            kernel = self._kernel
            ready = wintypes.HANDLE(kernel.CreateEventW(None, False, False, None))
            buffer = ctypes.create_string_buffer(16_384)
            size = wintypes.DWORD()
            overlapped = _Overlapped(hEvent=ready)
            handles = (wintypes.HANDLE * 2)(ready, self._stop)
            try:
                while kernel.ReadDirectoryChangesW(
                    folder,
                    buffer,
                    wintypes.DWORD(len(buffer)),
                    False,
                    wintypes.DWORD(_NOTIFY),
                    None,
                    ctypes.byref(overlapped),
                    None,
                ):
                    waited = kernel.WaitForMultipleObjects(2, handles, False, 0xFFFF_FFFF)
                    if waited != _WAIT_OBJECT_0:
                        kernel.CancelIo(folder)
                        kernel.GetOverlappedResult(
                            folder, ctypes.byref(overlapped), ctypes.byref(size), True
                        )
                        return
                    self._loop.call_soon_threadsafe(self._heard)
                _log.warning("the settings folder went away; changes need `config reload`")
            except RuntimeError as error:
                _log.debug("the loop ended before the watcher: %s", error)
            finally:
                kernel.CloseHandle(folder)
                kernel.CloseHandle(ready)

        def close(self) -> None:
            """End the threads; they are given a second, which they never need."""
            self._kernel.SetEvent(self._stop)
            for thread in self._threads.values():
                thread.join(1.0)
            self._kernel.CloseHandle(self._stop)
            self._threads = {}
