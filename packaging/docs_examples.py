"""The page of examples: the text of the programs in ``assets/docs/examples/``, with a word to each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FOLDER", "SECTIONS", "Shown", "render"]

FOLDER = Path(__file__).resolve().parent.parent / "assets" / "docs" / "examples"

# What a text block is marked as; `sh` is kept for single commands, which are run line by line.
_LANGUAGES = {
    ".sh": "bash",
    ".py": "python",
    ".mjs": "javascript",
    ".yaml": "yaml",
    ".json": "json",
}

HEAD = """\
# Examples

Whole programs that run as they stand. Each is also a file of its own: `/help/examples/NAME` in a
running Dragoman, and `assets/docs/examples/NAME` in the source. They need a running Dragoman and
nothing else: without an account, the model `demo-chat` answers, offline.

Three variables change what they ask:

| variable | meaning | without it |
|---|---|---|
| `DRAGOMAN_URL` | where Dragoman is | `http://localhost:8317` |
| `DRAGOMAN_MODEL` | the model that is asked | `demo-chat`, or `demo-tools` |
| `DRAGOMAN_KEY` | a key of Dragoman | none is needed for your own programs on this machine |

All routes, with bodies, answers and errors, are in [API](api.md).
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """One file."""

    file: str
    about: str
    run: str = ""
    """The command that runs it; empty for what is no program."""
    needs: str = ""
    """What has to be there."""


SECTIONS: Sequence[tuple[str, Sequence[Shown]]] = (
    (
        "In a shell",
        (
            Shown(
                "chat.sh",
                "With curl: the whole answer, and the same as a stream of events.",
                "sh chat.sh",
                "curl 7.76 or later",
            ),
        ),
    ),
    (
        "In Python",
        (
            Shown(
                "chat_httpx.py",
                "With httpx, and no package of a vendor. It shows how to read the stream, and who "
                "served the answer.",
                "python chat_httpx.py",
                "`pip install httpx`",
            ),
            Shown(
                "chat_openai.py",
                "With OpenAI's package: Chat, a stream, and the Responses API, which remembers the "
                "conversation.",
                "python chat_openai.py",
                "`pip install openai`",
            ),
            Shown(
                "chat_anthropic.py",
                "With Anthropic's package: a message, a stream, and a count of tokens. Any model can "
                "be asked this way, not only Anthropic's.",
                "python chat_anthropic.py",
                "`pip install anthropic`",
            ),
            Shown(
                "chat_gemini.py",
                "With Google's package: an answer, a stream, and a count of tokens.",
                "python chat_gemini.py",
                "`pip install google-genai`",
            ),
            Shown(
                "tools.py",
                "The model calls a function of the program and uses its result.",
                "python tools.py",
                "`pip install openai`",
            ),
            Shown(
                "usage.py",
                "A look at the ledger: what was used in thirty days, by model. This is a control "
                "route, so `DRAGOMAN_KEY` must be an admin key: `dragoman keys create --admin`.",
                "python usage.py",
                "`pip install httpx`",
            ),
        ),
    ),
    (
        "In JavaScript",
        (
            Shown(
                "chat.mjs",
                "With `fetch` alone: one answer.",
                "node chat.mjs",
                "Node 18 or later; no packages",
            ),
            Shown(
                "stream.mjs",
                "With `fetch` alone: the answer while it is written.",
                "node stream.mjs",
                "Node 18 or later; no packages",
            ),
        ),
    ),
    (
        "A model server of your own",
        (
            Shown(
                "echo_server.py",
                "A server that speaks OpenAI Chat can be a provider, wherever it comes from. This "
                "one says what it was told.",
                "python echo_server.py",
                "Python 3.11 or later; no packages",
            ),
            Shown(
                "provider.yaml",
                "The settings that make it a provider. Servers that need a key have `api_key` "
                "there; [Any compatible server](provider-compatible.md) lists the keys. Rules in "
                "Python, which choose and change calls, are in "
                "[Rules and hooks of your own](extensions.md).",
            ),
        ),
    ),
    (
        "Settings of other programs",
        (
            Shown(
                "opencode.json",
                "OpenCode, in `~/.config/opencode/opencode.json`. `dragoman connect opencode` writes "
                "the same, with all your models, and can take it out again.",
            ),
            Shown(
                "continue.yaml",
                "Continue, in `~/.continue/config.yaml`. `dragoman connect continue` writes the "
                "same.",
            ),
        ),
    ),
)


def render() -> str:
    """Return the whole page."""
    import docs_api

    parts = [HEAD]
    for heading, files in SECTIONS:
        parts.append(f"## {heading}\n")
        for shown in files:
            file = FOLDER / shown.file
            lines = [f"### {shown.file}", "", docs_api.wrapped(shown.about), ""]
            if shown.run:
                told = f"Run it with `{shown.run}`. It needs {shown.needs}."
                lines += [docs_api.wrapped(told), ""]
            # Blocks of YAML are checked as settings of Dragoman, which this is not.
            language = _LANGUAGES[file.suffix] if shown.file != "continue.yaml" else "text"
            lines += [f"```{language}", file.read_text("utf-8").rstrip("\n"), "```", ""]
            parts.append("\n".join(lines))
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)
