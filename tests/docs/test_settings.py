"""The page about the settings file: its variables set what it says, its places are those used."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from app.config import AT_START
from app.configtext import load, render_path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "assets" / "docs" / "settings.md").read_text("utf-8")
OVERRIDE = re.compile(r"^\| `(DRAGOMAN_\w+)=(.+?)` \| `([^`]+)`", re.MULTILINE)
FILE = """\
providers:
  my-box: {kind: compatible, dialect: gemini, base_url: "https://elsewhere"}
  openai: {accounts: [{label: old}]}
models: {default: x}
"""


def value_at(config, key):
    value = config
    for step in re.findall(r"[^.\[\]]+", key):
        if step.isdecimal():
            value = value[int(step)]
        else:
            value = value[step] if isinstance(value, dict) else getattr(value, step)
    return value


@pytest.mark.parametrize(("variable", "value", "key"), OVERRIDE.findall(TEXT))
def test_variable_of_the_table_sets_the_key_that_stands_beside_it(variable, value, key):
    (given,) = shlex.split(value)
    before = value_at(load(FILE, "f", {}), key)
    after = value_at(load(FILE, "f", {variable: given}), key)
    assert after != before


def test_the_table_has_every_kind_of_override():
    assert len(OVERRIDE.findall(TEXT)) >= 5
    assert render_path(("a", 0)) == "a[0]"  # as the last row writes it


def test_sections_that_wait_for_the_next_start_are_named():
    told = TEXT.split("## When a change holds")[1].split("\n## ")[0]
    assert set(re.findall(r"\[`(\w+)`\]\(configuration\.md#\w+\)", told)) == set(AT_START)


@pytest.mark.skipif(sys.platform != "linux", reason="the row of Linux")
def test_places_are_those_that_are_used(tmp_path):
    (row,) = re.findall(r"^\| Linux \| `(.+?)` \| `(.+?)` \| `(.+?)` \|$", TEXT, re.MULTILINE)
    script = (
        "from app.paths import Paths; p = Paths.find();"
        "print(p.config_file, p.database_file.parent, p.log_file, sep='\\n')"
    )
    env = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("DRAGOMAN_", "XDG_"))
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=env | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    told = [place.replace("~", str(tmp_path)).rstrip("/") for place in row]
    assert done.stdout.splitlines() == told
