"""The folder of sealed files: whole after a kill at any step, and after a failing disk."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.accounts.disk import Disk
from app.accounts.sealed import key_id, seal
from app.accounts.shelf import Shelf, Slot
from app.errors import AccountError
from tests.accounts.keyrings import record

ROOT = Path(__file__).resolve().parent.parent.parent
KEY = bytes(range(32))

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="the program under test forks")


def key_of(name):
    if name != key_id(KEY):
        raise AccountError("no such key", code="vault_wrong_key")
    return KEY


def shelf_in(folder, disk=None):
    shelf = Shelf(folder, disk or Disk())
    shelf.claim()
    return shelf


@pytest.fixture
def shelf(tmp_path):
    shelf = shelf_in(tmp_path)
    yield shelf
    shelf.release()


# Killed at each step


async def start(make_vault, tmp_path, versions, keyring):
    """Fill ``start`` with versions of one account; the last of them is not confirmed yet."""
    vault = make_vault(folder=tmp_path / "start")
    await vault.open()
    for secret in versions:
        await vault.put(record(secret=secret))
    await vault.put(record("claude-2", secret="of-another-account"))
    await vault.close()
    (entry,) = keyring.entries.items()
    return "=".join(entry)


def killed_at_each_step(tmp_path, entry, what, links="links"):
    command = [sys.executable, "-m", "tests.accounts.rotation", str(tmp_path), entry, what, links]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    *killed, last = lines
    assert {how for _, how in killed} == {"killed"}
    assert last[1] == "done"
    return [tmp_path / name for name, _ in killed], tmp_path / last[0]


async def secrets_in(make_vault, folder):
    vault = make_vault(folder=folder)
    assert (await vault.open()).name == "open"
    found = {one.label: one.credential.secret for one in await vault.load()}
    assert vault.troubles == ()
    assert found.pop("claude-2") == "of-another-account"
    # The account goes on working from here.
    if found:
        await vault.put(record(secret="renewed-later"))
        await vault.confirm("claude/claude-1")
        assert (await vault.load())[0].credential.secret == "renewed-later"
        assert await vault.previous("claude/claude-1") is None
    await vault.close()
    return found.get("claude-1")


@forks
@pytest.mark.parametrize("links", ["links", "no-links"])
@pytest.mark.parametrize("versions", [["old-token"], ["older-token", "old-token"]])
async def test_killed_while_storing_the_old_or_the_new_is_usable(
    make_vault, tmp_path, keyring, versions, links
):
    entry = await start(make_vault, tmp_path, versions, keyring)
    folders, whole = killed_at_each_step(tmp_path, entry, "put", links)
    found = [await secrets_in(make_vault, folder) for folder in folders]
    turn = found.index("renewed-token")
    assert turn > 0
    assert set(found[:turn]) == {"old-token"}
    assert set(found[turn:]) == {"renewed-token"}  # from the moment when the disk has all of it
    assert turn == 2  # before anything, half written; the third has written it all
    assert await secrets_in(make_vault, whole) == "renewed-token"


@forks
async def test_killed_while_finishing_what_an_earlier_kill_left_the_new_is_usable(
    make_vault, tmp_path, keyring
):
    entry = await start(make_vault, tmp_path, ["old-token"], keyring)
    folders, _ = killed_at_each_step(tmp_path, entry, "put")
    again = tmp_path / "again"
    again.mkdir()
    folders[2].rename(again / "start")
    folders, whole = killed_at_each_step(again, entry, "load")
    assert len(folders) >= 4
    for folder in (*folders, whole):
        assert await secrets_in(make_vault, folder) == "renewed-token"


@forks
@pytest.mark.parametrize("what", ["confirm", "delete"])
async def test_killed_while_removing_what_is_left_is_the_newest_or_nothing(
    make_vault, tmp_path, keyring, what
):
    entry = await start(make_vault, tmp_path, ["older-token", "old-token"], keyring)
    folders, whole = killed_at_each_step(tmp_path, entry, what)
    for folder in folders:
        assert await secrets_in(make_vault, folder) in ("old-token", None)
    expected = None if what == "delete" else "old-token"
    assert await secrets_in(make_vault, whole) == expected


# Left over from before


def test_an_unfinished_first_version_is_taken_up(shelf, tmp_path):
    (tmp_path / "claude~claude-1.new").write_bytes(seal(record(), 1, KEY))
    assert shelf.held_ids() == set()
    assert shelf.load(key_of) == ([record()], [])
    assert shelf.held_ids() == {"claude/claude-1"}


@pytest.mark.parametrize("version", [1, 2])
def test_an_unfinished_version_that_is_not_newer_is_removed(shelf, tmp_path, version):
    shelf.put(record(secret="version-one"), KEY)
    shelf.put(record(secret="version-two"), KEY)
    path = tmp_path / "claude~claude-1.new"
    path.write_bytes(seal(record(secret="left-over"), version, KEY))
    assert shelf.load(key_of) == ([record(secret="version-two")], [])
    assert not path.exists()


def test_an_unfinished_version_under_a_key_that_is_not_at_hand_is_left(shelf, tmp_path):
    shelf.put(record(), KEY)
    path = tmp_path / "claude~claude-1.new"
    path.write_bytes(seal(record(), 9, bytes(32)))
    shelf.load(key_of)
    assert path.exists()


def test_a_version_that_waits_is_not_replaced_by_the_one_before_it(tmp_path):
    class FrozenDisk(Disk):
        def replace(self, path, other):
            raise OSError(30, "Read-only file system")

    shelf = shelf_in(tmp_path)
    shelf.put(record("claude-2"), KEY)
    shelf.put(record(secret="version-one"), KEY)
    shelf.release()
    (tmp_path / "claude~claude-1.new").write_bytes(seal(record(secret="version-two"), 2, KEY))
    shelf = shelf_in(tmp_path, FrozenDisk())
    records, troubles = shelf.load(key_of)
    shelf.release()
    assert [one.id for one in records] == ["claude/claude-2"]
    assert [(one.account, one.code) for one in troubles] == [("claude/claude-1", "unreadable")]


def test_a_version_before_one_that_is_locked_is_not_used(shelf):
    shelf.put(record(secret="version-one"), KEY)
    shelf.put(record(secret="version-two"), bytes(32))
    records, troubles = shelf.load(key_of)
    assert records == []
    assert [one.code for one in troubles] == ["wrong_key"]


def test_a_disk_that_fails_halfway_leaves_a_version_that_the_next_load_takes_up(tmp_path):
    class FailingDisk(Disk):
        def replace(self, path, other):
            raise OSError(5, "Input/output error")

    shelf = shelf_in(tmp_path)
    shelf.put(record(secret="version-one"), KEY)
    shelf.release()
    shelf = shelf_in(tmp_path, FailingDisk())
    with pytest.raises(OSError, match="Input/output"):
        shelf.put(record(secret="version-two"), KEY)
    shelf.release()
    shelf = shelf_in(tmp_path)
    records, _ = shelf.load(key_of)
    assert [one.credential.secret for one in records] == ["version-two"]
    shelf.release()


# Keys


def test_the_survey_names_the_keys_that_files_need(shelf):
    shelf.add_slot(Slot(key=key_id(KEY), made_at=1.0))
    shelf.add_slot(Slot(key="f" * 16, made_at=2.0))
    assert shelf.survey().in_keyring == (key_id(KEY), "f" * 16)
    shelf.put(record(), bytes(32))
    survey = shelf.survey()
    assert survey.needed == {key_id(bytes(32))}
    assert survey.in_keyring == (key_id(bytes(32)),)


def test_a_shortened_name_whose_file_is_damaged_is_still_listed(shelf, tmp_path):
    shelf.put(record("x" * 200), KEY)
    (path,) = tmp_path.glob("*.sealed")
    path.write_bytes(b"")
    assert shelf.held_ids() == {path.stem}
