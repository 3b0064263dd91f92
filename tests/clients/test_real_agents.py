"""Real agents, installed, connected by our command in an empty home, answering, disconnected.

The settings of the corpus are read by the agents themselves here: what they take without us they
must take while they are connected.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.clients import AGENTS
from tests.clients import agents as kinds
from tests.clients import (
    test_agent_aider,
    test_agent_claude,
    test_agent_codex,
    test_agent_gemini,
    test_agent_llm,
    test_agent_opencode,
)
from tests.clients.corpus import Bench, Sample
from tests.clients.installing import program
from tests.end_to_end.running import PUBLIC

pytestmark = pytest.mark.clients

ROOT = Path(__file__).parents[2]
KINDS = {
    "claude": kinds.ClaudeCode,
    "codex": kinds.Codex,
    "opencode": kinds.OpenCode,
    "gemini": kinds.GeminiCli,
    "aider": kinds.Aider,
    "llm": kinds.Llm,
    "copilot": kinds.Copilot,
}
MODELS = dict.fromkeys(KINDS, PUBLIC["anthropic"]) | {
    # asks for what only newer models of Anthropic take from every name that it does not know
    "claude": PUBLIC["openai_responses"],
}
TEXT = "Good morning from the far side"
DEMO = "Dragoman's demo understood"
LIMIT_S = 120


class Home:
    """A home with one agent on PATH, beside a running Dragoman."""

    def __init__(self, folder, name, address, data):
        self.folder = folder
        self.name = name
        self.agent = AGENTS[name]
        self.program = program(KINDS[name])
        self.work = folder / "work"
        self.work.mkdir(parents=True)
        self.env = {
            key: os.environ[key] for key in ("LANG", "SYSTEMROOT", "TMPDIR") if key in os.environ
        }
        self.env |= {
            "PATH": f"{Path(self.program).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "USERPROFILE": str(folder),
            "PYTHONPATH": str(ROOT),
            "NO_PROXY": "127.0.0.1,localhost",
            "DRAGOMAN_HOME": str(data),
        }
        self.address = address

    def dragoman(self, *words):
        """Run our command in this home."""
        return self._run([sys.executable, "-P", "-m", "app", *words], self.env, ROOT)

    def ask(self, prompt, env=None):
        """Ask the agent as a person would, in its working folder."""
        words = self.agent.trial.arguments(prompt)
        quiet = dict(self.agent.trial.environment)
        own = {k: v for k, v in self.env.items() if not k.startswith(("DRAGOMAN", "PYTHONPATH"))}
        return self._run([self.program, *words], own | quiet | (env or {}), self.work)

    def run(self, *words):
        own = {k: v for k, v in self.env.items() if not k.startswith(("DRAGOMAN", "PYTHONPATH"))}
        return self._run([self.program, *words], own, self.work)

    @staticmethod
    def _run(command, env, cwd):
        return subprocess.run(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=LIMIT_S,
            check=False,
        )

    def settings(self):
        """Return what stands in the files that connecting is about."""
        places = [p for p in self.folder.rglob("*") if p.is_file() and self.work not in p.parents]
        return {p: p.read_bytes() for p in places}

    def shell(self):
        """Return the variables that the shell integration would set from connected agents."""
        file = Path(self.env["DRAGOMAN_HOME"]) / "data" / "agents" / "env" / f"{self.name}.env"
        if not file.exists():
            return {}
        lines = (line.partition("=") for line in file.read_text().splitlines() if "=" in line)
        return {name: value.strip("'\"") for name, _, value in lines}


@pytest.fixture
def home(stage, tmp_path):
    def make(name):
        port = int(stage.address.rpartition(":")[2])
        assert port
        return Home(tmp_path / "user", name, stage.address, tmp_path / "dragoman")

    return make


@pytest.mark.parametrize("name", KINDS)
def test_an_agent_in_an_empty_home_is_connected_answers_and_is_disconnected(home, stage, name):
    there = home(name)
    before = there.settings()
    done = there.dragoman("connect", name, "--model", MODELS[name], "--yes")
    assert done.returncode == 0, done.stderr
    connected = there.settings()
    ran = there.ask(f"FAKE:text={TEXT};", there.shell())
    assert ran.returncode == 0, (ran.stdout, ran.stderr)
    assert TEXT in ran.stdout
    assert stage.posts, "the upstream was asked"
    assert stage.refused == []
    status = json.loads(there.dragoman("status", "--json").stdout)
    (agent,) = status["agents"]
    assert {file["state"] for file in agent["files"]} <= {"written", "edited"}, agent
    done = there.dragoman("disconnect", name, "--yes")
    assert done.returncode == 0, done.stderr
    left = there.settings()
    for path in connected.keys() - before.keys():
        if path in left:  # the agent put something of its own into the file meanwhile
            assert b"dragoman" not in left[path].lower(), path
    assert json.loads(there.dragoman("status", "--json").stdout)["agents"] == []


@pytest.mark.parametrize("name", KINDS)
def test_our_test_asks_the_demo_and_the_chosen_model_and_changes_nothing(home, stage, name):
    there = home(name)
    assert there.dragoman("connect", name, "--model", MODELS[name], "--yes").returncode == 0
    before = there.settings()
    done = there.dragoman("test", name, "--json")
    (found,) = json.loads(done.stdout)["agents"]
    assert [f["verdict"] for f in found["findings"]] == ["ok", "ok"], found
    assert [f["model"] for f in found["findings"]] == ["demo-chat", MODELS[name]]
    assert DEMO in found["findings"][0]["answer"]
    for finding in found["findings"]:
        assert {request["status"] for request in finding["requests"]} == {200}
    assert there.settings() == before
    assert list(there.work.iterdir()) == []


# What the agents' own parsers make of the corpus


def forms(samples, *, every, mark=True):
    """Return an agent's samples as they are, and the first, or each, in its other forms."""
    found = []
    for number, (name, text) in enumerate(samples.items()):
        content = text.encode()
        found.append(pytest.param(Sample(content), id=name))
        if every or not number:
            windows = Sample(content.replace(b"\n", b"\r\n"))
            found.append(pytest.param(windows, id=f"{name}-crlf"))
            if mark:
                found.append(pytest.param(Sample(b"\xef\xbb\xbf" + content), id=f"{name}-mark"))
        if not number:
            found.append(pytest.param(Sample(content, "read-only"), id=f"{name}-read-only"))
            found.append(pytest.param(Sample(content, "link"), id=f"{name}-link"))
    found.append(pytest.param(Sample(b""), id="empty"))
    return found


def in_corpus(home, name, path, sample):
    """Connect an agent over a sample; returns the home, what stood there, and whether it is taken."""
    there = home(name)
    bench = Bench(there.folder.parent)
    bench.home = there.folder
    before = bench.place(path, sample)[:3]
    return there, bench, before


def undone(there, bench, path, before):
    assert there.dragoman("disconnect", there.name, "--yes").returncode == 0
    assert bench.seen(path)[:3] == before


@pytest.mark.parametrize("sample", forms(test_agent_claude.SAMPLES, every=True))
def test_claude_code_reads_its_settings_while_connected(home, sample):
    there, bench, before = in_corpus(home, "claude", test_agent_claude.PATH, sample)
    done = there.dragoman("connect", "claude", "--model", "demo-chat", "--yes")
    assert done.returncode == 0, done.stderr
    ran = there.ask("Say it")
    assert DEMO in ran.stdout, ran
    undone(there, bench, test_agent_claude.PATH, before)


@pytest.mark.parametrize("sample", forms(test_agent_codex.SAMPLES, every=True))
def test_codex_reads_its_settings_while_connected(home, sample):
    there, bench, before = in_corpus(home, "codex", test_agent_codex.PATH, sample)
    first = there.run("features", "list")
    done = there.dragoman("connect", "codex", "--model", "demo-chat", "--yes")
    assert done.returncode == 0, done.stderr
    then = there.run("features", "list")
    assert (then.returncode, then.stdout) == (first.returncode, first.stdout), then.stderr
    undone(there, bench, test_agent_codex.PATH, before)


@pytest.mark.parametrize("sample", forms(test_agent_llm.SAMPLES, every=True))
def test_llm_reads_its_models_while_connected(home, sample):
    if not sample.content.strip():
        pytest.skip("llm itself fails on an empty file")
    there, bench, before = in_corpus(home, "llm", test_agent_llm.PATH, sample)
    done = there.dragoman("connect", "llm", "--model", "demo-chat", "--yes")
    assert done.returncode == 0, done.stderr
    ran = there.ask("Say it")
    assert DEMO in ran.stdout, ran
    undone(there, bench, test_agent_llm.PATH, before)


@pytest.mark.parametrize("sample", forms(test_agent_opencode.SAMPLES, every=False))
def test_opencode_reads_its_settings_while_connected(home, sample):
    there, bench, before = in_corpus(home, "opencode", test_agent_opencode.PATH, sample)
    done = there.dragoman("connect", "opencode", "--model", "demo-chat", "--yes")
    assert done.returncode == 0, done.stderr
    ran = there.run("debug", "config")
    assert ran.returncode == 0, ran
    shown = json.loads(ran.stdout)
    assert shown["model"] == "dragoman/demo-chat"
    assert "dragoman" in shown["provider"]
    undone(there, bench, test_agent_opencode.PATH, before)


@pytest.mark.parametrize(
    "sample", forms(test_agent_gemini.SETTINGS_SAMPLES, every=False, mark=False)
)
def test_gemini_cli_reads_its_settings_while_connected(home, sample):
    there, bench, before = in_corpus(home, "gemini", test_agent_gemini.SETTINGS, sample)
    done = there.dragoman("connect", "gemini", "--model", "demo-chat", "--yes")
    assert done.returncode == 0, done.stderr
    ran = there.ask("Say it")
    assert DEMO in ran.stdout, ran
    undone(there, bench, test_agent_gemini.SETTINGS, before)


@pytest.mark.parametrize("sample", forms(test_agent_aider.SAMPLES, every=False))
def test_aider_reads_its_settings_while_connected(home, sample):
    there, bench, before = in_corpus(home, "aider", test_agent_aider.PATH, sample)
    done = there.dragoman("connect", "aider", "--model", "demo-chat", "--yes")
    assert done.returncode == 0, done.stderr
    ran = there.ask("Say it")
    assert DEMO in ran.stdout, ran
    undone(there, bench, test_agent_aider.PATH, before)
