import re

import pytest

from app.keys import KeyIndex, KeyRecord, hash_key, new_key


def record(**changes):
    values = {"id": "1", "label": "x", "kind": "client", "sha256": "ab", "created_at": 1.0}
    return KeyRecord(**(values | changes))


def test_keys_are_random_base62_behind_the_prefix():
    made = {new_key() for _ in range(50)}
    assert len(made) == 50
    assert all(re.fullmatch(r"dg-[0-9A-Za-z]{32}", key) for key in made)


def test_hash_is_lower_case_sha256():
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hash_key("abc") == expected


def test_any_text_can_be_hashed():
    assert len(hash_key("\udcff\x00é")) == 64


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "active"),
        ({"expires_at": 10.1}, "active"),
        ({"expires_at": 10.0}, "expired"),
        ({"revoked_at": 10.0}, "revoked"),
        ({"revoked_at": 9.0, "expires_at": 8.0}, "revoked"),
    ],
)
def test_state_at_a_time(changes, state):
    assert record(**changes).state(10.0) == state


def test_index_finds_by_hash_and_swaps_whole():
    index = KeyIndex([record()])
    assert index.find("ab").id == "1"
    index.replace([record(id="2", sha256="cd")])
    assert index.find("ab") is None
    assert index.find("cd").id == "2"
    assert len(index) == 1


def test_index_knows_whether_any_key_may_be_used():
    assert not KeyIndex().any_active(5.0)
    assert not KeyIndex([record(revoked_at=1.0)]).any_active(5.0)
    assert KeyIndex([record(revoked_at=1.0), record(sha256="cd")]).any_active(5.0)
