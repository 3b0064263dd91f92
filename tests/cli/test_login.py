import io
import os
import pty
import signal
import sys
import threading
import tty

import msgspec
import pytest

from app.cli.login import _has_screen, render_wait
from tests.cli.test_accounts import listing

CANARY = "canary-4f1d9a7e2b"
START = "POST /admin/accounts/web/oauth/start"
COMPLETE = "POST /admin/accounts/web/oauth/complete"
FLOW = "GET /admin/accounts/flows/f1"
BEGUN = {
    "flow": "f1",
    "url": "https://web.test/authorize?x=1",
    "account": "",
    "expires_in": 300,
    "provider": "web",
    "kind": "browser",
    "state": "waiting",
    "listening": True,
}
DONE = BEGUN | {
    "state": "done",
    "url": "",
    "account": "web/web-1",
    "name": "anna@example.org",
    "plan": "max",
}
CONSENT = {"version": "2026-02-19", "text": "The terms say no.", "instead": "Use a key."}


@pytest.fixture(autouse=True)
def nobody_there(monkeypatch):
    """No screen for a browser, and nobody at the keyboard."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))


@pytest.fixture
def keyboard(monkeypatch):
    """Somebody at a terminal; call it with what they type."""
    master, slave = pty.openpty()
    tty.setcbreak(slave)  # else what is typed before anybody asks is edited as lines
    stream = os.fdopen(slave, "r")
    monkeypatch.setattr(sys, "stdin", stream)
    yield lambda text: os.write(master, text.encode())
    stream.close()
    os.close(master)


def sent(fake, call=COMPLETE):
    return [
        msgspec.json.decode(body)
        for method, path, _, body in fake.asked
        if f"{method} {path}" == call
    ]


def test_browser_sign_in_shows_the_link_and_ends_with_name_and_plan(dragoman, fake):
    fake.answers[START] = (201, BEGUN)
    fake.answers[FLOW] = DONE
    code, out, err = dragoman("login", "web")
    assert (code, err) == (0, "")
    assert "https://web.test/authorize?x=1\n" in out
    assert out.endswith("Signed in: web/web-1 (anna@example.org, max).\n")
    (wanted,) = sent(fake, START)
    assert wanted == {
        "way": None,
        "label": None,
        "account": None,
        "host": "",
        "consent": "",
        "memory_only": False,
    }
    assert {call[2] for call in fake.asked} == {f"Bearer {fake.record.token}"}


def test_options_reach_the_instance(dragoman, fake):
    fake.answers[START] = (201, BEGUN)
    fake.answers[FLOW] = DONE | {"repaired": True, "name": "", "plan": ""}
    words = ("--way", "device", "--label", "work", "--account", "a", "--host", "h.test")
    _, out, _ = dragoman("login", "web", *words, "--agree", "d", "--memory-only", "--no-browser")
    assert out.endswith("Signed in again: web/web-1.\n")
    (wanted,) = sent(fake, START)
    assert list(wanted.values()) == ["device", "work", "a", "h.test", "d", True]


def test_browser_is_opened_where_there_is_a_screen(dragoman, fake, monkeypatch):
    import webbrowser

    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    monkeypatch.setenv("DISPLAY", ":9")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    monkeypatch.delenv("SSH_TTY", raising=False)
    fake.answers[START] = (201, BEGUN)
    fake.answers[FLOW] = DONE
    dragoman("login", "web")
    assert opened == [BEGUN["url"]]
    dragoman("login", "web", "--no-browser")
    assert len(opened) == 1
    monkeypatch.setattr(webbrowser, "open", lambda _url: False)
    assert "copy the link" in dragoman("login", "web").out


def test_device_code_is_shown(dragoman, fake):
    begun = BEGUN | {"kind": "device", "user_code": "AB-CD", "url": "https://web.test/device"}
    fake.answers[START] = (201, begun)
    fake.answers[FLOW] = DONE
    out = dragoman("login", "web", "--way", "device").out
    assert "Open https://web.test/device\nand type this code: AB-CD" in out


def test_busy_port_is_told(dragoman, fake):
    fake.answers[START] = (201, BEGUN | {"notice": "Port 1455 is used by node."})
    fake.answers[FLOW] = DONE
    assert "Port 1455 is used by node." in dragoman("login", "web").out


def test_code_is_pasted_and_not_shown(dragoman, fake, keyboard):
    fake.answers[START] = (201, BEGUN)
    looks = iter([BEGUN, BEGUN | {"state": "working"}])
    fake.answers[FLOW] = lambda _body: next(looks)
    tries = iter([(400, {"error": {"message": "No code in this.", "code": "c"}}), DONE])
    fake.answers[COMPLETE] = lambda _body: next(tries)
    keyboard(f"wrong\n{CANARY}#state\n")
    code, out, err = dragoman("login", "web")
    assert code == 0
    assert sent(fake) == [
        {"flow": "f1", "text": "wrong"},
        {"flow": "f1", "text": f"{CANARY}#state"},
    ]
    assert "No code in this." in err
    assert CANARY not in out + err


def test_sign_in_that_fails_is_a_failure(dragoman, fake):
    fake.answers[START] = (201, BEGUN)
    fake.answers[FLOW] = BEGUN | {"state": "failed", "error": "The service said no.", "code": "x"}
    code, out, err = dragoman("login", "web")
    assert code == 1
    assert "error: The service said no." in err
    assert "Signed in" not in out


def test_device_sign_in_that_failed_at_once_is_a_failure(dragoman, fake):
    fake.answers[START] = (201, BEGUN | {"kind": "device", "state": "failed", "error": "Down."})
    code, _, err = dragoman("login", "web")
    assert (code, "Down." in err) == (1, True)


def test_json_is_the_flow_alone(dragoman, fake):
    fake.answers[START] = (201, BEGUN)
    fake.answers[FLOW] = DONE
    code, out, err = dragoman("login", "web", "--json")
    assert (code, msgspec.json.decode(out)) == (0, DONE)
    assert BEGUN["url"] in err


# Keys

SECRET = BEGUN | {"kind": "secret", "url": "", "prompt": "API key"}


def test_key_is_piped_in(dragoman, fake, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{CANARY}-key\n"))
    fake.answers[START] = (201, SECRET)
    fake.answers[COMPLETE] = DONE
    code, out, err = dragoman("login", "web")
    assert code == 0
    assert sent(fake) == [{"flow": "f1", "secret": f"{CANARY}-key"}]
    assert CANARY not in out + err


def test_key_is_typed_hidden_and_again_after_a_slip(dragoman, fake, keyboard):
    fake.answers[START] = (201, SECRET)
    tries = iter([(400, {"error": {"message": "That is no key.", "code": "no_key"}}), DONE])
    fake.answers[COMPLETE] = lambda _body: next(tries)
    keyboard(f"{CANARY}-slip\n{CANARY}-key\n")
    code, out, err = dragoman("login", "web")
    assert code == 0
    assert [body["secret"] for body in sent(fake)] == [f"{CANARY}-slip", f"{CANARY}-key"]
    assert "That is no key." in err
    assert err.count("API key (nothing is shown") == 2
    assert CANARY not in out + err


def test_third_slip_ends_it(dragoman, fake, keyboard):
    fake.answers[START] = (201, SECRET)
    fake.answers[COMPLETE] = lambda body: (
        (200, SECRET) if body.get("cancel") else (400, {"error": {"message": "No key."}})
    )
    keyboard("a\nb\nc\nd\n")
    assert dragoman("login", "web").code == 1
    assert sent(fake)[-1] == {"flow": "f1", "cancel": True}
    assert len(sent(fake)) == 4


def test_nothing_typed_cancels(dragoman, fake, keyboard):
    fake.answers[START] = (201, SECRET)
    fake.answers[COMPLETE] = SECRET | {"state": "cancelled"}
    keyboard("\x04")
    code, _, err = dragoman("login", "web")
    assert (code, "cancelled" in err) == (1, True)
    assert sent(fake) == [{"flow": "f1", "cancel": True}]


# Agreement


def asks_for_consent(fake):
    def start(body):
        if body["consent"] == CONSENT["version"]:
            return 201, BEGUN
        return 409, {"error": {"message": "Agree first.", "code": "consent_required"}}

    fake.answers[START] = start
    fake.answers[FLOW] = DONE
    services = [{"id": "web", "consent": CONSENT}]
    fake.answers["GET /admin/accounts"] = listing(providers=services)


def test_text_is_shown_and_agreed_to(dragoman, fake, keyboard):
    asks_for_consent(fake)
    keyboard("yes\n")
    code, out, _ = dragoman("login", "web")
    assert code == 0
    assert out.index("The terms say no.") < out.index("Use a key.") < out.index("authorize")


def test_anything_else_than_yes_is_no(dragoman, fake, keyboard):
    asks_for_consent(fake)
    keyboard("y\n")
    code, out, err = dragoman("login", "web")
    assert (code, "Nothing was signed in to." in err) == (1, True)
    assert "authorize" not in out


def test_scripts_agree_by_the_date_of_the_text(dragoman, fake):
    asks_for_consent(fake)
    code, out, err = dragoman("login", "web")
    assert code == 1
    assert "The terms say no." in out
    assert "--agree 2026-02-19" in err
    assert dragoman("login", "web", "--agree", "2026-02-19").code == 0


# Another person


def aside(fake):
    other = BEGUN | {"state": "other_identity", "error": "You signed in as bob."}
    fake.answers[START] = (201, BEGUN)
    fake.answers[FLOW] = other
    fake.answers[COMPLETE] = lambda body: (
        DONE if body.get("confirm") else other | {"state": "cancelled"}
    )


def test_other_person_is_confirmed(dragoman, fake, keyboard):
    aside(fake)
    other = fake.answers[FLOW]
    # What is typed earlier would be taken for a code.
    fake.answers[FLOW] = lambda _body: keyboard("y\n") and other
    code, _, err = dragoman("login", "web", "--account", "web-1")
    assert (code, "You signed in as bob." in err) == (0, True)
    assert sent(fake) == [{"flow": "f1", "confirm": True}]


def test_other_person_is_refused_where_nobody_can_say_yes(dragoman, fake):
    aside(fake)
    assert dragoman("login", "web", "--account", "web-1").code == 1
    assert sent(fake) == [{"flow": "f1", "cancel": True}]


# The rest


@pytest.fixture
def interruptible():
    """Let Ctrl+C work: a run in the background of a shell inherits that it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupt_cancels(dragoman, fake):
    fake.answers[START] = (201, BEGUN)
    fake.answers[COMPLETE] = BEGUN | {"state": "cancelled"}

    def interrupt(_body):
        import _thread

        if threading.current_thread() is not threading.main_thread():
            _thread.interrupt_main()
        return BEGUN

    fake.answers[FLOW] = interrupt
    code, _, err = dragoman("login", "web")
    assert (code, "cancelled" in err) == (1, True)
    assert sent(fake) == [{"flow": "f1", "cancel": True}]


def test_without_an_instance_it_says_how_to_start(dragoman):
    code, _, err = dragoman("login", "web")
    assert code == 3
    assert "dragoman start" in err


def test_refusal_of_the_instance_is_told(dragoman, fake):
    fake.answers[START] = (404, {"error": {"message": "There is no sign-in to 'web'."}})
    code, _, err = dragoman("login", "web")
    assert (code, "There is no sign-in" in err) == (1, True)


@pytest.mark.parametrize(
    ("state", "left_s", "typed", "line"),
    [
        ("waiting", 299.6, None, "Waiting for you, 5:00 left."),
        ("waiting", 61, 0, "1:01 left. You can paste a code"),
        ("waiting", -5, 12, "0:00 left. Code: 12 characters"),
        ("working", 5, 0, "Finishing the sign-in …"),
    ],
)
def test_countdown_line(state, left_s, typed, line):
    assert line in render_wait({"state": state}, left_s, typed)


@pytest.mark.skipif(sys.platform != "linux", reason="the rule of this system")
def test_browser_is_for_people_in_front_of_the_machine():
    assert _has_screen({"DISPLAY": ":0"})
    assert _has_screen({"WAYLAND_DISPLAY": "wayland-0"})
    assert not _has_screen({})
    assert not _has_screen({"DISPLAY": ":10", "SSH_CONNECTION": "1 2 3 4"})
