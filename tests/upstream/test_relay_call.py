import asyncio

import pytest

from app.errors import UpstreamError
from app.http import Limits
from app.upstream.relay_call import Call, Payload, headers_of, payload_of, read_message, refuse

LIMITS = Limits(first_byte_s=5.0, idle_s=5.0)


class Resumed:
    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1


def call(limits=LIMITS, resume=lambda: None):
    return Call(limits, resume)


async def body(of):
    return [chunk async for chunk in of.chunks()]


async def test_what_waits_is_given_at_once():
    one = call()
    one.begin(201, (("a", "b"),))
    one.begin(500, ())
    for text in ("half a ", "line\n", "é"):
        one.add(text)
    one.end()
    assert await one.head() == (201, (("a", "b"),))
    assert await body(one) == ["half a line\né".encode()]


async def test_a_piece_before_the_head_means_200():
    one = call()
    one.add("x")
    one.end()
    assert await one.head() == (200, ())


async def test_an_end_alone_is_an_empty_answer():
    one = call()
    one.end()
    assert await one.head() == (200, ())
    assert await body(one) == []


async def test_pieces_before_a_failure_arrive_before_it():
    one = call()
    one.add("x")
    one.fail(UpstreamError("gone"))
    chunks = one.chunks()
    assert await anext(chunks) == b"x"
    with pytest.raises(UpstreamError, match="gone"):
        await anext(chunks)


async def test_a_failure_after_the_end_changes_nothing():
    one = call()
    one.add("x")
    one.end()
    one.fail(UpstreamError("late"))
    assert await body(one) == [b"x"]


async def test_a_whole_answer_after_a_piece_is_a_fault():
    one = call()
    one.add("x")
    one.answer(Payload(status=200, body="y"))
    chunks = one.chunks()
    await anext(chunks)
    with pytest.raises(UpstreamError, match="twice"):
        await anext(chunks)


@pytest.mark.parametrize(
    ("limits", "begun", "words"),
    [
        (Limits(first_byte_s=0.0), False, "did not begin to answer within 0 s"),
        (Limits(idle_s=0.0), True, "stopped sending in the middle of its answer"),
        (Limits(total_s=0.0), True, "did not finish its answer"),
        (Limits(total_s=0.0), False, "did not finish its answer"),
    ],
)
async def test_each_wait_has_its_limit(limits, begun, words):
    one = call(limits)
    if begun:
        one.begin(200, ())
        await one.head()
    with pytest.raises(UpstreamError, match=words) as caught:
        await (body(one) if begun else one.head())
    assert (caught.value.status, caught.value.code) == (504, "upstream_timeout")


async def test_numbers_must_follow_each_other():
    one = call()
    assert all(one.in_order(seq) for seq in (0, 1, None, 2))
    assert not one.in_order(4)
    assert not call().in_order(1)


async def test_reading_frees_the_queue_and_resumes_a_pause_once():
    resumed = Resumed()
    one = call(resume=resumed)
    one.add("x" * 100)
    one.paused = True
    emptied = asyncio.ensure_future(one.emptied())
    chunks = one.chunks()
    assert one.waiting_bytes == 100
    assert len(await anext(chunks)) == 100
    await emptied
    assert (one.waiting_bytes, one.paused, resumed.count) == (0, False, 1)
    one.add("y")
    assert await anext(chunks) == b"y"
    assert resumed.count == 1


async def test_a_reader_that_leaves_frees_the_queue_and_resumes_nothing():
    resumed = Resumed()
    one = call(resume=resumed)
    one.add("x")
    one.paused = True
    one.leave()
    await one.emptied()
    assert resumed.count == 0


def test_header_fields_are_texts_or_lists_and_the_browsers_own_are_left_out():
    sent = {
        "Content-Type": "text/plain",
        "Vary": ["a", "b", 5],
        "Content-Encoding": "gzip",
        "content-length": "5",
        "x-odd": {"a": 1},
        "x-split": "a\r\nset-cookie: b",
        "x-split\n": "a",
    }
    assert headers_of(sent) == (("content-type", "text/plain"), ("vary", "a"), ("vary", "b"))
    assert headers_of(None) == ()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ('{"type":"x"}', None),
        ('{"type":"x","payload":null}', None),
        ('{"type":"x","payload":{}}', None),
        ('{"type":"x","payload":{"status":200,"unknown":{"a":[1]}}}', 200),
    ],
)
def test_payloads_may_be_absent_and_may_hold_more(text, status):
    assert payload_of(read_message(text)).status == status


@pytest.mark.parametrize("payload", ["5", "[]", '{"status":"x"}', '{"headers":[]}'])
def test_payloads_of_another_form_cannot_be_read(payload):
    assert payload_of(read_message(f'{{"type":"x","payload":{payload}}}')) is None


async def test_an_error_after_the_head_is_no_answer():
    one = call()
    one.add("half")
    refuse(one, Payload(http_response=Payload(status=500), error="broke", status=500))
    chunks = one.chunks()
    await anext(chunks)
    with pytest.raises(UpstreamError, match="broke"):
        await anext(chunks)


async def test_a_refusal_by_the_service_is_its_answer():
    one = call()
    refuse(one, Payload(status=429, error="slow down"))
    assert await one.head() == (429, (("content-type", "text/plain; charset=utf-8"),))
    assert await body(one) == [b"slow down"]
