"""``dragoman serve``: the proxy in the foreground."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli import foreground

__all__ = ["ConfigOption", "PortOption", "serve"]

ConfigOption = Annotated[
    str | None, typer.Option("--config", metavar="FILE", help="Settings file to use.")
]
PortOption = Annotated[
    int | None,
    typer.Option("--port", min=0, max=65_535, help="Port to listen on; 0 takes any free one."),
]


def serve(
    config: ConfigOption = None,
    port: PortOption = None,
    background: Annotated[bool, typer.Option("--background", hidden=True)] = False,
) -> None:
    """Run the proxy in the foreground."""
    raise typer.Exit(foreground.run(config, port, background=background))
