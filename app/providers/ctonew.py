"""cto.new (EngineLabs): unofficial, experimental, and off until the user turns it on.

Two ways in, told apart by ``Credential.facts["route"]``:

- ``web``: the page's own chat, one text in and one out over a WebSocket. ``app.upstream.ctonew``
  carries it out for addresses that begin with ``ctonew+``; what is asked and what comes back are
  Chat Completions to everyone else.
- ``cli``: the endpoint of the vendor's command line, which speaks Chat Completions itself.

Nothing of this is published by the vendor; see ``ctonew_session`` for where it was read. Automatic
creation of accounts, and getting around checks that a person is there, are no part of it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from app.canonical.failure import Failure
from app.dialects.base import dump, patch_object, read_head
from app.errors import AccountError, Retry, UpstreamError
from app.http import Headers, HttpReply, HttpRequest
from app.providers.base import ModelFacts, Provider
from app.providers.credential import Credential
from app.providers.ctonew_prompt import make_job
from app.providers.ctonew_session import (
    CLI,
    Sites,
    renew,
    sign_in_cli,
    sign_in_web,
    site_fields,
)
from app.providers.oauth import bearer_request
from app.providers.quota import Quota, QuotaWindow
from app.providers.replies import (
    next_day,
    number_in,
    read_object,
    server_time,
    text_in,
    trouble_with,
)
from app.providers.shaping import Asked, Shaped
from app.providers.signin import SIGN_IN_AGAIN, Consent, CookiePage, SecretSignIn, Steps, ask

__all__ = ["CHAT_PATH", "CTONEW", "PREFIX", "SCHEME", "ctonew"]

PREFIX = "ctonew-"
"""What the names of its models begin with, so that none is taken for a service's own."""
SCHEME = "ctonew+"
"""Begins the addresses of chats that ``app.upstream.ctonew`` carries out."""
CHAT_PATH = "/engine-agent/chat"

_CONSENT = Consent(
    version="2026-11-21",
    text=(
        "cto.new offers no access for other programs. This connector does what its web page and "
        "its command line do, as far as others have found out. It may stop working at any time, "
        "and using it may be against the terms of cto.new, which may close your account. Use only "
        "your own account. The page's chat takes no tools, so agents cannot work with it."
    ),
    instead="An API key of Anthropic, OpenAI or Google gives the same models with no such risk.",
)


def ctonew(sites: Sites | None = None, *, renew_lead_s: float = 10.0) -> Provider:
    """Return the provider.

    Args:
        sites: where cto.new is.
        renew_lead_s: how long before its end a token is renewed; tokens of the web session live
            for about a minute.
    """
    here = sites if sites is not None else Sites()
    return Provider(
        id="ctonew",
        title="cto.new",
        base_url=f"{SCHEME}{here.api}",
        dialects=("openai_chat",),
        issuer="ctonew",
        official=False,
        family=re.compile(re.escape(PREFIX)),
        ask_models=lambda _base_url, credential: _ask_models(here, credential),
        read_models=parse_models,
        classify=classify,
        hosts=frozenset(urlsplit(base).netloc for base in (here.clerk, here.api)),
        sign_ins={
            "cookie": SecretSignIn(
                "the cookie __client of clerk.cto.new",
                lambda typed, _: sign_in_web(here, typed),
                CookiePage(
                    here.page,
                    "__client",
                    urlsplit(here.clerk).hostname or "",
                    f"{here.clerk}/",
                    mark="__client_uat",
                ),
            ),
            "cli": SecretSignIn(
                "the content of ~/.cto/credentials (the command line and Dragoman will then share "
                "one rotating token: use only one of them)",
                lambda typed, _: sign_in_cli(here, typed),
            ),
        },
        consent=_CONSENT,
        subscription=True,
        renew=lambda credential: renew(here, credential),
        renew_lead_s=renew_lead_s,
        # Signing out would also end the browser's session, whose cookie it is.
        manage_url="https://cto.new",
        shape=lambda asked: _shape(here, asked),
        quota_steps=lambda credential: _quota_steps(here, credential),
    )


# --- models --------------------------------------------------------------------------------------


def _ask_models(sites: Sites, credential: Credential | None) -> HttpRequest:
    by_cli = credential is not None and credential.facts.get("route") == CLI
    path = "/models" if by_cli else "/chat/adapters"
    return HttpRequest("GET", f"{sites.api}{path}", () if by_cli else site_fields(sites))


def parse_models(reply: HttpReply) -> tuple[ModelFacts, ...]:
    """Read the page's list of adapters, or the command line's list of models.

    Raises:
        UpstreamError: the answer is neither.
    """
    body = read_object(reply, "cto.new")
    if isinstance(adapters := body.get("chatAdapters"), list):
        rows = (_adapter(row) for row in adapters if isinstance(row, dict))
    elif isinstance(models := body.get("data"), list):
        rows = (_model(row) for row in models if isinstance(row, dict))
    else:
        raise UpstreamError("cto.new answered no model list.", code="upstream_protocol")
    return tuple(facts for facts in rows if facts is not None)


def _adapter(row: dict[str, Any]) -> ModelFacts | None:
    key = text_in(row, "key")
    if not key or row.get("enabled") is False:
        return None
    name = text_in(row, "model") or None
    return ModelFacts(f"{PREFIX}{key}", name, dialects=("openai_chat",), tools=False, images=False)


def _model(row: dict[str, Any]) -> ModelFacts | None:
    model = text_in(row, "id")
    return ModelFacts(f"{PREFIX}{model}", dialects=("openai_chat",)) if model else None


# --- calls ---------------------------------------------------------------------------------------


def _shape(sites: Sites, asked: Asked) -> Shaped:
    credential = asked.credential
    if credential is None:
        raise AccountError(
            "cto.new needs a sign-in.", hint="`dragoman login ctonew`", code=SIGN_IN_AGAIN
        )
    key = asked.model.removeprefix(PREFIX)
    head = read_head(asked.body)
    if credential.facts.get("route") == CLI:
        names: Headers = ()
        if asked.session:
            names = (("x-session-id", asked.session), ("x-session-affinity", asked.session))
        body = patch_object(head, {"model": key})
        return Shaped(body, "/chat/completions", names, sites.api)
    facts = credential.facts
    job = make_job(
        head, key, asked.model, facts.get("user_id", ""), facts.get("organization_id", "")
    )
    fields = (*site_fields(sites), ("Cookie", f"__client={credential.renewal}"))
    return Shaped(dump(job), CHAT_PATH, fields, f"{SCHEME}{sites.api}")


def classify(failure: Failure, reply: HttpReply) -> Failure:
    """Say what a refusal of cto.new's means: 402 and 403 stand for a limit that is reached.

    When limits begin anew is not known; the next midnight UTC is a guess of those who use it.
    """
    if reply.status in (402, 403) and not failure.final:
        wait_s = failure.retry_after_s
        now = server_time(reply)
        if wait_s is None and now is not None:
            wait_s = next_day(now) - now
        return replace(
            failure,
            kind="quota",
            scope="account",
            retry=Retry.NEXT_ACCOUNT,
            retry_after_s=wait_s,
            hint="cto.new counts requests by day and by week; `dragoman quota` shows both.",
        )
    if failure.kind == "rate_limit":
        return replace(failure, scope="account")
    return failure


# --- what is left --------------------------------------------------------------------------------


def _quota_steps(sites: Sites, credential: Credential) -> Steps[Quota]:
    """Ask what is left of day and week.

    Raises:
        AccountError: the token is not good.
        UpstreamError: cto.new failed.
    """
    asked = yield from ask(
        bearer_request(f"{sites.api}/billing", credential.secret, site_fields(sites)[:2])
    )
    if asked.reply.status == 401:
        raise AccountError(
            "cto.new does not accept the token.", hint="Sign in again.", code=SIGN_IN_AGAIN
        )
    if asked.reply.status != 200:
        raise trouble_with("cto.new", "tell what is left", asked.reply)
    return _quota(read_object(asked.reply, "cto.new"), asked.now)


def _quota(body: dict[str, Any], now: float) -> Quota:
    reached = body.get("hasReachedLimit") is True or body.get("limitReached") is True
    week = _window(body, "week", "weekly", 7 * 86_400.0, None)
    day = _window(body, "day", "daily", 86_400.0, next_day(now))
    windows = tuple(window for window in (day, week) if window is not None)
    if reached:
        # Which limit it is stands nowhere; the one that is used up, else the day.
        spent = [window for window in windows if window.left == 0]
        closed = spent or [day or QuotaWindow("day", None, next_day(now), 86_400.0)]
        names = {window.name for window in closed}
        windows = tuple(window for window in windows if window.name not in names) + tuple(
            replace(window, exhausted=True) for window in closed
        )
    return Quota(windows, now, "usage call", text_in(body, "tier", "plan"))


def _window(
    body: dict[str, Any], name: str, lead: str, length_s: float, resets_at: float | None
) -> QuotaWindow | None:
    used, limit = number_in(body, f"{lead}Usage"), number_in(body, f"{lead}Limit")
    if used is None or not limit or limit < 0:
        return None
    return QuotaWindow(
        name,
        max(0.0, used) / limit * 100.0,
        resets_at,
        length_s,
        left=max(0.0, limit - used),
        limit=limit,
    )


CTONEW = ctonew()
