"""How fast the ledger answers with a million requests in it, and what a row costs.

::

    .venv/bin/python -m tests.bench.ledger                  # a million rows in a temporary folder
    .venv/bin/python -m tests.bench.ledger --rows 100000
    .venv/bin/python -m tests.bench.ledger --write          # and put it into RESULTS-ledger.md

The rows are spread over 400 days, as a busy team would leave them: 20 people, each with a key, two
programs and four models at accounts of their own choice, out of 24 accounts at 6 providers, 40
models and 8 programs. The sums are then larger than any single person's. Every question goes through the same functions as
``/admin/usage`` and ``/admin/requests``, on the default SQLite file, once to warm up and then five
times; the slowest of the five counts. Beside it stands what the processor worked for it, which says
the same on a machine that is busy with other things.
"""

import argparse
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from app.canonical.usage import Usage
from app.ledger.days import day_of
from app.ledger.entry import AttemptEntry, Entry
from app.ledger.ledger import list_page, request_detail, usage_report
from app.ledger.query import list_query, usage_query
from app.ledger.row import attempt_rows, row_of
from app.store.database import Database
from app.store.ledger import LedgerStore

LIMIT_MS = 200
DAYS = 400
NOW = 1_795_262_400.0  # 2026-11-21 12:00 UTC
RUNS = 5
RESULTS = Path(__file__).parent / "RESULTS-ledger.md"

PROVIDERS = ("claude", "codex", "openai", "anthropic", "gemini", "openrouter")
ACCOUNTS = [f"{provider}/account-{i}" for provider in PROVIDERS for i in range(4)]
MODELS = [f"{provider}-model-{i}" for provider in PROVIDERS for i in range(7)][:40]
CLIENTS = [f"agent-{i}" for i in range(8)]
KEYS = ["", *(f"{i:012x}" for i in range(19))]


def make_people(rng):
    """Return for each key what its owner uses."""
    people = []
    for key in KEYS:
        routes = []
        for account in rng.sample(ACCOUNTS, 4):
            own = [model for model in MODELS if model.startswith(account.partition("/")[0])]
            routes.append((account, rng.choice(own)))
        people.append((key, rng.sample(CLIENTS, 2), routes))
    return people


def make_entries(count, rng, begin, days):
    """Yield requests from the oldest to the newest."""
    people = make_people(random.Random(1))  # noqa: S311 - not for secrets
    for i in range(count):
        at = begin + i * days * 86_400 / count
        key, clients, routes = rng.choice(people)
        account, model = rng.choices(routes, (8, 4, 2, 1))[0]
        provider = account.partition("/")[0]
        failed = rng.random() < 0.03
        first = int(rng.lognormvariate(6.8, 0.7))
        tries = tuple(
            AttemptEntry(
                at=at,
                provider=provider,
                account=account,
                model=model,
                dialect="anthropic",
                grade="verbatim",
                status=200 if last else 529,
                error="" if last else "overloaded",
                duration_ms=first * 5,
            )
            for last in ((False, True) if rng.random() < 0.05 else (True,))
        )
        yield Entry(
            id=f"req_{i:024d}",
            at=at,
            client=rng.choices(clients, (5, 1))[0],
            session=f"{rng.getrandbits(192):048x}" if i % 20 else f"{i // 400:048x}",
            key_id=key,
            dialect="anthropic",
            asked=model,
            model=model,
            provider=provider,
            account=account,
            upstream="anthropic",
            grade="verbatim",
            reason="first of its provider",
            status=529 if failed else 200,
            stop="" if failed else "tool_use",
            error="overloaded" if failed else "",
            tokens=None if failed else Usage(800, 20_000, 1_500, 400, 100),
            cost=None if failed else rng.randrange(100_000),
            worth=provider in ("claude", "codex"),
            first_ms=first,
            duration_ms=first * 6,
            stream=True,
            attempts=tries,
        )


def fill(store, count, rng, batch=5_000):
    """Write the rows in larger batches than the program does."""
    entries = []
    for entry in make_entries(count, rng, NOW - DAYS * 86_400, DAYS):
        entries.append(entry)
        if len(entries) == batch:
            write(store, entries)
            entries = []
    if entries:
        write(store, entries)


def write(store, entries):
    rows = [row_of(entry) for entry in entries]
    store.add(rows, [row for entry in entries for row in attempt_rows(entry)])


def questions(store):
    """Yield the name of each question and what asks it."""
    by_all = ("day", "model", "account", "agent", "key", "provider")
    for days in (1, 30, DAYS):
        for by in by_all:
            yield f"by {by}, {days} days", usage(store, by=by, since=f"{days}d")
    yield "by hour, 24 hours", usage(store, by="hour")
    yield "by hour, 34 days", usage(store, by="hour", since=f"{34 * 24}h")
    yield "by model, 24 hours", usage(store, by="model", since="24h")
    model, account = MODELS[0], ACCOUNTS[0]
    yield "by day of one model", usage(store, by="day", since="400d", model=model)
    yield "by model of one key", usage(store, by="model", since="400d", key=KEYS[3])
    yield "by day of one program", usage(store, by="day", since="400d", agent=CLIENTS[2])
    yield "list, newest", page(store)
    yield "list, 500", page(store, limit="500")
    yield "list of a frequent model", page(store, model=model)
    yield "list of a rare model", page(store, model=MODELS[-1])
    yield "list of a rare account", page(store, account=ACCOUNTS[-1])
    yield "list of one key, one program", page(store, key=KEYS[5], agent=CLIENTS[5])
    yield (
        "list of four filters",
        page(store, provider="claude", account=account, agent=CLIENTS[1], key=KEYS[4]),
    )
    yield "list without any match", page(store, model=model, account=ACCOUNTS[-1])
    yield "list of failures", page(store, failed="1")
    yield "list of one account's failures", page(store, failed="1", account=ACCOUNTS[-1])
    yield "list of one error", page(store, error="unheard_of")
    yield "list of one conversation", page(store, session=f"{7:048x}")
    yield "list of a month, a year ago", page(store, since="2025-11-01", until="2025-11-30")
    far = f"{NOW - 200 * 86_400!r}:500000"
    yield "list, far down", page(store, cursor=far, model=model)
    yield "one request", lambda: request_detail(store, f"req_{12_345:024d}")
    today = day_of(NOW)
    month = (today // 100 * 100 + 1, today, ("day", "key_id", "provider"), {})
    yield "budgets of the month", lambda: store.usage.sums("day", *month)


def usage(store, **fields):
    query = usage_query(fields, NOW)
    return lambda: usage_report(store, query)


def page(store, **fields):
    query = list_query(fields, NOW)
    return lambda: list_page(store, query)


def slowest_ms(ask):
    """Return the slowest run by the clock on the wall, and by the processor's."""
    ask()
    times, worked = [], []
    for _ in range(RUNS):
        begun, begun_work = time.perf_counter(), time.process_time()
        ask()
        times.append((time.perf_counter() - begun) * 1_000)
        worked.append((time.process_time() - begun_work) * 1_000)
    return max(times), max(worked)


def row_costs_us(store, rng):
    """Return the CPU time of a row in batches of 500, and of one that comes alone."""
    costs = []
    for size, rounds in ((500, 6), (1, 200)):
        batches = []
        for number in range(rounds):
            fresh = list(make_entries(size, rng, NOW + number, 1 / 86_400))
            batches.append(
                [
                    msgspec.structs.replace(entry, id=f"fresh_{size}_{number}_{i}")
                    for i, entry in enumerate(fresh)
                ]
            )
        write(store, [msgspec.structs.replace(batches[0][0], id=f"warm_{size}")])
        begun = time.thread_time()
        for batch in batches:
            write(store, batch)
        costs.append((time.thread_time() - begun) / (size * rounds) * 1e6)
    return costs


def measure(count, folder):
    """Return the lines (name, ms, CPU ms), the fill's seconds, the file's bytes, the rows' costs."""
    rng = random.Random(8317)  # noqa: S311 - not for secrets
    database = Database(None, Path(folder))
    database.migrate()
    store = LedgerStore(database)
    begun = time.perf_counter()
    fill(store, count, rng)
    filled_s = time.perf_counter() - begun
    lines = [(name, *slowest_ms(ask)) for name, ask in questions(store)]
    size = store.size_bytes()
    costs = row_costs_us(store, rng)
    database.close()
    return lines, filled_s, size, costs


def render(count, lines, filled_s, size, costs):
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    day = datetime.now(UTC).date().isoformat()
    slow = [name for name, ms, _ in lines if ms >= LIMIT_MS]
    text = [
        "# Results of the ledger",
        "",
        f"Measured on {day} at commit {commit} with `python -m tests.bench.ledger --rows {count} "
        f"--write`: Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores. `ledger.py` says how; the limit is {LIMIT_MS} ms for every "
        "question.",
        "",
        f"{count:,} requests in {DAYS} days: {size / 1e6:,.0f} MB, filled in {filled_s:,.0f} s. "
        f"With all of them there, a row in a batch of 500 costs {costs[0]:,.0f} µs of CPU on the "
        f"writer's thread, and one that comes alone {costs[1]:,.0f} µs.",
        "",
        f"Slowest: {max(ms for _, ms, _ in lines):,.0f} ms, of which the processor worked "
        f"{max(cpu for _, _, cpu in lines):,.0f} ms at most; the machine's load was "
        f"{os.getloadavg()[0]:.1f}. "
        + (f"**Over the limit: {', '.join(slow)}.**" if slow else "All are within the limit."),
        "",
        "| question | slowest of five, ms | most work of five, ms of CPU |",
        "|---|---:|---:|",
        *(f"| {name} | {ms:,.1f} | {cpu:,.1f} |" for name, ms, cpu in lines),
        "",
    ]
    return "\n".join(text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = render(options.rows, *measure(options.rows, folder))
    if options.write:
        RESULTS.write_text(text, "utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
