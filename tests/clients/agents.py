"""Command-line agents: how each is set up and run, in an empty home."""

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass

import pytest

_KEPT = ("PATH", "LANG", "SYSTEMROOT", "COMSPEC", "PATHEXT", "TEMP", "TMP")


@dataclass(frozen=True)
class Ran:
    """How a run ended."""

    code: int
    out: str
    err: str
    seconds: float

    def __str__(self):
        return f"exit {self.code} after {self.seconds:.1f} s\n{self.out}\n---\n{self.err}"


class Agent:
    """One installed agent, with a home and a working folder of its own."""

    registry = "npm"
    package = name = ""
    """What to install, and the program in it."""
    more = ()
    """Arguments that one test adds."""

    def __init__(self, program, home, address):
        self.program = program
        self.home = home
        self.work = home / "work"
        self.address = address
        self.work.mkdir(parents=True)

    def ask(self, model, prompt, timeout_s=120):
        """Run once with a prompt; an agent that takes longer is ended and fails the test."""
        env = {key: os.environ[key] for key in _KEPT if key in os.environ}
        home = str(self.home)
        env |= {"HOME": home, "USERPROFILE": home, "APPDATA": home, "LOCALAPPDATA": home}
        started = time.monotonic()
        running = subprocess.Popen(
            [self.program, *self.arguments(model, prompt)],
            cwd=self.work,
            env=env | self.environment(model),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        try:
            out, err = running.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            _end(running)
            out, err = running.communicate()
            pytest.fail(f"no end after {timeout_s} s\n{out[-3000:]}\n---\n{err[-3000:]}")
        return Ran(running.returncode, out, err, time.monotonic() - started)

    def arguments(self, model, prompt):
        raise NotImplementedError

    def environment(self, model):
        raise NotImplementedError


def _end(running):
    """End an agent with its children, which hold the pipes, too."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
    else:
        running.kill()


class ClaudeCode(Agent):
    package, name = "@anthropic-ai/claude-code", "claude"

    def arguments(self, model, prompt):
        # bypassPermissions is refused to root
        allowed = ["--permission-mode", "acceptEdits", "--allowedTools", "Write,Bash"]
        shown = ["--output-format", "stream-json", "--verbose"]
        return ["-p", prompt, "--model", model, *shown, *allowed]

    def environment(self, model):
        return {
            "ANTHROPIC_BASE_URL": self.address,
            "ANTHROPIC_AUTH_TOKEN": "local",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        }

    @staticmethod
    def result(ran):
        """Return the text of the last line, which is what a person would see."""
        return json.loads(ran.out.splitlines()[-1])["result"]

    @staticmethod
    def blocks(ran):
        """Return the content blocks of all answers."""
        lines = [json.loads(line) for line in ran.out.splitlines()]
        answers = [line["message"]["content"] for line in lines if line["type"] == "assistant"]
        return [block for answer in answers for block in answer]


class Codex(Agent):
    package, name = "@openai/codex", "codex"

    def provider(self):
        spoken = f'name="Dragoman",base_url="{self.address}/v1",wire_api="responses"'
        entry = f'model_providers.dragoman={{{spoken},env_key="OPENAI_API_KEY"}}'
        return ["-c", 'model_provider="dragoman"', "-c", entry]

    def arguments(self, model, prompt):
        free = ["--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check"]
        return ["exec", *free, "-m", model, *self.provider(), *self.more, prompt]

    def environment(self, model):
        return {"OPENAI_API_KEY": "local", "CODEX_API_KEY": "local"}

    def reasoning(self):
        """Have it ask for thoughts also from models that it does not know."""
        asked = {
            "model_supports_reasoning_summaries": "true",
            "model_reasoning_summary": '"auto"',
            "model_reasoning_effort": '"medium"',
        }
        self.more = [word for key, value in asked.items() for word in ("-c", f"{key}={value}")]


class BuiltinCodex(Codex):
    """Codex with its own provider at another address: it tries a WebSocket first."""

    def provider(self):
        return ["-c", f'openai_base_url="{self.address}/v1"']


class GeminiCli(Agent):
    package, name = "@google/gemini-cli", "gemini"

    def arguments(self, model, prompt):
        return ["-p", prompt, "-m", model, "--yolo", "--skip-trust"]

    def environment(self, model):
        settings = {
            "privacy": {"usageStatisticsEnabled": False},
            "telemetry": {"enabled": False},
            "general": {"disableAutoUpdate": True, "disableUpdateNag": True},
            "security": {"auth": {"selectedType": "gemini-api-key"}},
        }
        folder = self.home / ".gemini"
        folder.mkdir(exist_ok=True)
        (folder / "settings.json").write_text(json.dumps(settings))
        return {"GOOGLE_GEMINI_BASE_URL": self.address, "GEMINI_API_KEY": "local"}


class OpenCode(Agent):
    """``sdk`` and ``base`` choose the dialect that OpenCode speaks."""

    package, name = "opencode-ai", "opencode"
    sdk, base = "@ai-sdk/openai-compatible", "/v1"

    def arguments(self, model, prompt):
        # a word with a space in it would be put into quotation marks
        return ["run", "-m", f"dragoman/{model}", *prompt.split(" ")]

    def environment(self, model):
        provider = {
            "npm": self.sdk,
            "name": "Dragoman",
            "options": {"baseURL": self.address + self.base, "apiKey": "local"},
            "models": {model: {"name": model}},
        }
        config = {
            "provider": {"dragoman": provider},
            "permission": "allow",
            "autoupdate": False,
            "share": "disabled",
        }
        return {
            "OPENCODE_CONFIG_CONTENT": json.dumps(config),
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
        }


class Aider(Agent):
    """Aider has no tools: files are made from what the answer says."""

    registry, package, name = "pypi", "aider-chat", "aider"

    def arguments(self, model, prompt):
        quiet = ["--no-check-update", "--analytics-disable", "--no-show-release-notes"]
        plain = ["--no-git", "--no-pretty", "--no-auto-lint", "--no-show-model-warnings"]
        asked = ["--yes-always", "--map-tokens", "0", "--edit-format", "whole"]
        known = self.home / "models.json"
        known.write_text(json.dumps(self._facts(model)))
        facts = ["--model-metadata-file", str(known)]
        names = ["--model", f"openai/{model}", "--weak-model", f"openai/{model}"]
        return [*names, *facts, *quiet, *plain, *asked, "--message", prompt]

    @staticmethod
    def _facts(model):
        # it looks unknown models up in the network, which a test must not wait for
        facts = {
            "max_input_tokens": 200_000,
            "max_output_tokens": 8_192,
            "input_cost_per_token": 0,
            "output_cost_per_token": 0,
            "litellm_provider": "openai",
            "mode": "chat",
        }
        return {f"openai/{model}": facts}

    def environment(self, model):
        return {
            "OPENAI_API_BASE": f"{self.address}/v1",
            "OPENAI_API_KEY": "local",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "PYTHONUTF8": "1",
        }


class Llm(Agent):
    """Simon Willison's tool; it is tried with settings that ``connect`` wrote only."""

    registry, package, name = "pypi", "llm", "llm"


class Copilot(Agent):
    """GitHub's agent for the terminal; it is tried with variables that ``connect`` wrote only."""

    package, name = "@github/copilot", "copilot"
