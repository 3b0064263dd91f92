"""Calls beside generation that are passed on as they are: embeddings, images, compaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from app.canonical.failure import Failure, failure_of
from app.dialects.base import patch_object, read_head
from app.errors import AppError, NoRouteError, RequestError
from app.gateway.call import Call, Outcome, Sink
from app.gateway.resources import Resources, without_id
from app.http import HttpRequest, Limits
from app.providers.base import Extra, join_url
from app.routing.failover import may_try_next
from app.routing.plan import Candidate, make_plan, no_account_error

__all__ = ["Passthrough"]

_PATHS: Mapping[str, Extra] = {
    "/v1/embeddings": "embeddings",
    "/v1/images/generations": "images",
    "/v1/responses/compact": "compact",
}


@dataclass(slots=True)
class Passthrough:
    """Hands such a call to the first account that offers it; failover as for generation."""

    gateway: Resources

    async def handle(self, call: Call, sink: Sink) -> None:
        """Serve one call; errors take the caller's form."""
        outcome = Outcome(call.request_id)
        try:
            failure = await self._serve(call, sink, outcome)
        except AppError as error:
            failure = failure_of(error)
        if failure is not None:
            reply = call.dialect.encode_failure(failure, call.request_id)
            headers = (*without_id(reply.headers), *self.gateway.own_headers(call, outcome))
            sink.reply(reply.status, headers, reply.body)

    async def _serve(self, call: Call, sink: Sink, outcome: Outcome) -> Failure | None:
        gateway = self.gateway
        extra = _PATHS[call.path]
        head = read_head(call.raw)
        model = _model(head)
        now = gateway.now()
        plan = make_plan(
            model,
            call.dialect.name,
            gateway.roster.accounts(),
            gateway.catalog,
            lambda account, name: gateway.roster.state(account, name, now),
            call.allows,
        )
        offering = [c for c in plan.candidates if extra in c.account.provider.extras]
        if plan.candidates and not offering:
            raise NoRouteError(
                f"No account that serves {model[:200]!r} offers {call.path}.",
                code="not_offered",
                hint="OpenAI and compatible Chat servers do.",
            )
        if not offering:
            raise no_account_error(plan, now, call.show_account)
        failure: Failure | None = None
        for candidate in offering:
            outcome.attempts += 1
            failure = await self._attempt(call, sink, outcome, candidate, head)
            if failure is None or not may_try_next(failure):
                break
        return failure

    async def _attempt(
        self,
        call: Call,
        sink: Sink,
        outcome: Outcome,
        candidate: Candidate,
        head: Mapping[str, msgspec.Raw],
    ) -> Failure | None:
        gateway, account = self.gateway, candidate.account
        outcome.account, outcome.served = account.id, candidate.model
        body = call.raw
        outcome.grade = "verbatim"
        if msgspec.json.decode(head["model"]) != candidate.model:
            outcome.grade = "patched"
            body = patch_object(head, {"model": candidate.model})
        request = HttpRequest(
            "POST",
            join_url(account.base_url, call.path),
            (("content-type", "application/json"), ("accept", "application/json")),
            body,
        )
        limits = gateway.limits
        try:
            reply = await gateway.send(
                account.provider.prepare(
                    request,
                    account.credential,
                    call.dialect.name,
                    call.headers,
                    account.headers,
                ),
                Limits(limits.connect_s, limits.total_s, limits.total_s, limits.total_s),
            )
            try:
                raw = await reply.read()
            finally:
                await reply.aclose()
        except AppError as error:
            return failure_of(error)
        if not 200 <= reply.status < 300:
            return call.dialect.decode_failure(reply.status, reply.headers, raw)
        kind = reply.header("content-type") or "application/json"
        sink.reply(reply.status, (("content-type", kind), *gateway.own_headers(call, outcome)), raw)
        return None


def _model(head: Mapping[str, msgspec.Raw]) -> str:
    try:
        model = msgspec.json.decode(head["model"], type=str)
    except KeyError:
        raise RequestError("The request names no model.", param="model") from None
    except msgspec.MsgspecError as error:
        raise RequestError("model must be a string.", param="model") from error
    return model
