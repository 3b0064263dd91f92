"""The shapes of what the other control routes answer; see ``openapi_shapes``."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from app.clients.trial import Finding
from app.providers.signin import Consent
from app.routing.explain import Trace
from app.server.openapi_shapes import About, Time
from app.services.definition import ServiceState

__all__ = [
    "Agent",
    "AgentConnected",
    "AgentFile",
    "AgentPlan",
    "AgentTested",
    "Agents",
    "Budget",
    "Budgets",
    "Ended",
    "Fault",
    "Help",
    "HelpEntry",
    "HelpGroup",
    "HelpPage",
    "KeptAnswer",
    "KeptCall",
    "KeptRequest",
    "Key",
    "KeyLimit",
    "Keys",
    "LedgerDetail",
    "LedgerPage",
    "LedgerRow",
    "LedgerTry",
    "Lines",
    "ListAddress",
    "LiveLine",
    "ModelRow",
    "ModelTable",
    "NewKey",
    "OneKey",
    "OneRequest",
    "Percentiles",
    "PlannedFile",
    "Refreshed",
    "Reloaded",
    "ReplaySide",
    "Replayed",
    "RoutingChecked",
    "RoutingSaved",
    "RoutingText",
    "Service",
    "Services",
    "Session",
    "Settings",
    "SettingsChanged",
    "SettingsFaults",
    "Sources",
    "Stopping",
    "Ticket",
    "Usage",
    "UsageLine",
    "WindowShown",
]


class Service(TypedDict):
    """A helper program."""

    name: str
    title: str
    state: ServiceState
    reason: str
    address: str
    outside: Annotated[bool, About(description="The user runs it, not Dragoman.")]
    on: bool
    installed: Annotated[str, About(description="Version; empty when it is not installed.")]
    pid: int | None
    since: Time | None
    until: Time | None
    restarts: int
    memory_bytes: int | None
    answered: dict[str, int]
    agreed: bool
    consented_at: Time | None
    consent: Consent


class Services(TypedDict):
    """All helper programs."""

    services: list[Service]


class Lines(TypedDict):
    """The last lines of a log."""

    lines: list[str]


class KeyLimit(TypedDict):
    """A limit of a key, and what is used of it."""

    limit: str
    unit: Literal["requests", "tokens", "usd"]
    per: Literal["minute", "day", "month"]
    amount: float
    used: float
    reached: bool
    free_at: Annotated[Time | None, About(description="When there is room again.")]
    text: str


class Key(TypedDict):
    """A key without its secret. A scope that is null allows everything."""

    id: str
    label: str
    kind: Literal["client", "admin", "relay"]
    state: Literal["active", "expired", "revoked"]
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    providers: list[str] | None
    models: list[str] | None
    accounts: list[str] | None
    limits: list[KeyLimit]
    default_model: str | None
    aliases: dict[str, str]
    old_until: Annotated[Time | None, About(description="Until when the former secret is taken.")]


class Keys(TypedDict):
    """All keys."""

    keys: list[Key]


class OneKey(TypedDict):
    """One key."""

    record: Key


class NewKey(TypedDict):
    """A key with its secret, which is shown here and never again."""

    key: str
    record: Key


class Percentiles(TypedDict, total=False):
    """Milliseconds."""

    p50: int
    p95: int
    p99: int


class UsageLine(TypedDict):
    """Sums of one day, one model, one account, or whatever the report is by."""

    name: str
    label: NotRequired[Annotated[str, About(description="Of a key, where rows are by key.")]]
    requests: int
    failed: int
    cached: int
    input: int
    cache_read: int
    cache_write: int
    output: int
    reasoning: int
    tokens: int
    cache_hit_rate: float | None
    cost_usd: float
    worth_usd: Annotated[float, About(description="What a plan's calls would have cost.")]
    unpriced: Annotated[int, About(description="Requests whose price is not known.")]
    first_ms: Percentiles | None
    duration_ms: Percentiles | None


class Usage(TypedDict):
    """A report of the ledger."""

    by: str
    since: Time
    until: Time
    only: Annotated[dict[str, Any], About(description="The filters in force.")]
    rows: list[UsageLine]
    total: UsageLine
    trouble: NotRequired[Annotated[str, About(description="Why numbers may be missing.")]]


class LedgerRow(TypedDict):
    """One request of the ledger; token counts that the service did not tell are null."""

    id: str
    at: Time
    client: str
    session: Annotated[str, About(description="A hash, the same for one conversation.")]
    key_id: str
    dialect: str
    asked: str
    model: str
    provider: str
    account: str
    upstream: Annotated[str, About(description="Dialect that the service was asked in.")]
    grade: Annotated[str, About(description="`verbatim`, `patched` or `translated`.")]
    rule: str
    reason: str
    status: int
    stop: str
    error: str
    input: int | None
    cache_read: int | None
    cache_write: int | None
    cache_write_1h: int | None
    output: int | None
    reasoning: int | None
    worth: bool
    first_ms: int | None
    duration_ms: int
    stream: bool
    cached: bool
    attempts: int
    losses: Annotated[list[list[str]] | str | None, About(description="Path and reason of each.")]
    cost_usd: float | None


class LedgerTry(TypedDict):
    """One attempt at a service."""

    number: int
    at: Time
    provider: str
    account: str
    model: str
    dialect: str
    grade: str
    reason: str
    status: int
    error: str
    first_ms: int | None
    duration_ms: int
    losses: list[list[str]] | str | None


class LedgerDetail(LedgerRow):
    """A request with its attempts, and how its way was chosen."""

    trace: Trace | str | None
    tries: list[LedgerTry]


class LedgerPage(TypedDict):
    """A page of requests, the newest first."""

    requests: list[LedgerRow]
    next: Annotated[str | None, About(description="`cursor` of the page after; null at the end.")]
    trouble: NotRequired[str]


class OneRequest(TypedDict):
    """One request."""

    request: LedgerDetail


class Budget(TypedDict):
    """How a budget stands."""

    name: str
    unit: Literal["usd", "tokens"]
    period: Literal["day", "month"]
    key: str | None
    provider: str | None
    limit: float
    used: float
    used_percent: float
    level: Literal["ok", "warn", "stop"]
    resets_at: Time
    text: str


class Budgets(TypedDict):
    """All budgets."""

    budgets: list[Budget]


class KeptRequest(TypedDict):
    """What was asked."""

    dialect: str
    path: str
    query: str
    headers: Annotated[list[list[str]], About(description="Name and value of each.")]
    body: Annotated[Any, About(description="JSON; the beginning as text where it was cut.")]
    cut: bool


class KeptAnswer(TypedDict):
    """What was answered."""

    status: int
    parts: list[dict[str, Any]]
    stop: str
    error: str
    raw: str
    cut: bool
    text: Annotated[str, About(description="What was said, without thoughts and calls.")]


class KeptCall(TypedDict):
    """A request and its answer, as they were kept."""

    id: str
    at: Time
    request: KeptRequest
    answer: KeptAnswer


class ReplaySide(TypedDict):
    """One of two answers; numbers that the ledger no longer has are null."""

    id: str
    at: Time
    asked: str | None
    model: str | None
    provider: str | None
    account: str | None
    upstream: str | None
    grade: str | None
    status: int | None
    error: str | None
    stop: str | None
    stream: bool | None
    cached: bool | None
    first_ms: int | None
    duration_ms: int | None
    worth: bool | None
    input: int | None
    cache_read: int | None
    cache_write: int | None
    output: int | None
    reasoning: int | None
    cost_usd: float | None
    answer: KeptAnswer


class Replayed(TypedDict):
    """The answer that was kept, and the new one."""

    original: ReplaySide
    replay: ReplaySide


class Fault(TypedDict):
    """Something wrong in a text or a setting."""

    key: str
    line: Annotated[int, About(description="Line of the text; 0 for none.")]
    message: str


class RoutingText(TypedDict):
    """The part of the settings that decides where calls go."""

    path: str
    text: str
    problems: list[str]
    doubts: Annotated[list[str], About(description="What is probably not as meant.")]


class RoutingChecked(TypedDict):
    """What is wrong with a text, and where a call would go under it."""

    faults: list[Fault]
    doubts: list[str]
    trace: Trace | None
    error: NotRequired[Annotated[str, About(description="Why the question has no answer.")]]


class RoutingSaved(TypedDict):
    """What came of writing a text; with faults, nothing was written."""

    faults: list[Fault]
    doubts: list[str]
    notes: list[str]


class Sources(TypedDict):
    """Where facts about models come from."""

    registry: Literal["shipped", "models.dev"]
    fetched_at: Time | None
    models: int
    trouble: str


class Refreshed(TypedDict):
    """The lists were read."""

    sources: Sources


class ListAddress(TypedDict):
    """Where a key's list of models is; append `/api.json`."""

    path: str


class ModelRow(TypedDict):
    """A name that clients may ask for, and who answers it now."""

    name: str
    title: str
    provider: str
    service: str
    account: str
    upstream: str
    alias_of: str
    reason: Annotated[str, About(description="Why nobody can answer; empty when one can.")]
    context: int | None
    max_output: int | None
    tools: bool | None
    images: bool | None
    reasoning: str | None
    accounts: list[str]


class ModelTable(TypedDict):
    """All names that clients may ask for."""

    models: list[ModelRow]


class Ticket(TypedDict):
    """The dashboard's address; it works once."""

    url: str
    expires_in: int


class WindowShown(TypedDict):
    """Whether a window was brought to the front; else the address to open."""

    shown: bool
    url: str


class Session(TypedDict):
    """A session of the dashboard."""

    token: str


class Ended(TypedDict):
    """Whether there was a session to end."""

    ended: bool


class HelpEntry(TypedDict):
    """A page of the help."""

    name: str
    title: str
    about: str


class HelpGroup(TypedDict):
    """Pages under a heading."""

    title: str
    pages: list[HelpEntry]


class Help(TypedDict):
    """The pages of the help."""

    groups: list[HelpGroup]


class HelpPage(TypedDict):
    """A page of the help as HTML."""

    name: str
    anchor: Annotated[str, About(description="Where an error's entry is; else empty.")]
    html: str


class Settings(TypedDict):
    """The settings in force, and all that a form needs."""

    path: str
    schema: Annotated[dict[str, Any], About(description="JSON Schema of the whole file.")]
    values: Annotated[dict[str, Any], About(description="Those in force; secrets are masked.")]
    editable: Annotated[
        list[list[str]], About(description="Keys that may be changed; `*` is any name.")
    ]
    overrides: Annotated[
        dict[str, str], About(description="Keys that a variable sets, to its name.")
    ]
    problems: list[str]
    warnings: list[str]


class SettingsChanged(Settings):
    """The changes are written, and in force but for what `notes` say."""

    faults: list[Fault]
    notes: list[str]


class SettingsFaults(TypedDict):
    """Nothing was written."""

    faults: list[Fault]


class Stopping(TypedDict):
    """The program ends."""

    stopping: Literal[True]


class Reloaded(TypedDict):
    """What came of reading the settings again."""

    changed: bool
    problems: list[str]


class AgentFile(TypedDict):
    """A file that was written for an agent."""

    path: str
    state: str
    places: list[str]
    reason: str


class Agent(TypedDict):
    """A program that can use Dragoman, and how it stands."""

    name: str
    title: str
    url: str | None
    outdated: bool
    models: dict[str, str]
    files: list[AgentFile]
    state: str
    installed: bool
    program: str | None
    version: str | None
    connected: bool
    drifted: bool
    roles: dict[str, str]
    needs: list[str]
    editable: bool
    runnable: bool
    testable: bool
    steps: list[str]
    limits: list[str]


class Agents(TypedDict):
    """All agents."""

    address: str
    offered: Annotated[list[str], About(description="Names of models.")]
    agents: list[Agent]


class PlannedFile(TypedDict):
    """What would be written to a file."""

    path: str
    action: str
    diff: str


class AgentPlan(TypedDict):
    """The exact change; nothing is written."""

    files: list[PlannedFile]
    left: list[str]
    copies: dict[str, str]
    limits: list[str]
    shown: Annotated[str, About(description="Stands for this change; making it names it.")]
    models: dict[str, str]


class AgentConnected(TypedDict):
    """The change was made."""

    agent: str
    connected: bool


class AgentTested(TypedDict):
    """What came of asking an agent something."""

    agent: str
    ok: bool
    findings: list[Finding]


class LiveLine(TypedDict):
    """One line of the live feed; `kind` says which of the other fields are there."""

    kind: Literal["status", "requests", "log", "beat"]
    status: NotRequired[Annotated[dict[str, Any], About(description="The whole state.")]]
    changed: NotRequired[
        Annotated[list[dict[str, Any]], About(description="Requests, new or changed.")]
    ]
    lines: NotRequired[Annotated[list[dict[str, Any]], About(description="Lines of the log.")]]
    lost: NotRequired[Annotated[int, About(description="Lines that a slow reader missed.")]]
