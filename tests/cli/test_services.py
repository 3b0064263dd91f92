import pytest

from app.services.journal import Journal, log_file

CONSENT = {"version": "v1", "text": "It may bite.", "instead": "Nothing."}
ON = "POST /admin/services/webai/start"
ONE = "GET /admin/services/webai"


def view(**changes):
    return {
        "name": "webai",
        "title": "WebAI",
        "state": "off",
        "reason": "It is turned off.",
        "address": "http://127.0.0.1:8406",
        "outside": False,
        "on": False,
        "installed": "8.8.6",
        "pid": None,
        "since": None,
        "until": None,
        "restarts": 0,
        "memory_bytes": None,
        "answered": {},
        "agreed": False,
        "consented_at": None,
        "consent": CONSENT,
    } | changes


READY = view(state="ready", reason="", since=1.0, memory_bytes=64 * 1024 * 1024, agreed=True)


def test_without_an_instance_it_says_how_to_start_one(dragoman):
    for words in (("status",), ("install", "webai"), ("start", "webai"), ("stop", "webai")):
        code, _, err = dragoman("services", *words)
        assert code == 3
        assert "dragoman start" in err


def test_terms_are_shown_and_need_an_answer(dragoman, fake):
    fake.answers = {ONE: view(), ON: READY}
    code, _, err = dragoman("services", "start", "webai")
    assert code == 1
    assert "It may bite." in err
    assert "--agree v1" in err
    assert [method for method, *_ in fake.asked] == ["GET"]


def test_agreement_is_sent_on(dragoman, fake):
    fake.answers = {ONE: view(), ON: READY}
    code, out, _ = dragoman("services", "start", "webai", "--agree", "v1")
    assert code == 0
    assert "WebAI: ready." in out
    assert "64 MB of memory" in out
    assert fake.asked[-1][3] == b'{"consent":"v1"}'


def test_terms_that_were_agreed_to_are_not_asked_again(dragoman, fake):
    fake.answers = {ONE: view(agreed=True), ON: READY}
    assert dragoman("services", "start", "webai")[0] == 0
    assert fake.asked[-1][3] == b'{"consent":""}'


def test_start_is_watched_until_it_is_ready(dragoman, fake):
    states = iter([view(), READY])
    fake.answers = {ONE: lambda _: next(states), ON: view(state="starting", agreed=True)}
    code, out, _ = dragoman("services", "start", "webai", "--agree", "v1")
    assert code == 0
    assert "ready" in out


def test_start_that_fails_has_its_reason_and_exit_code(dragoman, fake):
    failed = view(state="failed", reason="It ended with exit code 7: no.", restarts=4)
    fake.answers = {ONE: view(agreed=True), ON: failed}
    code, out, _ = dragoman("services", "start", "webai")
    assert code == 1
    assert "It ended with exit code 7: no." in out
    assert "Started again 4 times." in out


def test_install_is_followed_to_its_end(dragoman, fake):
    steps = iter([view(state="installing", reason="Downloading", installed=""), view()])
    begun = view(state="installing", reason="", installed="")
    fake.answers = {"POST /admin/services/webai/install": begun, ONE: lambda _: next(steps)}
    code, out, err = dragoman("services", "install", "webai")
    assert code == 0
    assert "WebAI 8.8.6 is installed." in out
    assert "dragoman services start webai" in out
    assert "Downloading" in err


def test_install_that_fails_says_why(dragoman, fake):
    failed = view(state="not_installed", reason="Installing failed.", installed="")
    fake.answers = {"POST /admin/services/webai/install": failed}
    code, _, err = dragoman("services", "install", "webai")
    assert code == 1
    assert "Installing failed." in err
    assert "dragoman services logs webai" in err


def test_stop_says_so(dragoman, fake):
    fake.answers = {"POST /admin/services/webai/stop": view()}
    assert dragoman("services", "stop", "webai")[1] == "WebAI is off.\n"


def test_all_are_listed_with_memory_and_next_try(dragoman, fake):
    waiting = view(name="other", state="waiting", reason="It ended.", until=1e11)
    fake.answers = {"GET /admin/services": {"services": [READY, waiting]}}
    _, out, _ = dragoman("services", "status")
    assert "64 MB" in out
    assert "It ended." in out
    _, out, _ = dragoman("services", "status", "--json")
    assert '"memory_bytes"' in out


def test_one_is_shown_with_who_answered(dragoman, fake):
    fake.answers = {ONE: READY | {"answered": {"SomeSite": 3}}}
    _, out, _ = dragoman("services", "status", "webai")
    assert "Who answered: SomeSite 3." in out
    assert "on this machine only" in out
    fake.answers = {ONE: view(outside=True, until=1e11)}
    _, out, _ = dragoman("services", "status", "webai")
    assert "It is yours" in out
    assert "tried again in" in out
    assert '"title"' in dragoman("services", "status", "webai", "--json")[1]


def test_log_is_read_without_an_instance(dragoman, home):
    file = log_file(home, "webai")
    code, _, err = dragoman("services", "logs", "webai")
    assert code == 1
    assert "There is no log yet" in err
    Journal(file).write("one")
    Journal(file).write("two")
    assert dragoman("services", "logs", "webai", "-n", "1")[1].endswith(" two\n")


@pytest.mark.parametrize("name", ["../dragoman", "A", "a/b"])
def test_log_of_no_service_is_refused(dragoman, name):
    code, _, err = dragoman("services", "logs", name)
    assert code == 1
    assert "There is no service" in err
