import json
import os
import sys
import threading
from pathlib import Path

import pytest

from app.clients import AGENTS
from app.clients.agent import Address, Machine, Models
from app.clients.trial import (
    DEMO_MODEL,
    Ran,
    Request,
    demo_models,
    judge,
    run_trial,
    trial_environment,
    try_agent,
)
from app.errors import AppError, RequestError

ADDRESS = Address("http://127.0.0.1:9")
CLAUDE = AGENTS["claude"]
TESTABLE = [name for name, agent in AGENTS.items() if agent.trial is not None]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="stands in for agents with a script")


@pytest.fixture
def user(tmp_path):
    """A user's home, whose files must stay as they are."""
    home = tmp_path / "user"
    (home / ".claude").mkdir(parents=True)
    (home / ".claude" / "settings.json").write_text("{}")
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "CLAUDE_CONFIG_DIR": str(home / "x")}
    return Machine("linux", home, env, tmp_path / "data")


@pytest.fixture
def program(tmp_path):
    """Make a program of some lines of Python."""

    def make(text):
        file = tmp_path / "agent"
        file.write_text(f"#!{sys.executable} -I\nimport json, os, sys\n{text}\n")
        file.chmod(0o755)
        return file

    return make


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_agent_is_asked_in_an_empty_home_that_is_connected(user, program):
    asked = program(
        "home = os.environ['HOME']\n"
        "env = json.load(open(home + '/.claude/settings.json'))['env']\n"
        "told = [env['ANTHROPIC_BASE_URL'], env['ANTHROPIC_MODEL']]\n"
        "print(json.dumps([sys.argv[1:], told, os.getcwd(), home, os.listdir()]))\n"
        "open('made here', 'w').close()\n"
        "open(home + '/made there', 'w').close()"
    )
    before = contents(user.home)
    ran = run_trial(CLAUDE, asked, user, ADDRESS, Models({"main": "m"}), prompt="Say it")
    assert ran.code == 0, ran
    words, told, cwd, home, files = json.loads(ran.out)
    assert words[:2] == ["-p", "Say it"]
    assert told == [ADDRESS.url, "m"]
    assert (cwd, files) == (f"{home}/work", [])
    assert home != str(user.home)
    assert not Path(home).exists()
    assert contents(user.home) == before
    assert not Path(user.data).exists()


@pytest.mark.parametrize("name", TESTABLE)
def test_every_agent_that_can_be_asked_is_given_the_question(user, program, name):
    agent = AGENTS[name]
    told = program("print(' '.join(sys.argv[1:])); print(sorted(os.environ), file=sys.stderr)")
    ran = run_trial(agent, told, user, ADDRESS, demo_models(agent, Models()), prompt="one two")
    assert ran.code == 0, ran
    assert "one two" in ran.out
    assert "CLAUDE_CONFIG_DIR" not in ran.err
    assert not any(word.startswith("dg-") for word in ran.out.split())


def test_an_agent_that_reads_no_file_gets_its_variables(user, program):
    told = program("print(os.environ['COPILOT_PROVIDER_BASE_URL'], os.environ['COPILOT_MODEL'])")
    agent = AGENTS["copilot"]
    ran = run_trial(agent, told, user, ADDRESS, demo_models(agent, Models()))
    assert ran.out == f"{ADDRESS.v1} {DEMO_MODEL}"


def test_an_agent_that_does_not_end_is_ended(user, program):
    ran = run_trial(
        CLAUDE, program("import time; time.sleep(600)"), user, ADDRESS, Models(), limit_s=1
    )
    assert ran.code is None
    assert ran.seconds >= 1


def test_what_an_agent_has_started_ends_with_it(user, program, tmp_path):
    mark, stop = tmp_path / "pid", threading.Event()
    told = program(
        "import subprocess, time\n"
        "child = subprocess.Popen([sys.executable, '-I', '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(mark)!r} + 'x', 'w').write(str(child.pid))\n"
        f"os.rename({str(mark)!r} + 'x', {str(mark)!r})\n"
        "time.sleep(600)"
    )

    def watch():
        while not mark.exists() and not stop.wait(0.02):
            pass
        stop.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        ran = run_trial(CLAUDE, told, user, ADDRESS, Models(), stop=stop)
    finally:
        stop.set()
        watcher.join()
    assert ran.code is None, ran
    assert has_ended(mark.read_text())


def has_ended(pid):
    """Say whether a process is gone, or only waits to be looked at by its parent."""
    state = Path(f"/proc/{pid}/stat")
    for _ in range(400):
        try:
            if state.read_text().split()[2] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        threading.Event().wait(0.02)  # a killed process takes a moment to go
    return False


def test_what_an_agent_leaves_running_does_not_hold_it_up(user, program):
    told = program(
        "import subprocess\n"
        "child = subprocess.Popen([sys.executable, '-I', '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid)"
    )
    ran = run_trial(CLAUDE, told, user, ADDRESS, Models())
    assert ran.code == 0
    assert has_ended(ran.out)


def test_a_trial_is_ended_when_somebody_says_stop(user, program):
    stop = threading.Event()
    stop.set()
    asleep = program("import time; time.sleep(600)")
    assert run_trial(CLAUDE, asleep, user, ADDRESS, Models(), stop=stop).code is None


def test_colours_and_secrets_are_left_out(user, program):
    told = program("print('\\x1b[31mred\\x1b[0m sk-ant-1234567890 \\x1b]0;title\\x07end')")
    assert run_trial(CLAUDE, told, user, ADDRESS, Models()).out == "red *** end"


def test_what_cannot_be_asked_says_so(user, program):
    with pytest.raises(RequestError) as caught:
        run_trial(AGENTS["zed"], program(""), user, ADDRESS, Models({"main": "m"}))
    assert caught.value.code == "not_testable"


def test_a_program_that_cannot_start_is_an_error(user, tmp_path):
    with pytest.raises(AppError) as caught:
        run_trial(CLAUDE, tmp_path / "gone", user, ADDRESS, Models())
    assert caught.value.code == "trial_failed"


def test_a_model_that_is_needed_is_asked_for(user, program):
    with pytest.raises(RequestError) as caught:
        run_trial(AGENTS["aider"], program(""), user, ADDRESS, Models())
    assert caught.value.code == "model_needed"


def test_switchers_of_versions_find_their_folder(tmp_path):
    (tmp_path / ".volta").mkdir()
    name = "USERPROFILE" if sys.platform == "win32" else "HOME"
    env = trial_environment(CLAUDE, {name: str(tmp_path), "SECRET": "x"}, tmp_path / "h")
    assert env["VOLTA_HOME"] == str(tmp_path / ".volta")
    assert "SECRET" not in env
    assert "PYENV_ROOT" not in env


OK = (Request(200, "anthropic"),)
REFUSED = (Request(502, "anthropic", "upstream_failed"),)


@pytest.mark.parametrize(
    ("ran", "requests", "verdict", "words"),
    [
        (Ran(0, 1.0, "ready", ""), OK, "ok", "answered after 1.0 s: ready Dragoman saw 1 request"),
        (Ran(0, 1.0, "ready", ""), None, "ok", "is not known"),
        (Ran(0, 1.0, "ready", ""), (), "failed", "sent nothing to Dragoman"),
        (Ran(0, 1.0, "", ""), OK, "failed", "printed nothing"),
        (Ran(0, 1.0, "sorry", ""), REFUSED, "failed", "no request of it was answered"),
        (Ran(1, 1.0, "", "no key"), OK, "failed", "exit code 1 after 1.0 s"),
        (Ran(1, 1.0, "", "no key"), OK, "failed", "It said: no key"),
        (Ran(None, 9.0, "", ""), OK, "failed", "did not end within 9 s"),
        (Ran(None, 9.0, "", ""), (), "failed", "Nothing of it reached Dragoman"),
        (Ran(0, 1.0, "x" * 900, ""), OK * 9, "ok", "200, …)"),
    ],
)
def test_what_a_run_means(ran, requests, verdict, words):
    found = judge(CLAUDE, "m", ran, requests, 9.0)
    assert (found.verdict, found.model) == (verdict, "m")
    assert words in found.text
    assert len(found.text) < 1_000


class Ledger:
    """Says what it is told to, one answer after another."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.waits = []

    def ask(self, since):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def wait(self, seconds):
        self.waits.append(seconds)


def row(asked, status=200, at=1.0):
    return {"at": at, "asked": asked, "status": status, "dialect": "anthropic", "error": ""}


def tried(user, program, ledger):
    return try_agent(
        CLAUDE,
        program("print('ready')"),
        user,
        ADDRESS,
        Models({"main": "m"}),
        ledger.ask,
        wait=ledger.wait,
    )


def test_what_reached_dragoman_is_told_once_it_is_written(user, program):
    rows = [row("other"), row("m", 200, 2.0), row("m", 429, 1.0)]
    found = tried(user, program, Ledger([], [], rows))
    assert found.verdict == "ok"
    assert [request.status for request in found.requests] == [429, 200]


def test_nothing_that_comes_is_a_failure_after_a_while(user, program):
    ledger = Ledger([row("other")])
    found = tried(user, program, ledger)
    assert (found.verdict, found.requests) == ("failed", ())
    assert sum(ledger.waits) == pytest.approx(3.0)


def test_a_ledger_that_cannot_be_asked_is_no_failure_of_the_agent(user, program):
    assert tried(user, program, Ledger(None)).verdict == "ok"
