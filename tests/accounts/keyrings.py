"""Keyrings and records for the tests of the vault."""

import threading

from app.accounts.keychain import KeyringFault
from app.accounts.record import Record
from app.providers.credential import Credential, Identity


class MemoryKeyring:
    """A keyring in a dictionary; ``trouble`` makes it refuse as a real one does."""

    def __init__(self, trouble=None):
        self.entries = {}
        self.trouble = trouble
        self.calls = []

    def read(self, entry):
        self.calls.append(("read", entry))
        self._check()
        return self.entries.get(entry)

    def write(self, entry, secret):
        self.calls.append(("write", entry))
        self._check()
        self.entries[entry] = secret

    def _check(self):
        if self.trouble is not None:
            raise KeyringFault(self.trouble, "the store said so")


class HangingKeyring(MemoryKeyring):
    """Answers no call before ``go`` is set."""

    def __init__(self):
        super().__init__()
        self.go = threading.Event()

    def _check(self):
        self.go.wait()
        super()._check()


TOKEN = "access-token-one"


def record(label="claude-1", secret=TOKEN, provider="claude", **more):
    return Record(
        provider=provider,
        label=label,
        credential=Credential(
            secret,
            kind="oauth",
            expires_at=1_800_000_000.5,
            renewal=f"renewal-of-{secret}",
            facts={"account_id": "a-1"},
            obtained_at=1_700_000_000.0,
        ),
        identity=Identity("id-1", "person@example.com", "max", "Example"),
        way="code",
        created_at=1_700_000_000.0,
        **more,
    )
