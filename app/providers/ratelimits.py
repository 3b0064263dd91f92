"""What the heads of ordinary answers tell a keyed account of its rate limits.

Sources: https://docs.anthropic.com/en/api/rate-limits#response-headers (``anthropic-ratelimit-
requests-limit``, ``-remaining``, ``-reset`` as RFC 3339; the same for ``tokens``, ``input-tokens``
and ``output-tokens``) and https://platform.openai.com/docs/guides/rate-limits (``x-ratelimit-limit-
requests``, ``-remaining-requests``, ``-reset-requests`` as a duration such as ``6m0s``; the same
for ``tokens``), read 2026-11. Many compatible servers send OpenAI's fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from app.http import Headers
from app.providers.quota import Quota, QuotaWindow

__all__ = ["parse_duration", "parse_moment", "read_anthropic_limits", "read_openai_limits"]

_ANTHROPIC = ("requests", "tokens", "input-tokens", "output-tokens")
_OPENAI = ("requests", "tokens")
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")
_LONGEST_S = 40 * 86_400.0


def parse_duration(text: str) -> float | None:
    """Return the seconds of ``1h2m3s``, ``6m0s``, ``120ms`` or a bare number; None for others."""
    text = text.strip()
    try:
        seconds = float(text)
    except ValueError:
        match = _DURATION.fullmatch(text)
        if not text or match is None:
            return None
        days, hours, minutes, rest, thousandths = (float(part or 0) for part in match.groups())
        seconds = days * 86_400 + hours * 3_600 + minutes * 60 + rest + thousandths / 1_000
    return seconds if 0.0 <= seconds <= _LONGEST_S else None


def parse_moment(text: str) -> float | None:
    """Return the epoch seconds of a time in RFC 3339; None for other texts."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return moment.timestamp()
    except (OverflowError, ValueError):
        return None


def read_anthropic_limits(headers: Headers, now: float) -> Quota | None:
    """Return the limits that Anthropic's API tells; None when it tells none."""
    fields = {key.lower(): value for key, value in headers if "ratelimit" in key.lower()}
    return _read(
        fields,
        ((name, *(f"anthropic-ratelimit-{name}-{what}" for what in _WHAT)) for name in _ANTHROPIC),
        parse_moment,
        now,
    )


def read_openai_limits(headers: Headers, now: float) -> Quota | None:
    """Return the limits that OpenAI's API, or a server like it, tells; None when it tells none."""
    fields = {key.lower(): value for key, value in headers if "ratelimit" in key.lower()}

    def moment(text: str) -> float | None:
        seconds = parse_duration(text)
        return None if seconds is None else now + seconds

    return _read(
        fields,
        ((name, *(f"x-ratelimit-{what}-{name}" for what in _WHAT)) for name in _OPENAI),
        moment,
        now,
    )


_WHAT = ("limit", "remaining", "reset")


def _read(
    fields: dict[str, str],
    rows: Iterable[tuple[str, ...]],
    moment: Callable[[str], float | None],
    now: float,
) -> Quota | None:
    windows = []
    for name, limit_field, left_field, reset_field in rows:
        limit, left = _number(fields.get(limit_field)), _number(fields.get(left_field))
        if limit is None or left is None or limit <= 0:
            continue
        used = min(100.0, max(0.0, (limit - left) * 100.0 / limit))
        reset = moment(fields[reset_field]) if reset_field in fields else None
        # A minute's limit that is spent is a rest of seconds, which the refusal itself tells.
        windows.append(QuotaWindow(name, used, reset, 60.0, left=left, limit=limit))
    return Quota(tuple(windows), now, "headers") if windows else None


def _number(text: str | None) -> float | None:
    if text is None or not re.fullmatch(r"\d{1,15}", text.strip()):
        return None
    return float(text)
