"""Sinks that keep what is answered."""

import pytest

from app.gateway.call import ClientGone
from app.gateway.takendown import Nowhere, TakenDown
from tests.gateway.scripted import Client


async def test_a_stream_reaches_the_client_and_is_kept():
    client = Client()
    taken = TakenDown(client, 100)
    assert not taken.started
    taken.start(200, (("content-type", "text/event-stream"),))
    await taken.write(b"one ")
    assert taken.ping(b": ping\n\n")
    await taken.write(b"two")
    assert not taken.ended
    taken.finish()
    assert (client.status, client.pieces) == (200, [b"one ", b": ping\n\n", b"two"])
    assert (taken.body, taken.size, taken.streamed, taken.ended) == (b"one two", 7, True, True)
    assert (taken.status, taken.headers) == (200, (("content-type", "text/event-stream"),))
    assert taken.started
    assert taken.alive()
    assert client.finished == 1


async def test_a_whole_answer_is_kept():
    client = Client()
    taken = TakenDown(client, 100)
    taken.reply(429, (), b"no")
    assert (taken.status, taken.body, taken.streamed, taken.ended) == (429, b"no", False, True)
    assert client.body == b"no"


async def test_what_is_too_long_goes_to_the_client_alone():
    client = Client()
    taken = TakenDown(client, 5)
    taken.start(200, ())
    for piece in (b"abc", b"def", b"g"):
        await taken.write(piece)
    assert client.body == b"abcdefg"
    assert (taken.body, taken.size, taken.cut) == (b"abc", 7, True)


async def test_a_client_that_has_gone_is_told_of():
    client = Client()
    client.gone = True
    taken = TakenDown(client, 5)
    taken.start(200, ())
    with pytest.raises(ClientGone):
        await taken.write(b"x")
    assert not taken.alive()


async def test_the_time_of_the_last_write_is_the_clients():
    client = Client()
    taken = TakenDown(client, 5)
    taken.written_at = 7.0
    assert taken.written_at == client.written_at == 7.0


async def test_nowhere_takes_everything():
    sink = Nowhere()
    assert not sink.started
    sink.start(200, ())
    await sink.write(b"x")
    assert sink.ping(b"x")
    assert sink.alive()
    sink.finish()
    assert sink.started
    other = Nowhere()
    other.reply(200, (), b"x")
    assert other.started
