import ssl

import httpx
import pytest

from app.errors import UpstreamError
from app.http import HttpRequest, Limits
from app.upstream import stock, tls

REQUEST = HttpRequest("GET", "https://api.test/v1?key=secret")
LIMITS = Limits(connect_s=1, first_byte_s=2, idle_s=3)


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


@pytest.mark.parametrize(
    ("fault", "code", "text"), FAULTS, ids=[f"{type(f[0]).__name__} {f[2]}" for f in FAULTS]
)
async def test_faults_of_httpx_become_ours_without_their_text(fault, code, text):
    def fail(request):
        raise fault

    with pytest.raises(UpstreamError) as caught:
        await stock.open_stock(httpx.MockTransport(fail), REQUEST, "api.test", LIMITS)
    assert caught.value.code == code
    assert text in caught.value.message
    assert "secret" not in caught.value.text
    assert caught.value.__cause__ is fault


async def test_a_fault_in_the_body_names_the_limit_between_reads_and_stays():
    async def body():
        yield b"a"
        raise httpx.ReadTimeout("secret")

    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=body()))
    answer = await stock.open_stock(transport, REQUEST, "api.test", LIMITS)
    assert await answer.__anext__() == b"a"
    for _ in range(2):
        with pytest.raises(UpstreamError, match="within 3 s"):
            await answer.__anext__()


async def test_a_url_or_header_that_httpx_refuses_is_ours_to_report():
    transport = httpx.MockTransport(lambda request: httpx.Response(200))
    for request, code in (
        (HttpRequest("GET", "https://[::1/"), "invalid_url"),
        (HttpRequest("GET", "https://api.test/", (("X", "\u4e2d"),)), "invalid_header"),
    ):
        with pytest.raises(UpstreamError) as caught:
            await stock.open_stock(transport, request, "api.test", LIMITS)
        assert caught.value.code == code


def test_a_proxy_that_httpx_refuses_is_reported_without_being_shown():
    with pytest.raises(UpstreamError) as caught:
        stock.make_transport("gopher://secret@proxy.test", tls.build_context())
    assert caught.value.code == "proxy_invalid"
    assert "secret" not in caught.value.text
