"""The wheel, for pipx and uv."""

from __future__ import annotations

import shutil
from pathlib import Path

from builders.frozen import stage_assets, tools
from builders.work import BUILD, DIST, HERE, ROOT, run, step, version


def wheel() -> Path:
    """Build the wheel, from a copy that knows its commit."""
    python = tools()
    source = BUILD / "stage" / "wheel"
    with step("building the wheel"):
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir(parents=True)
        skip = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(ROOT / "app", source / "app", ignore=skip)
        shutil.copytree(stage_assets("wheel"), source / "assets")
        (source / "packaging").mkdir()
        shutil.copy(HERE / "LICENSE", source / "packaging" / "LICENSE")
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, source / name)
        DIST.mkdir(exist_ok=True)
        run([python, "-m", "hatchling", "build", "-t", "wheel", "-d", DIST], cwd=source)
    return DIST / f"dragoman-{version()}-py3-none-any.whl"
