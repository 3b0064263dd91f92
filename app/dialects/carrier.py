"""Foreign signatures in the client's own opaque slot.

A client sends back, unchanged, the opaque text that came with a thought (Anthropic's
``signature``, Responses' ``encrypted_content``, Gemini's ``thoughtSignature``). When the thought
came from another vendor, its signature is put into that slot in this envelope, so that it
survives the client's history and reaches its issuer again, and never anyone else.

Envelope: ``DRAGOMANXSEALX01.`` + base64url without padding of the JSON ``[issuer, value, extra]``. It is
not secret and needs no proof: whoever made it can only make its issuer refuse it. Its alphabet is
accepted in all three slots. Gemini wants base64: there the twelve bytes that base64 writes as
``DRAGOMANXSEALX01`` lead, and the envelope follows, so that one search finds both forms. The mark is in
capitals because bodies are mostly small letters, and long, because a search skips ahead by the
length of what it looks for: it is looked for in every body.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from app.canonical.parts import Json, JsonObject, Reasoning, Signature

__all__ = ["MARK", "SEAL_MARK", "facts_of", "open_seal", "seal"]

MARK = "DRAGOMANXSEALX01."
SEAL_MARK = b"DRAGOMANXSEALX01"
"""In every request body that holds a sealed signature, in either form."""
_LEAD = SEAL_MARK.decode()
_GEMINI_LEAD = base64.b64decode(SEAL_MARK)

_decode = msgspec.json.Decoder(tuple[str, str, dict[str, Any]]).decode


def seal(
    signature: Signature, extra: Mapping[str, Json] | None = None, *, gemini: bool = False
) -> str:
    """Return the envelope for a foreign signature.

    Args:
        signature: what to carry.
        extra: small facts of the part that the client's dialect has no field for
            (``{"redacted": true}``, ``{"id": "rs_…"}``).
        gemini: encode once more as standard base64, which that dialect's field requires.
    """
    raw = msgspec.json.encode([signature.issuer, signature.value, dict(extra or {})])
    text = MARK + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    return base64.b64encode(_GEMINI_LEAD + text.encode()).decode() if gemini else text


def facts_of(part: Reasoning) -> JsonObject:
    """Return what travels in the envelope of a thought beside its signature."""
    extra: JsonObject = {}
    if part.redacted:
        extra["redacted"] = True
    if part.summary:
        extra["summary"] = True
    if part.id is not None:
        extra["id"] = part.id
    return extra


def open_seal(value: str) -> tuple[Signature, dict[str, Json]] | None:
    """Return what an envelope carries, or None when ``value`` is no envelope of ours."""
    if value.startswith(_LEAD) and not value.startswith(MARK):
        try:
            value = base64.b64decode(value, validate=True)[len(_GEMINI_LEAD) :].decode("ascii")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return None
    if not value.startswith(MARK):
        return None
    body = value[len(MARK) :]
    try:
        issuer, inner, extra = _decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError):
        return None
    return Signature(issuer, inner), extra
