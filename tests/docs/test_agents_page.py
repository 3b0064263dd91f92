"""The page about agents: how each is connected, checked and undone, and what one would write by hand."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.clients import AGENTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "assets" / "docs" / "agents.md").read_text("utf-8")
MODEL = "gpt-5.5"
EDITABLE = [agent for agent in AGENTS.values() if agent.editable]
BLOCK = re.compile(r"^By hand, in (`[^`]+`|the environment):\n\n```(\w+)\n(.*?)^```$", re.M | re.S)

every = pytest.mark.parametrize("agent", EDITABLE, ids=lambda agent: agent.name)


def section(agent):
    return PAGE.partition(f"### {agent.title} (`{agent.name}`)\n")[2].partition("\n### ")[0]


def planned(agent, home):
    """What connecting writes into an empty home: path below it to content."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "DRAGOMAN_"))}
    for moved in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "APPDATA"):
        env.pop(moved, None)
    (home / "user").mkdir()
    env |= {"HOME": str(home / "user"), "DRAGOMAN_HOME": str(home / "data")}
    command = [sys.executable, "-P", "-m", "app", "connect", agent.name, "--model", MODEL]
    done = subprocess.run(
        [*command, "--dry-run", "--json"],
        env=env | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    files = json.loads(done.stdout)["agents"][0]["files"]
    return {
        file["path"].replace(str(home / "user"), "~"): "".join(
            f"{line[1:]}\n"
            for line in file["diff"].splitlines()
            if line.startswith("+") and not line.startswith("+++")
        )
        for file in files
    }


@every
def test_section_says_how_to_connect_check_and_undo(agent):
    about = section(agent)
    needs = f" --model {MODEL}" if "main" in agent.needs else ""
    assert f"| connect | `dragoman connect {agent.name}{needs}` |" in about
    assert f"| undo | `dragoman disconnect {agent.name}` |" in about
    assert (f"| one run | `dragoman run {agent.name}{needs}` |" in about) == agent.runnable
    assert (f"| check | `dragoman test {agent.name}` |" in about) == (agent.trial is not None)
    assert "| check |" in about


@pytest.mark.skipif(sys.platform != "linux", reason="the page shows the places of Linux")
@every
def test_what_is_written_by_hand_is_what_connecting_writes(agent, tmp_path):
    shown = {place.strip("`"): content for place, _, content in BLOCK.findall(section(agent))}
    written = planned(agent, tmp_path)
    if "the environment" in shown:  # its file is Dragoman's own, with marks around the lines
        (content,) = written.values()
        written = {"the environment": re.sub(r"^#.*\n", "", content, flags=re.M)}
    assert shown == written


def test_blocks_are_valid():
    import tomllib

    from ruamel.yaml import YAML

    read = {"json": json.loads, "toml": tomllib.loads, "yml": YAML(typ="safe").load, "text": str}
    found = BLOCK.findall(PAGE)
    assert len(found) >= len(EDITABLE)
    for place, kind, content in found:
        with contextlib.closing(io.StringIO(content)) as file:
            assert read[kind](file.read()), place


def test_readme_has_a_row_for_every_agent_that_can_be_pointed_here():
    readme = (ROOT / "README.md").read_text("utf-8")
    for agent in AGENTS.values():
        if agent.editable or agent.runnable:
            assert re.search(rf"agents\.md#[a-z-]+-{agent.name}\)", readme), agent.name
        command = f"`dragoman connect {agent.name}"
        if command in readme and "main" in agent.needs:
            assert f"{command} --model" in readme
