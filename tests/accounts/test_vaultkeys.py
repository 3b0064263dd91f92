"""Which keys open a vault: the keyring's and a passphrase's, together and apart."""

import threading

import pytest

from app.errors import AccountError
from tests.accounts.keyrings import MemoryKeyring, record


def says(text):
    """Return a function that asks for a passphrase, and the list of its calls."""
    asked = []

    def ask():
        asked.append(threading.current_thread().name)
        return text

    return ask, asked


async def with_passphrase(make_vault, text="correct horse"):
    """Store one account under a passphrase."""
    vault = make_vault(keyring=MemoryKeyring("absent"))
    assert (await vault.open(says(text)[0])).name == "passphrase"
    await vault.put(record())
    await vault.close()


async def test_a_passphrase_opens_where_there_is_no_keyring(make_vault, tmp_path):
    await with_passphrase(make_vault)
    vault = make_vault(keyring=MemoryKeyring("absent"))
    state = await vault.open(says("correct horse")[0])
    assert (state.name, state.usable, state.durable) == ("passphrase", True, True)
    assert await vault.load() == (record(),)
    for path in (tmp_path / "vault").iterdir():
        assert b"correct horse" not in path.read_bytes()


async def test_nobody_is_asked_while_the_keyring_serves(make_vault):
    ask, asked = says("correct horse")
    assert (await make_vault().open(ask)).name == "open"
    assert asked == []


async def test_a_person_is_asked_off_the_loop_and_once(make_vault):
    ask, asked = says("correct horse")
    await make_vault(keyring=MemoryKeyring("absent")).open(ask)
    assert asked == ["passphrase"]


@pytest.mark.parametrize("nothing", [None, ""])
async def test_no_passphrase_leaves_the_state_of_the_keyring(make_vault, nothing):
    vault = make_vault(keyring=MemoryKeyring("denied"))
    assert (await vault.open(says(nothing)[0])).name == "denied"


async def test_a_wrong_passphrase_is_a_wrong_key_and_deletes_nothing(make_vault):
    await with_passphrase(make_vault)
    vault = make_vault(keyring=MemoryKeyring("absent"))
    state = await vault.open(says("battery staple")[0])
    assert state.name == "wrong_key"
    assert "passphrase" in state.message
    assert await vault.load() == ()
    assert [one.code for one in vault.troubles] == ["wrong_key"]
    with pytest.raises(AccountError) as caught:  # a slip of the finger makes no second key
        await vault.put(record("claude-2"))
    assert caught.value.code == "vault_wrong_key"
    assert (await vault.open(says("correct horse")[0])).name == "passphrase"
    assert await vault.load() == (record(),)


async def test_a_lost_passphrase_is_replaced_on_request(make_vault):
    await with_passphrase(make_vault)
    vault = make_vault(keyring=MemoryKeyring("absent"))
    assert (await vault.open(says("a new one")[0], new_key=True)).name == "passphrase"
    await vault.put(record("claude-2"))
    await vault.close()
    vault = make_vault(keyring=MemoryKeyring("absent"))
    assert (await vault.open(says("a new one")[0])).name == "passphrase"
    assert await vault.load() == (record("claude-2"),)
    assert [(one.account, one.code) for one in vault.troubles] == [("claude/claude-1", "wrong_key")]


async def test_without_its_passphrase_the_vault_is_locked_and_says_so(make_vault, keyring):
    await with_passphrase(make_vault)
    vault = make_vault()
    assert (await vault.open()).name == "locked"
    assert "passphrase" in vault.state.message
    assert keyring.calls == []  # no key is made beside the one that is missing
    assert vault.held_ids() == ("claude/claude-1",)


async def test_a_file_gives_the_passphrase(make_vault, tmp_path):
    path = tmp_path / "phrase"
    path.write_text("correct horse\n")
    await with_passphrase(make_vault)
    vault = make_vault(keyring=MemoryKeyring("absent"), passphrase_file=path)
    assert (await vault.open()).name == "passphrase"
    assert await vault.load() == (record(),)


async def test_a_file_that_is_missing_is_said(make_vault, tmp_path):
    vault = make_vault(keyring=MemoryKeyring("absent"), passphrase_file=tmp_path / "nowhere")
    state = await vault.open()
    assert state.name == "locked"
    assert "nowhere" in state.message
    assert (await vault.open(new_key=True)).name == "locked"


async def test_a_file_that_is_missing_does_not_matter_while_the_keyring_serves(
    make_vault, tmp_path
):
    vault = make_vault(passphrase_file=tmp_path / "nowhere")
    assert (await vault.open()).name == "open"


async def test_an_empty_vault_uses_its_passphrase_key_again(make_vault, tmp_path):
    await with_passphrase(make_vault)
    vault = make_vault(keyring=MemoryKeyring("absent"))
    await vault.open(says("correct horse")[0])
    await vault.delete("claude/claude-1")
    await vault.close()
    header = (tmp_path / "vault" / "vault.json").read_bytes()
    vault = make_vault(keyring=MemoryKeyring("absent"))
    assert (await vault.open(says("correct horse")[0])).name == "passphrase"
    assert (tmp_path / "vault" / "vault.json").read_bytes() == header
    await vault.close()
    vault = make_vault(keyring=MemoryKeyring("absent"))  # nothing depends on the old one
    assert (await vault.open(says("another")[0])).name == "passphrase"
    assert (tmp_path / "vault" / "vault.json").read_bytes() != header


async def test_accounts_of_both_keys_are_read_when_both_are_at_hand(make_vault, keyring):
    vault = make_vault()
    await vault.open()
    await vault.put(record("claude-2"))
    await vault.close()

    keyring.trouble = "locked"  # by another way, without the desktop
    vault = make_vault()
    assert (await vault.open(says("correct horse")[0])).name == "passphrase"
    await vault.put(record())
    assert await vault.load() == (record(),)
    assert [(one.account, one.code) for one in vault.troubles] == [("claude/claude-2", "locked")]
    keyring.trouble = None  # unlocked meanwhile
    assert (await vault.open(says("correct horse")[0])).name == "passphrase"
    assert await vault.load() == (record(), record("claude-2"))
    await vault.close()

    vault = make_vault()
    assert (await vault.open()).name == "open"  # the passphrase is not given
    assert await vault.load() == (record("claude-2"),)
    assert [(one.account, one.code) for one in vault.troubles] == [("claude/claude-1", "locked")]
    await vault.put(record("claude-3"))
    await vault.close()

    vault = make_vault()
    await vault.open(says("wrong")[0])
    assert [(one.account, one.code) for one in vault.troubles] == []
    assert {one.id for one in await vault.load()} == {"claude/claude-2", "claude/claude-3"}
    assert [one.code for one in vault.troubles] == ["wrong_key"]


async def test_a_key_that_is_gone_from_the_keyring_beside_a_passphrase_is_said(make_vault, keyring):
    vault = make_vault()
    await vault.open()
    await vault.put(record("claude-2"))
    await vault.close()
    keyring.trouble = "absent"
    vault = make_vault()
    await vault.open(says("correct horse")[0])
    await vault.put(record())
    await vault.close()
    keyring.trouble = None
    keyring.entries.clear()
    vault = make_vault()
    assert (await vault.open(says("correct horse")[0])).name == "passphrase"
    assert await vault.load() == (record(),)
    assert [(one.account, one.code) for one in vault.troubles] == [("claude/claude-2", "wrong_key")]
