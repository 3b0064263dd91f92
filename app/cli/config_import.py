"""``dragoman config import``: settings of other programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.serve import ConfigOption
from app.cli.status import JsonOption
from app.cli.terminal import note, say, show_json
from app.errors import AppError, ConfigError, ConfigProblem

if TYPE_CHECKING:
    from app.configfile import KeyName, Located
    from app.rulesets.ccproxy import Imported

__all__ = ["commands"]

commands = typer.Typer(help="Take over settings of another program.", no_args_is_help=True)


@commands.callback()
def _group() -> None:
    """Take over settings of another program."""


@commands.command("ccproxy")
def ccproxy(
    file: Annotated[Path, typer.Argument(help="ccproxy.yaml, such as ~/.ccproxy/ccproxy.yaml.")],
    models: Annotated[
        Path | None,
        typer.Option("--models", help="LiteLLM's config.yaml; else the one beside the file."),
    ] = None,
    config: ConfigOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the rules that there are.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be written, and write nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Take over the rules of ccproxy.

    Nothing is written when anything in its files is wrong; all of it is then listed.
    """
    from app.configfile import locate
    from app.rulesets.ccproxy import import_ccproxy

    file = file.expanduser()
    models = file.with_name("config.yaml") if models is None else models.expanduser()
    models_text = _read(models) if models.exists() else None
    found = import_ccproxy(_read(file), str(file), models_text, str(models))
    if found.problems:
        raise ConfigError(found.problems)
    located = locate(config, os.environ)
    changes, notes = _changes(found, located, replace=replace)
    if not dry_run and changes:
        _write(located, changes)
    if as_json:
        show_json(
            {
                "path": str(located.path),
                "written": not dry_run and bool(changes),
                "rules": found.rules,
                "aliases": found.aliases,
                "default": found.default,
                "notes": notes,
            }
        )
        return
    for line in notes:
        note(f"note: {line}")
    if dry_run:
        _show(found)
    elif changes:
        say(f"Wrote {len(found.rules)} rules to {located.path}.")
    else:
        say("There was nothing to take over.")


def _read(path: Path) -> str:
    from app.configfile import Located, read

    return read(Located(path, "option"))


def _changes(
    found: Imported, located: Located, *, replace: bool
) -> tuple[dict[KeyName, Any], list[str]]:
    """Return what to write, and what is left out beside what the import says.

    Raises:
        AppError: there are rules already.
        ConfigError: the settings are wrong.
    """
    from app.configfile import load_file

    now = load_file(located, os.environ).models
    if now.rules and found.rules and not replace:
        raise AppError(
            f"{located.path} has {len(now.rules)} rules already.",
            code="rules_exist",
            hint="--replace replaces them; --dry-run shows the others, to be copied by hand.",
        )
    notes = list(found.notes)
    changes: dict[KeyName, Any] = {}
    if found.rules:
        changes["models", "rules"] = found.rules
    for name, target in found.aliases.items():
        there = now.aliases.get(name)
        if there is None:
            changes["models", "aliases", name] = target
        elif there != target:
            notes.append(f"the alias {name} is kept; ccproxy has it for {target}")
    if found.default is not None and now.default is None:
        changes["models", "default"] = found.default
    elif found.default not in (None, now.default):
        notes.append(f"models.default is kept; ccproxy has {found.default}")
    return changes, notes


def _write(located: Located, changes: dict[KeyName, Any]) -> None:
    from app.configfile import edit_keys

    try:
        edit_keys(located.path, changes)
    except OSError as error:
        problem = ConfigProblem(
            str(located.path), 0, "", f"cannot be written: {error.strerror or error}"
        )
        raise ConfigError([problem]) from error


def _show(found: Imported) -> None:
    """Print the entries in YAML's flow form, one a line."""
    import msgspec

    def flow(value: Any) -> str:
        return msgspec.json.encode(value).decode()

    say("models:")
    if found.default is not None:
        say(f"  default: {flow(found.default)}")
    if found.aliases:
        say("  aliases:")
    for name, target in found.aliases.items():
        say(f"    {flow(name)}: {flow(target)}")
    if found.rules:
        say("  rules:")
    for rule in found.rules:
        say(f"    - {flow(rule)}")
