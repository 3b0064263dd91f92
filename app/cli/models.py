"""``dragoman models``: what can be asked for now."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import urlencode

import typer

from app.cli.running import address_of, client_of, find_running, places
from app.cli.status import JsonOption
from app.cli.terminal import NotRunning, note, say, show_json, show_table

__all__ = ["models"]

_REFRESH_S: Final = 90.0
"""Services that do not answer are waited for."""


def models(
    as_json: JsonOption = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask the services and models.dev first.")
    ] = False,
    url: Annotated[
        bool,
        typer.Option("--url", help="Print the address for programs that read models.dev's form."),
    ] = False,
    key: Annotated[
        str | None, typer.Option("--key", help="With --url: only the models of this key.")
    ] = None,
) -> None:
    """List the models that the running proxy serves now."""
    if key is not None and not url:
        raise typer.BadParameter("--key goes with --url.")
    if url:
        say(_address(key))
        return
    record = find_running(places())
    if record is None:
        raise NotRunning
    client = client_of(record, timeout_s=_REFRESH_S if refresh else 10.0)
    if refresh:
        client.post("/admin/models/refresh")
    answer: dict[str, Any] = client.get("/v1/models")
    if as_json:
        show_json(answer)
        return
    rows = [_row(model) for model in answer["data"]]
    if rows:
        columns = ("MODEL", "FROM", "ACCOUNTS", "CONTEXT", "ANSWER", "READS", "THINKS", "PRICE")
        show_table(columns, rows)
    else:
        note("No account offers a model now; `dragoman status` says why.")


def _address(key: str | None) -> str:
    """Return what ``OPENCODE_MODELS_URL`` takes, which appends ``/api.json``."""
    record = find_running(places())
    if record is None:
        raise NotRunning
    if key is None:
        return f"{address_of(record)}/models"
    query = urlencode({"key": key})
    path: str = client_of(record).get(f"/admin/models/address?{query}")["path"]
    return address_of(record) + path


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    more = model.get("x_dragoman", {})
    reasoning = more.get("reasoning")
    return (
        model["id"],
        model.get("owned_by") or "",
        ", ".join(more.get("accounts", ())),
        _tokens(model.get("max_input_tokens")),
        _tokens(model.get("max_tokens")),
        ", ".join(kind for kind in more.get("reads", ()) if kind != "text"),
        "" if reasoning is None else "yes" if reasoning else "no",
        _price(more.get("prices", {})),
    )


def _tokens(count: int | None) -> str:
    if count is None:
        return ""
    if count >= 1_000_000:
        return f"{count / 1_000_000:.3g} M"
    return f"{count / 1_000:.3g} k" if count >= 1_000 else str(count)


def _price(prices: dict[str, float]) -> str:
    """Return dollars per million tokens of input and output: ``$3 / $15``."""
    if "input" not in prices or "output" not in prices:
        return ""
    return f"${prices['input']:.6g} / ${prices['output']:.6g}"
