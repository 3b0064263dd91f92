"""The installer for Windows."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from builders.frozen import freeze, tools
from builders.work import BUILD, DIST, HERE, BuildError, architecture, run, step, version


def windows() -> Path:
    """Build the installer for Windows."""
    if sys.platform != "win32":
        raise BuildError("the installer's payload is frozen on Windows; see release.yml.")
    frozen = freeze(tools(), "windows")
    sign = os.environ.get("DRAGOMAN_SIGNTOOL", "")
    if sign:
        with step("signing the programs"):
            for name in ("dragoman.exe", "DragomanTray.exe"):
                run([*sign.split(), frozen / name])
    result = DIST / f"Dragoman-{version()}-setup-{architecture()}.exe"
    with step("packing the installer"):
        DIST.mkdir(exist_ok=True)
        run(installer_command(frozen, BUILD / "icons" / "dragoman.ico", result))
    if sign:
        run([*sign.split(), result])
    return result


def installer_command(payload: Path, icon: Path, result: Path) -> list[str]:
    """Return how NSIS is called; it runs on Linux, too."""
    found = shutil.which("makensis") or r"C:\Program Files (x86)\NSIS\makensis.exe"
    size = sum(path.stat().st_size for path in payload.rglob("*") if path.is_file())
    values = {
        "VERSION": version(),
        "NUMBERS": numbers(version()),
        "PAYLOAD": str(payload),
        "ICON": str(icon),
        "LICENCE": str(HERE / "LICENSE"),
        "RESULT": str(result),
        "SIZE_KB": str(-(-size // 1024)),
    }
    defines = [f"-D{name}={value}" for name, value in values.items()]
    return [
        found,
        "-V2",
        "-WX",
        "-INPUTCHARSET",
        "UTF8",
        *defines,
        str(HERE / "windows/dragoman.nsi"),
    ]


def numbers(text: str) -> str:
    """Return a version as the four numbers that Windows wants."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", text)
    return ".".join((*(found.groups() if found else ("0", "0", "0")), "0"))
