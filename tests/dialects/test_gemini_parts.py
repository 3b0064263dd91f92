import math

import pytest

from app.canonical.parts import Media, Reasoning, Signature, Text, ToolCall
from app.dialects.carrier import open_seal
from app.dialects.gemini_parts import (
    arguments_object,
    call_body,
    decode_part,
    fields,
    integer,
    media_body,
    number,
    restored_alphabet,
    seal_reasoning,
    seal_signature,
    unseal,
)
from app.errors import RequestError


def test_known_keys_become_camel_case_and_nulls_go():
    assert fields({"inline_data": 1, "unknown_key": 2, "text": None}, "x") == {
        "inlineData": 1,
        "unknown_key": 2,
    }


@pytest.mark.parametrize(
    ("reader", "value", "words"),
    [
        (fields, [], "x must be an object, not a list"),
        (number, None, "x must be a number, not null"),
        (number, True, "x must be a number, not a boolean"),
        (number, "1x", "x must be a number, not a string"),
        (number, "\ud800", "x must be a number, not a string"),
        (number, math.inf, "x must be a finite number"),
        (integer, 1.5, "x must be a whole number"),
        (integer, math.nan, "x must be a finite number"),
        (integer, "1e999", "x must be a"),
    ],
)
def test_readers_say_what_they_wanted_and_what_they_found(reader, value, words):
    with pytest.raises(RequestError) as caught:
        reader(value, "x")
    assert caught.value.message.startswith(words)
    assert caught.value.param == "x"


def test_numbers():
    assert number("0.5", "x") == 0.5
    assert integer("40", "x") == integer(40.0, "x") == 40
    assert isinstance(integer(40.0, "x"), int)


@pytest.mark.parametrize(
    ("data", "restored"), [("-_-_", "+/+/"), ("QQ", "QQ=="), ("QUI", "QUI="), ("+/==", "+/==")]
)
def test_base64_is_restored(data, restored):
    assert restored_alphabet(data) == restored


def test_googles_signature_goes_bare_and_others_go_sealed():
    google, other = Signature("google", "QUJD"), Signature("openai", "enc")
    assert seal_signature(google) == "QUJD"
    assert unseal(seal_signature(other)) == (other, {})
    thought = Reasoning(id="rs_1", summary=True, redacted=True)
    sealed = open_seal(seal_reasoning(thought, other, ahead=True))
    assert sealed == (other, {"redacted": True, "summary": True, "id": "rs_1", "ahead": True})
    assert seal_reasoning(thought, google, ahead=False) == "QUJD"


def test_a_broken_envelope_is_an_ordinary_signature():
    signature, extra = unseal("DRAGOMANXSEALX01")
    assert signature is not None
    assert extra is None


def test_an_empty_signature_is_none():
    assert unseal("") == (None, None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ({}, True)),
        (" ", ({}, True)),
        ('{"a":1}', ({"a": 1}, True)),
        ("null", ({"_raw": "null"}, False)),
        ("\ud800", ({"_raw": "\ud800"}, False)),
        ("[" * 9000, ({"_raw": "[" * 9000}, False)),
    ],
)
def test_arguments(text, value):
    assert arguments_object(text) == value


def test_a_free_text_call_becomes_one_with_an_input():
    body, sound = call_body(ToolCall("a", "f", "free *text*", kind="custom"), "")
    assert body == {"functionCall": {"name": "f", "args": {"input": "free *text*"}}}
    assert sound


def test_any_url_may_go_to_a_client():
    media = Media("image", url="https://example.com/a.png")
    assert media_body(media, "", any_url=True) == {
        "fileData": {"fileUri": "https://example.com/a.png"}
    }


def test_a_signed_image_keeps_googles_signature_only():
    body = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thoughtSignature": "QUJD"}
    for issuer, kept in (("google", "QUJD"), ("other", None)):
        (part,) = decode_part(body, "x", lambda value, i=issuer: (Signature(i, value), None))
        assert media_body(part, "").get("thoughtSignature") == kept


def test_a_part_of_several_kinds_is_not_taken_apart():
    body = {"text": "a", "functionCall": {"name": "f"}}
    (part,) = decode_part(body, "x", unseal)
    assert part.body == body
    assert decode_part({"text": "a", "thought": False}, "x", unseal) == [Text("a")]
