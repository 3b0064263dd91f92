import pytest

from app.errors import AppError, RequestError
from app.keys import KeyIndex, hash_key
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
