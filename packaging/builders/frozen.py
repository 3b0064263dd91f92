"""The frozen program, from which the packages for desktops are made, and the tools of all builds."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import venv
from pathlib import Path

import bootstrap
import contents

from builders.work import BUILD, HERE, ROOT, BuildError, commit, run, step

FROZEN = BUILD / "frozen" / "dragoman"
TOOLS_LOCK = HERE / "requirements-build.lock"
TOOLS = ("pyinstaller>=6.11", "hatchling>=1.27")


def tools() -> Path:
    """Return the Python that has the program's packages and the build's tools; make it if need be."""
    locks = [HERE / "requirements.lock", TOOLS_LOCK]
    wanted = bootstrap.stamp(
        tuple(sys.version_info),
        platform.machine(),
        {lock.name: lock.read_bytes() for lock in locks},
    )
    environment = BUILD / "venv"
    python = bootstrap.venv_python(environment)
    stamp = environment / ".dragoman"
    if python.exists() and stamp.exists() and stamp.read_text("utf-8") == wanted:
        return python
    with step("installing the build's tools"):
        shutil.rmtree(environment, ignore_errors=True)
        uv = shutil.which("uv")
        venv.create(environment, symlinks=os.name != "nt", with_pip=uv is None)
        for lock in locks:
            _, command = bootstrap.install_commands(python, lock, uv)[0]
            run(command)
    stamp.write_text(wanted, "utf-8")
    return python


def stage_assets(kind: str) -> Path:
    """Copy the assets and add which commit they are of and what is built; returns the folder.

    Args:
        kind: of the package, as ``app/build.py`` knows it.
    """
    staged = BUILD / "stage" / "assets"
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(ROOT / "assets", staged)
    for name, text in (("commit", commit()), ("kind", kind)):
        (staged / f"{name}.txt").write_text(f"{text}\n", "ascii", newline="\n")
    return staged


def draw_icons(python: Path) -> Path:
    """Draw the program's icon in every form; returns the folder."""
    run([python, HERE / "icons.py", BUILD / "icons"], env=with_checkout())
    return BUILD / "icons"


def with_checkout() -> dict[str, str]:
    """Return variables under which scripts find the program's own modules."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def freeze(python: Path, kind: str = "frozen") -> Path:
    """Freeze the program; returns its folder (on macOS the bundle).

    Args:
        python: that of ``tools``.
        kind: of the package that it goes into.

    Raises:
        BuildError: the result has a library in it that must be the system's.
    """
    icons = draw_icons(python)
    icon = {"win32": icons / "dragoman.ico", "darwin": icons / "dragoman.icns"}.get(sys.platform)
    with step("freezing the program"):
        folders = ["--distpath", BUILD / "frozen", "--workpath", BUILD / "work"]
        command = [python, "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN", *folders]
        run([*command, HERE / "dragoman.spec", "--", stage_assets(kind), *([icon] if icon else [])])
    if found := contents.unwanted(contents.files_below(FROZEN)):
        raise BuildError(f"libraries of the system were taken along: {', '.join(found)}")
    return BUILD / "frozen" / "Dragoman.app" if sys.platform == "darwin" else FROZEN


def lock_tools() -> None:
    """Write the lock file of the build's tools anew."""
    uv = shutil.which("uv")
    if uv is None:
        raise BuildError("lock needs uv: https://docs.astral.sh/uv/getting-started/installation/")
    fixed = ["--no-config", "--default-index", bootstrap.INDEX, "--universal", "--generate-hashes"]
    fixed += ["--python-version", ".".join(map(str, bootstrap.OLDEST)), "--no-header", "--quiet"]
    source = BUILD / "tools.in"
    BUILD.mkdir(exist_ok=True)
    source.write_text("".join(f"{name}\n" for name in TOOLS), "utf-8")
    locked = ["-c", HERE / "requirements.lock", source, "-o", TOOLS_LOCK]
    run([uv, "pip", "compile", *fixed, "--no-annotate", *locked])
    note = "# Written by: python3 packaging/build.py lock\n"
    TOOLS_LOCK.write_bytes((note + TOOLS_LOCK.read_text("utf-8")).encode())
