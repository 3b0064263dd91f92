"""The whole desktop program over fakes: tray on a private bus, windows on a screen of their own.

``python -m tests.end_to_end.desktop_program HOME SCREEN URL`` runs it as a process, signing in to
a fake ChatGPT at an address, until it is killed.
"""

import asyncio
import json
import os
import sys
import threading
import time
from pathlib import Path

from app.cli.launch import own_command, own_environment
from app.configfile import load_file, locate
from app.desktop.desktop import Parts
from app.desktop.program import run, system_tray
from app.desktop.proxy import Proxy
from app.desktop.windows import Runner, Windows, find_runner
from app.instance import Instance
from app.paths import Paths
from app.providers.claude import claude
from app.providers.claude_profile import ClaudeEndpoints
from app.providers.codex import codex
from app.providers.codex_profile import CodexEndpoints
from app.service import ServeOptions, Service
from tests.browser.conftest import PICTURES
from tests.desktop.conftest import has_web_view
from tests.server.desk import free_port

PERSON = Path(__file__).with_name("person.py")
WAIT_S = 60.0
"""A loaded machine may take long; nothing waits for this without need."""

PRESS = """(() => {
  const found = [...document.querySelectorAll("button:not(:disabled)")].find((b) => b.textContent === %s);
  if (found) found.click();
  return Boolean(found);
})()"""
AGREE = """(() => {
  const box = document.querySelector(".consent input");
  if (box) box.click();
  return Boolean(box);
})()"""
GO_TO_ACCOUNTS = """(() => {
  const link = document.querySelector("#state .state-name") && document.querySelector("a[href='#/accounts']");
  if (link) link.click();
  return Boolean(link);
})()"""
TYPE = """(() => {
  const field = document.querySelector("form input");
  if (!field) return false;
  field.value = %s;
  field.form.requestSubmit();
  return true;
})()"""


def press(text):
    """The person presses a button of a page of ours."""
    return PRESS % json.dumps(text)


def type_in(text):
    """The person fills the field in and presses Enter."""
    return TYPE % json.dumps(text)


class Redirected:
    """Endpoints whose way back is a free port: the real one may be in use on this machine."""

    @staticmethod
    def codex(identity):
        def at(url):
            return codex(
                CodexEndpoints(issuer=url, api=f"{url}/backend-api", redirect=identity.redirect)
            )

        identity.redirect = f"http://localhost:{free_port()}/auth/callback"
        return at

    @staticmethod
    def claude(identity):
        def at(url):
            return claude(
                ClaudeEndpoints(
                    authorize=f"{url}/oauth/authorize",
                    token=f"{url}/v1/oauth/token",
                    api=url,
                    redirect=identity.redirect,
                )
            )

        identity.redirect = f"http://localhost:{free_port()}/callback"
        return at


def make_service(home, providers):
    """Return the service of a home folder, not started; it knows these services and no other."""
    env = {"DRAGOMAN_HOME": str(home)}
    paths = Paths.find(env)
    paths.config.mkdir(parents=True, exist_ok=True)
    located = locate(None, env)
    instance = Instance.acquire(paths.data, paths.runtime)
    config = load_file(located, env)
    service = Service(paths, located, ServeOptions(port=0), env, config, instance, grace_s=0.5)
    service.providers.clear()
    service.providers.update(providers)
    return service


async def serve(service, attach, sleep=None):
    """Run a service as the program does, with a vault in memory."""
    await service.start()
    await service.desk.open(memory_only=True)
    if sleep is not None:  # services want seconds between two questions
        object.__setattr__(service.desk.driver, "sleep", sleep)
    attach(Proxy(service, service.subscribe))
    await service.run_until_stopped()
    return 0


def runner_of(screen):
    """Return how windows are started here with somebody in front of them; None where they cannot be."""
    found = find_runner(own_command(), env={"DISPLAY": screen})
    if not has_web_view(found):
        return None
    python = (sys.executable, "-P") if found.command[0] == sys.executable else found.command[:2]
    return Runner((*python, str(PERSON)), found.packages, found.gui)


def child_environment(home, screen):
    found = own_environment() | {"DISPLAY": screen or "", "HOME": str(home), "NO_AT_BRIDGE": "1"}
    found["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=/nonexistent"
    found["DRAGOMAN_TEST_PERSON"] = str(home)
    for name in ("WAYLAND_DISPLAY", "PYWEBVIEW_GUI"):
        found.pop(name, None)
    return found


class DesktopProgram:
    """The program in threads of this process; ``with`` runs it."""

    def __init__(
        self, home, screen, providers, *, deeds=None, sleep=None, preferences=None, line=""
    ):
        self.home, self._screen = home, screen
        self.told, self.browsed = [], []
        self.ready = threading.Event()
        self._providers, self._sleep = providers, sleep
        (home / "seen.jsonl").touch()
        self.deeds(deeds or {})
        file = home / "desktop.json"
        file.write_text(json.dumps({"welcomed": True, **(preferences or {})}))
        self.windows = Windows(
            runner_of(screen) if screen else None,
            child_environment(home, screen),
            browse=lambda url: self.browsed.append(url) or True,
            tell=self.told.append,
            line=line,
        )
        self._parts = Parts(
            windows=self.windows,
            switch=None,
            copy=None,
            command=["dragoman"],
            preferences_file=file,
            storage=home / "windows",
            theme="dark",
            say=self.told.append,
        )
        self._thread = threading.Thread(target=self._run)
        self.error = None

    def _run(self):
        try:
            self.code = run(self._serve, self._parts, self._tray)
        except BaseException as error:
            self.error = error
            self.ready.set()

    def _serve(self, attach):
        self.service = make_service(self.home, self._providers)

        def attached(program):
            attach(program)
            self.loop = asyncio.get_running_loop()
            self.ready.set()

        return asyncio.run(serve(self.service, attached, self._sleep))

    def _tray(self, desktop):
        desktop.sign_ins._seen_s = 2.0
        desktop.bridge._interval_s = 0.05
        return system_tray("sni", desktop)

    def __enter__(self):
        self._thread.start()
        assert self.ready.wait(WAIT_S)
        assert self.error is None, self.error
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.service.stop)
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()

    def deeds(self, deeds):
        """Say what the person does; see ``person``."""
        file = self.home / "deeds.json"
        file.with_suffix(".new").write_text(json.dumps(deeds))
        file.with_suffix(".new").replace(file)

    def seen(self):
        return seen_in(self.home)

    def see(self, title, *words):
        """Wait for a window whose title begins so and whose page has the words; return what it is."""

        def found():
            return next(
                (
                    one
                    for one in reversed(self.seen())
                    if one["title"].startswith(title) and all(w in one["text"] for w in words)
                ),
                None,
            )

        return until(found, lambda: (title, words, self.seen()[-6:], self.told))

    def shoot(self, name):
        """Take a picture of the screen, where pictures are asked for.

        What a page holds is painted a little later; nothing tells when.
        """
        from PIL import ImageGrab

        if not os.environ.get(PICTURES):
            return
        time.sleep(1.0)
        folder = Path(os.environ[PICTURES])
        folder.mkdir(parents=True, exist_ok=True)
        ImageGrab.grab(xdisplay=self._screen).save(folder / f"{name}.png")

    def flows(self):
        return self.service.desk.logins.flows()

    def flow(self, state):
        """Wait for the newest sign-in to be in a state."""
        return until(
            lambda: next((f for f in self.flows()[-1:] if f.state == state), None),
            lambda: (state, self.flows()),
        )

    def alone(self):
        """Wait until no window is open."""
        until(lambda: not self.windows.names(), self.windows.names)


def seen_in(home):
    """Return what the person in front of the windows has seen, oldest first."""
    file = home / "seen.jsonl"
    whole = file.read_text().rpartition("\n")[0] if file.exists() else ""
    return [json.loads(line) for line in whole.splitlines()]


def until(holds, about=lambda: None):
    """Wait until something holds, and return it; what it is about is told when it does not."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.05)
    raise AssertionError(about())


def main(home, screen, redirect, url):
    endpoints = CodexEndpoints(issuer=url, api=f"{url}/backend-api", redirect=redirect)
    program = DesktopProgram(
        Path(home),
        screen,
        {"codex": codex(endpoints)},
        preferences={"places": {"codex": "window"}},
    )
    with program:
        print("ready", flush=True)  # noqa: T201 - the parent waits for it
        threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)
