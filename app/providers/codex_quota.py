"""What is left of a ChatGPT plan for Codex: usage call, and the heads of ordinary answers.

Both tell two windows as primary and secondary; which is which is told by its length alone.

Source: CLIProxyAPI-Management-Center ``quota/constants.ts``, kleis ``account-tracking/codex.ts``,
ccs ``quota-fetcher-codex.ts`` (2026-08).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from app.canonical.parts import Json
from app.errors import AccountError, UpstreamError
from app.http import Headers, header
from app.providers import codex_profile as profile
from app.providers.codex_profile import CodexEndpoints
from app.providers.credential import Credential
from app.providers.moment import read_moment, read_number
from app.providers.oauth import bearer_request, read_object, speaks_of_policy
from app.providers.quota import Quota, QuotaWindow
from app.providers.signin import NOT_ALLOWED, Steps, ask

__all__ = ["CodexQuota", "read_quota"]

_PLACES = ("primary", "secondary")


class CodexQuota:
    """The usage call, for one table of endpoints."""

    def __init__(self, endpoints: CodexEndpoints) -> None:
        self._at = endpoints

    def steps(self, credential: Credential) -> Steps[Quota]:
        """Ask what is left.

        Raises:
            AccountError: the account is refused by policy.
            UpstreamError: it could not be asked; ``retry_after_s`` where the service told.
        """
        account = credential.facts.get("account_id", "")
        own: Headers = (("Chatgpt-Account-Id", account),) if account else ()
        answered = yield from ask(
            bearer_request(
                self._at.usage, credential.secret, (("originator", profile.ORIGINATOR), *own)
            )
        )
        reply = answered.reply
        body = read_object(reply.body)
        if 200 <= reply.status < 300 and body:
            return _parse(body, answered.now)
        error = body.get("error")
        said = error.get("message") if isinstance(error, dict) else body.get("detail")
        words = said.replace(credential.secret, "***")[:300] if isinstance(said, str) else ""
        if speaks_of_policy(words) and 400 <= reply.status < 500:
            raise AccountError(f"OpenAI refuses this account: {words}", code=NOT_ALLOWED)
        wait_s = read_number(reply.header("retry-after"))
        raise UpstreamError(
            f"OpenAI did not tell what is left (HTTP {reply.status}).",
            retry_after_s=None if wait_s is None else max(1.0, wait_s),
        )


def _parse(body: Mapping[str, Json], now: float) -> Quota:
    windows = _read_limit(body.get("rate_limit"), now, "", ())
    more = body.get("additional_rate_limits")
    for limit in more if isinstance(more, list) else ():
        if not isinstance(limit, dict):
            continue
        # A limit of its own is named after the model that it counts (``GPT-5.3-Codex-Spark``).
        name = limit.get("limit_name")
        if isinstance(name, str) and re.match(r"(gpt-|o\d|codex-)", name, re.IGNORECASE):
            model = name.lower()
            windows += _read_limit(limit.get("rate_limit"), now, f"_{model}", (f"{model}*",))
    plan = body.get("plan_type")
    return Quota(
        tuple(windows),
        now,
        "usage call",
        plan if isinstance(plan, str) else "",
        _credits(body.get("credits")),
    )


def _read_limit(limit: Json, now: float, suffix: str, models: tuple[str, ...]) -> list[QuotaWindow]:
    if not isinstance(limit, dict):
        return []
    found = []
    for place in _PLACES:
        window = limit.get(f"{place}_window")
        if not isinstance(window, dict):
            continue
        resets_at = read_moment(window.get("reset_at"))
        after = read_number(window.get("reset_after_seconds"))
        if resets_at is None and after is not None:
            resets_at = now + after
        length = read_number(window.get("limit_window_seconds"))
        found.append(
            _window(read_number(window.get("used_percent")), resets_at, length, suffix, models)
        )
    return _named_apart(found)


def _window(
    used: float | None,
    resets_at: float | None,
    length_s: float | None,
    suffix: str = "",
    models: tuple[str, ...] = (),
) -> QuotaWindow:
    return QuotaWindow(
        _name(length_s) + suffix,
        used,
        resets_at,
        length_s,
        models,
        exhausted=used is not None and used >= 100,
    )


def _name(length_s: float | None) -> str:
    """Return ``5h``, ``7d``, ``30m`` … for a length; services say 299 minutes for five hours."""
    if length_s is None or length_s <= 0:
        return "window"
    for unit_s, letter in ((86_400.0, "d"), (3_600.0, "h")):
        if length_s > unit_s * 0.95:
            return f"{max(1, round(length_s / unit_s))}{letter}"
    return f"{max(1, round(length_s / 60))}m"


def _named_apart(windows: list[QuotaWindow]) -> list[QuotaWindow]:
    """Return the windows with each name once, the fuller one first to keep it."""
    kept: dict[str, QuotaWindow] = {}
    for window in windows:
        other = kept.get(window.name)
        if other is None or (window.used_percent or 0.0) > (other.used_percent or 0.0):
            kept[window.name] = window
    return list(kept.values())


def _credits(given: Json) -> str:
    if not isinstance(given, dict) or given.get("has_credits") is not True:
        return ""
    if given.get("unlimited") is True:
        return "Calls beyond the plan are paid from unlimited credits."
    balance = read_number(given.get("balance"))
    left = "" if balance is None else f" ({balance:g} left)"
    return f"Calls beyond the plan are paid from credits{left}."


def read_quota(headers: Headers, now: float) -> Quota | None:
    """Read the ``x-codex-primary-*`` and ``-secondary-*`` fields; None when there are none."""
    windows = []
    for place in _PLACES:
        lead = f"x-codex-{place}-"
        used = read_number(header(headers, f"{lead}used-percent"))
        if used is None:
            continue
        minutes = read_number(header(headers, f"{lead}window-minutes"))
        resets_at = read_moment(header(headers, f"{lead}reset-at"))
        after = read_number(header(headers, f"{lead}reset-after-seconds"))
        if resets_at is None and after is not None:
            resets_at = now + after
        windows.append(_window(used, resets_at, None if minutes is None else minutes * 60))
    if not windows:
        return None
    plan = header(headers, "x-codex-plan-type") or ""
    return Quota(tuple(_named_apart(windows)), now, "headers", plan)
