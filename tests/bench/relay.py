"""How much later the first token comes through the relay than from Google itself.

::

    .venv/bin/python -m tests.bench.relay             # 200 pairs
    .venv/bin/python -m tests.bench.relay --pairs 50
    .venv/bin/python -m tests.bench.relay --write     # and put it into RESULTS-relay.md

Both ways end at the same stand-in for Google on this machine. Direct: one request over HTTP.
Relayed: the request to Dragoman, the relay's WebSocket, the page's own script in Node, its ``fetch``
to the stand-in, and all of it back. Pairs are taken in turn over warm connections, and the time runs
from sending the request to the first bytes of text.
"""

import argparse
import platform
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from tests.end_to_end.test_aistudio import node, prompt, stream_url, world

LIMIT_MS = 50
WARM_UP = 10
RESULTS = Path(__file__).parent / "RESULTS-relay.md"
DIALECTS = ("gemini", "openai_chat")


def first_text_ms(client, url, body):
    begun = time.perf_counter()
    with client.stream("POST", url, json=body) as reply:
        reply.raise_for_status()
        took, seen = None, b""
        for chunk in reply.iter_raw():
            seen += chunk
            if took is None and b"hello" in seen:
                took = (time.perf_counter() - begun) * 1000
    if took is None:
        raise RuntimeError(f"no text came: {seen[:300]!r}")
    return took


def measure(pairs):
    """Return per way the times to the first text in milliseconds."""
    text = "FAKE:text=hello there;n=2;"
    chat = {
        "model": "gemini-2.5-flash-aistudio",
        "stream": True,
        "messages": [{"role": "user", "content": text}],
    }
    times = {"direct": [], "gemini": [], "openai_chat": []}
    with (
        tempfile.TemporaryDirectory() as home,
        world(Path(home), node(), chunks="whole") as made,
        made.page(),
        httpx.Client(timeout=30, trust_env=False, headers={"user-agent": ""}) as client,
    ):
        google = f"{made.google.url}/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
        for number in range(pairs + WARM_UP):
            took = {
                "direct": first_text_ms(client, google, prompt(text)),
                "gemini": first_text_ms(client, stream_url(made), prompt(text)),
                "openai_chat": first_text_ms(client, f"{made.address}/v1/chat/completions", chat),
            }
            if number >= WARM_UP:
                for way, ms in took.items():
                    times[way].append(ms)
    return times


def added_ms(times):
    """Return per dialect the added milliseconds: median and 99th percentile of the pairs."""
    found = {}
    for dialect in DIALECTS:
        added = sorted(a - b for a, b in zip(times[dialect], times["direct"], strict=True))
        found[dialect] = (statistics.median(added), added[int(len(added) * 0.99)])
    return found


def render(times):
    lines = ["| client | added p50 | added p99 |", "|---|---|---|"]
    for dialect, (half, most) in added_ms(times).items():
        lines.append(f"| {dialect} | {half:.1f} ms | {most:.1f} ms |")
    direct = statistics.median(times["direct"])
    lines.append("")
    lines.append(f"Direct p50: {direct:.1f} ms, {len(times['direct'])} pairs.")
    return "\n".join(lines)


def main(argv=None):
    parser = argparse.ArgumentParser(description="Measure the relay's time to the first token.")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    options = parser.parse_args(argv)
    text = render(measure(options.pairs))
    print(text)  # noqa: T201 - the command's output
    if options.write:
        head = (
            "# Time to the first token added by the relay\n\n"
            f"Made by `python -m tests.bench.relay --write` on {time.strftime('%Y-%m-%d')}, "
            f"{platform.system()} {platform.machine()}, Python {platform.python_version()}. "
            f"The limit is {LIMIT_MS} ms at the median.\n\n"
        )
        RESULTS.write_text(f"{head}{text}\n", "utf-8")


if __name__ == "__main__":
    main()
