import copy
import pickle

import pytest

from app.configsecret import SecretRef

CANARY = "canary-7f3a9c-secret"


def test_reference_is_resolved_when_asked_and_stripped():
    ref = SecretRef("${KEY}")
    assert ref.resolve({"KEY": " value\n"}) == "value"
    assert ref.variables == ("KEY",)
    assert not ref.literal


@pytest.mark.parametrize("env", [{}, {"KEY": ""}, {"KEY": "  "}])
def test_unset_or_empty_variable_resolves_to_none(env):
    ref = SecretRef("Bearer ${KEY}")
    assert ref.resolve(env) is None
    assert ref.missing(env) == ("KEY",)


def test_text_around_references_is_kept():
    ref = SecretRef("${A}:${B}!")
    assert ref.resolve({"A": "1", "B": "${A}"}) == "1:${A}!"
    assert ref.missing({"A": "1"}) == ("B",)


def test_literal_resolves_to_itself():
    assert SecretRef("sk-1").resolve({}) == "sk-1"
    assert SecretRef("sk-1").literal


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "a value"), ("  ", "a value"), ("${no-dash}", "form"), ("${", "form"), ("a\nb", "line")],
)
def test_malformed_secret_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        SecretRef(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [(CANARY, "***"), ("${KEY}", "${KEY}"), (f"{CANARY} ${{KEY}}", "***${KEY}")],
)
def test_secret_shows_references_only(text, shown):
    ref = SecretRef(text)
    assert str(ref) == f"{ref}" == shown
    assert CANARY not in repr(ref)
    assert CANARY not in "%s %r" % (ref, ref)  # noqa: UP031 - a way that logging formats


def test_secrets_compare_by_value_so_that_a_reload_sees_a_change():
    assert SecretRef("a1") == SecretRef("a1")
    assert SecretRef("a1") != SecretRef("a2")
    assert copy.deepcopy(SecretRef("a1")) == SecretRef("a1")
    assert pickle.loads(pickle.dumps(SecretRef("a1"))) == SecretRef("a1")  # noqa: S301 - our own
