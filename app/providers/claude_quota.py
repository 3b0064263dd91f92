"""What is left of a Claude subscription: usage call, and the heads of ordinary answers.

Windows have the same names in both: ``5h``, ``7d``, and a week of its own for some models. The
head gives fractions of 1, the call percentages.

Source: CLIProxyAPI-Management-Center ``quota/constants.ts``, kleis ``account-tracking`` (2026-08);
the ``…-utilization`` fields as public clients read them (unverified).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from app.canonical.parts import Json
from app.errors import AccountError, UpstreamError
from app.http import Headers, HttpReply
from app.providers import claude_profile as profile
from app.providers.claude_profile import ClaudeEndpoints
from app.providers.credential import Credential
from app.providers.moment import read_moment, read_number
from app.providers.oauth import bearer_request, is_web_page, read_object, speaks_of_policy
from app.providers.quota import Quota, QuotaWindow
from app.providers.signin import NOT_ALLOWED, Steps, ask

__all__ = ["ClaudeQuota", "read_quota"]

_HOURS_5, _DAYS_7 = 5 * 3600.0, 7 * 86_400.0
_MODELS: Mapping[str, tuple[str, ...]] = {
    "7d_opus": ("claude-opus-*",),
    "7d_sonnet": ("claude-sonnet-*",),
    "7d_oi": ("claude-fable-*",),
}
"""Windows that count only some models."""
_CALLED: Mapping[str, str] = {
    "five_hour": "5h",
    "seven_day": "7d",
    "seven_day_opus": "7d_opus",
    "seven_day_sonnet": "7d_sonnet",
    "iguana_necktie": "7d_oi",
}
"""Field of the usage call → name of the window. ``seven_day_cowork`` counts another product."""
_FIELD = re.compile(
    r"anthropic-ratelimit-unified-(5h|7d(?:_[a-z0-9]+)?)-(status|reset|utilization)", re.IGNORECASE
)


class ClaudeQuota:
    """The usage call, for one table of endpoints."""

    def __init__(self, endpoints: ClaudeEndpoints) -> None:
        self._at = endpoints

    def steps(self, credential: Credential) -> Steps[Quota]:
        """Ask what is left. The call is rate limited itself: once a minute is the most.

        Raises:
            AccountError: the account is refused by policy.
            UpstreamError: it could not be asked; ``retry_after_s`` where the service told.
        """
        answered = yield from ask(
            bearer_request(
                self._at.api + profile.USAGE_PATH,
                credential.secret,
                (("anthropic-beta", profile.OAUTH_BETA), ("anthropic-version", profile.VERSION)),
            )
        )
        reply = answered.reply
        if 200 <= reply.status < 300:
            return _parse(read_object(reply.body), answered.now)
        error = read_object(reply.body).get("error")
        said = error.get("message") if isinstance(error, dict) else None
        words = said.replace(credential.secret, "***")[:300] if isinstance(said, str) else ""
        if speaks_of_policy(words) and 400 <= reply.status < 500:
            raise AccountError(f"Anthropic refuses this account: {words}", code=NOT_ALLOWED)
        if reply.status == 403 and error is not None and not is_web_page(reply):
            note = "A long-lived token may not read its usage; answers tell it as they come."
            return Quota((), answered.now, "usage call", note=note)
        raise UpstreamError(
            f"Anthropic did not tell what is left (HTTP {reply.status}).",
            retry_after_s=_retry_after_s(reply, answered.now),
        )


def _retry_after_s(reply: HttpReply, now: float) -> float | None:
    value = reply.header("retry-after")
    seconds = read_number(value)
    if seconds is None:
        moment = read_moment(value)
        seconds = None if moment is None else moment - now
    return None if seconds is None else max(1.0, seconds)


def _parse(body: Mapping[str, Json], now: float) -> Quota:
    windows: list[QuotaWindow] = []
    for field, name in _CALLED.items():
        given = body.get(field)
        if isinstance(given, dict):
            windows.append(
                _window(name, read_number(given.get("utilization")), given.get("resets_at"))
            )
    named = {window.name for window in windows}
    limits = body.get("limits")
    for limit in limits if isinstance(limits, list) else ():
        scoped = _scoped(limit)
        if scoped is not None and scoped.name not in named:
            windows.append(scoped)
            named.add(scoped.name)
    return Quota(tuple(windows), now, "usage call", note=_extra_usage(body.get("extra_usage")))


def _window(name: str, used: float | None, resets_at: Json) -> QuotaWindow:
    return QuotaWindow(
        name,
        used,
        read_moment(resets_at),
        _HOURS_5 if name == "5h" else _DAYS_7,
        _MODELS.get(name, ()),
        exhausted=used is not None and used >= 100,
    )


def _scoped(limit: Json) -> QuotaWindow | None:
    """Read a limit of one model; the others are told by the older fields, too."""
    scope = limit.get("scope") if isinstance(limit, dict) else None
    model = scope.get("model") if isinstance(scope, dict) else None
    name = (model.get("id") or model.get("display_name")) if isinstance(model, dict) else None
    if not isinstance(limit, dict) or not isinstance(name, str) or not name:
        return None
    name = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-").removeprefix("claude-")
    if not name:
        return None
    family = {"opus": "7d_opus", "sonnet": "7d_sonnet", "fable": "7d_oi"}.get(name)
    used = read_number(limit.get("percent"))
    if family is not None:
        return _window(family, used, limit.get("resets_at"))
    return QuotaWindow(
        f"7d_{name}",
        used,
        read_moment(limit.get("resets_at")),
        _DAYS_7,
        (f"claude-{name}*",),
        exhausted=used is not None and used >= 100,
    )


def _extra_usage(given: Json) -> str:
    if not isinstance(given, dict) or given.get("is_enabled") is not True:
        return ""
    used = read_number(given.get("utilization"))
    if used is None:
        return "Extra usage beyond the plan is switched on."
    return f"Extra usage beyond the plan is switched on, {used:.0f} % of its limit used."


def read_quota(headers: Headers, now: float) -> Quota | None:
    """Read the ``anthropic-ratelimit-unified-*`` fields of an answer; None when it has none."""
    told: dict[str, dict[str, str]] = {}
    for key, value in headers:
        match = _FIELD.fullmatch(key)
        if match is not None:
            told.setdefault(match[1].lower(), {})[match[2].lower()] = value
    if not told:
        return None
    windows: list[QuotaWindow] = []
    for name, fields in told.items():
        fraction = read_number(fields.get("utilization"))
        windows.append(
            QuotaWindow(
                name,
                None if fraction is None else fraction * 100,
                read_moment(fields.get("reset")),
                _HOURS_5 if name == "5h" else _DAYS_7,
                _MODELS.get(name, ()),
                exhausted=fields.get("status") == "rejected",
            )
        )
    return Quota(tuple(windows), now, "headers")
