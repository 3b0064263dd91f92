"""File operations that are whole or not done."""

import os
import stat

import pytest

from app.accounts.disk import Disk

posix_only = pytest.mark.skipif(os.name == "nt", reason="modes and links are POSIX")
DISK = Disk()


@posix_only
def test_a_file_is_written_for_the_user_alone_whatever_the_mask(tmp_path):
    old = os.umask(0)
    try:
        DISK.write(tmp_path / "file", b"content")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert (tmp_path / "file").read_bytes() == b"content"


@posix_only
def test_a_planted_link_is_not_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "file").symlink_to(victim)
    DISK.write(tmp_path / "file", b"content")
    assert victim.read_text() == "untouched"
    assert not (tmp_path / "file").is_symlink()


def test_keeping_gives_a_second_name(tmp_path):
    DISK.write(tmp_path / "one", b"content")
    DISK.keep(tmp_path / "one", tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() == b"content"


def test_keeping_replaces_nothing(tmp_path):
    DISK.write(tmp_path / "one", b"content")
    DISK.write(tmp_path / "two", b"kept")
    with pytest.raises(FileExistsError):
        DISK.keep(tmp_path / "one", tmp_path / "two")
    assert (tmp_path / "two").read_bytes() == b"kept"


def test_where_there_are_no_links_the_file_moves(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    DISK.write(tmp_path / "one", b"content")
    DISK.keep(tmp_path / "one", tmp_path / "two")
    assert not (tmp_path / "one").exists()
    assert (tmp_path / "two").read_bytes() == b"content"


def test_replacing_and_removing(tmp_path):
    DISK.write(tmp_path / "one", b"new")
    DISK.write(tmp_path / "two", b"old")
    DISK.replace(tmp_path / "one", tmp_path / "two")
    DISK.settle(tmp_path)
    assert (tmp_path / "two").read_bytes() == b"new"
    DISK.remove(tmp_path / "two")
    DISK.remove(tmp_path / "two")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_an_error(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        DISK.write(tmp_path / "nowhere" / "file", b"")
