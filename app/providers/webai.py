"""WebAI: web sites of others through a helper program: unofficial, off until turned on.

Dragoman runs g4f's OpenAI-compatible server beside itself (``app.services``), or calls one that the
user runs (g4f, WebAI-to-API). Calls go to addresses that begin with ``webai://``, which
``app.upstream.webai`` carries out: only it knows where the program listens, and its key.

The one account that can be signed in to holds cookies of web sites: they are handed to the program
when it starts, and go nowhere else. Without cookies it uses what works without signing in.

What it answers is not to be trusted in two ways, for which the encoders and the ledger care: usage
is made up where it is there at all, and a failure in the middle of a stream comes as a chunk with
``error`` and status 200.

Source: xtekky/gpt4free at eef67f8c and 8.8.6 from PyPI, Amm1rr/WebAI-to-API at 423d356, read
2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from dataclasses import replace
from typing import Any

import msgspec

from app.canonical.failure import Failure
from app.dialects.base import patch_object, read_head
from app.errors import RequestError, Retry, UpstreamError
from app.http import HttpReply
from app.providers.base import ModelFacts, Provider
from app.providers.credential import Credential, Identity
from app.providers.shaping import Asked, Shaped
from app.providers.signin import Answered, Consent, Granted, SecretSignIn, Step

__all__ = ["ADDRESS", "SCHEME", "SUFFIX", "WEBAI", "parse_models", "read_cookies"]

SUFFIX = "-webai"
"""Ends the names of its models, so that none is taken for one of a service's own."""
SCHEME = "webai://"
ADDRESS = f"{SCHEME}service"
"""Begins the addresses of its calls."""
_NOT_OFFERED = frozenset({"agent-tools"})
"""A model of g4f's that runs programs on this machine."""
_MOST_COOKIES = 2_000
_LONGEST = 512 * 1024
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_VALUE = re.compile(r"[\x21-\x7e ]{0,8192}")
_DOMAIN = re.compile(r"\.?([a-z0-9-]+\.)+[a-z0-9-]{2,63}")
_KNOWN_DOMAINS = {"__Secure-1PSID": ".google.com", "SID": ".google.com", "_U": ".bing.com"}
"""By which cookie a bare ``name=value`` list tells whose it is."""

_CONSENT = Consent(
    version="2026-11-21",
    text=(
        "WebAI drives web sites that are made for people, through other people's open code. None "
        "of their owners allows it: it may stop working at any time, it may be against their "
        "terms, and they may close an account whose cookies you give it. What you send goes to "
        "third parties that you did not choose, who may read and keep it. Answers may be wrong, "
        "cut, or twice there. It is never used in place of another account by itself."
    ),
    instead="A Gemini API key (https://aistudio.google.com/apikey) gives Google's models with no "
    "such risk; for the others there is no way beside it.",
)


# --- models --------------------------------------------------------------------------------------


def parse_models(reply: HttpReply) -> tuple[ModelFacts, ...]:
    """Read the list of models, with the names that clients use here.

    g4f lists its providers among them, marked ``provider: true``.

    Raises:
        UpstreamError: the answer is no such list.
    """
    try:
        rows = msgspec.json.decode(reply.body)["data"]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError, TypeError) as error:
        raise UpstreamError("WebAI answered no model list.", code="upstream_protocol") from error
    if not isinstance(rows, list):
        raise UpstreamError("WebAI answered no model list.", code="upstream_protocol")
    named = (_facts(row) for row in rows if isinstance(row, dict))
    return tuple(facts for facts in named if facts is not None)


def _facts(row: dict[str, Any]) -> ModelFacts | None:
    name = row.get("id")
    if not isinstance(name, str) or not name or row.get("provider") is True:
        return None
    if name in _NOT_OFFERED:
        return None
    images = row.get("vision")
    return ModelFacts(f"{name}{SUFFIX}", images=images if isinstance(images, bool) else None)


# --- calls ---------------------------------------------------------------------------------------


def _shape(asked: Asked) -> Shaped:
    name = asked.model.removesuffix(SUFFIX)
    if name in _NOT_OFFERED:
        raise RequestError(
            f"{name} runs programs on this machine; Dragoman does not offer it.",
            code="model_not_found",
            status=404,
        )
    return Shaped(patch_object(read_head(asked.body), {"model": name}), asked.path)


def classify(failure: Failure, _reply: HttpReply) -> Failure:
    """Say what a refusal means: the sites behind it fail by model, and nobody else is harmed."""
    if failure.kind in ("rate_limit", "quota"):
        return replace(failure, scope="model", retry=Retry.NEXT_ACCOUNT)
    if failure.kind in ("authentication", "permission"):
        hint = "The web site wants a sign-in: `dragoman login webai` takes its cookies."
        return replace(failure, kind="permission", scope="model", hint=hint)
    if failure.kind in ("server", "overloaded", "unavailable"):
        hint = (
            "None of the web sites behind WebAI gave an answer; they may be down or out of reach. "
            "`dragoman services logs webai` has each one's reason."
        )
        said = failure.message.rstrip(".")
        return replace(failure, message=f"WebAI: {said}.", scope="model", hint=hint)
    return failure


# --- cookies -------------------------------------------------------------------------------------


def read_cookies(text: str) -> dict[str, dict[str, str]]:
    """Read cookies as people have them, by domain.

    Taken are the JSON that browser extensions export (a list of objects with ``domain``, ``name``
    and ``value``), ``{domain: {name: value}}``, and ``name=value; name=value`` of a site that the
    names tell.

    Raises:
        RequestError: it is none of these.
    """
    text = text.strip()
    if len(text) > _LONGEST:
        raise _no_cookies("they are too long")
    try:
        told = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        found = list(_read_pairs(text))
    else:
        found = list(_read_exported(told))
    if not found:
        raise _no_cookies("there are none in it")
    if len(found) > _MOST_COOKIES:
        raise _no_cookies("there are too many")
    jars: dict[str, dict[str, str]] = {}
    for domain, name, value in found:
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value) and _DOMAIN.fullmatch(domain)):
            raise _no_cookies("a name, a value or a domain is none")
        jars.setdefault(domain, {})[name] = value
    return jars


def _read_exported(told: object) -> Iterable[tuple[str, str, str]]:
    if isinstance(told, list):
        for row in told:
            if isinstance(row, dict):
                parts = (row.get("domain"), row.get("name"), row.get("value"))
                if all(isinstance(part, str) for part in parts):
                    yield str(parts[0]).lower(), str(parts[1]), str(parts[2])
    elif isinstance(told, dict):
        for domain, jar in told.items():
            if isinstance(jar, dict):
                for name, value in jar.items():
                    if isinstance(value, str):
                        yield str(domain).lower(), str(name), value


def _read_pairs(text: str) -> Iterable[tuple[str, str, str]]:
    text = text.removeprefix("Cookie:")
    pairs = [part.strip().partition("=") for part in text.split(";") if part.strip()]
    domain = next((_KNOWN_DOMAINS[name] for name, _, _ in pairs if name in _KNOWN_DOMAINS), "")
    if not domain:
        raise _no_cookies("nothing in it tells which site they are of")
    for name, sign, value in pairs:
        if sign:
            yield domain, name, value


def _no_cookies(why: str) -> RequestError:
    return RequestError(
        f"These are no cookies: {why}.",
        hint="Export them with an extension such as Cookie-Editor, as JSON, and paste all of it.",
        code="no_cookies",
    )


def _sign_in(text: str, _base_url: str) -> Generator[Step, Answered, Granted]:
    jars = read_cookies(text)
    # Nobody is asked whether they are good: that takes a call in the user's name.
    yield from ()
    sites = ", ".join(sorted(domain.lstrip(".") for domain in jars))
    secret = msgspec.json.encode(jars).decode()
    # One account for all: the program has one jar. New cookies take the place of the old.
    return Granted(Credential(secret, "none"), Identity("webai", sites[:100]))


WEBAI = Provider(
    id="webai",
    title="WebAI",
    base_url=ADDRESS,
    dialects=("openai_chat",),
    issuer="webai",
    official=False,
    keyless=True,
    family=re.compile(rf".+{SUFFIX}$"),
    read_models=parse_models,
    classify=classify,
    hosts=frozenset({"127.0.0.1"}),
    sign_ins={"cookies": SecretSignIn("cookies of web sites, as JSON", _sign_in)},
    consent=_CONSENT,
    subscription=True,
    shape=_shape,
)
"""Its account is made by ``app.services``, unless there is one with cookies."""
