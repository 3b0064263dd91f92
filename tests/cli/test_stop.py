import socket

from app import instance
from app.cli.terminal import FAILED


def test_running_instance_is_asked_with_the_local_token(dragoman, fake, home):
    code, out, _ = dragoman("stop")
    assert (code, out) == (0, f"Dragoman (process {fake.record.pid}) has stopped.\n")
    assert fake.asked == [("POST", "/admin/stop", f"Bearer {fake.record.token}", b"")]
    assert instance.read(home.data, home.runtime).state == "none"


def test_nothing_to_stop_is_no_failure(dragoman, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_SERVER__PORT", "0")
    assert dragoman("stop") == (0, "Dragoman does not run.\n", "")


def test_stranger_on_the_port_is_named_and_left_alone(dragoman, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("DRAGOMAN_SERVER__PORT", str(port))
        code, out, err = dragoman("stop")
        socket.create_connection(("127.0.0.1", port)).close()
    assert (code, out) == (0, "Dragoman does not run.\n")
    if err:  # where the system tells who it is
        assert f"Port {port} is held by" in err


def test_wrong_settings_do_not_keep_it_from_saying_that_nothing_runs(dragoman, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_SERVER__PORT", "nonsense")
    assert dragoman("stop") == (0, "Dragoman does not run.\n", "")


def test_instance_that_refuses_is_a_failure(dragoman, fake):
    fake.answers["POST /admin/stop"] = (401, {"error": {"message": "Not you."}})
    assert dragoman("stop") == (FAILED, "", "error: Not you.\n")
