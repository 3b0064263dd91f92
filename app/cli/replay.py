"""``dragoman replay``: ask a kept request again, and put the two answers side by side."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from app.cli.running import client_of, find_running, places
from app.cli.status import JsonOption
from app.cli.terminal import NotRunning, say, show_json, show_table

__all__ = ["render_columns", "replay"]

_LONGEST_S: Final = 900.0
"""An answer that is not streamed may take ten minutes."""
_WIDEST: Final = 160
_PIPE: Final = 120
_GAP: Final = " │ "
_PLAIN_GAP: Final = " | "


def replay(
    request: Annotated[
        str, typer.Argument(metavar="REQUEST_ID", help="Of the ledger: req_…", show_default=False)
    ],
    model: Annotated[
        str | None, typer.Option("--model", help="Another model.  [default: the same]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a request again and compare the answers.

    Prompts and answers have to be kept: `ledger: {bodies: true}` in the settings.
    """
    record = find_running(places())
    if record is None:
        raise NotRunning
    client = client_of(record, timeout_s=_LONGEST_S)
    answer: dict[str, Any] = client.post(
        f"/admin/requests/{quote(request, safe='')}/replay",
        {} if model is None else {"model": model},
    )
    if as_json:
        show_json(answer)
        return
    before, now = answer["original"], answer["replay"]
    show_table(
        ("", "THEN", "NOW"),
        [(name, *cells) for name, *cells in _facts(before, now) if any(cells)],
    )
    say()
    for line in render_columns(_said(before["answer"]), _said(now["answer"]), _width(), _gap()):
        say(line)


def _facts(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, render in (
        ("request", lambda side: side["id"]),
        ("model", lambda side: side["model"] or side["asked"] or ""),
        ("account", lambda side: side["account"] or ""),
        ("status", _status),
        ("stop", lambda side: side["answer"].get("stop") or ""),
        ("first content", lambda side: _seconds(side["first_ms"])),
        ("whole", lambda side: _seconds(side["duration_ms"])),
        ("input", _input),
        ("output", lambda side: _count(side["output"])),
        ("cost", _cost),
    ):
        yield name, render(before), render(now)


def _status(side: Mapping[str, Any]) -> str:
    status = side["status"] or side["answer"].get("status")
    error = side["error"]
    return f"{status or ''} {error or ''}".strip()


def _input(side: Mapping[str, Any]) -> str:
    if side["input"] is None:
        return ""
    cached = side["cache_read"] or 0
    whole = side["input"] + cached + (side["cache_write"] or 0)
    return f"{whole:,} ({cached:,} from the cache)" if cached else f"{whole:,}"


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _seconds(ms: int | None) -> str:
    if ms is None:
        return ""
    return f"{ms} ms" if ms < 1_000 else f"{ms / 1_000:.2f} s"


def _cost(side: Mapping[str, Any]) -> str:
    if side["cost_usd"] is None:
        return ""
    text = f"${side['cost_usd']:.6f}"
    return f"{text} (worth; a plan paid)" if side["worth"] else text


def _said(answer: Mapping[str, Any]) -> str:
    """Return an answer as people read it."""
    pieces = []
    for part in answer["parts"]:
        match part["type"]:
            case "text" | "refusal":
                pieces.append(part["text"])
            case "reasoning":
                if part["text"]:
                    pieces.append(f"[thought] {part['text']}")
            case "tool_call":
                pieces.append(f"[calls {part['name']}] {part['arguments']}")
            case other:
                pieces.append(f"[{other}]")
    if answer.get("error"):
        pieces.append(f"[failed] {answer['error']}")
    if answer.get("raw"):
        pieces.append(answer["raw"])
    if answer.get("cut"):
        pieces.append("[the rest was not kept]")
    return "\n".join(pieces) or "(nothing)"


def render_columns(left: str, right: str, width: int, gap: str = _GAP) -> list[str]:
    """Return two texts beside each other.

    Args:
        left: a text of any number of lines.
        right: the other.
        width: of both with the gap.
        gap: what stands between.
    """
    half = max(20, (width - len(gap)) // 2)
    rows = zip_longest(_wrapped(left, half), _wrapped(right, half), fillvalue="")
    return [f"{one:<{half}}{gap}{other}".rstrip() for one, other in rows]


def _wrapped(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for line in text.expandtabs(4).splitlines():
        shown = "".join(char if char.isprintable() else "\ufffd" for char in line)
        lines += textwrap.wrap(shown, width, replace_whitespace=False, drop_whitespace=True) or [""]
    return lines


def _width() -> int:
    if not sys.stdout.isatty():
        return _PIPE
    return min(_WIDEST, shutil.get_terminal_size().columns)


def _gap() -> str:
    try:
        _GAP.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return _PLAIN_GAP
    return _GAP
