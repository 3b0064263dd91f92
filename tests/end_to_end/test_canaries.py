"""Secrets in every place that can hold one, driven through success and every kind of failure.

A real ``dragoman serve`` runs against a service that repeats every credential in its errors, over a
proxy with a password. Afterwards none of the secrets may be anywhere but where it was put.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.accounts.record import Record
from app.accounts.vault import Vault
from app.paths import Paths
from app.providers import PROVIDERS
from app.providers.credential import Credential, Identity
from tests.accounts.keyrings import MemoryKeyring
from tests.gateway.scripted import (
    anthropic_end,
    anthropic_start,
    anthropic_text,
    anthropic_whole,
    chat_stream,
    chat_whole,
    responses_stream,
)

ROOT = Path(__file__).resolve().parent.parent.parent
STATUSES = (200, 401, 429, 500)
EMAIL = "ada.canary@example.test"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are read the POSIX way")


class Canaries:
    """One secret per slot; the last part of each says how the service answers it."""

    def __init__(self):
        self.mark = f"canary-{secrets.token_hex(6)}"
        self.made = {}

    def __call__(self, slot, status=200):
        return self.made.setdefault((slot, status), f"{self.mark}-{slot}-s{status}")

    def forms(self):
        """Every way in which one may be written, as bytes, to its slot."""
        for slot, text in self.made.items():
            yield slot, text.encode()
            for shift in range(3):  # base64 depends on where in a text it stands
                whole = base64.b64encode(b"." * shift + text.encode())
                yield slot, whole[4 if shift else 0 : -4]

    def found_in(self, content):
        content = content if isinstance(content, bytes) else content.encode()
        return sorted({slot for slot, form in self.forms() if form in content})


class Service(ThreadingHTTPServer):
    """The proxy and all services behind it: answers as the credential says, and repeats it."""

    daemon_threads = True

    def __init__(self):
        self.seen = []
        self.refused = []
        """What was to be reached through a tunnel: the real services, which no test may reach."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self.thread.start()
        self.port = self.server_address[1]

    def close(self):
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_CONNECT(self):
        self.server.refused.append(self.path)
        self.answer(502, b"nothing is reached from here", "text/plain")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.seen.append(f"{self.path}\n{self.headers}\n")
        told = self.headers.get("authorization") or self.headers.get("x-api-key") or ""
        status = int(re.search(r"-s(\d+)$", told)[1])
        if status != 200:
            error = {"message": f"Refused: {told}; {self.headers.get('x-extra')}", "type": "error"}
            content = {"type": "error", "error": error | {"code": "refused", "param": told}}
            self.answer(status, json.dumps(content).encode(), "application/json")
            return
        streams = bool(json.loads(body).get("stream"))
        stream, whole = self.good()
        if streams:
            self.answer(200, stream, "text/event-stream")
        else:
            self.answer(200, whole, "application/json")

    do_GET = do_POST

    def good(self):
        path = self.path.partition("?")[0]
        if path.endswith("/messages"):
            stream = anthropic_start() + anthropic_text("hello") + anthropic_end()
            return stream, anthropic_whole()
        if path.endswith("/responses"):
            return b"".join(responses_stream()), b"{}"
        return b"".join(chat_stream("hello")), chat_whole()

    def answer(self, status, body, kind):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        if status == 429:
            self.send_header("retry-after", "600")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class World:
    """A home full of secrets, and the program that runs in it."""

    def __init__(self, tmp_path):
        self.canary = Canaries()
        self.outside = tmp_path / "outside"
        """What the user has: may hold secrets."""
        self.home, self.temporary = tmp_path / "home", tmp_path / "temporary"
        for folder in (self.outside, self.home, self.temporary):
            folder.mkdir()
        self.service = Service()
        kept = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT")
        self.env = {name: os.environ[name] for name in kept if name in os.environ} | {
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "DRAGOMAN_HOME": str(self.home / "dragoman"),
            "DRAGOMAN_PASSPHRASE_FILE": str(self.outside / "passphrase"),
            "PYTHONPATH": str(ROOT),
        }
        self.env |= {f"SECRET_{s}": self.canary("env", s) for s in STATUSES}
        self.paths = Paths.find(self.env)
        self.process = None
        self.told = {}
        """Everything that was printed or answered, by where it came from."""

    def furnish(self):
        canary = self.canary
        (self.outside / "passphrase").write_text(canary("passphrase"))
        printer = self.outside / "printer.py"
        secret = {str(s): canary("command", s) for s in STATUSES}
        printer.write_text(
            "import json, os, pathlib, sys\n"
            f"pathlib.Path({str(self.outside)!r}, f'child-{{sys.argv[1]}}').write_text(\n"
            "    json.dumps([dict(os.environ), sys.argv]))\n"
            f"print({secret!r}[sys.argv[1]])\n"
        )
        accounts = {
            "literal": lambda s: (
                f"api_key: {canary('literal', s)}, headers: {{X-Extra: {canary('header', s)}}}"
            ),
            "variable": lambda s: f'api_key: "${{SECRET_{s}}}"',
            "printed": lambda s: f'credential_command: ["{sys.executable}", "{printer}", "{s}"]',
        }
        lines = ["providers:"]
        for name, credential in accounts.items():
            lines += [
                f"  {name}:",
                "    kind: compatible",
                "    dialect: openai_chat",
                f"    base_url: http://{name}.test/v1",
                "    insecure_http: true",
                "    accounts:",
                *(f"      - {{label: s{s}, {credential(s)}, models: [m]}}" for s in STATUSES),
            ]
        proxy = f"http://user:{canary('proxy')}@127.0.0.1:{self.service.port}"
        lines += [f"upstream: {{proxy: '{proxy}'}}", "logging: {level: debug}"]
        lines += ["models: {retry: {attempts: 1}}"]  # each secret once is enough
        self.paths.config.mkdir(parents=True)
        self.paths.config_file.write_text("\n".join(lines) + "\n")
        self.paths.config_file.chmod(0o600)
        asyncio.run(self._fill_vault())

    async def _fill_vault(self):
        vault = Vault(
            self.paths.vault,
            keyring=MemoryKeyring("absent"),
            passphrase_file=self.outside / "passphrase",
        )
        state = await vault.open()
        assert state.name == "passphrase", state
        for name, status in itertools.product(("claude", "codex"), STATUSES):
            consent = PROVIDERS[name].consent
            await vault.put(
                Record(
                    name,
                    f"{name}-{status}",
                    Credential(
                        self.canary(f"{name}-access", status),
                        "oauth",
                        time.time() + 600,  # is due for renewal, which fails: see do_CONNECT
                        self.canary(f"{name}-refresh", status),
                        {"account_id": "acc-1"},
                        time.time() - 36_000,
                    ),
                    Identity("acc-1", EMAIL, "max"),
                    "browser",
                    time.time(),
                    consent="" if consent is None else consent.version,
                    consented_at=1.0,
                    base_url=f"http://{name}.test",
                )
            )
        await vault.close()

    def start(self):
        self.log = (self.outside / "printed").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "app", "serve", "--port", "0"],
            cwd=ROOT,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        self.wait_for(lambda: (self.paths.runtime / "instance.json").exists())
        record = json.loads((self.paths.runtime / "instance.json").read_text())
        self.port, self.token = record["port"], record["token"]
        self.wait_for(lambda: self.renewals_failed() == 2 * len(STATUSES))

    def renewals_failed(self):
        with contextlib.suppress(OSError):
            answer = self.ask("GET", "/admin/accounts")
            return answer.count(b"could not be renewed")
        return 0

    def wait_for(self, condition):
        end = time.monotonic() + 40
        while time.monotonic() < end:
            assert self.process.poll() is None, (self.outside / "printed").read_text()
            if condition():
                return
            time.sleep(0.05)
        pytest.fail("it takes too long")

    def ask(self, method, path, body=None, **headers):
        """Ask with the local token; what comes, head and body, is kept in ``told``."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            None if body is None else json.dumps(body).encode(),
            {"content-type": "application/json", "x-dragoman-token": self.token, **headers},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
                content = answer.read()
                head, status = answer.headers, answer.status
        except urllib.error.HTTPError as error:
            content, head, status = error.read(), error.headers, error.code
        self.told[f"{method} {path} {status} {len(self.told)}"] = f"{head}".encode() + content
        return content

    def command(self, *words):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "app", *words],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            timeout=60,
            check=False,
        )
        self.told[f"dragoman {' '.join(words)}"] = done.stdout + done.stderr
        return done.stdout

    def drive(self):
        """Ask every account, whole and streamed, in two dialects."""
        who = [f"{n}/s{s}/m" for n in ("literal", "variable", "printed") for s in STATUSES]
        who += [f"claude/claude-{s}/claude-sonnet-5" for s in STATUSES]
        who += [f"codex/codex-{s}/gpt-5.5" for s in STATUSES]
        message = [{"role": "user", "content": "hi"}]
        for model, stream in itertools.product(who, (False, True)):
            body = {"model": model, "messages": message, "stream": stream}
            answer = self.ask("POST", "/v1/chat/completions", body)
            if "200/" in model:
                assert b"hello" in answer, answer
            self.ask("POST", "/v1/messages", body | {"max_tokens": 9}, **{"x-api-key": "any"})

    def look(self):
        """Ask every route and run every command that tells of accounts."""
        for path in (
            "/v1/health",
            "/v1/quota?refresh=1",
            "/v1/models",
            "/metrics",
            "/v1/auth/claude/status",
            "/admin/accounts",
            "/admin/keys",
            "/admin/usage",
            "/admin/imports",
        ):
            self.ask("GET", path)
        for words in (
            "status",
            "accounts --who",
            "quota",
            "models",
            "logs -n 5000",
            "config check",
            "doctor",
            "doctor --json",
            "login --import",
            "login --import --json",
        ):
            self.command(*words.split())
        self.ask("POST", "/admin/accounts/claude%2Fclaude-200/refresh", {})

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
            self.log.close()

    def files(self):
        """Every file that the program may have written, but the settings, which are the user's."""
        for folder in (self.home, self.temporary):
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path != self.paths.config_file:
                    yield path


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("canaries"))
    try:
        made.furnish()
        made.start()
        made.cmdline = Path(f"/proc/{made.process.pid}/cmdline")
        made.words = made.cmdline.read_bytes() if made.cmdline.exists() else b""
        made.drive()
        made.look()
        made.running = {path: path.read_bytes() for path in made.files()}
        made.stop()
        yield made
    finally:
        made.stop()
        made.service.close()


def test_the_secrets_were_all_in_use(world):
    """Else the other tests would find nothing because nothing was there."""
    sent = world.canary.found_in("".join(world.service.seen))
    slots = ("literal", "header", "env", "command", "claude-access", "codex-access")
    assert {(slot, s) for slot in slots for s in STATUSES} <= set(sent)
    basic = f"user:{world.canary('proxy')}".encode()
    assert base64.b64encode(basic).decode() in "".join(world.service.seen)
    assert any("auth.openai.com" in place for place in world.service.refused)
    assert b"Refused" in b"".join(world.told.values())


def test_a_canary_would_be_found_in_any_form(world):
    text = world.canary("literal", 401)
    for wrapped in (text, f"a={text}&b", base64.b64encode(f"user:{text}@x".encode()).decode()):
        assert world.canary.found_in(wrapped) == [("literal", 401)]


def test_no_answer_or_output_holds_a_secret(world):
    leaks = {where: world.canary.found_in(text) for where, text in world.told.items()}
    assert {where: slots for where, slots in leaks.items() if slots} == {}


def test_people_are_told_what_is_wrong(world):
    status = world.told["dragoman status"].decode()
    assert status.count("could not be renewed") >= 2 * len(STATUSES)
    doctor = {c["name"]: c for c in json.loads(world.told["dragoman doctor --json"])["checks"]}
    assert doctor["vault"]["verdict"] == "ok"
    assert doctor["sign-in claude/claude-200"]["verdict"] == "warning"
    assert doctor["account literal/s200"]["verdict"] == "ok"
    assert doctor["account literal/s401"]["verdict"] == "failed"


def test_no_file_holds_a_secret(world):
    names = [path.name for path in world.running]
    assert {"dragoman.db", "instance.json", "dragoman.log"} <= set(names), names
    assert sum(name.endswith(".sealed") for name in names) == 2 * len(STATUSES)
    after = {path: path.read_bytes() for path in world.files()}
    for contents in (world.running, after):
        leaks = {path.name: world.canary.found_in(text) for path, text in contents.items()}
        assert {name: slots for name, slots in leaks.items() if slots} == {}


def test_nothing_printed_holds_a_secret(world):
    printed = (world.outside / "printed").read_bytes()
    assert b"could not be renewed" in printed
    assert world.canary.found_in(printed) == []


def test_no_process_shows_a_secret(world):
    assert world.canary.found_in(world.words) == []
    for status in STATUSES:
        child = (world.outside / f"child-{status}").read_text()
        assert "PATH" in child
        assert world.canary.found_in(child) == []


def test_people_are_named_to_those_who_may_change_the_program_only(world):
    named = {where for where, text in world.told.items() if EMAIL.encode() in text}
    allowed = ("GET /admin/accounts", "GET /v1/auth/", "POST /admin/accounts", "dragoman accounts")
    assert [where for where in sorted(named) if not where.startswith(allowed)] == []
    assert any(where.startswith("GET /admin/accounts") for where in named)
    for text in (*world.running.values(), (world.outside / "printed").read_bytes()):
        assert EMAIL.encode() not in text
