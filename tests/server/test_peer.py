import asyncio
import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading

import pytest

from app.server import peer_linux, peer_macos, peer_windows
from app.server.peer import (
    UNPROVEN,
    NoProver,
    Pair,
    PeerProof,
    ProgramNames,
    default_prover,
    pair_of,
    program_name,
    prove,
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux tables")
as_root = pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become a second user"
)

V4 = Pair(socket.AF_INET, b"\x7f\0\0\1", 40000, b"\x7f\0\0\1", 8317)
V6 = Pair(socket.AF_INET6, b"\0" * 15 + b"\1", 40000, b"\0" * 15 + b"\1", 8317)


@contextlib.contextmanager
def connection(family=socket.AF_INET, server="127.0.0.1", client=None, client_family=None):
    """A listening socket of ours, a client socket and the accepted end."""
    with socket.socket(family) as listener:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            listener.bind((server, 0))
        except OSError:
            pytest.skip("no such address family here")
        listener.listen()
        with socket.socket(client_family or family) as caller:
            caller.connect((client or server, listener.getsockname()[1]))
            accepted, _ = listener.accept()
            with accepted:
                yield accepted, caller


@pytest.fixture(params=["netlink", "proc"])
def prover(request):
    made = peer_linux.LinuxProver(netlink=request.param == "netlink")
    yield made
    made.close()


# Pairs.


def test_a_pair_is_seen_from_the_client():
    pair = pair_of(("127.0.0.1", 8317), ("127.0.0.1", 40000))
    assert pair == V4
    assert pair.loopback
    assert pair_of(("::1", 8317, 0, 0), ("::1", 40000, 0, 0)) == V6


def test_a_mapped_pair_is_an_ipv4_pair():
    mapped = pair_of(("::ffff:127.0.0.1", 8317, 0, 0), ("::ffff:127.0.0.1", 40000, 0, 0))
    assert mapped == V4


@pytest.mark.parametrize(
    ("local", "remote"),
    [
        (("192.168.1.2", 1), ("192.168.1.2", 2)),
        (("127.0.0.1", 1), ("192.168.1.2", 2)),
        (("192.168.1.2", 1), ("127.0.0.1", 2)),
        (("fe80::1%eth0", 1, 0, 2), ("fe80::2%eth0", 2, 0, 2)),
        (("::1", 1, 0, 0), ("fe80::2", 2, 0, 2)),
    ],
)
def test_only_two_loopback_ends_are_loopback(local, remote):
    assert not pair_of(local, remote).loopback


@pytest.mark.parametrize("address", ["/run/x.sock", b"", ("not an address", 1)])
def test_what_is_not_ip_has_no_pair(address):
    assert pair_of(address, address) is None


# The proof, with real sockets.


@linux
def test_our_own_connection_is_proven(prover):
    with connection() as (accepted, caller):
        proof = prove(accepted, prover)
        assert proof.same_user
        assert proof.uid == os.getuid()
        assert proof.key == os.fstat(caller.fileno()).st_ino


@linux
def test_our_own_ipv6_connection_is_proven(prover):
    with connection(socket.AF_INET6, "::1") as (accepted, _):
        assert prove(accepted, prover).same_user


@linux
@pytest.mark.parametrize("client_family", [socket.AF_INET, socket.AF_INET6])
def test_an_ipv4_client_of_an_ipv6_listener_is_proven(prover, client_family):
    name = "127.0.0.1" if client_family == socket.AF_INET else "::ffff:127.0.0.1"
    with connection(socket.AF_INET6, "::", name, client_family) as (accepted, _):
        assert prove(accepted, prover).same_user


@linux
def test_a_client_that_has_finished_sending_is_still_proven(prover):
    with connection() as (accepted, caller):
        caller.shutdown(socket.SHUT_WR)
        assert prove(accepted, prover).same_user


@linux
def test_a_client_that_has_gone_is_not_proven_even_for_root(prover):
    # The kernel reports uid 0 for a socket that it winds down.
    with connection() as (accepted, caller):
        caller.close()
        assert prove(accepted, prover) is UNPROVEN


@linux
def test_a_reset_connection_is_not_proven(prover):
    with connection() as (accepted, caller):
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        caller.close()
        assert prove(accepted, prover) is UNPROVEN


@linux
def test_only_equality_of_users_counts():
    # Root owns the connection; that is no reason for another user's Dragoman to trust it.
    stranger = peer_linux.LinuxProver(uid=os.getuid() + 1)
    with contextlib.closing(stranger), connection() as (accepted, _):
        proof = prove(accepted, stranger)
        assert not proof.same_user
        assert proof.uid == os.getuid()


@linux
@as_root
def test_the_connection_of_a_real_second_user_is_not_proven(prover):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        script = (
            "import os, socket, sys\n"
            "os.setgid(65534); os.setuid(65534)\n"
            "s = socket.socket()\n"
            f"s.connect(('127.0.0.1', {listener.getsockname()[1]}))\n"
            "sys.stdin.read()\n"
        )
        with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as child:
            accepted, _ = listener.accept()
            with accepted:
                proof = prove(accepted, prover)
            child.stdin.close()
    assert not proof.same_user
    assert proof.uid == 65534


@linux
def test_the_system_prover_is_quick_and_uses_netlink_here():
    made = default_prover()
    with contextlib.closing(made):
        assert isinstance(made, peer_linux.LinuxProver)
        assert not made.slow


def test_no_prover_proves_nothing():
    with connection() as (accepted, _), contextlib.closing(NoProver()) as none:
        assert prove(accepted, none) is UNPROVEN


class Failing(NoProver):
    def look_up(self, pair):
        raise OSError("no table")


def test_a_kernel_that_cannot_be_asked_proves_nothing():
    with connection() as (accepted, _):
        assert prove(accepted, Failing()) is UNPROVEN


def test_an_end_that_is_reset_during_the_lookup_proves_nothing():
    with connection() as (accepted, caller):

        class Slow(NoProver):
            def look_up(self, pair):
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                caller.close()
                return PeerProof(same_user=True)

        assert prove(accepted, Slow()) is UNPROVEN


@linux
def test_netlink_is_given_up_once_proc_knows_what_it_does_not(monkeypatch):
    made = peer_linux.LinuxProver()
    if not made.uses_netlink:
        pytest.skip("no netlink here")

    def nothing(data, sequence):
        raise FileNotFoundError(2, "no such socket")

    with contextlib.closing(made), connection() as (accepted, _):
        monkeypatch.setattr(peer_linux, "parse_reply", nothing)
        assert prove(accepted, made).same_user
        assert not made.uses_netlink


# The Linux formats.


def netlink_answer(state=1, uid=1000, inode=77, sequence=5):
    ports = struct.pack("!HH", 40000, 8317)
    body = struct.pack("=BBBB48sIIIII", 2, state, 0, 0, ports, 0, 0, 0, uid, inode)
    return struct.pack("=IHHII", 16 + len(body), 20, 0, sequence, 0) + body


def test_an_inet_diag_answer_is_read():
    row = peer_linux.parse_reply(netlink_answer(), 5)
    assert row == peer_linux.SocketRow(1, 40000, 8317, 1000, 77)


def test_an_answer_to_an_earlier_question_is_passed_over():
    assert peer_linux.parse_reply(netlink_answer(sequence=4), 5) is None


def test_a_refusal_by_the_kernel_is_an_os_error():
    refusal = struct.pack("=IHHIIi", 36, 2, 0, 5, 0, -2).ljust(36, b"\0")
    with pytest.raises(FileNotFoundError):
        peer_linux.parse_reply(refusal, 5)


@pytest.mark.parametrize("data", [b"", b"\0" * 19, netlink_answer()[:60], b"\0" * 8 + b"\5" * 40])
def test_a_torn_answer_is_a_value_error(data):
    with pytest.raises(ValueError, match="netlink message"):
        peer_linux.parse_reply(data, int.from_bytes(data[8:12], sys.byteorder))


def test_the_query_names_the_clients_four_tuple():
    query = peer_linux.render_query(V4, 9)
    assert len(query) == struct.unpack_from("=I", query)[0] == 72
    assert query[24:28] == struct.pack("!HH", 40000, 8317)
    assert query[28:32] == query[44:48] == b"\x7f\0\0\1"


PROC_TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:207D 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 630 1
   1: 0100007F:9C40 0100007F:207D 01 00000000:00000000 00:00000000 00000000  1001        0 77 1
   2: broken
   3: 0100007F:ZZZZ 0100007F:207D 01 00000000:00000000 00:00000000 00000000  1001        0 78 1
"""


@pytest.mark.skipif(sys.byteorder != "little", reason="recorded on a little-endian machine")
def test_proc_net_tcp_is_read_and_broken_lines_are_left_out():
    rows = list(peer_linux.parse_proc_net(PROC_TCP))
    lo = b"\x7f\0\0\1"
    assert rows == [
        peer_linux.ProcRow(lo, 8317, b"\0\0\0\0", 0, 10, 1000, 630),
        peer_linux.ProcRow(lo, 40000, lo, 8317, 1, 1001, 77),
    ]


@pytest.mark.skipif(sys.byteorder != "little", reason="recorded on a little-endian machine")
def test_proc_net_tcp6_addresses_are_put_in_network_order():
    line = "x\n 0: 00000000000000000000000001000000:1F90 0000000000000000FFFF00000100007F:0001 01 a b c 5 0 6"
    (row,) = peer_linux.parse_proc_net(line)
    assert row.local == b"\0" * 15 + b"\1"
    assert row.remote == b"\0" * 10 + b"\xff\xff\x7f\0\0\1"
    assert (row.uid, row.inode) == (5, 6)


# The Windows tables.


def tcp_row(pair, state=5, pid=42):
    return struct.pack(
        "<I4sI4sII",
        state,
        pair.client,
        socket.htons(pair.client_port),
        pair.server,
        socket.htons(pair.server_port) | 0xABCD0000,
        pid,
    )


def tcp6_row(pair, state=5, pid=42):
    client, server = socket.htons(pair.client_port), socket.htons(pair.server_port)
    return struct.pack("<16sII16sIIII", pair.client, 7, client, pair.server, 7, server, state, pid)


OUR_END = Pair(socket.AF_INET, V4.server, V4.server_port, V4.client, V4.client_port)


def test_the_windows_table_gives_the_clients_process_and_not_our_own():
    table = struct.pack("<I", 2) + tcp_row(OUR_END, pid=1) + tcp_row(V4)
    assert peer_windows.find_process(table, V4) == 42
    table6 = struct.pack("<I", 1) + tcp6_row(V6)
    assert peer_windows.find_process(table6, V6) == 42


@pytest.mark.parametrize(
    "table",
    [
        b"",
        struct.pack("<I", 0),
        struct.pack("<I", 1) + tcp_row(V4)[:-1],
        struct.pack("<I", 1) + tcp_row(V4, state=11),
        struct.pack("<I", 1) + tcp_row(V4, pid=0),
        struct.pack("<I", 1) + tcp_row(OUR_END),
        struct.pack("<I", 0) + tcp_row(V4),
    ],
)
def test_a_windows_table_without_a_live_row_gives_nothing(table):
    assert peer_windows.find_process(table, V4) is None


# The macOS table.


def record(kind, length, fields):
    data = bytearray(length)
    struct.pack_into("=II", data, 0, length, kind)
    for at, value in fields.items():
        data[at : at + len(value)] = value
    return bytes(data).ljust((length + 7) & ~7, b"\0")


def pcb(pair, uid=501, pid=42, state=0x2):
    flag = b"\1" if pair.family == socket.AF_INET else b"\2"
    ports = struct.pack("!HH", pair.server_port, pair.client_port)
    addresses = pair.server.rjust(16, b"\0") + pair.client.rjust(16, b"\0")
    return b"".join(
        (
            record(0x10, 100, {16: ports, 44: flag, 48: addresses}),
            record(0x01, 100, {26: struct.pack("=H", state), 64: struct.pack("=Ii", uid, pid)}),
            record(0x02, 36, {}),
            record(0x04, 36, {}),
            record(0x08, 136, {}),
            record(0x20, 204, {}),  # not a multiple of eight: padded in the table
        )
    )


XINPGEN = struct.pack("=IIQQ", 24, 2, 9, 9)


def test_the_macos_table_gives_the_owner_of_the_clients_socket():
    table = XINPGEN + pcb(OUR_END, uid=1, pid=1) + pcb(V6, uid=7) + pcb(V4) + XINPGEN
    row = peer_macos.find_row(table, V4)
    assert (row.uid, row.pid) == (501, 42)
    assert peer_macos.find_row(table, V6).uid == 7
    assert len(list(peer_macos.parse_pcblist(table))) == 3


@pytest.mark.parametrize(
    "table",
    [
        b"",
        b"\0" * 64,
        XINPGEN,
        XINPGEN + pcb(OUR_END) + XINPGEN,
        XINPGEN + pcb(V4, state=0x4) + XINPGEN,
        XINPGEN + pcb(V4)[:150],
        XINPGEN + record(0x01, 100, {}) + XINPGEN,
    ],
)
def test_a_macos_table_without_a_live_row_gives_nothing(table):
    assert peer_macos.find_row(table, V4) is None


# Programs.


@linux
def test_the_program_of_a_socket_is_found_by_its_inode():
    with connection() as (_, caller):
        inode = os.fstat(caller.fileno()).st_ino
        assert peer_linux.processes_of([inode, 0]) == {inode: os.getpid()}
        names = peer_linux.programs_of(frozenset({inode}))
    assert names[inode]


@linux
def test_a_process_that_has_ended_has_no_name():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert peer_linux.name_of(child.pid) is None


@pytest.mark.parametrize(
    ("executable", "arguments", "title", "name"),
    [
        ("/usr/bin/curl", ("localhost",), "curl", "curl"),
        ("C:\\Program Files\\Tool\\codex.exe", (), "", "codex"),
        ("/usr/bin/python3.11", (), "python3", "python"),
        ("/usr/bin/python3", ("-c", "x"), "python3", "python"),
        ("/usr/bin/python3", ("-m", "aider"), "aider", "aider"),
        ("/usr/bin/python3.12", ("/home/u/.local/bin/aider",), "aider", "aider"),
        ("/usr/bin/node", ("/usr/bin/codex",), "node", "codex"),
        ("/usr/bin/node", ("--no-warnings", "/opt/x/gemini.js"), "MainThread", "gemini"),
        ("/usr/bin/node", ("/n/@anthropic-ai/claude-code/cli.js",), "claude", "claude-code"),
        ("/usr/bin/node", ("/n/qwen/dist/index.js",), "node", "qwen"),
        ("/usr/bin/node", ("claude",), "claude", "claude"),
        ("node.exe", (), "", "node"),
        ("/usr/bin/nodetool", (), "", "nodetool"),
    ],
)
def test_a_program_is_named_as_a_person_would(executable, arguments, title, name):
    assert program_name(executable, arguments, title) == name


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


async def settle(names):
    for _ in range(1000):
        if not names._scanning:
            return
        await asyncio.wait({asyncio.get_running_loop().run_in_executor(None, lambda: None)})
    raise AssertionError("the scan does not end")


async def test_a_name_is_found_in_the_background_and_kept():
    asked = []

    def find(keys):
        assert threading.current_thread() is not threading.main_thread()
        asked.append(keys)
        return {7: "claude"}

    clock = Clock()
    names = ProgramNames(find, clock, age_s=600.0)
    assert names.get(7) is None
    assert names.get(None) is None
    await settle(names)
    assert names.get(7) == "claude"
    assert asked == [{7}]
    clock.now = 600.0
    assert names.get(7) is None
    await settle(names)
    assert asked == [{7}, {7}]


async def test_sockets_asked_about_during_a_scan_share_the_next_one_after_a_rest():
    asked = []
    clock = Clock()

    def find(keys):
        asked.append(keys)
        clock.now += 1.0
        return {key: str(key) for key in keys}

    names = ProgramNames(find, clock)
    names.get(1)
    names.get(2)
    names.get(3)
    await settle(names)
    assert asked == [{1}] or asked == [{1, 2, 3}]
    clock.now = 9.9
    assert names.get(4) is None
    assert len(asked) == 1
    clock.now = 10.0
    assert names.get(5) is None
    await settle(names)
    assert {4, 5} <= asked[1]
    assert names.get(4) == "4"


async def test_a_program_that_is_not_found_is_not_looked_for_again_at_once():
    asked = []
    names = ProgramNames(lambda keys: asked.append(keys) or {}, Clock())
    names.get(1)
    await settle(names)
    assert names.get(1) is None
    await settle(names)
    assert len(asked) == 1


async def test_the_count_of_names_is_bounded():
    names = ProgramNames(lambda keys: {k: str(k) for k in keys}, Clock(), size=2)
    for key in (1, 2, 3):
        names.get(key)
        await settle(names)
    assert len(names._names) == 2
