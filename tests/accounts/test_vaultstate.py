"""What the vault's states say."""

import pytest

from app.accounts import vaultstate
from app.accounts.keychain import KeyringFault
from app.accounts.vaultstate import VaultState, closed_by

STATES = [value for value in vars(vaultstate).values() if isinstance(value, VaultState)]


def test_every_state_is_there():
    assert {state.name for state in STATES} == {
        *("open", "passphrase", "memory_only", "locked", "absent", "slow", "denied", "wrong_key"),
    }


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.message)
def test_a_state_says_what_is_the_case_and_what_to_do(state):
    assert state.message.endswith(".")
    assert state.hint.endswith(".") or state.durable or state is vaultstate.NOT_OPENED
    assert state.durable <= state.usable


@pytest.mark.parametrize("trouble", ["absent", "locked", "slow", "denied"])
def test_a_fault_of_the_keyring_is_a_state_with_its_reason(trouble):
    state = closed_by(KeyringFault(trouble, "The store said so."))
    assert state.name == trouble
    assert "The store said so." in state.message
    assert state.hint
    assert not state.usable
