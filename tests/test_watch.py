import asyncio
import os
import sys

import pytest

from app import watch
from app.watch import Watcher

pytestmark = pytest.mark.skipif(
    sys.platform not in ("linux", "darwin", "win32"), reason="no watcher on this system"
)


class Changes:
    """Counts calls and lets a test wait for the next."""

    def __init__(self):
        self.count = 0
        self._event = asyncio.Event()

    def __call__(self):
        self.count += 1
        self._event.set()

    async def next(self):
        await asyncio.wait_for(self._event.wait(), 10)
        self._event.clear()


@pytest.fixture
def file(tmp_path):
    (tmp_path / "etc").mkdir()
    path = tmp_path / "etc" / "config.yaml"
    path.write_text("one")
    return path


@pytest.fixture
def changes(io_loop):
    return Changes()


@pytest.fixture
def watcher(io_loop, file, changes):
    watcher = Watcher(file, changes, settle_s=0.02)
    yield watcher
    watcher.close()


async def test_write_in_place_is_heard(watcher, file, changes):
    assert watcher.start()
    file.write_text("longer than before")
    await changes.next()


async def test_rename_over_the_file_is_heard_each_time(watcher, file, changes):
    watcher.start()
    for text in ("first", "second", "third"):
        (file.parent / "tmp").write_text(text)
        os.replace(file.parent / "tmp", file)
        await changes.next()
    assert changes.count == 3


async def test_file_that_appears_and_goes_is_heard(watcher, file, changes):
    file.unlink()
    watcher.start()
    file.write_text("new")
    await changes.next()
    file.unlink()
    await changes.next()


async def test_other_files_of_the_folder_are_not_reported(watcher, file, changes):
    watcher.start()
    (file.parent / "other").write_text("x")
    (file.parent / "config.yaml.swp").write_text("x")
    file.write_text("now the file itself")
    await changes.next()
    assert changes.count == 1


async def test_quick_writes_are_one_change(watcher, file, changes):
    watcher.start()
    for length in range(1, 20):
        file.write_text("x" * (100 + length))
    await changes.next()
    (file.parent / "tmp").write_text("end")
    os.replace(file.parent / "tmp", file)
    await changes.next()
    assert changes.count == 2


async def test_target_of_a_symbolic_link_is_watched(tmp_path, file, changes):
    (tmp_path / "dots").mkdir()
    target = tmp_path / "dots" / "config.yaml"
    target.write_text("one")
    file.unlink()
    file.symlink_to(target)
    watcher = Watcher(file, changes, settle_s=0.02)
    try:
        assert watcher.start()
        target.write_text("changed at the target")
        await changes.next()
    finally:
        watcher.close()


async def test_swapped_folder_link_is_heard(tmp_path, changes):
    for name in ("v1", "v2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(name)
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "config.yaml").symlink_to("..data/config.yaml")
    watcher = Watcher(tmp_path / "config.yaml", changes, settle_s=0.02)
    try:
        assert watcher.start()
        (tmp_path / "next").symlink_to("v2")
        os.replace(tmp_path / "next", tmp_path / "..data")
        await changes.next()
        (tmp_path / "v2" / "config.yaml").write_text("the new target is watched, too")
        await changes.next()
    finally:
        watcher.close()


async def test_closed_watcher_is_silent_and_closes_twice(watcher, file, changes):
    watcher.start()
    file.write_text("changed, but nobody listens")
    watcher.close()
    watcher.close()
    done = asyncio.Event()
    second = Watcher(file, done.set, settle_s=0.02)
    second.start()
    file.write_text("heard by the second watcher only")
    await asyncio.wait_for(done.wait(), 10)
    second.close()
    assert changes.count == 0


async def test_missing_folder_is_reported_as_not_watched(tmp_path, changes, caplog):
    watcher = Watcher(tmp_path / "none" / "config.yaml", changes)
    assert watcher.start() is False
    assert "cannot watch" in caplog.text
    watcher.close()


async def test_unknown_system_is_not_watched(watcher, monkeypatch):
    monkeypatch.setattr(watch.sys, "platform", "plan9")
    assert watcher.start() is False


@pytest.mark.skipif(sys.platform != "linux", reason="inotify")
async def test_folder_that_goes_away_is_logged(watcher, file, changes, caplog):
    watcher.start()
    file.unlink()
    file.parent.rmdir()
    await changes.next()
    assert "folder went away" in caplog.text
