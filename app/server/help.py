"""The help for a browser: ``GET /help``, ``/help/NAME`` and ``/help/CODE``.

Open to whoever may reach the port, as ``/healthz`` is: the pages are the published documentation
and hold nothing of this installation, and an error's address has to work for every caller that can
be told of it, whatever key it lacks. ``Host`` is checked as everywhere. Nothing on the pages runs:
the content security policy allows our style and our images alone.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from app.errors import RequestError
from app.help import INDEX, TROUBLESHOOTING, has_entry, nearest_help, read_page
from app.paths import asset
from app.server.guard import Kind
from app.server.helptext import render_missing, render_page
from app.server.pages import Control, Page

__all__ = ["help_routes"]

_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_HTML = "text/html; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"
_IMAGES = {"png": "image/png", "svg": "image/svg+xml"}


class _HelpPage(Page):
    kind: ClassVar[Kind] = "open"

    def send(self, content: bytes, kind: str, status: int = 200) -> None:
        """Answer with a page or a file of the help."""
        self.send_file(content, kind, _POLICY, status)


class _Show(_HelpPage):
    async def get(self, name: str = INDEX) -> None:
        """Show a page, or lead to a code's entry on its page."""
        if read_page(name) is not None:
            # The first time a long page takes a while to render.
            self.send(await asyncio.to_thread(render_page, name), _HTML)
        elif has_entry(name):
            self.set_header("Cache-Control", "no-cache")
            self.redirect(f"/help/{TROUBLESHOOTING}#{name}", status=302)
        else:
            self.send(render_missing(name[:200], nearest_help(name[:200])), _HTML, 404)


class _File(_HelpPage):
    """A file beside the pages. Names are matched as a whole, so that no path leads out."""

    def initialize(self, control: Control, folder: str) -> None:  # type: ignore[override]
        super().initialize(control)
        self.folder = folder

    def get(self, name: str) -> None:
        try:
            content = asset(f"{self.folder}/{name}").read_bytes()
        except OSError:
            raise RequestError(
                f"There is no file {name}.", status=404, code="route_not_found"
            ) from None
        if name.endswith(".css"):
            self.send(content, "text/css; charset=utf-8")
        else:
            self.send(content, _IMAGES.get(name.rpartition(".")[2], _TEXT))


def help_routes(control: Any) -> list[Any]:
    """Return the routes, for ``page_routes``.

    Args:
        control: what all pages share.
    """
    shared = {"control": control}
    beside = {folder: shared | {"folder": folder} for folder in ("dashboard", "images")}
    examples = shared | {"folder": "docs/examples"}
    return [
        (r"/help/?", _Show, shared),
        (r"/help/(?P<name>help\.css)", _File, beside["dashboard"]),
        (r"/help/images/(?P<name>[\w-]+\.(?:png|svg))", _File, beside["images"]),
        (r"/help/examples/(?P<name>[\w-]+(?:\.[\w-]+)*)", _File, examples),
        (r"/help/(?P<name>[^/]+)", _Show, shared),
    ]
