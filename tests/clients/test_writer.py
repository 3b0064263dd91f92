import os
import stat
import sys

import pytest

from app.clients import writer
from app.clients.plan import FileEdit
from app.clients.writer import FileChanged, read_file, write_edits
from app.errors import AppError

posix = pytest.mark.skipif(sys.platform == "win32", reason="permissions and links of POSIX")


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path):
    file = tmp_path / "f"
    file.write_bytes(b"old")
    number = file.stat().st_ino
    assert write_edits([FileEdit(file, b"old", b"new")]) == {file: ()}
    assert file.read_bytes() == b"new"
    assert file.stat().st_ino != number
    assert listing(tmp_path) == ["f"]


@posix
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664, 0o444, 0o400])
def test_permissions_are_kept(tmp_path, mode):
    file = tmp_path / "f"
    file.write_bytes(b"old")
    file.chmod(mode)
    write_edits([FileEdit(file, b"old", b"new")])
    assert stat.S_IMODE(file.stat().st_mode) == mode


@posix
def test_a_new_file_is_for_this_user_only(tmp_path):
    file = tmp_path / "f"
    write_edits([FileEdit(file, None, b"new")])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives away")
def test_the_owner_is_kept_when_root_writes(tmp_path):
    file = tmp_path / "f"
    file.write_bytes(b"old")
    os.chown(file, 1234, 4321)
    write_edits([FileEdit(file, b"old", b"new")])
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 4321)


@posix
def test_links_stay_links_and_their_target_is_written(tmp_path):
    real = tmp_path / "dotfiles" / "real"
    real.parent.mkdir()
    real.write_bytes(b"old")
    (tmp_path / "first").symlink_to("dotfiles/real")
    link = tmp_path / "link"
    link.symlink_to("first")
    write_edits([FileEdit(link, b"old", b"new")])
    assert os.readlink(link) == "first"
    assert real.read_bytes() == b"new"


@posix
def test_a_link_to_nothing_gets_its_target_and_loses_it_again(tmp_path):
    link = tmp_path / "link"
    link.symlink_to("later/real")
    made = write_edits([FileEdit(link, None, b"new")])
    assert (tmp_path / "later" / "real").read_bytes() == b"new"
    write_edits([FileEdit(link, b"new", None, folders=made[link])])
    assert listing(tmp_path) == ["link"]


@posix
def test_a_circle_of_links_is_named_and_left(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(AppError) as caught:
        read_file(tmp_path / "a")
    assert caught.value.code == "file_unreadable"


def test_missing_folders_are_made_and_go_again_while_they_are_empty(tmp_path):
    file = tmp_path / "a" / "b" / "f"
    made = write_edits([FileEdit(file, None, b"new")])
    assert made[file] == (tmp_path / "a", tmp_path / "a" / "b")
    (tmp_path / "a" / "theirs").write_bytes(b"")
    write_edits([FileEdit(file, b"new", None, folders=made[file])])
    assert listing(tmp_path / "a") == ["theirs"]


@pytest.mark.parametrize("now", [b"theirs", None])
def test_a_change_since_the_diff_stops_everything(tmp_path, now):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"old")
    if now is not None:
        second.write_bytes(now)
    edits = [FileEdit(first, b"old", b"new"), FileEdit(second, b"old", b"new")]
    with pytest.raises(FileChanged):
        write_edits(edits)
    assert first.read_bytes() == b"old"
    assert read_file(second) == now


def test_a_change_while_writing_is_noticed_and_what_was_written_is_put_back(tmp_path, monkeypatch):
    first, second = tmp_path / "new" / "first", tmp_path / "second"
    second.write_bytes(b"old")
    flush = os.fsync

    def meanwhile(handle):
        flush(handle)
        if first.exists():  # the second file's turn
            second.write_bytes(b"theirs")

    monkeypatch.setattr(writer.os, "fsync", meanwhile)
    with pytest.raises(FileChanged):
        write_edits([FileEdit(first, None, b"new"), FileEdit(second, b"old", b"new")])
    assert second.read_bytes() == b"theirs"
    assert listing(tmp_path) == ["second"]


def test_a_disk_that_is_full_changes_nothing(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"old")
    second.write_bytes(b"old")
    flush, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        flush(handle)

    monkeypatch.setattr(writer.os, "fsync", full)
    with pytest.raises(AppError) as caught:
        write_edits([FileEdit(first, b"old", b"new"), FileEdit(second, b"old", b"new")])
    assert caught.value.code == "file_unwritable"
    assert "No space left" in caught.value.message
    assert (first.read_bytes(), second.read_bytes()) == (b"old", b"old")
    assert listing(tmp_path) == ["first", "second"]


def test_what_is_no_plain_file_is_not_read(tmp_path):
    with pytest.raises(AppError) as caught:
        read_file(tmp_path)
    assert caught.value.code == "file_unreadable"
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(AppError):
        read_file(tmp_path / "file" / "below")


@posix
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AppError):
        read_file(tmp_path / "pipe")


def test_edits_without_a_change_touch_nothing(tmp_path):
    assert write_edits([FileEdit(tmp_path / "x" / "f", None, None)]) == {}
    assert listing(tmp_path) == []
