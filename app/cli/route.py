"""``dragoman route``: where a call would go, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.running import connect
from app.cli.status import JsonOption
from app.cli.terminal import FAILED, say, show_json, show_table
from app.errors import AppError, RequestError

__all__ = ["route"]

_LONGEST = 64 * 1024 * 1024


def route(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[request.json]", help="A body as a client sends it; - is stdin."),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why: every rule and every account.")
    ] = False,
    model: Annotated[str | None, typer.Option("--model", help="The model asked for.")] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens", min=0, help="How long the prompt is.")
    ] = None,
    path: Annotated[
        str | None, typer.Option("--path", help="The path called, such as /v1/messages.")
    ] = None,
    stream: Annotated[
        bool | None, typer.Option("--stream/--no-stream", help="Whether it is streamed.")
    ] = None,
    thinking: Annotated[
        str | None,
        typer.Option("--thinking", help="none, low, medium, high, auto, or a number of tokens."),
    ] = None,
    tool: Annotated[
        list[str] | None, typer.Option("--tool", help="A tool that is offered; may be repeated.")
    ] = None,
    images: Annotated[
        bool | None, typer.Option("--images/--no-images", help="Whether there are images.")
    ] = None,
    client: Annotated[
        str | None, typer.Option("--client", help="The calling program, such as claude.")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", help="Label of the key used.")] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", help="NAME: VALUE; may be repeated.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say where a call would go; nothing is sent.

    Exit code 1 means that it would not be served.
    """
    question = {
        "request": None if file is None else _read(file),
        "path": path,
        "model": model,
        "tokens": tokens,
        "stream": stream,
        "thinking": thinking,
        "tools": tool or None,
        "images": images,
        "client": client,
        "key": key,
        "headers": dict(_field(line) for line in header or ()) or None,
    }
    body = {name: value for name, value in question.items() if value is not None}
    trace: dict[str, Any] = connect().post("/admin/route/explain", body)
    if as_json:
        show_json(trace)
    elif explain:
        _explain(trace)
    else:
        _answer(trace)
    if trace["error"]:
        raise typer.Exit(FAILED)


def _read(file: Path) -> Any:
    import sys

    import msgspec

    try:
        raw = sys.stdin.buffer.read(_LONGEST) if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise AppError(
            f"{file} cannot be read: {error.strerror or error}.", code="request_unreadable"
        ) from error
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"{file} is not valid JSON: {error}.") from error


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        raise RequestError(f"Expected NAME: VALUE, not {line!r}.", param="header")
    return name.strip(), value.strip()


def _answer(trace: dict[str, Any]) -> None:
    rule = f" ({trace['rule']})" if trace["rule"] else ""
    if trace["error"]:
        say(f"{trace['asked'] or 'no model'}{rule}: {trace['error']}")
        return
    first = trace["candidates"][0]
    say(f"{trace['asked'] or 'no model'}{rule}: {first['account']}, {first['model']}")


def _explain(trace: dict[str, Any]) -> None:
    say(f"Asked for:  {trace['asked'] or 'no model'}")
    say(f"Rule:       {trace['rule'] or 'none'}")
    say(f"Tried:      {', then '.join(trace['models'])}")
    if trace["rules"]:
        say("\nRules, in order:")
        show_table(
            ("RULE", "MATCHED", "WHY"),
            [(r["name"], "yes" if r["matched"] else "no", r["why"]) for r in trace["rules"]],
        )
    if trace["notes"]:
        say()
        for note in trace["notes"]:
            say(f"- {note}")
    if trace["candidates"]:
        say("\nAccounts, in order:")
        show_table(
            ("", "ACCOUNT", "MODEL", "DIALECT", "WHY"),
            [
                (str(number), c["account"], c["model"], c["dialect"], c["why"])
                for number, c in enumerate(trace["candidates"], 1)
            ],
        )
    if trace["left_out"]:
        say("\nLeft out:")
        show_table(("ACCOUNT", "WHY"), [(r["account"], r["why"]) for r in trace["left_out"]])
    if trace["error"]:
        say(f"\nAnswer:     {trace['error']}")
