import errno
import os
import socket
import subprocess
import sys

import pytest

from app.errors import ConfigError
from app.server import listen
from app.server.listen import FileBudget, ListenError, bind, holder_of, open_files

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def opened():
    sockets = []
    yield sockets
    for sock in sockets:
        sock.close()


def test_both_loopback_addresses_share_one_free_port(opened):
    opened += bind(0)
    names = [sock.getsockname()[:2] for sock in opened]
    assert names[0][0] == "127.0.0.1"
    assert {port for _, port in names} == {names[0][1]}
    assert [host for host, _ in names[1:]] in (["::1"], [])
    for sock in opened:
        with socket.create_connection(sock.getsockname()[:2]):
            connection, _ = sock.accept()
            connection.close()
        assert not sock.getblocking()
        assert not sock.get_inheritable()


@pytest.mark.parametrize("name", ["loopback", "localhost", "LOCALHOST"])
def test_loopback_by_name_is_both_addresses(opened, name):
    opened += bind(0, [name, "127.0.0.1"])
    assert opened[0].getsockname()[0] == "127.0.0.1"
    assert len(opened) <= 2


def test_a_given_port_and_host_are_used(opened):
    opened += bind(0, ["127.0.0.1"])
    port = opened[0].getsockname()[1]
    opened += bind(port, ["127.0.0.2"]) if sys.platform == "linux" else []
    assert {sock.getsockname()[1] for sock in opened} == {port}


def test_a_port_in_use_names_its_holder(opened):
    opened += bind(0, ["127.0.0.1"])
    port = opened[0].getsockname()[1]
    with pytest.raises(ListenError) as caught:
        bind(port, ["127.0.0.1"])
    error = caught.value
    assert isinstance(error, ConfigError)
    assert error.code == "port_in_use"
    assert f"127.0.0.1:{port} is already in use" in error.message
    assert "server: {port:" in error.hint
    assert error.problems[0].key == "server.port"
    if sys.platform == "linux":
        assert error.holder.pid == os.getpid()
        assert f"(process {os.getpid()})" in error.message


@linux
def test_the_holder_may_be_another_process():
    script = (
        "import socket, sys\ns = socket.create_server(('127.0.0.1', 0))\n"
        "print(s.getsockname()[1], flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        holder = holder_of(int(child.stdout.readline()))
        child.stdin.close()
    assert holder == listen.Holder(child.pid, "python")
    assert str(holder) == f"python (process {child.pid})"


@linux
def test_a_port_that_nobody_holds_has_no_holder(opened):
    (sock,) = bind(0, ["127.0.0.1"])
    port = sock.getsockname()[1]
    assert holder_of(port) is not None
    sock.close()
    assert holder_of(port) is None


def test_no_socket_is_left_open_when_the_second_address_is_taken(opened):
    try:
        opened += bind(0, ["::1"])
    except ListenError:
        pytest.skip("no IPv6 here")
    port = opened[0].getsockname()[1]
    with pytest.raises(ListenError, match=r"\[::1\]"):
        bind(port)
    opened += bind(port, ["127.0.0.1"])


def failing(monkeypatch, code, only=None):
    real = listen._bind_one

    def bind_one(family, address, port):
        if only is None or address == only:
            raise OSError(code, os.strerror(code))
        return real(family, address, port)

    monkeypatch.setattr(listen, "_bind_one", bind_one)


@pytest.mark.parametrize("code", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_a_machine_without_ipv6_listens_on_ipv4(opened, monkeypatch, code):
    failing(monkeypatch, code, only="::1")
    opened += bind(0)
    assert [sock.getsockname()[0] for sock in opened] == ["127.0.0.1"]


def test_ipv6_alone_is_an_error_where_there_is_none(monkeypatch):
    failing(monkeypatch, errno.EADDRNOTAVAIL, only="::1")
    with pytest.raises(ListenError) as caught:
        bind(0, ["::1"])
    assert caught.value.code == "address_not_available"


@pytest.mark.parametrize(("port", "words"), [(80, "1024 or above"), (8317, "another port")])
def test_a_port_that_is_not_permitted_is_told_apart(monkeypatch, port, words):
    failing(monkeypatch, errno.EACCES)
    with pytest.raises(ListenError) as caught:
        bind(port)
    assert caught.value.code == "port_not_permitted"
    assert words in caught.value.hint


def test_a_free_port_at_every_address_is_sought_a_bounded_number_of_times(monkeypatch):
    failing(monkeypatch, errno.EADDRINUSE, only="::1")
    with pytest.raises(ListenError, match="No port was found"):
        bind(0)


def test_an_address_of_another_machine_is_an_error_about_the_host():
    with pytest.raises(ListenError) as caught:
        bind(0, ["192.0.2.1"])
    assert caught.value.code == "address_not_available"
    assert caught.value.problems[0].key == "server.host"


def test_a_name_that_cannot_be_resolved_is_an_error_about_the_host(monkeypatch):
    def unknown(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ListenError, match="nowhere") as caught:
        bind(0, ["nowhere.invalid"])
    assert caught.value.code == "address_not_available"


# Open files.


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_the_soft_limit_of_files_is_raised_to_the_hard_one():
    script = (
        "import resource as r\nhard = min(4096, r.getrlimit(r.RLIMIT_NOFILE)[1])\n"
        "r.setrlimit(r.RLIMIT_NOFILE, (256, hard))\n"
        "from app.server.listen import raise_file_limit\n"
        "print(raise_file_limit(), *r.getrlimit(r.RLIMIT_NOFILE), hard)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    limit, soft, _, hard = map(int, run.stdout.split())
    assert limit == soft == hard


def test_open_files_are_counted():
    before = open_files()
    with socket.socket():
        assert open_files() in (before + 1, 0)


class Load:
    now = 0.0
    connections = 0
    files = 10
    counts = 0

    def budget(self, limit=100):
        return FileBudget(limit, lambda: self.connections, lambda: self.now, self.count)

    def count(self):
        self.counts += 1
        return self.files


def test_the_limit_is_near_at_nine_tenths():
    load = Load()
    budget = load.budget()
    assert not budget.near_limit()
    load.now, load.files = 1.0, 89
    assert not budget.near_limit()
    load.now, load.files = 2.0, 90
    assert budget.near_limit()


def test_files_are_counted_once_a_second_and_reckoned_between():
    load = Load()
    budget = load.budget()
    assert not budget.near_limit()
    load.now, load.connections, load.files = 0.9, 39, 1000
    assert not budget.near_limit()
    load.connections = 40
    assert budget.near_limit()
    assert load.counts == 1
    load.now, load.files = 1.0, 20
    assert not budget.near_limit()
    assert load.counts == 2


def test_without_a_limit_it_is_never_near():
    load = Load()
    load.files = 10**9
    assert not load.budget(0).near_limit()
    assert load.counts == 0
