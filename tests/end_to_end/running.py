"""Dragoman and the fake services, each on its own loop in a thread, for blocking clients."""

import asyncio
import contextlib
import textwrap
import threading

from app.configfile import Located, load_file
from app.instance import Instance
from app.paths import Paths
from app.service import ServeOptions, Service
from tests.fakes.service import KEY
from tests.fakes.upstream import Upstream
from tests.server.running import read_snapshot

MODELS = {
    "anthropic": "claude-sonnet-4-5",
    "openai_responses": "gpt-5-mini",
    "openai_chat": "gpt-4.1",
    "gemini": "gemini-2.5-pro",
}
"""Upstream dialect to the model that is asked for at that fake."""
PUBLIC = {dialect: f"over-{dialect.replace('_', '-')}" for dialect in MODELS}
"""Upstream dialect to the name that clients use."""


class Loop:
    """An event loop in a thread."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine, timeout_s=30):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout_s)

    def close(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class Running:
    """A running Dragoman."""

    def __init__(self, service, loop):
        self.service = service
        self.address = f"http://127.0.0.1:{service.port}"
        self._loop = loop

    def rest(self):
        """Wait for running exchanges, then let no account cool into the next test."""

        async def forget():
            await self.service.inference.idle.wait()
            for account in self.service.roster.accounts():
                for model in MODELS.values():
                    self.service.roster.succeeded(account.id, model)

        self._loop.run(forget())


def settings(url, extra=""):
    """Return settings with one account for each upstream dialect, all at one fake."""
    return textwrap.dedent(f"""\
        providers:
          anthropic:
            api_key: {KEY}
            base_url: {url}
            models: {{{PUBLIC["anthropic"]}: {MODELS["anthropic"]}}}
          openai:
            api_key: {KEY}
            base_url: {url}
            models: {{{PUBLIC["openai_responses"]}: {MODELS["openai_responses"]}}}
          chat:
            kind: compatible
            dialect: openai_chat
            api_key: {KEY}
            base_url: {url}
            models: {{{PUBLIC["openai_chat"]}: {MODELS["openai_chat"]}}}
          gemini:
            api_key: {KEY}
            base_url: {url}
            models: {{{PUBLIC["gemini"]}: {MODELS["gemini"]}}}
        """) + textwrap.dedent(extra)


@contextlib.contextmanager
def dragoman(home, text, env=None):
    """Run Dragoman on a free port below ``home``; yields it as ``Running``."""
    loop = Loop()
    env = {"DRAGOMAN_HOME": str(home), **(env or {})}
    paths = Paths.find(env)
    paths.config.mkdir(parents=True, exist_ok=True)
    paths.config_file.write_text(text)
    located = Located(paths.config_file, "default")

    async def start():
        config = load_file(located, env)
        instance = Instance.acquire(paths.data, paths.runtime)
        options = ServeOptions(port=0)
        service = Service(
            paths, located, options, env, config, instance, read_snapshot=read_snapshot
        )
        await service.start()
        return service

    try:
        service = loop.run(start())
        try:
            yield Running(service, loop)
        finally:
            loop.run(service.close())
    finally:
        loop.close()


@contextlib.contextmanager
def fakes(*services, **options):
    """Run fake services; yields the ``Upstream``."""
    loop = Loop()
    upstream = Upstream(*services, **options)
    try:
        loop.run(upstream.__aenter__())
        try:
            yield upstream
        finally:
            loop.run(upstream.__aexit__(None, None, None))
    finally:
        loop.close()
