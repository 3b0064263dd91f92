"""``dragoman doctor``: what works, what does not, and what to do about it.

The checks go from the ground up: interpreter, settings, folders, clock, port, the agents that are
connected, the instance, and at last one real answer through each account. Where no instance runs, one is started on a free port
with the user's own settings for the time of the checks.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import probe
from app.cli.checks import (
    Check,
    check_clock,
    check_config,
    check_folders,
    check_instance,
    check_loopback,
    check_port,
    check_python,
)
from app.cli.client import Client
from app.cli.connect import YesOption, connections
from app.cli.connected import check_agents
from app.cli.health import (
    DEMO_MODEL,
    AccountHealth,
    accounts_of,
    describe_accounts,
    model_for,
)
from app.cli.launch import STOP_S, end, launch
from app.cli.running import client_of, find_running, places
from app.cli.serve import ConfigOption
from app.cli.signedin import check_commands, check_sign_ins
from app.cli.status import JsonOption
from app.cli.terminal import FAILED, advice, say, show_json, show_table, show_verdict
from app.cli.typed import is_terminal
from app.errors import AppError, ConfigError
from app.instance import InstanceRecord
from app.paths import Paths

if TYPE_CHECKING:
    from app.cli.bundle import Member
    from app.config import Config

__all__ = ["check_accounts", "doctor", "examine"]

_ANSWER_S = 120.0
"""A model that thinks may be silent this long before its first token."""
_LISTING_S = 10.0
"""Model lists are fetched after the start; a service answers within this time."""
_POLL_S = 0.25


def doctor(
    config: ConfigOption = None,
    bundle: Annotated[
        bool, typer.Option("--bundle", help="Then pack what somebody who helps needs.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to pack it.")
    ] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check everything, down to a real answer.

    Each account is asked for one short answer, which costs a few tokens. --bundle lists what it is
    about to pack, without secrets, prompts and names, and asks before it writes. Exit code 1 means
    that a check failed.
    """
    if output is not None and not bundle:
        raise typer.BadParameter("--output is for --bundle.")
    done: list[Check] = []
    for check in examine(config):
        done.append(check)
        if not as_json:  # each as soon as it is known: an answer may take a while
            show_verdict(check.verdict, check.text, check.hint)
    failed = any(check.verdict == "failed" for check in done)
    packed = _bundle(config, done, output, yes=yes, as_json=as_json) if bundle else None
    if as_json:
        show_json({"ok": not failed, "checks": done} | ({} if packed is None else packed))
    if failed:
        raise typer.Exit(FAILED)


def _bundle(
    config_path: str | None,
    checks: Sequence[Check],
    output: Path | None,
    *,
    yes: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Show what the bundle would hold, ask where somebody can be asked, and write it.

    Returns:
        ``bundle``: the file's path, empty where it was not written; and ``contents``.
    """
    from app.cli import bundle
    from app.paths import write_private

    members = _members(config_path, checks)
    target = (output or Path(bundle.file_name(time.time()))).absolute()
    contents: list[dict[str, Any]] = [
        {"name": member.name, "bytes": len(member.content), "about": member.about}
        for member in members
    ]
    if not as_json:
        say()
        say("The support bundle holds:")
        show_table(
            ("FILE", "BYTES", "WHAT"),
            [(str(row["name"]), str(row["bytes"]), str(row["about"])) for row in contents],
        )
        say("No prompts, no answers, no secrets, no names of accounts.")
    ask = not yes and not as_json and is_terminal(sys.stdin)
    if ask and not typer.confirm(f"Write {target}?", default=False, err=True):
        say("Nothing was written.")
        return {"bundle": "", "contents": contents}
    if target.exists():
        raise AppError(
            f"There is a file {target} already.", code="file_exists", hint="Name another: --output."
        )
    try:
        write_private(target, bundle.pack(members))
    except OSError as error:
        raise AppError(
            f"{target} cannot be written: {error.strerror or error}.",
            code="file_unwritable",
            hint="Name another place: --output FILE.",
        ) from error
    if not as_json:
        say(f"Written: {target}")
    return {"bundle": str(target), "contents": contents}


def _members(config_path: str | None, checks: Sequence[Check]) -> list[Member]:
    from app import log
    from app.cli import bundle
    from app.configfile import load_file, locate
    from app.providers import PROVIDERS

    paths, env = places(), os.environ
    who = bundle.Anonymous.here(env)
    config: Config | None = None
    problems: list[str] = []
    try:
        config = load_file(locate(config_path, env), env)
        for _, secret in config.secrets():
            log.redact(secret.resolve(env))
    except ConfigError as error:
        problems = [str(problem) for problem in error.problems]
    client, health = None, None
    try:
        record = find_running(paths)
        if record is not None:
            log.redact(record.token)
            client = client_of(record)
            health = client.get("/v1/health")
    except AppError:
        client = None  # the checks tell it
    providers = {*PROVIDERS, *(() if config is None else config.providers)}
    return [
        bundle.versions_member(who, env),
        bundle.status_member(who, health),
        bundle.checks_member(who, checks),
        bundle.settings_member(who, config, problems),
        bundle.agents_member(who, connections()),
        bundle.requests_member(who, client),
        bundle.log_member(who, paths.log_file, providers),
    ]


def examine(config_path: str | None) -> Iterator[Check]:
    """Yield the outcome of every check in order; what cannot be checked any more is left out."""
    from app.configfile import locate

    paths = places()
    yield check_python()
    outcome, config = check_config(locate(config_path, os.environ), os.environ)
    yield outcome
    folders = check_folders(paths)
    yield folders
    yield check_clock(paths)
    try:
        record = find_running(paths)
    except AppError as error:
        yield Check("instance", "failed", error.message, advice(error))
        return
    if config is not None:
        yield from check_commands(config)
        yield check_port(config, record)
    port = record.port if record is not None else config.server.port if config is not None else 0
    yield from check_agents(connections(), f"http://127.0.0.1:{port}" if port else "")
    if record is not None:
        yield from _examine_instance(record)
    elif config is not None and folders.verdict != "failed":
        yield from _examine_temporary(config_path, paths)


def _examine_temporary(config_path: str | None, paths: Paths) -> Iterator[Check]:
    try:
        with _temporary(config_path, paths) as record:
            yield from _examine_instance(record)
    except AppError as error:
        yield Check("instance", "failed", error.message, advice(error))


@contextmanager
def _temporary(config_path: str | None, paths: Paths) -> Iterator[InstanceRecord]:
    """Run an instance on a free port until the block ends."""
    named = [] if config_path is None else ["--config", config_path]
    launched = launch([*named, "--port", "0"], paths)
    try:
        yield launched.record
    finally:
        end(launched.record, paths)
        launched.process.wait(STOP_S)


def _examine_instance(record: InstanceRecord) -> Iterator[Check]:
    yield check_loopback(record.port)
    outcome = check_instance(client_of(record))
    yield outcome
    if outcome.verdict != "failed":
        yield from check_sign_ins(client_of(record))
        yield from check_accounts(client_of(record, timeout_s=_ANSWER_S))


def check_accounts(
    client: Client,
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Check]:
    """Yield one check per account that is switched on, by a real answer; without any, the demo's.

    An account that is cooling is not asked: that would make it worse.
    """
    try:
        health = client.get("/v1/health")
        accounts = [account for account in accounts_of(health) if account.state != "disabled"]
        models = _listed(client, accounts, now, sleep)
    except AppError as error:
        yield Check("accounts", "failed", error.message, advice(error))
        return
    for account in accounts:
        yield _check_account(client, account, models)
    if accounts:
        return
    if any(model["id"] == DEMO_MODEL for model in models):
        yield _answer_check(client, "demo", DEMO_MODEL, "The demo model")
    else:
        hint = "Add a provider with `dragoman config edit`."
        yield Check("demo", "warning", describe_accounts(health), hint)


def _listed(
    client: Client,
    accounts: Sequence[AccountHealth],
    now: Callable[[], float],
    sleep: Callable[[float], None],
) -> list[dict[str, Any]]:
    """Return the models, once every account that is ready lists some, or has had its time."""
    deadline = now() + _LISTING_S
    while True:
        models: list[dict[str, Any]] = client.get("/v1/models")["data"]
        ready = (account for account in accounts if account.state == "ready")
        if all(model_for(account, models) for account in ready) or now() > deadline:
            return models
        sleep(_POLL_S)


def _check_account(
    client: Client, account: AccountHealth, models: Sequence[dict[str, Any]]
) -> Check:
    name, who = f"account {account.id}", f"The account {account.id}"
    match account.state:
        case "cooling":
            text = f"{who} has to wait: {account.reason or 'a limit is reached'}."
            return Check(name, "warning", text, "It is used again by itself.")
        case "unusable" | "refused":
            text = f"{who} cannot be used: {account.reason or account.state}."
            return Check(name, "failed", text, _cure(account))
    model = model_for(account, models)
    if model is None:
        hint = "Name its models in the settings, beside its key: `models: [NAME]`."
        return Check(name, "warning", f"{who} lists no model, so it was not asked.", hint)
    return _answer_check(client, name, model, who)


def _cure(account: AccountHealth) -> str:
    if account.configured:
        return "Correct it with `dragoman config edit`."
    if account.state == "refused":
        return "See the provider's terms: Dragoman asks it nothing more until you sign in again."
    return f"Sign in again: `dragoman login {account.provider} --account {account.label}`."


def _answer_check(client: Client, name: str, model: str, who: str) -> Check:
    try:
        answer = probe.ask(client, model)
    except AppError as error:
        return Check(name, "failed", f"{who} gave no answer ({model}): {error.message}", error.hint)
    noun = "token" if answer.tokens == 1 else "tokens"
    return Check(
        name,
        "ok",
        f"{who} answered: {answer.tokens} {noun}, the first after {_render_wait(answer.first_s)} "
        f"({model}).",
    )


def _render_wait(seconds: float) -> str:
    return f"{seconds * 1_000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
