"""Write the manual page and shell completions from the command line itself.

::

    PYTHONPATH=. .venv/bin/python packaging/pages.py FOLDER

writes ``dragoman.1``, ``dragoman.bash``, ``_dragoman`` (zsh) and ``dragoman.fish``. The completions
complete words only; ``dragoman shell-integration`` also points shells at the running program.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import commandline

__all__ = ["main", "render_bash", "render_fish", "render_manual", "render_zsh"]

Words = Mapping[tuple[str, ...], Sequence[str]]


def _escape(text: str) -> str:
    """Return text for roff: no line is a request, and a minus is a minus."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(
        f"\\&{line}" if line.startswith((".", "'")) else line for line in escaped.splitlines()
    )


def render_manual(program: Any, version: str) -> str:
    """Return the manual page in roff.

    Args:
        program: the command of ``typer``.
        version: of the program.
    """
    lines = [
        f'.TH DRAGOMAN 1 "" "dragoman {version}" "User Commands"',
        ".SH NAME",
        "dragoman \\- one local address for every model account",
        ".SH SYNOPSIS",
        ".B dragoman",
        "[\\fICOMMAND\\fR [\\fIARGUMENTS\\fR]]",
        ".SH DESCRIPTION",
        "Without a command it runs the proxy with a tray icon, and without the icon where there is",
        "no desktop. Agents find it at http://localhost:8317 in the dialects of OpenAI Chat, OpenAI",
        "Responses, Anthropic Messages and Gemini.",
        ".SH COMMANDS",
    ]
    for command in commandline.commands(program):
        usage = _escape(command.usage)
        lines += [".TP", f".B {_escape(' '.join(command.at))}"]
        lines[-1] += f" \\fI{usage}\\fR" if usage else ""
        lines.append(_escape(" ".join(command.help)))
        if command.options:
            lines.append(".RS")
            for option in command.options:
                names = f"{', '.join(option.names)} {option.value}".rstrip()
                lines += [".TP", f".B {_escape(names)}", _escape(option.help) or "\\&"]
            lines.append(".RE")
    lines += [
        ".SH FILES",
        ".TP",
        ".I ~/.config/dragoman/config.yaml",
        "Settings; none is needed.",
        ".TP",
        ".I ~/.local/share/dragoman",
        "Sealed accounts and the database.",
        ".SH EXIT STATUS",
        "0 when it did what was asked; 1 when it could not, with a sentence saying why; 2 for a",
        "command line that it does not understand; 3 when it needs a running Dragoman and none runs.",
    ]
    return "\n".join(lines) + "\n"


def render_bash(words: Words) -> str:
    """Return a completion for bash.

    Args:
        words: commands as typed → what can follow.
    """
    cases = "\n".join(
        f"    '{' '.join(at)}') found='{' '.join(following)}' ;;"
        for at, following in sorted(words.items())
    )
    return f"""# Completion of dragoman for bash; written by packaging/pages.py.
_dragoman() {{
  local at='' found='' word next
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    next=${{at:+$at }}$word
    _dragoman_words "$next" && at=$next
  done
  _dragoman_words "$at"
  mapfile -t COMPREPLY < <(compgen -W "$found" -- "${{COMP_WORDS[COMP_CWORD]}}")
}}

_dragoman_words() {{
  case $1 in
{cases}
    *) return 1 ;;
  esac
}}

complete -o default -F _dragoman dragoman
"""


def render_zsh(words: Words) -> str:
    """Return a completion for zsh; see ``render_bash``."""
    cases = "\n".join(
        f"    '{' '.join(at)}') found=({' '.join(following)}) ;;"
        for at, following in sorted(words.items())
    )
    return f"""#compdef dragoman
# Completion of dragoman for zsh; written by packaging/pages.py.
_dragoman_words() {{
  case $1 in
{cases}
    *) return 1 ;;
  esac
}}

_dragoman() {{
  local at='' word next
  local -a found
  for word in "${{(@)words[2,CURRENT-1]}}"; do
    next="${{at:+$at }}$word"
    _dragoman_words "$next" && at=$next
  done
  _dragoman_words "$at"
  compadd -- $found || _files
}}

_dragoman "$@"
"""


def render_fish(words: Words) -> str:
    """Return a completion for fish; see ``render_bash``."""
    cases = "\n".join(
        f"        case '{' '.join(at)}'\n            string split ' ' -- '{' '.join(following)}'"
        for at, following in sorted(words.items())
    )
    return f"""# Completion of dragoman for fish; written by packaging/pages.py.
function __dragoman_words
    switch "$argv[1]"
{cases}
        case '*'
            return 1
    end
end

function __dragoman_next
    set -l at ''
    for word in (commandline -opc)[2..-1]
        set -l next (string trim -- "$at $word")
        __dragoman_words "$next" >/dev/null; and set at $next
    end
    __dragoman_words "$at"
end

complete -c dragoman -f -a '(__dragoman_next)'
"""


def main(folder: Path) -> None:
    """Write all four files into a folder."""
    from app import __version__
    from app.cli.shell_integration import command_words

    program = commandline.program()
    words = command_words(program)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("dragoman.1", render_manual(program, __version__)),
        ("dragoman.bash", render_bash(words)),
        ("_dragoman", render_zsh(words)),
        ("dragoman.fish", render_fish(words)),
    ):
        (folder / name).write_text(text, "utf-8", newline="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
