"""Which of several failures a client is told of, and in what words."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from app.canonical.failure import Failure
from app.help import with_address
from app.log import cut

__all__ = ["helps_more", "upstream_shown", "with_help", "without_secrets"]


def with_help(failure: Failure, at: str) -> Failure:
    """Return a failure whose text ends with the address of our help about it.

    What a service said stays as it is, unless we give advice of our own with it. So does a full
    context: agents know it by its words and shorten the conversation.

    Args:
        failure: as the client is about to be told.
        at: where we are served, for this client; empty for no address.
    """
    if failure.kind == "context_full" or not (failure.ours or failure.hint):
        return failure
    hint = with_address(failure.hint, failure.code, at)
    return failure if hint == failure.hint else replace(failure, hint=hint)


def without_secrets(failure: Failure) -> Failure:
    """Return a failure without the credentials that a service may have repeated in its words.

    Clients, status, log and database see it from here on.
    """
    native = failure.native
    if native is not None:
        text = msgspec.json.encode(native.fields).decode()
        if (clean := cut(text)) != text:
            native = replace(native, fields=msgspec.json.decode(clean))
    return replace(
        failure,
        message=cut(failure.message),
        hint=cut(failure.hint),
        code=_cut(failure.code),
        type=_cut(failure.type),
        param=_cut(failure.param),
        native=native,
    )


def _cut(word: str | None) -> str | None:
    return None if word is None else cut(word)


def helps_more(new: Failure, old: Failure | None) -> bool:
    """Say whether a failure tells the client more than an earlier attempt's.

    A request fault wins over trouble of accounts, a known wait over an unknown one, and a
    shorter one over a longer.
    """
    if old is None or new.scope == "request":
        return True
    if old.retry_after_s is None:
        return True
    return new.retry_after_s is not None and new.retry_after_s <= old.retry_after_s


_LONG_S = 60.0
"""A wait from here on is told as a spent quota: Codex sits out any other without a word."""


def upstream_shown(failure: Failure) -> Failure:
    """Return a failure as a client should see it.

    Trouble with the accounts behind us must not reach a client as 401: agents would take it for
    their own key, drop it and ask the user for another. Nor as 5xx: they would ask again for
    minutes, Codex 30 times. 400 is the one status that all of them show at once, with the text;
    and of the kinds that it may have, ``payment`` is the one upon which Claude Code does not
    repeat the request with parts left out. The runs are in ``assets/docs/errors.md``.
    """
    if failure.code == "accounts_unavailable":
        return replace(failure, status=400, kind="payment")
    if failure.kind == "rate_limit" and (failure.retry_after_s or 0.0) >= _LONG_S:
        return replace(failure, kind="quota")
    if failure.kind != "authentication" and failure.status != 401:
        return failure
    return replace(
        failure,
        status=400,
        kind="payment",
        code="account_refused",
        type=None,
        native=None,
        message=f"The account behind Dragoman was refused: {failure.message}",
        hint="`dragoman doctor` says which one; renew its key.",
    )
