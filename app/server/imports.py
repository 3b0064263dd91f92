"""Sign-ins of other programs on this machine: what there is, and taking one that was chosen."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from app.accounts.desk import Desk
from app.accounts.imports import Found, Listing, find
from app.errors import RequestError
from app.providers.base import Provider
from app.server.pages import Control, Takes
from app.server.signin import AccountPage

__all__ = ["import_routes"]


class _ImportChoice(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    label: str | None = None
    consent: str = ""
    folder: str = msgspec.field(name="from", default="")


class _Imports(AccountPage):
    kind = "control"
    takes: ClassVar[Takes] = {"post": _ImportChoice}
    look: Callable[[Path | None], Listing]

    def initialize(  # type: ignore[override] # Tornado gives each route its own arguments
        self, control: Control, desk: Desk, look: Callable[[Path | None], Listing]
    ) -> None:
        super().initialize(control, desk)
        self.look = look

    async def get(self) -> None:
        listing = await self._listing(self.get_query_argument("from", ""))
        providers = self.desk.book.providers
        self.send_json(
            {
                "found": [_shown(one, providers.get(one.provider)) for one in listing.found],
                "problems": msgspec.to_builtins(listing.problems),
            }
        )

    async def post(self) -> None:
        chosen = self.read_body(_ImportChoice)
        listing = await self._listing(chosen.folder)
        found = next((one for one in listing.found if one.key == chosen.key), None)
        if found is None:
            raise RequestError(
                f"There is no sign-in {chosen.key[:200]!r} to take.",
                hint="`dragoman login --import` lists them.",
                status=404,
                code="unknown_import",
            )
        view, repaired = await self.desk.take(found, label=chosen.label, consent=chosen.consent)
        self.send_json(
            {
                "account": msgspec.to_builtins(view),
                "repaired": repaired,
                "warning": found.warning,
            },
            201,
        )

    async def _listing(self, folder: str) -> Listing:
        path = Path(folder) if folder else None
        if path is not None and not path.is_absolute():
            raise RequestError("from must be a whole path of a folder.", param="from")
        return await asyncio.to_thread(self.look, path)


def _shown(found: Found, provider: Provider | None) -> dict[str, Any]:
    """Return a sign-in without its secrets."""
    consent = None if provider is None else provider.consent
    return {
        "key": found.key,
        "program": found.program,
        "path": found.path,
        "provider": found.provider,
        "title": "" if provider is None else provider.title,
        "what": found.what,
        "name": found.identity.name,
        "plan": found.identity.plan,
        "organization": found.identity.organization,
        "can_be_taken": found.credential is not None and provider is not None,
        "refusal": found.refusal,
        "warning": found.warning,
        "notice": "" if provider is None else provider.notice,
        "consent": None if consent is None else consent.version,
    }


def import_routes(
    control: Control, desk: Desk, env: Mapping[str, str], home: Path | None = None
) -> list[Any]:
    """Return the route, for ``page_routes``.

    Args:
        control: the program.
        desk: takes what was chosen.
        env: the variables by which other programs move their files.
        home: where they are else; None for the user's home folder.
    """
    look = functools.partial(_find, home or Path.home(), env)
    return [(r"/admin/imports", _Imports, {"control": control, "desk": desk, "look": look})]


def _find(home: Path, env: Mapping[str, str], folder: Path | None) -> Listing:
    return find(home, env, folder=folder)
