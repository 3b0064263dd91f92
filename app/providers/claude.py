"""Claude with a Pro or Max subscription, signed in by OAuth.

Off until the user agrees to ``claude_profile.CONSENT``. How one signs in is in ``claude_signin``,
what a call looks like in ``claude_shape``, what is left in ``claude_quota``, and everything that
drifts in ``claude_profile``.
"""

from __future__ import annotations

import re
from dataclasses import replace

from app.canonical.failure import Failure
from app.errors import Retry
from app.http import HttpReply
from app.providers import claude_profile as profile
from app.providers.base import Provider
from app.providers.claude_profile import ENDPOINTS, ClaudeEndpoints
from app.providers.claude_quota import ClaudeQuota, read_quota
from app.providers.claude_shape import shape, shape_own
from app.providers.claude_signin import ClaudeSignIn
from app.providers.signin import NOT_ALLOWED

__all__ = ["CLAUDE", "classify", "claude"]

_OUTDATED = re.compile(r"claude code (?:version )?v?\d+\.\d+\.\d+", re.IGNORECASE)
_REGION = re.compile(r"request not allowed", re.IGNORECASE)


def classify(failure: Failure, _reply: HttpReply) -> Failure:
    """Say what a decoded failure means for a subscription.

    The dialect has read the type, the windows of a 429 and the well-known texts already; here they
    get what a person can do, and what only subscriptions know. Source: CLIProxyAPI 7.2 and its
    issues 5406 and 2599 (2026-08).
    """
    if failure.final:
        return replace(
            failure,
            code=NOT_ALLOWED,
            retry=Retry.NEVER,
            hint="Anthropic does not allow this use of the subscription. The account is not used "
            "any more; an Anthropic API key is the way beside it.",
        )
    if failure.kind == "permission" and _REGION.search(failure.message):
        # By region, network or account: another try or another account changes nothing.
        return replace(
            failure,
            retry=Retry.NEVER,
            hint="Anthropic does not serve this network, region or account.",
        )
    if failure.status == 400 and _OUTDATED.search(failure.message):
        return replace(
            failure,
            kind="invalid_request",
            scope="request",
            retry=Retry.NEVER,
            code="client_outdated",
            hint="The model wants a newer Claude Code: update Claude Code, or Dragoman for other "
            "programs.",
        )
    match failure.code:
        case "extra_usage_only":
            return replace(
                failure,
                retry=Retry.NEVER,
                hint="Anthropic counts these calls as extra usage, not as part of the plan; "
                f"{profile.EXTRA_USAGE_URL} switches it on.",
            )
        case "extra_usage_spent":
            return replace(failure, hint=f"Its limit is set at {profile.EXTRA_USAGE_URL}.")
        case "not_in_plan":
            return replace(
                failure,
                hint="Leave out the 1M context or fast mode, or switch on extra usage at "
                f"{profile.EXTRA_USAGE_URL}.",
            )
        case _:
            return failure


def claude(endpoints: ClaudeEndpoints = ENDPOINTS) -> Provider:
    """Return the provider, for the real service or another table of endpoints."""
    ways = ClaudeSignIn(endpoints)
    return Provider(
        id="claude",
        title="Claude (subscription)",
        base_url=endpoints.api,
        dialects=("anthropic",),
        issuer="anthropic",
        family=re.compile(r"claude-"),
        fixed_headers={"anthropic": (("anthropic-version", profile.VERSION),)},
        forward=frozenset({"anthropic-version"}),
        vendors=frozenset({"anthropic"}),
        counts=frozenset({"anthropic"}),
        models_path="",
        known_models=lambda _credential: profile.MODELS,
        classify=classify,
        hosts=endpoints.hosts,
        sign_ins={"browser": ways.browser, "token": ways.token},
        consent=profile.CONSENT,
        subscription=True,
        renew=ways.renew,
        renew_lead_s=profile.RENEW_LEAD_S,
        manage_url=profile.MANAGE_URL,
        shape=shape,
        own_token=re.compile(r"sk-ant-oat[\w-]{16,}"),
        shape_own=shape_own,
        quota_steps=ClaudeQuota(endpoints).steps,
        read_quota=read_quota,
    )


CLAUDE = claude()
