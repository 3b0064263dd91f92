"""Measure the tray: how soon it is there, what it costs, and how it answers while much goes on.

::

    .venv/bin/python -m tests.bench.desktop             # prints the table
    .venv/bin/python -m tests.bench.desktop --write     # and puts it into RESULTS.md

Needs Linux, ``cc``, ``dbus-daemon``, ``Xvfb`` and GTK's web view; what is missing is left out. The
whole program runs as on a desktop: in a process of its own, with a private session bus and a panel
that reads its menu there. The times of the menu are those of the panel, from asking for the whole
menu to having it, while 200 streams run: *paced* is 20 deltas a second of each, *as fast as they
come* keeps the proxy's thread busy all the time.
"""

import argparse
import contextlib
import datetime
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from app.cli.client import Client as ControlClient
from app.cli.launch import own_command
from app.desktop.windows import Page, Windows, find_runner
from tests.bench.run import ROOT, Bench, Scenario, Target, cpu_s, pss_mb
from tests.desktop.session_bus import PrivateBus
from tests.end_to_end.tray import Desk, menu_with, until

RESULTS = Path(__file__).with_name("RESULTS.md")
TITLE = "\n## The tray\n"
PACED = Scenario("paced200", 200, 200, deltas=100, gap_ms=50, ramp_us=2000, seconds=30)
FAST = Scenario("fast200", 200, 3000, deltas=400, ramp_us=1000, seconds=30)
STARTS = 5
IDLE_S = 60.0


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    measure: str
    unit: str
    value: float | None
    most: float | None = None

    @property
    def kept(self):
        return self.value is None or self.most is None or self.value <= self.most


class Session:
    """A desktop session for one program after another."""

    def __init__(self, folder, stack, mock_port, display=":nowhere"):
        self.bus = PrivateBus()
        stack.callback(self.bus.close)
        self.desk = Desk(folder, self.bus, display=display)
        stack.callback(self.desk.close)
        self.desk.welcome()
        self.desk.settle(
            "providers:\n  mock: {kind: compatible, dialect: anthropic, api_key: x, "
            f'base_url: "http://127.0.0.1:{mock_port}", models: [claude-sonnet-4-5]}}\n'
        )

    def start(self):
        """Start the program; return it with the seconds to its first answer and to its icon."""
        panel = self.desk.panel
        panel.visible.clear()
        begun = time.perf_counter()
        process = self.desk.start()
        process.record = self.desk.ready(process)
        answered = time.perf_counter() - begun
        if not panel.visible.wait(30):
            raise SystemExit("no icon came")
        return process, answered, time.perf_counter() - begun

    def end(self, process):
        process.terminate()
        process.communicate(timeout=30)


def measure_starts(session, times):
    """Return the lines of the start; its CPU hardly depends on what else the machine does."""
    answers, icons, used = [], [], []
    for _ in range(times + 1):
        process, answered, shown = session.start()
        used.append(cpu_s(process))
        session.end(process)
        answers.append(answered)
        icons.append(shown)
    answers, icons, used = answers[1:], icons[1:], used[1:]  # the first fills the caches
    return [
        Line("start to listening, with the tray", "s", statistics.median(answers)),
        Line("start to the icon in the panel, median", "s", statistics.median(icons), 1.0),
        Line(f"start to the icon in the panel, quickest of {times}", "s", min(icons), 1.0),
        Line("CPU until then", "s", statistics.median(used)),
    ]


def measure_menu(bench, target, client, scenario):
    """Read the menu again and again while a load runs; return the times in milliseconds."""
    request = bench.folder / "request"
    request.write_bytes(target.request(scenario))
    command = [bench.folder / "load", target.port, scenario.connections, scenario.requests]
    command += [request, scenario.ramp_us, scenario.seconds]
    load = subprocess.Popen(
        bench.on_cpu(0, [str(part) for part in command]), stdout=subprocess.PIPE
    )
    times = []
    while load.poll() is None:
        begun = time.perf_counter()
        client.menu()
        times.append((time.perf_counter() - begun) * 1000)
        time.sleep(0.05)
    load.communicate()
    if len(times) < 20:
        raise SystemExit(f"{scenario.name} ended too soon: {len(times)} menus")
    return sorted(times)


@contextlib.contextmanager
def screen():
    """An X display, or None."""
    if shutil.which("Xvfb") is None:
        yield None
        return
    readable, writable = os.pipe()
    process = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writable), "-screen", "0", "1280x900x24", "-nolisten", "tcp"],
        pass_fds=(writable,),
        stderr=subprocess.DEVNULL,
    )
    os.close(writable)
    with open(readable) as pipe:
        number = pipe.readline().strip()
    yield f":{number}"
    process.terminate()
    process.wait()


def measure_window(desk, record, times):
    """Return the seconds from asking for a window to its page being loaded."""
    runner = find_runner(own_command(), env=desk.environment)
    if runner is None:
        return None
    windows = Windows(runner, desk.environment, browse=lambda url: False, tell=sys.stderr.write)
    control = ControlClient(record.port, record.token)
    seconds = []
    for number in range(times + 1):
        url = control.post("/admin/ticket")["url"]
        loaded = threading.Event()

        def heard(event, loaded=loaded):
            if event.get("event") == "loaded":
                loaded.set()

        begun = time.perf_counter()
        windows.open(f"w{number}", Page(url, "Dragoman", desk.home / "windows"), heard)
        if not loaded.wait(30):
            raise SystemExit("a window's page was not loaded")
        seconds.append(time.perf_counter() - begun)
        windows.close_all()
    return statistics.median(seconds[1:])


def percentile(times, q):
    return times[min(len(times) - 1, round(q * (len(times) - 1)))]


def take(starts=STARTS, idle_s=IDLE_S):
    """Measure everything; return the lines of the table."""
    pin = (os.cpu_count() or 1) > 1 and shutil.which("taskset") is not None
    lines = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        bench = Bench(folder, pin, stack)
        bench.build()
        bench.start_mock()
        display = stack.enter_context(screen())
        home = folder / "home"
        home.mkdir()
        session = Session(home, stack, bench.mock_port, display or ":nowhere")
        lines += measure_starts(session, starts)
        process, _, _ = session.start()
        client = session.desk.client(-1)
        stack.callback(client.close)
        menu_with(client, session.desk.panel, "Ready")
        time.sleep(3.0)  # what is loaded late, and the first tidying
        before = cpu_s(process)
        time.sleep(idle_s)
        idle = (cpu_s(process) - before) / idle_s * 100
        lines += [
            Line("memory with the tray, idle", "MB", pss_mb(process), 90.0),
            Line("idle CPU with the tray", "%", idle, 0.3),
        ]
        if display is not None:
            loaded = measure_window(session.desk, process.record, 3)
            lines.append(Line("a window's page loaded", "s", loaded, 1.5))
        target = Target("dragoman", process.record.port, process=process)
        quiet = []
        for _ in range(50):
            begun = time.perf_counter()
            client.menu()
            quiet.append((time.perf_counter() - begun) * 1000)
        lines.append(Line("menu, nothing running, p50", "ms", statistics.median(quiet)))
        for scenario, name in ((PACED, "paced"), (FAST, "as fast as they come")):
            before, begun = cpu_s(process), time.perf_counter()
            times = measure_menu(bench, target, client, scenario)
            busy = (cpu_s(process) - before) / (time.perf_counter() - begun) * 100
            most = 200.0
            lines += [
                Line(f"menu, 200 streams {name}, p50", "ms", percentile(times, 0.5), most),
                Line(f"menu, 200 streams {name}, p99", "ms", percentile(times, 0.99), most),
                Line(f"menu, 200 streams {name}, slowest of {len(times)}", "ms", times[-1], most),
                Line(f"the proxy's CPU meanwhile, {name}", "%", busy),
            ]
            until(lambda: "Ready" in client.menu().texts()[0], "it is still busy")
        lines.append(Line("memory with the tray, after that", "MB", pss_mb(process)))
    return [line for line in lines if line.value is not None]


def render(lines):
    """Return the section."""
    rows = ["| measure | unit | measured | budget | |", "|---|---|---:|---:|---|"]
    for line in lines:
        value = f"{line.value:.2f}" if line.value < 10 else f"{line.value:,.0f}"
        budget = "none" if line.most is None else f"{line.most:g}"
        verdict = "-" if line.most is None else "kept" if line.kept else "**missed**"
        rows.append(f"| {line.measure} | {line.unit} | {value} | {budget} | {verdict} |")
    return "\n".join(rows) + "\n"


def heading():
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    load = os.getloadavg()[2]
    return (
        f"{TITLE}\nMeasured on {today} at commit {commit} with `python -m tests.bench.desktop "
        f"--write`: Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, on which {load:.1f} programs ran in the quarter of an hour before "
        "on average. `desktop.py` says how.\n\n"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="replace the section of RESULTS.md")
    options = parser.parse_args()
    begin = heading()
    table = render(take())
    sys.stdout.write(table)
    if options.write:
        text = RESULTS.read_text("utf-8")
        start = text.find(TITLE)
        if start < 0:
            text, start = text.rstrip("\n") + "\n", len(text.rstrip("\n")) + 1
        end = text.find("\n## ", start + 1)
        rest = text[end:] if end >= 0 else ""
        RESULTS.write_text(text[:start] + begin + table + rest, "utf-8")


if __name__ == "__main__":
    main()
