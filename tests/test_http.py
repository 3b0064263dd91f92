import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import UpstreamError
from app.http import HttpReply, StreamedReply, header

FIELDS = (("Content-Type", "a"), ("X-One", "1"), ("content-type", "b"), ("Empty", ""))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("content-type", "a"),
        ("CONTENT-TYPE", "a"),
        ("x-one", "1"),
        ("empty", ""),
        ("x-on", None),
        ("", None),
    ],
)
def test_the_first_field_of_a_name_is_found_in_any_case(name, value):
    assert header(FIELDS, name) == value
    assert header(list(FIELDS), name) == value
    assert HttpReply(200, FIELDS).header(name) == value
    assert streamed([], FIELDS).header(name) == value


def streamed(chunks, headers=()):
    async def read():
        for chunk in chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    return StreamedReply(200, headers, read())


@pytest.mark.parametrize(
    ("chunks", "body"),
    [([], b""), ([b"ab"], b"ab"), ([b"a", b"", b"b"], b"ab"), ([b""], b"")],
)
async def test_a_body_is_collected_whole(chunks, body):
    assert await streamed(chunks).read() == body


async def test_a_single_chunk_is_not_copied():
    chunk = b"x" * 100
    assert await streamed([chunk]).read() is chunk


@pytest.mark.parametrize("chunks", [[b"abc"], [b"a", b"bc"], [b"abc", b""]])
async def test_a_body_of_exactly_the_limit_is_read(chunks):
    assert await streamed(chunks).read(3) == b"abc"


@pytest.mark.parametrize("chunks", [[b"abcd"], [b"abc", b"d"]])
async def test_a_longer_body_is_refused_as_soon_as_it_is_seen(chunks):
    reply = streamed([*chunks, AssertionError("nothing more is read")])
    with pytest.raises(UpstreamError) as caught:
        await reply.read(3)
    assert caught.value.code == "upstream_too_large"
    assert caught.value.status == 502


async def test_a_break_in_the_body_is_passed_on():
    error = UpstreamError("broken")
    with pytest.raises(UpstreamError) as caught:
        await streamed([b"a", error]).read()
    assert caught.value is error


async def test_a_reply_without_a_connection_can_be_closed():
    assert await streamed([]).aclose() is None


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5))), st.text(max_size=5))
def test_a_field_is_found_whenever_it_is_there(fields, name):
    wanted = [value for key, value in fields if key.lower() == name.lower()]
    assert header(fields, name) == (wanted[0] if wanted else None)
