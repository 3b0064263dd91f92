import time
from datetime import datetime

import msgspec
import pytest

from app.cli.keys import parse_expiry
from app.ledger.row import row_of
from app.store.database import Database
from app.store.ledger import LedgerStore
from tests.ledger.entries import entry

NOW = datetime(2026, 3, 10, 12, 0).timestamp()  # noqa: DTZ001 - days are local ones

RECORD = {
    "id": "0123456789ab",
    "label": "laptop",
    "kind": "client",
    "created_at": NOW,
    "expires_at": None,
    "revoked_at": None,
    "providers": None,
    "models": None,
    "accounts": None,
}


@pytest.mark.parametrize(
    ("text", "seconds"), [("12h", 43_200), ("30d", 2_592_000), ("4w", 2_419_200), (" 1d ", 86_400)]
)
def test_expiry_may_be_a_length_of_time(text, seconds):
    assert parse_expiry(text, NOW) == NOW + seconds


def test_expiry_may_be_the_last_day():
    end = datetime(2027, 1, 1).timestamp()  # noqa: DTZ001 - midnight here
    assert parse_expiry("2026-12-31", NOW) == end
    assert parse_expiry("2026-03-10", NOW) > NOW


@pytest.mark.parametrize("text", ["", "soon", "30", "d", "-1d", "2026-13-01", "2026-03-09", "0d"])
def test_other_expiries_are_refused(text):
    with pytest.raises(ValueError, match="expected"):
        parse_expiry(text, NOW)


def test_key_is_made_listed_and_revoked_without_an_instance(dragoman, home):
    code, out, err = dragoman("keys", "create", "--label", "laptop", "--expires", "30d")
    assert code == 0
    assert out.startswith("dg-")
    assert "laptop" in err
    assert out.strip() not in err
    code, listed, _ = dragoman("keys", "list", "--json")
    (record,) = msgspec.json.decode(listed)
    assert (record["label"], record["kind"]) == ("laptop", "client")
    assert record["expires_at"] == pytest.approx(time.time() + 2_592_000, abs=60)
    assert "sha256" not in record
    assert dragoman("keys", "revoke", record["id"]).code == 0
    assert "revoked" in dragoman("keys", "list").out
    assert home.database_file.exists()


def test_kinds_and_scopes_without_an_instance(dragoman):
    assert dragoman("keys", "create", "--admin").code == 0
    assert dragoman("keys", "create", "--relay", "aistudio/one").code == 0
    kinds = {
        r["kind"]: r["accounts"]
        for r in msgspec.json.decode(dragoman("keys", "list", "--json").out)
    }
    assert kinds == {"admin": None, "relay": ["aistudio/one"]}
    assert "accounts aistudio/one" in dragoman("keys", "list").out


def test_running_instance_makes_the_key(dragoman, fake, home):
    fake.answers["POST /admin/keys"] = (201, {"key": "dg-secret", "record": RECORD})
    code, out, err = dragoman("keys", "create", "--relay", "aistudio/one", "--label", "r")
    assert (code, out) == (0, "dg-secret\n")
    assert "0123456789ab" in err
    method, path, token, body = fake.asked[-1]
    assert (method, path, token) == ("POST", "/admin/keys", f"Bearer {fake.record.token}")
    assert msgspec.json.decode(body) == {
        "kind": "relay",
        "label": "r",
        "expires_at": None,
        "accounts": ["aistudio/one"],
    }
    assert not home.database_file.exists()


def test_running_instance_lists_and_revokes(dragoman, fake):
    fake.answers["GET /admin/keys"] = {"keys": [RECORD]}
    fake.answers["POST /admin/keys/a%2Fb%20c/revoke"] = {"record": RECORD}
    assert dragoman("keys", "list").out.splitlines()[1].split()[:3] == [
        "0123456789ab",
        "client",
        "laptop",
    ]
    assert dragoman("keys", "revoke", "a/b c").out == "Key 0123456789ab (laptop) is revoked.\n"


def test_states_are_told_apart(dragoman, fake):
    later, before = time.time() + 90_000, time.time() - 90_000
    fake.answers["GET /admin/keys"] = {
        "keys": [
            RECORD | {"label": "later", "expires_at": later},
            RECORD | {"label": "before", "expires_at": before},
            RECORD | {"label": "gone", "expires_at": before, "revoked_at": before},
        ]
    }
    rows = dragoman("keys", "list").out.splitlines()[1:]
    assert ["active until" in rows[0], "expired" in rows[1], "revoked" in rows[2]] == [True] * 3


def test_no_key_yet_says_what_makes_one(dragoman):
    code, out, err = dragoman("keys", "list")
    assert (code, out) == (0, "")
    assert "dragoman keys create" in err
    assert msgspec.json.decode(dragoman("keys", "list", "--json").out) == []


def test_json_of_a_new_key_holds_key_and_record(dragoman):
    answer = msgspec.json.decode(dragoman("keys", "create", "--json").out)
    assert answer["key"].startswith("dg-")
    assert answer["record"]["label"].startswith("client ")


@pytest.mark.parametrize(
    "words",
    [
        ("create", "--admin", "--relay", "a/b"),
        ("create", "--expires", "yesterday"),
        ("create", "--relay"),
        ("revoke",),
    ],
)
def test_wrong_calls_are_exit_code_two(dragoman, words):
    code, _, err = dragoman("keys", *words)
    assert code == 2
    assert err


def test_unknown_id_is_a_failure_with_a_hint(dragoman):
    code, _, err = dragoman("keys", "revoke", "ffffffffffff")
    assert code == 1
    assert "hint: " in err


def test_whole_key_is_not_taken_as_an_argument_nor_repeated(dragoman, fake):
    code, out, err = dragoman("keys", "revoke", "dg-abcdefgh")
    assert code == 1
    assert "dg-abcdefgh" not in out + err
    assert fake.asked == []


def test_database_of_an_unset_variable_is_not_taken_for_the_file(dragoman, home, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_DATABASE__URL", "${NOT_SET_HERE}")
    code, out, err = dragoman("keys", "create")
    assert (code, out) == (1, "")
    assert "NOT_SET_HERE is not set" in err
    assert not home.database_file.exists()


def test_database_that_cannot_be_reached_is_a_failure(dragoman, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DRAGOMAN_DATABASE__URL", f"sqlite:///{tmp_path / 'file' / 'x.db'}")
    code, _, err = dragoman("keys", "list")
    assert code == 1
    assert err.startswith("error: Cannot open the database")


TERMS = (
    *("--provider", "openai", "--provider", "fake", "--model", "gpt-*", "--account", "fake/*"),
    *("--limit", "60 requests/minute", "--limit", "$5/month"),
    *("--default-model", "gpt-5", "--alias", "claude-*=gpt-5"),
)
BODY = {
    "providers": ["openai", "fake"],
    "models": ["gpt-*"],
    "accounts": ["fake/*"],
    "limits": ["60 requests/minute", "$5/month"],
    "default_model": "gpt-5",
    "aliases": {"claude-*": "gpt-5"},
}


def listed(dragoman):
    return msgspec.json.decode(dragoman("keys", "list", "--json").out)


def test_key_is_limited_changed_renamed_and_rotated_without_an_instance(dragoman):
    made = dragoman("keys", "create", "--label", "ci", *TERMS)
    assert made.code == 0
    (record,) = listed(dragoman)
    assert {name: record[name] for name in BODY if name != "limits"} == {
        name: value for name, value in BODY.items() if name != "limits"
    }
    assert [one["limit"] for one in record["limits"]] == ["60 requests/minute", "$5.00/month"]
    shown = dragoman("keys", "list").out
    assert "0 of 60 requests in the last minute; $0.00 of $5.00 this month" in shown
    assert "default gpt-5; claude-* = gpt-5" in shown
    assert dragoman("keys", "edit", "ci", "--limit", "9/day", "--expires", "1d").code == 0
    renamed = dragoman("keys", "rename", "ci", "build")
    assert renamed.out == f"Key {record['id']} (build) is changed.\n"
    rotated = dragoman("keys", "rotate", "build", "--keep", "1h")
    assert rotated.out.startswith("dg-")
    assert rotated.out != made.out
    assert "taken until" in rotated.err
    (changed,) = listed(dragoman)
    assert (changed["id"], changed["label"], changed["models"]) == (
        record["id"],
        "build",
        ["gpt-*"],
    )
    assert changed["expires_at"] == pytest.approx(time.time() + 86_400, abs=60)
    assert changed["old_until"] == pytest.approx(time.time() + 3_600, abs=60)
    assert [one["limit"] for one in changed["limits"]] == ["9 requests/day"]


def test_word_none_takes_away(dragoman):
    dragoman("keys", "create", "--label", "ci", "--expires", "1d", *TERMS)
    names = ("--provider", "--model", "--account", "--limit", "--default-model", "--alias")
    options = [word for name in (*names, "--expires") for word in (name, "none")]
    assert dragoman("keys", "edit", "ci", *options).code == 0
    (record,) = listed(dragoman)
    assert record["limits"] == []
    assert record["aliases"] == {}
    for name in ("providers", "models", "accounts", "default_model", "expires_at"):
        assert record[name] is None


def test_use_of_a_key_is_shown_without_an_instance(dragoman, home):
    dragoman("keys", "create", "--label", "ci", "--limit", "5/day", "--limit", "$1/month")
    (record,) = listed(dragoman)
    database = Database(None, home.data)
    made = entry(key_id=record["id"], at=time.time(), cost=250_000)
    LedgerStore(database).add([row_of(made)], [])
    database.close()
    assert "1 of 5 requests today; $0.25 of $1.00 this month" in dragoman("keys", "list").out


def test_running_instance_changes_and_rotates(dragoman, fake):
    fake.answers["POST /admin/keys"] = (201, {"key": "dg-secret", "record": RECORD})
    fake.answers["POST /admin/keys/ci"] = {"record": RECORD}
    fake.answers["POST /admin/keys/ci/rotate"] = {"key": "dg-new", "record": RECORD}
    assert dragoman("keys", "create", "--label", "ci", *TERMS).code == 0
    sent = msgspec.json.decode(fake.asked[-1][3])
    assert sent == {"kind": "client", "label": "ci", "expires_at": None} | BODY
    assert dragoman("keys", "edit", "ci", *TERMS).code == 0
    assert msgspec.json.decode(fake.asked[-1][3]) == BODY
    assert dragoman("keys", "rename", "ci", "build").code == 0
    assert msgspec.json.decode(fake.asked[-1][3]) == {"label": "build"}
    assert dragoman("keys", "rotate", "ci").out == "dg-new\n"
    assert msgspec.json.decode(fake.asked[-1][3]) == {"keep_s": 0}
    answer = msgspec.json.decode(dragoman("keys", "rotate", "ci", "--keep", "30m", "--json").out)
    assert answer["key"] == "dg-new"
    edited = dragoman("keys", "edit", "ci", "--model", "m", "--json").out
    assert msgspec.json.decode(edited) == RECORD


@pytest.mark.parametrize(
    "words",
    [
        ("create", "--limit", "many/day"),
        ("create", "--alias", "x"),
        ("create", "--relay", "a/b", "--limit", "5/day"),
        ("edit", "ci"),
        ("edit", "ci", "--expires", "yesterday"),
        ("edit", "ci", "--alias", "=x"),
        ("rotate", "ci", "--keep", "long"),
        ("rename", "ci"),
    ],
)
def test_wrong_terms_are_exit_code_two(dragoman, fake, words):
    code, _, err = dragoman("keys", *words)
    assert code == 2
    assert err
    assert fake.asked == []


@pytest.mark.parametrize("words", [("edit", "--model", "m"), ("rename", "x"), ("rotate",)])
def test_whole_key_is_no_name_for_a_change(dragoman, fake, words):
    code, out, err = dragoman("keys", words[0], "dg-abcdefgh", *words[1:])
    assert code == 1
    assert "dg-abcdefgh" not in out + err
    assert fake.asked == []
