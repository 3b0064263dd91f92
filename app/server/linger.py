"""Closing a connection in two steps, so that a last answer arrives.

Our side is closed first, and the rest after the client's bytes have been drained for a moment,
because closing a socket with unread input resets it and takes our answer along.
"""

from __future__ import annotations

import asyncio
import logging
import socket

from tornado.iostream import IOStream, StreamClosedError

__all__ = ["LINGER_S", "drain", "shut_down"]

_log = logging.getLogger("dragoman.server")

LINGER_S = 1.0
"""How long a refused client may go on sending."""
_LINGER_BYTES = 4 * 1024 * 1024


def shut_down(stream: IOStream) -> bool:
    """End our side of a connection; False when it is already gone."""
    if stream.closed() or not isinstance(stream.socket, socket.socket):
        return False
    try:
        stream.socket.shutdown(socket.SHUT_WR)
    except OSError:
        return False
    return True


async def drain(stream: IOStream) -> None:
    """Read and forget what the client still sends, within limits, then close."""
    left = _LINGER_BYTES
    try:
        async with asyncio.timeout(LINGER_S):
            while left > 0:
                left -= len(await stream.read_bytes(65536, partial=True))
    except (StreamClosedError, TimeoutError):
        _log.debug("a refused client has stopped sending")
    finally:
        stream.close()
