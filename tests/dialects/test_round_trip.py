"""Within one dialect nothing is lost: what was decoded and encoded is decoded the same again."""

from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass, replace

import msgspec
import pytest

from app.canonical.failure import Failure
from app.canonical.fold import fold, unfold
from app.canonical.parts import Native, ToolCall
from app.canonical.profile import Target
from app.dialects import DIALECTS
from app.dialects.base import dump
from app.routing.profiles import profile_for
from tests.dialects.corpus import (
    COMPATIBLE,
    ISSUERS,
    all_cases,
    answer_of,
    events_of,
    peek_of,
    raw_of,
    reply_for,
    request_of,
    response_of,
    target_of,
)


def without_form(value):
    """A value without the notes about how a dialect wrote it, and without empty native fields."""
    if isinstance(value, Native):
        fields = {key: inner for key, inner in value.fields.items() if key != "$form"}
        return Native(value.dialect, fields) if fields else None
    if isinstance(value, tuple):
        return tuple(without_form(inner) for inner in value)
    if is_dataclass(value):
        changed = {f.name: without_form(getattr(value, f.name)) for f in dataclass_fields(value)}
        return replace(value, **changed)
    return value


OF_ONE_MODEL = {"mid_system", "reasoning_level"}
"""Requests that only the model they name can take."""


def told(answer):
    """An answer without what the proxy sets anew for its client."""
    parts = tuple(
        replace(part, id="")
        if isinstance(part, ToolCall) and part.id.startswith("call_0")
        else part
        for part in answer.parts
    )
    return without_form(replace(answer, id="", model="", created=None, parts=parts, native=None))


def kept_natives(before, after):
    """Whether a client gets every further field of an answer; it may get defaults besides."""
    old = {} if before.native is None else before.native.fields
    new = {} if after.native is None else after.native.fields
    return all(new.get(key) == value for key, value in old.items())


def signer_of(request):
    """Who signed the thoughts of a history: only it may have them back."""
    parts = [part for message in request.messages for part in message.parts]
    signatures = [getattr(part, "signature", None) for part in parts]
    return next((s.issuer for s in signatures if s is not None), "openai_chat")


@pytest.mark.parametrize(("dialect", "name"), all_cases("request.json"))
def test_a_request_is_the_same_after_encoding(dialect, name):
    before = request_of(dialect, name)
    target = target_of(dialect, before.model if name in OF_ONE_MODEL else None)
    if dialect == "openai_chat" and name in COMPATIBLE:
        target = Target(profile_for("m", official=False), signer_of(before), official=False)
    encoded = DIALECTS[dialect].encode_request(before, target)
    body = msgspec.json.decode(dump(encoded.body))
    after = DIALECTS[dialect].decode_request(body, peek_of(encoded.body, before.model))
    assert without_form(after) == without_form(before)
    assert encoded.losses == ()


@pytest.mark.parametrize(("dialect", "name"), all_cases("response.json"))
def test_a_whole_answer_is_the_same_after_encoding(dialect, name):
    before = response_of(dialect, name)
    encoded = DIALECTS[dialect].encode_response(before, reply_for())
    body = msgspec.json.decode(dump(encoded.body))
    after = DIALECTS[dialect].decode_response(body, ISSUERS[dialect])
    assert told(after) == told(before)
    assert kept_natives(before, after)
    assert encoded.losses == ()


@pytest.mark.parametrize(("dialect", "name"), all_cases("stream.sse"))
def test_a_stream_tells_the_same_after_encoding(dialect, name):
    events = events_of(dialect, raw_of(dialect, name, "stream.sse"))
    before = fold(events)
    after = answer_of(dialect, DIALECTS[dialect].stream_encoder(reply_for()).encode(events))
    if isinstance(before, Failure):
        assert isinstance(after, Failure)
        assert (after.kind, after.message) == (before.kind, before.message)
    else:
        assert told(after) == told(before)
        assert kept_natives(before, after)


@pytest.mark.parametrize(("dialect", "name"), all_cases("response.json"))
def test_an_answer_is_the_same_after_unfolding(dialect, name):
    response = response_of(dialect, name)
    assert fold(unfold(response)) == response


@pytest.mark.parametrize(("dialect", "name"), all_cases("response.json"))
def test_an_unfolded_answer_streams_as_the_same_answer(dialect, name):
    before = response_of(dialect, name)
    raw = DIALECTS[dialect].stream_encoder(reply_for()).encode(unfold(before))
    assert told(answer_of(dialect, raw)) == told(before)
