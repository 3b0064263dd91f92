"""What proxy and desktop tell each other of a sign-in; it goes over the ``bridge`` as JSON."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Cookie", "Start", "Submit", "Told"]


class Cookie(msgspec.Struct, frozen=True):
    """``providers.signin.CookiePage``, with the host of the page."""

    url: str
    name: str
    host: str
    at: str
    mark: str = ""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A flow with what a window needs to know."""

    id: str
    provider: str
    title: str
    """The service's name."""
    kind: Literal["browser", "device", "secret"]
    state: Literal["waiting", "working", "done", "failed", "expired", "cancelled", "other_identity"]
    url: str = ""
    """What the browser opens; empty once it has ended, and for what is typed."""
    account: str = ""
    """Id of the account to repair, or the one that was made."""
    repair: str = ""
    """Id of the account to repair, as it was wanted at the beginning; empty for a new one."""
    cookie: Cookie | None = None

    @property
    def live(self) -> bool:
        """Whether something may still come of it."""
        return self.state in ("waiting", "working", "other_identity")


class Start(msgspec.Struct, frozen=True):
    """What ``sign_in_start`` takes."""

    provider: str
    account: str = ""


class Submit(msgspec.Struct, frozen=True):
    """What ``sign_in_submit`` takes."""

    flow: str
    secret: str
