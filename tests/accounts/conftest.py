"""Vaults that are closed after each test."""

import pytest

from app.accounts.vault import Vault
from tests.accounts.keyrings import MemoryKeyring


@pytest.fixture
def keyring():
    return MemoryKeyring()


@pytest.fixture
def make_vault(tmp_path, keyring, io_loop):
    """Return a function that makes a vault over one folder; all are closed at the end."""
    made = []

    def make(**options):
        options.setdefault("keyring", keyring)
        options.setdefault("now", lambda: 1_750_000_000.0)
        vault = Vault(options.pop("folder", tmp_path / "vault"), **options)
        made.append(vault)
        return vault

    yield make

    async def close():
        for vault in made:
            await vault.close()

    io_loop.asyncio_loop.run_until_complete(close())
