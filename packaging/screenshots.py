"""Take the pictures of README and documentation from the running program.

::

    .venv/bin/python packaging/screenshots.py            into assets/images
    .venv/bin/python packaging/screenshots.py FOLDER     into another folder

The whole program runs in an empty home, with its tray on a session bus of its own. The services
behind its accounts are the fakes of the tests, so that every number in a picture went through the
program; nobody's account and no network is used. Needs what the tests need (`packaging/bootstrap.py
test` sets it up), and for the tray's menu xfce4-panel and xdotool.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from app.accounts.record import Record  # noqa: E402
from app.canonical.usage import Usage  # noqa: E402
from app.configfile import load_file, locate  # noqa: E402
from app.desktop import autostart  # noqa: E402
from app.desktop.flows import Flows  # noqa: E402
from app.instance import Instance  # noqa: E402
from app.ledger.entry import AttemptEntry, Entry  # noqa: E402
from app.paths import Paths  # noqa: E402
from app.providers import CLAUDE, PROVIDERS  # noqa: E402
from app.providers.copilot import copilot  # noqa: E402
from app.providers.credential import Credential, Identity  # noqa: E402
from app.providers.github import GitHub as Server  # noqa: E402
from app.providers.quota import Quota, QuotaWindow  # noqa: E402
from app.service import ServeOptions, Service  # noqa: E402
from tests.browser.chromium import Chromium, Page, find_chromium  # noqa: E402
from tests.desktop.session_bus import PrivateBus  # noqa: E402
from tests.end_to_end.desktop_program import DesktopProgram, serve  # noqa: E402
from tests.fakes.claude_oauth import ClaudeOAuth  # noqa: E402
from tests.fakes.codex_backend import CodexBackend  # noqa: E402
from tests.fakes.copilot import Copilot  # noqa: E402
from tests.fakes.github import OPENCODE, GitHub, User  # noqa: E402
from tests.fakes.identity import (  # noqa: E402
    ChatGptIdentity,
    ClaudeIdentity,
    Person,
    claude_at,
    codex_at,
)
from tests.fakes.openai_chat import OpenAIChat  # noqa: E402
from tests.fakes.service import KEY  # noqa: E402
from tests.fakes.upstream import Upstream  # noqa: E402

HOUR, DAY = 3_600.0, 86_400.0
TRAY = "tray-menu.png"
NEEDED = {
    "chromium": "chromium",
    "Xvfb": "xvfb",
    "dbus-daemon": "dbus",
    "xfce4-panel": "xfce4-panel",
    "xdotool": "xdotool",
}
"""Programs, and the Debian packages that have them."""
PANEL = (940, 470)
"""Size of the screen with the tray, in pixels."""
PANEL_SETTINGS = """\
<?xml version="1.0" encoding="UTF-8"?>
<channel name="xfce4-panel" version="1.0">
  <property name="configver" type="int" value="2"/>
  <property name="panels" type="array">
    <value type="int" value="1"/>
    <property name="dark-mode" type="bool" value="false"/>
    <property name="panel-1" type="empty">
      <property name="position" type="string" value="p=6;x=0;y=0"/>
      <property name="position-locked" type="bool" value="true"/>
      <property name="length" type="uint" value="100"/>
      <property name="size" type="uint" value="28"/>
      <property name="icon-size" type="uint" value="20"/>
      <property name="plugin-ids" type="array">
        <value type="int" value="1"/>
        <value type="int" value="2"/>
      </property>
    </property>
  </property>
  <property name="plugins" type="empty">
    <property name="plugin-1" type="string" value="separator">
      <property name="expand" type="bool" value="true"/>
      <property name="style" type="uint" value="0"/>
    </property>
    <property name="plugin-2" type="string" value="systray"/>
  </property>
</channel>
"""
SETTINGS = """\
providers:
  openrouter:
    kind: compatible
    dialect: openai_chat
    base_url: {url}
    api_key: "${{OPENROUTER_API_KEY}}"
    models: [gpt-4.1-mini, gpt-4.1]
models:
  aliases: {{fast: gpt-5.4-mini}}
quota: {{ask: false}}
"""
PROGRAM = """\
#!/bin/sh
echo '{version}'
"""


def main(arguments: list[str]) -> int:
    """Take all pictures; return the exit code."""
    missing = [package for name, package in NEEDED.items() if shutil.which(name) is None]
    if find_chromium() is not None and "chromium" in missing:
        missing.remove("chromium")
    if missing:
        print(f"screenshots: these Debian packages are needed: {', '.join(missing)}")
        return 2
    folder = Path(arguments[0]).absolute() if arguments else ROOT / "assets" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    home = make_home()
    try:
        take_all(home, folder)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return 0


def make_home() -> Path:
    """Make the home of somebody; pictures show its name, so it is a short one where that is free."""
    home = Path(tempfile.gettempdir()) / "ada"
    try:
        home.mkdir(mode=0o700)
    except FileExistsError:
        home = Path(tempfile.mkdtemp(prefix="ada-"))
    return home


def take_all(home: Path, folder: Path) -> None:
    """Run the program in an empty home, and take every picture into a folder."""
    prepare(home)
    bus = PrivateBus()
    os.environ["DBUS_SESSION_BUS_ADDRESS"] = bus.address
    try:
        with screen() as display, panel(display):
            asyncio.run(_take(home, folder, display))
    finally:
        bus.close()


def prepare(home: Path) -> None:
    """Let this process and all that it starts live in an empty home with two agents in it."""
    for name in [n for n in os.environ if n.startswith(("DRAGOMAN_", "XDG_", "WAYLAND_"))]:
        del os.environ[name]
    for name in (".claude", ".codex", "bin"):
        (home / name).mkdir()
    (home / ".claude" / "settings.json").write_text('{\n  "theme": "light"\n}\n')
    for name, version in (("claude", "2.1.330 (Claude Code)"), ("codex", "codex-cli 0.169.0")):
        file = home / "bin" / name
        file.write_text(PROGRAM.format(version=version))
        file.chmod(0o755)
    file = home / ".config" / "xfce4" / "xfconf" / "xfce-perchannel-xml" / "xfce4-panel.xml"
    file.parent.mkdir(parents=True)
    file.write_text(PANEL_SETTINGS)
    os.environ |= {
        "HOME": str(home),
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "GTK_THEME": "Adwaita",
        "NO_AT_BRIDGE": "1",
        "TZ": "UTC",
    }
    time.tzset()


# --- the desktop ---------------------------------------------------------------------------------


@contextlib.contextmanager
def screen() -> Iterator[str]:
    """Run an X server with one screen; give its name."""
    readable, writable = os.pipe()
    size = f"{PANEL[0]}x{PANEL[1]}x24"
    command = ["Xvfb", "-displayfd", str(writable), "-screen", "0", size]
    process = subprocess.Popen(
        [*command, "-nolisten", "tcp", "-noreset"], pass_fds=(writable,), stderr=subprocess.DEVNULL
    )
    os.close(writable)
    try:
        with open(readable) as pipe:
            yield f":{pipe.readline().strip()}"
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def panel(display: str) -> Iterator[None]:
    """Run a panel that shows tray icons."""
    env = os.environ | {"DISPLAY": display}
    process = subprocess.Popen(
        ["xfce4-panel", "--disable-wm-check"],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


class Screen:
    """What is on the screen with the panel, over X."""

    def __init__(self, display: str) -> None:
        from Xlib.display import Display

        self.name = display
        self._connection = Display(display)
        root = self._connection.screen().root
        root.change_attributes(background_pixel=0xE4E7E5)
        root.clear_area()
        self._connection.sync()

    def close(self) -> None:
        """Leave the screen."""
        self._connection.close()

    def boxes(self) -> list[tuple[int, int, int, int]]:
        """Return left, top, width and height of each window that is shown, lowest first."""
        from Xlib import X, error

        found = []
        for window in self._connection.screen().root.query_tree().children:
            try:
                if window.get_attributes().map_state == X.IsViewable:
                    box = window.get_geometry()
                    found.append((box.x, box.y, box.width, box.height))
            except error.XError:  # it was closed just now
                continue
        return [box for box in found if box[2] > 1]

    def press(self, *words: str) -> None:
        """Do something with mouse or keyboard."""
        subprocess.run(["xdotool", *words], env=os.environ | {"DISPLAY": self.name}, check=True)

    def picture(self) -> Any:
        """Return what the screen shows."""
        from PIL import ImageGrab

        return ImageGrab.grab(xdisplay=self.name)


def look_until(what: str, holds: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait until something holds that nobody tells of, and return it.

    Raises:
        TimeoutError: it does not.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.05)
    raise TimeoutError(what)


def still(shown: Screen) -> Any:
    """Return what the screen shows once two pictures of it in a row are the same."""
    last: list[Any] = [None]

    def same() -> Any:
        now = shown.picture()
        before, last[0] = last[0], now
        time.sleep(0.25)
        return now if before is not None and before.tobytes() == now.tobytes() else None

    return look_until("the screen does not come to rest", same)


def open_menu(display: str) -> Any:
    """Open the tray's menu down to an account, and return the picture."""
    shown = Screen(display)
    try:
        look_until("no panel", lambda: any(b[2] >= PANEL[0] for b in shown.boxes()))
        right, middle = PANEL[0] - 14, 14

        def menus() -> list[tuple[int, int, int, int]]:
            return [b for b in shown.boxes() if b[3] > 60 and b[2] < PANEL[0]]

        def opened() -> bool:
            shown.press("mousemove", str(right), str(middle), "click", "3")
            with contextlib.suppress(TimeoutError):
                return bool(look_until("no menu", menus, 2.0))
            return False

        still(shown)
        look_until("the icon opens no menu", opened)
        for number, downs in ((2, 1), (3, 2)):
            still(shown)
            for _ in range(downs):
                shown.press("key", "Down")

            def deeper(number: int = number) -> bool:
                shown.press("key", "Right")
                with contextlib.suppress(TimeoutError):
                    return bool(look_until("", lambda: len(menus()) == number, 2.0))
                return False

            look_until(f"menu {number} does not open", deeper)
        whole = still(shown)
        boxes = menus()
        left = max(0, min(b[0] for b in boxes) - 12)
        bottom = min(PANEL[1], max(b[1] + b[3] for b in boxes) + 12)
        return whole.crop((left, 0, PANEL[0], bottom))
    finally:
        shown.close()


# --- the program ---------------------------------------------------------------------------------


class Program(DesktopProgram):
    """The program with its tray, over fakes, on the port that it has by default where that is free."""

    def __init__(self, home: Path, services: dict[str, Any], env: dict[str, str]) -> None:
        super().__init__(home, None, services)
        self._env = env
        switch = autostart.find()
        self._parts = replace(self._parts, theme="light", copy=lambda _text: None, switch=switch)

    def _serve(self, attach: Callable[[Any], None]) -> int:
        self.service = self._make()

        def attached(program: Any) -> None:
            attach(program)
            self.loop = asyncio.get_running_loop()
            self.ready.set()

        return asyncio.run(serve(self.service, attached))

    def _make(self) -> Service:
        paths = Paths.find(self._env)
        located = locate(None, self._env)
        config = load_file(located, self._env)
        instance = Instance.acquire(paths.data, paths.runtime)
        port = 8317 if is_free(8317) else 0
        made = Service(paths, located, ServeOptions(port=port), self._env, config, instance)
        made.providers.update(self._providers)
        return made

    async def do(self, work: Awaitable[Any]) -> Any:
        """Await something on the program's own loop."""

        async def whole() -> Any:
            return await work

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(whole(), self.loop))


def is_free(port: int) -> bool:
    """Say whether nothing listens there."""
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


class Town:
    """The services that the accounts are of, and what they gave to whom."""

    def __init__(self, fake: Upstream) -> None:
        self.claude = ClaudeIdentity(time.time, Person("ada@example.org", plan="max"))
        self.chatgpt = ChatGptIdentity(time.time, Person("ada@example.org", plan="plus"))
        self.chatgpt.windows = {
            "primary": (38.0, 18_000, 2.2 * HOUR),
            "secondary": (61.0, 604_800, 3.1 * DAY),
        }
        messages = ClaudeOAuth(self.claude)
        messages.windows = {"5h": (0.22, 1.4 * HOUR), "7d": (0.48, 5.2 * DAY)}
        github = GitHub(time.time)
        github.base = fake.url
        self.github = github
        backend = CodexBackend(self.chatgpt)
        fake.services = (self.claude, messages, self.chatgpt, backend, github, Copilot(github))
        self.url = fake.url

    def services(self) -> dict[str, Any]:
        """Return the providers at the fakes; all others stay as they are."""
        at = Server("github.com", self.url, self.url, self.url)
        return {
            "claude": claude_at(self.url),
            "codex": codex_at(self.url),
            "copilot": copilot(at),
        }

    def records(self) -> list[Record]:
        """Return the accounts that are signed in to."""
        now = time.time()
        team = Person("team@example.org", "3" * 36, "4" * 36, "Example", "business")
        held = (self.chatgpt.grant(), self.chatgpt.grant(team), self.claude.grant())

        def record(provider: str, label: str, name: str, plan: str, secret: Credential) -> Record:
            identity = Identity(f"id-{label}", name, plan)
            return Record(provider, label, secret, identity, "browser", now - 30 * DAY)

        def credential(grant: Any, **facts: str) -> Credential:
            return Credential(
                grant.access, "oauth", now + 9 * DAY, grant.refresh, facts, obtained_at=now
            )

        def chatgpt(grant: Any) -> Credential:
            return credential(grant, account_id=grant.person.account, plan=grant.person.plan)

        agreed = {"consent": CLAUDE.consent.version, "consented_at": now - 30 * DAY}  # type: ignore[union-attr]
        facts = {"family": "direct", "host": "github.com", "api": self.url}
        token = Credential(self.github.grant(OPENCODE, User("ada")), "oauth", facts=facts)
        return [
            replace(
                record("codex", "work", "ada@example.org", "plus", chatgpt(held[0])), primary=True
            ),
            record("codex", "team", "team@example.org", "business", chatgpt(held[1])),
            replace(
                record("claude", "personal", "ada@example.org", "max", credential(held[2])),
                **agreed,  # type: ignore[arg-type]
            ),
            record("copilot", "github", "ada", "individual", token),
        ]


def what_is_left() -> dict[str, Quota]:
    """Return what the services have told of accounts that no picture asks anything of."""
    now = time.time()
    five = QuotaWindow("5h", 7.0, now + 3.6 * HOUR, 5 * HOUR)
    month = QuotaWindow("premium", 20.0, now + 9 * DAY, 30 * DAY, left=240, limit=300)
    return {
        "codex/team": Quota((five,), now, "usage call", "business"),
        "copilot/github": Quota((month,), now, "usage call", "individual"),
    }


def history(number: int = 420, days: float = 28.0) -> Iterator[Entry]:
    """Return requests of four weeks: the same in each run, more of them on working days."""
    chance = random.Random(8317)  # noqa: S311 - repeatable, not secret
    routes = (
        *(("claude-cli", "claude-sonnet-5", "claude/personal", "anthropic", "verbatim"),) * 5,
        *(("codex_cli_rs", "gpt-5.5", "codex/work", "openai_responses", "patched"),) * 4,
        *(("opencode", "gpt-5.4-mini", "codex/work", "openai_responses", "translated"),) * 2,
        ("aider", "gpt-4.1", "openrouter/openrouter-1", "openai_chat", "verbatim"),
        ("claude-cli", "claude-haiku-4-5-20251001", "claude/personal", "anthropic", "verbatim"),
    )
    now = time.time()
    for one in range(number):
        at = now - days * DAY * (one + 0.5) / number
        if time.gmtime(at).tm_wday >= 5 and chance.random() < 0.7:
            continue
        client, model, account, dialect, grade = chance.choice(routes)
        prompt, said = chance.randint(2_000, 40_000), chance.randint(150, 2_400)
        took = chance.randint(1_800, 24_000)
        provider = account.partition("/")[0]
        yield Entry(
            id=f"req_{one:06}",
            at=at,
            client=client,
            dialect=dialect,
            asked=model,
            model=model,
            provider=provider,
            account=account,
            upstream=dialect,
            grade=grade,
            reason=f"family of {provider}",
            status=200,
            stop="end",
            tokens=Usage(input=prompt // 8, cache_read=prompt, cache_write=prompt // 9, output=said),
            cost=prompt * 2 + said * 15,
            worth=provider in ("claude", "codex"),
            first_ms=chance.randint(300, 1_400),
            duration_ms=took,
            stream=True,
            attempts=(
                AttemptEntry(
                    at=at, provider=provider, account=account, model=model, dialect=dialect,
                    status=200, duration_ms=took,
                ),
            ),
        )  # fmt: skip


# --- what agents ask -----------------------------------------------------------------------------

AGENTS = {
    "claude": "claude-cli/2.1.330 (external, cli)",
    "codex": "codex_cli_rs/0.169.0 (Debian 13.0.0; x86_64)",
    "opencode": "opencode/1.18.33",
    "aider": "aider/0.86.2 litellm/1.77",
}
SAID = "Compare the two parsers and write a test for the difference."


def chat(model: str, words: str) -> tuple[str, dict[str, Any]]:
    """Return path and body of a call in OpenAI's Chat dialect."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": words}]}
    return "/v1/chat/completions", body


def messages(model: str, words: str) -> tuple[str, dict[str, Any]]:
    """Return path and body of a call in Anthropic's dialect."""
    said = [{"role": "user", "content": words}]
    return "/v1/messages", {"model": model, "stream": True, "max_tokens": 4096, "messages": said}


def responses(model: str, words: str) -> tuple[str, dict[str, Any]]:
    """Return path and body of a call in OpenAI's Responses dialect."""
    return "/v1/responses", {"model": model, "stream": True, "input": words}


@contextlib.asynccontextmanager
async def asked(
    port: int, agent: str, call: tuple[str, dict[str, Any]]
) -> AsyncIterator[asyncio.StreamReader]:
    """Send a call as an agent does; give what comes back, head included."""
    path, body = call
    raw = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: {AGENTS[agent]}\r\n"
        f"Content-Type: application/json\r\nConnection: close\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(head.encode() + raw)
        await writer.drain()
        yield reader
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def answer(words: int, seconds: float, prompt: int, cached: int) -> str:
    """Return a question that a fake answers with so many words at that pace."""
    text = " ".join(["word"] * words)
    usage = f"input:{prompt},cached:{cached},output:{words * 2}"
    pause = f"hang=event:{seconds};" if seconds else ""
    return f'{SAID}\nFAKE:text="{text}";n={words};{pause}usage={usage};'


async def ask_some(port: int) -> None:
    """Let agents ask until the end of each answer."""
    calls = (
        ("codex", responses("gpt-5.5", answer(60, 0.01, 2_100, 16_384))),
        ("opencode", chat("gpt-4.1-mini", answer(40, 0.012, 1_300, 4_096))),
        ("claude", messages("gpt-5.5", answer(90, 0.008, 3_900, 24_576))),
        ("aider", chat("gtp-4.1", SAID)),
        ("opencode", chat("claude-sonnet-5", answer(50, 0.01, 1_800, 9_216))),
        ("aider", chat("fast", answer(70, 0.01, 2_600, 3_072))),
    )
    for agent, call in calls:
        async with asked(port, agent, call) as reader:
            await reader.read()


@contextlib.asynccontextmanager
async def running_calls(port: int) -> AsyncIterator[None]:
    """Have two answers run; given once both have begun."""
    slow = answer(3_000, 0.02, 4_000, 12_288)
    async with (
        asked(port, "codex", responses("gpt-5.5", slow)) as one,
        asked(port, "claude", messages("claude-opus-5", slow)) as two,
    ):
        for reader in (one, two):
            seen = b""
            while seen.count(b"word") < 40:
                piece = await reader.read(65_536)
                if not piece:
                    raise RuntimeError(f"the answer ended early: {seen[:600]!r}")
                seen += piece
        yield


# --- the pictures --------------------------------------------------------------------------------


COUNTED = (
    "[...document.querySelectorAll('#section-now tbody tr')].slice(0, 2)"
    ".every((row) => row.innerText.includes('≈') && row.innerText.includes('/s'))"
)
"""Both running answers tell how far they are."""


async def _take(home: Path, folder: Path, display: str) -> None:
    env = {
        "DRAGOMAN_HOME": str(home),
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "OPENROUTER_API_KEY": KEY,
    }
    async with Upstream() as fake, Upstream(OpenAIChat()) as router:
        town = Town(fake)
        file = Paths.find(env).config_file
        file.parent.mkdir(parents=True)
        file.write_text(SETTINGS.format(url=router.url))
        file.chmod(0o600)
        program = Program(home, town.services(), env)
        await asyncio.to_thread(program.__enter__)
        browser = await asyncio.to_thread(Chromium, find_chromium())
        try:
            await _first_steps(program, browser, folder)
            await _fill(program, town)
            await ask_some(program.service.port)
            await _dashboard(program, browser, folder, display)
            await _sign_in(program, browser, folder)
        finally:
            await asyncio.to_thread(browser.close)
            await asyncio.to_thread(program.__exit__)


async def _fill(program: Program, town: Town) -> None:
    service = program.service
    for record in town.records():
        await program.do(service.desk.book.put(record))
    for account, quota in what_is_left().items():
        program.loop.call_soon_threadsafe(service.quotas.note, account, quota)
    for entry in history():
        service.ledger.note(entry)
    if not await asyncio.to_thread(service.ledger.flush):
        raise RuntimeError("the ledger could not be written")


async def _first_steps(program: Program, browser: Chromium, folder: Path) -> None:
    async with browser.page() as page:
        await page.size(760, 330)
        await page.go(program.service.dashboard_address("welcome"))
        await page.press("Start")
        await page.see("or try without one")
        await shoot(page, folder / "first-steps.png")


async def _dashboard(program: Program, browser: Chromium, folder: Path, display: str) -> None:
    async with browser.page() as page:
        await page.size(1200, 706)
        await page.go(program.service.dashboard_address())
        await page.until("document.querySelectorAll('#section-now tbody tr').length === 6")
        # The tokens of an answer are counted as it comes where somebody looks from its beginning.
        async with running_calls(program.service.port):
            await page.until(COUNTED)
            await shoot(page, folder / "dashboard-now.png")
            await page.size(1200, 706, dark=True)
            await shoot(page, folder / "dashboard-now-dark.png")
            menu = await asyncio.to_thread(open_menu, display)
        write(menu, folder / TRAY)
        await page.size(1200, 790)
        await go(
            page, "accounts", "document.querySelectorAll('#section-accounts article').length >= 5"
        )
        await shoot(page, folder / "dashboard-accounts.png")
        await page.size(1200, 560)
        await go(page, "usage", "document.querySelectorAll('.chart rect.part').length > 20")
        await shoot(page, folder / "dashboard-usage.png")
        await page.size(1100, 760)
        await go(page, "agents", "document.querySelector('#section-agents .card')")
        await _connect(page)
        await page.until("document.querySelector('dialog[open] .diff')")
        await shoot(page, folder / "agent-diff.png")


async def _connect(page: Page) -> None:
    card = "document.querySelector('#section-agents article[aria-label=\"Claude Code\"]')"
    await page.until(
        f"[...{card}.querySelectorAll('button')]"
        ".find((b) => b.textContent.startsWith('Connect') && (b.click(), true))"
    )


async def _sign_in(program: Program, browser: Chromium, folder: Path) -> None:
    address = Flows(program.service).commands["sign_in_page"]("add/claude")
    async with browser.page() as page:
        await page.size(560, 712)
        await page.go(await program.do(address))
        await page.see((PROVIDERS["claude"].consent.text)[:60])  # type: ignore[union-attr]
        await shoot(page, folder / "sign-in.png")


async def go(page: Page, section: str, there: str) -> None:
    """Open a section of the dashboard, and wait until something is there."""
    await page.run(f"location.hash = '{section}'; return 1")
    await page.until(there)


async def shoot(page: Page, file: Path) -> None:
    """Write what a page shows."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as name:
        raw = Path(name) / "page.png"
        await page.shoot(raw, whole=False)
        content = await asyncio.to_thread(raw.read_bytes)
    with Image.open(io.BytesIO(content)) as picture:
        write(picture, file)


def write(picture: Any, file: Path) -> None:
    """Write a picture with a palette, a third of the size that it has without."""
    from PIL import Image

    # By coverage of the space of colours: a small red number keeps its red beside much grey.
    small = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=0)
    small.save(file, optimize=True)
    print(f"{file.name}: {small.width} x {small.height}, {file.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
