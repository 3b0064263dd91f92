"""What each control route is for, in words, for the API description and the help page ``API``.

Which routes there are, their methods, who may call and the model of the body come from the route
tables; here stands what no table can know. ``tests/server/test_openapi.py`` compares both ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from app.routing.explain import Trace
from app.server import openapi_answers as answers
from app.server import openapi_shapes as shapes

__all__ = ["OPERATIONS", "SAME", "TAGS", "Operation", "Query", "Who"]

Who: TypeAlias = Literal["open", "inference", "control", "relay", "own", "proven", "token"]
"""Who may call: the kinds of ``guard.Kind``, and three that a route checks itself. ``own`` is as
``inference`` but without client keys, ``proven`` a connection of the same user, ``token`` a token
in the path."""

TAGS: Mapping[str, str] = {
    "Inference": "Asking models, in the words of four vendors.",
    "Health": "Whether the program lives, how it is, and its measures.",
    "Models": "The models that a caller can use.",
    "Stored answers": "Answers of the Responses API that are remembered for a day, in memory.",
    "Signing in": "Starting and ending sign-ins, by the paths that clients of older proxies know.",
    "Accounts": "Accounts and sign-ins step by step, as the dashboard uses them.",
    "Keys": "Keys for other people, machines and programs.",
    "Usage": "What was used: the ledger, budgets, and what was kept of requests.",
    "Routing": "Where calls go, and why.",
    "Settings": "The settings file.",
    "Agents": "Programs of this machine that can use Dragoman.",
    "Helper programs": "Programs that Dragoman starts and watches.",
    "AI Studio": "Windows and pages of AI Studio, and the relay that they connect to.",
    "Program": "The running program, its dashboard and its help.",
}


@dataclass(frozen=True, slots=True)
class Query:
    """A field of the query."""

    name: str
    about: str
    required: bool = False
    kind: str = "string"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    tag: str
    summary: str
    answer: Any = None
    """Type of the JSON answer, or a media type, or None for no body."""
    status: int = 200
    about: str = ""
    query: tuple[Query, ...] = ()
    errors: tuple[str, ...] = ()
    """Each as ``409 sign_in_over: it has ended``."""
    who: Who | None = None
    """Where the route asks for more, or less, than its table says."""
    body: bool = True
    """Whether it reads the body of its handler's model, which it may share with others."""
    empty: bool = True
    """Whether the body may be left out, where none of its fields must be there."""
    refusals: tuple[tuple[int, Any, str], ...] = ()
    """Statuses whose answer is not an error's: status, type, and when."""


_HTML = "text/html"
_TIME = "A day (`2026-11-01`), `today`, a length of time (`30d`, `4w`, `12h`) or epoch seconds."
_RANGE = (
    Query("since", f"{_TIME} 30 days by default."),
    Query("until", f"{_TIME} Now by default."),
)
_FILTERS = (
    *(Query(name, f"Only this {name}.") for name in ("provider", "account", "model", "agent")),
    Query("key", "Only this key, by id or label; empty for requests without a key."),
)
_DEMO = Query("demo", "`1` lists the demo's models, too, while there are accounts.")
_ACCOUNT = (
    Query("account", "Label or id of the account."),
    Query("user_email", "The account of this e-mail address, in place of `account`."),
)
_STUDIO = (
    Query("account", "As `home` or `aistudio/home`; `home` by default."),
    Query("user_email", "The same by the name that older clients use."),
)
_NO_ACCOUNT = "404 unknown_account: there is no such account"
_IN_SETTINGS = "409 account_in_settings: it is written in the settings, and changed there"
_NO_FLOW = "404 unknown_sign_in: there is no such sign-in, or it ended long ago"
_NO_WAY = "404 unknown_provider: there is no such service"
_CONSENT = "409 consent_required: terms have to be agreed to first, which the message has"
_NO_VAULT = "503 vault_unusable: the store of secrets cannot be used now"
_NO_KEY = "404 key_not_found: there is no such key"
_NO_AGENT = "400 unknown_agent: there is no such agent"
_NO_SERVICE = "404 unknown_service: there is no such helper program"
_NO_WINDOW = "409 no_window: that window is not open"
_UNWRITABLE = "409 settings_unwritable: the file cannot be written"
_UPGRADE = "426 upgrade_required: the request is no WebSocket handshake"
_LEDGER = "503 store_unavailable: the database cannot be read now"


def _change(summary: str, about: str = "", *, body: bool = True) -> Operation:
    errors = (_NO_ACCOUNT, _IN_SETTINGS)
    return Operation("Accounts", summary, shapes.OneAccount, about=about, errors=errors, body=body)


def _window(summary: str, *errors: str) -> Operation:
    return Operation("AI Studio", summary, shapes.StudioAccount, errors=errors)


SAME: Mapping[str, str] = {"/models": "/v1/models"}
"""Paths with a line of their own in the route table that mean what another path means."""

OPERATIONS: Mapping[str, Operation] = {
    "GET /v1/responses": Operation(
        "Inference",
        "Speak the Responses API over a WebSocket",
        status=101,
        about="Each message `response.create` is what a POST would be; the events come back one "
        "per message. A second message waits until the first is answered.",
        errors=(_UPGRADE,),
    ),
    # --- health
    "GET /healthz": Operation("Health", "Say that the program lives", shapes.Alive),
    "GET /v1/health": Operation(
        "Health", "Show how the program, its accounts and its parts are", shapes.Health
    ),
    "GET /metrics": Operation(
        "Health",
        "Show measures for Prometheus",
        "text/plain",
        about="The measures are listed in [Usage](usage.md#metrics).",
    ),
    "GET /v1/quota": Operation(
        "Health",
        "Show what is left of each account",
        shapes.Quota,
        query=(Query("refresh", "`1` asks the services first, where they allow that."),),
    ),
    # --- models
    "GET /v1/models": Operation(
        "Models",
        "List the models that can be used now",
        shapes.ModelList,
        about="The shape is OpenAI's; with `anthropic-version` in the request it is Anthropic's, "
        "and Gemini's under `/v1beta` or with `x-goog-api-key`. See [Models](models.md).",
        query=(_DEMO,),
    ),
    "GET /v1/models/{model}": Operation(
        "Models",
        "Show one model",
        shapes.Model,
        about="The shape is chosen as for the list.",
        query=(_DEMO,),
        errors=("404 model_not_found: it is not on the list",),
    ),
    "GET /models/api.json": Operation(
        "Models",
        "List the models in the form of models.dev",
        dict[str, Any],
        about="For programs that read `OPENCODE_MODELS_URL` and the like: the public registry, "
        "with one more provider, `dragoman`.",
        query=(_DEMO,),
    ),
    "GET /models/{token}/api.json": Operation(
        "Models",
        "List the models of a key in the form of models.dev",
        dict[str, Any],
        about="For programs that send no key with this request. The token stands for the scope of "
        "one key, ends with it, and opens nothing else.",
        query=(_DEMO,),
        errors=(
            "401 invalid_key: no key has this token",
            "429 too_many_failed_keys: wrong ones were sent again and again",
        ),
        who="token",
    ),
    "GET /admin/models": Operation(
        "Models", "Show every name that clients may ask for, and who answers it", answers.ModelTable
    ),
    "POST /admin/models/refresh": Operation(
        "Models", "Ask all services for their models now", answers.Refreshed
    ),
    "GET /admin/models/address": Operation(
        "Models",
        "Tell the path of a key's list of models",
        answers.ListAddress,
        query=(Query("key", "Id or label of the key.", required=True),),
        errors=(_NO_KEY, "400 http_400: `key` is missing"),
    ),
    # --- stored answers
    "GET /v1/responses/{name}": Operation(
        "Stored answers",
        "Read an answer of the Responses API again",
        dict[str, Any],
        about="Kept for 24 hours, in memory, for the caller who asked; see "
        "[OpenAI's reference](https://platform.openai.com/docs/api-reference/responses/get).",
        errors=("404 response_not_found: it is not kept",),
    ),
    "DELETE /v1/responses/{name}": Operation(
        "Stored answers",
        "Forget an answer of the Responses API",
        shapes.Deleted,
        errors=("404 response_not_found: it is not kept",),
    ),
    # --- signing in
    "GET /v1/auth/{name}/login": Operation(
        "Signing in",
        "Start a sign-in",
        shapes.SignIn,
        about="Opens the service's page: in a window where the desktop runs, else whoever asks "
        "opens `url`. A browser that navigates here is sent on with 302. AI Studio has routes of "
        "its own.",
        query=(
            Query("way", "One of the service's ways to sign in; its first by default."),
            Query("account", "An account to repair."),
            Query("user_email", "The same by its e-mail address."),
            Query("label", "Label of a new account."),
        ),
        errors=(
            _NO_WAY,
            _NO_ACCOUNT,
            _CONSENT,
            "403 wrong_key_kind: a client's key may not sign in",
        ),
        who="own",
    ),
    "POST /v1/auth/{name}/login": Operation(
        "Signing in",
        "Start a sign-in, with a body",
        shapes.SignIn,
        errors=(_NO_WAY, _NO_ACCOUNT, _NO_VAULT, _CONSENT),
        who="control",
    ),
    "GET /v1/auth/{name}/callback": Operation(
        "Signing in",
        "Take what a service sends the browser back with",
        _HTML,
        about="Works once for each sign-in that waits; anything else is 404.",
        query=(
            Query("state", "Which sign-in it is.", required=True),
            Query("code", "What the service gave."),
            Query("error", "Why it gave none."),
        ),
        errors=("404 unknown_state: no sign-in waits for this",),
    ),
    "GET /v1/auth/{name}/status": Operation(
        "Signing in",
        "Say whether a service is signed in to",
        shapes.SignInStatus,
        about="With `flow`, the answer is that sign-in (`SignIn`).",
        query=(Query("flow", "Id of a sign-in."), *_ACCOUNT),
        errors=(_NO_FLOW,),
    ),
    "POST /v1/auth/{name}": Operation(
        "Signing in",
        "Sign in with a secret: a key, a token or a cookie",
        shapes.SignIn,
        errors=(
            _NO_WAY,
            _NO_ACCOUNT,
            _CONSENT,
            "400 no_secret: the body has no credential, or more than one",
        ),
        who="control",
    ),
    "DELETE /v1/auth/{name}": Operation(
        "Signing in",
        "Sign out, and delete what was stored",
        shapes.Message,
        query=_ACCOUNT,
        errors=(_NO_ACCOUNT, "400 account_needed: there are several"),
        who="control",
    ),
    # --- accounts
    "GET /admin/accounts": Operation(
        "Accounts", "Show accounts, services to sign in to, and the vault", shapes.Accounts
    ),
    "GET /admin/accounts/{account}": Operation(
        "Accounts", "Show one account", shapes.OneAccount, errors=(_NO_ACCOUNT,)
    ),
    "DELETE /admin/accounts/{account}": Operation(
        "Accounts", "Sign out of an account", shapes.Message, errors=(_NO_ACCOUNT,)
    ),
    "POST /admin/accounts/{provider}/oauth/start": Operation(
        "Accounts",
        "Start a sign-in",
        shapes.SignIn,
        status=201,
        errors=(
            _NO_WAY,
            _NO_ACCOUNT,
            _NO_VAULT,
            _CONSENT,
            "429 too_many_sign_ins: too many wait already",
        ),
    ),
    "POST /admin/accounts/{provider}/oauth/complete": Operation(
        "Accounts",
        "Bring a sign-in to its end",
        shapes.SignIn,
        errors=(
            _NO_FLOW,
            "409 sign_in_over: it has ended",
            "400 nothing_to_complete: see the body",
        ),
    ),
    "GET /admin/accounts/flows/{flow}": Operation(
        "Accounts", "Show a sign-in", shapes.SignIn, errors=(_NO_FLOW,)
    ),
    "GET /admin/accounts/places": Operation(
        "Accounts", "Say where a sign-in's page can be shown", shapes.Places
    ),
    "POST /admin/accounts/flows/{flow}/place": Operation(
        "Accounts",
        "Have a sign-in's page shown",
        shapes.Shown,
        errors=(_NO_FLOW, "409 sign_in_over: it has ended"),
    ),
    "POST /admin/accounts/{account}/primary": _change(
        "Try an account before the others of its service", body=False
    ),
    "POST /admin/accounts/{account}/refresh": _change("Renew an account's token now", body=False),
    "POST /admin/accounts/{account}/pause": _change(
        "Pause an account", "With `paused: false`, it goes on."
    ),
    "POST /admin/accounts/{account}/resume": _change("Let a paused account go on", body=False),
    "POST /admin/accounts/{account}/rename": _change("Rename an account", "Reads `label`."),
    "POST /admin/accounts/{account}/order": _change(
        "Change an account's place in the order", "Reads `order`; smaller ones come first."
    ),
    "POST /admin/accounts/{account}/consent": _change(
        "Agree to a service's terms", "Reads `version`, that of the text that was shown."
    ),
    "POST /admin/accounts/{account}/logout": Operation(
        "Accounts", "Sign out of an account", shapes.Message, errors=(_NO_ACCOUNT,), body=False
    ),
    "GET /admin/imports": Operation(
        "Accounts",
        "Find sign-ins of other programs on this machine",
        shapes.Imports,
        query=(Query("from", "A folder to look in, as a whole path."),),
    ),
    "POST /admin/imports": Operation(
        "Accounts",
        "Take a sign-in of another program",
        shapes.Imported,
        status=201,
        errors=("404 unknown_import: it is not there", _CONSENT, _NO_VAULT),
    ),
    # --- keys
    "GET /admin/keys": Operation(
        "Keys", "List the keys, and what is used of their limits", answers.Keys
    ),
    "POST /admin/keys": Operation(
        "Keys",
        "Make a key",
        answers.NewKey,
        status=201,
        about="The secret is in this answer and nowhere else. [Keys](keys.md) says what a scope "
        "and a limit are.",
        empty=False,
        errors=("400 unknown_provider: `providers` names none that there is",),
    ),
    "POST /admin/keys/{name}": Operation(
        "Keys",
        "Change a key",
        answers.OneKey,
        about="Changes what the body names; `null` takes a scope, an end or limits away.",
        empty=False,
        errors=(_NO_KEY, "409 key_revoked: it was revoked"),
    ),
    "POST /admin/keys/{name}/rotate": Operation(
        "Keys",
        "Give a key a new secret",
        answers.NewKey,
        errors=(_NO_KEY, "409 key_revoked: it was revoked"),
    ),
    "POST /admin/keys/{name}/revoke": Operation(
        "Keys", "End a key", answers.OneKey, errors=(_NO_KEY,)
    ),
    # --- usage
    "GET /admin/usage": Operation(
        "Usage",
        "Report what was used",
        answers.Usage,
        about="`format=csv` answers with a table for spreadsheets.",
        query=(
            Query(
                "by", "`day` (the default), `hour`, `model`, `account`, `agent`, `key`, `provider`."
            ),
            *_RANGE,
            *_FILTERS,
            Query("format", "`json` (the default) or `csv`."),
        ),
        errors=(_LEDGER,),
    ),
    "GET /admin/requests": Operation(
        "Usage",
        "List requests, the newest first",
        answers.LedgerPage,
        query=(
            Query("since", _TIME),
            Query("until", _TIME),
            *_FILTERS,
            Query("session", "Only those of one conversation, by its hash."),
            Query("status", "Only this status.", kind="integer"),
            Query("error", "Only this error's code."),
            Query("asked", "Only those that asked for this model."),
            Query("dialect", "Only those of this dialect."),
            Query("failed", "`1` leaves out what went well."),
            Query("limit", "From 1 to 500; 50 by default.", kind="integer"),
            Query("cursor", "`next` of the page before."),
        ),
        errors=(_LEDGER,),
    ),
    "GET /admin/requests/{name}": Operation(
        "Usage",
        "Show one request with its attempts",
        answers.OneRequest,
        errors=("404 request_not_found: the ledger does not have it", _LEDGER),
    ),
    "GET /admin/requests/{name}/body": Operation(
        "Usage",
        "Show what was kept of a request: prompt and answer",
        answers.KeptCall,
        about="Kept only with `ledger: {bodies: true}` in the [settings](usage.md).",
        errors=("404 body_not_kept: nothing was kept",),
    ),
    "POST /admin/requests/{name}/replay": Operation(
        "Usage",
        "Ask a kept request again",
        answers.Replayed,
        errors=(
            "404 body_not_kept: nothing was kept",
            "409 body_cut: it was too long to be kept whole",
        ),
    ),
    "GET /admin/budgets": Operation("Usage", "Show how budgets stand", answers.Budgets),
    # --- routing
    "POST /admin/route/explain": Operation(
        "Routing",
        "Explain where a call would go, without making it",
        Trace,
        about="The same is `dragoman route --explain`.",
        errors=("400 invalid_request: the body is wrong, and `param` names the field",),
    ),
    "GET /admin/routes": Operation(
        "Routing",
        "Read the routing part of the settings as text",
        answers.RoutingText,
        errors=("409 settings_unreadable: the file is no settings",),
    ),
    "PUT /admin/routes": Operation(
        "Routing",
        "Write the routing part of the settings",
        answers.RoutingSaved,
        errors=(_UNWRITABLE,),
        refusals=((422, answers.RoutingSaved, "the text has faults, and was not written"),),
    ),
    "POST /admin/routes/check": Operation(
        "Routing", "Check a text without writing it", answers.RoutingChecked
    ),
    # --- settings
    "GET /admin/config": Operation("Settings", "Show the settings in force", answers.Settings),
    "PATCH /admin/config": Operation(
        "Settings",
        "Change settings",
        answers.SettingsChanged,
        about="What starts programs, redirects keys or holds a secret is changed in the file alone.",
        errors=("403 locked_setting: this key is changed in the file only", _UNWRITABLE),
        refusals=((422, answers.SettingsFaults, "values are wrong, and nothing was written"),),
    ),
    "POST /admin/config/reload": Operation(
        "Settings", "Read the settings file again", answers.Reloaded
    ),
    # --- agents
    "GET /admin/agents": Operation("Agents", "Show all agents and how they stand", answers.Agents),
    "POST /admin/agents/{name}/plan": Operation(
        "Agents",
        "Show the exact change that connecting or disconnecting makes",
        answers.AgentPlan,
        errors=(_NO_AGENT, "400 by_hand: it is set up by hand, and the message says how"),
    ),
    "POST /admin/agents/{name}/connect": Operation(
        "Agents",
        "Connect an agent as it was shown",
        answers.AgentConnected,
        errors=(_NO_AGENT, "409 file_changed: it would no longer be what was shown"),
    ),
    "POST /admin/agents/{name}/disconnect": Operation(
        "Agents",
        "Give an agent its own settings back",
        answers.AgentConnected,
        errors=(_NO_AGENT, "409 file_changed: it would no longer be what was shown"),
    ),
    "POST /admin/agents/{name}/test": Operation(
        "Agents",
        "Ask an agent something, and see whether it comes through Dragoman",
        answers.AgentTested,
        about="Runs the agent; takes up to some minutes.",
        errors=(_NO_AGENT, "400 program_missing: the agent is not on this machine"),
    ),
    # --- helper programs
    "GET /admin/services": Operation(
        "Helper programs", "Show all helper programs", answers.Services
    ),
    "GET /admin/services/{name}": Operation(
        "Helper programs", "Show one helper program", answers.Service, errors=(_NO_SERVICE,)
    ),
    "POST /admin/services/{name}/install": Operation(
        "Helper programs",
        "Begin to install one",
        answers.Service,
        errors=(_NO_SERVICE,),
        body=False,
    ),
    "POST /admin/services/{name}/start": Operation(
        "Helper programs",
        "Turn one on",
        answers.Service,
        errors=(_NO_SERVICE, _CONSENT, "409 service_not_installed: it has to be installed first"),
    ),
    "POST /admin/services/{name}/stop": Operation(
        "Helper programs", "Turn one off", answers.Service, errors=(_NO_SERVICE,), body=False
    ),
    "GET /admin/services/{name}/logs": Operation(
        "Helper programs",
        "Show the last lines of its log",
        answers.Lines,
        query=(Query("n", "How many lines, up to 1000; 200 by default.", kind="integer"),),
        errors=(_NO_SERVICE, "400 invalid_number: `n` is no number"),
    ),
    # --- AI Studio
    "GET /v1/ws": Operation(
        "AI Studio",
        "Connect a page of AI Studio (WebSocket)",
        None,
        status=101,
        query=(Query("auth_token", "A relay key.", required=True),),
        errors=(_UPGRADE, "403 wrong_account: the key is for no account of AI Studio"),
    ),
    "GET /v1/auth/aistudio/login": Operation(
        "AI Studio",
        "Open AI Studio in a window",
        shapes.StudioOpened,
        status=202,
        query=(*_STUDIO, Query("consent", "Version of the text that was agreed to.")),
        errors=(_CONSENT,),
    ),
    "POST /v1/auth/aistudio/login": Operation(
        "AI Studio",
        "Open AI Studio in a window or a browser",
        shapes.StudioOpened,
        status=202,
        query=_STUDIO,
        errors=(_CONSENT,),
    ),
    "GET /v1/auth/aistudio/status": Operation(
        "AI Studio", "Say how far an account's page is", shapes.StudioStatus, query=_STUDIO
    ),
    "DELETE /v1/auth/aistudio": Operation(
        "AI Studio", "Close a window and delete what it kept", shapes.Message, query=_STUDIO
    ),
    "GET /admin/aistudio": Operation("AI Studio", "Show all pages and windows", shapes.Studio),
    "POST /admin/aistudio/windows/{label}/show": _window("Open a window, or raise it"),
    "POST /admin/aistudio/windows/{label}/hide": _window(
        "Hide a window; its page works on", _NO_WINDOW
    ),
    "POST /admin/aistudio/windows/{label}/close": _window("Close a window", _NO_WINDOW),
    "POST /admin/aistudio/windows/{label}/browser": _window("Open the page in the user's browser"),
    "POST /admin/aistudio/windows/{label}/sign-out": _window(
        "Close a window and delete what it kept"
    ),
    "GET /admin/aistudio/app": Operation(
        "AI Studio", "Show the page's files without a key", shapes.RelayFiles
    ),
    "POST /admin/aistudio/app": Operation(
        "AI Studio",
        "Make a relay key, and give the page's files with it",
        shapes.RelayApp,
        status=201,
        errors=(_CONSENT, "400 invalid_address: browsers would not connect to it"),
    ),
    # --- the program
    "GET /admin": Operation(
        "Program",
        "Show the dashboard's page",
        _HTML,
        about="The page alone holds nothing; `dragoman open` opens it with a ticket.",
    ),
    "GET /admin/static/{name}": Operation(
        "Program",
        "Give a file of the dashboard's page",
        "*/*",
        errors=("404 route_not_found: there is no such file",),
    ),
    "POST /admin/ticket": Operation(
        "Program",
        "Make an address that opens the dashboard",
        answers.Ticket,
        status=201,
        about="It works once, within 30 seconds, in a browser of the same user.",
    ),
    "POST /admin/session": Operation(
        "Program",
        "Trade a ticket for a session",
        answers.Session,
        status=201,
        errors=(
            "401 ticket_refused: it was used already, or is too old",
            "403 caller_not_proven: the connection is not shown to be the user's own",
            "403 origin_not_allowed: another page asks",
        ),
        who="proven",
    ),
    "DELETE /admin/session": Operation(
        "Program", "End the session whose token is sent", answers.Ended
    ),
    "POST /admin/show": Operation(
        "Program", "Bring the desktop's window to the front", answers.WindowShown
    ),
    "GET /admin/live": Operation(
        "Program",
        "Follow requests, state and log lines as they come",
        "application/x-ndjson",
        about="One JSON object (`LiveLine`) on each line, until the caller leaves.",
        errors=("503 too_many_readers: too many pages look already",),
    ),
    "POST /admin/stop": Operation(
        "Program", "End the program; answers that run are finished first", answers.Stopping
    ),
    "GET /admin/openapi.json": Operation(
        "Program", "Give this description, OpenAPI 3.1", dict[str, Any]
    ),
    "GET /admin/help": Operation("Program", "List the pages of the help", answers.Help),
    "GET /admin/help/{name}": Operation(
        "Program",
        "Give a page of the help, or the page of an error's code",
        answers.HelpPage,
        errors=("404 no_help_page: there is no such page",),
    ),
    "GET /help": Operation("Program", "Show the help in a browser", _HTML),
    "GET /help/{name}": Operation(
        "Program",
        "Show a page of the help, or lead to an error's entry",
        _HTML,
        about="`name` is that of a page or the code of an error.",
    ),
    "GET /help/images/{name}": Operation("Program", "Give a picture of the help", "image/*"),
    "GET /help/examples/{name}": Operation(
        "Program", "Give a file of [Examples](examples.md)", "text/plain"
    ),
}
"""By method and path; other paths that mean the same are not in here."""
