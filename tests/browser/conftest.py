import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.browser.chromium import Chromium, find_chromium

AXE = "4.11.0"
CACHE = Path(__file__).parents[2] / ".cache" / "browser"
PICTURES = "DRAGOMAN_TEST_PICTURES"
"""Names a folder that gets the pictures which tests take; without it they go where pytest keeps
its temporary files."""


@pytest.fixture(scope="session")
def chromium():
    path = find_chromium()
    if path is None:
        pytest.skip("chromium is not installed")
    browser = Chromium(path)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def axe():
    """The source of axe-core, which checks a page for what keeps people out."""
    file = CACHE / "node_modules" / "axe-core" / "axe.min.js"
    facts = file.with_name("package.json")
    if not file.exists() or json.loads(facts.read_text())["version"] != AXE:
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("npm is not installed")
        CACHE.mkdir(parents=True, exist_ok=True)
        (CACHE / "package.json").write_text('{"private": true}\n')
        words = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(CACHE)]
        done = subprocess.run(
            [npm, *words, f"axe-core@{AXE}"], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"axe-core cannot be installed: {done.stderr[-200:]}")
    return file.read_text("utf-8")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    named = os.environ.get(PICTURES)
    return Path(named) if named else tmp_path_factory.mktemp("pictures")
