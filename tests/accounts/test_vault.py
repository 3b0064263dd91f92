"""The vault as its callers see it."""

import asyncio
import dataclasses
import os
import stat
import subprocess
import sys
import threading

import pytest

from app.accounts.disk import Disk
from app.accounts.vault import Vault
from app.errors import AccountError, AppError
from app.log import scrub
from tests.accounts.keyrings import HangingKeyring, MemoryKeyring, record

posix_only = pytest.mark.skipif(os.name == "nt", reason="file modes are POSIX")


async def reopened(vault, make_vault, **options):
    await vault.close()
    fresh = make_vault(**options)
    await fresh.open()
    return fresh


# Keeping


async def test_a_sign_in_outlives_the_process(make_vault):
    vault = make_vault()
    assert (await vault.open()).name == "open"
    await vault.put(record())
    await vault.put(record("claude-2", "access-token-two"))
    vault = await reopened(vault, make_vault)
    assert await vault.load() == (record(), record("claude-2", "access-token-two"))
    assert vault.troubles == ()
    assert vault.trouble() == ""


async def test_an_empty_vault_is_open_and_holds_nothing(make_vault):
    vault = make_vault()
    state = await vault.open()
    assert state.usable
    assert state.durable
    assert state.since == 1_750_000_000.0
    assert await vault.load() == ()
    assert vault.held_ids() == ()


async def test_the_key_is_written_to_the_keyring_once(make_vault, keyring):
    vault = make_vault()
    await vault.open()
    for number in range(3):
        await vault.put(record(secret=f"access-token-{number}"))
    vault = await reopened(vault, make_vault)
    await vault.put(record(secret="access-token-more"))
    assert [name for name, _ in keyring.calls].count("write") == 1
    assert len(keyring.entries) == 1


async def test_a_vault_whose_accounts_are_all_deleted_uses_its_key_again(make_vault, keyring):
    vault = make_vault()
    await vault.open()
    await vault.put(record())
    await vault.delete("claude/claude-1")
    vault = await reopened(vault, make_vault)
    assert vault.state.name == "open"
    assert len(keyring.entries) == 1


@posix_only
async def test_files_are_for_the_user_alone(make_vault, tmp_path):
    folder = tmp_path / "vault"
    folder.mkdir(mode=0o755)
    vault = make_vault()
    await vault.open()
    await vault.put(record())
    await vault.put(record(secret="access-token-two"))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert set(modes.values()) == {0o600}
    assert len(modes) == 4  # newest, previous, header, lock


async def test_no_secret_is_on_the_disk(make_vault, tmp_path, keyring):
    vault = make_vault()
    await vault.open()
    await vault.put(record(secret="canary-secret"))
    await vault.put(record(secret="canary-secret-2"))
    (key,) = keyring.entries.values()
    for path in (tmp_path / "vault").iterdir():
        content = path.read_bytes()
        assert b"canary" not in content
        assert b"person@example.com" not in content
        assert key.encode() not in content


async def test_what_passes_through_is_cut_out_of_the_log(make_vault, keyring):
    vault = make_vault()
    await vault.open()
    await vault.put(record(secret="canary-for-the-log"))
    (key,) = keyring.entries.values()
    assert "canary" not in scrub("a canary-for-the-log and renewal-of-canary-for-the-log")
    assert key not in scrub(f"the key {key}")


async def test_nothing_of_a_record_or_state_shows_a_secret(make_vault):
    vault = make_vault()
    await vault.open()
    await vault.put(record(secret="canary-repr"))
    assert "canary" not in repr(await vault.load())
    assert "canary" not in repr(vault.__dict__)


# Versions


async def test_the_previous_version_is_kept_until_the_new_one_has_worked(make_vault):
    vault = make_vault()
    await vault.open()
    await vault.put(record(secret="worked-before"))
    assert await vault.previous("claude/claude-1") is None
    await vault.put(record(secret="renewed-once"))
    await vault.put(record(secret="renewed-twice"))
    assert (await vault.previous("claude/claude-1")).credential.secret == "worked-before"
    assert [one.credential.secret for one in await vault.load()] == ["renewed-twice"]
    await vault.confirm("claude/claude-1")
    assert await vault.previous("claude/claude-1") is None
    await vault.put(record(secret="renewed-again"))
    assert (await vault.previous("claude/claude-1")).credential.secret == "renewed-twice"


async def test_a_damaged_newest_version_gives_way_to_the_one_before_and_is_reported(
    make_vault, tmp_path
):
    vault = make_vault()
    await vault.open()
    await vault.put(record(secret="version-one"))
    await vault.put(record(secret="version-two"))
    newest = next((tmp_path / "vault").glob("*.sealed"))
    newest.write_bytes(newest.read_bytes()[:-9])
    (found,) = await vault.load()
    assert found.credential.secret == "version-one"
    assert [trouble.code for trouble in vault.troubles] == ["restored"]
    await vault.confirm("claude/claude-1")  # a damaged version has proven nothing
    assert (await vault.previous("claude/claude-1")).credential.secret == "version-one"
    await vault.put(record(secret="version-three"))
    assert vault.troubles == ()
    assert [one.credential.secret for one in await vault.load()] == ["version-three"]


async def test_deleting_removes_every_version(make_vault, tmp_path):
    vault = make_vault()
    await vault.open()
    await vault.put(record())
    await vault.put(record(secret="access-token-two"))
    await vault.delete("claude/claude-1")
    await vault.delete("claude/never-there")
    assert vault.held_ids() == ()
    assert await vault.load() == ()
    assert sorted(path.name for path in (tmp_path / "vault").iterdir()) == [
        "vault.json",
        "vault.lock",
    ]


async def test_many_changes_at_once_are_stored_in_order(make_vault):
    vault = make_vault()
    await vault.open()
    await asyncio.gather(*(vault.put(record(secret=f"secret-number-{n}")) for n in range(40)))
    (found,) = await vault.load()
    assert found.credential.secret == "secret-number-39"


async def test_a_change_whose_caller_was_cancelled_is_stored_all_the_same(make_vault):
    begun, go = threading.Event(), threading.Event()

    class WaitingDisk(Disk):
        def write(self, path, content):
            begun.set()
            go.wait()
            super().write(path, content)

    vault = make_vault()
    await vault.open()
    await vault.put(record(secret="before-cancelling"))
    await vault.close()
    vault = make_vault(disk=WaitingDisk())
    await vault.open()
    first = asyncio.ensure_future(vault.put(record(secret="cancelled-running")))
    second = asyncio.ensure_future(vault.put(record("claude-2", "cancelled-waiting")))
    await asyncio.get_running_loop().run_in_executor(None, begun.wait)
    first.cancel()
    second.cancel()
    go.set()
    assert [one.credential.secret for one in await vault.load()] == [
        "cancelled-running",
        "cancelled-waiting",
    ]


async def test_a_full_disk_is_an_error_in_words_and_leaves_the_old_version(make_vault):
    class FullDisk(Disk):
        full = False

        def write(self, path, content):
            if self.full:
                path.write_bytes(content[:20])
                raise OSError(28, "No space left on device")
            super().write(path, content)

    disk = FullDisk()
    vault = make_vault(disk=disk)
    await vault.open()
    await vault.put(record(secret="before-it-was-full"))
    disk.full = True
    with pytest.raises(AppError, match="No space left") as caught:
        await vault.put(record(secret="does-not-fit"))
    assert caught.value.code == "vault_unusable"
    assert [one.credential.secret for one in await vault.load()] == ["before-it-was-full"]


# One account in trouble


@pytest.mark.parametrize("size", [0, 1, 50, -1])
async def test_a_truncated_file_stops_no_other_account(make_vault, tmp_path, size):
    vault = make_vault()
    await vault.open()
    await vault.put(record())
    await vault.put(record("claude-2"))
    path = tmp_path / "vault" / "claude~claude-1.sealed"
    path.write_bytes(path.read_bytes()[:size])
    vault = await reopened(vault, make_vault)
    assert [one.id for one in await vault.load()] == ["claude/claude-2"]
    (trouble,) = vault.troubles
    assert (trouble.account, trouble.code) == ("claude/claude-1", "damaged")
    assert "again" in trouble.hint
    assert vault.held_ids() == ("claude/claude-1", "claude/claude-2")
    assert path.exists()


async def test_a_swapped_file_is_damage(make_vault, tmp_path):
    vault = make_vault()
    await vault.open()
    await vault.put(record())
    await vault.put(record("claude-2"))
    one, other = (tmp_path / "vault" / f"claude~claude-{n}.sealed" for n in (1, 2))
    one.write_bytes(other.read_bytes())
    assert [found.id for found in await vault.load()] == ["claude/claude-2"]
    assert [trouble.code for trouble in vault.troubles] == ["damaged"]


async def test_a_file_that_cannot_be_read_is_reported(make_vault, tmp_path):
    vault = make_vault()
    await vault.open()
    await vault.put(record("claude-2"))
    (tmp_path / "vault" / "claude~claude-1.sealed").mkdir()
    assert [one.id for one in await vault.load()] == ["claude/claude-2"]
    assert [trouble.code for trouble in vault.troubles] == ["unreadable"]


async def test_files_of_others_are_left_alone(make_vault, tmp_path):
    vault = make_vault()
    await vault.open()
    strange = tmp_path / "vault" / "notes.sealed"
    strange.write_text("mine")
    assert vault.held_ids() == ()
    assert await vault.load() == ()
    assert vault.troubles == ()
    assert strange.read_text() == "mine"


@pytest.mark.parametrize("label", ["ü/..\\CON", "x" * 300, "A b%c~d", "🙂" * 60])
async def test_any_label_is_kept_and_listed(make_vault, label):
    vault = make_vault()
    await vault.open()
    await vault.put(record(label))
    vault = await reopened(vault, make_vault)
    assert vault.held_ids() == (f"claude/{label}",)
    assert [one.label for one in await vault.load()] == [label]
    await vault.delete(f"claude/{label}")
    assert vault.held_ids() == ()


# One instance


async def test_a_second_vault_on_one_folder_is_refused(make_vault):
    first, second = make_vault(), make_vault()
    await first.open()
    with pytest.raises(AppError) as caught:
        await second.open()
    assert caught.value.code == "vault_in_use"
    await first.close()
    assert (await second.open()).usable


async def test_closing_twice_is_fine(make_vault):
    vault = make_vault()
    await vault.open()
    await vault.close()
    await vault.close()
    assert vault.state.name == "locked"


async def test_a_folder_that_cannot_be_made_is_an_error_in_words(make_vault, tmp_path):
    (tmp_path / "file").write_text("")
    vault = make_vault(folder=tmp_path / "file" / "vault")
    with pytest.raises(AppError) as caught:
        await vault.open()
    assert caught.value.code == "vault_unusable"


# Without a key


@pytest.mark.parametrize("trouble", ["locked", "absent", "denied"])
async def test_without_a_key_accounts_are_listed_and_nothing_is_lost(make_vault, keyring, trouble):
    vault = make_vault()
    await vault.open()
    await vault.put(record())
    keyring.trouble = trouble
    vault = await reopened(vault, make_vault)
    assert vault.state.name == trouble
    assert not vault.state.usable
    assert vault.state.message
    assert vault.state.hint
    assert vault.trouble() == f"{vault.state.message} {vault.state.hint}"
    assert vault.held_ids() == ("claude/claude-1",)
    assert await vault.load() == ()
    assert [(one.account, one.code) for one in vault.troubles] == [("claude/claude-1", trouble)]
    with pytest.raises(AccountError) as caught:
        await vault.put(record(secret="access-token-two"))
    assert caught.value.code == f"vault_{trouble}"
    keyring.trouble = None
    assert (await vault.open()).name == "open"
    assert await vault.load() == (record(),)
    assert vault.troubles == ()


async def test_nothing_can_be_stored_before_it_is_opened(make_vault):
    vault = make_vault()
    with pytest.raises(AccountError) as caught:
        await vault.put(record())
    assert caught.value.code == "vault_locked"


async def test_an_open_vault_stays_open_when_the_keyring_goes(make_vault, keyring):
    vault = make_vault()
    await vault.open()
    keyring.trouble = "absent"
    assert (await vault.open()).name == "open"
    assert (await vault.open(new_key=True)).name == "open"
    await vault.put(record())
    assert await vault.load() == (record(),)


async def test_a_lost_key_means_sign_in_again_and_deletes_nothing(make_vault, keyring, tmp_path):
    vault = make_vault()
    await vault.open()
    await vault.put(record())
    await vault.put(record("claude-2"))
    kept = dict(keyring.entries)
    keyring.entries.clear()
    vault = await reopened(vault, make_vault)
    assert vault.state.name == "wrong_key"
    assert await vault.load() == ()
    assert [one.code for one in vault.troubles] == ["wrong_key", "wrong_key"]
    assert "Sign in again" in vault.troubles[0].hint
    assert vault.trouble() == ""  # signing in works

    await vault.put(record(secret="signed-in-again"))
    assert vault.state.name == "open"
    assert [one.credential.secret for one in await vault.load()] == ["signed-in-again"]
    assert [one.account for one in vault.troubles] == ["claude/claude-2"]

    vault = await reopened(vault, make_vault)
    assert vault.state.name == "open"
    assert [one.credential.secret for one in await vault.load()] == ["signed-in-again"]

    keyring.entries |= kept  # the old keyring is back
    vault = await reopened(vault, make_vault)
    assert {one.id for one in await vault.load()} == {"claude/claude-1", "claude/claude-2"}
    assert vault.troubles == ()


async def test_another_key_under_the_old_name_is_a_wrong_key(make_vault, keyring):
    vault = make_vault()
    await vault.open()
    await vault.put(record())
    for value in ("AAAA", "not base64", "A" * 43 + "="):
        keyring.entries = dict.fromkeys(keyring.entries, value)
        vault = await reopened(vault, make_vault)
        assert vault.state.name == "wrong_key"
        assert await vault.load() == ()


async def test_signing_in_again_over_a_lost_key_fails_in_words_when_the_keyring_does(
    make_vault, keyring
):
    vault = make_vault()
    await vault.open()
    await vault.put(record())
    keyring.entries.clear()
    vault = await reopened(vault, make_vault)
    keyring.trouble = "locked"
    with pytest.raises(AccountError) as caught:
        await vault.put(record(secret="signed-in-again"))
    assert caught.value.code == "vault_locked"


async def test_a_lost_header_costs_no_account_of_the_keyring(make_vault, tmp_path):
    vault = make_vault()
    await vault.open()
    await vault.put(record())
    (tmp_path / "vault" / "vault.json").write_bytes(b'{"format":1,"slots":[{"k')
    vault = await reopened(vault, make_vault)
    assert await vault.load() == (record(),)
    assert (tmp_path / "vault" / "vault.json.damaged").exists()


async def test_the_folder_of_a_later_version_is_not_touched(make_vault, tmp_path):
    vault = make_vault()
    await vault.open()
    await vault.close()
    (tmp_path / "vault" / "vault.json").write_bytes(b'{"format":2}')
    vault = make_vault()
    with pytest.raises(AppError, match="later version") as caught:
        await vault.open()
    assert caught.value.code == "vault_unusable"
    assert (tmp_path / "vault" / "vault.json").read_bytes() == b'{"format":2}'


# Memory only


async def test_memory_only_keeps_nothing_on_the_disk(make_vault, tmp_path):
    vault = make_vault(keyring=MemoryKeyring("absent"))
    await vault.open()
    state = await vault.open(memory_only=True)
    assert (state.name, state.usable, state.durable) == ("memory_only", True, False)
    await vault.put(record())
    assert await vault.load() == (record(),)
    assert vault.held_ids() == ("claude/claude-1",)
    assert [path.name for path in (tmp_path / "vault").iterdir()] == ["vault.lock"]
    await vault.delete("claude/claude-1")
    assert await vault.load() == ()


async def test_what_was_kept_in_memory_is_stored_once_the_keyring_opens(make_vault, keyring):
    vault = make_vault()
    await vault.open()
    await vault.put(record("claude-2"))
    keyring.trouble = "locked"
    vault = await reopened(vault, make_vault)
    await vault.open(memory_only=True)
    await vault.put(record())
    assert await vault.load() == (record(),)
    assert [(one.account, one.code) for one in vault.troubles] == [("claude/claude-2", "locked")]
    keyring.trouble = None
    assert (await vault.open()).name == "open"
    vault = await reopened(vault, make_vault)
    assert await vault.load() == (record(), record("claude-2"))


async def test_memory_stays_in_use_while_the_keyring_stays_shut(make_vault, keyring):
    keyring.trouble = "locked"
    vault = make_vault()
    await vault.open()
    await vault.open(memory_only=True)
    await vault.put(record())
    assert (await vault.open()).name == "memory_only"
    await vault.put(record(secret="renewed-in-memory"))
    assert [one.credential.secret for one in await vault.load()] == ["renewed-in-memory"]


async def test_memory_gives_way_to_a_new_key_for_a_lost_one(make_vault, keyring):
    vault = make_vault()
    await vault.open()
    await vault.put(record("claude-2"))
    keyring.trouble = "locked"
    vault = await reopened(vault, make_vault)
    await vault.open(memory_only=True)
    await vault.put(record())
    keyring.trouble = None
    keyring.entries.clear()
    assert (await vault.open()).name == "wrong_key"
    assert await vault.load() == (record(),)
    await vault.put(record("claude-3"))
    assert vault.state.name == "open"
    vault = await reopened(vault, make_vault)
    assert await vault.load() == (record(), record("claude-3"))


async def test_a_late_answer_ends_the_use_of_memory(make_vault):
    keyring = HangingKeyring()
    vault = make_vault(keyring=keyring, limit_s=0.01)
    assert (await vault.open()).name == "slow"
    later = asyncio.ensure_future(vault.answered())
    assert (await vault.open(memory_only=True)).name == "memory_only"
    await vault.put(record())
    keyring.go.set()
    assert (await later).name == "open"
    keyring.trouble = None
    vault = await reopened(vault, make_vault, keyring=keyring)
    assert await vault.load() == (record(),)


# A keyring that hangs


async def test_a_keyring_that_hangs_is_slow_and_opens_when_it_answers(make_vault):
    keyring = HangingKeyring()
    vault = make_vault(keyring=keyring, limit_s=0.01)
    assert (await vault.open()).name == "slow"
    assert (await vault.open()).name == "slow"
    assert len(keyring.calls) == 1  # no second dialog beside the first
    later = asyncio.ensure_future(vault.answered())
    keyring.go.set()
    assert (await later).name == "open"
    await vault.put(record())
    assert len(keyring.entries) == 1


async def test_a_late_refusal_is_told_and_not_asked_again(make_vault):
    keyring = HangingKeyring()
    vault = make_vault(keyring=keyring, limit_s=0.01)
    await vault.open()
    keyring.trouble = "denied"
    later = asyncio.ensure_future(vault.answered())
    keyring.go.set()
    assert (await later).name == "denied"
    assert len(keyring.calls) == 1
    keyring.trouble = None
    assert (await vault.open()).name == "open"


async def test_nothing_is_waited_for_where_nothing_is_slow(make_vault):
    vault = make_vault()
    await vault.open()
    assert (await vault.answered()).name == "open"


def test_a_hanging_keyring_does_not_hold_up_the_end_of_the_process(tmp_path):
    code = """
import asyncio, sys, threading
from pathlib import Path
from app.accounts.vault import Vault

class Hanging:
    def read(self, entry): threading.Event().wait()
    def write(self, entry, secret): threading.Event().wait()

async def main():
    vault = Vault(Path(sys.argv[1]), keyring=Hanging(), limit_s=0.01)
    print((await vault.open()).name)
    await vault.close()

asyncio.run(main())
"""
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "vault")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "slow\n", "")


# Cost


def test_neither_keyring_nor_cryptography_is_loaded_before_it_is_needed():
    code = (
        "import sys, app.accounts.vault as v, pathlib;"
        "v.Vault(pathlib.Path('/nowhere')).held_ids();"
        "print([n for n in ('keyring', 'cryptography', 'jeepney', 'secretstorage')"
        " if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n"


async def test_the_primary_and_paused_marks_are_kept(make_vault):
    vault = make_vault()
    await vault.open()
    marked = dataclasses.replace(record(), primary=True, paused=True, order=4)
    await vault.put(marked)
    assert isinstance(vault, Vault)
    assert await vault.load() == (marked,)
