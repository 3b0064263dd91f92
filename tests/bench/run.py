"""Measure Dragoman beside nginx and the bare forwarder, and compare with the budgets.

::

    python -m tests.bench.run [--rounds 3] [--only NAME,...] [--write] [--json FILE]

Needs Linux (CPU times and memory come from the kernel) and ``cc``; nginx is left out where it is
not installed. Builds ``mock.c`` and ``load.c`` into a temporary folder, starts everything on
loopback, and takes the targets by turns within each round, in reverse order in every other one, so
that a busy moment of the machine does not fall on one of them alone. With two cores or more the
proxies run on one and mock and load on another.

How to read the numbers: the CPU figures are user and system time of the proxy's processes, divided
by requests or deltas, and hardly depend on what else the machine does. Latencies do, the 99th
percentile most of all. "added" is over the direct way to the mock in the same round. All figures
are medians over the rounds. ``--write`` replaces ``RESULTS.md`` up to its notes, which people write.
"""

import argparse
import contextlib
import datetime
import http.client
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

CLAUDE = ("/v1/messages", "claude-sonnet-4-5")
CHAT = ("/v1/chat/completions", "gpt-4o")
RESPONSES = ("/v1/responses", "gpt-4.1")
NOTES = "\n## "
"""What begins the part that is not made here."""

TRANSLATED = ("/v1/chat/completions", "claude-sonnet-4-5")


@dataclass(frozen=True)
class Scenario:
    """A load: what the request is like, and how many of them come how."""

    name: str
    connections: int
    requests: int
    deltas: int = 0
    """Of each stream; 0 asks for JSON."""
    gap_ms: int = 0
    body_kb: float = 0.5
    ramp_us: int = 0
    seconds: float = 4
    once: bool = False
    """Long, and not a matter of CPU noise: one round is enough."""


SCENARIOS = (
    Scenario("json1", 1, 600),
    Scenario("json32", 32, 4000),
    Scenario("json128k", 32, 1500, body_kb=128),
    Scenario("first", 1, 300, deltas=3),
    Scenario("burst", 16, 160, deltas=200),
    Scenario("paced", 8, 16, deltas=100, gap_ms=5, ramp_us=600),
    Scenario("open200", 200, 200, deltas=12, gap_ms=250, ramp_us=2000, seconds=15, once=True),
    Scenario("slow1000", 1000, 1000, deltas=24, gap_ms=250, ramp_us=1000, seconds=30, once=True),
)


@dataclass
class Target:
    """Something that answers on a port, in one dialect."""

    name: str
    port: int
    route: tuple[str, str] = CLAUDE
    only: frozenset[str] = frozenset()
    """Scenarios to run; all when empty."""
    process: subprocess.Popen | None = None
    idle_mb: float = 0.0
    after_mb: float | None = None
    """Memory once all loads are done."""

    def request(self, scenario: Scenario) -> bytes:
        path, model = self.route
        text = f"BENCH n={scenario.deltas or 1} gap={scenario.gap_ms};"
        text += " Please answer shortly." * max(1, round(scenario.body_kb * 1024 / 23) - 12)
        body = {"model": model, "max_tokens": 1024}
        if path == "/v1/responses":
            body = {"model": model, "input": text}
        else:
            body["messages"] = [{"role": "user", "content": text}]
        if scenario.deltas:
            body["stream"] = True
        raw = json.dumps(body).encode()
        fields = {
            "Host": f"127.0.0.1:{self.port}",
            "User-Agent": "bench/1",
            "Accept": "text/event-stream" if scenario.deltas else "application/json",
            "Content-Type": "application/json",
            "x-api-key": "bench",
            "anthropic-version": "2023-06-01",
            "Content-Length": str(len(raw)),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + raw


# The kernel's books


def family(process: subprocess.Popen | None) -> list[int]:
    """Return the ids of a process and its children."""
    if process is None:
        return []
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        return [process.pid, *map(int, children.split())]
    return [process.pid]


def cpu_s(process: subprocess.Popen | None) -> float:
    """Return the CPU time of a process and its children, with threads that have ended."""
    # The clock of another process: CPUCLOCK_SCHED in the kernel's posix-timers.h.
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in family(process))


def pss_mb(process: subprocess.Popen | None) -> float:
    """Return the memory of a process and its children, shared pages in parts."""
    total = 0
    for pid in family(process):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


# Starting things


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Bench:
    """The mock, the programs under test, and what was measured of them."""

    folder: Path
    pin: bool
    stack: contextlib.ExitStack
    mock_port: int = field(default_factory=free_port)
    start_s: float | None = None
    idle_percent: float | None = None
    runs: dict = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    """Target to scenario to runs: the object that ``load`` prints, with ``cpu_us`` (per request or
    delta) and ``mb`` (how much memory grew at most)."""

    def on_cpu(self, cpu: int, command: list[str]) -> list[str]:
        return ["taskset", "-c", str(cpu), *command] if self.pin else command

    def build(self) -> None:
        for name in ("mock", "load"):
            command = ["cc", "-O2", "-o", str(self.folder / name), str(HERE / f"{name}.c")]
            subprocess.run(command, check=True)

    def start(self, command: list[str], cpu: int = 1, env: dict | None = None) -> subprocess.Popen:
        log = self.stack.enter_context((self.folder / "programs.log").open("ab"))
        environment = {**os.environ, **(env or {})}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        process = subprocess.Popen(
            self.on_cpu(cpu, command), cwd=ROOT, env=environment, stdout=log, stderr=log
        )
        self.stack.callback(self.end, process)
        return process

    @staticmethod
    def end(process: subprocess.Popen) -> None:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def wait_for(self, port: int, process: subprocess.Popen) -> None:
        """Wait for the first healthy answer.

        Raises:
            SystemExit: the program ended, or does not answer within 30 seconds.
        """
        end = time.perf_counter() + 30
        while process.poll() is None and time.perf_counter() < end:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/healthz")
                connection.getresponse().read()
                connection.close()
            except OSError:
                time.sleep(0.002)
            else:
                return
        log = (self.folder / "programs.log").read_text("utf-8", "replace")
        raise SystemExit(f"no answer from {' '.join(process.args)}\n{log[-2000:]}")

    def start_mock(self) -> None:
        mock = self.start([str(self.folder / "mock"), str(self.mock_port)], cpu=0)
        self.wait_for(self.mock_port, mock)

    def start_bare(self) -> Target:
        port = free_port()
        upstream = f"http://127.0.0.1:{self.mock_port}"
        process = self.start([sys.executable, "-m", "tests.bench.bare", str(port), upstream])
        self.wait_for(port, process)
        return Target("bare", port, process=process)

    def start_nginx(self) -> Target | None:
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            return None
        port = free_port()
        folder = self.folder / "nginx"
        folder.mkdir()
        settings = folder / "nginx.conf"
        settings.write_text(f"""
            daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
            worker_rlimit_nofile 8192;
            events {{ worker_connections 4096; }}
            http {{
                access_log off; client_max_body_size 64m; client_body_buffer_size 1m;
                keepalive_requests 1000000;
                client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
                fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
                upstream mock {{
                    server 127.0.0.1:{self.mock_port}; keepalive 256; keepalive_requests 1000000;
                }}
                server {{
                    listen 127.0.0.1:{port} backlog=4096;
                    location / {{
                        proxy_pass http://mock; proxy_http_version 1.1;
                        proxy_set_header Connection ""; proxy_buffering off;
                    }}
                }}
            }}""")
        process = self.start([program, "-c", str(settings), "-e", str(folder / "error.log")])
        self.wait_for(port, process)
        return Target("nginx", port, process=process)

    def start_dragoman(self) -> tuple[Target, float]:
        """Start it in a folder of its own; return it and the seconds to its first answer."""
        port = free_port()
        home = Path(tempfile.mkdtemp(prefix="home-", dir=self.folder))
        (home / "config").mkdir()
        lines = ["providers:"]
        for name, dialect, (_, model) in (
            ("anthropic-mock", "anthropic", CLAUDE),
            ("chat-mock", "openai_chat", CHAT),
            ("responses-mock", "openai_responses", RESPONSES),
        ):
            lines.append(
                f"  {name}: {{kind: compatible, dialect: {dialect}, api_key: x, "
                f'base_url: "http://127.0.0.1:{self.mock_port}", models: [{model}]}}'
            )
        (home / "config" / "config.yaml").write_text("\n".join(lines) + "\n")
        (home / "config" / "config.yaml").chmod(0o600)
        begun = time.perf_counter()
        process = self.start(
            [sys.executable, "-m", "app", "serve", "--port", str(port)],
            env={"DRAGOMAN_HOME": str(home)},
        )
        self.wait_for(port, process)
        return Target("dragoman", port, process=process), time.perf_counter() - begun

    def measure_start(self, times: int) -> None:
        seconds = []
        for _ in range(times + 1):
            target, took = self.start_dragoman()
            self.end(target.process)
            seconds.append(took)
        self.start_s = statistics.median(seconds[1:])  # the first fills the caches

    # Measuring

    def run(self, target: Target, scenario: Scenario) -> dict:
        """Put one load on one target.

        Raises:
            SystemExit: a request failed, or a delta did not arrive.
        """
        request = self.folder / "request"
        request.write_bytes(target.request(scenario))
        command = [str(self.folder / "load"), target.port, scenario.connections, scenario.requests]
        command += [request, scenario.ramp_us, scenario.seconds]
        before, before_mb = cpu_s(target.process), pss_mb(target.process)
        load = subprocess.Popen(
            self.on_cpu(0, [str(part) for part in command]), stdout=subprocess.PIPE
        )
        most_mb = before_mb
        while scenario.once and load.poll() is None:
            most_mb = max(most_mb, pss_mb(target.process))
            time.sleep(0.25)
        result = json.loads(load.communicate()[0])
        used = cpu_s(target.process) - before
        wanted = result["requests"] * scenario.deltas
        if result["failed"] or not result["succeeded"] or result["deltas"] != wanted:
            raise SystemExit(f"{target.name}, {scenario.name}: {result}")
        units = result["deltas"] if scenario.deltas else result["succeeded"]
        return {**result, "cpu_us": used / units * 1e6, "mb": most_mb - before_mb}

    def measure(self, targets: list[Target], scenarios: list[Scenario], rounds: int) -> None:
        warm = [Scenario("warm", 4, 300), Scenario("warm", 4, 40, deltas=20)]
        for target in targets:
            time.sleep(0.5)
            target.idle_mb = pss_mb(target.process)
            for scenario in warm:
                self.run(target, scenario)
        for number in range(rounds):
            for scenario in scenarios:
                if scenario.once and number:
                    continue
                for target in targets if number % 2 == 0 else targets[::-1]:
                    if not target.only or scenario.name in target.only:
                        result = self.run(target, scenario)
                        self.runs[target.name][scenario.name].append(result)
        for target in targets:
            target.after_mb = pss_mb(target.process)

    def measure_idle(self, target: Target, seconds: float) -> None:
        before = cpu_s(target.process)
        time.sleep(seconds)
        self.idle_percent = (cpu_s(target.process) - before) / seconds * 100

    def value(self, target: str, scenario: str, key: str) -> float | None:
        runs = self.runs.get(target, {}).get(scenario)
        return statistics.median(run[key] for run in runs) if runs else None

    def added(self, target: str, scenario: str, key: str) -> float | None:
        """Return how much longer something takes than the direct way."""
        runs = self.runs.get(target, {}).get(scenario)
        direct = self.runs.get("direct", {}).get(scenario)
        if not runs or not direct:
            return None
        return statistics.median(a[key] - b[key] for a, b in zip(runs, direct, strict=True))


# The budgets

Figure = Callable[[str], float | None]


@dataclass(frozen=True)
class Budget:
    """One line of the table: a figure of each target, and what ours may be."""

    measure: str
    unit: str
    figure: Figure
    limit: str
    most: Callable[[Figure], float | None]
    """The most that ours may be, from the figures of the others."""
    who: str = "dragoman"


def times(factor: float, other: str = "bare") -> Callable[[Figure], float | None]:
    def most(figure: Figure) -> float | None:
        base = figure(other)
        return None if base is None else base * factor

    return most


def at_most(value: float) -> Callable[[Figure], float | None]:
    return lambda figure: value


def budgets(bench: Bench, targets: dict[str, Target]) -> list[Budget]:
    def cpu(scenario: str) -> Figure:
        return lambda name: bench.value(name, scenario, "cpu_us")

    def added(scenario: str, key: str, scale: float = 1.0) -> Figure:
        def figure(name: str) -> float | None:
            value = bench.added(name, scenario, key)
            return None if value is None else value * scale

        return figure

    def idle(name: str) -> float | None:
        return targets[name].idle_mb if name in targets else None

    def grown(scenario: str) -> Figure:
        return lambda name: bench.value(name, scenario, "mb")

    def after(name: str) -> float | None:
        return targets[name].after_mb if name in targets else None

    def ours(value: float | None) -> Figure:
        return lambda name: value if name == "dragoman" else None

    return [
        Budget("CPU per JSON request, 0.5 KB, 32 connections", "µs", cpu("json32"),
               "1.25 times bare", times(1.25)),
        Budget("CPU per JSON request, 128 KB", "µs", cpu("json128k"), "1.25 times bare", times(1.25)),
        Budget("CPU per JSON request, 128 KB", "µs", cpu("json128k"), "7 times nginx",
               times(7, "nginx")),
        Budget("CPU per JSON request, 0.5 KB, translated", "µs", cpu("json32"), "", at_most(1e9),
               "translated"),
        Budget("added latency p50, one connection", "µs", added("json1", "latency_p50"),
               "1.25 times bare", times(1.25)),
        Budget("added latency p99, one connection", "µs", added("json1", "latency_p99"),
               "1.5 times bare", times(1.5)),
        Budget("time to first token, added p50", "µs", added("first", "first_p50"),
               "1.25 times bare", times(1.25)),
        Budget("CPU per delta, burst, same dialect", "µs", cpu("burst"), "1.25 times bare",
               times(1.25)),
        Budget("CPU per delta, burst, translated", "µs", cpu("burst"), "1.6 times bare", times(1.6),
               "translated"),
        Budget("CPU per delta, paced", "µs", cpu("paced"), "1.2 times bare", times(1.2)),
        Budget("CPU per delta, paced, translated", "µs", cpu("paced"), "", at_most(1e9),
               "translated"),
        Budget("1,000 slow streams, added p99", "ms", added("slow1000", "delay_p99", 1e-3),
               "15 ms", at_most(15)),
        Budget("memory, idle", "MB", idle, "64 MB", at_most(64)),
        Budget("memory, 200 streams more", "MB", grown("open200"), "10 MB", at_most(10)),
        Budget("memory, 1,000 streams more", "MB", grown("slow1000"), "30 MB", at_most(30)),
        Budget("memory, after all loads", "MB", after, "", at_most(1e9)),
        Budget("idle CPU", "%", ours(bench.idle_percent), "0.3 %", at_most(0.3)),
        Budget("serve to first healthy answer", "s", ours(bench.start_s), "0.6 s", at_most(0.6)),
    ]  # fmt: skip


def number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:,.0f}"


def render(lines: list[Budget]) -> str:
    """Return the table: one line a budget, with what is missed and by how much."""
    rows = [
        "| measure | unit | nginx | bare | Dragoman | of bare | budget | |",
        "|---|---|---:|---:|---:|---:|---|---|",
    ]
    for line in lines:
        own, bare, most = line.figure(line.who), line.figure("bare"), line.most(line.figure)
        if own is None:
            continue
        ratio = "-" if not bare or bare < 0 else f"{own / bare:.2f}"
        verdict = "-" if most is None or not line.limit else "kept"
        if verdict == "kept" and own > most:
            verdict = f"**missed by {own / most - 1:.0%}**"
        rows.append(
            f"| {line.measure} | {line.unit} | {number(line.figure('nginx'))} | {number(bare)} "
            f"| {number(own)} | {ratio} | {line.limit or 'none'} | {verdict} |"
        )
    return "\n".join(rows) + "\n"


def missed(lines: list[Budget], slack: float, word: str) -> list[str]:
    """Return what is over its budget times ``slack``, of the measures that start with ``word``."""
    found = []
    for line in lines:
        if not line.measure.startswith(word):
            continue
        own, most = line.figure(line.who), line.most(line.figure)
        if own is not None and most is not None and own > most * slack:
            found.append(f"{line.measure}: {number(own)} {line.unit}, at most {number(most)}")
    return found


def take(rounds: int, only: frozenset[str] = frozenset(), pin: bool | None = None):
    """Measure everything.

    Args:
        rounds: how often each load comes.
        only: names of scenarios; all when empty. Start-up and idling come with all.
        pin: whether programs stay on one core; by default where there are two.

    Returns:
        The bench and the lines of its table.
    """
    if pin is None:
        pin = (os.cpu_count() or 1) > 1 and shutil.which("taskset") is not None
    scenarios = [one for one in SCENARIOS if not only or one.name in only]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        bench = Bench(folder, pin, stack)
        bench.build()
        bench.start_mock()
        if not only:
            bench.measure_start(5)
        dragoman, _ = bench.start_dragoman()
        translated = Target("translated", dragoman.port, TRANSLATED, process=dragoman.process)
        translated.only = frozenset({"json32", "burst", "paced"})
        bare = bench.start_bare()
        direct = Target("direct", bench.mock_port)
        targets = [direct, *filter(None, [bench.start_nginx()]), bare, dragoman, translated]
        bench.measure(targets, scenarios, rounds)
        if not only:
            bench.measure_idle(dragoman, 20)
        return bench, budgets(bench, {target.name: target for target in targets})


def heading(rounds: int) -> str:
    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()

    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return (
        "# Results\n\n"
        f"Measured on {today} at commit {git('rev-parse', '--short', 'HEAD')} with `python -m "
        f"tests.bench.run --rounds {rounds} --write`: Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores. `run.py` says how, and "
        "how to read it: compare ratios; the absolute figures belong to one machine, and the "
        "latencies to one quiet or busy hour of it.\n\n"
        "*nginx* is `proxy_pass` with one worker, the floor. *bare* is `bare.py`: Tornado and our "
        "upstream client with nothing between them.\n\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="names of scenarios, with commas between")
    parser.add_argument("--write", action="store_true", help="replace RESULTS.md")
    parser.add_argument("--json", type=Path, help="keep the raw runs in a file")
    options = parser.parse_args()
    only = frozenset(filter(None, options.only.split(",")))
    if unknown := only - {one.name for one in SCENARIOS}:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    bench, lines = take(options.rounds, only)
    table = render(lines)
    sys.stdout.write(table)
    if options.json:
        options.json.write_text(json.dumps(bench.runs, indent=1))
    if options.write:
        results = HERE / "RESULTS.md"
        old = results.read_text("utf-8") if results.exists() else ""
        notes = old[old.index(NOTES) :] if NOTES in old else ""
        results.write_text(heading(options.rounds) + table + notes, "utf-8")


if __name__ == "__main__":
    main()
