"""The shapes of what is told of the program, its accounts and its errors, for the API description.

What is rendered straight from a dataclass is described by that dataclass. All else is written down
here, and in ``openapi_answers``, as a ``TypedDict`` with a word where the name does not say enough;
``tests/server/test_openapi_answers.py`` asks the running program and compares: a field that is
missing here, or is no longer sent, fails there. Read with the first question for the description.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypeAlias, TypedDict

from msgspec import Meta

from app.accounts.desk import AccountView
from app.accounts.flow import FlowKind, FlowState
from app.accounts.imports import Problem
from app.accounts.roster import Health as RosterHealth
from app.providers.aistudio_window import Step
from app.providers.signin import Consent
from app.server.aistudio import StudioState

__all__ = [
    "About",
    "AccountHealth",
    "AccountLine",
    "Accounts",
    "Alive",
    "AnthropicError",
    "AnthropicErrorBody",
    "BudgetLine",
    "Claims",
    "Counts",
    "Deleted",
    "Extension",
    "FoundSignIn",
    "GeminiError",
    "GeminiErrorBody",
    "Health",
    "Imported",
    "Imports",
    "Message",
    "Model",
    "ModelExtra",
    "ModelList",
    "OneAccount",
    "OpenAIError",
    "OpenAIErrorBody",
    "Part",
    "Places",
    "Prices",
    "ProviderHealth",
    "Quota",
    "QuotaRow",
    "QuotaWindow",
    "RelayApp",
    "RelayFiles",
    "RulesHealth",
    "SettingsHealth",
    "Shown",
    "SignIn",
    "SignInService",
    "SignInStatus",
    "Studio",
    "StudioAccount",
    "StudioOpened",
    "StudioStatus",
    "TightestWindow",
    "Time",
    "Vault",
    "Way",
    "WindowState",
]

About = Meta
"""What a field is, where its name does not say enough."""

Time: TypeAlias = Annotated[float, Meta(description="Epoch seconds UTC.")]


class Alive(TypedDict):
    """The program lives; nothing more is said."""

    status: Literal["ok"]


class Message(TypedDict):
    """What was done, in a sentence."""

    message: str


class Counts(TypedDict):
    """Requests since the start."""

    running: int
    served: int
    failed: int


class TightestWindow(TypedDict):
    """The limit of an account of which least is left."""

    window: Annotated[str, About(description="Name of the limit, such as `5h`, `7d`, `month`.")]
    left_percent: float | None
    resets_at: Time | None


class AccountHealth(TypedDict):
    """One account; nobody sees here whose it is."""

    id: Annotated[str, About(description="`provider/label`.")]
    label: str
    state: RosterHealth
    reason: Annotated[str, About(description="Why it does not serve; empty when it does.")]
    since: Time | None
    until: Annotated[Time | None, About(description="When it is tried again.")]
    quota: TightestWindow | None
    warning: Annotated[str, About(description="What is wrong although it serves.")]
    configured: Annotated[bool, About(description="Named in the settings; else signed in to.")]
    models: Annotated[int, About(description="How many models it lists.")]


class ProviderHealth(TypedDict):
    """One service with the accounts that the caller may see."""

    id: str
    title: str
    accounts: list[AccountHealth]


class Part(TypedDict):
    """One part of the program: the router, a connected page, a window or a helper program."""

    kind: Literal["router", "page", "service", "window"]
    name: str
    title: str
    state: Annotated[str, About(description="`ready` when all is well.")]
    reason: str
    since: Time | None
    uptime_s: float | None
    memory_bytes: int | None
    until: Annotated[Time | None, About(description="When it is tried next.")]
    pid: int | None
    restarts: int


class BudgetLine(TypedDict):
    """How a budget stands, in short."""

    name: str
    text: str
    level: Literal["ok", "warn", "stop"]
    used_percent: int
    resets_at: Time
    provider: Annotated[str, About(description="The provider that it is about; empty for all.")]


class Extension(TypedDict):
    """A rule or hook of the user's own."""

    name: str
    kind: str
    source: str
    failures: int
    last_failure: str
    slow: int


class RulesHealth(TypedDict, total=False):
    """How many rules are in force, and the state of each extension. Empty for a client's key."""

    count: int
    extensions: list[Extension]


class SettingsHealth(TypedDict, total=False):
    """Where the settings are, and what is wrong with them. Empty for a client's key."""

    path: str
    why: Annotated[str, About(description="How the file was found.")]
    problems: list[str]
    warnings: list[str]


class Health(TypedDict):
    """How the program is. A caller with a client key sees the accounts in its scope."""

    status: Literal["ok", "paused"]
    state: Annotated[str, About(description="`running`, or why calls are not served now.")]
    version: str
    commit: Annotated[str, About(description="Beginning of the commit; empty where not known.")]
    build: Annotated[str, About(description="`source`, `wheel`, `deb`, `image`, `windows`, …")]
    uptime_s: float
    address: str
    pid: int
    requests: Counts
    providers: list[ProviderHealth]
    keys: Annotated[str, About(description="`ready`, or why keys cannot be read.")]
    rules: RulesHealth
    parts: list[Part]
    processes: Annotated[int, About(description="Ours: this one, windows, helper programs.")]
    budgets: list[BudgetLine]
    config: SettingsHealth


class QuotaWindow(TypedDict):
    """One limit of an account. Numbers that the service does not tell are null."""

    name: str
    used_percent: float | None
    left_percent: float | None
    exhausted: bool
    resets_at: Time | None
    resets_in_s: int | None
    length_s: float | None
    left: float | None
    limit: float | None
    models: Annotated[list[str], About(description="Models it is for; empty for all.")]
    runs_out_at: Annotated[Time | None, About(description="If use goes on as of late.")]
    read_at: Time
    age_s: int
    source: Annotated[str, About(description="Where the numbers come from.")]


class QuotaRow(TypedDict):
    """What is left of one account."""

    id: str
    provider: str
    label: str
    plan: str
    note: str
    trouble: Annotated[str, About(description="Why the last question to the service failed.")]
    windows: list[QuotaWindow]


class Quota(TypedDict):
    """What is left of the accounts in the caller's scope."""

    accounts: list[QuotaRow]


class Prices(TypedDict, total=False):
    """US dollars for a million tokens; what is not known is left out."""

    input: float
    cache_read: float
    cache_write: float
    output: float


class ModelExtra(TypedDict, total=False):
    """What is known beside; what is not known is left out."""

    accounts: Annotated[list[str], About(description="Labels; not for callers with a key.")]
    reads: Annotated[list[str], About(description="Of text, image, audio, video, pdf.")]
    writes: list[str]
    reasoning: bool
    tools: bool
    prices: Prices
    cooling_until: Annotated[float, About(description="Until when all its accounts rest.")]


class Model(TypedDict):
    """A model as OpenAI's clients read it."""

    id: str
    object: Literal["model"]
    created: Annotated[int, About(description="Release, epoch seconds; 0 when not known.")]
    owned_by: Annotated[str, About(description="Provider of the first account that has it.")]
    display_name: NotRequired[str]
    max_input_tokens: NotRequired[int]
    max_tokens: NotRequired[int]
    x_dragoman: NotRequired[ModelExtra]


class ModelList(TypedDict):
    """All models that the caller can use now."""

    object: Literal["list"]
    data: list[Model]


class Deleted(TypedDict):
    """The stored answer is forgotten."""

    id: str
    object: Literal["response"]
    deleted: Literal[True]


class SignIn(TypedDict):
    """A sign-in as it is now. Fields that are empty or false are left out."""

    flow: Annotated[str, About(description="Its id, for `…/flows/{flow}` and `…/complete`.")]
    url: Annotated[str, About(description="What the user opens in a browser; may be empty.")]
    account: Annotated[str, About(description="The account that it makes or repairs.")]
    expires_in: Annotated[int, About(description="Seconds; 0 once it has ended.")]
    provider: NotRequired[str]
    way: NotRequired[str]
    kind: NotRequired[FlowKind]
    state: NotRequired[FlowState]
    user_code: NotRequired[Annotated[str, About(description="Code to type on the page.")]]
    prompt: NotRequired[Annotated[str, About(description="What has to be typed.")]]
    listening: NotRequired[bool]
    notice: NotRequired[str]
    name: NotRequired[Annotated[str, About(description="Who signed in; for control only.")]]
    plan: NotRequired[str]
    repaired: NotRequired[bool]
    error: NotRequired[str]
    code: NotRequired[Annotated[str, About(description="Code of the error.")]]
    message: NotRequired[Annotated[str, About(description="What came of it, in a sentence.")]]


class AccountLine(TypedDict):
    """One account in short."""

    label: str
    state: str
    reason: str


class Claims(TypedDict, total=False):
    """Who is signed in; `email` and `organization` for control only."""

    plan: str
    email: str
    organization: str


class SignInStatus(TypedDict):
    """Whether a service is signed in to."""

    provider: str
    authenticated: bool
    expires_at: Time | None
    claims: Claims | None
    account: str
    state: str
    reason: str
    accounts: list[AccountLine]


class WindowState(TypedDict):
    """How a window is."""

    state: StudioState
    reason: str
    since: Time | None
    until: Annotated[Time | None, About(description="When it is opened again by itself.")]


class StudioAccount(TypedDict):
    """The page of one account of AI Studio."""

    account: str
    label: str
    where: Literal["window", "browser"]
    address: Annotated[str, About(description="Address of the page.")]
    window: WindowState
    step: Step
    text: Annotated[str, About(description="What the user does next; empty for nothing.")]
    signed_in: bool
    app_loaded: bool
    connected: bool


class StudioOpened(StudioAccount):
    """The page is being opened."""

    url: Annotated[str, About(description="To be opened by hand where `opened` is false.")]
    opened: bool


class StudioStatus(StudioAccount):
    """How far the page is, with the fields of other sign-ins' status."""

    authenticated: bool
    expires_at: None
    claims: dict[str, str]


class Studio(TypedDict):
    """All pages of AI Studio."""

    windows: Annotated[bool, About(description="Whether there can be windows here.")]
    consent: Consent
    accounts: list[StudioAccount]


class RelayFiles(TypedDict):
    """The files of the page that runs in AI Studio."""

    address: Annotated[str, About(description="Of the socket that the page connects to.")]
    files: Annotated[dict[str, str], About(description="Text by file name.")]
    consent: Consent


class RelayApp(TypedDict):
    """The files with a relay key filled in."""

    account: str
    address: str
    key: Annotated[str, About(description="The relay key; shown once.")]
    files: dict[str, str]


class Way(TypedDict):
    """One way to sign in to a service."""

    way: str
    kind: FlowKind
    prompt: str


class SignInService(TypedDict):
    """A service that can be signed in to."""

    id: str
    title: str
    ways: list[Way]
    consent: Consent | None


class Vault(TypedDict):
    """The store of secrets."""

    state: str
    message: str
    hint: str
    since: Time | None


class Accounts(TypedDict):
    """All accounts, the services that can be signed in to, and the vault."""

    accounts: list[AccountView]
    providers: list[SignInService]
    vault: Vault


class OneAccount(TypedDict):
    """One account."""

    account: AccountView


class Places(TypedDict):
    """Where a sign-in's page can be shown."""

    desktop: bool
    windows: bool
    line: Annotated[str, About(description="What installs windows; empty for nothing.")]
    remembered: Annotated[dict[str, str], About(description="Place by provider.")]
    pages: Annotated[dict[str, str], About(description="Address by `provider/way`.")]


class Shown(TypedDict):
    """Whether somebody shows it."""

    shown: bool


class FoundSignIn(TypedDict):
    """A sign-in of another program, without its secrets."""

    key: Annotated[str, About(description="Names it, to be taken by.")]
    program: str
    path: str
    provider: str
    title: str
    what: str
    name: str
    plan: str
    organization: str
    can_be_taken: bool
    refusal: str
    warning: str
    notice: str
    consent: Annotated[str | None, About(description="Version of the text to agree to.")]


class Imports(TypedDict):
    """Sign-ins of other programs on this machine."""

    found: list[FoundSignIn]
    problems: list[Problem]


class Imported(TypedDict):
    """The account that was made of a sign-in."""

    account: AccountView
    repaired: bool
    warning: str


class OpenAIErrorBody(TypedDict):
    """The error itself."""

    message: Annotated[str, About(description="What happened and what to do, for people.")]
    type: str
    param: Annotated[str | None, About(description="Path of the field that is wrong.")]
    code: Annotated[str | None, About(description="Stable code; see the help, Troubleshooting.")]


class OpenAIError(TypedDict):
    """An error as OpenAI's clients read it; the form for every caller that names no other."""

    error: OpenAIErrorBody


class AnthropicErrorBody(TypedDict):
    """The error itself."""

    type: str
    message: str


class AnthropicError(TypedDict):
    """An error for callers that send `anthropic-version`, and on Anthropic's routes."""

    type: Literal["error"]
    error: AnthropicErrorBody
    request_id: str


class GeminiErrorBody(TypedDict):
    """The error itself."""

    code: int
    message: str
    status: str
    details: NotRequired[list[dict[str, Any]]]


class GeminiError(TypedDict):
    """An error for callers that send `x-goog-api-key`, and under `/v1beta`."""

    error: GeminiErrorBody
