from hypothesis import given
from hypothesis import strategies as st

from app.dialects.sse import Frame, SseParser, render_frame

STREAM = (
    b': hi\n\nevent: a\ndata: {"x":1}\n\ndata: one\ndata: two\r\n\r\n'
    b"id: 7\rdata:three\r\rdata\n\ndata: \xe2\x80\xa8u2028\n\nevent: last\ndata: end"
)
FRAMES = [
    Frame("a", b'{"x":1}'),
    Frame("", b"one\ntwo"),
    Frame("", b"three"),
    Frame("", b""),
    Frame("", b"\xe2\x80\xa8u2028"),
    Frame("last", b"end"),
]


def parse(chunks):
    parser = SseParser()
    frames = []
    for chunk in chunks:
        frames += parser.feed(chunk)
    return frames + parser.close()


def test_frames_are_the_same_when_split_at_any_byte():
    for stream in (STREAM, b"\xef\xbb\xbf" + STREAM):
        for cut in range(len(stream) + 1):
            assert parse([stream[:cut], stream[cut:]]) == FRAMES
        assert parse([bytes([byte]) for byte in stream]) == FRAMES


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_any_bytes_in_any_chunks_give_the_same_frames(chunks):
    assert parse(chunks) == parse([b"".join(chunks)])


def test_rendered_frames_parse_back():
    wire = render_frame(b"{}", "x") + render_frame(b"[1]")
    assert parse([wire]) == [Frame("x", b"{}"), Frame("", b"[1]")]
