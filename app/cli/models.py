"""``dragoman models``: what can be asked for now."""

from __future__ import annotations

from typing import Any

from app.cli.running import connect
from app.cli.status import JsonOption
from app.cli.terminal import note, show_json, show_table

__all__ = ["models"]


def models(as_json: JsonOption = False) -> None:
    """List the models that the running proxy serves."""
    answer: dict[str, Any] = connect().get("/v1/models")
    if as_json:
        show_json(answer)
        return
    rows = [
        (
            model["id"],
            model.get("owned_by") or "",
            ", ".join(model.get("x_dragoman", {}).get("accounts", ())),
        )
        for model in answer["data"]
    ]
    if rows:
        show_table(("MODEL", "FROM", "ACCOUNTS"), rows)
    else:
        note("No account offers a model now; `dragoman status` says why.")
