"""What the desktop knows of the session bus: a name on it, and how a connection ends."""

from __future__ import annotations

import contextlib

from dbus_fast.aio import MessageBus

__all__ = ["WATCHER", "close_bus", "disconnected"]

WATCHER = "org.kde.StatusNotifierWatcher"
"""Owned by the panel, or by what collects tray icons for it."""


async def close_bus(bus: MessageBus) -> None:
    """Disconnect, and wait until the socket is closed: that takes a turn of the loop."""
    bus.disconnect()
    await disconnected(bus)


async def disconnected(bus: MessageBus) -> None:
    """Wait until a connection has ended, by whichever side. Must not be cancelled: see the library."""
    with contextlib.suppress(OSError, EOFError):  # the other side ended it
        await bus.wait_for_disconnect()  # type: ignore[no-untyped-call] # it has no annotations
