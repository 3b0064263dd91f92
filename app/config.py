"""The user's settings as frozen models.

The models check the shape of each value. What concerns several values at once is checked where the
text is read (``app.configtext``); names of models, providers and rules are checked by ``service``,
which knows the registries. Without a file ``Config()`` is a working set-up.

Each default stands beside its field under a comment that says why it is so; ``description`` is what
``config init`` writes above the key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

from app import configrules
from app.configkept import Cache, Traces
from app.configledger import Ledger, Price
from app.configrules import MoveReason, MoveReasons, Strategy
from app.configsecret import REFERENCE, SecretRef
from app.configvalues import (
    DatabaseUrl,
    HeaderMap,
    Host,
    HostHeader,
    ModelNames,
    Origin,
    Proxy,
    Regex,
    Seconds,
    Text,
    Url,
)

__all__ = [
    "AT_START",
    "BUILT_IN_PROVIDERS",
    "DIALECTS",
    "REFERENCE",
    "Access",
    "Account",
    "Advanced",
    "Capability",
    "Config",
    "CredentialCommand",
    "Database",
    "Ledger",
    "Logging",
    "Models",
    "Pace",
    "Pattern",
    "Provider",
    "SecretRef",
    "Server",
    "Service",
    "Services",
    "Upstream",
    "WebSocket",
    "json_schema",
    "warnings",
]

BUILT_IN_PROVIDERS = (
    "anthropic",
    "openai",
    "gemini",
    "claude",
    "codex",
    "copilot",
    "ctonew",
    "aistudio",
    "webai",
)
"""Names that mean a service we know; any other entry needs ``kind: compatible``."""

AT_START = ("server", "database")
"""Sections that hold from the next start; the others hold as soon as the file is saved."""

DIALECTS = ("openai_chat", "openai_responses", "anthropic", "gemini")

_SECRET_HEADER = re.compile(r"authorization|cookie|key|token|secret|password", re.IGNORECASE)


def _null_is_empty(value: object) -> object:
    """Read a heading with nothing below it, which YAML takes for null, as an empty section."""
    return {} if value is None else value


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid",  # a misspelt key must not pass as a default
        frozen=True,  # a reload swaps the whole
        hide_input_in_errors=True,  # an error must not repeat a key
        populate_by_name=True,
        validate_default=False,
    )


class Server(_Section):
    """Where the proxy listens."""

    # Other machines cannot reach loopback; opening up is a decision of the user.
    host: Host = Field(
        default="loopback",
        description="the address to listen on: loopback (127.0.0.1 and ::1), or one of this "
        "machine; any other than loopback needs keys",
    )
    # The port of the proxies that this program replaces, so that agents need no new address.
    port: int = Field(
        default=8317, ge=0, le=65535, description="the port to listen on; 0 takes any free port"
    )


class Access(_Section):
    """Who may call without a key, and under which names."""

    # A plain curl must work after installation; the kernel proves that it is the same user.
    keyless: Literal["same_user", "never"] = Field(
        default="same_user",
        description="who needs no key: same_user is every program of this user on this machine, "
        "never is nobody",
    )
    # Any name that is not ours may be a DNS rebinding attack.
    hosts: tuple[HostHeader, ...] = Field(
        default=(), description="host names beside loopback that callers may use"
    )
    # Web pages may not spend the user's quota.
    origins: tuple[Origin, ...] = Field(
        default=(), description="web origins that may call, with a key"
    )


def _check_command(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or not value[0].strip() or any("\0" in word for word in value):
        raise ValueError('expected a list such as ["op", "read", "op://private/anthropic/key"]')
    return value


def _bare_command(value: object) -> object:
    """Read a bare list as the command itself."""
    return {"command": value} if isinstance(value, list) else value


class CredentialCommand(_Section):
    """A program that prints a key or a token."""

    # A list is started as it stands: nothing in it is expanded.
    command: Annotated[tuple[str, ...], AfterValidator(_check_command)] = Field(
        ..., description="program and arguments, each its own item"
    )
    # A shell expands what nobody meant to be expanded.
    shell: bool = Field(
        default=False, description="whether a shell runs it: true gives the one item to the shell"
    )
    # Password managers ask for a fingerprint, which takes a moment.
    timeout_s: Seconds = Field(default=30.0, description="seconds that it may take")
    # A key that is not asked for again would outlive its removal from the password manager.
    lifetime_s: Seconds = Field(
        default=900.0, description="seconds that what it printed is used, when it prints no expiry"
    )


_Command: TypeAlias = Annotated[CredentialCommand, BeforeValidator(_bare_command)]


class Pace(_Section):
    """How fast each account of a provider is used."""

    # A plan for one person: an agent, its helpers and a small call beside them.
    at_once: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        default=None, description="calls that run at once; null: 6 for a subscription, else any"
    )
    # Two busy agents begin a call every two seconds.
    per_minute: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None,
        description="calls begun in a minute; null: 60 for a subscription, else any",
    )


class Account(_Section):
    """One keyed account; what is null comes from the provider's entry."""

    # Numbered within the provider: openai-1, openai-2.
    label: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        default=None, description="how the account is called in menus and logs"
    )
    # Local servers need none.
    api_key: SecretRef | None = Field(default=None, description='the key, best as "${NAME}"')
    # Most keys are simply written down.
    credential_command: _Command | None = Field(
        default=None, description="a program that prints the key; in place of api_key"
    )
    # The provider's entry holds, then the service's own address.
    base_url: Url | None = Field(
        default=None, description="address of the service, with or without /v1"
    )
    # The provider's entry holds, then upstream.proxy.
    proxy: Proxy | None = Field(
        default=None, description="the proxy for these calls: an http, https, socks5 or socks5h URL"
    )
    # Services want no more than the key.
    headers: HeaderMap = Field(
        default={}, description="further header fields to send to the service"
    )
    # An account that is written down is meant to be used.
    enabled: bool = Field(
        default=True, description="whether it is used; false keeps the entry and leaves it out"
    )
    # A key must not travel unencrypted unless the user says so.
    insecure_http: bool | None = Field(
        default=None,
        description="whether plain http to other machines is allowed; null is the provider's entry",
    )
    # The provider's list holds.
    models: ModelNames | None = Field(
        default=None,
        description="the models that it offers: discover asks the service; or a list, or {public "
        "name: name at the service}",
    )


class Provider(_Section):
    """One service: a keyed account in place, or several under ``accounts``.

    ``base_url`` keeps the path that the user wrote; whether ``/v1`` must follow is known to the
    room that builds the request.
    """

    # Built-in names need no kind.
    kind: Literal["compatible"] | None = Field(
        default=None,
        description="what it is: compatible is any server that speaks one of the dialects",
    )
    # Built-in services know theirs.
    dialect: Literal["openai_chat", "openai_responses", "anthropic", "gemini"] | None = Field(
        default=None, description=f"of a compatible server: {', '.join(DIALECTS)}"
    )
    # Accounts that were signed in to are in the vault, not here.
    api_key: SecretRef | None = Field(default=None, description='the key, best as "${NAME}"')
    # Most keys are simply written down.
    credential_command: _Command | None = Field(
        default=None, description="a program that prints the key; in place of api_key"
    )
    # What a program sends as its own sign-in is its own affair.
    forward: bool = Field(
        default=False,
        description="claude only: whether calls that bring their own Claude sign-in go on with "
        "it, as they are",
    )
    # The service's own address holds.
    base_url: Url | None = Field(
        default=None, description="address of the service, with or without /v1"
    )
    # The proxy of upstream.proxy holds.
    proxy: Proxy | None = Field(
        default=None, description="the proxy for these calls: an http, https, socks5 or socks5h URL"
    )
    # Services want no more than the key.
    headers: HeaderMap = Field(
        default={}, description="further header fields to send to the service"
    )
    # A provider that is written down is meant to be used.
    enabled: bool = Field(
        default=True, description="whether it is used; false keeps the entry and leaves it out"
    )
    # A key must not travel unencrypted unless the user says so.
    insecure_http: bool = Field(
        default=False, description="whether plain http to other machines is allowed"
    )
    # A list written by hand grows old.
    models: ModelNames = Field(
        default="discover",
        description="the models that it offers: discover asks the service; or a list, or {public "
        "name: name at the service}",
    )
    # Careful for subscriptions, none for keys.
    pace: Pace | None = Field(
        default=None, description="how fast each of its accounts is used; null is the default"
    )
    # Services tell how long their tokens live; renewing later saves calls, earlier is safer.
    renew_lead_s: Annotated[float, Field(ge=1, le=604_800)] | None = Field(
        default=None,
        description="seconds before its end that a sign-in is renewed; null is the service's own",
    )
    # One account in place is the usual case.
    accounts: tuple[Account, ...] = Field(default=(), description="several accounts instead of one")

    def keyed_accounts(self, name: str) -> tuple[Account, ...]:
        """Return the accounts of this entry with labels set and the entry's values filled in.

        Args:
            name: the provider's name; accounts without a label are called ``name-1`` and so on.

        Returns:
            Disabled accounts, too, marked so. Empty for a built-in provider without a key: its
            accounts, if any, are in the vault.
        """
        given = self.api_key is not None or self.credential_command is not None
        if not self.accounts and not given and self.kind is None:
            return ()
        written = self.accounts or (
            Account(api_key=self.api_key, credential_command=self.credential_command),
        )
        return tuple(
            account.model_copy(
                update={
                    "label": account.label or f"{name}-{number}",
                    "base_url": account.base_url or self.base_url,
                    "proxy": account.proxy or self.proxy,
                    "headers": {**self.headers, **account.headers},
                    "enabled": account.enabled and self.enabled,
                    "insecure_http": self.insecure_http
                    if account.insecure_http is None
                    else account.insecure_http,
                    "models": self.models if account.models is None else account.models,
                }
            )
            for number, account in enumerate(written, 1)
        )


class Pattern(_Section):
    """Which provider serves the models whose name matches."""

    match: Regex = Field(..., description="what is searched for in the name")
    provider: Text = Field(..., description="the provider that serves these names")
    # All patterns count the same until the user orders them.
    priority: int = Field(
        default=0, description="which pattern wins where several match: the highest"
    )


class Capability(_Section):
    """Facts about a model that the catalog does not know, or has wrong; null is unknown."""

    # Only what is written here overrules the catalog.
    context: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="tokens of prompt and answer"
    )
    max_output: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="tokens of the answer"
    )
    tools: bool | None = Field(default=None, description="whether it calls tools")
    images: bool | None = Field(default=None, description="whether it reads images")
    reasoning: Literal["none", "effort", "budget", "adaptive", "level"] | None = Field(
        default=None, description="how it is told to think: none, effort, budget, adaptive, level"
    )


class Models(_Section):
    """Names of models, and which provider serves them."""

    # Clients name a model; guessing one would spend money unasked.
    default: Text | None = Field(default=None, description="the model for requests that name none")
    # Names that services give are enough to begin with.
    aliases: Mapping[str, Text] = Field(
        default={}, description="other names for models: {name: the model that is meant}"
    )
    # The lists of the accounts say who serves what.
    patterns: tuple[Pattern, ...] = Field(
        default=(), description="which provider serves which names"
    )
    # What is publicly known of a model is mostly right.
    capabilities: Mapping[str, Capability] = Field(
        default={}, description="facts about models that are not known, or known wrongly"
    )
    # The service's own price list may be another than the public one.
    prices: Mapping[str, Price] = Field(
        default={}, description="dollars per million tokens, by the service's name of a model"
    )
    # Another model answers otherwise; that is for the user to want.
    chains: Mapping[str, Annotated[tuple[Text, ...], Field(min_length=1)]] = Field(
        default={}, description="models to try one after the other: {name: list of models}"
    )
    # A chain moves on after each failure that another account may help with.
    moves: Mapping[str, Mapping[str, MoveReasons]] = Field(
        default={},
        description="why a chain may move on to a model: {chain: {model: list of reasons}}; "
        f"{', '.join(get_args(MoveReason))}",
    )
    # Without a rule each call goes to the model that it asks for.
    rules: tuple[configrules.Rule, ...] = Field(
        default=(), description="where calls go: the first rule whose conditions all hold"
    )
    # Sign-ins of a person are best used one after the other.
    strategies: Mapping[str, Strategy] = Field(
        default={},
        description='which account of a provider comes first: {provider, or "*": strategy}; '
        f"{', '.join(get_args(Strategy))}",
    )
    # Accounts count the same until the user says otherwise.
    weights: Mapping[str, Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]] = Field(
        default={},
        description="shares of the calls under the strategy weighted: {provider/label: share}",
    )
    # A passing failure is no reason to bother the caller.
    retry: Annotated[configrules.Retry, BeforeValidator(_null_is_empty)] = Field(
        default=configrules.Retry(), description="asking again after a passing failure"
    )
    # New models and prices come out every week, releases of this program do not.
    registry: bool = Field(
        default=True,
        description="whether models.dev is asked what is publicly known of models; false uses "
        "only what is shipped",
    )
    # Other people's code runs only where somebody wrote its name down.
    extensions: tuple[Text, ...] = Field(
        default=(), description="files with rules and hooks of your own"
    )
    # Hooks see and change every call.
    hooks: tuple[Text, ...] = Field(
        default=(), description="names of the hooks to run, in this order"
    )


class Upstream(_Section):
    """Calls to the services."""

    # Ten times less CPU than the stock transport; httpx is the way out if a server dislikes it.
    transport: Literal["fast", "httpx"] = Field(
        default="fast", description="what carries the calls: fast, or httpx"
    )
    # A reachable host answers within a second; ten cover a slow VPN.
    connect_timeout_s: Seconds = Field(
        default=10.0, description="seconds until the connection must stand"
    )
    # Large prompts take a minute before the first token.
    first_byte_timeout_s: Seconds = Field(
        default=120.0,
        description="seconds until the answer of a streamed call must begin; with reasoning "
        "at least 300",
    )
    # Thinking models fall silent for minutes.
    idle_timeout_s: Seconds = Field(
        default=300.0, description="seconds that may pass between two parts of an answer"
    )
    # The official clients give up after ten minutes, too.
    total_timeout_s: Seconds = Field(
        default=600.0, description="seconds that a call may take which is not streamed"
    )
    # Other programs do the same: the environment's proxy holds, then the system's.
    proxy: Proxy | None = Field(
        default=None,
        description="the proxy for calls to services: an http, https, socks5 or socks5h URL",
    )
    # The system's trust store has what an administrator installed.
    ca_file: Text | None = Field(
        default=None, description="path of a PEM file with further certificate authorities"
    )


class WebSocket(_Section):
    """The socket of the page that relays for AI Studio."""

    # A prompt with images, base64 in JSON, stays below it.
    relay_max_frame_mb: int = Field(
        default=64, ge=1, le=1024, description="megabytes of the largest message"
    )


class Database(_Section):
    """Where keys and the ledger are kept."""

    # A file beside the vault needs no server.
    url: DatabaseUrl | None = Field(
        default=None,
        description="the database: postgresql+psycopg://user:password@host/name; null is a file in "
        "the data folder",
    )


class Quota(_Section):
    """What is left of accounts, and what follows from it."""

    # A long answer can use a few percent; below this one may break off in the middle.
    low_percent: float = Field(
        default=5.0,
        ge=0,
        le=100,
        description="percent; an account with less left comes after the others",
    )
    # The heads of answers tell most; the rest is asked for seldom.
    ask: bool = Field(
        default=True,
        description="whether services are asked what is left; false only reads it in their answers",
    )


class Logging(_Section):
    """What is written to the log."""

    # One line per fault and per change of state, none per request.
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="the least grave message that is written: debug, info, warning, error",
    )
    # People read the log more often than programs.
    as_json: bool = Field(
        default=False, alias="json", description="whether each line is a JSON object"
    )


class Service(_Section):
    """A helper program that is started beside the proxy."""

    # Unofficial, and another program to install.
    enabled: bool = Field(default=False, description="whether it is started with the proxy")
    # The port that the WebAI service itself documents.
    port: int = Field(default=8406, ge=1, le=65535, description="the loopback port of the service")
    # Most people run none of their own.
    url: Url | None = Field(
        default=None,
        description="the address of one that you run yourself; nothing is started then",
    )
    # Only for one of your own: what is started here gets a new key each time.
    api_key: SecretRef | None = Field(default=None, description='its key, best as "${NAME}"')


class Services(_Section):
    """Helper programs."""

    webai: Annotated[Service, BeforeValidator(_null_is_empty)] = Field(
        default=Service(), description="WebAI: web sites of others through g4f, unofficial"
    )


class Advanced(_Section):
    """What few people need."""

    # Agents send images inline; the services themselves refuse more than 32 MB.
    max_body_mb: int = Field(
        default=64, ge=1, le=1024, description="megabytes of the largest request"
    )
    # The first request after installation succeeds without an account.
    demo: bool = Field(
        default=True, description="whether the demo models are offered while there is no account"
    )


class Config(_Section):
    """All settings; ``Config()`` is what holds without a file."""

    server: Annotated[Server, BeforeValidator(_null_is_empty)] = Server()
    access: Annotated[Access, BeforeValidator(_null_is_empty)] = Access()
    providers: Annotated[
        Mapping[str, Annotated[Provider, BeforeValidator(_null_is_empty)]],
        BeforeValidator(_null_is_empty),
    ] = Field(default={}, description="Services and keyed accounts.")
    models: Annotated[Models, BeforeValidator(_null_is_empty)] = Models()
    upstream: Annotated[Upstream, BeforeValidator(_null_is_empty)] = Upstream()
    websocket: Annotated[WebSocket, BeforeValidator(_null_is_empty)] = WebSocket()
    database: Annotated[Database, BeforeValidator(_null_is_empty)] = Database()
    ledger: Annotated[Ledger, BeforeValidator(_null_is_empty)] = Ledger()
    cache: Annotated[Cache, BeforeValidator(_null_is_empty)] = Cache()
    traces: Annotated[Traces, BeforeValidator(_null_is_empty)] = Traces()
    quota: Annotated[Quota, BeforeValidator(_null_is_empty)] = Quota()
    logging: Annotated[Logging, BeforeValidator(_null_is_empty)] = Logging()
    services: Annotated[Services, BeforeValidator(_null_is_empty)] = Services()
    advanced: Annotated[Advanced, BeforeValidator(_null_is_empty)] = Advanced()

    def secrets(self) -> Iterator[tuple[str, SecretRef]]:
        """Yield every secret with its key path, for the log's redaction and for warnings."""
        yield from _walk_secrets(self, "")

    def secret_variables(self) -> frozenset[str]:
        """Return the environment variables that hold secrets; child processes must not get them."""
        return frozenset(name for _, ref in self.secrets() for name in ref.variables)


def _walk_secrets(value: object, path: str) -> Iterator[tuple[str, SecretRef]]:
    match value:
        case SecretRef():
            yield path, value
        case BaseModel():
            for name, item in value:
                yield from _walk_secrets(item, f"{path}.{name}" if path else name)
        case Mapping():
            for name, item in value.items():
                yield from _walk_secrets(item, f"{path}.{name}")
        case tuple():
            for i, item in enumerate(value):
                yield from _walk_secrets(item, f"{path}[{i}]")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of ``config.yaml`` (draft 2020-12), for editors."""
    schema = Config.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def warnings(config: Config, env: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return what works but should not stay so, one sentence each, without any secret.

    Args:
        config: the settings.
        env: when given, references to variables that it lacks are named, too.
    """
    found: list[str] = []
    for path, ref in config.secrets():
        provider = path.split(".")[1] if path.startswith("providers.") else ""
        if ref.literal:
            if advice := _literal_advice(path, provider, ref):
                found.append(advice)
        elif env is not None:
            found += [
                f"{path}: {name} is not set in this session"
                + (f"; store the key with `dragoman login {provider}`." if provider else ".")
                for name in ref.missing(env)
            ]
    return tuple(found)


def _literal_advice(path: str, provider: str, ref: SecretRef) -> str:
    """Return the warning for a secret in the file, or "" where the value is no secret."""
    name = path.rpartition(".")[2]
    if name == "api_key" and provider:
        return f"{path} holds a key in the file; `dragoman login {provider}` moves it to the vault."
    if name in ("proxy", "url"):
        if urlsplit(ref.resolve({}) or "").password is None:
            return ""
        if name == "url":
            return f"{path} holds a password in the file; set DRAGOMAN_DATABASE__URL instead."
    elif not _SECRET_HEADER.search(name):
        return ""
    return f'{path} holds a secret in the file; put it in a variable and write "${{NAME}}" here.'
