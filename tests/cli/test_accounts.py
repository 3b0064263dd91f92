import re
import time

import msgspec
import pytest

from app.cli.accounts import choose

NOBODY = {
    "configured": False,
    "reason": "",
    "until": None,
    "since": None,
    "resting": [],
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
            since=time.time() - 300,
            name="anna@example.org",
        ),
        account("web/web-1", warning="It could not be renewed: gone."),
    )
    code, out, _ = dragoman("accounts")
    assert code == 0
    head, *rows = out.splitlines()
    assert head.split() == ["ACCOUNT", "PLAN", "STATE", "SINCE", "AGAIN", "RENEWED", "REASON"]
    assert "claude/claude-1 (primary)" in rows[0]
    assert re.search(r"2 h (\d+ \w+ )?ago", rows[0])
    assert "5-hour window used up" in rows[1]
    assert "in 1 h" in rows[1]
    assert re.search(r"5 min (\d+ s )?ago", rows[1])
    assert "It could not be renewed: gone." in rows[2]
    assert fake.asked[-1][2] == f"Bearer {fake.record.token}"


def test_models_that_rest_are_told_although_the_account_serves_others(dragoman, fake):
    until = time.time() + 3_630
    rests = [
        {"model": f"m{n}", "reason": "limit used up", "until": until, "since": None}
        for n in range(5)
    ]
    fake.answers["GET /admin/accounts"] = listing(
        account("a/b", resting=rests), account("a/c", resting=[rests[0] | {"until": None}])
    )
    _, first, second = dragoman("accounts").out.splitlines()
    assert "m0: limit used up, again in 1 h" in first
    assert "2 more models rest." in first
    assert "m3" not in first
    assert second.endswith("m0: limit used up.")


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


@pytest.mark.parametrize(
    ("words", "sent", "said"),
    [
        (("pause", "work"), {}, "codex/work is paused"),
        (("resume", "codex/work"), {}, "codex/work is used again"),
        (("primary", "work"), {}, "codex/work is asked first"),
        (("refresh", "work"), {}, "codex/work is renewed"),
        (("order", "work", "2"), {"order": 2}, "codex/work has place 2 now"),
        (("rename", "work", "office"), {"label": "office"}, "called codex/work now"),
    ],
)
def test_one_account_is_changed_by_its_name(dragoman, fake, words, sent, said):
    fake.answers["GET /admin/accounts"] = listing(account("codex/work"), account("codex/home"))
    path = f"POST /admin/accounts/codex%2Fwork/{words[0]}"
    fake.answers[path] = {"account": account("codex/work")}
    code, out, _ = dragoman("accounts", *words)
    assert code == 0
    assert said in out
    method, asked, _, body = fake.asked[-1]
    assert f"{method} {asked}" == path
    assert msgspec.json.decode(body or b"{}") == sent


@pytest.mark.parametrize("action", ["pause", "resume", "primary", "refresh"])
def test_nothing_is_changed_where_several_may_be_meant(dragoman, fake, action):
    fake.answers["GET /admin/accounts"] = listing(account("codex/work"), account("codex/home"))
    code, _, err = dragoman("accounts", action, "codex")
    assert code == 1
    assert "codex/work, codex/home" in err
    assert [asked[0] for asked in fake.asked] == ["GET"]


def test_changing_without_an_instance_says_how_to_start(dragoman):
    code, _, err = dragoman("accounts", "pause", "work")
    assert code == 3
    assert "dragoman start" in err


def test_account_of_the_settings_is_meant_only_where_nothing_else_is(dragoman, fake):
    written, signed_in = account("codex/file", configured=True), account("codex/work")
    assert choose([written, signed_in], "codex") == "codex/work"
    assert choose([written], "codex") == "codex/file"


TERMS = {"version": "2026-02-19", "text": "Their apps only.", "instead": "Use a key."}


def strict(fake):
    fake.answers["GET /admin/accounts"] = listing(
        account("strict/s", "unusable"), providers=[{"id": "strict", "consent": TERMS}]
    )
    fake.answers["POST /admin/accounts/strict%2Fs/consent"] = {"account": account("strict/s")}


def test_terms_are_agreed_to_by_their_date(dragoman, fake):
    strict(fake)
    code, out, _ = dragoman("accounts", "agree", "s", "--agree", "2026-02-19")
    assert (code, out) == (0, "You have agreed to the terms of strict/s.\n")
    assert msgspec.json.decode(fake.asked[-1][3]) == {"version": "2026-02-19"}


def test_terms_that_nobody_is_there_to_read_are_shown_and_not_agreed_to(dragoman, fake):
    strict(fake)
    code, out, err = dragoman("accounts", "agree", "s")
    assert code == 1
    assert "Their apps only." in out
    assert "--agree 2026-02-19" in err
    assert all(asked[0] == "GET" for asked in fake.asked)


def test_account_without_terms_asks_for_no_agreement(dragoman, fake):
    fake.answers["GET /admin/accounts"] = listing(
        account("web/w"), providers=[{"id": "web", "consent": None}]
    )
    code, _, err = dragoman("accounts", "agree", "w")
    assert code == 1
    assert "web/w asks for no agreement." in err
