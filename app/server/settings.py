"""The settings as a form sees them, and changing them key by key with the file's comments kept.

Only keys that are listed here can be changed over HTTP. What starts programs, redirects keys and
tokens, or holds a secret is shown, without the secret, and read from the file alone: a page that
was taken over must not be able to send the user's accounts elsewhere. A key that is not listed is
locked, so that one which is added to the model later is safe until somebody has thought about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import msgspec

from app.config import Config, json_schema, warnings
from app.configfile import REMOVE, KeyName, Located, edit_keys, read
from app.errors import ConfigError, ConfigProblem, RequestError
from app.paths import write_private
from app.server.pages import Page, Takes

__all__ = ["SettingsDesk", "SettingsSource", "is_editable", "settings_routes"]

_EDITABLE: tuple[tuple[str, ...], ...] = (
    ("server", "host"),
    ("server", "port"),
    ("access", "keyless"),
    ("access", "hosts"),
    ("access", "origins"),
    ("providers", "*", "enabled"),
    ("providers", "*", "models"),
    ("providers", "*", "accounts", "*", "enabled"),
    ("providers", "*", "accounts", "*", "models"),
    ("models", "default"),
    ("models", "aliases"),
    ("models", "patterns"),
    ("models", "capabilities"),
    ("models", "prices"),
    ("models", "chains"),
    ("models", "registry"),
    ("upstream", "transport"),
    ("upstream", "connect_timeout_s"),
    ("upstream", "first_byte_timeout_s"),
    ("upstream", "idle_timeout_s"),
    ("upstream", "total_timeout_s"),
    ("websocket", "relay_max_frame_mb"),
    ("ledger", "bodies"),
    ("ledger", "bodies_days"),
    ("ledger", "bodies_each_kb"),
    ("ledger", "bodies_mb"),
    ("ledger", "retention_days"),
    ("ledger", "max_mb"),
    ("ledger", "budgets"),
    ("cache", "enabled"),
    ("cache", "ttl_s"),
    ("cache", "max_mb"),
    ("quota", "low_percent"),
    ("quota", "ask"),
    ("logging", "level"),
    ("logging", "json"),
    ("advanced", "max_body_mb"),
    ("advanced", "demo"),
)
"""Keys that may be changed here, with everything below them; ``*`` is any one name or place."""
_VARIABLE = "DRAGOMAN_"
_MAX_CHANGES = 100


class SettingsSource(Protocol):
    """What this asks of the program."""

    @property
    def config(self) -> Config:
        """Return the settings in force."""
        ...

    @property
    def env(self) -> Mapping[str, str]:
        """Return the environment that overrides them."""
        ...

    @property
    def problems(self) -> Sequence[str]:
        """Return why the settings on disk are not in force."""
        ...

    async def reload(self) -> dict[str, Any]:
        """Read the settings again; ``{"changed": bool, "problems": [str]}``."""
        ...


def is_editable(parts: Sequence[str]) -> bool:
    """Say whether a key may be changed over HTTP."""
    return any(
        len(parts) >= len(pattern)
        and all(want in ("*", part) for want, part in zip(pattern, parts, strict=False))
        for pattern in _EDITABLE
    )


class SettingsDesk:
    """Shows and changes the settings of one running program.

    Args:
        source: the program.
        path: the file.
    """

    def __init__(self, source: SettingsSource, path: Path) -> None:
        self._source = source
        self._path = path
        self._writing = asyncio.Lock()

    def show(self) -> dict[str, Any]:
        """Return all that a form needs.

        Returns:
            ``path``; ``schema`` (of the whole file); ``values`` (those in force, secrets masked);
            ``editable`` (patterns of keys, each a list with ``*`` for any name); ``overrides``
            (keys that a variable of the environment sets, to its name); ``problems`` and
            ``warnings``, one sentence each.
        """
        source = self._source
        return {
            "path": str(self._path),
            "schema": json_schema(),
            "values": source.config.model_dump(mode="json", by_alias=True),
            "editable": [list(pattern) for pattern in _EDITABLE],
            "overrides": _overrides(source.env),
            "problems": list(source.problems),
            "warnings": list(warnings(source.config, source.env)),
        }

    async def change(
        self, changes: Sequence[tuple[tuple[str, ...], Any]]
    ) -> tuple[dict[str, Any], tuple[ConfigProblem, ...]]:
        """Write keys and put them in force.

        Args:
            changes: key and value of each, in order; ``REMOVE`` takes a key out.

        Returns:
            What ``reload`` says, and the faults that keep the changes from being written: then
            nothing was.

        Raises:
            RequestError: 403 ``locked_setting``; 409 ``settings_unwritable``.
        """
        overrides = _overrides(self._source.env)
        for parts, _ in changes:
            if not is_editable(parts):
                raise RequestError(
                    f"{'.'.join(parts)} is changed in the file only.",
                    hint=f"Edit {self._path}, for example with `dragoman config edit`.",
                    status=403,
                    code="locked_setting",
                )
            if (name := overrides.get(".".join(parts))) is not None:
                raise RequestError(
                    f"{'.'.join(parts)} is set by {name} in the environment, which wins over the "
                    "file.",
                    status=403,
                    code="locked_setting",
                )
        wanted: dict[KeyName, Any] = {
            tuple(int(part) if part.isdecimal() else part for part in parts): value
            for parts, value in changes
        }
        async with self._writing:
            try:
                await asyncio.to_thread(edit_keys, self._path, wanted, self._source.env)
            except ConfigError as error:
                return {"changed": False, "problems": []}, error.problems
            except OSError as error:
                raise self._unwritable(error) from error
            return await self._source.reload(), ()

    async def rewrite(self, change: Callable[[str], str]) -> dict[str, Any]:
        """Write the file as ``change`` makes it of its text, and put it in force.

        Returns:
            What ``reload`` says.

        Raises:
            ConfigError: of ``change``, or the file cannot be read.
            RequestError: 409 ``settings_unwritable``.
        """

        def write() -> None:
            before = read(Located(self._path, "default"))
            newline = "\r\n" if "\r\n" in before else "\n"
            after = change(before.replace("\r\n", "\n"))
            write_private(self._path, after.replace("\n", newline).encode())

        async with self._writing:
            try:
                await asyncio.to_thread(write)
            except OSError as error:
                raise self._unwritable(error) from error
            return await self._source.reload()

    def _unwritable(self, error: OSError) -> RequestError:
        return RequestError(
            f"{self._path} cannot be written: {error.strerror or error}.",
            status=409,
            code="settings_unwritable",
        )


def _overrides(env: Mapping[str, str]) -> dict[str, str]:
    """Return keys that the environment sets, to the variable's name."""
    return {
        name.removeprefix(_VARIABLE).lower().replace("__", "."): name
        for name in env
        if name.startswith(_VARIABLE) and "__" in name
    }


class _SettingsChange(msgspec.Struct, forbid_unknown_fields=True):
    key: list[str]
    value: Any = None
    remove: bool = False


class _SettingsChanges(msgspec.Struct, forbid_unknown_fields=True):
    changes: list[_SettingsChange]


class _SettingsPage(Page):
    kind = "control"
    takes: ClassVar[Takes] = {"patch": _SettingsChanges}

    def initialize(self, control: Any, desk: SettingsDesk) -> None:  # type: ignore[override]
        super().initialize(control)
        self.desk = desk

    def get(self) -> None:
        self.send_json(self.desk.show())

    async def patch(self) -> None:
        try:
            wanted = msgspec.json.decode(self.request.body, type=_SettingsChanges)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise RequestError(f"The body is wrong: {error}.", code="invalid_json") from error
        if len(wanted.changes) > _MAX_CHANGES:
            raise RequestError(f"More than {_MAX_CHANGES} changes at once.", code="too_many")
        done, problems = await self.desk.change(
            [(tuple(e.key), REMOVE if e.remove else e.value) for e in wanted.changes]
        )
        if problems:
            faults = [
                {"key": problem.key, "line": problem.line, "message": problem.message}
                for problem in problems
            ]
            self.send_json({"faults": faults}, 422)
            return
        self.send_json({"faults": [], "notes": done["problems"], **self.desk.show()})


def settings_routes(control: Any, desk: SettingsDesk) -> list[Any]:
    """Return the route, for ``page_routes``."""
    return [(r"/admin/config", _SettingsPage, {"control": control, "desk": desk})]
