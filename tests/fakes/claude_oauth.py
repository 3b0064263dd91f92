"""A fake of the Messages API as it answers to tokens of a Claude subscription.

Beside the rules of the API it holds callers to what such a token needs: Bearer alone, the OAuth
beta, Claude Code's agent and first system line, and no tool names but its own and ``mcp_…``. How
the service itself tells third-party callers is not known; the fake asks for everything that
public clients found to be needed. Genuine Claude Code passes by its own marks.
"""

import re
from datetime import UTC, datetime
from email.utils import format_datetime

from tests.fakes.anthropic import Anthropic
from tests.fakes.anthropic_rules import blocks_of

ONLY_CLAUDE_CODE = (  # [seen] https://github.com/anomalyco/opencode/issues/7410
    "This credential is only authorized for use with Claude Code and cannot be used for other API "
    "requests."
)
PREAMBLE = "You are Claude Code, Anthropic's official CLI for Claude."
NATIVE_TOOLS = frozenset(
    [
        "Read",
        "Write",
        "Edit",
        "Bash",
        "Grep",
        "Glob",
        "AskUserQuestion",
        "EnterPlanMode",
        "ExitPlanMode",
        "KillShell",
        "NotebookEdit",
        "Skill",
        "Task",
        "TaskOutput",
        "TodoWrite",
        "WebFetch",
        "WebSearch",
    ]
)
_AGENT = re.compile(r"claude-cli/\d+\.\d+\.\d+ \(external, [\w-]+\)")


class ClaudeOAuth(Anthropic):
    """``/v1/messages`` for the tokens of a ``ClaudeIdentity``."""

    name = "anthropic"  # seals and ids as those of the API, which has one secret for both

    def __init__(self, identity):
        super().__init__()
        self.identity = identity
        self.windows = {"5h": (0.12, 7_200.0), "7d": (0.4, 300_000.0)}
        """Fraction used and seconds until the reset; 1 or more refuses calls."""
        self.refuses = ""
        """Set: every call is refused with 400 and this text."""

    def success_headers(self):
        return super().success_headers() | self._limits()

    def _limits(self):
        now = self.identity.now()
        headers = {"date": format_datetime(datetime.fromtimestamp(now, UTC), usegmt=True)}
        lead = "anthropic-ratelimit-unified"
        for name, (used, after) in self.windows.items():
            headers[f"{lead}-{name}-utilization"] = f"{used:g}"
            headers[f"{lead}-{name}-reset"] = f"{now + after:.0f}"
            headers[f"{lead}-{name}-status"] = "rejected" if used >= 1 else "allowed"
        full = [after for used, after in self.windows.values() if used >= 1]
        headers[f"{lead}-status"] = "rejected" if full else "allowed"
        headers[f"{lead}-reset"] = f"{now + (max(full) if full else 7_200.0):.0f}"
        return headers

    def answer(self, call):
        grant = self.identity.check(call.headers)
        if "user:inference" not in grant.scope.split():
            raise self._refusal(
                403, "permission_error", "OAuth token does not meet scope requirement"
            )
        if self.refuses:
            raise self.invalid(self.refuses)
        path = call.path.rstrip("/")
        if call.method == "POST" and path.startswith("/v1/messages"):
            body = self._read(call)
            counting = path.endswith("count_tokens")
            if not self.is_claude_code(call.headers) or not (
                counting or self._is_genuine(body) or self._is_dressed(body)
            ):
                raise self.invalid(ONLY_CLAUDE_CODE)
            if not counting and any(used >= 1 for used, _ in self.windows.values()):
                raise self._refusal(
                    429,
                    "rate_limit_error",
                    "This request would exceed your account's rate limit. Please try again later.",
                    self._limits(),
                )
        return super().answer(call)

    def _authorize(self, headers):
        """The identity has checked the token; the API's own fields remain."""
        version = headers.get("anthropic-version")
        if version is None:
            raise self.invalid("anthropic-version: header is required")

    @staticmethod
    def is_claude_code(headers):
        return (
            _AGENT.fullmatch(headers.get("user-agent", "")) is not None
            and headers.get("x-app") == "cli"
            and "claude-code-20250219" in headers.get("anthropic-beta", "").split(",")
        )

    @staticmethod
    def _is_genuine(body):
        """Return whether the body has the marks that only Claude Code itself makes."""
        system = body.get("system")
        first = system[0] if isinstance(system, list) and system else {}
        user = (body.get("metadata") or {}).get("user_id", "")
        return "device_id" in user and str(first.get("text", "")).startswith(
            "x-anthropic-billing-header:"
        )

    @staticmethod
    def _is_dressed(body):
        system = body.get("system")
        if not isinstance(system, list) or not system:
            return False
        if system[0].get("text") != PREAMBLE:
            return False
        names = [t["name"] for t in body.get("tools") or [] if t.get("type") in (None, "custom")]
        served = {t["name"] for t in body.get("tools") or [] if t.get("type", "custom") != "custom"}
        for message in body.get("messages") or []:
            blocks = blocks_of(message["content"])
            names += [b["name"] for b in blocks if b["type"] == "tool_use"]
        return all(n in NATIVE_TOOLS or n in served or n.startswith("mcp_") for n in names)
