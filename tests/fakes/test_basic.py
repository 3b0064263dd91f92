import pytest

from app.errors import UpstreamError
from app.http import HttpRequest, Limits
from tests.fakes.basic import Answered, Clock, Ids, ScriptedSend, unreachable

REQUEST = HttpRequest("POST", "https://upstream.test/")


async def test_answers_come_in_order_and_requests_are_kept():
    send = ScriptedSend(Answered(200, {"a": "b"}, [b"one", b"two"]), unreachable())
    reply = await send(REQUEST, Limits())
    assert (reply.header("A"), await reply.read()) == ("b", b"onetwo")
    with pytest.raises(AssertionError, match="not closed"):
        send.steps.clear() or send.assert_settled()
    await reply.aclose()
    send.assert_settled()
    send.script(unreachable())
    with pytest.raises(UpstreamError):
        await send(REQUEST, Limits())
    assert send.requests == [REQUEST, REQUEST]


async def test_a_stream_breaks_where_the_script_says():
    send = ScriptedSend(Answered(chunks=[b"one", UpstreamError("cut")]))
    reply = await send(REQUEST, Limits())
    with pytest.raises(UpstreamError, match="cut"):
        await reply.read()
    assert send.answers[0].read == 1
    await reply.aclose()


async def test_a_step_can_look_at_the_request_and_running_out_fails():
    send = ScriptedSend(lambda request: Answered(200, (), request.method.encode()))
    reply = await send(REQUEST, Limits())
    assert await reply.read() == b"POST"
    await reply.aclose()
    with pytest.raises(AssertionError, match="no answer is scripted"):
        await send(REQUEST, Limits())


def test_clock_and_ids_move_only_by_hand():
    clock, ids = Clock(5.0), Ids()
    clock.advance(2.5)
    assert (clock(), ids("a_"), ids()) == (7.5, "a_1", "2")
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)
