"""What the tests of helper programs share: a free port, the stand-in, and waiting for a state."""

import asyncio
import os
import socket
import sys
from pathlib import Path

from app.services.definition import Definition, Restart
from app.services.journal import Journal
from app.services.supervisor import Supervisor
from app.services.table import judge_models, models_request
from app.upstream.client import Client, ClientSettings

STAND_IN = Path(__file__).with_name("stand_in.py")
QUICK = Restart(first_s=0.01, longest_s=0.02, most=3, stable_s=60.0)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def stand_in(folder, *manners, port=None, **more):
    port = port or free_port()
    fields = {"restart": QUICK, "check_every_s": 30.0, "ready_within_s": 30.0, **more}
    return Definition(
        name="stand-in",
        command=(sys.executable, "-I", str(STAND_IN), str(port), *manners),
        folder=folder / "home",
        port=port,
        environment={"PATH": os.environ["PATH"]},
        first_line=lambda: b'{"key":"sesame"}\n',
        probe=lambda: models_request(f"http://127.0.0.1:{port}", "sesame"),
        judge=judge_models,
        **fields,
    )


class Watched:
    """A supervisor that keeps every state it was in."""

    def __init__(self, folder, definition):
        self.client = Client(ClientSettings())
        self.journal = Journal(folder / "service.log")
        self.definition = definition
        self.states = []
        self._changed = asyncio.Event()
        self.supervisor = Supervisor(
            lambda: self.definition,
            lambda request, limits: self.client.fetch(request, limits, proxy=request.proxy),
            self.journal,
            self._note,
        )

    def _note(self):
        self.states.append((self.supervisor.state, self.supervisor.reason))
        self._changed.set()

    async def __aenter__(self):
        self.supervisor.start()
        return self

    async def __aexit__(self, *_):
        await self.supervisor.stop()
        await self.client.aclose()

    async def until(self, state, seen=0):
        """Wait until it was in a state after so many others; returns the reason."""
        while True:
            for name, reason in self.states[seen:]:
                if name == state:
                    return reason
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), 30)

    def log(self):
        return self.journal.file.read_text("utf-8") if self.journal.file.exists() else ""


async def reached(condition):
    """Wait for what nobody tells."""
    while not condition():  # noqa: ASYNC110 - there is no event of it
        await asyncio.sleep(0.001)


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
