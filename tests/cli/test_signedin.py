import time

import pytest

from app.cli.client import Client
from app.cli.signedin import check_commands, check_sign_ins
from app.configtext import load
from tests.cli.test_accounts import OPEN, account, listing

DAY = 86_400.0
SHUT = OPEN | {"state": "locked", "message": "The keyring is locked.", "hint": "Unlock it."}


def checks(fake, answer, sleep=None):
    fake.answers["GET /admin/accounts"] = answer
    found = check_sign_ins(Client(fake.port), sleep=sleep or pytest.fail)
    return {check.name: check for check in found}


def test_without_a_sign_in_nothing_is_asked_of_the_vault(fake):
    configured = account("openai/openai-1", configured=True)
    assert checks(fake, listing(configured, vault=SHUT)) == {}


def test_good_vault_and_sign_ins_are_one_line(fake):
    found = checks(fake, listing(account("claude/a"), account("codex/b"), vault=OPEN | SINCE))
    (vault,) = found.values()
    assert (vault.name, vault.verdict) == ("vault", "ok")
    assert vault.text.endswith("There are 2.")


SINCE = {"since": 1.0}


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        ("locked", "failed"),
        ("absent", "failed"),
        ("wrong_key", "failed"),
        ("memory_only", "warning"),
    ],
)
def test_vault_that_cannot_keep_is_told_with_what_to_do(fake, state, verdict):
    vault = SHUT | SINCE | {"state": state}
    check = checks(fake, listing(account("claude/a"), vault=vault))["vault"]
    assert (check.verdict, check.text, check.hint) == (
        verdict,
        "The keyring is locked.",
        "Unlock it.",
    )


def test_keyring_that_was_just_asked_is_waited_for(fake):
    looks = iter([SHUT | {"since": 0.0}, SHUT | {"since": 0.0}, OPEN | SINCE])
    slept = []
    found = checks(
        fake, lambda _: listing(account("claude/a"), vault=next(looks)), sleep=slept.append
    )
    assert found["vault"].verdict == "ok"
    assert len(slept) == 2


@pytest.mark.parametrize(
    ("told", "verdict", "text"),
    [
        ({"warning": "It could not be renewed: gone."}, "warning", "could not be renewed: gone"),
        ({"expires_at": time.time() - 5, "renewable": False}, "failed", "has ended"),
        ({"expires_at": time.time() + 3 * DAY, "renewable": False}, "warning", "ends in"),
    ],
)
def test_sign_in_that_will_fail_is_told(fake, told, verdict, text):
    found = checks(fake, listing(account("claude/claude-2", **told), vault=OPEN | SINCE))
    check = found["sign-in claude/claude-2"]
    assert check.verdict == verdict
    assert text in check.text
    assert "dragoman login claude --account claude-2" in check.hint


@pytest.mark.parametrize(
    "told",
    [
        {"expires_at": time.time() + 60, "renewable": True},
        {"expires_at": time.time() + 60 * DAY, "renewable": False},
        {"expires_at": None, "renewable": False},
    ],
)
def test_sign_in_that_goes_on_is_not(fake, told):
    assert set(checks(fake, listing(account("claude/a", **told), vault=OPEN | SINCE))) == {"vault"}


def test_instance_that_does_not_tell_is_a_failure(fake):
    check = checks(fake, (500, {"error": {"message": "Broken."}}))["vault"]
    assert (check.verdict, check.text) == ("failed", "Broken.")


def test_program_that_is_not_there_is_told_and_none_is_run():
    config = load(
        """
        providers:
          openai:
            accounts:
              - {label: a, credential_command: [op, read, x]}
              - {label: b, credential_command: [/no/such, x]}
              - {label: c, credential_command: {command: ["no such | shell"], shell: true}}
              - {label: d, credential_command: [/no/such], enabled: false}
        """,
        "f",
        {},
    )
    (check,) = check_commands(config, lambda name: "/bin/op" if name == "op" else None)
    assert (check.name, check.verdict) == ("command openai/b", "failed")
    assert "/no/such" in check.text
