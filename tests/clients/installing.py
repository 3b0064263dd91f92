"""Agents from npm and PyPI: installed on first use, in the versions of ``versions.toml``."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

FOLDER_VARIABLE = "DRAGOMAN_TEST_AGENTS"
"""Names a folder that holds agents already (``node_modules`` of npm, ``aider/`` as a virtual
environment); what is there is taken in any version, what is missing is installed."""
CACHE = Path(__file__).parents[2] / ".cache" / "clients"
VERSIONS = tomllib.loads(Path(__file__).with_name("versions.toml").read_text())
TIMEOUT_S = 900


def program(kind):
    """Return the path of an agent's program; skips where it cannot be had.

    Args:
        kind: class of the agent, with ``registry``, ``package`` and ``name``.
    """
    given = os.environ.get(FOLDER_VARIABLE)
    folder = Path(given) if given else CACHE
    version = VERSIONS[kind.registry][kind.package]
    way = _npm if kind.registry == "npm" else _pypi
    return way(folder, kind.package, version, kind.name, any_version=bool(given))


def _npm(folder, package, version, name, any_version):
    programs = folder / "node_modules" / ".bin"
    facts = folder / "node_modules" / package / "package.json"
    found = shutil.which(name, path=programs)
    if found and (any_version or json.loads(facts.read_text())["version"] == version):
        return found
    if shutil.which("node") is None or (npm := shutil.which("npm")) is None:
        pytest.skip("node and npm are not installed")
    wanted = f"{package}@{version}"
    folder.mkdir(parents=True, exist_ok=True)
    # the oldest npm that is still in use does not take a folder without a manifest for a root
    manifest = folder / "package.json"
    if not manifest.exists():
        manifest.write_text('{"private": true}\n')
    _run([npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), wanted], wanted)
    return _found(name, programs, wanted)


def _pypi(folder, package, version, name, any_version):
    home = folder / name
    programs = home / ("Scripts" if os.name == "nt" else "bin")
    mark = home / "installed-version"
    found = shutil.which(name, path=programs)
    if found and (any_version or (mark.exists() and mark.read_text() == version)):
        return found
    wanted = f"{package}=={version}"
    python = str(programs / "python")
    if uv := shutil.which(
        "uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ):
        _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)], wanted)
        _run([uv, "pip", "install", "--quiet", "--python", python, wanted], wanted)
    else:
        _run([sys.executable, "-m", "venv", "--clear", str(home)], wanted)
        _run([python, "-m", "pip", "install", "--quiet", wanted], wanted)
    mark.write_text(version)
    return _found(name, programs, wanted)


def _found(name, programs, wanted):
    found = shutil.which(name, path=programs)
    if found is None:
        pytest.skip(f"{wanted} has no program {name} for this system")
    return found


def _run(command, wanted):
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"{wanted} could not be installed: {(done.stderr or done.stdout)[-300:]}")
