"""The border to the system's keyring: against a real Secret Service, and what errors mean."""

import asyncio
import gc
import sys
import warnings

import pytest

from app.accounts.keychain import (
    Keychain,
    KeyringFault,
    SystemKeyring,
    fault_of,
    in_thread,
    is_safe,
)
from app.accounts.sealed import key_id
from tests.accounts.keyrings import HangingKeyring, MemoryKeyring, record
from tests.accounts.secret_service import Session, needs_bus, needs_service


@pytest.fixture
def session(tmp_path, monkeypatch):
    """Return a bus of its own, as the one of this session; no keyring runs on it yet."""
    home = tmp_path / "home"
    home.mkdir()
    session = Session(home)
    for name in ("HOME", "DBUS_SESSION_BUS_ADDRESS", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, session.env[name])
    for name in ("PYTHON_KEYRING_BACKEND", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    yield session
    session.close()


def trouble_of(call):
    with pytest.raises(KeyringFault) as caught:
        call()
    return caught.value.trouble


# A real Secret Service


@needs_service
def test_a_secret_is_kept_by_the_real_service(session):
    session.unlock()
    keyring = SystemKeyring()
    assert keyring.read("vault-x") is None
    keyring.write("vault-x", "a secret")
    assert SystemKeyring().read("vault-x") == "a secret"
    assert SystemKeyring("another program").read("vault-x") is None


@needs_service
async def test_the_vault_works_with_the_real_service(session, make_vault):
    session.unlock()
    vault = make_vault(keyring=SystemKeyring())
    assert (await vault.open()).name == "open"
    await vault.put(record())
    await vault.close()
    vault = make_vault(keyring=SystemKeyring())
    assert (await vault.open()).name == "open"
    assert await vault.load() == (record(),)


@needs_service
async def test_a_locked_collection_is_locked_and_opens_again(session, make_vault):
    session.unlock()
    vault = make_vault(keyring=SystemKeyring())
    await vault.open()
    await vault.put(record())
    await vault.close()
    session.lock()
    vault = make_vault(keyring=SystemKeyring())
    assert (await vault.open()).name == "locked"
    assert vault.held_ids() == ("claude/claude-1",)
    assert await vault.load() == ()
    assert [one.code for one in vault.troubles] == ["locked"]


@needs_service
def test_a_locked_collection_leaves_no_connection_to_the_collector(session):
    session.unlock()
    SystemKeyring().write("vault-x", "a secret")
    session.lock()
    assert trouble_of(lambda: SystemKeyring().read("vault-x")) == "locked"
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        gc.collect()
    assert [str(one.message) for one in seen if one.category is ResourceWarning] == []


@needs_service
async def test_a_service_that_hangs_is_slow_and_opens_when_it_answers(session, make_vault):
    session.unlock()
    vault = make_vault(keyring=SystemKeyring())
    await vault.open()
    await vault.put(record())
    await vault.close()
    session.freeze()
    vault = make_vault(keyring=SystemKeyring(), limit_s=0.2)
    assert (await vault.open()).name == "slow"
    session.thaw()
    assert (await vault.answered()).name == "open"
    assert await vault.load() == (record(),)


@needs_bus
async def test_a_bus_without_a_keyring_has_none(session, make_vault):
    vault = make_vault(keyring=SystemKeyring())
    assert (await vault.open()).name == "absent"


@needs_service
def test_a_keyring_that_is_started_later_is_found(session):
    assert trouble_of(lambda: SystemKeyring().read("x")) == "absent"
    session.unlock()
    assert SystemKeyring().read("x") is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has its keyrings on D-Bus")
async def test_without_dbus_there_is_no_keyring(make_vault, monkeypatch):
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND", raising=False)
    vault = make_vault(keyring=SystemKeyring())
    assert (await vault.open()).name == "absent"
    assert "DRAGOMAN_PASSPHRASE_FILE" in vault.state.hint


# Stores that are refused


@pytest.mark.parametrize(
    "backend", ["keyring.backends.null.Keyring", "keyring.backends.fail.Keyring"]
)
def test_stores_that_keep_nothing_are_refused(monkeypatch, backend):
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", backend)
    keyring = SystemKeyring()
    assert trouble_of(lambda: keyring.read("x")) == "absent"
    assert trouble_of(lambda: keyring.write("x", "y")) == "absent"


def test_a_store_that_does_not_exist_is_absent(monkeypatch):
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "no_such_module.Keyring")
    assert trouble_of(lambda: SystemKeyring().read("x")) == "absent"


def kind(module, name):
    return type(name, (), {"__module__": module})


@pytest.mark.parametrize(
    ("module", "name", "safe"),
    [
        ("keyring.backends.SecretService", "Keyring", True),
        ("keyring.backends.kwallet", "DBusKeyring", True),
        ("keyring.backends.macOS", "Keyring", True),
        ("keyring.backends.Windows", "WinVaultKeyring", True),
        ("keyring_pass", "PasswordStoreBackend", True),
        ("keyring.backends.fail", "Keyring", False),
        ("keyring.backends.null", "Keyring", False),
        ("keyring.backends.chainer", "ChainerBackend", False),
        ("keyrings.alt.file", "PlaintextKeyring", False),
        ("keyrings.alt.file", "EncryptedKeyring", False),
        ("keyrings.alt.Windows", "RegistryKeyring", False),
        ("keyrings.cryptfile.cryptfile", "CryptFileKeyring", False),
        ("somebody.store", "PlaintextKeyring", False),
    ],
)
def test_only_stores_that_protect_are_used(module, name, safe):
    assert is_safe(kind(module, name)) is safe


# What errors mean


def error(kind_of, /, *args, cause=None, **fields):
    raised = type(kind_of, (Exception,), fields)(*args)
    raised.__cause__ = cause
    return raised


@pytest.mark.parametrize(
    ("raised", "trouble"),
    [
        (error("NoKeyringError", "no backend"), "absent"),
        (error("KeyringLocked", "dismissed"), "locked"),
        (error("InitError", "no prompt"), "locked"),
        (error("KeyringLocked", "x", cause=error("KeychainDenied", -128, "no")), "denied"),
        (error("KeyringError", "x", cause=error("SecAuthFailure", -25293, "no")), "denied"),
        (error("KeyringError", "x", cause=error("Error", -25308, "Unknown")), "locked"),
        (error("PasswordSetError", "Cancelled by user"), "denied"),
        (error("PasswordSetError", "Can't store"), "denied"),
        (error("error", 5, "CredRead", "Access denied", winerror=5), "denied"),
        (error("error", 1312, "CredRead", "No session", winerror=1312), "absent"),
        (
            error("DBusErrorResponse", "x", name="org.freedesktop.DBus.Error.AccessDenied"),
            "denied",
        ),
        (error("SecretServiceNotAvailableException", "gone"), "absent"),
        (error("RuntimeError"), "absent"),
    ],
)
def test_errors_of_the_systems_are_told_apart(raised, trouble):
    fault = fault_of(raised)
    assert fault.trouble == trouble
    assert fault.code == f"keyring_{trouble}"
    assert fault.message


# Calls with a limit


async def test_a_key_is_made_only_where_none_of_those_asked_for_is_there():
    keyring = MemoryKeyring()
    keychain = Keychain(keyring, 5.0)
    assert (await keychain.fetch(("f" * 16,), make=False)).keys == {}
    made = await keychain.fetch((), make=True)
    assert list(made.keys) == [made.made] == [key_id(made.keys[made.made])]
    again = await keychain.fetch(("f" * 16, made.made), make=True)
    assert (again.keys, again.made) == (made.keys, "")


async def test_a_keyring_that_does_not_keep_what_it_is_given_is_refused():
    class Forgetful(MemoryKeyring):
        def write(self, entry, secret):
            """Keep nothing."""

    with pytest.raises(KeyringFault) as caught:
        await Keychain(Forgetful(), 5.0).fetch((), make=True)
    assert caught.value.trouble == "denied"


async def test_another_question_waits_for_the_answer_to_the_first():
    keyring = HangingKeyring()
    keychain = Keychain(keyring, 0.01)
    for _ in range(2):
        with pytest.raises(KeyringFault, match="has not answered"):
            await keychain.fetch(("a" * 16,), make=False)
    assert len(keyring.calls) == 1
    keyring.go.set()
    assert await keychain.answer()
    assert (await keychain.fetch((), make=True)).made
    assert not await keychain.answer()


async def test_an_old_failure_is_not_the_answer_to_a_new_question():
    keyring = HangingKeyring()
    keychain = Keychain(keyring, 0.01)
    with pytest.raises(KeyringFault):
        await keychain.fetch((), make=True)
    keyring.trouble = "locked"
    keyring.go.set()
    await keychain.answer()
    keyring.trouble = None
    assert (await keychain.fetch((), make=True)).made


async def test_a_failure_on_a_thread_reaches_whoever_waits():
    def fail():
        raise ValueError("as told")

    with pytest.raises(ValueError, match="as told"):
        await in_thread(fail, "failing")
    abandoned = in_thread(lambda: 1, "abandoned")
    abandoned.cancel()
    assert await in_thread(lambda: 2, "next") == 2
    await asyncio.wait({abandoned})
    assert abandoned.cancelled()
