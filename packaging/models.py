"""Make ``assets/models.json`` from public model data.

::

    git clone https://github.com/anomalyco/models.dev
    pip download --no-deps genai-prices
    .venv/bin/python packaging/models.py models.dev genai_prices-0.2.3-py3-none-any.whl

Limits, modalities and abilities come from models.dev; prices, and models that it does not have yet,
from genai-prices, which is released more often. The first argument is a clone, bare or
not; its last commit is read through git. Both sources are under the MIT licence, whose texts go
into the file, beside versions and dates.

The result has one model a line, so that a new snapshot can be read as a diff. The key of a model is
the name that its service uses: ``claude-sonnet-4-5``, and ``vendor/model`` at OpenRouter and its
like. Where services share a name, the first of ``SERVICES`` that knows it wins. A dated name is left
out where the same name without its date has the same data.
"""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import sys
import tempfile
import tomllib
import types
import zipfile
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "assets" / "models.json"

SERVICES = (  # the maker's own service before those that host other people's models
    ("anthropic", "anthropic"),
    ("openai", "openai"),
    ("google", "google"),
    ("mistral", "mistral"),
    ("deepseek", "deepseek"),
    ("xai", "x-ai"),
    ("moonshotai", "moonshotai"),
    ("zai", "zai"),
    ("minimax", "minimax"),
    ("alibaba", None),
    ("cohere", "cohere"),
    ("perplexity", "perplexity"),
    ("groq", "groq"),
    ("cerebras", "cerebras"),
    ("openrouter", "openrouter"),
    ("togetherai", "together"),
    ("fireworks-ai", "fireworks"),
)
"""Names of a service in models.dev and in genai-prices."""

DATED = re.compile(r"-(20\d{6}|20\d\d-\d\d-\d\d)$")


def git(clone: str, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", clone, *arguments], check=True, capture_output=True, text=True
    ).stdout


def read_models_dev(clone: str) -> tuple[dict[str, dict[str, dict]], dict]:
    """Return service to model to row, and what the source is."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "tree.tar")
        git(clone, "archive", "-o", str(archive), "HEAD", "providers", "models", "LICENSE")
        subprocess.run(["tar", "-xf", archive, "-C", folder], check=True)
        root = Path(folder)
        licence = (root / "LICENSE").read_text("utf-8")
        rows = {
            service: {
                path.relative_to(models).as_posix().removesuffix(".toml"): dev_row(root, path)
                for models in [root / "providers" / service / "models"]
                for path in sorted(models.rglob("*.toml"))
            }
            for service, _ in SERVICES
        }
    commit, date = git(clone, "log", "-1", "--format=%H %cs").split()
    about = {"name": "models.dev", "version": commit, "date": date, "licence": licence}
    return rows, about


def dev_row(root: Path, path: Path) -> dict:
    """Return our row of a model; a hosted one inherits from its maker's."""
    own = tomllib.loads(path.read_text("utf-8"))
    merged = own
    if base := own.get("base_model"):
        shared = tomllib.loads((root / "models" / f"{base}.toml").read_text("utf-8"))
        merged = {**shared, **own}
        for table in ("limit", "modalities"):
            merged[table] = {**shared.get(table, {}), **own.get(table, {})}
    limit, cost = merged.get("limit", {}), merged.get("cost", {})
    modalities = merged.get("modalities", {})
    return without_blanks(
        {
            "context": limit.get("context"),
            "max_output": limit.get("output"),
            "input": modalities.get("input"),
            "output": modalities.get("output"),
            "reasoning": merged.get("reasoning"),
            "tools": merged.get("tool_call"),
            "prices": dev_prices(cost),
            "long_prices": [
                {"above": tier["tier"]["size"], "prices": known(dev_prices(tier))}
                for tier in cost.get("tiers", ())
            ],
        }
    )


def dev_prices(cost: dict) -> dict:
    return {key: cost.get(key) for key in ("input", "cache_read", "cache_write", "output")}


def read_genai_prices(wheel: str) -> tuple[dict[str, dict[str, dict]], dict]:
    """Return service to model to row, and what the source is."""
    with zipfile.ZipFile(wheel) as package:
        names = package.namelist()
        newest = max(entry.date_time for entry in package.infolist())
        metadata = package.read(next(n for n in names if n.endswith("/METADATA"))).decode()
        licence = package.read(next(n for n in names if n.endswith("/LICENSE"))).decode()
    # Only the table is wanted, so the package's HTTP client need not be installed.
    sys.modules.setdefault("httpx2", types.ModuleType("httpx2"))
    sys.path.insert(0, wheel)
    from genai_prices.data import providers

    by_id = {provider.id: provider for provider in providers}
    today = datetime.datetime.now(datetime.UTC).date()
    rows = {
        service: {
            model.id: genai_row(model, today)
            for model in by_id[name].models
            if not (service == "google" and model.id.startswith("claude"))  # Vertex
        }
        for service, name in SERVICES
        if name is not None
    }
    version = re.search(r"^Version: (.+)$", metadata, re.MULTILINE).group(1)
    # Reproducible wheels carry a fixed date; the day of this snapshot is then all there is.
    date = datetime.date(*newest[:3]) if newest[0] > 2020 else today
    about = {
        "name": "genai-prices",
        "version": version,
        "date": date.isoformat(),
        "licence": licence,
    }
    return rows, about


def genai_row(model, today: datetime.date) -> dict:
    """Return our row of a model, with today's prices for a prompt of usual length.

    Where a price depends on the hour the higher stands: an estimate had better not be too low.
    """
    prices = model.prices
    if isinstance(prices, list):
        dated = [item for item in prices if not hasattr(item.constraint, "start_time")]
        in_force = [
            item.prices
            for item in dated
            if item.constraint is None or item.constraint.start_date <= today
        ][-1:]
        hourly = [item.prices for item in prices if hasattr(item.constraint, "start_time")]
        prices = max(in_force + hourly, key=lambda one: amount(one.input_mtok) or 0.0, default=None)
    fields = {
        "input": "input_mtok",
        "cache_read": "cache_read_mtok",
        "cache_write": "cache_write_mtok",
        "output": "output_mtok",
    }
    found = {key: getattr(prices, name, None) for key, name in fields.items()}
    return without_blanks(
        {
            "context": model.context_window,
            "prices": {key: amount(price) for key, price in found.items()},
            "long_prices": [
                {"above": size, "prices": known({k: amount(p, size) for k, p in found.items()})}
                for size in sorted({tier.start for p in found.values() for tier in tiers(p)})
            ],
        }
    )


def tiers(price) -> list:
    return list(getattr(price, "tiers", ()))


def amount(price, prompt: int = 0) -> float | None:
    """Return a price as a number, that for prompts of just above so many tokens."""
    if price is None:
        return None
    reached = [tier for tier in tiers(price) if tier.start <= prompt]
    if reached:
        return float(max(reached, key=lambda tier: tier.start).price)
    return float(getattr(price, "base", price))


def known(prices: dict) -> dict:
    """Leave out the prices that are not known."""
    return {k: v for k, v in prices.items() if v is not None and v >= 0}


def without_blanks(row: dict) -> dict:
    """Leave out what is not known; a limit of 0 means that, too."""
    row = {**row, "prices": known(row["prices"])}
    row["long_prices"] = [tier for tier in row["long_prices"] if tier["above"] and tier["prices"]]
    return {k: v for k, v in row.items() if v is not None and v != {} and (v or v is False)}


def merge(dev: dict[str, dict[str, dict]], genai: dict[str, dict[str, dict]]) -> dict[str, dict]:
    """Return name to row over all services."""
    models: dict[str, dict] = {}
    for service, _ in SERVICES:
        theirs, priced = dev[service], genai.get(service, {})
        for name in {**theirs, **priced}:
            if service == "openrouter" and "/" not in name:
                continue  # genai-prices knows some makers' models there without the maker
            row = {"service": service, **priced.get(name, {}), **theirs.get(name, {})}
            if prices := priced.get(name, {}).get("prices"):
                row["prices"] = prices  # the newer
                row.pop("long_prices", None)
                if long := priced[name].get("long_prices"):
                    row["long_prices"] = long
            models.setdefault(name, row)
    for name in list(models):
        short = DATED.sub("", name)
        if short != name and models.get(short) == models[name]:
            del models[name]
    return {name: row for name, row in sorted(models.items()) if len(row) > 1}


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    dev, about_dev = read_models_dev(sys.argv[1])
    genai, about_genai = read_genai_prices(sys.argv[2])
    models = merge(dev, genai)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    about = json.dumps(
        {"date": today, "made_by": "packaging/models.py", "sources": [about_dev, about_genai]},
        indent=1,
    )
    lines = ",\n".join(
        f"{json.dumps(name)}: {json.dumps(row, separators=(',', ':'))}"
        for name, row in models.items()
    )
    TARGET.write_text(f'{{"about": {about},\n"models": {{\n{lines}\n}}}}\n', "utf-8")
    print(f"{TARGET.name}: {len(models)} models, {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
