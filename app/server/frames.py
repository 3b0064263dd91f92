"""WebSockets whose clients have to mask every frame, as RFC 6455 asks; Tornado does not mind."""

from __future__ import annotations

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketHandler, WebSocketProtocol, WebSocketProtocol13

from app.server.linger import drain, shut_down
from app.tasks import spawn

__all__ = ["StrictWebSocketHandler"]


class _StrictProtocol(WebSocketProtocol13):
    """WebSocket frames as RFC 6455 asks of clients: every one masked (section 5.1)."""

    _at_frame_start = False

    async def _receive_frame(self) -> None:
        self._at_frame_start = True
        await super()._receive_frame()

    async def _read_bytes(self, n: int) -> bytes:
        data = await super()._read_bytes(n)
        if self._at_frame_start:
            self._at_frame_start = False
            if not data[1] & 0x80:
                self.close(1002, "client frames must be masked")
                if shut_down(self.stream):
                    await drain(self.stream)
                raise StreamClosedError  # on which the receive loop ends the connection
        return data

    def _abort(self) -> None:
        # Called right after a close frame, too (1009, a message too big), which a reset by
        # unread input would take along.
        told = self.server_terminated and not self.client_terminated
        if not told or not shut_down(self.stream):
            super()._abort()
            return
        self.client_terminated = True  # ends the receive loop
        spawn(self._end(), "refused socket")

    async def _end(self) -> None:
        await drain(self.stream)
        super()._abort()


class StrictWebSocketHandler(WebSocketHandler):
    """A WebSocket handler that closes with 1002 (protocol error) on an unmasked frame."""

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        """Return the protocol for the version that the client asks for; None if not 13."""
        protocol = super().get_websocket_protocol()
        if not isinstance(protocol, WebSocketProtocol13):
            return None
        return _StrictProtocol(self, mask_outgoing=False, params=protocol.params)
