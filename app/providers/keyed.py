"""Signing in with an API key: what is typed is checked by asking for the list of models.

That call costs nothing at any service. A key that is refused is not kept; a service that is down,
or limits calls just now, does not stand in the way of keeping one.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

from app.errors import RequestError, UpstreamError
from app.http import HttpReply
from app.providers.base import Provider
from app.providers.credential import Credential, Identity
from app.providers.signin import Granted, SecretSignIn, Steps, ask

__all__ = ["with_key"]

_KEY = re.compile(r"[\x21-\x7e]{4,4096}")
_FOREIGN = (
    ("dg-", "This is a key of Dragoman, which is for its clients."),
    ("sk-ant-oat", "This is a sign-in of a Claude subscription; `dragoman login claude` takes it."),
    ("sk-ant-ort", "This is a refresh token, not an API key."),
    ("ghu_", "This is a token of GitHub; `dragoman login copilot` signs in there."),
    ("gho_", "This is a token of GitHub; `dragoman login copilot` signs in there."),
)
_LIKELY = {"sk-ant-": "anthropic", "AIza": "gemini", "sk-proj-": "openai"}
"""Beginnings of keys and whose they are, to catch a key in the wrong place."""


def with_key(provider: Provider) -> Provider:
    """Return the provider with a way to sign in by API key."""

    def run(text: str, base_url: str) -> Steps[Granted]:
        key = _read_key(text, provider)
        url = base_url or provider.base_url
        credential = Credential(key)
        request = provider.prepare(
            provider.list_models(url, credential), credential, provider.dialects[0], ()
        )
        answered = yield from ask(request)
        _judge(answered.reply, provider)
        return Granted(replace(credential, obtained_at=answered.now), _identity(key))

    return replace(provider, sign_ins={"key": SecretSignIn(f"{provider.title} key", run)})


def _read_key(text: str, provider: Provider) -> str:
    key = text.strip().strip("\"'")
    if not _KEY.fullmatch(key):
        raise RequestError(
            "This is no API key: it is empty, very long, or has blanks in it.",
            hint="Copy the key alone, in one line.",
            code="no_key",
        )
    for start, words in _FOREIGN:
        if key.startswith(start):
            raise RequestError(words, code="no_key")
    for start, owner in _LIKELY.items():
        # A compatible server may hand out keys of any form.
        if key.startswith(start) and provider.official and provider.id != owner:
            raise RequestError(
                f"This looks like a key of another service; `dragoman login {owner}` takes it.",
                code="no_key",
            )
    return key


def _judge(reply: HttpReply, provider: Provider) -> None:
    """Refuse what the service refused.

    Raises:
        RequestError: it does not accept the key.
        UpstreamError: it gave no answer that says so or otherwise.
    """
    refused = reply.status in (401, 403) or (
        # Google says so with a 400.
        reply.status == 400 and b"API key not valid" in reply.body
    )
    if refused:
        raise RequestError(
            f"{provider.title} does not accept this key.",
            hint="It may be mistyped, revoked, or of another service.",
            code="key_refused",
        )
    if reply.status == 429 or 200 <= reply.status < 300 or reply.status == 404:
        return  # known to the service, or it has no list of models that could tell
    raise UpstreamError(
        f"{provider.title} could not check the key: it answered with status {reply.status}.",
        hint="Try again later.",
    )


def _identity(key: str) -> Identity:
    """Return a name that tells one key from another, and nothing of it beyond its last letters."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    return Identity(f"key-{digest[:16]}", f"…{key[-4:]}" if len(key) >= 16 else "")
