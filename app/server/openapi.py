"""``GET /admin/openapi.json``: the description of everything that this program serves.

It is made with the first question and kept; until then nothing of it is even imported.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from app import __version__
from app.server.pages import Page

if TYPE_CHECKING:
    from tornado.web import Application

    from app.server.inference import Inference

__all__ = ["Description", "description_routes"]


class Description:
    """Describes one program's routes, once.

    Args:
        inference: the inference routes.
    """

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self._making = threading.Lock()
        self._made: bytes | None = None

    def read(self, pages: Application) -> bytes:
        """Return the document as JSON; blocks for about a tenth of a second, the first time.

        Args:
            pages: all other routes.
        """
        with self._making:
            if self._made is None:
                self._made = self._make(pages)
            return self._made

    def _make(self, pages: Application) -> bytes:
        from app.server.openapi_document import describe, served_entries, served_pages

        inference = self._inference
        served = [
            *served_entries(inference.exact, inference.patterns),
            *served_pages(_rules(pages)),
        ]
        return msgspec.json.encode(describe(served, __version__))


def _rules(pages: Application) -> Iterable[tuple[str, type[Any]]]:
    for rule in pages.wildcard_router.rules:
        yield rule.matcher.regex.pattern, rule.target  # type: ignore[attr-defined]  # of a path's matcher


class _Document(Page):
    kind = "control"

    def initialize(self, control: Any, description: Description) -> None:  # type: ignore[override]
        super().initialize(control)
        self.description = description

    async def get(self) -> None:
        self.send_json(await asyncio.to_thread(self.description.read, self.application))


def description_routes(control: Any, inference: Inference) -> list[Any]:
    """Return the route, for ``page_routes``.

    Args:
        control: what all pages share.
        inference: the inference routes, to be described, too.
    """
    shared = {"control": control, "description": Description(inference)}
    return [(r"/admin/openapi\.json", _Document, shared)]
