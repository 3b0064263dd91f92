import os
import socket
import sys

import pytest

from app.cli.checks import (
    check_clock,
    check_config,
    check_folders,
    check_instance,
    check_loopback,
    check_port,
    check_python,
)
from app.cli.client import Client
from app.config import Config, Server
from app.configfile import locate
from app.instance import InstanceRecord
from tests.cli.fake_instance import HEALTH

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("version", "verdict"), [((3, 10), "failed"), ((3, 11), "ok"), ((3, 14), "ok")]
)
def test_python_must_be_new_enough(version, verdict):
    assert check_python(version).verdict == verdict


def test_untested_python_is_a_warning():
    assert check_python((3, 99)).verdict == "warning"


def test_wrong_settings_fail_with_every_fault(home):
    env = {"DRAGOMAN_HOME": str(home.data.parent), "DRAGOMAN_SERVER__PROT": "1"}
    check, config = check_config(locate(None, env), env)
    assert (check.verdict, config) == ("failed", None)
    assert "server.prot" in check.text


def test_names_that_mean_nothing_fail_too(home):
    env = {
        "DRAGOMAN_HOME": str(home.data.parent),
        "DRAGOMAN_PROVIDERS__CLAUDE__API_KEY": "sk-ant-oat-x",
    }
    check, _ = check_config(locate(None, env), env)
    assert check.verdict == "failed"
    assert "providers.claude" in check.text


def test_unset_variable_is_a_warning(home):
    home.config.mkdir(parents=True)
    home.config_file.write_text('providers: {openai: {api_key: "${NOT_SET_HERE}"}}')
    env = {"DRAGOMAN_HOME": str(home.data.parent)}
    check, config = check_config(locate(None, env), env)
    assert (check.verdict, config is not None) == ("warning", True)
    assert "NOT_SET_HERE" in check.hint


def test_missing_folders_that_can_be_made_are_fine_and_stay_missing(home):
    assert check_folders(home).verdict == "ok"
    assert not home.data.exists()


def test_existing_folders_are_tried(home):
    home.data.mkdir(parents=True)
    assert check_folders(home).verdict == "ok"
    assert list(home.data.iterdir()) == []


def test_file_in_a_folders_place_fails(home):
    home.data.parent.mkdir(parents=True)
    home.data.write_text("")
    check = check_folders(home)
    assert check.verdict == "failed"
    assert str(home.data) in check.text


def test_free_port_is_found_free_and_left_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        taken = check_port(Config(server=Server(port=port)), None)
    assert taken.verdict == "failed"
    assert str(port) in taken.text
    assert check_port(Config(server=Server(port=port)), None).verdict == "ok"
    socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize(("port", "verdict"), [(8317, "ok"), (0, "ok"), (9000, "warning")])
def test_port_of_the_running_instance_is_compared(port, verdict):
    record = InstanceRecord(pid=1, port=8317, token="t", started_at=0.0, version="1")
    assert check_port(Config(server=Server(port=port)), record).verdict == verdict


def test_loopback_is_reached_at_each_address_that_there_is():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        try:
            other = socket.create_server(("::1", port), family=socket.AF_INET6)
        except OSError:  # a machine without IPv6: one address is all
            assert check_loopback(port).verdict == "ok"
            return
        with other:
            assert check_loopback(port).verdict == "ok"
        half = check_loopback(port)
    assert half.verdict == "failed"
    assert "::1" in half.text


def test_clock_before_the_release_is_wrong(home):
    assert check_clock(home, 1_000_000_000.0).verdict == "failed"
    assert check_clock(home, NOW).verdict == "ok"


@pytest.mark.parametrize(("ahead_s", "verdict"), [(100, "ok"), (1_000, "failed")])
def test_log_from_the_future_shows_a_wrong_clock(home, ahead_s, verdict):
    home.state.mkdir(parents=True)
    home.log_file.write_text("")
    os.utime(home.log_file, (NOW, NOW + ahead_s))
    assert check_clock(home, NOW).verdict == verdict


def test_instance_that_answers_is_fine(fake):
    assert check_instance(Client(fake.port)).verdict == "ok"


def test_instance_with_refused_settings_is_a_warning(fake):
    config = HEALTH["config"] | {"problems": ["server.prot: unknown key"]}
    fake.answers["GET /v1/health"] = HEALTH | {"config": config}
    check = check_instance(Client(fake.port))
    assert (check.verdict, check.hint) == ("warning", "server.prot: unknown key")


def test_instance_that_fails_is_told_with_its_words(fake):
    fake.answers["GET /v1/health"] = (500, {"error": {"message": "Broken."}})
    check = check_instance(Client(fake.port))
    assert (check.verdict, check.text) == ("failed", "Broken.")


@pytest.mark.skipif(
    sys.platform == "win32" or not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="root may write anywhere",
)
def test_folder_without_permission_fails(home):
    home.data.mkdir(parents=True, mode=0o500)
    assert check_folders(home).verdict == "failed"
