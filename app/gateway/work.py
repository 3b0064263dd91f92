"""A call with what was learnt of it on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from app.canonical.request import ChatRequest
from app.dialects.base import Peek, ReplyContext, decode_object, read_head
from app.dialects.translate import carries_seal
from app.gateway.call import Call
from app.routing.chains import Step
from app.routing.plan import Plan
from app.routing.rules import Decision
from app.routing.suffix import Level

__all__ = ["Work"]

_UNDECIDED = Decision("", (Step(""),))
_UNPLANNED = Plan("", ())
"""Before the rules were asked."""


@dataclass(slots=True)
class Work:
    """A call with what was learnt of it; the request is decoded at most once."""

    call: Call
    peek: Peek
    head: Mapping[str, msgspec.Raw]
    conversation: str = ""
    """See ``asking.conversation_of``."""
    decision: Decision = _UNDECIDED
    """What the rules say."""
    plan: Plan = _UNPLANNED
    """Whom to ask, in order."""
    own_sign_in: bool = False
    """The call goes on with the caller's own sign-in."""
    patched: bool = False
    """The body is not as the client sent it: a rule or a hook has changed it."""
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

    def edited(self, raw: bytes) -> None:
        """Take a changed body for that of the call."""
        call = self.call
        call.raw, self.head, self.patched = raw, read_head(raw), True
        self.peek = call.dialect.peek(self.head, call.path, call.query, call.route)
        self._request = self._sealed = None

    def level(self, step: int) -> Level | None:
        """Return how much to think for a step of the decision; None: as the client says."""
        return self.decision.steps[step].reasoning

    def ping(self) -> bytes:
        """Return the caller's sign of life."""
        context = ReplyContext("", None, 0.0, str, variant=self.peek.variant)
        return self.call.client_side.stream_encoder(context).ping()
