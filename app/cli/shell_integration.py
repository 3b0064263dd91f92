"""``dragoman shell-integration``: the environment of shells, and completion."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.connect import DryRunOption, YesOption
from app.cli.running import places
from app.cli.terminal import FAILED, note, say
from app.cli.typed import is_terminal
from app.errors import RequestError

if TYPE_CHECKING:
    from app.clients.plan import FileEdit
    from app.clients.shell_scripts import CommandWords, ShellName

__all__ = ["command_words", "shell_integration"]


def shell_integration(
    context: typer.Context,
    shell: Annotated[
        str | None,
        typer.Argument(metavar="[SHELL]", help="bash, zsh, fish or powershell.  [default: yours]"),
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="Have new shells read it, after showing the change.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Undo --install.")] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> None:
    """Print a script that points shells here.

    It sets the variables of SDKs and agents while Dragoman answers, unsets them when it does not,
    and completes the commands of dragoman.
    """
    from app.clients.agent import PLACEHOLDER_KEY
    from app.clients.detect import machine_here
    from app.clients.shell_scripts import render_script
    from app.clients.shells import integration, plan_install, plan_remove
    from app.clients.writer import read_file

    if install and remove:
        raise typer.BadParameter("Give --install or --remove, not both.")
    machine = machine_here(places())
    name = _shell_name(shell)
    script = render_script(
        name,
        str(places().runtime / "instance.json"),
        str(machine.data / "env"),
        command_words(context.find_root().command),
        PLACEHOLDER_KEY,
    )
    if not install and not remove:
        sys.stdout.write(script)
        sys.stdout.flush()
        return
    place = integration(name, machine)
    paths = [path for path in (place.script, place.start_up) if path is not None]
    files = {path: read_file(path) for path in paths}
    edits = plan_install(place, script, files) if install else plan_remove(place, files)
    _write(edits, write=not dry_run, yes=yes, ask=install)


def _shell_name(name: str | None) -> ShellName:
    from app.clients.detect import machine_here
    from app.clients.shell_scripts import SHELLS
    from app.clients.shells import shell_of

    if name is None and (found := shell_of(machine_here(places()))) is not None:
        return found
    for shell in SHELLS:
        if shell == name:
            return shell
    what = "Which shell is yours is not known" if name is None else f"{name} is no known shell"
    raise RequestError(f"{what}.", code="unknown_shell", hint=f"Name one of {', '.join(SHELLS)}.")


def _write(edits: tuple[FileEdit, ...], *, write: bool, yes: bool, ask: bool) -> None:
    from app.clients.writer import write_edits

    changes = [edit for edit in edits if edit.changes]
    if not changes:
        say("It is as it should be.")
        return
    for edit in changes:
        if edit.path.suffix in (".bash", ".zsh", ".fish", ".ps1") and edit.action != "change":
            say(f"{edit.action}: {edit.path}")  # a long file of our own
        else:
            sys.stdout.write(edit.diff())
    if not write:
        return
    if not yes and is_terminal(sys.stdin):
        if not typer.confirm("Write this?", default=False, err=True):
            note("Nothing was written.")
            raise typer.Exit(FAILED)
    elif not yes and ask:
        raise RequestError(
            "Nobody can be asked here, so nothing was written.",
            code="not_confirmed",
            hint="Add --yes, or --dry-run to see the change only.",
        )
    write_edits(changes)
    say("Done. Shells that are opened from now on have it.")


def command_words(program: Any) -> CommandWords:
    """Return what can follow each command: commands, options and known arguments.

    Args:
        program: the command of ``typer``, which gives the class that it builds no public name.
    """
    found: dict[tuple[str, ...], list[str]] = {}
    _gather(program, (), found)
    return found


def _gather(command: Any, at: tuple[str, ...], found: dict[tuple[str, ...], list[str]]) -> None:
    commands: dict[str, Any] = getattr(command, "commands", {})
    words = sorted(name for name, child in commands.items() if not child.hidden)
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            words += _values(at, parameter.name)
        elif not parameter.hidden:
            words += [word for word in parameter.opts if word.startswith("--")]
    found[at] = [*words, "--help"] if "--help" not in words else words
    for name in sorted(commands):
        if not commands[name].hidden:
            _gather(commands[name], (*at, name), found)


def _values(at: tuple[str, ...], argument: str) -> list[str]:
    """Return the values that an argument can have, where they are few."""
    from app.clients import AGENTS
    from app.clients.shell_scripts import SHELLS

    if argument == "agent":
        return [
            name
            for name, agent in AGENTS.items()
            if (agent.runnable if at == ("run",) else agent.editable)
        ]
    return list(SHELLS) if argument == "shell" else []
