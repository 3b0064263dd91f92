import pytest

from app.errors import AppError, RequestError
from app.keys import KeyIndex, Limit, hash_key
from app.store.database import Database
from app.store.keys import Keys
from app.store.tables import keys as table


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def database(tmp_path):
    database = Database(None, tmp_path)
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def keys(database, clock):
    return Keys(database, now=clock)


def test_new_key_is_found_by_the_hash_of_its_secret(keys):
    record, plain = keys.create("client", "laptop")
    assert keys.index.find(hash_key(plain)) == record
    assert record.created_at == 1_000.0
    assert (record.kind, record.label, record.providers) == ("client", "laptop", None)


def test_secret_is_nowhere_in_the_database(keys, database, tmp_path):
    _, plain = keys.create("client", "laptop")
    database.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"laptop" in stored
    assert plain.encode() not in stored
    assert plain.removeprefix("dg-").encode() not in stored


def test_all_fields_survive_storage(keys, database):
    scopes = {"providers": ["openai", "claude"], "models": ["gpt-5"], "accounts": ["work"]}
    record, plain = keys.create("admin", "ci", 2_000.0, scopes)
    again = Keys(database).load_all().find(hash_key(plain))
    assert again == record
    assert again.providers == ("openai", "claude")
    assert (again.models, again.accounts, again.expires_at) == (("gpt-5",), ("work",), 2_000.0)


def test_list_is_oldest_first_and_keeps_revoked_keys(keys, clock):
    first, _ = keys.create("client", "one")
    clock.now += 1
    second, _ = keys.create("client", "two")
    keys.revoke("one")
    assert [record.id for record in keys.list()] == [first.id, second.id]
    assert [record.revoked_at for record in keys.list()] == [1_001.0, None]


@pytest.mark.parametrize("by", ["id", "prefix", "label", "key"])
def test_key_is_revoked_by_id_prefix_label_or_itself(keys, by):
    record, plain = keys.create("client", "laptop")
    other, other_plain = keys.create("client", "desktop")
    name = {"id": record.id, "prefix": record.id[:8], "label": "laptop", "key": plain}[by]
    revoked = keys.revoke(name)
    assert (revoked.id, revoked.state(1_000.0)) == (record.id, "revoked")
    assert keys.index.find(hash_key(plain)).revoked_at == 1_000.0
    assert keys.index.find(hash_key(other_plain)) == other


def test_revoking_again_keeps_the_first_time(keys, clock):
    record, _ = keys.create("client", "laptop")
    keys.revoke(record.id)
    clock.now += 50
    assert keys.revoke(record.id).revoked_at == 1_000.0


def test_label_of_several_usable_keys_is_ambiguous(keys):
    first, _ = keys.create("client", "laptop")
    second, _ = keys.create("client", "laptop")
    with pytest.raises(RequestError) as caught:
        keys.revoke("laptop")
    assert caught.value.code == "key_ambiguous"
    assert first.id in caught.value.hint
    assert second.id in caught.value.hint
    keys.revoke(first.id)
    assert keys.revoke("laptop").id == second.id


@pytest.mark.parametrize("name", ["nobody", "", "dg-" + "a" * 32])
def test_unknown_key_is_not_found_and_not_repeated(keys, name):
    keys.create("client", "laptop")
    with pytest.raises(RequestError) as caught:
        keys.revoke(name)
    assert (caught.value.code, caught.value.status) == ("key_not_found", 404)
    assert "dg-a" not in caught.value.text


def test_three_letters_of_an_id_are_too_few(keys):
    record, _ = keys.create("client", "laptop")
    with pytest.raises(RequestError):
        keys.revoke(record.id[:3])


@pytest.mark.parametrize(
    ("kind", "label", "expires_at", "scopes", "param"),
    [
        ("root", "x", None, None, "kind"),
        ("client", " ", None, None, "label"),
        ("client", "a\nb", None, None, "label"),
        ("client", "dg-x", None, None, "label"),
        ("client", "x", 1_000.0, None, "expires_at"),
        ("client", "x", float("inf"), None, "expires_at"),
        ("client", "x", float("nan"), None, "expires_at"),
        ("client", "x", None, {"hosts": ["a"]}, "scopes.hosts"),
        ("client", "x", None, {"models": []}, "scopes.models"),
        ("client", "x", None, {"models": "gpt"}, "scopes.models"),
        ("relay", "x", None, None, "scopes.accounts"),
        ("relay", "x", None, {"accounts": ["a", "b"]}, "scopes.accounts"),
    ],
)
def test_wrong_values_are_refused_by_name(keys, kind, label, expires_at, scopes, param):
    with pytest.raises(RequestError) as caught:
        keys.create(kind, label, expires_at, scopes)
    assert caught.value.param == param
    assert keys.list() == ()


def test_relay_key_is_bound_to_one_account(keys):
    record, _ = keys.create("relay", "studio", None, {"accounts": ["aistudio-1"]})
    assert record.accounts == ("aistudio-1",)


def test_given_index_is_the_one_that_is_kept_up_to_date(database):
    index = KeyIndex()
    _, plain = Keys(database, index).create("client", "laptop")
    assert index.find(hash_key(plain)).label == "laptop"


def test_same_hash_twice_is_a_conflict_of_ours(keys, database):
    record, _ = keys.create("client", "laptop")
    row = {
        "id": "other",
        "label": "x",
        "kind": "client",
        "sha256": record.sha256,
        "created_at": 1.0,
        "scopes": "{}",
    }
    with pytest.raises(AppError) as caught, database.write() as connection:
        connection.execute(table.insert().values(**row))
    assert caught.value.code == "store_conflict"
    assert record.sha256 not in str(caught.value.__cause__)


def test_key_that_another_program_removes_meanwhile_is_not_found(database):
    class Removing(Keys):
        def load_all(self):
            with self._database.write() as connection:
                connection.execute(table.delete())
            return super().load_all()

    Keys(database).create("client", "laptop")
    with pytest.raises(RequestError) as caught:
        Removing(database).revoke("laptop")
    assert caught.value.code == "key_not_found"


TERMS = {
    "limits": ["100 requests/minute", "$5/month"],
    "default_model": "gpt-5",
    "aliases": {"claude-*": "gpt-5"},
}


def test_terms_survive_storage(keys, database):
    record, plain = keys.create("client", "ci", None, {"models": ["gpt-*"]}, TERMS)
    again = Keys(database).load_all().find(hash_key(plain))
    assert again == record
    assert again.limits == (Limit(100, "requests", "minute"), Limit(5_000_000, "usd", "month"))
    assert (again.default_model, again.aliases) == ("gpt-5", (("claude-*", "gpt-5"),))


def test_edit_changes_what_is_named_and_nothing_else(keys):
    record, plain = keys.create("client", "ci", 2_000.0, {"models": ["gpt-*"]}, TERMS)
    changed = keys.edit("ci", {"label": "build", "limits": ["1m tokens/day"]})
    assert (changed.label, changed.limits) == ("build", (Limit(10**6, "tokens", "day"),))
    assert (changed.models, changed.expires_at, changed.aliases) == (
        record.models,
        2_000.0,
        record.aliases,
    )
    assert keys.index.find(hash_key(plain)) == changed


def test_edit_takes_away_what_is_none(keys):
    keys.create("client", "ci", 2_000.0, {"models": ["gpt-*"]}, TERMS)
    names = ("expires_at", "models", "limits", "default_model", "aliases")
    changed = keys.edit("ci", dict.fromkeys(names))
    assert [getattr(changed, name) for name in names] == [None, None, (), None, ()]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"sha256": "0"}, "sha256"),
        ({"label": "\n"}, "label"),
        ({"expires_at": 5.0}, "expires_at"),
        ({"models": []}, "scopes.models"),
        ({"models": ["x" * 301]}, "scopes.models"),
        ({"limits": ["many/day"]}, "limits"),
        ({"limits": ["1/day", "2/day"]}, "limits"),
        ({"default_model": ""}, "default_model"),
        ({"default_model": "gpt-5", "models": ["claude-*"]}, "default_model"),
        ({"aliases": {"x": "gpt-5"}, "models": ["claude-*"]}, "aliases"),
        ({"aliases": {"x": ""}}, "aliases"),
        ({"aliases": {f"a{i}": "b" for i in range(201)}}, "aliases"),
    ],
)
def test_wrong_changes_are_refused_by_name(keys, changes, param):
    record, _ = keys.create("client", "ci")
    with pytest.raises(RequestError) as caught:
        keys.edit("ci", changes)
    assert caught.value.param == param
    assert keys.list() == (record,)


def test_relay_key_takes_a_name_and_an_end_alone(keys):
    keys.create("relay", "studio", None, {"accounts": ["aistudio/one"]})
    assert keys.edit("studio", {"label": "one", "expires_at": 2_000.0}).expires_at == 2_000.0
    with pytest.raises(RequestError):
        keys.edit("one", {"accounts": ["aistudio/two"]})
    with pytest.raises(RequestError):
        keys.create("relay", "two", None, {"accounts": ["aistudio/two"]}, {"limits": ["1/day"]})


def test_rotated_key_keeps_its_id_and_the_former_secret_ends(keys, clock):
    record, old = keys.create("client", "ci", None, {"models": ["gpt-*"]}, TERMS)
    rotated, new = keys.rotate("ci")
    assert (rotated.id, rotated.limits, rotated.models) == (record.id, record.limits, record.models)
    assert keys.index.find(hash_key(old)) is None
    assert keys.index.find(hash_key(new)) == rotated


def test_former_secret_may_be_taken_for_a_while(keys, clock, database):
    _, old = keys.create("client", "ci")
    rotated, new = keys.rotate("ci", 60.0)
    assert rotated.old_until == 1_060.0
    index = Keys(database).load_all()
    assert index.find(hash_key(old)).state(1_059.0) == "active"
    assert index.find(hash_key(old)).state(1_060.0) == "expired"
    _, newest = keys.rotate("ci", 60.0)
    assert keys.index.find(hash_key(old)) is None
    assert keys.index.find(hash_key(new)) is not None
    assert keys.index.find(hash_key(newest)).id == rotated.id


@pytest.mark.parametrize("keep_s", [-1.0, float("nan"), 31 * 86_400.0])
def test_former_secret_is_not_taken_for_long(keys, keep_s):
    keys.create("client", "ci")
    with pytest.raises(RequestError):
        keys.rotate("ci", keep_s)


def test_revoked_key_is_not_changed(keys):
    keys.create("client", "ci")
    keys.revoke("ci")
    for change in (lambda: keys.edit("ci", {"label": "x"}), lambda: keys.rotate("ci")):
        with pytest.raises(RequestError) as caught:
            change()
        assert caught.value.code == "key_revoked"


def test_keys_of_an_account_follow_it_to_its_new_name(keys, database):
    scopes = [["web/a", "web/b"], ["web/b"], ["web/*", "web/a"], None, ["web/a", "web/c"]]
    plains = [
        keys.create("client", f"key {number}", None, {"accounts": scope} if scope else None)[1]
        for number, scope in enumerate(scopes)
    ]
    keys.revoke("key 4")
    assert keys.rename_account("web/a", "web/c")
    for index in (keys.index, Keys(database).load_all()):
        assert [index.find(hash_key(plain)).accounts for plain in plains] == [
            ("web/c", "web/b"),
            ("web/b",),
            ("web/*", "web/c"),
            None,
            ("web/c",),
        ]
    assert not keys.rename_account("web/a", "web/d")


def test_relay_key_stays_one_of_one_account_when_that_is_renamed(keys):
    _, plain = keys.create("relay", "page", None, {"accounts": ["aistudio/a"]})
    assert keys.rename_account("aistudio/a", "aistudio/b")
    assert keys.index.find(hash_key(plain)).accounts == ("aistudio/b",)
