import socket
import threading

import pytest

from app.cli.client import Client
from app.errors import AppError
from tests.cli.fake_instance import events


@pytest.fixture
def client(fake):
    return Client(fake.port, "local-token")


def test_token_travels_as_bearer_and_body_as_json(fake, client):
    fake.answers["POST /admin/keys"] = {"key": "x"}
    assert client.post("/admin/keys", {"label": "a"}) == {"key": "x"}
    assert fake.asked == [("POST", "/admin/keys", "Bearer local-token", b'{"label":"a"}')]


def test_without_a_token_no_authorization_is_sent(fake):
    assert Client(fake.port).get("/healthz") == {"status": "ok"}
    assert fake.asked[0][2] is None


def test_a_proxy_of_the_environment_is_not_asked(fake, client, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert client.get("/healthz") == {"status": "ok"}


def test_refusal_keeps_message_status_and_code(fake, client):
    fake.answers["GET /x"] = (404, {"error": {"message": "No key.", "code": "key_not_found"}})
    with pytest.raises(AppError) as caught:
        client.get("/x")
    error = caught.value
    assert (error.message, error.status, error.code) == ("No key.", 404, "key_not_found")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"error":"text"}', b""])
def test_refusal_in_no_known_form_is_told_by_its_status(fake, client, body):
    fake.answers["GET /x"] = (503, body)
    with pytest.raises(AppError, match="status 503") as caught:
        client.get("/x")
    assert caught.value.code == "http_503"


def test_answer_that_is_no_json_is_an_error(fake, client):
    fake.answers["GET /x"] = b"hello"
    with pytest.raises(AppError, match="no JSON"):
        client.get("/x")


def test_nothing_listens_is_unreachable():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # taken, and not listening
        with pytest.raises(AppError) as caught:
            Client(sock.getsockname()[1]).get("/healthz")
    assert caught.value.code == "instance_unreachable"


def test_silence_ends_after_the_time_limit():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = Client(server.getsockname()[1], timeout_s=0.05)
        with pytest.raises(AppError, match="nothing came for") as caught:
            client.get("/healthz")
    assert caught.value.code == "instance_unreachable"


def test_something_that_is_no_http_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet():
            sock, _ = server.accept()
            with sock:
                sock.sendall(b"SSH-2.0-hello\r\n")
                sock.recv(65_536)

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(AppError) as caught:
            Client(server.getsockname()[1]).get("/healthz")
        thread.join()
    assert caught.value.code == "instance_unreachable"


def test_stream_gives_lines_without_their_ends(fake, client):
    fake.answers["POST /s"] = b": ping\r\n\r\n" + events("a")
    lines = list(client.stream("/s", {}))
    assert lines[:2] == [b": ping", b""]
    assert lines[-2:] == [b"data: [DONE]", b""]


def test_refused_stream_raises_what_was_answered(fake, client):
    fake.answers["POST /s"] = (429, {"error": {"message": "Later."}})
    with pytest.raises(AppError, match="Later") as caught:
        list(client.stream("/s", {}))
    assert caught.value.status == 429
