"""``dragoman config``: the settings file."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import config_import
from app.cli.running import connect
from app.cli.serve import ConfigOption
from app.cli.status import JsonOption
from app.cli.terminal import FAILED, note, render_error, say, show_json
from app.errors import AppError, ConfigError

if TYPE_CHECKING:
    from app.configfile import Located

__all__ = ["commands", "editor_command", "without_secrets"]

commands = typer.Typer(help="Make, check and edit the settings.", no_args_is_help=True)
commands.add_typer(config_import.commands, name="import")


@commands.command("init")
def init(
    config: ConfigOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file; the old one stays beside it as .old.")
    ] = False,
) -> None:
    """Write a commented settings file with every key."""
    path = _locate(config).path
    if path.exists():
        if not force:
            raise AppError(
                f"There is a settings file already: {path}.",
                code="config_exists",
                hint="`dragoman config edit` opens it; --force replaces it and keeps the old one.",
            )
        _keep_old(path)
    _write_first(path)
    say(f"Wrote {path}.")


@commands.command("check")
def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Say what is wrong with the settings.

    Exit code 1 means that something is.
    """
    if not _check(_locate(config), as_json=as_json):
        raise typer.Exit(FAILED)


@commands.command("path")
def path(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show which settings file is used."""
    located = _locate(config)
    if as_json:
        show_json({"path": str(located.path), "why": located.why, "exists": located.path.exists()})
    else:
        say(str(located.path))


@commands.command("edit")
def edit(config: ConfigOption = None) -> None:
    """Open the settings in $VISUAL or $EDITOR, then check them."""
    located = _locate(config)
    if not located.path.exists():
        _write_first(located.path)
    command = [*editor_command(os.environ), str(located.path)]
    try:
        ended = subprocess.run(  # noqa: S603 - the user's own editor
            command, env=without_secrets(os.environ, located), check=False
        )
    except OSError as error:
        raise AppError(
            f"The editor {command[0]!r} cannot be started: {error.strerror or error}.",
            code="editor_failed",
            hint="Set EDITOR to the one you want.",
        ) from error
    if ended.returncode:
        note(f"The editor ended with exit code {ended.returncode}.")
    if not _check(located, as_json=False) or ended.returncode:
        raise typer.Exit(FAILED)


@commands.command("reload")
def reload() -> None:
    """Have the running proxy read its settings again."""
    answer: dict[str, Any] = connect().post("/admin/config/reload")
    changed, problems = answer["changed"], answer["problems"]
    for problem in problems:  # beside a change: what has to wait for a restart
        note(f"{'note' if changed else 'error'}: {problem}")
    if problems and not changed:
        note("The settings before the change stay in force.")
        raise typer.Exit(FAILED)
    say("The new settings are in force." if changed else "Nothing has changed.")


@commands.command("schema")
def schema() -> None:
    """Print the JSON Schema of the settings, for editors."""
    from app.config import json_schema

    show_json(json_schema())


def _locate(config: str | None) -> Located:
    from app.configfile import locate

    return locate(config, os.environ)


def _keep_old(path: Path) -> None:
    old = path.with_name(f"{path.name}.old")
    try:
        shutil.copy2(path, old)
    except OSError as error:
        raise AppError(
            f"{path} cannot be kept as {old}, so it was not replaced: {error.strerror or error}.",
            code="config_unwritable",
        ) from error


def _write_first(path: Path) -> None:
    from app.configfile import init_text
    from app.paths import write_private

    try:
        write_private(path, init_text().encode())
    except OSError as error:
        raise AppError(
            f"{path} cannot be written: {error.strerror or error}.", code="config_unwritable"
        ) from error


def _check(located: Located, *, as_json: bool) -> bool:
    """Print what is wrong and what should be better; return whether nothing is wrong."""
    from app.cli.settings import doubts, load_checked
    from app.config import warnings

    found: ConfigError | None = None
    advice: tuple[str, ...] = ()
    try:
        advice = warnings(load_checked(located, os.environ), os.environ)
        advice += doubts(located, os.environ)
    except ConfigError as error:
        found = error
    if as_json:
        show_json(
            {
                "path": str(located.path),
                "why": located.why,
                "valid": found is None,
                "problems": [] if found is None else found.problems,
                "warnings": advice,
            }
        )
    elif found is not None:
        note(render_error(found))
    else:
        for warning in advice:
            note(f"warning: {warning}")
        missing = "" if located.path.exists() else " (there is no file; the defaults hold)"
        say(f"{located.path} is valid{missing}.")
    return found is None


def editor_command(env: Mapping[str, str]) -> list[str]:
    """Return the user's editor as words, or one that the system has.

    Raises:
        AppError: ``editor_missing``.
    """
    for variable in ("VISUAL", "EDITOR"):
        if named := env.get(variable, "").strip():
            if sys.platform == "win32":  # backslashes are no escapes there
                return [part.strip('"') for part in shlex.split(named, posix=False)]
            return shlex.split(named)
    for name in ("notepad",) if sys.platform == "win32" else ("nano", "vim", "vi"):
        if found := shutil.which(name):
            return [found]
    raise AppError("No editor was found.", code="editor_missing", hint="Set EDITOR to one.")


def without_secrets(env: Mapping[str, str], located: Located) -> dict[str, str]:
    """Return the environment without the variables that hold secrets of these settings.

    Settings with faults cannot say which these are; every name that they refer to and every
    override then counts.
    """
    from app.config import REFERENCE
    from app.configfile import load_file, read

    try:
        secret = load_file(located, env).secret_variables()
    except ConfigError:
        try:
            text = read(located)
        except ConfigError:
            text = ""  # there is nothing to refer to a variable
        overrides = {name for name in env if name.upper().startswith("DRAGOMAN_") and "__" in name}
        secret = frozenset(REFERENCE.findall(text)) | overrides
    return {name: value for name, value in env.items() if name not in secret}
