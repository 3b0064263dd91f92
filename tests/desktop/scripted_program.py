"""A proxy for the desktop to be tried with: an asyncio loop with a scripted program on it."""

import asyncio
import threading

from app.errors import AppError
from tests.desktop import statuses


class ScriptedProgram:
    """Serves until stopped. ``become`` changes the status from any thread; ``asked`` has the
    commands in order, and ``wait`` waits for one."""

    def __init__(self, status=None, *, answers=None, finish_s=0.0):
        self.now = status or statuses.full()
        self.answers = {
            "dashboard": "http://localhost:8317/admin#ticket",
            "new_key": "dg-new",
            "pause": "",
            "refresh": "Refreshed.",
            "sign_out": AppError("It is in use.", hint="Wait."),
        } | (answers or {})
        self.asked = []
        self.changed = threading.Condition()
        self.listening = threading.Event()
        self.stopping = threading.Event()
        self.show = None
        self.error = None
        self._tell = None

    @property
    def commands(self):
        return {name: self._command(name) for name in self.answers}

    def _command(self, name):
        async def command(target):
            with self.changed:
                self.asked.append((name, target))
                self.changed.notify_all()
            answer = self.answers[name]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return command

    def status(self):
        return self.now

    def subscribe(self, changed):
        self._tell = changed
        return lambda: None

    def on_sign_in(self, shower):
        self.shower = shower

    def on_windows(self, shower):
        self.studios = shower

    def on_show(self, show):
        self.show = show

    grace_s = 10.0
    woken = 0

    def woke(self):
        self.woken += 1

    def stop(self):
        self.stopping.set()
        self._end.set()

    def serve(self, attach):
        """Run until stopped, as ``program.Serve``."""
        if self.error is not None:
            raise self.error
        return asyncio.run(self._serve(attach))

    async def _serve(self, attach):
        self.loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        attach(self)
        self.listening.set()
        await self._end.wait()
        return 7

    def become(self, status):
        def change():
            self.now = status
            self._tell()

        self.loop.call_soon_threadsafe(change)

    def end(self):
        """End as ``POST /admin/stop`` does."""
        self.loop.call_soon_threadsafe(self.stop)

    def wait(self, name):
        with self.changed:
            found = self.changed.wait_for(
                lambda: next((pair for pair in self.asked if pair[0] == name), None), 10
            )
        assert found, (name, self.asked)
        return found
