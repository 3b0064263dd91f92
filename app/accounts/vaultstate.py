"""What state the vault is in, in words for people, and what they can do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from app.accounts.keychain import KeyringFault
from app.accounts.passphrase import PASSPHRASE_FILE

__all__ = [
    "FROM_PASSPHRASE",
    "LOST_KEY",
    "MEMORY_ONLY",
    "NEEDS_PASSPHRASE",
    "NOT_OPENED",
    "OPEN",
    "WRONG_PASSPHRASE",
    "Trouble",
    "VaultState",
    "VaultStateName",
    "closed_by",
    "waiting_for_passphrase",
]

VaultStateName: TypeAlias = Literal[
    "open",
    "passphrase",
    "memory_only",
    "locked",
    "absent",
    "slow",
    "denied",
    "wrong_key",
]


@dataclass(frozen=True, slots=True)
class VaultState:
    """Whether sign-ins can be kept.

    ``open``: with a key in the keyring. ``passphrase``: with a key from a passphrase.
    ``memory_only``: until the program ends, nothing is written. In the others nothing can be read
    or kept: ``locked`` (the keyring is, or a passphrase is needed), ``absent`` (no keyring),
    ``slow`` (no answer in time), ``denied`` (the keyring refuses), ``wrong_key`` (the key is lost,
    or the passphrase is another).
    """

    name: VaultStateName
    message: str
    """What is the case, in a sentence or two."""
    hint: str = ""
    """What a person can do; empty when there is nothing to do."""
    since: float = 0.0
    """Epoch seconds UTC."""

    @property
    def usable(self) -> bool:
        """Whether sign-ins can be stored and read."""
        return self.name in ("open", "passphrase", "memory_only")

    @property
    def durable(self) -> bool:
        """Whether sign-ins outlive the program."""
        return self.name in ("open", "passphrase")


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why one account's sign-in could not be read; the others are not touched by it."""

    account: str
    """Id of the account."""
    code: str
    """``damaged``, ``restored`` (the version before is used), ``newer`` (of a later Dragoman),
    ``unreadable`` (the disk), or the name of the vault's state."""
    message: str
    hint: str = ""


_OTHERWISE = (
    f"Or let {PASSPHRASE_FILE} name a file with a passphrase, "
    "or sign in for this run only, without keeping it."
)

NOT_OPENED = VaultState("locked", "The stored sign-ins have not been opened yet.")
OPEN = VaultState("open", "Sign-ins are kept, sealed with a key in the system keyring.")
FROM_PASSPHRASE = VaultState("passphrase", "Sign-ins are kept, sealed with your passphrase.")
MEMORY_ONLY = VaultState(
    "memory_only",
    "Sign-ins are kept in memory only and are gone when Dragoman stops.",
    f"To keep them, unlock the system keyring, or let {PASSPHRASE_FILE} name a file with a "
    "passphrase.",
)
NEEDS_PASSPHRASE = VaultState(
    "locked",
    "The stored sign-ins are sealed with a passphrase, and none was given.",
    f"Let {PASSPHRASE_FILE} name a file with it, then start Dragoman again.",
)
LOST_KEY = VaultState(
    "wrong_key",
    "The key that sealed the stored sign-ins is no longer in the system keyring.",
    "Sign in again. The old files stay; should the key come back, they open again.",
)
WRONG_PASSPHRASE = VaultState(
    "wrong_key",
    "The passphrase is not the one that sealed the stored sign-ins.",
    "Give the right one. If it is lost, begin with a new one and sign in again.",
)

_ABSENT = VaultState(
    "absent",
    "This session has no system keyring, so sign-ins cannot be kept.",
    f"Start one (GNOME Keyring, KWallet), then try again. {_OTHERWISE}",
)
_LOCKED = VaultState(
    "locked",
    "The system keyring is locked.",
    f"Unlock it, which signing in to the desktop does, then try again. {_OTHERWISE}",
)
_SLOW = VaultState(
    "slow",
    "The system keyring does not answer.",
    f"It may be waiting for you in a dialog. Dragoman goes on as soon as it answers. {_OTHERWISE}",
)
_DENIED = VaultState(
    "denied",
    "The system keyring refuses to give Dragoman its key.",
    f"Allow it in the keyring's own program, under the name dragoman, then try again. {_OTHERWISE}",
)


def closed_by(fault: KeyringFault) -> VaultState:
    """Return the state that a failure of the keyring leads to, with the reason it gave."""
    match fault.trouble:
        case "absent":
            state = _ABSENT
        case "locked":
            state = _LOCKED
        case "slow":
            return VaultState("slow", fault.message, _SLOW.hint)
        case "denied":
            state = _DENIED
    return VaultState(state.name, f"{state.message} It says: {fault.message}", state.hint)


def waiting_for_passphrase(message: str, hint: str) -> VaultState:
    """Return the state of a vault whose passphrase could not be had."""
    return VaultState("locked", message, hint)
