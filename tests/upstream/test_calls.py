import ssl

import httpx
import pytest

from app.errors import UpstreamError
from app.http import HttpRequest, Limits
from app.upstream import calls, tls
from app.upstream.pool import Origin

REQUEST = HttpRequest("GET", "https://api.test/v1?key=secret")
LIMITS = Limits(connect_s=1, first_byte_s=2, idle_s=3)
ORIGIN = Origin("https", "api.test", 443, "api.test")


async def ask(handler, request=REQUEST, way="stream"):
    line = calls.open_line(httpx.MockTransport(handler))
    return await calls.open_call(getattr(line, way), request, ORIGIN, "/v1?key=secret", LIMITS)


def certificate_error():
    error = httpx.ConnectError("https://api.test/v1?key=secret")
    error.__cause__ = ssl.SSLCertVerificationError(1, "bad")
    error.__cause__.verify_message = "self-signed certificate"
    return error


FAULTS = [
    (httpx.ConnectTimeout("secret"), "upstream_timeout", "within 1 s"),
    (httpx.PoolTimeout("secret"), "upstream_timeout", "within 1 s"),
    (httpx.WriteTimeout("secret"), "upstream_timeout", "stopped taking the request within 2 s"),
    (httpx.ReadTimeout("secret"), "upstream_timeout", "begin to answer within 2 s"),
    (httpx.ProxyError("secret"), "upstream_unreachable", "proxy refused"),
    (httpx.ConnectError("secret"), "upstream_unreachable", "no connection"),
    (certificate_error(), "upstream_tls", "self-signed certificate"),
    (httpx.LocalProtocolError("secret"), "invalid_header", "line break"),
    (httpx.RemoteProtocolError("Server disconnected"), "upstream_closed", "without an answer"),
    (httpx.RemoteProtocolError("peer closed connection"), "upstream_closed", "in the middle"),
    (httpx.RemoteProtocolError("illegal secret"), "upstream_protocol", "cannot be parsed"),
    (httpx.UnsupportedProtocol("secret"), "invalid_url", "not an http"),
    (httpx.ReadError("secret"), "upstream_closed", "before the answer"),
]


@pytest.mark.parametrize("way", ["stream", "control"])
@pytest.mark.parametrize(
    ("fault", "code", "text"), FAULTS, ids=[f"{type(f[0]).__name__} {f[2]}" for f in FAULTS]
)
async def test_faults_of_httpx_become_ours_without_their_text(fault, code, text, way):
    def fail(request):
        raise fault

    with pytest.raises(UpstreamError) as caught:
        await ask(fail, way=way)
    assert caught.value.code == code
    assert text in caught.value.message
    assert "secret" not in caught.value.text
    assert caught.value.__cause__ is fault


@pytest.mark.parametrize("way", ["stream", "control"])
async def test_a_fault_in_the_body_names_the_limit_between_reads_and_stays(way):
    async def body():
        yield b"a"
        raise httpx.ReadTimeout("secret")

    answer = await ask(lambda request: httpx.Response(200, content=body()), way=way)
    assert await answer.__anext__() == b"a"
    for _ in range(2):
        with pytest.raises(UpstreamError, match="within 3 s"):
            await answer.__anext__()


async def test_a_url_or_header_that_httpx_refuses_is_ours_to_report():
    for request, code in (
        (HttpRequest("GET", "https://[::1/"), "invalid_url"),
        (HttpRequest("GET", "https://api.test/", (("X", "\u4e2d"),)), "invalid_header"),
    ):
        with pytest.raises(UpstreamError) as caught:
            await ask(lambda request: httpx.Response(200), request)
        assert caught.value.code == code


def test_a_proxy_that_httpx_refuses_is_reported_without_being_shown():
    with pytest.raises(UpstreamError) as caught:
        calls.make_transport("gopher://secret@proxy.test", tls.build_context())
    assert caught.value.code == "proxy_invalid"
    assert "secret" not in caught.value.text


REQUEST_FIELDS = HttpRequest(
    "POST",
    "https://api.test/v1?key=secret",
    (("X-B", "2"), ("x-a", "1"), ("X-B", "3"), ("Connection", "close"), ("Host", "evil.test")),
    b"body",
)


@pytest.mark.parametrize("way", ["stream", "control"])
async def test_a_request_has_the_fields_it_was_prepared_with_and_those_of_the_connection(way):
    seen = []

    def answer(request):
        seen.append((request.headers.raw, request.extensions["target"], request.content))
        return httpx.Response(200)

    await (await ask(answer, REQUEST_FIELDS, way)).aclose()
    fields = [
        (b"Host", b"api.test"),
        *((b"X-B", b"2"), (b"x-a", b"1"), (b"X-B", b"3")),
        (b"Content-Length", b"4"),
    ]
    assert seen == [(fields, b"/v1?key=secret", b"body")]


async def test_control_calls_follow_no_redirect_and_keep_no_cookie():
    seen = []

    def answer(request):
        seen.append(request)
        fields = {"location": "https://elsewhere.test/", "set-cookie": "a=b; Path=/"}
        return httpx.Response(302, headers=fields)

    line = calls.open_line(httpx.MockTransport(answer))
    for _ in range(2):
        reply = await calls.open_call(line.control, REQUEST, ORIGIN, "/v1", LIMITS)
        assert reply.status == 302
        assert (b"location", b"https://elsewhere.test/") in reply.fields
        await reply.aclose()
    assert len(seen) == 2
    assert "cookie" not in seen[1].headers
    assert len(line.client.cookies.jar) == 0
    await line.aclose()


class Body(httpx.AsyncByteStream):
    def __init__(self):
        self.closed = 0

    async def __aiter__(self):
        yield b"a"
        yield b"b"

    async def aclose(self):
        self.closed += 1


@pytest.mark.parametrize("way", ["stream", "control"])
async def test_an_answer_given_up_ends_its_stream(way):
    body = Body()
    answer = await ask(lambda request: httpx.Response(200, stream=body), way=way)
    assert await answer.__anext__() == b"a"
    await answer.aclose()
    assert body.closed == 1
    with pytest.raises(StopAsyncIteration):
        await answer.__anext__()
