"""Every case through every other dialect: what is lost is listed in ``matrix.json``, and no more.

The file holds, for each case and target, the losses that the encoder names (``path: reason``), or
the refusal. Nothing listed means that nothing is lost. ``SILENT`` marks what is lost without being
named: each such line is a fault of a dialect. Rows under a model's name differ from those of a
model of which nothing is known (``any``). After a change on purpose, write the file anew and read
the difference::

    python -m tests.dialects.test_matrix
"""

from pathlib import Path

import msgspec
import pytest

from app.canonical.failure import Failure
from app.canonical.fold import fold
from app.canonical.parts import Reasoning, ToolCall
from app.dialects import DIALECTS
from app.dialects.base import dump
from app.dialects.carrier import open_seal
from app.dialects.tools import fit_tools
from app.errors import RequestError, TranslationError
from tests.dialects.compare import (
    answer_differences,
    call_ids,
    request_differences,
    uncovered,
)
from tests.dialects.corpus import (
    ISSUERS,
    answer_of,
    events_of,
    pairs,
    peek_of,
    raw_of,
    reply_for,
    request_of,
    response_of,
    target_of,
)

FILE = Path(__file__).parent / "matrix.json"
MODELS = {
    "openai_chat": ("gpt-5.2", "gpt-4.1"),
    "openai_responses": ("gpt-5.2", "gpt-4.1"),
    "anthropic": ("claude-haiku-4-5", "claude-opus-4-8"),
    "gemini": ("gemini-2.5-flash", "gemini-3-pro-preview"),
}
SIGNED = ("openai_responses", "anthropic", "gemini")
"""Dialects with a place for the signature of a thought."""


def request_row(source, name, target, model):
    """What is lost of a request on its way to a dialect."""
    upstream, aim = DIALECTS[target], target_of(target, model)
    before = request_of(source, name)
    if before.choices > 1:
        return ["refused at n"]
    fitted, names = fit_tools(before, target, aim)
    assert calls_of(fitted, names.restore_call) == calls_of(before)
    try:
        encoded = upstream.encode_request(fitted, aim)
    except TranslationError as error:
        return [f"refused at {error.param}: {error.message}"]
    raw = dump(encoded.body)
    try:
        after = upstream.decode_request(msgspec.json.decode(raw), peek_of(encoded.body))
    except RequestError as error:
        return [f"SILENT not readable at {error.param}: {error.message}"]
    silent = uncovered(request_differences(fitted, after, aim.profile), encoded.losses)
    return [
        *(f"{loss.path}: {loss.reason}" for loss in encoded.losses),
        *(f"SILENT {line}" for line in silent),
    ]


def calls_of(request, change=lambda call: call):
    """The calls of a conversation as a client knows them."""
    parts = (part for message in request.messages for part in message.parts)
    calls = [change(part) for part in parts if isinstance(part, ToolCall)]
    return [(call.id, call.namespace, call.name, call.kind, call.arguments) for call in calls]


def answer_row(source, name, target):
    """What is lost of a whole answer on its way to a client."""
    before = response_of(source, name)
    body = DIALECTS[target].encode_response(before, reply_for()).body
    after = DIALECTS[target].decode_response(msgspec.json.decode(dump(body)), ISSUERS[target])
    return told_differences(before, after, target)


def stream_row(source, name, target):
    """What is lost of a streamed answer on its way to a client."""
    events = events_of(source, raw_of(source, name, "stream.sse"))
    raw = DIALECTS[target].stream_encoder(reply_for()).encode(events)
    before, after = fold(events), answer_of(target, raw)
    if isinstance(before, Failure) or isinstance(after, Failure):
        told = [failure_of(before), failure_of(after)]
        return [] if told[0] == told[1] else [f"{told[0]} became {told[1]}"]
    return told_differences(before, after, target)


def told_differences(before, after, target):
    ids = call_ids(after)
    assert len(set(ids)) == len(ids), "parallel calls need ids of their own"
    assert all(ids)
    return [*answer_differences(before, after), *lost_signatures(before, after, target)]


def failure_of(end):
    return (end.kind, end.message) if isinstance(end, Failure) else "an answer"


def lost_signatures(before, after, target):
    """Signatures of thoughts that a client of a dialect with a place for them did not get."""
    if target not in SIGNED:
        return []
    carried = set()
    for part in after.parts:
        if isinstance(part, Reasoning) and part.signature is not None:
            opened = open_seal(part.signature.value)
            carried.add(opened[0] if opened else part.signature)
    return [
        f"signature {part.signature.value!r} of a thought"
        for part in before.parts
        if isinstance(part, Reasoning)
        and part.signature is not None
        and part.signature not in carried
    ]


def request_rows(source, name, target):
    rows = {"any": request_row(source, name, target, None)}
    for model in MODELS[target]:
        rows[model] = request_row(source, name, target, model)
    usual = rows["any"]
    return {model: row for model, row in rows.items() if row != (usual if model != "any" else [])}


MAKERS = {
    "requests": ("request.json", request_rows),
    "answers": ("response.json", answer_row),
    "streams": ("stream.sse", stream_row),
}


def cases_of(kind):
    return pairs(MAKERS[kind][0])


@pytest.fixture(scope="module")
def expected():
    return msgspec.json.decode(FILE.read_bytes())


def row_of(expected, kind, source, name, target, default):
    return expected[kind].get(f"{source}/{name}", {}).get(target, default)


@pytest.mark.parametrize(("source", "name", "target"), cases_of("requests"))
def test_a_request_loses_only_what_is_listed(expected, source, name, target):
    assert request_rows(source, name, target) == row_of(
        expected, "requests", source, name, target, {}
    )


@pytest.mark.parametrize(("source", "name", "target"), cases_of("answers"))
def test_an_answer_loses_only_what_is_listed(expected, source, name, target):
    assert answer_row(source, name, target) == row_of(expected, "answers", source, name, target, [])


@pytest.mark.parametrize(("source", "name", "target"), cases_of("streams"))
def test_a_stream_loses_only_what_is_listed(expected, source, name, target):
    assert stream_row(source, name, target) == row_of(expected, "streams", source, name, target, [])


def test_the_file_names_no_case_that_is_gone(expected):
    for kind in MAKERS:
        known = {f"{source}/{name}" for source, name, _ in cases_of(kind)}
        assert set(expected[kind]) <= known


def write():
    """Write the file anew."""
    table = {}
    for kind, (_, make) in MAKERS.items():
        table[kind] = {}
        for source, name, target in cases_of(kind):
            if row := make(source, name, target):
                table[kind].setdefault(f"{source}/{name}", {})[target] = row
    FILE.write_bytes(msgspec.json.format(msgspec.json.encode(table), indent=1) + b"\n")


if __name__ == "__main__":
    write()
