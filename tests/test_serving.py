"""The program as a process, run on a thread of the tests."""

import asyncio
import gc
import socket
import threading
import urllib.request

import pytest

from app.errors import AppError, ConfigError
from app.paths import Paths
from app.service import ServeOptions
from app.serving import serve


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_HOME", str(tmp_path))
    return Paths.find({"DRAGOMAN_HOME": str(tmp_path)})


@pytest.fixture(autouse=True)
def memory():
    """Undo what the program does to the garbage collector of its process."""
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_it_serves_beside_a_main_thread_and_is_handed_out_before_it_is_ready(home):
    order, codes, held = [], [], {}
    ready = threading.Event()

    def attach(service):
        order.append("attach")
        held.update(service=service, loop=asyncio.get_running_loop())

    def at(address):
        order.append(address)
        ready.set()

    def run():
        codes.append(serve(ServeOptions(port=0), ready=at, attach=attach))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(20)
        assert order == ["attach", f"http://localhost:{held['service'].port}"]
        with urllib.request.urlopen(order[1] + "/healthz", timeout=10) as answer:  # noqa: S310
            assert answer.status == 200
        with pytest.raises(AppError, match="already runs"):
            serve(ServeOptions(port=0))
    finally:
        held["loop"].call_soon_threadsafe(held["service"].stop)
        thread.join(20)
    assert codes == [0]
    assert not home.runtime.joinpath("instance.json").exists()


def test_wrong_settings_are_told_before_anything_starts(home):
    home.config.mkdir(parents=True)
    (home.config / "config.yaml").write_text("server: {port: many}\n")
    with pytest.raises(ConfigError, match="port"):
        serve(ServeOptions(port=0))


def test_a_port_that_is_taken_leaves_no_lock_behind(home):

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for _ in range(2):
            with pytest.raises(AppError) as caught:
                serve(ServeOptions(port=port))
            assert str(port) in caught.value.text
