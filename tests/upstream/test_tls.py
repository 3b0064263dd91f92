import asyncio
import ssl

import pytest

from app.errors import UpstreamError
from app.http import HttpRequest, Limits
from app.upstream import tls
from app.upstream.client import Client, ClientSettings
from tests.fakes.hostile import Hostile, keeping
from tests.upstream.certificates import Authority

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LIMITS = Limits(connect_s=4, first_byte_s=4, idle_s=4)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(params=["fast", "httpx"])
def kind(request):
    return request.param


async def fetch(server, kind, ca_file, host="127.0.0.1"):
    client = Client(ClientSettings(transport=kind, ca_file=ca_file))
    # the server's own log of refused handshakes is not of interest
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    try:
        url = server.url.replace("127.0.0.1", host)
        replies = [await client.fetch(HttpRequest("GET", url), LIMITS) for _ in range(2)]
        return replies[1].body
    finally:
        await client.aclose()


async def test_an_authority_of_the_users_own_is_trusted(authority, kind):
    async with Hostile(keeping(OK), authority.server_context("127.0.0.1", "localhost")) as server:
        assert await fetch(server, kind, authority.file) == b"ok"
        assert await fetch(server, kind, authority.file, host="localhost") == b"ok"
        assert len(server.peers) == 2


async def test_an_unknown_authority_is_refused(authority, kind):
    async with Hostile(keeping(OK), authority.server_context("127.0.0.1")) as server:
        with pytest.raises(UpstreamError) as caught:
            await fetch(server, kind, None)
        assert caught.value.code == "upstream_tls"
        assert "certificate" in caught.value.message
        assert server.requests == []


async def test_a_certificate_for_another_host_is_refused(authority, kind):
    async with Hostile(keeping(OK), authority.server_context("other.test")) as server:
        with pytest.raises(UpstreamError) as caught:
            await fetch(server, kind, authority.file, host="localhost")
        assert caught.value.code == "upstream_tls"
        assert server.requests == []


async def test_a_server_without_tls_is_a_tls_error(kind):
    async def script(peer):
        await peer.reader.read(100)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with Hostile(script) as server:
        server.url = server.url.replace("http:", "https:")
        with pytest.raises(UpstreamError) as caught:
            await fetch(server, kind, None)
        assert caught.value.code == "upstream_tls"


async def test_a_ca_file_that_cannot_be_read_is_named(authority, kind, tmp_path):
    (tmp_path / "bad.pem").write_text("this is no certificate")
    async with Hostile(keeping(OK), authority.server_context("127.0.0.1")) as server:
        for name in ("bad.pem", "missing.pem"):
            with pytest.raises(UpstreamError) as caught:
                await fetch(server, kind, str(tmp_path / name))
            assert caught.value.code == "upstream_tls"
            assert name in caught.value.message


def test_the_context_always_checks_host_names_and_offers_only_http_1():
    context = tls.build_context()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_system_whose_openssl_knows_no_store_uses_its_bundle(authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    monkeypatch.setenv("SSL_CERT_DIR", "/nowhere")
    monkeypatch.setattr(tls.sys, "platform", "linux")
    monkeypatch.setattr(tls, "_BUNDLES", ("/nowhere.pem", authority.file))
    assert tls.build_context().cert_store_stats()["x509_ca"] == 1
