"""A fresh Dragoman for each test, between a witness and strict fakes."""

import contextlib
from dataclasses import dataclass

import pytest

from tests.clients.installing import program
from tests.clients.witness import Witness
from tests.end_to_end.running import MODELS, PUBLIC, Loop, dragoman, fakes
from tests.fakes.service import KEY, Refusal
from tests.fakes.upstream import everything

REAL = ("claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-6", "claude-opus-5")
"""Claude models by their own names, old to new: agents know what each of them takes."""
THINKING_CHAT = "over-openai-chat-thinking"
"""A model that reasons, behind OpenAI Chat."""


def rate_limited(retry_s):
    """Return a scripted refusal that every dialect reads."""
    words = {"type": "rate_limit_error", "message": "Slow down.", "code": "rate_limit_exceeded"}
    error = words | {"status": "RESOURCE_EXHAUSTED"}
    return 429, {"retry-after": str(retry_s)}, {"type": "error", "error": error}


class Noted:
    """A fake service that notes what it refused."""

    def __init__(self, service, refused):
        self._service = service
        self._refused = refused

    def __getattr__(self, name):
        return getattr(self._service, name)

    def answer(self, call):
        try:
            return self._service.answer(call)
        except Refusal as refusal:
            self._refused.append((call.path, refusal.status, refusal.body))
            raise


@dataclass
class Stage:
    """What stands around a test: ``address`` is for the agent."""

    address: str
    witness: Witness
    upstream: object
    refused: list
    """``(path, status, body)`` of what the fakes refused."""

    @property
    def posts(self):
        """Return the upstream's calls for answers, without model lists."""
        return [call for call in self.upstream.requests if call.method == "POST"]


def settings(url, witness_port):
    anthropic = {PUBLIC["anthropic"]: MODELS["anthropic"], **{name: name for name in REAL}}
    chat = {PUBLIC["openai_chat"]: MODELS["openai_chat"], THINKING_CHAT: "gpt-5-mini"}
    return f"""
access: {{hosts: ["127.0.0.1:{witness_port}"]}}
providers:
  anthropic: {{api_key: {KEY}, base_url: "{url}", models: {_yaml(anthropic)}}}
  openai:
    api_key: {KEY}
    base_url: {url}
    models: {{{PUBLIC["openai_responses"]}: {MODELS["openai_responses"]}}}
  chat:
    kind: compatible
    dialect: openai_chat
    api_key: {KEY}
    base_url: {url}
    models: {_yaml(chat)}
  gemini:
    api_key: {KEY}
    base_url: {url}
    models: {{{PUBLIC["gemini"]}: {MODELS["gemini"]}}}
"""


def _yaml(names):
    return "{" + ", ".join(f"{public}: {own}" for public, own in names.items()) + "}"


@contextlib.contextmanager
def witnessed():
    loop, witness = Loop(), Witness()
    loop.run(witness.start())
    try:
        yield witness
    finally:
        loop.run(witness.stop())
        loop.close()


@pytest.fixture
def stage(tmp_path):
    refused = []
    services = [Noted(service, refused) for service in everything()]
    with fakes(*services, chunks="random") as upstream, witnessed() as witness:
        text = settings(upstream.url, witness.port)
        with dragoman(tmp_path / "dragoman", text) as service:
            witness.target = service.service.port
            yield Stage(f"http://127.0.0.1:{witness.port}", witness, upstream, refused)


@pytest.fixture
def agent(stage, tmp_path):
    """Return what makes an agent of a class, ready to be asked."""

    def make(kind):
        return kind(program(kind), tmp_path / "home", stage.address)

    return make
