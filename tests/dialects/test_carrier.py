"""Seals carry a foreign signature through a client's history, and only seals of ours are opened."""

import base64
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.canonical.parts import Reasoning, Signature
from app.dialects.carrier import MARK, SEAL_MARK, facts_of, open_seal, seal
from app.dialects.translate import carries_seal

LEAD = SEAL_MARK.decode()
SIGNATURE = Signature("anthropic", "EqQBCgIYAhIM+/=")
EXTRA = {"redacted": True, "id": "rs_1"}

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
extras = st.dictionaries(st.text(), values, max_size=4)


@given(st.text(), st.text(), extras, st.booleans())
def test_what_is_sealed_comes_out_again(issuer, value, extra, gemini):
    signature = Signature(issuer, value)
    assert open_seal(seal(signature, extra, gemini=gemini)) == (signature, extra)


@given(st.text(), st.text(), extras)
def test_a_seal_fits_every_slot(issuer, value, extra):
    plain = seal(Signature(issuer, value), extra)
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", plain)
    googles = seal(Signature(issuer, value), extra, gemini=True)
    assert base64.b64encode(base64.b64decode(googles, validate=True)).decode() == googles


@given(st.text(), st.text(), st.booleans())
def test_a_body_with_a_seal_is_recognised(issuer, value, gemini):
    sealed = seal(Signature(issuer, value), gemini=gemini)
    assert sealed.encode().startswith(SEAL_MARK)
    assert carries_seal(msgspec.json.encode({"messages": [{"signature": sealed}]}))


def test_the_extra_facts_may_be_left_out():
    assert open_seal(seal(SIGNATURE)) == (SIGNATURE, {})


@pytest.mark.parametrize("gemini", [False, True])
def test_a_seal_may_be_large(gemini):
    signature = Signature("openai", "gAAAAA" + "x" * 5_000_000)
    assert open_seal(seal(signature, {"text": "é" * 100_000}, gemini=gemini)) == (
        signature,
        {"text": "é" * 100_000},
    )


@pytest.mark.parametrize("gemini", [False, True])
def test_a_seal_that_was_cut_off_is_not_opened(gemini):
    sealed = seal(SIGNATURE, EXTRA, gemini=gemini)
    for end in range(len(sealed)):
        opened = open_seal(sealed[:end])
        # Google's form may lose padding and still hold the whole envelope.
        assert opened is None or (gemini and opened == (SIGNATURE, EXTRA))


@given(st.integers(0, 200), st.characters(codec="utf-8"), st.booleans())
def test_a_changed_seal_never_raises(place, character, gemini):
    sealed = seal(SIGNATURE, EXTRA, gemini=gemini)
    place %= len(sealed)
    opened = open_seal(sealed[:place] + character + sealed[place + 1 :])
    assert opened is None or isinstance(opened[0], Signature)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "EqQBCgIYAhIM",
        "gAAAAABo",
        "skip_thought_signature_validator",
        f" {seal(SIGNATURE)}",
        seal(SIGNATURE).lower(),
        "DRAGOMANXSEALX01",
        "DRAGOMANXSEALX01!",
        "DRAGOMANXSEALX01é",
        "DRAGOMANXSEALX02" + seal(SIGNATURE)[16:],
        base64.b64encode(base64.b64decode("DRAGOMANXSEALX01") + b"no envelope").decode(),
        base64.b64encode(base64.b64decode("DRAGOMANXSEALX01") + "é".encode()).decode(),
        MARK,
        f"{MARK}é",
        f"{MARK}A",
    ],
)
def test_values_of_others_are_left_alone(value):
    assert open_seal(value) is None


@pytest.mark.parametrize(
    "inside",
    [
        b"nonsense",
        b"\xff",
        b"{}",
        b'["anthropic"]',
        b'["anthropic","v"]',
        b'["anthropic","v",{},1]',
        b'["anthropic",1,{}]',
        b'[null,"v",{}]',
        b'["anthropic","v",[]]',
        b'["anthropic","v",{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}]",
    ],
)
def test_an_envelope_with_something_else_inside_is_not_opened(inside):
    assert open_seal(MARK + base64.urlsafe_b64encode(inside).rstrip(b"=").decode()) is None


def test_the_facts_of_a_thought_are_those_that_hold():
    assert facts_of(Reasoning("x")) == {}
    thought = Reasoning("x", redacted=True, summary=True, id="rs_1")
    assert facts_of(thought) == {"redacted": True, "summary": True, "id": "rs_1"}
