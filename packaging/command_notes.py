"""What the page of commands says of each beside its help: what it prints, exit codes, examples.

Usage, options and the texts of ``--help`` are not repeated here: they come from the command itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["GROUPS", "NOTES", "Note"]


@dataclass(frozen=True, slots=True)
class Note:
    """What is said of one command beside its help."""

    prints: str = ""
    """Goes on after the word "Prints"."""
    json: str = ""
    """What ``--json`` prints."""
    more: tuple[str, ...] = ()
    """Further paragraphs of what it does."""
    done: str = ""
    """What exit code 0 means, where it is more than done."""
    failed: str = ""
    """What exit code 1 means, where it is more than a failure."""
    can_fail: bool = True
    asks: bool = False
    """Whether it asks the running instance, and ends with 3 where there is none."""
    further: Mapping[int, str] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    runs: bool = True
    """Whether a test can run the examples, one after the other, against a fresh instance."""


GROUPS: Mapping[str, tuple[str, ...]] = {
    "Run": ("", "serve", "start", "stop", "restart", "open", "status", "logs", "doctor", "help"),
    "Accounts and models": ("login", "logout", "accounts", "models", "quota"),
    "Settings": ("config",),
    "Routes, keys and use": ("route", "keys", "usage", "replay"),
    "Agents": ("connect", "disconnect", "run", "test", "shell-integration"),
    "Helper programs": ("services",),
}
"""Title → first words of its commands; "" is the bare command."""

_CHANGED = "one sentence that says what holds now."
_INTERRUPTED = {130: "Ctrl+C ended it before it was ready"}

NOTES: Mapping[str, Note] = {
    # Run
    "dragoman": Note(
        more=(
            "Where the session has no tray it says so and runs the proxy alone. When Dragoman runs "
            "already, that one is shown in place of starting another; where that one has no tray "
            "icon, the new one offers to take over. [The tray icon](desktop.md) says more.",
        ),
        prints="the address that it listens at.",
        done="it was stopped, or another one runs already",
        failed="it could not start",
        further=_INTERRUPTED,
    ),
    "dragoman serve": Note(
        more=("There is no tray icon and no window. Ctrl+C or `dragoman stop` ends it.",),
        prints="the address that it listens at, then nothing; the rest goes to the log.",
        done="it was stopped",
        failed="it could not start: another one runs, the port is taken, or the settings are wrong",
        further=_INTERRUPTED,
    ),
    "dragoman start": Note(
        more=("It returns once the proxy answers. One that runs already is left as it is.",),
        prints="the address and the number of the process.",
        done="it runs",
        failed="it could not start, or was not ready within 10 seconds",
    ),
    "dragoman stop": Note(
        prints="that it has stopped, or that nothing ran.",
        done="nothing runs any more",
        failed="it still runs after 15 seconds, or cannot be asked",
    ),
    "dragoman restart": Note(
        prints="the address and the number of the new process.",
        done="it runs",
    ),
    "dragoman open": Note(
        prints="that the dashboard opens; with `--print`, or where no browser starts, its address.",
        asks=True,
        examples=("dragoman open --print",),
    ),
    "dragoman status": Note(
        prints="version, address and state, then tables of accounts, parts and agents where there "
        "are any, budgets, the path of the settings, and every problem and warning.",
        json="`running`, `pid` and `port`, what `/v1/health` answers, and `agents`. When nothing "
        'runs: `{"running": false}`.',
        done="it runs",
        asks=True,
        examples=("dragoman status", "dragoman status --json"),
    ),
    "dragoman logs": Note(
        prints="the last lines of the log, as they are in the file.",
        failed="there is no log yet",
        examples=("dragoman logs -n 20",),
    ),
    "dragoman doctor": Note(
        more=("Where Dragoman does not run, one is started for the time of the checks.",),
        prints="a line for each check as soon as it is known: `ok`, `warning` or `failed`, what was "
        "found, and below it what to do.",
        json="`ok` and `checks`, each with `name`, `verdict`, `text` and `hint`; with `--bundle` "
        "also `bundle`, the path, and `contents`.",
        done="no check failed",
        failed="a check failed",
        examples=("dragoman doctor --json",),
    ),
    "dragoman help": Note(
        prints="a page of this help, or what an error code means; without a word the list of pages.",
        failed="there is no such page and no such code; near ones are named",
        examples=("dragoman help", "dragoman help keys"),
    ),
    # Accounts and models
    "dragoman login": Note(
        more=(
            "[Accounts](accounts.md) says what each service asks for. `dragoman login --import` lists "
            "the sign-ins that other programs on this machine hold.",
        ),
        prints="what to do (a link, a code, a question), and at the end the name of the account.",
        json="the sign-in as it ended, with `state`, `account` and `name`. With `--import`: `found` "
        "and `problems`, or `taken`.",
        asks=True,
        examples=("dragoman login claude", "dragoman login openai --label work"),
        runs=False,
    ),
    "dragoman logout": Note(prints=_CHANGED, asks=True),
    "dragoman accounts": Note(
        prints="a table: account, plan, state, since when, when it is tried again, and why.",
        json="what `GET /admin/accounts` answers: `accounts`, `providers` and `vault`.",
        asks=True,
        examples=("dragoman accounts --json",),
    ),
    "dragoman accounts pause": Note(prints=_CHANGED, asks=True),
    "dragoman accounts resume": Note(prints=_CHANGED, asks=True),
    "dragoman accounts primary": Note(prints=_CHANGED, asks=True),
    "dragoman accounts order": Note(prints=_CHANGED, asks=True),
    "dragoman accounts refresh": Note(prints=_CHANGED, asks=True),
    "dragoman accounts rename": Note(prints=_CHANGED, asks=True),
    "dragoman accounts agree": Note(
        prints="the provider's text and a question; with `--agree` only that you have agreed.",
        asks=True,
    ),
    "dragoman models": Note(
        prints="a table: name, service, accounts, tokens of prompt and answer, what else than text "
        "it reads, whether it thinks, and dollars per million tokens in and out.",
        json="what `GET /v1/models` answers: `data`, a list of models.",
        asks=True,
        examples=("dragoman models", "dragoman models --url"),
    ),
    "dragoman quota": Note(
        prints="a table: account, plan, and for each window what is left and when it is new.",
        json="what `GET /v1/quota` answers: `accounts`, each with its `windows`.",
        asks=True,
        examples=("dragoman quota --json",),
    ),
    # Settings
    "dragoman config init": Note(
        prints="the path of the file.",
        failed="there is a file already and `--force` is missing, or it cannot be written",
    ),
    "dragoman config check": Note(
        prints="that the file is valid, or each fault with line, key and what was expected.",
        json="`path`, `why` (`option`, `environment` or `default`), `valid`, `problems` and "
        "`warnings`.",
        done="it is valid, perhaps with warnings",
        failed="something is wrong",
        examples=("dragoman config check", "dragoman config check --json"),
    ),
    "dragoman config path": Note(
        prints="the path; the file may not exist yet.",
        json="`path`, `why` and `exists`.",
        can_fail=False,
    ),
    "dragoman config edit": Note(
        prints="what `dragoman config check` prints, once the editor has ended.",
        failed="the settings are wrong, or the editor failed",
    ),
    "dragoman config reload": Note(
        more=(
            "It is not needed where the system tells of changed files: a change then holds as soon "
            "as the file is saved.",
        ),
        prints="whether anything has changed, and what waits for the next start.",
        failed="the settings are wrong, and those before stay in force",
        asks=True,
    ),
    "dragoman config schema": Note(
        prints="the JSON Schema (draft 2020-12).",
        can_fail=False,
    ),
    "dragoman config import ccproxy": Note(
        prints="how many rules were written, and a note for each thing that was left out; with "
        "`--dry-run` the entries themselves.",
        json="`path`, `written`, `rules`, `aliases`, `default` and `notes`.",
        failed="a file is wrong, or there are rules already and `--replace` is missing",
        examples=("dragoman config import ccproxy ~/.ccproxy/ccproxy.yaml --dry-run",),
        runs=False,
    ),
    # Routes, keys and use
    "dragoman route": Note(
        prints="model, rule and account on one line; with `--explain` every rule and every account, "
        "and why each was taken or left out.",
        json="what `POST /admin/route/explain` answers: `asked`, `rule`, `models`, `rules`, `notes`, "
        "`candidates`, `left_out` and `error`.",
        done="it would be served",
        failed="it would not be served",
        asks=True,
        examples=("dragoman route --model demo-chat --explain",),
    ),
    "dragoman keys create": Note(
        more=("[Keys](keys.md) says what each kind may do.",),
        prints="the key alone on standard output, and its id beside it. It is not shown again.",
        json="`key`, the secret, and `record`.",
        examples=(
            "dragoman keys create --label laptop --expires 30d",
            'dragoman keys create --label ci --limit "60 requests/minute" --limit "5 usd/month"',
        ),
    ),
    "dragoman keys list": Note(
        prints="a table: id, kind, label, when it was made, state, what it is for, and what was used.",
        json="a list of keys, without their secrets.",
        examples=("dragoman keys list --json",),
    ),
    "dragoman keys edit": Note(
        prints="that it is changed, and what it may do now.",
        json="the key, without its secret.",
        examples=("dragoman keys edit laptop --expires none",),
        runs=False,
    ),
    "dragoman keys rename": Note(prints=_CHANGED, json="the key, without its secret."),
    "dragoman keys rotate": Note(
        prints="the new secret alone on standard output. It is not shown again.",
        json="`key`, the secret, and `record`.",
        examples=("dragoman keys rotate laptop --keep 1h",),
        runs=False,
    ),
    "dragoman keys revoke": Note(prints=_CHANGED, json="the key, without its secret."),
    "dragoman usage": Note(
        more=("[Usage](usage.md) says what is counted.",),
        prints="a table with a row for each day (or what `--by` names) and a total.",
        json="what `GET /admin/usage` answers: `rows` and `total` among others.",
        examples=("dragoman usage --by model --since 7d --json", "dragoman usage --csv"),
    ),
    "dragoman replay": Note(
        prints="a table of both calls, and the two answers side by side.",
        json="what the replay of a request answers: `original` and `replay`.",
        asks=True,
    ),
    # Agents
    "dragoman connect": Note(
        more=("[Agents](agents.md) lists them, with what each can do.",),
        prints="the change of each file, then what was done; without a name a table of the agents.",
        json="`agents`, each with `agent`, `state` (`planned`, `written`, `unchanged`, `declined` or "
        "`failed`) and `files`; without a name `address` and `agents`.",
        failed="one failed, or was declined",
        examples=("dragoman connect", "dragoman connect codex --dry-run"),
    ),
    "dragoman disconnect": Note(
        prints="the change of each file, then what was done.",
        json="`agents`, as `dragoman connect` prints them.",
        failed="one failed, or was declined",
        examples=("dragoman disconnect --all --dry-run",),
    ),
    "dragoman run": Note(
        prints="what the program prints; nothing of its own.",
        done="the program ended with 0; any other code may be the program's own",
        failed="it could not be started",
        asks=True,
        examples=(
            "dragoman run claude -- --model sonnet",
            "dragoman run sdk -- python my_script.py",
        ),
        runs=False,
    ),
    "dragoman test": Note(
        prints="for each agent a line of what it is, then `ok`, `warning` or `failed` for each model "
        "that it was asked with.",
        json="`agents`, each with `agent`, `version`, `program`, `settings`, `ok` and `findings`.",
        done="none failed",
        failed="one failed",
        asks=True,
        examples=("dragoman test codex",),
        runs=False,
    ),
    "dragoman shell-integration": Note(
        prints="the script; with `--install` or `--remove` the change of each file, then what was "
        "done.",
        examples=("dragoman shell-integration bash",),
    ),
    # Helper programs
    "dragoman services install": Note(
        more=("[WebAI](provider-webai.md) says what it is.",),
        prints="what is being done, then the version.",
        asks=True,
        examples=("dragoman services install webai",),
        runs=False,
    ),
    "dragoman services start": Note(
        prints="what there is to agree to, once, and then its state.",
        done="it is on",
        asks=True,
    ),
    "dragoman services stop": Note(prints=_CHANGED, asks=True),
    "dragoman services status": Note(
        prints="a table: service, state, for how long, memory, when it is tried again, and why; with "
        "a name the same in sentences.",
        json="the services as a list, or the one that was named.",
        asks=True,
    ),
    "dragoman services logs": Note(
        prints="the last lines of what it printed.",
        failed="there is no log yet, or no such service",
    ),
}
"""Command → note."""
