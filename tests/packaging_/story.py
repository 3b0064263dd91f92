"""The life of the Debian package on a throwaway machine, with real processes from first to last.

``python -m tests.packaging_.story OLDER NEWER FOLDER`` runs it inside ``machine.ISOLATED``; each
line that it prints is something that holds. Nothing of the program is replaced or told that this is
a test. OpenAI's names lead to this process, which has a certificate that the machine trusts because
its administrator installed the authority: so the sign-in runs over TLS at the hosts that the
program itself knows, in the window that the package opens.
"""

# ruff: noqa: S108 - the temporary folder is that of a machine on which nobody else is
import contextlib
import json
import os
import re
import subprocess
import sys
import time
import traceback
from pathlib import Path

import tornado.web
from sqlalchemy import create_engine

from app.build import RELEASES
from tests.desktop.session_bus import Client, Panel
from tests.end_to_end.running import Loop
from tests.end_to_end.tray import windows_of
from tests.fakes.codex_backend import CodexBackend
from tests.fakes.identity import ChatGptIdentity
from tests.fakes.service import Reply
from tests.fakes.upstream import Upstream, _Handler, _Server
from tests.packaging_.machine import LEFT_BEHIND, Machine, User, until
from tests.packaging_.scripts import FOLDER
from tests.upstream.certificates import Authority

HOSTS = ("auth.openai.com", "chatgpt.com")
DISPLAY = ":99"
ADDRESS = "http://localhost:8317"
MODEL = "gpt-5.5"
OURS = b'model = "gpt-5"\n'
"""What the user's Codex is set to before Dragoman."""
PAGE = """<!doctype html><title>Sign in</title>
<style>body { font: 20px sans-serif; margin: 3em }</style><h1>A page of the test at auth.openai.com</h1>
<script>
const ask = () => fetch("/agrees").then((answer) => answer.text()).then((text) => {
  if (text) location.href = location.href + "&agreed=1"; else setTimeout(ask, 100);
});
ask();
</script>"""


class Town(Upstream):
    """The fake services at the addresses of the real ones."""

    async def serve(self, context):
        """Listen at https://HOST for all names that lead here."""
        application = tornado.web.Application(
            [(r".*", _Handler, {"upstream": self})], log_function=lambda handler: None
        )
        self._server = _Server(application, ssl_options=context)
        self._server.upstream = self
        self._server.listen(443, "127.0.0.1")


class ChatGpt(ChatGptIdentity):
    """The sign-in with a page, on which the person agrees once ``agrees`` is set."""

    agrees = False
    browsers = ()
    """What named itself as a browser."""

    def claims(self, call):
        return call.path == "/agrees" or super().claims(call)

    def answer(self, call):
        if call.path == "/agrees":
            self.browsers = (*self.browsers, call.headers["user-agent"])
            return Reply(200, {"content-type": "text/plain"}, b"yes" if self.agrees else b"")
        return super().answer(call)

    def _authorize(self, query):
        if query.pop("agreed", None) is None:
            return Reply(200, {"content-type": "text/html"}, PAGE.encode())
        return super()._authorize(query)


def say(text):
    """Tell what holds; the test reads it."""
    print(f"ok  {text}", flush=True)  # noqa: T201 - the output


class Story:
    """What happens, in order.

    Args:
        older: a package of the version before.
        newer: the package.
        folder: an empty folder.
    """

    def __init__(self, older, newer, folder):
        self.older, self.newer = older, newer
        self.machine = Machine(folder / "machine")
        authority = Authority(folder)
        self.context = authority.server_context(*HOSTS)
        self.machine.name_hosts(*HOSTS)
        self.machine.trust(authority.file)
        for package in (older, newer):
            (self.machine.root / "tmp" / package.name).write_bytes(package.read_bytes())
        browser = self.machine.root / "tmp" / "browser"
        browser.write_text('#!/bin/sh\nprintf "%s\\n" "$1" >>"$HOME/opened"\n')
        browser.chmod(0o755)
        self.user = User(
            self.machine,
            "ada",
            DISPLAY=DISPLAY,
            DBUS_SESSION_BUS_ADDRESS="unix:path=/tmp/bus",
            BROWSER="/tmp/browser",
            NO_AT_BRIDGE="1",
        )
        # As after an earlier use: the first steps were seen, and pages were wanted in a window.
        chosen = b'{"welcomed": true, "places": {"codex": "window"}}'
        self.user.write(".local/share/dragoman/desktop.json", chosen)
        self.identity = ChatGpt(time.time)
        self.identity.url = f"https://{HOSTS[0]}"

    def tell(self):
        with contextlib.ExitStack() as stack:
            loop = Loop()
            stack.callback(loop.close)
            self.town = Town(self.identity, CodexBackend(self.identity))
            loop.run(self.town.serve(self.context))
            stack.callback(loop.run, self.town.stop())
            self.open_session(stack)
            self.install()
            with self.tray() as client:
                self.sign_in(client)
                self.use()
                self.upgrade()
            self.age()
            with self.tray() as client:
                self.carry_on(client)
                self.remove()
            self.purge()
            assert not self.town.faulty, self.town.faulty

    # the desktop

    def open_session(self, stack):
        """Open a screen, a session bus with a panel, and a keyring, as a desktop does."""
        screen = ("Xvfb", DISPLAY, "-screen", "0", "1280x900x24", "-nolisten", "tcp", "-noreset")
        stack.enter_context(self.user.running(*screen))
        config = self.machine.root / "tmp" / "bus.conf"
        config.write_text(
            "<busconfig><type>session</type><listen>unix:path=/tmp/bus</listen>"
            '<policy context="default"><allow user="*"/><allow own="*"/>'
            '<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>'
            "</policy></busconfig>"
        )
        bus = ("dbus-daemon", "--config-file=/tmp/bus.conf", "--nofork", "--nopidfile")
        stack.enter_context(self.user.running(*bus))
        until((self.machine.root / "tmp/bus").exists)
        self.bus = f"unix:path={self.machine.root}/tmp/bus"
        keyring = subprocess.Popen(
            self.user.command(
                "gnome-keyring-daemon", "--unlock", "--foreground", "--components=secrets"
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(keyring.wait)
        stack.callback(keyring.kill)
        keyring.stdin.write(b"password of the story")
        keyring.stdin.close()
        self.panel = Panel(self.bus)
        stack.callback(self.panel.close)

    @contextlib.contextmanager
    def tray(self):
        """Start the program as the desktop's menu does, and read its tray's menu."""
        self.panel.visible.clear()
        begun, before = time.monotonic(), len(self.panel.items)
        with self.user.running("/usr/bin/dragoman"):
            until(lambda: len(self.panel.items) > before, self.log)
            took = time.monotonic() - begun
            client = Client(self.bus, self.panel.items[-1])
            try:
                until(lambda: client.menu().texts()[0].startswith("Ready"), client.menu().texts)
                say(f"the tray is there after {took:.2f} s and says: {client.menu().texts()[0]}")
                yield client
            finally:
                client.close()

    def log(self):
        """Return what was said and asked for last, for a failure."""
        asked = [f"{call.method} {call.path}" for call in self.town.requests[-20:]]
        return (self.machine.root / "tmp" / "ada.log").read_text()[-3000:] + "\n".join(asked)

    def shoot(self, name):
        """Take a picture of the screen, where pictures are asked for."""
        if folder := os.environ.get("DRAGOMAN_TEST_PICTURES"):
            from PIL import ImageGrab

            time.sleep(1.0)  # what a page holds is painted a little later; nothing tells when
            Path(folder).mkdir(parents=True, exist_ok=True)
            ImageGrab.grab(xdisplay=DISPLAY).save(Path(folder) / f"package-{name}.png")

    # the package

    def install(self):
        said = self.machine.run("dpkg", "--install", f"/tmp/{self.older.name}")
        assert "Setting up dragoman" in said
        say(f"installed: {self.version()}")
        share = self.machine.root / "usr/share"
        for name in (
            "applications/dragoman.desktop",
            "icons/hicolor/256x256/apps/dragoman.png",
            "man/man1/dragoman.1.gz",
            "bash-completion/completions/dragoman",
            "zsh/vendor-completions/_dragoman",
            "fish/vendor_completions.d/dragoman.fish",
            "doc/dragoman/copyright",
            "doc/dragoman/changelog.gz",
        ):
            assert (share / name).is_file(), name
        say("desktop entry, icons, manual page, completions, copyright and changelog are there")
        enabled = [
            path
            for folder in ("etc/systemd/user", "usr/lib/systemd/user", "home/ada/.config/systemd")
            for path in (self.machine.root / folder).rglob("dragoman.service")
        ]
        assert enabled == [self.machine.root / "usr/lib/systemd/user/dragoman.service"]
        assert not (self.user.home / ".config/autostart").exists()
        say("the unit for servers is there and off, and so is the start at sign-in")
        (self.machine.root / "tmp/selftest.py").write_bytes((FOLDER / "selftest.py").read_bytes())
        said = self.user.run("python3", "/tmp/selftest.py", "--desktop", "/usr/bin/dragoman")
        assert said.rstrip().endswith("selftest passed"), said
        took = re.search(r"healthy after ([\d.]+) s", said)[1]
        say(f"the frozen program passes its self-test; with its tray healthy after {took} s")

    def version(self):
        """Return the installed package's version, and see that the program runs."""
        told = self.user.run("/usr/bin/dragoman", "--version")
        assert "(deb, commit " in told, told
        return self.machine.run("dpkg-query", "--show", "dragoman").split()[1]

    def sign_in(self, client):
        about = client.menu().find("About")
        assert "(deb)" in about.texts()[0]
        client.click(about.find("Check for updates"))
        opened = self.user.home / "opened"
        until(opened.exists, self.log)
        until(lambda: opened.read_text() == f"{RELEASES}\n", opened.read_text)
        say(f"{about.texts()[0]}; {about.texts()[1]}; updates open {RELEASES}")
        client.click(client.menu().find("Accounts", "Add account", "ChatGPT"))
        title = "Sign in to ChatGPT (Codex) (auth.openai.com)"
        until(lambda: title in windows_of(DISPLAY), lambda: (windows_of(DISPLAY), self.log()))
        until(lambda: self.identity.browsers, self.log)
        assert "AppleWebKit" in self.identity.browsers[0]
        say(f"the window {title!r} shows the service's page over TLS")
        self.shoot("sign-in")
        self.identity.agrees = True
        self.email = self.identity.person.email
        until(lambda: self.account(client), lambda: (client.menu().texts(), self.log()))
        until(lambda: not [t for t in windows_of(DISPLAY) if "Sign in" in t])
        assert self.identity.exchanges == 1
        say("signed in from the tray's menu: the account is in it, and the window has closed")

    def account(self, client):
        """Return whether the menu shows the account."""
        texts = [entry.text for entry in client.menu().find("Accounts").children]
        return any(text.startswith(self.email) for text in texts)

    def ask(self):
        """Send a request, without a key, as programs of the same user may."""
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
        script = (
            "import sys, urllib.request as u;"
            f"r = u.Request('{ADDRESS}/v1/chat/completions', sys.argv[1].encode(),"
            " {'content-type': 'application/json'});"
            "print(u.urlopen(r, timeout=60).read().decode())"
        )
        said = json.loads(self.user.run("/usr/bin/python3", "-c", script, json.dumps(body)))
        return said["choices"][0]["message"]["content"]

    def use(self):
        answer = self.ask()
        assert answer
        last = [call for call in self.town.requests if call.path.endswith("/responses")][-1]
        assert last.headers["host"] == "chatgpt.com"
        assert self.identity.holder(last.headers["authorization"].partition(" ")[2])
        say("a Chat request is answered by chatgpt.com's Responses with the account's token")
        self.user.run("/usr/bin/dragoman", "keys", "create", "--label", "kept")
        self.codex = self.user.write(".codex/config.toml", OURS)
        self.user.run("/usr/bin/dragoman", "connect", "codex", "--yes")
        self.connected = self.codex.read_bytes()
        assert b"127.0.0.1:8317" in self.connected
        say("a key is made, and Codex points to Dragoman")
        checks = self.user.run("/usr/bin/dragoman", "doctor")
        assert "Traceback" not in checks
        say(f"the doctor is content: {checks.splitlines()[-1]}")
        health = json.loads(self.user.run("/usr/bin/dragoman", "status", "--json"))
        assert (health["build"], len(health["commit"])) == ("deb", 9)
        say(f"status: version {health['version']}, commit {health['commit']}, {health['build']}")

    def upgrade(self):
        behind = self.machine.root / LEFT_BEHIND
        assert behind.exists()
        said = self.machine.run("dpkg", "--install", f"/tmp/{self.newer.name}")
        assert "stopped for ada" in said, said
        assert not self.user.processes("/usr/lib/dragoman")
        assert not behind.exists()
        assert self.codex.read_bytes() == self.connected
        say(f"upgraded while it ran: {self.version()}; it was stopped, nothing older is left")

    def age(self):
        """Give the database the form that an older version leaves."""
        from alembic import command
        from alembic.config import Config

        database = self.user.home / ".local/share/dragoman/dragoman.db"
        config = Config()
        migrations = FOLDER.parent / "app" / "store" / "migrations"
        config.set_main_option("script_location", str(migrations))
        engine = create_engine(f"sqlite:///{database}")
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.downgrade(config, "-1")
        engine.dispose()
        for path in database.parent.glob("dragoman.db*"):
            os.chown(path, self.user.uid, self.user.uid)
        say("the database has the form of the version before")

    def carry_on(self, client):
        until(lambda: self.account(client), client.menu().texts)
        assert self.ask()
        assert self.identity.exchanges == 1
        say("the account is kept: it answers without another sign-in")
        keys = json.loads(self.user.run("/usr/bin/dragoman", "keys", "list", "--json"))
        assert "kept" in json.dumps(keys)

        def recorded():
            used = self.user.run("/usr/bin/dragoman", "usage", "--json")
            return json.loads(used)["total"]["requests"] >= 2

        until(recorded)
        say("the database is kept and brought up to date: the key, and both requests")

    def remove(self):
        said = self.machine.run("dpkg", "--remove", "dragoman")
        assert self.codex.read_bytes() == OURS, said
        assert not self.user.processes("/usr/lib/dragoman")
        assert not (self.machine.root / "usr/lib/dragoman").exists()
        assert not (self.machine.root / "usr/bin/dragoman").is_symlink()
        assert (self.user.home / ".local/share/dragoman/dragoman.db").exists()
        say("removed: Codex has its own settings back, nothing runs, accounts and records stay")

    def purge(self):
        said = self.machine.run("dpkg", "--purge", "dragoman")
        assert "settings and accounts of ada stay" in said
        assert (self.user.home / ".local/share/dragoman/dragoman.db").exists()
        self.machine.run("dpkg", "--install", f"/tmp/{self.newer.name}")
        self.machine.run("env", "DRAGOMAN_PURGE_DATA=yes", "dpkg", "--purge", "dragoman")
        assert not list(self.user.home.rglob("*dragoman*"))
        say("purged: data stay, and go when that is asked for")


def main(older, newer, folder):
    try:
        Story(Path(older), Path(newer), Path(folder)).tell()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # threads that were about to wait for something go, too
    print("the story ends well", flush=True)  # noqa: T201 - the output


if __name__ == "__main__":
    main(*sys.argv[1:])
