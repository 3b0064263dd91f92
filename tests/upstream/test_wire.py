import asyncio

import pytest

from app.errors import UpstreamError
from app.upstream import wire
from app.upstream.failures import Stage
from app.upstream.wire import Answer, Connection

HEAD = b"HTTP/1.1 200 OK\r\n"
LENGTH = HEAD + b"Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nT: v\r\n\r\n"


class Transport:
    """Stands in for a socket: notes what the connection asks for."""

    def __init__(self):
        self.aborted = False
        self.paused = False
        self.unsent = 0

    def get_extra_info(self, name):
        return None

    def abort(self):
        self.aborted = True

    def is_closing(self):
        return self.aborted

    def get_write_buffer_size(self):
        return self.unsent

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False


class Home:
    def __init__(self):
        self.kept = []

    def opened(self, connection):
        pass

    def lost(self, connection):
        pass

    def released(self, connection):
        self.kept.append(connection)
        return True


def connect(*, head_only=False):
    connection = Connection(asyncio.get_running_loop(), "api.test", Home())
    connection.connection_made(Transport())
    connection.begin(head_only=head_only)
    return connection


def answer(connection):
    return Answer(connection, 1.0, None, 0.0)


async def collect(connection):
    return b"".join([chunk async for chunk in answer(connection)])


@pytest.mark.parametrize("raw", [LENGTH, CHUNKED], ids=["length", "chunked"])
async def test_an_answer_split_at_every_byte_gives_the_same_body(raw):
    for cut in range(1, len(raw)):
        connection = connect()
        connection.data_received(raw[:cut])
        connection.data_received(raw[cut:])
        assert await collect(connection) == b"hello"
        assert connection.fields[0][0] in (b"Content-Type", b"Transfer-Encoding")
        assert connection._home.kept == [connection]


@pytest.mark.parametrize("raw", [LENGTH, CHUNKED], ids=["length", "chunked"])
async def test_an_answer_that_comes_byte_by_byte_gives_the_same_body(raw):
    connection = connect()
    for i in range(len(raw)):
        connection.data_received(raw[i : i + 1])
    assert await collect(connection) == b"hello"


@pytest.mark.parametrize("raw", [LENGTH, CHUNKED], ids=["length", "chunked"])
async def test_a_close_at_every_byte_is_an_error(raw):
    for cut in range(len(raw)):
        connection = connect()
        if cut:
            connection.data_received(raw[:cut])
        connection.connection_lost(None)
        with pytest.raises(UpstreamError) as caught:
            await collect(connection)
        assert caught.value.code == "upstream_closed"
        assert connection.untouched is (cut == 0)


async def test_all_events_of_one_read_are_one_chunk():
    connection = connect()
    connection.data_received(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    connection.data_received(b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n")
    assert await answer(connection).__anext__() == b"abc"


async def test_a_body_without_framing_ends_with_the_connection():
    connection = connect()
    connection.data_received(HEAD + b"\r\nabc")
    connection.connection_lost(None)
    assert await collect(connection) == b"abc"
    assert connection._home.kept == []


async def test_a_body_without_framing_that_ends_in_a_reset_is_an_error():
    connection = connect()
    connection.data_received(HEAD + b"\r\nabc")
    connection.connection_lost(ConnectionResetError("reset"))
    reading = answer(connection)
    assert await reading.__anext__() == b"abc"
    with pytest.raises(UpstreamError, match="closed the connection"):
        await reading.__anext__()


async def test_an_error_stays_an_error_when_asked_again():
    connection = connect()
    connection.data_received(LENGTH[:-1])
    connection.connection_lost(None)
    reading = answer(connection)
    await reading.__anext__()
    for _ in range(3):
        with pytest.raises(UpstreamError):
            await reading.__anext__()


FRAMING = {
    "length and chunked": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunked and length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "equal lengths": b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
    "list of lengths": b"Content-Length: 5, 5\r\n\r\n",
    "signed length": b"Content-Length: +5\r\n\r\n",
    "negative length": b"Content-Length: -5\r\n\r\n",
    "huge length": b"Content-Length: 99999999999999999999999\r\n\r\n",
    "empty length": b"Content-Length:\r\n\r\n",
    "folded field": b"X: a\r\n b\r\nContent-Length: 5\r\n\r\n",
    "bare LF in head": b"X: a\nContent-Length: 5\r\n\r\n",
    "bare CR in head": b"X: a\rContent-Length: 5\r\n\r\n",
    "space before colon": b"Content-Length : 5\r\n\r\n",
    "NUL in field": b"X: a\x00b\r\nContent-Length: 5\r\n\r\n",
    "no name": b": a\r\nContent-Length: 5\r\n\r\n",
    "gzip transfer": b"Transfer-Encoding: gzip\r\n\r\n",
    "gzip, chunked": b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "chunked, gzip": b"Transfer-Encoding: chunked, gzip\r\n\r\n",
    "xchunked": b"Transfer-Encoding: xchunked\r\n\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "bare LF after size": b"Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
    "bare LF after chunk": b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n",
    "chunk size overflow": b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello",
    "chunk size not hex": b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nhello",
}


@pytest.mark.parametrize("tail", FRAMING.values(), ids=FRAMING.keys())
async def test_ambiguous_framing_is_refused(tail):
    connection = connect()
    connection.data_received(HEAD + tail + b"hello")
    with pytest.raises(UpstreamError) as caught:
        await collect(connection)
    assert caught.value.code == "upstream_protocol"
    assert connection.transport.aborted


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
        b"HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 99 Low\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhi",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x50",
    ],
)
async def test_what_is_not_http_1_is_refused(raw):
    connection = connect()
    connection.data_received(raw)
    with pytest.raises(UpstreamError) as caught:
        await collect(connection)
    assert caught.value.code == "upstream_protocol"


async def test_body_bytes_before_a_fault_are_given_out_before_the_error():
    connection = connect()
    connection.data_received(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nzz\r\n")
    reading = answer(connection)
    assert await reading.__anext__() == b"hi"
    with pytest.raises(UpstreamError):
        await reading.__anext__()


@pytest.mark.parametrize(
    "surplus", [LENGTH, b"garbage", b"HTTP/1.1 2", b"\x00"], ids=["answer", "text", "torn", "nul"]
)
async def test_bytes_behind_the_answer_cost_the_connection_but_not_the_answer(surplus):
    connection = connect()
    connection.data_received(LENGTH + surplus)
    assert await collect(connection) == b"hello"
    assert connection._home.kept == []
    assert connection.transport.aborted


async def test_bytes_on_an_idle_connection_close_it():
    connection = connect()
    connection.data_received(LENGTH)
    assert await collect(connection) == b"hello"
    assert connection._home.kept == [connection]
    connection.data_received(LENGTH)
    assert connection.transport.aborted


async def test_bytes_before_any_request_close_the_connection():
    connection = Connection(asyncio.get_running_loop(), "api.test", Home())
    connection.connection_made(Transport())
    connection.data_received(LENGTH)
    assert connection.transport.aborted


async def test_interim_heads_are_skipped():
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    for cut in range(1, len(interim)):
        connection = connect()
        connection.data_received(interim[:cut])
        connection.data_received(interim[cut:] + LENGTH)
        assert await collect(connection) == b"hello"
        assert connection.status == 200
        assert [name for name, _ in connection.fields] == [b"Content-Type", b"Content-Length"]


async def test_endless_interim_heads_are_refused():
    connection = connect()
    connection.data_received(b"HTTP/1.1 100 Continue\r\n\r\n" * (wire.MAX_INTERIM + 1))
    assert connection.error.code == "upstream_protocol"


async def test_a_head_in_pieces_beyond_the_limit_is_refused_before_it_ends():
    connection = connect()
    connection.data_received(HEAD + b"X: ")
    fed = 0
    while not connection.done:
        connection.data_received(b"a" * 1000)
        fed += 1000
    assert fed <= wire.MAX_HEAD_BYTES + 1000
    assert connection.error.code == "upstream_protocol"
    assert connection.transport.aborted


async def test_a_head_in_one_piece_beyond_the_limit_is_refused():
    connection = connect()
    connection.data_received(HEAD + b"X: " + b"a" * wire.MAX_HEAD_BYTES + b"\r\n\r\n")
    assert connection.error.code == "upstream_protocol"


async def test_too_many_fields_are_refused():
    connection = connect()
    connection.data_received(HEAD + b"A: b\r\n" * (wire.MAX_FIELDS + 1) + b"\r\n")
    assert connection.error.code == "upstream_protocol"


@pytest.mark.parametrize("start", [b"0\r\nT: ", b"1;x="], ids=["trailer", "extension"])
async def test_endless_bytes_that_are_no_body_are_refused(start):
    connection = connect()
    connection.data_received(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + start)
    for _ in range(wire.MAX_HEAD_BYTES // 1000 + 1):
        connection.data_received(b"a" * 1000)
    assert connection.error.code == "upstream_protocol"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_answers_without_body_are_complete_with_their_head(status):
    connection = connect()
    connection.data_received(b"HTTP/1.1 " + status + b"\r\nETag: x\r\n\r\n")
    assert await collect(connection) == b""
    assert connection._home.kept == [connection]


async def test_the_answer_to_head_has_no_body_and_its_connection_is_not_kept():
    connection = connect(head_only=True)
    connection.data_received(LENGTH[: LENGTH.index(b"hello")])
    assert await collect(connection) == b""
    assert connection._home.kept == []


async def test_body_bytes_after_head_are_not_given_out():
    connection = connect(head_only=True)
    connection.data_received(LENGTH)
    assert await collect(connection) == b""


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    ],
    ids=["close", "1.0"],
)
async def test_a_connection_that_the_service_will_close_is_not_kept(raw):
    connection = connect()
    connection.data_received(raw)
    assert await collect(connection) == b"hi"
    assert connection._home.kept == []


async def test_a_connection_whose_request_is_not_out_yet_is_not_kept():
    connection = connect()
    connection.transport.unsent = 1
    connection.data_received(LENGTH)
    assert await collect(connection) == b"hello"
    assert connection._home.kept == []
    assert connection.transport.aborted


async def test_a_connection_serves_one_answer_after_the_other():
    connection = connect()
    for raw in (LENGTH, CHUNKED, LENGTH):
        connection.data_received(raw)
        assert await collect(connection) == b"hello"
        connection.begin(head_only=False)


async def test_reading_pauses_above_the_limit_and_resumes_at_half():
    connection = connect()
    connection.data_received(HEAD + b"Content-Length: 10000000\r\n\r\n")
    piece = b"x" * 65536
    for _ in range(4):
        connection.data_received(piece)
    assert not connection.transport.paused
    connection.data_received(piece)
    assert connection.transport.paused
    reading = answer(connection)
    for _ in range(3):
        await reading.__anext__()
        assert connection.transport.paused
    await reading.__anext__()
    assert not connection.transport.paused


async def test_closing_an_unfinished_answer_closes_the_socket_at_once():
    connection = connect()
    connection.data_received(LENGTH[:-1])
    reading = answer(connection)
    await reading.aclose()
    assert connection.transport.aborted
    await reading.aclose()


async def test_closing_a_complete_but_unread_answer_keeps_the_connection():
    connection = connect()
    connection.data_received(LENGTH)
    await answer(connection).aclose()
    assert connection._home.kept == [connection]
    assert not connection.chunks


async def test_cancelled_reading_closes_the_socket_and_never_looks_complete():
    connection = connect()
    connection.data_received(LENGTH[:-5])
    reading = answer(connection)
    task = asyncio.ensure_future(reading.__anext__())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert connection.transport.aborted
    with pytest.raises(UpstreamError):
        await reading.__anext__()


async def test_the_clock_of_the_first_byte_starts_when_the_request_is_out():
    connection = connect()
    connection.transport.unsent = 1000
    connection.pause_writing()
    connection.wait(10.0, Stage.FIRST_BYTE, None, 0.0)
    before = connection._deadline
    connection._loop.time = lambda real=connection._loop.time: real() + 5
    try:
        connection.transport.unsent = 0
        connection.resume_writing()
    finally:
        del connection._loop.time
    assert 4.9 < connection._deadline - before < 5.5
    connection.connection_lost(None)


async def test_a_service_that_takes_the_request_slowly_gets_more_time():
    connection = connect()
    connection.transport.unsent = 1000
    connection.pause_writing()
    waiter = connection.wait(0.02, Stage.FIRST_BYTE, None, 0.0)
    connection.transport.unsent = 500  # it moved: the limit counts anew, once
    started = connection.now()
    await waiter
    assert connection.now() - started >= 0.035
    assert connection.error.code == "upstream_timeout"
    assert "stopped taking the request" in connection.error.message


async def test_a_nearer_deadline_moves_the_timer():
    connection = connect()
    connection.wait(100.0, Stage.FIRST_BYTE, None, 0.0)
    waiter = connection.wait(0.01, Stage.IDLE, None, 0.0)
    await waiter
    assert connection.error.status == 504
    assert "0.01 s" in connection.error.message


async def test_the_total_limit_is_named_when_it_is_the_nearest():
    connection = connect()
    await connection.wait(100.0, Stage.FIRST_BYTE, connection.now() + 0.01, 0.5)
    assert "0.5 s" in connection.error.message
    assert "total_timeout_s" in connection.error.hint


async def test_a_stream_that_never_pauses_still_meets_the_total_limit():
    connection = connect()
    connection.data_received(HEAD + b"Content-Length: 100\r\n\r\nabc")
    reading = Answer(connection, 1.0, connection.now() - 1, 0.5)
    with pytest.raises(UpstreamError) as caught:
        await reading.__anext__()
    assert caught.value.code == "upstream_timeout"
    assert connection.transport.aborted
