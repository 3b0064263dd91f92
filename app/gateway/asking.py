"""From a candidate and a body to the request that is sent: credential, shape, header fields."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from app.accounts.account import Account
from app.canonical.parts import DialectName
from app.gateway.resources import Resources
from app.http import Headers, HttpRequest
from app.providers.base import join_url
from app.providers.shaping import Asked, Operation, Shaped

__all__ = ["Prepared", "prepare", "session_key"]


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


def session_key(owner: str, account_id: str, hint: str | None) -> str:
    """Return a name for a conversation that tells a service nothing of who has it.

    The same conversation keeps its name at one account; two callers that use the same hint, or one
    at two accounts, never share one. Empty when the client gave no hint.
    """
    if not hint:
        return ""
    text = "\0".join((owner, account_id, hint))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:48]
