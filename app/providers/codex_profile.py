"""ChatGPT's Codex service, as data: addresses, versions, models, texts.

What drifts with each release of Codex stands here and nowhere else, each entry with where it is
from and when it was read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from app.providers.base import ModelFacts
from app.providers.credential import Credential
from app.providers.signin import Listen

__all__ = ["ENDPOINTS", "CodexEndpoints", "known_models"]


@dataclass(frozen=True, slots=True)
class CodexEndpoints:
    """Where ChatGPT's sign-in and Codex calls go.

    Source: CLIProxyAPI 7.2 ``internal/auth/codex``, ``sdk/auth/codex_device.go`` (2026-08);
    opencode, kleis and pi agree.
    """

    issuer: str = "https://auth.openai.com"
    api: str = "https://chatgpt.com/backend-api"
    redirect: str = "http://localhost:1455/auth/callback"
    """Part of the client's registration: the port cannot be another."""

    @property
    def codex(self) -> str:
        """Base address of the calls."""
        return f"{self.api}/codex"

    @property
    def usage(self) -> str:
        """Of what is left."""
        return f"{self.api}/wham/usage"

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that tokens may go to."""
        return frozenset(urlsplit(url).hostname or "" for url in (self.issuer, self.api))

    @property
    def listen(self) -> Listen:
        """Where the browser comes back to."""
        place = urlsplit(self.redirect)
        return Listen(place.port or 80, place.path)


ENDPOINTS: Final = CodexEndpoints()

CLIENT_ID: Final = "app_EMoamEEZ73f0CkXaXp7hrann"
"""Public client without a secret (CLIProxyAPI, opencode, kleis, pi: all the same; 2026-08)."""
SCOPE: Final = "openid profile email offline_access"
RENEWAL_SCOPE: Final = "openid profile email"
"""CLIProxyAPI 7.2 (2026-08)."""
RENEW_LEAD_S: Final = 5 * 86_400.0
"""CLIProxyAPI ``sdk/auth/codex.go`` (2026-08); access tokens last about ten days."""
AUTH_CLAIM: Final = "https://api.openai.com/auth"
"""Claim that holds what ChatGPT says of the account."""

DEVICE_LIFETIME_S: Final = 15 * 60.0
DEVICE_INTERVAL_S: Final = 5.0
DEVICE_MARGIN_S: Final = 3.0
"""Added to the interval by opencode and kleis (2026-08), so that no poll is too early."""

ORIGINATOR: Final = "dragoman"
"""What we call ourselves; opencode and pi are served under their own names, too (2026-08)."""
CLIENT_VERSION: Final = "0.169.0"
"""Newest published Codex (observed 2026-11): the model list shows what that version can use."""
MODELS_PATH: Final = f"/models?client_version={CLIENT_VERSION}"

GENUINE_HEADERS: Final = frozenset(
    {
        "originator",
        "session-id",
        "session_id",
        "thread-id",
        "user-agent",
        "version",
        "x-client-request-id",
        "x-openai-internal-codex-responses-lite",
        "x-openai-subagent",
    }
)
GENUINE_PREFIXES: Final = ("x-codex-",)
"""What of a genuine Codex's own head travels on to its vendor (CLIProxyAPI 7.2, 2026-08; names
observed 2026-11)."""
LITE_HEADER: Final = "x-openai-internal-codex-responses-lite"

# --- models --------------------------------------------------------------------------------------


def _row(model: str, context: int = 272_000) -> ModelFacts:
    return ModelFacts(model, None, context, 128_000, ("openai_responses",))


_FREE: Final = (
    _row("gpt-5.6-terra"),
    _row("gpt-5.6-luna"),
    _row("gpt-5.5"),
    _row("gpt-5.4-mini"),
)
_BUSINESS: Final = (_row("gpt-5.6-sol"), *_FREE, _row("gpt-5.4"))
_ALL: Final = (*_BUSINESS, _row("gpt-5.3-codex-spark", 128_000))
_BY_PLAN: Final = {"free": _FREE, "go": _BUSINESS, "team": _BUSINESS, "business": _BUSINESS}
"""A seed until the service's own list was read; newer names pass through. The least context of
those reported is given. CLIProxyAPI 7.2 ``internal/registry/models`` (2026-08)."""

MODEL_PAUSE_S: Final = 12 * 3600.0
"""For how long a model that the plan lacks is not asked for again (CLIProxyAPI 7.2, 2026-08)."""


def known_models(credential: Credential | None) -> tuple[ModelFacts, ...]:
    """Return the models of an account's plan; all of them when the plan is not known."""
    plan = "" if credential is None else credential.facts.get("plan", "")
    return _BY_PLAN.get(plan, _ALL)


# --- texts ---------------------------------------------------------------------------------------

NOTICE: Final = (
    "OpenAI tolerates the use of a ChatGPT plan from other programs, but does not promise it. Use "
    "only your own account. The way beside it is an OpenAI API key (`dragoman login openai`)."
)
"""Decisions on account safety, 2026-11."""
USAGE_URL: Final = "https://chatgpt.com/codex/settings/usage"
MANAGE_URL: Final = "https://chatgpt.com/#settings/Security"
"""Where a person logs out other devices and programs."""
