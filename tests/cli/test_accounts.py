import time

import msgspec

NOBODY = {
    "configured": False,
    "reason": "",
    "until": None,
    "name": "",
    "plan": "",
    "primary": False,
    "renewed_at": 0.0,
    "warning": "",
    "expires_at": None,
    "renewable": True,
}
OPEN = {"state": "open", "message": "Sign-ins are kept.", "hint": "", "since": 0.0}


def account(account_id, state="ready", **more):
    provider, label = account_id.split("/")
    told = {"id": account_id, "provider": provider, "label": label, "state": state}
    return NOBODY | told | more


def listing(*accounts, providers=(), vault=OPEN):
    return {"accounts": list(accounts), "providers": list(providers), "vault": vault}


def test_table_tells_how_each_account_is(dragoman, fake):
    fake.answers["GET /admin/accounts"] = listing(
        account("claude/claude-1", plan="max", primary=True, renewed_at=time.time() - 7_200),
        account(
            "codex/codex-1",
            "cooling",
            reason="5-hour window used up",
            until=time.time() + 3_630,
            name="anna@example.org",
        ),
        account("web/web-1", warning="It could not be renewed: gone."),
    )
    code, out, _ = dragoman("accounts")
    assert code == 0
    head, *rows = out.splitlines()
    assert head.split() == ["ACCOUNT", "PLAN", "STATE", "AGAIN", "RENEWED", "REASON"]
    assert "claude/claude-1 (primary)" in rows[0]
    assert "2 h ago" in rows[0]
    assert "5-hour window used up" in rows[1]
    assert "in 1 h" in rows[1]
    assert "It could not be renewed: gone." in rows[2]
    assert fake.asked[-1][2] == f"Bearer {fake.record.token}"


def test_e_mail_addresses_are_shown_on_request(dragoman, fake):
    fake.answers["GET /admin/accounts"] = listing(account("a/b", name="anna@example.org"))
    assert "anna@" not in dragoman("accounts").out
    assert "anna@example.org" in dragoman("accounts", "--who").out


def test_no_account_says_how_to_add_one(dragoman, fake):
    fake.answers["GET /admin/accounts"] = listing(providers=[{"id": "claude"}, {"id": "codex"}])
    code, out, err = dragoman("accounts")
    assert (code, out) == (0, "")
    assert "dragoman login PROVIDER" in err
    assert "claude, codex" in err


def test_vault_that_is_shut_is_told(dragoman, fake):
    shut = {"state": "locked", "message": "The keyring is locked.", "hint": "Unlock it."}
    fake.answers["GET /admin/accounts"] = listing(account("a/b", "unusable"), vault=shut)
    assert "The keyring is locked. Unlock it." in dragoman("accounts").out


def test_vault_that_nothing_is_in_is_not_spoken_of(dragoman, fake):
    shut = {"state": "locked", "message": "It has not been opened yet.", "hint": ""}
    fake.answers["GET /admin/accounts"] = listing(account("a/b", configured=True), vault=shut)
    assert "opened" not in dragoman("accounts").out


def test_json_is_what_the_instance_tells(dragoman, fake):
    told = listing(account("a/b"))
    fake.answers["GET /admin/accounts"] = told
    assert msgspec.json.decode(dragoman("accounts", "--json").out) == told


def test_without_an_instance_it_says_how_to_start(dragoman):
    code, _, err = dragoman("accounts")
    assert code == 3
    assert "dragoman start" in err
