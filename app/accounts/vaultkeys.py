"""Which keys a vault is opened with: the keyring's, a passphrase's, or a new one.

A vault that needs keys from a passphrase asks for it first; then the keyring is asked for those that
lie there. A vault that needs none from a passphrase asks the keyring, which is given a first key
where nothing is held yet; a passphrase comes in where there is no keyring.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from app.accounts.keychain import Fetched, Keychain, KeyringFault, in_thread
from app.accounts.passphrase import Recipe, derive, read_file
from app.accounts.sealed import key_id
from app.accounts.shelf import Slot, Survey
from app.accounts.vaultstate import (
    FROM_PASSPHRASE,
    LOST_KEY,
    NEEDS_PASSPHRASE,
    OPEN,
    WRONG_PASSPHRASE,
    VaultState,
    closed_by,
    waiting_for_passphrase,
)
from app.errors import AccountError
from app.log import redact

__all__ = ["Ask", "Found", "VaultKeys", "Wish"]

Ask: TypeAlias = Callable[[], str | None]
"""Asks a person for the passphrase and may take its time; None: there is none."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What ``open`` was asked for."""

    ask: Ask | None = None
    memory_only: bool = False
    new_key: bool = False


@dataclass(slots=True, repr=False)
class Found:
    """The outcome of looking for keys."""

    state: VaultState
    keys: dict[str, bytes] = field(default_factory=dict)
    seal: str = ""
    """Id of the key that new versions are sealed with; empty when there is none."""
    made: Slot | None = None
    """A key that is not in the header yet."""
    closed: dict[str, VaultState] = field(default_factory=dict)
    """Why keys are not at hand."""


class VaultKeys:
    """Looks for keys; keeps none."""

    def __init__(
        self, keychain: Keychain, passphrase_file: Path | None, now: Callable[[], float]
    ) -> None:
        self._keychain = keychain
        self._passphrase_file = passphrase_file
        self._now = now

    async def answer(self) -> bool:
        """Wait for a keyring that was too slow; False when it owes no answer."""
        return await self._keychain.answer()

    async def look(self, survey: Survey, wish: Wish, *, late: bool) -> Found:
        """Return the keys that are at hand, and the state that follows.

        Args:
            survey: what the files need.
            wish: what ``open`` was asked for.
            late: take the answer of the call that was too slow, whatever it is.
        """
        if wish.new_key:
            return await self._begin(wish)
        recipes = survey.recipes
        if not recipes:
            return await self._from_keyring(survey, wish, late)
        text, problem = await self._passphrase(wish)
        keys = await asyncio.to_thread(_derive_all, text, recipes) if text is not None else {}
        why = WRONG_PASSPHRASE if text is not None else problem or NEEDS_PASSPHRASE
        found = Found(FROM_PASSPHRASE, keys, seal=list(keys)[-1]) if keys else Found(why)
        found.closed = {name: why for name in recipes if name not in keys}
        return await self._add_keyring(found, survey, late)

    async def _from_keyring(self, survey: Survey, wish: Wish, late: bool) -> Found:
        """Open with the keyring, or with a first passphrase where there is none."""
        try:
            got = await self._keychain.fetch(survey.in_keyring, make=not survey.needed, late=late)
        except KeyringFault as fault:
            closed = closed_by(fault)
            text, problem = await self._passphrase(wish)
            if text is None:
                return Found(problem or closed)
            found = await self._from_passphrase(text, survey.spare)
            found.closed = dict.fromkeys(survey.in_keyring, closed)
            return found
        return self._opened(got, survey.in_keyring) if got.keys else Found(LOST_KEY)

    async def _add_keyring(self, found: Found, survey: Survey, late: bool) -> Found:
        """Fetch the keys that some files need beside the passphrase's."""
        names = survey.in_keyring if survey.needed else ()
        if not names:
            return found
        try:
            got = await self._keychain.fetch(names, make=False, late=late)
        except KeyringFault as fault:
            found.closed |= dict.fromkeys(names, closed_by(fault))
            return found
        if got.keys and not found.keys:
            opened = self._opened(got, names)
            opened.closed = found.closed
            return opened
        found.keys |= got.keys
        found.closed |= dict.fromkeys(set(names) - got.keys.keys(), LOST_KEY)
        return found

    async def _begin(self, wish: Wish) -> Found:
        """Make a new key."""
        text, problem = await self._passphrase(wish)
        if text is not None:
            return await self._from_passphrase(text, {})
        if problem is not None:
            return Found(problem)
        try:
            return self._opened(await self._keychain.fetch((), make=True), ())
        except KeyringFault as fault:
            return Found(closed_by(fault))

    def _opened(self, got: Fetched, names: Iterable[str]) -> Found:
        made = Slot(key=got.made, made_at=self._now()) if got.made else None
        newest = got.made or [name for name in names if name in got.keys][-1]
        return Found(OPEN, dict(got.keys), seal=newest, made=made)

    async def _from_passphrase(self, text: str, spare: Mapping[str, Recipe]) -> Found:
        keys = await asyncio.to_thread(_derive_all, text, spare)
        if keys:
            return Found(FROM_PASSPHRASE, keys, seal=list(keys)[-1])
        recipe = Recipe.fresh()
        key = await asyncio.to_thread(derive, text, recipe)
        slot = Slot(key=key_id(key), recipe=recipe, made_at=self._now())
        return Found(FROM_PASSPHRASE, {slot.key: key}, seal=slot.key, made=slot)

    async def _passphrase(self, wish: Wish) -> tuple[str | None, VaultState | None]:
        """Return the passphrase, from file or person, and what kept the file from giving it."""
        problem: VaultState | None = None
        text: str | None = None
        if self._passphrase_file is not None:
            try:
                text = await asyncio.to_thread(read_file, self._passphrase_file)
            except AccountError as error:
                problem = waiting_for_passphrase(error.message, error.hint)
        if text is None and wish.ask is not None:
            text = await in_thread(wish.ask, "passphrase") or None
        redact(text)
        return text, problem


def _derive_all(text: str, recipes: Mapping[str, Recipe]) -> dict[str, bytes]:
    """Return the keys that a passphrase opens, by id, in the order of the recipes."""
    keys = {}
    for name, recipe in recipes.items():
        key = derive(text, recipe)
        if key_id(key) == name:
            keys[name] = key
    return keys
