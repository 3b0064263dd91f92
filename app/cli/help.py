"""``dragoman help``: the documentation in the terminal, without a running instance."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.terminal import say, show_markdown
from app.errors import RequestError
from app.help import nearest_help, read_entries, read_groups, read_page

__all__ = ["show_help"]


def show_help(
    word: Annotated[
        str | None, typer.Argument(metavar="PAGE_OR_CODE", help="What to read about.")
    ] = None,
) -> None:
    """Show a page of the help, or what an error code means."""
    if word is None:
        _list_pages()
        return
    if (text := read_page(word)) is not None:
        show_markdown(text)
        return
    entry = read_entries().get(word)
    if entry is None:
        near = nearest_help(word)
        hint = f"Near: {', '.join(near)}." if near else "`dragoman help` lists the pages."
        raise RequestError(
            f"There is no help for {word[:200]!r}.", status=404, code="no_help_page", hint=hint
        )
    show_markdown(f"# {word}\n\n{entry}")


def _list_pages() -> None:
    groups = read_groups()
    width = max(len(page.name) for group in groups for page in group.pages)
    for group in groups:
        say(group.title)
        for page in group.pages:
            say(f"  {page.name:<{width}}  {page.about or page.title}")
        say()
    say("`dragoman help PAGE` shows a page, `dragoman help CODE` what an error code means.")
    say("`dragoman COMMAND --help` lists the options of a command.")
