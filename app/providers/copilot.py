"""GitHub Copilot with a plan of one's own.

Two families of sign-in, whose tokens are never mixed:

- ``direct``: the GitHub token itself goes with the calls. It has no end and needs no renewal.
- ``editor``: the GitHub token is exchanged for one of about half an hour, which is renewed by
  exchanging again; it says where calls of the account's plan go, and wants an editor's header set.

Nothing of this is documented for third parties. Every value was read from public clients and has
its source beside it; header versions age, so they stand in one table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from app.canonical.failure import Failure
from app.errors import AccountError, Retry, UpstreamError
from app.http import Headers, HttpReply, HttpRequest
from app.providers.base import USER_AGENT, Provider
from app.providers.copilot_calls import shape_call
from app.providers.copilot_models import RULES, parse_models
from app.providers.credential import Credential
from app.providers.github import PUBLIC, GitHub, authorize_device, enterprise, refused, server_name
from app.providers.github import who as who_is
from app.providers.moment import read_moment
from app.providers.oauth import is_web_page
from app.providers.quota import Quota, QuotaWindow
from app.providers.replies import (
    next_month,
    number_in,
    object_in,
    read_object,
    server_time,
    text_in,
    trouble_with,
    wait_in,
)
from app.providers.shaping import Asked, Shaped
from app.providers.signin import SIGN_IN_AGAIN, Answered, DeviceSignIn, Granted, Steps, ask

__all__ = ["COPILOT", "DIRECT", "EDITOR", "GITHUB", "Family", "copilot"]


@dataclass(frozen=True, slots=True)
class Family:
    """One way of signing in, with everything that differs between the two."""

    name: str
    """Kept in ``Credential.facts["family"]``."""
    client_id: str
    """Of the GitHub application that the user allows."""
    headers: Headers
    """What every call of the family carries."""
    exchanges: bool
    """The GitHub token is exchanged for a short one."""
    scope: str = "read:user"


DIRECT = Family(
    "direct",
    # opencode's own application: opencode copilot.ts and rexdotsh/kleis copilot.ts, 2026-08. That
    # GitHub takes tokens of other applications at Copilot's address is not known.
    "Ov23li8tweQw6odWQebz",
    (("User-Agent", USER_AGENT), ("Openai-Intent", "conversation-edits")),
    exchanges=False,
)
EDITOR = Family(
    "editor",
    # The application of VS Code's Copilot: pi github-copilot.ts, copilot-api api-config.ts.
    "Iv1.b507a08c87ecfe98",
    # The least that was seen working: the set of badlogic/pi-mono 0.58.3, 2026-03. No device or
    # session ids: they are nobody's to invent.
    (
        ("User-Agent", "GitHubCopilotChat/0.35.0"),
        ("Editor-Version", "vscode/1.107.0"),
        ("Editor-Plugin-Version", "copilot-chat/0.35.0"),
        ("Copilot-Integration-Id", "vscode-chat"),
        ("Openai-Intent", "conversation-edits"),
    ),
    exchanges=True,
)

_REST_VERSION = ("X-GitHub-Api-Version", "2025-04-01")  # copilot-api 0.7.0, 2025-10
_RENEW_LEAD_S = 300.0
"""An exchanged token is renewed five minutes before its end (pi)."""

_INDIVIDUAL = "https://api.individual.githubcopilot.com"
_BUSINESS = "https://api.business.githubcopilot.com"
_ENTERPRISE = "https://api.enterprise.githubcopilot.com"
_ANY = "https://api.githubcopilot.com"

GITHUB = GitHub(
    PUBLIC,
    "https://github.com",
    "https://api.github.com",
    _ANY,
    plans=(("business", _BUSINESS), ("enterprise", _ENTERPRISE)),
    apis=tuple(
        (urlsplit(base).netloc, base) for base in (_ANY, _INDIVIDUAL, _BUSINESS, _ENTERPRISE)
    ),
)
"""Where github.com's accounts call; the default base works for all individual plans."""

_NOTICE = (
    "GitHub does not document Copilot for other programs: it is tolerated, not promised, and may "
    "stop working. Heavy automated use has led to warnings and suspensions, so calls are paced. "
    "Use only your own account, and no more than you would in an editor."
)
_MODEL_HINT = (
    "It may not be part of the plan, or its terms may not be accepted yet: "
    "https://github.com/settings/copilot/features shows both."
)
_SPENT_CODES = frozenset({"quota_exceeded", "free_quota_exceeded", "overage_limit_reached"})
_PROXY_HOST = re.compile(r"(?:^|;)\s*proxy-ep=(?:https?://)?proxy\.([^;/\s]+)")


def copilot(github: GitHub = GITHUB, own_server: Callable[[str], GitHub] = enterprise) -> Provider:
    """Return the provider.

    Args:
        github: where github.com and its Copilot are.
        own_server: the same for the domain of an organisation's own server.
    """
    copilot = _Copilot(github, own_server)
    return Provider(
        id="copilot",
        title="GitHub Copilot",
        base_url=github.copilot,
        dialects=("openai_chat", "openai_responses", "anthropic"),
        # Signatures are bound to the account that got them, not to Copilot (caozhiyuan/copilot-api
        # issues 142 and 208). One issuer is right all the same: within a dialect they travel as they
        # are, and after a switch the other account's refusal of them costs one call, which is made
        # again without (canonical.stale).
        issuer="copilot",
        official=False,
        dialect_rules=RULES,
        fixed_headers={"anthropic": (("anthropic-version", "2023-06-01"),)},
        extras=frozenset({"embeddings"}),
        ask_models=copilot.ask_models,
        read_models=parse_models,
        classify=classify,
        hosts=github.hosts,
        sign_ins={
            "device": DeviceSignIn(lambda host: copilot.sign_in(DIRECT, host)),
            "device_editor": DeviceSignIn(lambda host: copilot.sign_in(EDITOR, host)),
        },
        notice=_NOTICE,
        subscription=True,
        renew=copilot.renew,
        renew_lead_s=_RENEW_LEAD_S,
        # Ending a grant wants the application's secret; GitHub's call without one is for tokens
        # that were found exposed, and warns their owner (docs.github.com, read 2026-11).
        manage_url="https://github.com/settings/applications",
        shape=copilot.shape,
        quota_steps=copilot.quota,
    )


def classify(failure: Failure, reply: HttpReply) -> Failure:
    """Say what a refusal of Copilot's means.

    Spent premium requests are told per model, since the models included in the plan go on; they
    come back on the first of the month (UTC), unless the usage call names another day.
    """
    code = (failure.code or "").lower()
    if reply.status == 402 or code in _SPENT_CODES:
        return _spent(failure, reply)
    match code:
        case "unsupported_api_for_model":
            # The list was not read yet, or has changed; the next reading puts it right.
            return replace(
                failure,
                scope="model",
                retry=Retry.NEXT_ACCOUNT,
                hint="Copilot serves this model in another dialect; its model list tells which.",
            )
        case "model_not_supported":
            return replace(failure, hint=_MODEL_HINT)
        case "model_max_prompt_tokens_exceeded":
            # Clients shorten a conversation upon the words that they know for this.
            return replace(
                failure,
                kind="context_full",
                code="context_length_exceeded",
                scope="request",
                retry=Retry.NEVER,
                native=None,
            )
    # A page is the word of something in between, and a stated wait means too many calls.
    if reply.status == 403 and not is_web_page(reply) and wait_in(reply) is None:
        return replace(
            failure,
            kind="permission",
            scope="account",
            retry=Retry.NEVER,
            final=True,
            retry_after_s=None,
            hint="A seat, a policy of the organisation or a block of the account is behind it: "
            "https://github.com/settings/copilot.",
        )
    return failure


def _spent(failure: Failure, reply: HttpReply) -> Failure:
    wait_s = failure.retry_after_s
    now = server_time(reply)
    if wait_s is None and now is not None:
        wait_s = next_month(now) - now
    return replace(
        failure,
        kind="quota",
        scope="model",
        retry=Retry.NEXT_ACCOUNT,
        retry_after_s=wait_s,
        hint="Premium requests come back with the new month; models included in the plan still "
        "answer.",
    )


@dataclass(frozen=True, slots=True)
class _Copilot:
    """The steps of both families over one table of addresses."""

    github: GitHub
    own_server: Callable[[str], GitHub]

    def server(self, host: str) -> GitHub:
        return self.github if host in ("", self.github.host) else self.own_server(host)

    def sign_in(self, family: Family, typed_host: str) -> Steps[Granted]:
        github = self.server(server_name(typed_host))
        token = yield from authorize_device(github, family.client_id, family.scope)
        identity = yield from who_is(github, token)
        known = yield from self._user(github, family, token)
        plan = text_in(known, "copilot_plan")
        identity = replace(identity, plan=plan)
        if family.exchanges:
            credential = yield from self._exchange(github, family, token, plan)
        else:
            facts = {"family": family.name, "host": github.host, "api": _base(github, plan)}
            credential = Credential(token, "oauth", facts=facts)
        return Granted(credential, identity)

    def _user(self, github: GitHub, family: Family, token: str) -> Steps[dict[str, Any]]:
        """Ask what Copilot is to the account; empty when that cannot be learned now."""
        try:
            asked = yield from ask(_user_call(github, family, token))
            if asked.reply.status == 200:
                return read_object(asked.reply, github.host)
            error = refused(github, "tell the plan", asked.reply)
        except UpstreamError:
            return {}  # the plan only chooses between addresses that all work for most
        if error.code == SIGN_IN_AGAIN:
            raise error
        return {}

    def _exchange(
        self, github: GitHub, family: Family, token: str, plan: str = ""
    ) -> Steps[Credential]:
        asked = yield from ask(
            HttpRequest(
                "GET",
                f"{github.rest}/copilot_internal/v2/token",
                (
                    ("Accept", "application/json"),
                    ("Authorization", f"Bearer {token}"),
                    *family.headers,
                    _REST_VERSION,
                ),
            )
        )
        if asked.reply.status != 200:
            raise refused(github, "give out a Copilot token", asked.reply)
        return _exchanged(github, family, token, plan, asked)

    def renew(self, credential: Credential) -> Steps[Credential]:
        """Exchange the GitHub token again.

        Raises:
            AccountError: the GitHub token is over, or the account may not use Copilot.
            UpstreamError: GitHub failed.
        """
        github, family = self._of(credential)
        if not family.exchanges or not credential.renewal:
            raise AccountError(
                "GitHub no longer accepts this sign-in.", hint="Sign in again.", code=SIGN_IN_AGAIN
            )
        plan = credential.facts.get("plan", "")
        return (yield from self._exchange(github, family, credential.renewal, plan))

    def _of(self, credential: Credential) -> tuple[GitHub, Family]:
        family = EDITOR if credential.facts.get("family") == EDITOR.name else DIRECT
        return self.server(credential.facts.get("host", "")), family

    def ask_models(self, base_url: str, credential: Credential | None) -> HttpRequest:
        if credential is None:
            return HttpRequest("GET", f"{base_url}/models")
        _, family = self._of(credential)
        return HttpRequest("GET", f"{self._api(credential) or base_url}/models", family.headers)

    def shape(self, asked: Asked) -> Shaped:
        if asked.credential is None:
            return shape_call(asked, DIRECT.headers, "")
        _, family = self._of(asked.credential)
        return shape_call(asked, family.headers, self._api(asked.credential))

    def _api(self, credential: Credential) -> str:
        """Return where an account's calls go; empty for the address that all accounts share.

        A token that was taken over from another program does not say; that of an organisation's
        own server must still go nowhere else.
        """
        github, _ = self._of(credential)
        shared = "" if github.host == self.github.host else github.copilot
        return credential.facts.get("api") or shared

    def quota(self, credential: Credential) -> Steps[Quota]:
        """Ask what is left, with the GitHub token in either family.

        Raises:
            AccountError: the token is over, or the account may not use Copilot.
            UpstreamError: GitHub failed.
        """
        github, family = self._of(credential)
        token = credential.renewal if family.exchanges else credential.secret
        asked = yield from ask(_user_call(github, family, token))
        if asked.reply.status != 200:
            raise refused(github, "tell what is left", asked.reply)
        return _quota(read_object(asked.reply, github.host), asked.now)


def _user_call(github: GitHub, family: Family, token: str) -> HttpRequest:
    return HttpRequest(
        "GET",
        f"{github.rest}/copilot_internal/user",
        (
            ("Accept", "application/json"),
            ("Authorization", f"token {token}"),
            *family.headers,
            _REST_VERSION,
        ),
    )


def _exchanged(
    github: GitHub, family: Family, token: str, plan: str, asked: Answered
) -> Credential:
    body = read_object(asked.reply, github.host)
    secret = text_in(body, "token")
    if not secret:
        raise trouble_with(github.host, "give out a Copilot token", asked.reply)
    # GitHub's word on when to come again is relative, so that a wrong clock here does no harm.
    expires_at = number_in(body, "expires_at")
    refresh_in = number_in(body, "refresh_in")
    if refresh_in is not None and refresh_in > 0:
        expires_at = asked.now + refresh_in + _RENEW_LEAD_S
    facts = {
        "family": family.name,
        "host": github.host,
        "api": _pointed_base(github, secret) or _base(github, plan),
        **({"plan": plan} if plan else {}),
    }
    return Credential(secret, "oauth", expires_at, token, facts, asked.now)


def _base(github: GitHub, plan: str) -> str:
    return next((base for lead, base in github.plans if plan.startswith(lead)), github.copilot)


def _pointed_base(github: GitHub, secret: str) -> str:
    """Return the base that an exchanged token points to, where that is an address we know."""
    found = _PROXY_HOST.search(secret)
    return dict(github.apis).get(f"api.{found[1]}", "") if found else ""


_SNAPSHOTS: Mapping[str, str] = {"premium_interactions": "premium", "chat": "chat"}
"""What the usage call counts → our name; completions in an editor are no concern of ours."""


def _quota(body: dict[str, Any], now: float) -> Quota:
    resets_at = read_moment(body.get("quota_reset_date"))
    snapshots = object_in(body, "quota_snapshots")
    windows = []
    note = ""
    for key, name in _SNAPSHOTS.items():
        snapshot = object_in(snapshots, key)
        if not snapshot or snapshot.get("unlimited") is True:
            continue
        window, over = _window(name, snapshot, resets_at)
        windows.append(window)
        if over:
            note = over
    return Quota(tuple(windows), now, "usage call", text_in(body, "copilot_plan"), note)


def _window(
    name: str, snapshot: dict[str, Any], resets_at: float | None
) -> tuple[QuotaWindow, str]:
    """Return one window, and what else people should know of it."""
    limit = number_in(snapshot, "entitlement")
    left = number_in(snapshot, "remaining", "quota_remaining")
    percent_left = number_in(snapshot, "percent_remaining")
    used: float | None = None
    if limit and left is not None:
        used = (limit - left) / limit * 100.0
    elif percent_left is not None:
        used = 100.0 - percent_left
    pays = snapshot.get("overage_permitted") is True
    spent = left is not None and left <= 0
    note = ""
    if name == "premium" and spent:
        note = (
            "Premium requests are used up and further ones are billed."
            if pays
            else "Premium requests are used up; models included in the plan still answer."
        )
    return (
        QuotaWindow(
            name,
            None if used is None else max(0.0, used),
            resets_at,
            # Spent premium requests close only the premium models, which are not known here.
            exhausted=spent and not pays and name != "premium",
            left=left,
            limit=limit,
        ),
        note,
    )


COPILOT = copilot()
