"""All commands as one program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from app.build import find_build
from app.cli import (
    accounts,
    config,
    connect,
    disconnect,
    doctor,
    help,
    keys,
    login,
    logout,
    logs,
    models,
    quota,
    replay,
    restart,
    route,
    serve,
    services,
    shell_integration,
    start,
    status,
    stop,
    test_agent,
    usage,
)
from app.cli.open import open_dashboard
from app.cli.run import run as run_agent
from app.cli.terminal import prepare, say, show_error
from app.errors import AppError

__all__ = ["build", "run"]

_SHORT_HELP = {"logout": "Revoke a sign-in where possible, then delete it."}
"""Commands whose help's first line is longer than the column that the list of commands leaves."""


def build() -> typer.Typer:
    """Return the command line. Help and errors are plain text, the same on every terminal."""
    program = typer.Typer(
        name="dragoman",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    program.callback()(_root)
    for command in (
        serve.serve,
        start.start,
        stop.stop,
        restart.restart,
        status.status,
        logs.logs,
        login.login,
        logout.logout,
        models.models,
        quota.quota,
        usage.usage,
        replay.replay,
        route.route,
        doctor.doctor,
        connect.connect,
        disconnect.disconnect,
        run_agent,
        shell_integration.shell_integration,
    ):
        program.command(short_help=_SHORT_HELP.get(command.__name__))(command)
    program.command("help")(help.show_help)
    program.command("open")(open_dashboard)
    program.command("test")(test_agent.ask_agent)
    program.add_typer(accounts.commands, name="accounts")
    program.add_typer(config.commands, name="config")
    program.add_typer(keys.commands, name="keys")
    program.add_typer(services.commands, name="services")
    return program


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=lambda on: _show_version(on),
            help="Show the version and exit.",
        ),
    ] = False,
) -> None:
    """One local address for every model account. Without a command: run in the foreground."""


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"dragoman {find_build().line}")
        raise typer.Exit


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 wrong call, 3 not running."""
    prepare()
    command = typer.main.get_command(build())
    try:
        command.main(args=list(arguments), prog_name="dragoman")
    except AppError as error:
        return show_error(error)
    except SystemExit as ended:  # how typer returns the exit code
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0
