"""Hosts and origins: which are ours, and how the others are refused."""

import subprocess
import sys

import pytest

from app.server.policy import AccessPolicy, refuses_bind, token_shell
from tests.server.test_guard import PAGE, ask, refused


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8317",
        "LocalHost:8317",
        "localhost.:8317",
        "127.0.0.1:8317",
        "127.8.9.1:8317",
        "[::1]:8317",
        "[0:0:0:0:0:0:0:1]:8317",
        "[::ffff:127.0.0.1]:8317",
    ],
)
def test_loopback_names_with_our_port_are_ours(host):
    assert ask(host=host).who == "same_user"


def test_listed_hosts_are_ours_with_any_port_or_the_one_given():
    policy = AccessPolicy(hosts=frozenset({"Box.lan", "proxy.lan:443"}))
    for host in ("box.lan", "box.lan:8317", "BOX.lan:1", "proxy.lan:443"):
        assert ask(policy=policy, host=host).who == "same_user"
    assert refused(policy=policy, host="proxy.lan:8317").code == "bad_host"


def test_a_refused_host_names_the_line_that_allows_it():
    error = refused(host="box.lan:8317")
    assert 'access: {hosts: ["box.lan"]}' in error.hint


def test_port_80_may_be_left_out_of_the_host():
    assert ask(policy=AccessPolicy(ports=frozenset({80})), host="localhost").who == "same_user"


def test_the_refusal_names_the_exact_line_to_add():
    assert 'access: {origins: ["https://app.example"]}' in refused(Origin=PAGE).hint
    assert 'access: {origins: ["https://app.example"]}' in refused(Referer=f"{PAGE}/x").hint
    assert "null" not in refused(Origin="null").hint


@pytest.mark.parametrize(
    ("hosts", "keys", "fine"),
    [
        (["127.0.0.1", "::1"], False, True),
        (["loopback"], False, True),
        (["localhost"], False, True),
        (["0.0.0.0"], False, False),
        (["127.0.0.1", "192.168.1.4"], False, False),
        (["::"], False, False),
        (["box.lan"], False, False),
        (["0.0.0.0"], True, True),
    ],
)
def test_a_bind_beyond_loopback_is_refused_without_keys(hosts, keys, fine):
    reason = refuses_bind(hosts, keys)
    assert (reason is None) is fine
    assert fine or "dragoman keys create" in reason


def test_the_token_expression_quotes_the_path_for_its_shell():
    assert token_shell("/a b/i.json", windows=False).endswith("'/a b/i.json')")
    assert "'C:\\it''s\\i.json'" in token_shell("C:\\it's\\i.json", windows=True)


@pytest.mark.skipif(sys.platform == "win32", reason="runs a POSIX shell")
@pytest.mark.parametrize(
    "text", ['{"pid":1,"token":"abc_-1","port":2}', '{\n  "token": "abc_-1"\n}']
)
def test_the_token_expression_gives_the_token_in_a_real_shell(tmp_path, text):
    file = tmp_path / "it's an instance.json"
    file.write_text(text)
    line = f'printf %s "{token_shell(str(file), windows=False)}"'
    run = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert run.stdout == "abc_-1"
