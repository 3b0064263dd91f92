"""Claude with a subscription, as data: addresses, versions, betas, models, texts.

What drifts with each release of Claude Code stands here and nowhere else, each entry with where it
is from and when it was read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from app.providers.base import ModelFacts
from app.providers.signin import Consent, Listen

__all__ = ["ENDPOINTS", "ClaudeEndpoints"]


@dataclass(frozen=True, slots=True)
class ClaudeEndpoints:
    """Where Claude's sign-in and calls go.

    Source: CLIProxyAPI 7.2 ``internal/auth/claude`` (2026-08); pi-mono 0.58 agrees (2026-03).
    """

    authorize: str = "https://claude.ai/oauth/authorize"
    """A page in the browser: no token goes there."""
    token: str = "https://platform.claude.com/v1/oauth/token"  # noqa: S105 - an address
    api: str = "https://api.anthropic.com"
    redirect: str = "http://localhost:54545/callback"
    """Part of the client's registration: the port cannot be another."""

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that tokens may go to."""
        return frozenset(urlsplit(url).hostname or "" for url in (self.token, self.api))

    @property
    def listen(self) -> Listen:
        """Where the browser comes back to."""
        place = urlsplit(self.redirect)
        return Listen(place.port or 80, place.path)


ENDPOINTS: Final = ClaudeEndpoints()

CLIENT_ID: Final = "9d1c250a-e61b-44d9-88ed-5944d1962f5e"
"""Public client without a secret (CLIProxyAPI, opencode, pi: all the same; 2025 to 2026-11)."""
SCOPE: Final = (
    "user:profile user:inference user:sessions:claude_code user:mcp_servers user:file_upload"
)
"""CLIProxyAPI 7.2 (2026-08)."""
PROFILE_PATH: Final = "/api/oauth/profile"
USAGE_PATH: Final = "/api/oauth/usage"
RENEW_LEAD_S: Final = 4 * 3600.0
"""CLIProxyAPI ``sdk/auth/claude.go`` (2026-08); access tokens last about 8 hours."""
API_KEY_MARK: Final = "sk-ant-api"

# --- what a call with an OAuth token needs -------------------------------------------------------

CLI_VERSION: Final = "2.1.330"
"""Newest published Claude Code (observed 2026-11). The service refuses models to old versions
with "Claude Code <version> does …" (CLIProxyAPI issue 5406)."""
USER_AGENT: Final = f"claude-cli/{CLI_VERSION} (external, cli)"
X_APP: Final = "cli"
OAUTH_BETA: Final = "oauth-2025-04-20"
"""Mandatory for Bearer tokens (all clients compared, 2025 to 2026-08)."""
NEEDED_BETAS: Final = ("claude-code-20250219", OAUTH_BETA)
"""CLIProxyAPI 7.2, kleis, pi (2026-03 to 2026-08)."""
PREAMBLE: Final = "You are Claude Code, Anthropic's official CLI for Claude."
"""First system block; requests without it were refused or billed as extra usage (2026-08)."""
TOOL_PREFIX: Final = "mcp_"
"""How tools that are not Claude Code's own are called (opencode-anthropic-auth 0.0.13, kleis;
2026-02 to 2026-08)."""
VERSION: Final = "2023-06-01"

GENUINE_HEADERS: Final = frozenset(
    {
        "accept",
        "anthropic-dangerous-direct-browser-access",
        "anthropic-version",
        "user-agent",
        "x-anthropic-additional-protection",
        "x-app",
        "x-client-app",
        "x-client-request-id",
    }
)
GENUINE_PREFIXES: Final = ("x-stainless-", "x-claude-code-", "x-claude-remote-")
"""What of a genuine Claude Code's own head travels on to its vendor (CLIProxyAPI 7.2, 2026-08;
names observed 2026-11)."""

# --- models --------------------------------------------------------------------------------------


def _row(model: str, context: int, output: int) -> ModelFacts:
    return ModelFacts(model, None, context, output, ("anthropic",))


MODELS: Final = (
    _row("claude-fable-5", 1_000_000, 128_000),
    _row("claude-opus-5", 1_000_000, 128_000),
    _row("claude-sonnet-5", 1_000_000, 128_000),
    _row("claude-opus-4-8", 1_000_000, 128_000),
    _row("claude-opus-4-7", 1_000_000, 128_000),
    _row("claude-opus-4-6", 1_000_000, 128_000),
    _row("claude-opus-4-5-20251101", 200_000, 64_000),
    _row("claude-opus-4-1-20250805", 200_000, 32_000),
    _row("claude-opus-4-20250514", 200_000, 32_000),
    _row("claude-sonnet-4-6", 200_000, 64_000),
    _row("claude-sonnet-4-5-20250929", 200_000, 64_000),
    _row("claude-sonnet-4-20250514", 200_000, 64_000),
    _row("claude-haiku-4-5-20251001", 200_000, 64_000),
    _row("claude-3-7-sonnet-20250219", 200_000, 8_192),
    _row("claude-3-5-haiku-20241022", 200_000, 8_192),
)
"""A seed: there is no list call for subscriptions, and newer ``claude-*`` names pass through.
CLIProxyAPI 7.2 ``internal/registry/models`` (2026-08)."""

# --- texts ---------------------------------------------------------------------------------------

CONSENT: Final = Consent(
    version="2026-02",
    text=(
        "Anthropic's published terms (February 2026) reserve sign-ins with a Claude Free, Pro or "
        "Max plan for Claude Code and Anthropic's own apps. Using the plan from other programs "
        "through Dragoman is against those terms. Anthropic refuses such calls, may bill them as "
        "extra usage, and has suspended accounts for it. When it refuses, Dragoman stops using "
        "the account and does not try to get around it.\n"
        "\n"
        "If you go on, use only your own account. Calls of Claude Code itself are passed on as "
        "they are. To calls of other programs Dragoman adds the four things that such a call "
        "needs: two beta names, Claude Code's user agent, its first system line, and a prefix to "
        "tool names. It adds nothing else."
    ),
    instead=(
        "Allowed ways beside it: an Anthropic API key (`dragoman login anthropic`) for every "
        "program; or Claude Code itself with its own sign-in, whose calls Dragoman only hands on "
        "(`forward: true`)."
    ),
)
EXTRA_USAGE_URL: Final = "https://claude.ai/settings/usage"
MANAGE_URL: Final = "https://claude.ai/settings/claude-code"
"""Where a person revokes single sign-ins. Anthropic documents no call for it, and Claude Code's own
logout makes none (anthropics/claude-code issues 34198 and 59378, 2026-05)."""
