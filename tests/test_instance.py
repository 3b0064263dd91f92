import os
import signal
import stat
import subprocess
import sys

import msgspec
import pytest

from app import __version__
from app.errors import AppError
from app.instance import Instance, read


@pytest.fixture
def folders(tmp_path):
    return tmp_path / "data", tmp_path / "run"


@pytest.fixture
def instance(folders):
    instance = Instance.acquire(*folders, now=lambda: 1_000.0)
    yield instance
    instance.release()


@pytest.fixture
def other(folders):
    """Another process that is the instance; it lives until killed."""
    script = (
        "import sys; from pathlib import Path; from app.instance import Instance\n"
        "i = Instance.acquire(Path(sys.argv[1]), Path(sys.argv[2])); i.publish(8317)\n"
        "print(i.token, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, *map(str, folders)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        process.token = process.stdout.readline().strip()
        yield process
        process.kill()


def test_nothing_runs_at_first_and_no_folder_is_made(folders):
    assert read(*folders).state == "none"
    assert not folders[0].exists()


def test_published_instance_is_live(folders, instance):
    written = instance.publish(8317)
    seen = read(*folders)
    assert (seen.state, seen.record) == ("live", written)
    assert (written.pid, written.port, written.token) == (os.getpid(), 8317, instance.token)
    assert (written.started_at, written.version) == (1_000.0, __version__)


def test_held_folder_without_a_file_is_foreign(folders, instance):
    assert read(*folders).state == "foreign"


def test_file_of_a_dead_process_beside_a_held_lock_is_foreign(folders, instance):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    record = instance.publish(1)
    changed = msgspec.structs.replace(record, pid=dead.pid)
    (folders[1] / "instance.json").write_bytes(msgspec.json.encode(changed))
    assert read(*folders).state == "foreign"


@pytest.mark.parametrize("content", [b"", b"{", b'{"pid": 1}', b"\xff"])
def test_damaged_file_beside_a_held_lock_is_foreign(folders, instance, content):
    (folders[1] / "instance.json").write_bytes(content)
    assert read(*folders).state == "foreign"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_file_and_folders_are_private(folders, instance):
    instance.publish(8317)
    assert stat.S_IMODE((folders[1] / "instance.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((folders[0] / "dragoman.lock").stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_release_removes_the_file_and_frees_the_folder(folders, instance):
    instance.publish(8317)
    instance.release()
    instance.release()
    assert read(*folders).state == "none"
    assert list(folders[1].iterdir()) == []


def test_token_is_new_at_each_start_and_not_shown(folders, instance):
    record = instance.publish(8317)
    instance.release()
    again = Instance.acquire(*folders)
    assert again.token != instance.token
    assert len(again.token) >= 43
    assert instance.token not in repr(record)
    again.release()


def test_second_process_is_refused_while_the_first_runs(folders, other):
    with pytest.raises(AppError) as caught:
        Instance.acquire(*folders)
    assert caught.value.code == "already_running"
    seen = read(*folders)
    assert (seen.state, seen.record.pid, seen.record.token) == ("live", other.pid, other.token)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_killed_instance_is_stale_once_and_its_file_is_removed(folders, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    seen = read(*folders)
    assert (seen.state, seen.record.pid) == ("stale", other.pid)
    assert not (folders[1] / "instance.json").exists()
    assert read(*folders).state == "none"


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_killed_instance_is_replaced_and_its_token_forgotten(folders, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    instance = Instance.acquire(*folders)
    assert read(*folders).state == "foreign"  # not yet published, and not the dead one's file
    assert instance.publish(9000).token != other.token
    assert read(*folders).record.port == 9000
    instance.release()


def test_unusable_data_folder_is_our_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AppError) as caught:
        Instance.acquire(tmp_path / "file" / "data", tmp_path / "run")
    assert caught.value.code == "data_dir_unusable"


def test_lock_is_released_from_another_thread(folders):
    from concurrent.futures import ThreadPoolExecutor

    instance = Instance.acquire(*folders)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(instance.release).result()
    assert read(*folders).state == "none"


def test_file_that_cannot_be_replaced_frees_the_folder_again(folders):
    (folders[1] / "instance.json").mkdir(parents=True)
    with pytest.raises(AppError) as caught:
        Instance.acquire(*folders)
    assert caught.value.code == "data_dir_unusable"
    (folders[1] / "instance.json").rmdir()
    Instance.acquire(*folders).release()


def test_lock_that_is_no_file_is_our_error_when_looked_at(folders):
    (folders[0] / "dragoman.lock").mkdir(parents=True)
    with pytest.raises(AppError) as caught:
        read(*folders)
    assert caught.value.code == "data_dir_unusable"
