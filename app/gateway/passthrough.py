"""Calls beside generation that are passed on as they are: embeddings, images, compaction."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import msgspec

from app.canonical.failure import Failure, failure_of
from app.dialects.base import patch_object, read_head
from app.errors import AppError, NoRouteError, RequestError
from app.gateway.asking import prepare
from app.gateway.call import Call, Outcome, Sink
from app.gateway.pinger import Pinger
from app.gateway.refusal import helps_more, without_secrets
from app.gateway.resources import Resources, kept_headers
from app.gateway.route import decide_call, may_follow, plan_call
from app.gateway.turns import Turns
from app.http import Headers, Limits
from app.providers.base import Extra
from app.routing.facts import RequestFacts
from app.routing.plan import Candidate

__all__ = ["EXTRA_PATHS", "pass_on"]

EXTRA_PATHS: Mapping[str, Extra] = {
    "/v1/embeddings": "embeddings",
    "/v1/images/generations": "images",
    "/v1/responses/compact": "compact",
}
"""Path to what it is; the same here and at the services."""
_PATHS = {extra: path for path, extra in EXTRA_PATHS.items()}


async def pass_on(
    gateway: Resources, call: Call, extra: Extra, sink: Sink, outcome: Outcome
) -> tuple[Failure, Headers] | None:
    """Hand a call to the first account that offers it; failover as for generation.

    Returns:
        None when the client was answered, else why not, and what clients read of the header of
        that refusal.

    Raises:
        AppError: the request is invalid, or nobody offers such a call.
    """
    head = read_head(call.raw)
    model = outcome.model = _model(head)
    # Of rules, those hold that ask for no more than the head of a call; the body has no chat in it.
    facts = RequestFacts(
        call.means(model), call.path, client=call.client, key=call.key_label, headers=call.headers
    )
    decision = await decide_call(gateway, facts, outcome)
    plan = plan_call(gateway, call, decision, "", outcome)
    offering = [c for c in plan.candidates if extra in c.account.provider.extras]
    if not offering:
        raise NoRouteError(
            f"No account that serves {model[:200]!r} offers {_PATHS[extra]}.",
            code="not_offered",
            hint="OpenAI and compatible Chat servers do.",
        )
    refusal: tuple[Failure, Headers] | None = None
    turns = Turns(
        gateway,
        tuple(offering),
        model,
        show_labels=call.show_account,
        may_follow=partial(may_follow, decision),
    )
    with turns, Pinger(sink, None, gateway.limits.ping_s):
        while (candidate := turns.take() or await turns.wait()) is not None:
            outcome.attempts += 1
            try:
                refused = await _attempt(gateway, call, extra, sink, outcome, candidate, head)
            except AppError as error:
                refused = (failure_of(error), ())
            if refused is not None:
                refused = (without_secrets(refused[0]), refused[1])
            gateway.settle(candidate, None if refused is None else refused[0])
            if refused is None:
                return None
            failure, kept = refused
            outcome.failures.append((candidate.account.id, failure))
            if refusal is None or helps_more(failure, refusal[0]):
                refusal = (failure, kept)
            turns.failed(candidate, failure)
    if turns.refusal is not None:
        full = failure_of(turns.refusal)
        if refusal is None or helps_more(full, refusal[0]):
            refusal = (full, ())
    return refusal


async def _attempt(
    gateway: Resources,
    call: Call,
    extra: Extra,
    sink: Sink,
    outcome: Outcome,
    candidate: Candidate,
    head: Mapping[str, msgspec.Raw],
) -> tuple[Failure, Headers] | None:
    account = candidate.account
    outcome.account, outcome.served = account.id, candidate.model
    outcome.dialect, outcome.reason = call.dialect.name, candidate.reason
    body = call.raw
    outcome.grade = "verbatim"
    if outcome.model != candidate.model:
        outcome.grade = "patched"
        body = patch_object(head, {"model": candidate.model})
    prepared = await prepare(
        gateway,
        account,
        call.dialect.name,
        extra,
        candidate.model,
        _PATHS[extra],
        body,
        client_headers=call.headers,
    )
    limits = gateway.limits
    reply = await gateway.send(
        prepared.request, Limits(limits.connect_s, limits.total_s, limits.total_s, limits.total_s)
    )
    gateway.noticed(prepared.account, reply.headers)
    try:
        if not 200 <= reply.status < 300:
            failure = await gateway.read_failure(candidate, call.dialect, reply)
            return failure, kept_headers(reply.headers)
        raw = await reply.read()
    finally:
        await reply.aclose()
    outcome.status = reply.status
    kind = reply.header("content-type") or "application/json"
    fields = (
        ("content-type", kind),
        *kept_headers(reply.headers),
        *gateway.own_headers(call, outcome),
    )
    sink.reply(reply.status, fields, raw)
    return None


def _model(head: Mapping[str, msgspec.Raw]) -> str:
    try:
        model = msgspec.json.decode(head["model"], type=str)
    except KeyError:
        raise RequestError("The request names no model.", param="model") from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise RequestError("model must be a string.", param="model") from error
    return model
