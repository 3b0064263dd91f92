"""A record as sealed bytes, and the name of the file that holds it.

A sealed file is one JSON object: ``format``, ``account`` (the id), ``version`` (counts up with each
change of the account), ``key`` (which key opens it), ``nonce`` and ``sealed`` (base64). The last is
the record as JSON under AES-256-GCM; all fields before the nonce are its associated data, so that
a file which was renamed, or put in the place of another, does not open.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from types import MappingProxyType
from typing import Any, Final

import msgspec

from app.accounts.record import Record
from app.errors import AccountError, BugError

__all__ = [
    "DAMAGED",
    "KEY_BYTES",
    "NEWER",
    "Envelope",
    "account_in",
    "key_id",
    "read_envelope",
    "seal",
    "stem_of",
    "unseal",
]

KEY_BYTES: Final = 32
DAMAGED: Final = "record_damaged"
"""Code of the error for bytes that are no sealed record, or one that does not open."""
NEWER: Final = "record_newer"
"""Code of the error for a record that a later version of Dragoman wrote."""

_FORMAT = 1
_NONCE_BYTES = 12
_STEM_LIMIT = 120
"""Characters of a file's name before its ending; Windows limits the whole path to 259."""
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_-")
"""Upper case is left out: Windows and macOS take two names that differ by it for one."""
_ESCAPE = re.compile(rb"%([0-9a-f]{2})")


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed file as it lies on the disk; only ``sealed`` is secret."""

    format: int
    account: str
    version: int
    key: str
    nonce: bytes
    sealed: bytes

    @property
    def bound(self) -> bytes:
        """The associated data: what the sealed part is valid with."""
        return _bound(self.format, self.account, self.version, self.key)


def key_id(key: bytes) -> str:
    """Return the public name of a key: 16 hexadecimal digits that tell nothing of it."""
    return hashlib.sha256(b"dragoman vault key\0" + key).hexdigest()[:16]


def seal(record: Record, version: int, key: bytes) -> bytes:
    """Return the content of the file of a record; ``key`` has 32 bytes.

    Raises:
        BugError: a field cannot be written as JSON (half a character, a number beyond all bounds).
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    name = key_id(key)
    try:
        plain = msgspec.json.encode(record, enc_hook=_encode_other)
        bound = _bound(_FORMAT, record.id, version, name)
    except (msgspec.MsgspecError, UnicodeError, NotImplementedError) as error:
        raise BugError("The sign-in has a field that cannot be stored.") from error
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return msgspec.json.encode(
        Envelope(
            format=_FORMAT,
            account=record.id,
            version=version,
            key=name,
            nonce=nonce,
            sealed=AESGCM(key).encrypt(nonce, plain, bound),
        )
    )


def read_envelope(content: bytes, stem: str) -> Envelope:
    """Return a file's content as an envelope, still closed; ``stem`` is its name without ending.

    Raises:
        AccountError: ``DAMAGED``, or ``NEWER``.
    """
    try:
        format_ = msgspec.json.decode(content, type=_Format).format
        if format_ > _FORMAT:
            raise AccountError(
                "This sign-in was stored by a later version of Dragoman.",
                code=NEWER,
                hint="Update Dragoman, or sign in again.",
            )
        envelope = msgspec.json.decode(content, type=Envelope)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _damaged() from error
    if envelope.format != _FORMAT or stem_of(envelope.account) != stem:
        raise _damaged()
    return envelope


def unseal(envelope: Envelope, key: bytes) -> Record:
    """Return the record in an envelope.

    Raises:
        AccountError: ``DAMAGED``: bytes have changed, or it was sealed with another key.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        plain = AESGCM(key).decrypt(envelope.nonce, envelope.sealed, envelope.bound)
        record = msgspec.json.decode(plain, type=Record)
    except (InvalidTag, ValueError, msgspec.MsgspecError) as error:  # ValueError: nonce too short
        raise _damaged() from error
    if record.id != envelope.account:
        raise _damaged()
    return record


def stem_of(account: str) -> str:
    """Return the name, without ending, of the file of an account: safe on every system.

    The id can be read back from it (``account_in``) unless it is very long.
    """
    provider, _, label = account.partition("/")
    stem = f"{_escape(provider)}~{_escape(label)}"
    if len(stem) <= _STEM_LIMIT:
        return stem
    digest = hashlib.sha256(account.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    head = re.sub(r"%[0-9a-f]?$", "", stem[: _STEM_LIMIT - len(digest) - 2])
    return f"{head}~~{digest}"


def account_in(stem: str) -> str | None:
    """Return the account id that a file's name tells; None where it was shortened or is not ours."""
    provider, mark, label = stem.partition("~")
    if not mark or "~" in label:
        return None
    try:
        account = f"{_unescape(provider)}/{_unescape(label)}"
    except UnicodeError:
        return None
    return account if stem_of(account) == stem else None


class _Format(msgspec.Struct, frozen=True):
    format: int


def _bound(format_: int, account: str, version: int, key: str) -> bytes:
    return msgspec.json.encode(("dragoman vault", format_, account, version, key))


def _damaged() -> AccountError:
    return AccountError(
        "The stored sign-in is damaged.", code=DAMAGED, hint="Sign in to this account again."
    )


def _encode_other(value: Any) -> Any:
    if isinstance(value, MappingProxyType):
        return dict(value)
    raise NotImplementedError(f"{type(value).__name__} cannot be stored")


def _escape(text: str) -> str:
    raw = text.encode("utf-8", "surrogatepass")
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in raw)


def _unescape(text: str) -> str:
    raw = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), text.encode())
    return raw.decode("utf-8", "surrogatepass")
