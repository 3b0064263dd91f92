import io
import os
import pty
import sys
import tty

import msgspec
import pytest

LOOK = "GET /admin/imports"
TAKE = "POST /admin/imports"
SHARED = "Codex keeps this sign-in, too."


def found(key="codex", **more):
    return {
        "key": key,
        "program": "Codex",
        "path": "/home/u/.codex/auth.json",
        "provider": "codex",
        "title": "Codex",
        "what": "ChatGPT sign-in",
        "name": "ada@example.org",
        "plan": "plus",
        "organization": "",
        "can_be_taken": True,
        "refusal": "",
        "warning": SHARED,
        "notice": "",
        "consent": None,
    } | more


GOOGLE = found(
    "gemini-cli",
    program="Gemini CLI",
    what="Google sign-in",
    can_be_taken=False,
    refusal="It cannot be used here.",
    warning="",
)
CLAUDE = found("claude-code", provider="claude", warning="", consent="2026-02-19")
TAKEN = (201, {"account": {"id": "codex/codex-1"}, "repaired": False, "warning": SHARED})


@pytest.fixture(autouse=True)
def nobody_there(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))


@pytest.fixture
def keyboard(monkeypatch):
    """Somebody at a terminal; call it with what they type."""
    master, slave = pty.openpty()
    tty.setcbreak(slave)
    stream = os.fdopen(slave, "r")
    monkeypatch.setattr(sys, "stdin", stream)
    yield lambda text: os.write(master, text.encode())
    stream.close()
    os.close(master)


def wanted(fake):
    return [msgspec.json.decode(b) for m, p, _, b in fake.asked if f"{m} {p}" == TAKE]


def test_listing_takes_nothing_and_says_what_each_would_mean(dragoman, fake):
    fake.answers[LOOK] = {
        "found": [found(), GOOGLE],
        "problems": [{"path": "/home/u/.cto/credentials", "reason": "it is too large"}],
    }
    code, out, err = dragoman("login", "--import")
    assert code == 0
    row, google = (line for line in out.splitlines() if "/auth.json" in line)
    assert row.split()[0] == "codex"
    assert "ada@example.org, plus" in row
    assert google.split()[0] == "-"
    assert f"codex: {SHARED}" in out
    assert "Gemini CLI, Google sign-in: It cannot be used here." in out
    assert "/home/u/.cto/credentials could not be read: it is too large." in err
    assert "Nothing was taken." in err
    assert wanted(fake) == []


def test_nothing_found_is_told(dragoman, fake):
    fake.answers[LOOK] = {"found": [], "problems": []}
    code, out, err = dragoman("login", "--import")
    assert (code, out) == (0, "")
    assert "No other program" in err
    assert "Nothing was taken" not in err


def test_listing_as_json_is_the_instances_answer(dragoman, fake):
    fake.answers[LOOK] = {"found": [found()], "problems": []}
    out = dragoman("login", "--import", "--json").out
    assert msgspec.json.decode(out) == fake.answers[LOOK]


def test_what_is_named_is_taken_after_its_warning(dragoman, fake):
    fake.answers[LOOK] = {"found": [found(), CLAUDE], "problems": []}
    fake.answers[TAKE] = TAKEN
    code, out, err = dragoman("login", "--import", "codex", "--label", "work")
    assert (code, err) == (0, "")
    assert out == f"{SHARED}\nSigned in: codex/codex-1.\n"
    assert wanted(fake) == [{"key": "codex", "label": "work", "consent": ""}]


def test_several_are_taken_one_by_one(dragoman, fake):
    fake.answers[LOOK] = {"found": [found(), found("opencode:openai")], "problems": []}
    fake.answers[TAKE] = TAKEN
    out = dragoman("login", "--import", "codex", "opencode:openai", "--json").out
    assert [one["key"] for one in wanted(fake)] == ["codex", "opencode:openai"]
    assert len(msgspec.json.decode(out)["taken"]) == 2


def test_label_for_several_is_refused_before_anything_is_taken(dragoman, fake):
    code, _, err = dragoman("login", "--import", "a", "b", "--label", "x")
    assert (code, "one account" in err) == (1, True)
    assert fake.asked == []


def test_folder_of_cliproxyapi_is_named_in_full(dragoman, fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = str(tmp_path / "auths").replace("/", "%2F")
    fake.answers[f"GET /admin/imports?from={path}"] = {"found": [found("x")], "problems": []}
    fake.answers[TAKE] = TAKEN
    assert "--from" in dragoman("login", "--from", "auths").err
    assert dragoman("login", "--from", "auths", "--import", "x").code == 0
    assert wanted(fake)[0]["from"] == str(tmp_path / "auths")


def consent_needed(fake):
    fake.answers[LOOK] = {"found": [CLAUDE], "problems": []}
    text = {"version": "2026-02-19", "text": "The terms say no.", "instead": "Use a key."}
    fake.answers["GET /admin/accounts"] = {"providers": [{"id": "claude", "consent": text}]}
    refusal = (409, {"error": {"message": "Agree first.", "code": "consent_required"}})
    fake.answers[TAKE] = lambda body: TAKEN if body["consent"] else refusal


def test_terms_are_shown_and_agreed_to_first(dragoman, fake, keyboard):
    consent_needed(fake)
    keyboard("yes\n")
    code, out, _ = dragoman("login", "--import", "claude-code")
    assert (code, "The terms say no." in out) == (0, True)
    assert [one["consent"] for one in wanted(fake)] == ["", "2026-02-19"]


def test_terms_that_nobody_agreed_to_take_nothing(dragoman, fake):
    consent_needed(fake)
    code, out, err = dragoman("login", "--import", "claude-code")
    assert (code, "The terms say no." in out) == (1, True)
    assert "--agree 2026-02-19" in err
    assert dragoman("login", "--import", "claude-code", "--agree", "2026-02-19").code == 0


def test_person_at_the_keyboard_may_think_better_of_it(dragoman, fake, keyboard):
    fake.answers[LOOK] = {"found": [found()], "problems": []}
    keyboard("n\n")
    code, _, err = dragoman("login", "--import", "codex")
    assert (code, "codex was not taken" in err) == (1, True)
    assert wanted(fake) == []


def test_unknown_key_is_the_instances_refusal(dragoman, fake):
    fake.answers[LOOK] = {"found": [], "problems": []}
    fake.answers[TAKE] = (404, {"error": {"message": "There is no sign-in 'x' to take."}})
    code, _, err = dragoman("login", "--import", "x")
    assert (code, "no sign-in 'x'" in err) == (1, True)


@pytest.mark.parametrize("words", [(), ("claude", "codex")])
def test_sign_in_names_one_service(dragoman, fake, words):
    assert dragoman("login", *words).code == 2
    assert fake.asked == []
