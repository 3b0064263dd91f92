"""Keys from passphrases, and the file that holds one."""

import time

import msgspec
import pytest

from app.accounts.passphrase import PASSPHRASE_FILE, Recipe, derive, passphrase_file, read_file
from app.errors import AccountError

QUICK = Recipe(salt=b"0123456789abcdef", n=2**14, p=1)


def test_one_passphrase_and_recipe_give_one_key():
    assert derive("correct horse", QUICK) == derive("correct horse", QUICK)
    assert len(derive("correct horse", QUICK)) == 32


def test_another_passphrase_or_salt_gives_another_key():
    other = Recipe(salt=b"fedcba9876543210", n=2**14, p=1)
    keys = {derive("one", QUICK), derive("two", QUICK), derive("one", other), derive("ä", QUICK)}
    assert len(keys) == 4


def test_the_derivation_is_scrypt_as_published():
    # RFC 7914 §12, third vector, cut to the length of a key.
    recipe = Recipe(salt=b"SodiumChloride", n=2**14, r=8, p=1)
    assert derive("pleaseletmein", recipe).hex() == (
        "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
    )


def test_fresh_recipes_have_salts_of_their_own_and_cost_something():
    assert Recipe.fresh().salt != Recipe.fresh().salt
    started = time.perf_counter()
    derive("a passphrase", Recipe.fresh())
    assert time.perf_counter() - started > 0.02


@pytest.mark.parametrize(
    "changed", [{"n": 2**30}, {"n": 2}, {"r": 4096}, {"p": 1_000_000}, {"salt": "QQ=="}]
)
def test_a_recipe_beyond_all_bounds_is_refused_when_it_is_read(changed):
    raw = {**msgspec.json.decode(msgspec.json.encode(QUICK)), **changed}
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(raw), type=Recipe)


def test_a_recipe_that_scrypt_refuses_is_an_error_in_words():
    with pytest.raises(AccountError) as caught:
        derive("x", Recipe(salt=QUICK.salt, n=2**14 + 1))
    assert caught.value.code == "vault_unusable"


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"one\n", "one"), (b"one\r\n", "one"), (b" a b ", " a b "), ("ä\n\n".encode(), "ä\n")],
)
def test_a_file_holds_a_passphrase_and_at_most_one_line_end_more(tmp_path, content, text):
    path = tmp_path / "phrase"
    path.write_bytes(content)
    assert read_file(path) == text


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"\n", "empty"), (b"\xff\xfe", "UTF-8"), (b"x" * 70_000, "too long")],
)
def test_a_file_without_a_passphrase_is_refused_with_the_reason(tmp_path, content, reason):
    path = tmp_path / "phrase"
    path.write_bytes(content)
    with pytest.raises(AccountError, match=reason) as caught:
        read_file(path)
    assert PASSPHRASE_FILE in caught.value.hint


def test_a_missing_file_is_refused_with_its_name(tmp_path):
    with pytest.raises(AccountError, match="nowhere"):
        read_file(tmp_path / "nowhere")


def test_the_variable_names_the_file():
    assert passphrase_file({}) is None
    assert passphrase_file({PASSPHRASE_FILE: ""}) is None
    assert str(passphrase_file({PASSPHRASE_FILE: "/run/secret"})) == "/run/secret"
