"""Calls that name no model: they mean the default of their key, or that of the settings."""

from __future__ import annotations

import msgspec

from app.dialects.base import Head, patch_object, read_head
from app.gateway.call import Call

__all__ = ["name_model"]

_UNNAMED = (None, msgspec.Raw(b"null"), msgspec.Raw(b'""'))


def name_model(call: Call, head: Head, default: str | None) -> Head:
    """Put the default model into the body of a call that names none; return the head as it is then.

    Dialects whose path names the model are left alone; and so is a call without any default, of
    which its dialect says what is missing.

    Args:
        call: its body may be replaced.
        head: of the body.
        default: of the settings.
    """
    if head.get("model") not in _UNNAMED or "model" in call.route.pattern.groupindex:
        return head
    model = call.means("") or default
    if not model:
        return head
    call.raw = patch_object(head, {"model": model})
    return read_head(call.raw)
