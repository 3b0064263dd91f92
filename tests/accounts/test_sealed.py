"""Sealed records: what opens, what does not, and what their files are called."""

import dataclasses
import os

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.accounts.sealed import (
    DAMAGED,
    NEWER,
    account_in,
    key_id,
    read_envelope,
    seal,
    stem_of,
    unseal,
)
from app.errors import AccountError, BugError
from app.providers.credential import Credential
from tests.accounts.keyrings import record

KEY = bytes(range(32))


def opened(content, account="claude/claude-1", key=KEY):
    return unseal(read_envelope(content, stem_of(account)), key)


def refusal(content, account="claude/claude-1", key=KEY):
    with pytest.raises(AccountError) as caught:
        opened(content, account, key)
    assert caught.value.hint
    return caught.value.code


def test_a_record_comes_back_as_it_was():
    whole = record(consent="2026-02", consented_at=5.0, primary=True, order=3, base_url="https://x")
    assert opened(seal(whole, 1, KEY)) == whole


def test_a_credential_without_facts_comes_back_as_it_was():
    bare = dataclasses.replace(record(), credential=Credential("only-a-secret"))
    assert opened(seal(bare, 1, KEY)) == bare


def test_nothing_secret_is_readable_in_the_file():
    content = seal(record(secret="canary-access"), 1, KEY)
    for secret in (b"canary-access", b"renewal-of", b"person@example.com", b'a-1"'):
        assert secret not in content


def test_two_seals_of_one_record_differ():
    assert seal(record(), 1, KEY) != seal(record(), 1, KEY)


def test_another_key_does_not_open_it():
    assert refusal(seal(record(), 1, KEY), key=os.urandom(32)) == DAMAGED


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("account", "claude/other"),
        ("version", 2),
        ("key", "0" * 16),
        ("nonce", b"\0" * 12),
        ("nonce", b""),
        ("sealed", b""),
        ("sealed", b"\0" * 64),
    ],
)
def test_a_changed_field_does_not_open(field, value):
    envelope = msgspec.json.decode(seal(record(), 1, KEY))
    envelope[field] = value
    account = value if field == "account" else "claude/claude-1"
    assert refusal(msgspec.json.encode(envelope), account) == DAMAGED


def test_a_file_under_the_name_of_another_account_does_not_open():
    assert refusal(seal(record("claude-2"), 1, KEY), "claude/claude-1") == DAMAGED


def test_every_truncation_is_damage():
    content = seal(record(), 1, KEY)
    for end in range(len(content)):
        assert refusal(content[:end]) == DAMAGED


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b"{}", b'{"format":1}', b"\xff\xfe", b"[" * 100_000, b'{"format":"1"}'],
)
def test_what_is_no_sealed_record_is_damage(content):
    assert refusal(content) == DAMAGED


def test_a_later_format_asks_for_an_update():
    assert refusal(b'{"format":2,"anything":true}') == NEWER


def test_half_a_character_is_refused_before_anything_is_written():
    with pytest.raises(BugError):
        seal(record("\ud800"), 1, KEY)


def test_the_id_of_a_key_tells_keys_apart():
    assert key_id(KEY) == key_id(bytes(KEY)) != key_id(os.urandom(32))
    assert len(key_id(KEY)) == 16


@pytest.mark.parametrize(
    "account",
    [
        *("claude/claude-1", "claude/../../etc/passwd", "claude/a/b\\c", "claude/CON", "claude/."),
        *("claude/me@example.com", "claude/ü ~%", "claude/", "a~b/c~d", "claude/nul\0", "x/🙂"),
    ],
)
def test_names_of_files_are_plain_and_can_be_read_back(account):
    stem = stem_of(account)
    assert account_in(stem) == account
    assert set(stem) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-%~")


def test_names_differ_where_only_case_does():
    assert stem_of("claude/Work").lower() != stem_of("claude/work").lower()


def test_a_very_long_label_has_a_short_name_of_its_own():
    one, other = stem_of("claude/" + "ü" * 500), stem_of("claude/" + "ü" * 501)
    assert len(one) <= 120
    assert one != other
    assert account_in(one) is None


@pytest.mark.parametrize("stem", ["vault", "README", "a~b~c", "a~%zz", "a~B", "a~%ff", "~~x"])
def test_names_that_are_not_ours_are_told(stem):
    assert account_in(stem) is None


@settings(max_examples=80, deadline=None)
@given(st.text(min_size=1, max_size=20), st.text(max_size=30))
def test_no_two_ids_share_a_name(provider, label):
    account = f"{provider.replace('/', '')}/{label}"
    stem = stem_of(account)
    assert len(stem) <= 120
    assert account_in(stem) in (account, None)
    assert account_in(stem) == account or "~~" in stem
