"""A key from a passphrase, where there is no keyring to hold one."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec

from app.accounts.sealed import KEY_BYTES
from app.errors import AccountError

__all__ = ["PASSPHRASE_FILE", "Recipe", "derive", "passphrase_file", "read_file"]

PASSPHRASE_FILE: Final = "DRAGOMAN_PASSPHRASE_FILE"  # noqa: S105 - a name
"""Variable that names a file with the passphrase, for services and containers."""

_LARGEST_BYTES = 65_536


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How a passphrase becomes a key with scrypt (RFC 7914); stored beside what it opens.

    The defaults are among those that OWASP's Password Storage Cheat Sheet gives as equal in
    strength (read 2026-11): 32 MB of memory, some 0.3 s. The bounds keep a file that somebody
    changed from taking all memory.
    """

    salt: Annotated[bytes, msgspec.Meta(min_length=16, max_length=64)]
    n: Annotated[int, msgspec.Meta(ge=2**14, le=2**18)] = 2**15
    r: Annotated[int, msgspec.Meta(ge=8, le=16)] = 8
    p: Annotated[int, msgspec.Meta(ge=1, le=16)] = 3

    @classmethod
    def fresh(cls) -> Recipe:
        """Return a recipe with a salt of its own."""
        return cls(salt=secrets.token_bytes(16))


def derive(passphrase: str, recipe: Recipe) -> bytes:
    """Return the key of 32 bytes; takes a good part of a second, on purpose.

    Raises:
        AccountError: ``vault_unusable``: the recipe's numbers cannot be used (``n`` is no power of
            two, or too little memory).
    """
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    try:
        kdf = Scrypt(salt=recipe.salt, length=KEY_BYTES, n=recipe.n, r=recipe.r, p=recipe.p)
        return kdf.derive(passphrase.encode("utf-8", "surrogatepass"))
    except (ValueError, MemoryError) as error:
        raise AccountError(
            f"The key cannot be made from the passphrase: {str(error) or 'too little memory'}.",
            code="vault_unusable",
        ) from error


def passphrase_file(env: Mapping[str, str]) -> Path | None:
    """Return the file that holds the passphrase, or None where none is named."""
    name = env.get(PASSPHRASE_FILE)
    return Path(name).expanduser() if name else None


def read_file(path: Path) -> str:
    """Return the passphrase in a file: all of it but one line end.

    Raises:
        AccountError: ``vault_locked``: the file cannot be read, is empty, or is no passphrase.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
        text = content.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise _unusable(path, "it is not UTF-8 text") from error
    if not text:
        raise _unusable(path, "it is empty")
    if len(content) > _LARGEST_BYTES:
        raise _unusable(path, "it is too long for a passphrase")
    return text


def _unusable(path: Path, reason: str) -> AccountError:
    return AccountError(
        f"The passphrase file {path} cannot be used: {reason}.",
        code="vault_locked",
        hint=f"Put the passphrase into it, or let {PASSPHRASE_FILE} name another file.",
    )
