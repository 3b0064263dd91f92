"""ChatGPT Plus, Pro, Team and Business, signed in by OAuth, over the service of Codex.

How one signs in is in ``codex_signin``, the body rules in ``codex_body``, what is left in
``codex_quota``, and everything that drifts in ``codex_profile``. A genuine Codex keeps its own
name and its own head; every other caller goes under ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from app.canonical.failure import Failure
from app.canonical.parts import Json
from app.errors import Retry
from app.http import Headers, HttpReply, header
from app.providers import codex_profile as profile
from app.providers.base import USER_AGENT, Provider
from app.providers.codex_body import fit_body
from app.providers.codex_profile import ENDPOINTS, CodexEndpoints, known_models
from app.providers.codex_quota import CodexQuota, read_quota
from app.providers.codex_signin import CodexSignIn
from app.providers.oauth import is_web_page
from app.providers.shaping import Asked, Shaped
from app.providers.signin import NOT_ALLOWED

__all__ = ["CODEX", "classify", "codex", "is_genuine", "shape"]

_ORIGINATOR = re.compile(r"codex[ _-]?\w*", re.IGNORECASE)
_BOT_CHECK_S = 10.0


# --- calls ---------------------------------------------------------------------------------------


def shape(asked: Asked) -> Shaped:
    """Return the call as the service wants it; see ``codex_body``.

    Raises:
        AppError: as ``codex_body.fit_body``.
    """
    fields = asked.client_headers
    compact = asked.operation == "compact"
    lite = (header(fields, profile.LITE_HEADER) or "").lower() in ("1", "true")
    fitted = fit_body(asked.body, session=asked.session, lite=lite, compact=compact)
    headers = [("accept", "application/json" if compact else "text/event-stream")]
    if is_genuine(fields):
        headers += _genuine_headers(fields)
    else:
        headers += [("originator", profile.ORIGINATOR), ("user-agent", USER_AGENT)]
    if fitted.cache_key and not any(key in ("session-id", "session_id") for key, _ in headers):
        headers.append(("session-id", fitted.cache_key))
    return Shaped(
        fitted.body,
        # The address has no version of its own: /v1/responses is /responses there.
        re.sub(r"^/v1(?=/)", "", asked.path),
        tuple(headers),
        always_streams=not compact,
        names=fitted.names,
    )


def is_genuine(fields: Headers) -> bool:
    """Say whether Codex itself is calling: an ``originator`` of its own that its agent repeats."""
    originator = header(fields, "originator") or ""
    agent = header(fields, "user-agent") or ""
    return _ORIGINATOR.fullmatch(originator) is not None and agent.startswith(f"{originator}/")


def _genuine_headers(fields: Headers) -> list[tuple[str, str]]:
    kept = {
        key.lower(): value
        for key, value in fields
        if key.lower() in profile.GENUINE_HEADERS
        or key.lower().startswith(profile.GENUINE_PREFIXES)
    }
    return list(kept.items())


# --- failures ------------------------------------------------------------------------------------


def classify(failure: Failure, reply: HttpReply) -> Failure:
    """Say what a decoded failure means for a ChatGPT plan.

    The dialect has read the codes already; here stands what only this service says, and what a
    person can do. Source: CLIProxyAPI 7.2, pi, ccs (2026-08).
    """
    if failure.final:
        return replace(
            failure,
            code=NOT_ALLOWED,
            retry=Retry.NEVER,
            hint="OpenAI does not allow this use of the account. It is not used any more; an "
            "OpenAI API key is the way beside it.",
        )
    if reply.status in (403, 429, 503) and is_web_page(reply):
        return replace(
            failure,
            message=f"A bot check stands in front of ChatGPT (HTTP {reply.status}).",
            kind="unavailable",
            scope="service",
            retry=Retry.NEXT_ACCOUNT,
            code="bot_check",
            retry_after_s=_BOT_CHECK_S,
        )
    if failure.kind == "quota":
        # The same body comes with other statuses, and inside a stream.
        error = _error_of(failure)
        plan = error.get("plan_type")
        named = f" of the {plan} plan" if isinstance(plan, str) and plan else ""
        return replace(
            failure, status=429, hint=f"The limit{named} is shown at {profile.USAGE_URL}."
        )
    if failure.code == "model_not_found" and failure.status == 404:
        # A wrong name, which no other account makes right.
        return replace(failure, scope="request", retry=Retry.NEVER)
    if failure.kind == "not_found" and failure.scope == "model":
        return replace(
            failure,
            code="model_not_in_plan",
            retry_after_s=profile.MODEL_PAUSE_S,
            hint="The plan of this account does not have the model.",
        )
    if failure.status == 402:
        return replace(
            failure,
            hint="The workspace is deactivated or not paid for; choose another one by signing in "
            "again.",
        )
    return failure


def _error_of(failure: Failure) -> Mapping[str, Json]:
    return {} if failure.native is None else failure.native.fields


# --- the provider --------------------------------------------------------------------------------


def codex(endpoints: CodexEndpoints = ENDPOINTS) -> Provider:
    """Return the provider, for the real service or another table of endpoints."""
    ways = CodexSignIn(endpoints)
    return Provider(
        id="codex",
        title="ChatGPT (Codex)",
        base_url=endpoints.codex,
        dialects=("openai_responses",),
        issuer="openai",
        family=re.compile(r"gpt-[5-9]|codex-"),
        fixed_headers={"openai_responses": (("originator", profile.ORIGINATOR),)},
        fact_headers={"account_id": "Chatgpt-Account-Id"},
        vendors=frozenset({"openai_responses"}),
        extras=frozenset({"compact"}),
        models_path=profile.MODELS_PATH,
        known_models=known_models,
        classify=classify,
        hosts=endpoints.hosts,
        sign_ins={"browser": ways.browser, "device": ways.device},
        notice=profile.NOTICE,
        subscription=True,
        renew=ways.renew,
        renew_lead_s=profile.RENEW_LEAD_S,
        revoke=ways.revoke,
        manage_url=profile.MANAGE_URL,
        shape=shape,
        quota_steps=CodexQuota(endpoints).steps,
        read_quota=read_quota,
    )


CODEX = codex()
