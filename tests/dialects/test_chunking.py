"""However a stream is cut on its way, its events and what a client gets stay the same."""

import random

import pytest

from app.canonical.events import Failed, Finished
from app.canonical.fold import fold
from app.dialects import DIALECTS
from app.dialects.tap import Tap
from app.dialects.tools import ToolNames
from app.dialects.translate import StreamPipe
from tests.dialects.compare import answer_differences
from tests.dialects.corpus import (
    ISSUERS,
    all_cases,
    answer_of,
    events_of,
    places_to_cut,
    raw_of,
    reply_for,
)

EVERY_BYTE_UP_TO = 8 * 1024
STREAMS = all_cases("stream.sse")


def cuts(data, seed):
    """Ways to cut a stream: byte by byte when it is short, and at a few random places."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    places = [sorted(chance.sample(range(1, len(data)), k)) for k in (1, 2, 9) if len(data) > k]
    if len(data) <= EVERY_BYTE_UP_TO:
        places.append(list(range(1, len(data))))
    else:
        places.append(sorted(chance.sample(range(1, len(data)), 400)))
    for found in places:
        yield [data[a:b] for a, b in zip([0, *found], [*found, len(data)], strict=True)]


def piped(pieces, source, client):
    """What a client gets when a stream arrives in pieces."""
    pipe = StreamPipe(
        DIALECTS[client], DIALECTS[source], ISSUERS[source], ToolNames(), reply_for(), None
    )
    out = [pipe.encode(events) for piece in pieces if (events := pipe.decode(piece))]
    return b"".join(out) + pipe.encode(pipe.close())


@pytest.mark.parametrize(("source", "name"), STREAMS)
def test_a_decoder_gives_the_same_events_for_any_cut(source, name):
    data = raw_of(source, name, "stream.sse")
    whole = events_of(source, data)
    for pieces in cuts(data, name):
        decoder = DIALECTS[source].stream_decoder(ISSUERS[source])
        events = [event for piece in pieces for event in decoder.feed(piece)] + decoder.close()
        assert events == whole


@pytest.mark.parametrize(("source", "name"), STREAMS)
def test_every_client_gets_the_same_for_any_cut(source, name):
    """Byte by byte, but for what an encoder does with all that arrived at once.

    Gemini's joins the deltas of one write, and Responses' puts the signature of a text before it
    where both came together.
    """
    data = raw_of(source, name, "stream.sse")
    told = fold(events_of(source, data))
    signed = any(getattr(part, "signature", None) for part in getattr(told, "parts", ()))
    for client in DIALECTS:
        whole = piped([data], source, client)
        assert whole
        for pieces in cuts(data, name):
            got = piped(pieces, source, client)
            if client == "gemini" or (client == "openai_responses" and signed):
                one, other = answer_of(client, whole), answer_of(client, got)
                if hasattr(told, "parts"):
                    assert answer_differences(one, other) == []
                else:
                    assert one == other
            else:
                assert got == whole


@pytest.mark.parametrize(("source", "name"), STREAMS)
def test_a_tap_reads_the_same_for_any_cut_as_the_decoder_does(source, name):
    data = raw_of(source, name, "stream.sse")
    told = fold(events_of(source, data))
    for pieces in [[data], *cuts(data, name)]:
        tap = Tap(DIALECTS[source])
        for piece in pieces:
            tap.feed(piece)
        tap.close()
        verdict = tap.verdict()
        assert (verdict is None) == hasattr(told, "parts")
        if verdict is None:
            assert tap.usage == told.usage
            assert tap.content or tap.terminal
            assert told.parts or not tap.content
        else:
            assert verdict.kind == told.kind


@pytest.mark.parametrize(("source", "name"), STREAMS)
def test_a_stream_cut_anywhere_ends_in_a_failure_and_never_in_silence(source, name):
    data = raw_of(source, name, "stream.sse")
    chance = random.Random(name)  # noqa: S311 - no secret
    for place in sorted(chance.sample(range(len(data)), min(60, len(data)))):
        events = events_of(source, data[:place])
        assert events
        ends = [event for event in events if isinstance(event, Finished | Failed)]
        assert ends == [events[-1]]


@pytest.mark.parametrize("source", DIALECTS)
def test_a_byte_that_is_no_text_makes_no_decoder_or_tap_raise(source):
    data = raw_of(source, "text", "stream.sse")
    for place in places_to_cut(data, source):
        broken = data[:place] + b"\xff" + data[place + 1 :]
        events = events_of(source, broken)
        ends = [event for event in events if isinstance(event, Finished | Failed)]
        assert ends == [events[-1]]
        tap = Tap(DIALECTS[source])
        tap.feed(broken)
        tap.close()
        tap.verdict()
