import re

import pytest

from app.keys import KeyIndex, KeyRecord, Limit, hash_key, is_named, new_key, parse_limit


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


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("100 requests/day", Limit(100, "requests", "day"), "100 requests/day"),
        ("60/minute", Limit(60, "requests", "minute"), "60 requests/minute"),
        ("1 request per month", Limit(1, "requests", "month"), "1 request/month"),
        ("2m tokens/month", Limit(2_000_000, "tokens", "month"), "2,000,000 tokens/month"),
        (" 1.5K Tokens / Day ", Limit(1_500, "tokens", "day"), "1,500 tokens/day"),
        ("$5/month", Limit(5_000_000, "usd", "month"), "$5.00/month"),
        ("0.25 usd/day", Limit(250_000, "usd", "day"), "$0.25/day"),
        ("$0.000125/day", Limit(125, "usd", "day"), "$0.000125/day"),
        ("$1,000 dollars/month", Limit(10**9, "usd", "month"), "$1,000.00/month"),
    ],
)
def test_limits_are_read_and_written_as_people_do(text, limit, shown):
    assert parse_limit(text) == limit
    assert limit.text == shown
    assert parse_limit(shown) == limit


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "x/day",
        "0/day",
        "-1/day",
        "1.5/day",
        "$5 tokens/day",
        "5/year",
        "1e9/day",
        "9999999999999999 tokens/day",
        "$0.0000001/day",
        "5 days/tokens",
    ],
)
def test_other_limits_are_refused(text):
    with pytest.raises(ValueError, match="expected"):
        parse_limit(text)


@pytest.mark.parametrize(
    ("scope", "name", "held"),
    [
        (None, "anything", True),
        ((), "gpt-5", False),
        (("gpt-5",), "gpt-5", True),
        (("gpt-5",), "gpt-5-mini", False),
        (("gpt-*",), "gpt-5-mini", True),
        (("*-mini",), "gpt-5-mini", True),
        (("gpt-*-mini", "o3"), "o3", True),
        (("gpt-?",), "gpt-5", True),
        (("gpt-?",), "gpt-51", False),
        (("m[1]*",), "m[1]x", True),
        (("m[1]*",), "m1", False),
        (("GPT-*",), "gpt-5", False),
        (("*",), "openai/work", True),
    ],
)
def test_scope_holds_names_and_globs(scope, name, held):
    assert is_named(scope, name) is held


def test_key_says_what_a_model_name_means():
    routed = record(default_model="gpt-5", aliases=(("claude-*", "fast"), ("claude-x", "never")))
    asked = ["", "default", "claude-x", "gpt-4.1"]
    assert [routed.means(name) for name in asked] == ["gpt-5", "gpt-5", "fast", "gpt-4.1"]
    assert [record().means(name) for name in asked] == asked


def test_shown_record_has_no_hash():
    shown = record(
        limits=(Limit(5, "requests", "day"),), aliases=(("a", "b"),), old_sha256="cd", old_until=2.0
    ).shown()
    assert not {"ab", "cd"} & {str(value) for value in shown.values()}
    assert (shown["limits"], shown["aliases"]) == (["5 requests/day"], {"a": "b"})


def test_former_secret_is_found_until_it_ends():
    index = KeyIndex([record(sha256="new", old_sha256="old", old_until=10.0)])
    assert (len(index), index.get("1").sha256) == (1, "new")
    former = index.find("old")
    assert (former.id, former.sha256) == ("1", "old")
    assert (former.state(9.9), former.state(10.0)) == ("active", "expired")
    assert index.find("new").state(10.0) == "active"
    ends = KeyIndex([record(expires_at=5.0, old_sha256="old", old_until=10.0)])
    assert ends.find("old").state(5.0) == "expired"
    assert [one.id for one in index.records()] == ["1"]
