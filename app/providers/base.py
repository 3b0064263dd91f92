"""What an upstream service is: facts with their reasons, and no I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from app.canonical.failure import Failure
from app.canonical.parts import DialectName
from app.errors import UpstreamError
from app.http import Headers, HttpReply, HttpRequest
from app.providers.credential import Credential
from app.providers.quota import Quota
from app.providers.shaping import Asked, Shaped
from app.providers.signin import Consent, SignIn, Steps

__all__ = ["Credential", "Extra", "ModelFacts", "Provider", "join_url"]

Extra: TypeAlias = Literal["embeddings", "images", "compact"]
"""Calls beside generation that are passed on as they are."""

_VERSION = re.compile(r"/v\d+(?:alpha|beta)?\d*(?=/|$)")


def join_url(base_url: str, path: str) -> str:
    """Append a dialect's path to the address of a service.

    Both ``https://host`` and ``https://host/v1`` are accepted: a base that already names a
    version (``/v1``, ``/v4``, ``/v1beta/openai``) replaces the path's own.
    """
    base = base_url.rstrip("/")
    if _VERSION.search(urlsplit(base).path):
        return base + _VERSION.sub("", path, count=1)
    return base + path


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One line of a service's own model list."""

    id: str
    name: str | None = None
    context: int | None = None
    max_output: int | None = None
    dialects: tuple[DialectName, ...] = ()
    """In which dialects the service serves it, best first; empty when it does not tell."""
    tools: bool | None = None
    """Whether it takes tools; None when the service does not tell."""
    images: bool | None = None
    """Whether it reads images; None when the service does not tell."""


def _keep(failure: Failure, _reply: HttpReply) -> Failure:
    return failure


@dataclass(frozen=True, slots=True)
class Provider:
    """One service.

    A service that is reached with a key over a known dialect is fully described by these facts.
    """

    id: str
    title: str
    base_url: str
    """Address used unless an account has its own."""
    dialects: tuple[DialectName, ...]
    """What it speaks, best first."""
    issuer: str
    """Who signs the thoughts in its answers."""
    official: bool = True
    """The dialect's owner; compatible servers know fewer fields."""
    keyless: bool = False
    """Works without a credential (local servers)."""
    family: re.Pattern[str] | None = None
    """Model names that belong to it when nothing more exact matches."""
    dialect_rules: tuple[tuple[re.Pattern[str], tuple[DialectName, ...]], ...] = ()
    """Models that speak only some of the dialects."""
    auth: Mapping[DialectName, str] = field(default_factory=dict)
    """Header that carries the key, per dialect; ``authorization`` means a Bearer token."""
    fixed_headers: Mapping[DialectName, Headers] = field(default_factory=dict)
    """Header fields that every call needs, unless the client sent its own."""
    fact_headers: Mapping[str, str] = field(default_factory=dict)
    """Header fields that every call with a sign-in carries: key of ``Credential.facts`` → field."""
    forward: frozenset[str] = frozenset()
    """Client header fields that travel on in same-dialect attempts (lower case)."""
    vendors: frozenset[DialectName] = frozenset()
    """Dialects whose vendor identity fields may be sent: it is that vendor."""
    counts: frozenset[DialectName] = frozenset()
    """Dialects in which it has a token count call."""
    extras: frozenset[Extra] = frozenset()
    models_path: str = "/v1/models"
    """Of the call that lists the models; empty when there is none but ``known_models``."""
    known_models: Callable[[Credential | None], tuple[ModelFacts, ...]] | None = None
    """Models known without asking, for an account's plan: what holds until its list was read, or
    for good where there is no such call. Other names of the family may work, too."""
    ask_models: Callable[[str, Credential | None], HttpRequest] | None = None
    """Makes the call that lists the models where address or header fields depend on the account;
    takes the account's base URL."""
    read_models: Callable[[HttpReply], tuple[ModelFacts, ...]] | None = None
    """Reads a model list of the service's own form; raises ``UpstreamError``."""
    classify: Callable[[Failure, HttpReply], Failure] = _keep
    """Refines a decoded failure by what only this service says."""
    demo: bool = False
    hosts: frozenset[str] = frozenset()
    """The only hosts that its sign-in tokens may be sent to; empty for a service with keys, whose
    address the user writes."""
    sign_ins: Mapping[str, SignIn] = field(default_factory=dict)
    """Ways to sign in by name (``browser``, ``device``, ``token``, ``cookie``, ``key``), best
    first; empty where accounts only come from the settings."""
    consent: Consent | None = None
    """What the user agrees to first."""
    notice: str = ""
    """What the user reads before signing in, where nothing has to be agreed to."""
    subscription: bool = False
    """A plan for one person: used sticky and at a conservative pace, never round robin."""
    renew: Callable[[Credential], Steps[Credential]] | None = None
    """Makes a new credential from ``Credential.renewal``."""
    renew_lead_s: float = 300.0
    """How long before its expiry a credential is renewed."""
    revoke: Callable[[Credential], Steps[None]] | None = None
    """Ends the sign-in at the service; None where it has no call for that."""
    page_url: str = ""
    """Where there is nothing to sign in to: page that carries out its calls, in a browser in which
    the user is signed in."""
    manage_url: str = ""
    """Page of the service on which a person ends a sign-in or deletes a key by hand."""
    shape: Callable[[Asked], Shaped] | None = None
    """Brings a call into the form that the service wants."""
    own_token: re.Pattern[str] | None = None
    """What a Bearer token of its own programs looks like, where a call may go on with it."""
    shape_own: Callable[[Asked], Shaped] | None = None
    """In place of ``shape`` for such a call, whose body stays as it is."""
    quota_steps: Callable[[Credential], Steps[Quota]] | None = None
    """Asks what is left; called rarely."""
    read_quota: Callable[[Headers, float], Quota | None] | None = None
    """Reads what an ordinary answer's head tells of it; takes epoch seconds, too."""

    def dialect_for(
        self, model: str, client: DialectName, facts: ModelFacts | None = None
    ) -> DialectName:
        """Return the dialect to call a model in: the client's own where it is spoken.

        Args:
            model: the upstream's name.
            client: the caller's dialect.
            facts: the service's own line for the model; where it names dialects, they count and
                no rule does.
        """
        if facts is not None and facts.dialects:
            spoken = facts.dialects
        else:
            rules = (only for pattern, only in self.dialect_rules if pattern.search(model))
            spoken = next(rules, self.dialects)
        return client if client in spoken else spoken[0]

    def serves(self, model: str) -> bool:
        """Say whether a model belongs to the service by its name."""
        return self.family is not None and self.family.match(model) is not None

    def prepare(
        self,
        request: HttpRequest,
        credential: Credential | None,
        dialect: DialectName,
        client_headers: Headers,
        account_headers: Headers = (),
    ) -> HttpRequest:
        """Return the request with the service's own header fields.

        Args:
            request: URL, method and body; its headers are kept.
            credential: None for a service that needs none.
            dialect: of this attempt.
            client_headers: what of the client's may travel on is taken by name; empty for
                translated attempts.
            account_headers: from the user's settings; they win over all others.
        """
        fields: dict[str, tuple[str, str]] = {k.lower(): (k, v) for k, v in request.headers}
        fields.setdefault("user-agent", ("User-Agent", USER_AGENT))
        for key, value in self.fixed_headers.get(dialect, ()):
            fields[key.lower()] = (key, value)
        passed: dict[str, str] = {}
        for key, value in client_headers:
            lower = key.lower()
            if lower in self.forward:
                # Several lines of one field mean the same as their values joined by commas.
                passed[lower] = f"{passed[lower]}, {value}" if lower in passed else value
        fields.update((lower, (lower, value)) for lower, value in passed.items())
        if credential is not None and credential.kind != "none":
            name = self.auth.get(dialect, "authorization")
            bearer = name == "authorization"
            fields[name] = (name, f"Bearer {credential.secret}" if bearer else credential.secret)
            for fact, key in self.fact_headers.items():
                if told := credential.facts.get(fact):
                    fields[key.lower()] = (key, told)
        for key, value in account_headers:
            fields[key.lower()] = (key, value)
        return HttpRequest(
            request.method, request.url, tuple(fields.values()), request.body, request.proxy
        )

    def list_models(self, base_url: str, credential: Credential | None = None) -> HttpRequest:
        """Return the call that lists the models, to be completed by ``prepare``.

        Args:
            base_url: the account's address.
            credential: of the account, for a service whose call depends on it.
        """
        if self.ask_models is not None:
            return self.ask_models(base_url, credential)
        return HttpRequest("GET", join_url(base_url, self.models_path))

    def parse_models(self, reply: HttpReply) -> tuple[ModelFacts, ...]:
        """Read a model list in OpenAI's, Anthropic's or Gemini's form, or the service's own.

        Raises:
            UpstreamError: the answer is no such list.
        """
        if self.read_models is not None:
            return self.read_models(reply)
        try:
            body = msgspec.json.decode(reply.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamError(f"{self.title} answered no model list.") from error
        rows = body
        if isinstance(body, dict):
            rows = next((body[key] for key in ("data", "models") if key in body), body)
            rows = [] if rows is None else rows  # Ollama says null when it has no models
        if not isinstance(rows, list):
            raise UpstreamError(f"{self.title} answered no model list.")
        return tuple(facts for row in rows if (facts := _parse_row(row)) is not None)


def _parse_row(row: object) -> ModelFacts | None:
    if isinstance(row, str):
        return ModelFacts(row) if row else None
    if not isinstance(row, dict):
        return None
    # Codex's list calls the id ``slug``, and marks what its own client does not offer.
    model = row.get("id") or row.get("slug") or row.get("name") or row.get("model")
    if not isinstance(model, str):
        return None
    model = model.removeprefix("models/")
    if not model:
        return None
    if row.get("visibility") in ("hide", "none"):
        return None
    methods = row.get("supportedGenerationMethods")
    if isinstance(methods, list) and "generateContent" not in methods:
        return None
    name = row.get("display_name") or row.get("displayName")
    sizes = ("context_length", "inputTokenLimit", "max_input_tokens", "context_window")
    context = next((row[key] for key in sizes if row.get(key)), None)
    output = row.get("outputTokenLimit") or row.get("max_tokens")
    return ModelFacts(
        model,
        name if isinstance(name, str) else None,
        _count(context),
        _count(output),
    )


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        return None
    return value


USER_AGENT = "dragoman/0.1"
"""What we call ourselves to services; nobody is imitated."""
