"""``dragoman disconnect``: give agents back the settings that they had."""

from __future__ import annotations

import typer

from app.cli.connect import (
    AgentArgument,
    AllOption,
    DryRunOption,
    YesOption,
    carry_out,
    connections,
    show_results,
)
from app.cli.status import JsonOption

__all__ = ["disconnect"]


def disconnect(
    agent: AgentArgument = None,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Give an agent its own settings back.

    Files that nobody else changed become what they were, byte for byte; from others only the values
    that connect wrote are taken out. Where nobody can be asked it goes ahead: an uninstaller must.
    """
    if (agent is None) is not every:
        raise typer.BadParameter("Name an agent, or give --all.")
    known = connections()
    names = list(known.names()) if agent is None else [agent]
    results = [
        carry_out(
            known,
            name,
            known.propose_undo,
            write=not dry_run,
            yes=yes,
            as_json=as_json,
            must_ask=False,
        )
        for name in names
    ]
    show_results(results, as_json)
