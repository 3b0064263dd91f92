"""The routing part of the settings as a text to edit: shown, checked while it is written, saved.

``GET /admin/routes`` answers with ``path``, ``text`` (the keys of ``models`` that decide where calls
go, comments included), ``problems`` and ``doubts``. ``POST /admin/routes/check`` takes ``text`` and,
if wanted, ``question`` (as ``POST /admin/route/explain``), and answers with ``faults`` (``key``,
``line`` of the text or 0, ``message``), ``doubts`` and the ``trace`` of the question under the new
rules; ``PUT /admin/routes`` takes ``text`` and writes it when it has no faults. Keys that name files
to run are none of these: they are read from the file alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import msgspec

from app.accounts.configured import configured_accounts
from app.accounts.vault import Vault
from app.canonical.parts import JsonObject
from app.config import Config
from app.configfile import Located, part, read, with_part
from app.configtext import load, render_path
from app.errors import AppError, ConfigError, ConfigProblem, RequestError
from app.gateway.exchange import Gateway
from app.rulesets.loading import Routing
from app.server.explain import explain_routes
from app.server.pages import Page, Takes
from app.server.rules import RuleDesk
from app.server.settings import SettingsDesk
from app.yamltree import parse_yaml

__all__ = ["ROUTING_KEYS", "RouteDesk", "RouteSource", "route_pages"]

ROUTING_KEYS = ("default", "aliases", "chains", "moves", "rules", "strategies", "weights", "retry")
_LONGEST = 200_000
"""Characters of a text; a thousand rules are fewer."""


class RouteSource(Protocol):
    """What this asks of the program."""

    located: Located
    env: Mapping[str, str]
    gateway: Gateway
    vault: Vault

    @property
    def problems(self) -> tuple[str, ...]:
        """Return why the settings on disk are not in force."""
        ...


class _RouteDraft(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    question: dict[str, Any] | None = None


class RouteDesk:
    """Shows, checks and writes the routing part of one program's settings.

    Args:
        source: the program.
        rules: those in force.
        settings: writes the file.
    """

    def __init__(self, source: RouteSource, rules: RuleDesk, settings: SettingsDesk) -> None:
        self._source = source
        self._rules = rules
        self._settings = settings

    @property
    def _path(self) -> Path:
        return self._source.located.path

    async def show(self) -> dict[str, Any]:
        """Return the text and what is known to be wrong with the settings.

        Raises:
            RequestError: the file cannot be read as settings.
        """
        try:
            text = await asyncio.to_thread(self._text)
        except ConfigError as error:
            raise RequestError(
                f"{error.problems[0]}.",
                status=409,
                code="settings_unreadable",
                hint="`dragoman config edit` opens the file.",
            ) from error
        return {
            "path": str(self._path),
            "text": text,
            "problems": list(self._source.problems),
            "doubts": list(self._rules.doubts),
        }

    def _text(self) -> str:
        return part(self._path, read(self._source.located), "models", ROUTING_KEYS)

    async def check(self, text: str, question: JsonObject | None = None) -> dict[str, Any]:
        """Say what is wrong with a text, and where a call would go under it."""
        routing, faults = await asyncio.to_thread(self._read, text)
        answer: dict[str, Any] = {"faults": faults, "doubts": [], "trace": None}
        if routing is None:
            return answer
        answer["doubts"] = [str(doubt) for doubt in routing.doubts]
        if question is not None:
            try:
                answer["trace"] = await self._rules.explain(
                    self._source.gateway, question, routing.rules
                )
            except AppError as error:
                answer["error"] = error.text
        return answer

    async def save(self, text: str) -> dict[str, Any]:
        """Write a text that has no faults, and put it in force; returns as ``check``."""
        routing, faults = await asyncio.to_thread(self._read, text)
        if routing is None:
            return {"faults": faults, "doubts": [], "notes": []}
        done = await self._settings.rewrite(lambda old: self._whole(old, text))
        return {
            "faults": [],
            "doubts": [str(doubt) for doubt in routing.doubts],
            "notes": done["problems"],
        }

    def _whole(self, old: str, text: str) -> str:
        return with_part(self._path, old, "models", ROUTING_KEYS, text)

    def _read(self, text: str) -> tuple[Routing | None, list[dict[str, Any]]]:
        """Return what a text would put in force, or its faults."""
        source, file = self._source, str(self._path)
        try:
            parsed = parse_yaml(text)
            if parsed.faults:
                raise ConfigError(
                    [
                        ConfigProblem("", f.line, render_path(f.path), f.message)
                        for f in parsed.faults
                    ]
                )
            whole = self._whole(read(source.located), text)
            config: Config = load(whole, file, source.env)
            accounts, problems = configured_accounts(config, source.env, file)
            catalog = None
            if source.vault.state.name == "open" or not source.vault.held_ids():
                accounts, catalog = source.gateway.roster.accounts(), source.gateway.catalog
            return self._rules.load(config, accounts, problems, text=whole, catalog=catalog), []
        except ConfigError as error:
            return None, [_shown(problem, text) for problem in error.problems]


def _shown(problem: ConfigProblem, text: str) -> dict[str, Any]:
    """Return a fault with its line in the text; 0 for one that lies elsewhere."""
    key = problem.key.removeprefix("models.")
    line = problem.line if problem.file == "" else 0
    if problem.file and key != problem.key:
        lines = {render_path(path): number for path, number in parse_yaml(text).lines.items()}
        while key and not line:
            line = lines.get(key, 0)
            key = key.rpartition(".")[0]
    return {"key": problem.key, "line": line, "message": problem.message}


class _RoutePage(Page):
    kind = "control"

    def initialize(self, control: Any, desk: RouteDesk) -> None:  # type: ignore[override]
        super().initialize(control)
        self.desk = desk

    def draft(self) -> _RouteDraft:
        """Return the body.

        Raises:
            RequestError: it is wrong.
        """
        try:
            draft = msgspec.json.decode(self.request.body, type=_RouteDraft)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise RequestError(f"The body is wrong: {error}.", code="invalid_json") from error
        if len(draft.text) > _LONGEST:
            raise RequestError(f"More than {_LONGEST} characters.", status=413, param="text")
        return draft


class _Routes(_RoutePage):
    takes: ClassVar[Takes] = {"put": _RouteDraft}

    async def get(self) -> None:
        self.send_json(await self.desk.show())

    async def put(self) -> None:
        done = await self.desk.save(self.draft().text)
        self.send_json(done, 422 if done["faults"] else 200)


class _Check(_RoutePage):
    takes: ClassVar[Takes] = {"post": _RouteDraft}

    async def post(self) -> None:
        draft = self.draft()
        self.send_json(await self.desk.check(draft.text, draft.question))


def route_pages(
    control: Any, source: RouteSource, rules: RuleDesk, settings: SettingsDesk
) -> list[Any]:
    """Return the routes about routing, for ``page_routes``; the arguments are those of the desk."""
    shared = {"control": control, "desk": RouteDesk(source, rules, settings)}
    return [
        *explain_routes(control, lambda body: rules.explain(source.gateway, body)),
        (r"/admin/routes", _Routes, shared),
        (r"/admin/routes/check", _Check, shared),
    ]
