import os
import socket

from app.cli.start import serve_arguments


def test_running_instance_is_named_and_no_failure(dragoman, fake):
    text = f"Dragoman runs already at http://localhost:{fake.port} (process {os.getpid()}).\n"
    assert dragoman("start") == (0, text, "")


def test_taken_port_is_told_as_serve_tells_it(dragoman):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code, out, err = dragoman("start", "--port", str(port))
    assert (code, out) == (1, "")
    assert err.startswith(f"error: 127.0.0.1:{port} is already in use")
    assert "\nhint: " in err


def test_options_are_handed_on_as_words():
    assert serve_arguments(None, None) == []
    assert serve_arguments("a b.yaml", 0) == ["--config", "a b.yaml", "--port", "0"]
