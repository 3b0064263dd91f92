"""A call with what was learnt of it on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from app.canonical.request import ChatRequest
from app.dialects.base import Peek, ReplyContext, decode_object
from app.dialects.translate import carries_seal
from app.gateway.call import Call
from app.routing.plan import Plan

__all__ = ["Work"]


@dataclass(slots=True)
class Work:
    """A call with what was learnt of it; the request is decoded at most once."""

    call: Call
    peek: Peek
    plan: Plan
    head: Mapping[str, msgspec.Raw]
    conversation: str = ""
    """See ``asking.conversation_of``."""
    own_sign_in: bool = False
    """The call goes on with the caller's own sign-in."""
    _request: ChatRequest | None = None
    _sealed: bool | None = None

    @property
    def sealed(self) -> bool:
        """Whether the body holds a sealed signature of another vendor."""
        if self._sealed is None:
            self._sealed = carries_seal(self.call.raw)
        return self._sealed

    def request(self) -> ChatRequest:
        """Return the decoded request.

        Raises:
            RequestError: the body does not follow the caller's dialect.
        """
        if self._request is None:
            self._request = self.call.dialect.decode_request(
                decode_object(self.call.raw), self.peek
            )
        return self._request

    def ping(self) -> bytes:
        """Return the caller's sign of life."""
        context = ReplyContext("", None, 0.0, str, variant=self.peek.variant)
        return self.call.client_side.stream_encoder(context).ping()
