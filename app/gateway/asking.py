"""From a candidate and a body to the request that is sent: credential, shape, header fields."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from app.accounts.account import Account
from app.canonical.parts import DialectName
from app.dialects.base import Peek
from app.dialects.opening import opening
from app.gateway.call import Call
from app.gateway.resources import Resources
from app.http import Headers, HttpRequest
from app.providers.base import join_url
from app.providers.shaping import Asked, Operation, Shaped

__all__ = ["Prepared", "conversation_of", "prepare", "session_key", "session_of"]

_SESSION_FIELDS = (
    "x-claude-code-session-id",
    "session-id",
    "session_id",
    "x-session-id",
    "x-session-affinity",
)
"""Header fields by which agents name a conversation (seen in Claude Code, Codex and OpenCode,
2026), in the order of trust."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call ready to be sent."""

    request: HttpRequest
    account: Account
    """As it was when the call was prepared: with the credential that goes along."""
    shaped: Shaped

    @property
    def secret(self) -> str:
        """What proves the account in this call; empty for none."""
        credential = self.account.credential
        return "" if credential is None else credential.secret


async def prepare(
    gateway: Resources,
    account: Account,
    dialect: DialectName,
    operation: Operation,
    model: str,
    path: str,
    body: bytes,
    *,
    stream: bool = False,
    client_headers: Headers = (),
    session: str = "",
) -> Prepared:
    """Return the request for one account.

    Args:
        gateway: its ``fresh`` gives the account with a credential that is good now.
        account: whom to ask.
        dialect: of the body.
        operation: what kind of call it is.
        model: the upstream's name.
        path: the dialect's path and query.
        body: a JSON object.
        stream: whether the client wants the answer streamed.
        client_headers: the caller's, where it speaks the same dialect; what of them travels on is
            the provider's choice.
        session: see ``session_key``.

    Raises:
        AccountError: the account has no credential that is good.
        RequestError: the service cannot take this request.
    """
    account = await gateway.fresh(account)
    provider = account.provider
    if provider.shape is None:
        shaped = Shaped(body, path)
    else:
        shaped = provider.shape(
            Asked(
                dialect,
                operation,
                model,
                body,
                stream,
                path,
                client_headers,
                account.credential,
                session,
            )
        )
    streams = stream or shaped.always_streams
    request = HttpRequest(
        "POST",
        join_url(shaped.base_url or account.base_url, shaped.path),
        (
            ("content-type", "application/json"),
            ("accept", "text/event-stream" if streams else "application/json"),
        ),
        shaped.body,
        account.proxy,
    )
    request = provider.prepare(
        request, account.credential, dialect, client_headers, account.headers
    )
    if shaped.headers:
        fields = {key.lower(): (key, value) for key, value in request.headers}
        ours = {key.lower(): (key, value) for key, value in shaped.headers}
        request = replace(request, headers=tuple({**fields, **ours}.values()))
    return Prepared(request, account, shaped)


def conversation_of(call: Call, peek: Peek) -> str:
    """Return a name for the conversation of a call, unique among callers; empty for none known."""
    hint = peek.session
    if hint is None:
        fields = {key.lower(): value for key, value in call.headers}
        hint = next((fields[name] for name in _SESSION_FIELDS if fields.get(name)), None)
    return _digest(call.owner, hint) if hint else ""


def session_of(call: Call, head: Mapping[str, msgspec.Raw], conversation: str) -> str:
    """Return what the ledger calls a conversation: its name, else one made of how it begins."""
    if conversation:
        return conversation
    begins = opening(head)
    return hashlib.sha256(call.owner.encode() + b"\0" + begins).hexdigest()[:48] if begins else ""


def session_key(conversation: str, account_id: str) -> str:
    """Return a name for a conversation that tells a service nothing of who has it.

    The same conversation keeps its name at one account, and has another one at the next. Empty
    when the conversation has no name.
    """
    return _digest(conversation, account_id) if conversation else ""


def _digest(*texts: str) -> str:
    joined = "\0".join(texts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(joined).hexdigest()[:48]
