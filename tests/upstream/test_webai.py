import pytest

from app.errors import UpstreamError
from app.http import HttpReply, HttpRequest, Limits
from app.upstream.webai import Reached, fetch_webai, with_webai
from tests.fakes.basic import Answered, ScriptedSend

HERE = Reached("http://127.0.0.1:8406", "k3y")
CALL = HttpRequest("POST", "webai://service/v1/chat/completions", (("Authorization", "Bearer x"),))


async def sent(chunks, status=200, request=CALL, reached=HERE):
    """Send a call; returns what went out, what came back, and who spoke."""
    spoke = []
    send = ScriptedSend(Answered(status, (), chunks))
    reply = await with_webai(send, lambda: reached, spoke.append)(request, Limits())
    try:
        body = await reply.read()
    finally:
        await reply.aclose()
    send.assert_settled()
    return send.requests[0], body, spoke


async def test_call_goes_where_the_program_listens_with_its_own_key():
    request, body, _ = await sent([b"ok"])
    assert request.url == "http://127.0.0.1:8406/v1/chat/completions"
    assert request.headers == (("Authorization", "Bearer k3y"),)
    assert body == b"ok"


async def test_address_with_a_version_and_without_a_key_is_taken_too():
    request, _, _ = await sent([b""], reached=Reached("http://localhost:6969/v1"))
    assert request.url == "http://localhost:6969/v1/chat/completions"
    assert request.headers == ()


async def test_other_calls_are_left_alone():
    other = HttpRequest("GET", "https://example.org/", (("Authorization", "Bearer x"),))
    request, _, spoke = await sent([b'{"provider":"P"}'], request=other)
    assert request is other
    assert spoke == []


@pytest.mark.parametrize("at", range(1, 24))
async def test_who_spoke_is_heard_however_the_stream_is_cut(at):
    text = b'data: {"provider": "Some Site"}\n\n'
    _, body, spoke = await sent([text[:at], text[at:], b'{"provider":"Other"}'])
    assert spoke == ["Some Site"]
    assert body.startswith(text)


async def test_stream_that_does_not_tell_is_not_kept_for_long():
    _, body, spoke = await sent([b"x" * 70_000, b'"provider":"P"'])
    assert spoke == []
    assert len(body) == 70_014


async def test_refusal_is_handed_on_unread():
    _, body, spoke = await sent([b'{"provider":"P"}'], status=500)
    assert (body, spoke) == (b'{"provider":"P"}', [])


async def test_program_that_does_not_run_is_an_error_before_anything_is_sent():
    def reach():
        raise UpstreamError("WebAI: It is turned off.", status=503, code="service_not_ready")

    send = ScriptedSend()
    with pytest.raises(UpstreamError, match="turned off"):
        await with_webai(send, reach, print)(CALL, Limits())
    assert send.requests == []


async def test_small_calls_are_addressed_too():
    asked = []

    async def fetch(request, _limits):
        asked.append(request.url)
        return HttpReply(200, (), b"{}")

    request = HttpRequest("GET", "webai://service/v1/models")
    await fetch_webai(fetch, lambda: Reached("http://127.0.0.1:1"), request, Limits())
    assert asked == ["http://127.0.0.1:1/v1/models"]
