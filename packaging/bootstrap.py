"""Set up and start Dragoman from a checkout, with nothing but Python.

::

    python3 packaging/bootstrap.py run [arguments of dragoman...]
    python3 packaging/bootstrap.py test [--all] [arguments of pytest...]
    python3 packaging/bootstrap.py setup
    python3 packaging/bootstrap.py lock [arguments of uv pip compile...]

``run`` and ``test`` make ``.venv`` in the checkout on first use and install the exact packages of
the hashed lock files, with uv when it is on PATH and with pip otherwise. Once that is done they
start at once and need no network. ``setup`` only prepares what ``test`` needs. ``lock`` writes the
lock files anew from ``pyproject.toml``; ``lock --upgrade`` also moves to the newest versions.

Theory of operation. ``.venv/.dragoman`` is the stamp, in one of three states:

- absent: the environment is missing, or somebody made it by hand; packages are installed into it;
- ``installing``: a set-up was interrupted, so packages may be half unpacked; all is made anew;
- a Python version and the digests of what was installed: complete, if they are still the same.

The checkout itself is not installed: a ``.pth`` file with a relative path puts it on the module
path, so no build tool is needed and a moved checkout keeps working. Messages go to standard error,
because standard output belongs to the command that is started.

Before tests, the programs that they run against are installed, too, on Debian and as root; elsewhere
a line says which tests are skipped without them.

Only the standard library is used here, and the file parses on Python 3.7, so that an old Python
gets a sentence and not a syntax error.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
NEWEST = (3, 14)
RUN_LOCK = "packaging/requirements.lock"
TEST_LOCK = "packaging/requirements-test.lock"
INSTALLING = "installing\n"
INDEX = "https://pypi.org/simple"
LOCK_NOTE = "# Written by: python3 packaging/bootstrap.py lock\n"
ALL_BUT_LIVE = "not live"
TEST_COMMANDS = {
    "dbus-daemon": "dbus",
    "gnome-keyring-daemon": "gnome-keyring",
    "Xvfb": "xvfb",
    "chromium": "chromium",
    "desktop-file-validate": "desktop-file-utils",
    "xfce4-panel": "xfce4-panel",
    "xdotool": "xdotool",
    "bash": "bash",
    "zsh": "zsh",
    "fish": "fish",
    "/usr/lib/python3/dist-packages/gi": "python3-gi",
    "/usr/lib/*/girepository-1.0/WebKit2-4.1.typelib": "gir1.2-webkit2-4.1",
}
"""What tests run against on Linux, and its Debian package; tests skip without it.

A name is that of a program on PATH; a pattern of an absolute path is that of a file.
"""


PACKAGE_COMMANDS = {
    "dpkg-deb": "dpkg",
    "lintian": "lintian",
    "makensis": "nsis",
    "objdump": "binutils",
    "strip": "binutils",
    "xvfb-run": "xvfb",
    "xauth": "xauth",
    "node": "nodejs",
    "npm": "npm",
    "ip": "iproute2",
    "unshare": "util-linux",
    "runuser": "util-linux",
    "update-ca-certificates": "ca-certificates",
}
"""The same for what only ``test --all`` runs: packages that are built, checked and installed, and
agents from npm. PyInstaller reads libraries with ``objdump``."""


class SetupError(Exception):
    """Set-up cannot go on; the text says why and what to do."""


def say(text: str) -> None:
    """Tell the person at the terminal; standard output stays free for the program."""
    print(f"bootstrap: {text}", file=sys.stderr, flush=True)


# What to do, as values


def python_problem(version: Sequence[int], others: Sequence[str] = ()) -> str | None:
    """Return why this Python cannot be used, or None.

    ``version`` is (major, minor, ...); ``others`` are commands of suitable Pythons on PATH.
    """
    here = tuple(version[:2])
    if OLDEST <= here <= NEWEST:
        return None
    text = (
        f"this is Python {here[0]}.{here[1]}; Dragoman needs Python "
        f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}."
    )
    if others:
        return f"{text} Use: {others[0]} packaging/bootstrap.py"
    return f"{text} Install one from https://www.python.org/downloads/ and run this with it."


def suitable_pythons() -> list[str]:
    """Return the commands on PATH that start a suitable Python, newest first."""
    names = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    # Version switchers leave commands on PATH that only print an error, hence the trial.
    return [name for name in names if shutil.which(name) and _succeeds([name, "-c", ""])]


def split_test_arguments(arguments: Sequence[str]) -> tuple[bool, list[str]]:
    """Take ``--all`` out of the arguments of ``test``; the rest is pytest's, in order."""
    rest = [argument for argument in arguments if argument != "--all"]
    return len(rest) != len(arguments), rest


def pytest_arguments(everything: bool, rest: Sequence[str]) -> list[str]:
    """Return what pytest gets: branch coverage, the gates, then the caller's own words.

    The caller's words come last, so that an own ``-m`` or ``--no-cov`` wins. The whole suite runs
    in one process more than there are cores, since some tests wait for windows and programs, and in
    four at most; a part of it, which one watches, in order.
    """
    workers = min(4, (os.cpu_count() or 1) + 1)
    fixed = ["-p", "tests.gates", "--cov=app", "--cov-branch", "--cov-report="]
    spread = [] if rest else ["-n", str(workers)]
    return [*fixed, *spread, *(["-m", ALL_BUT_LIVE] if everything else []), *rest]


def keep_bytecode(environment: MutableMapping[str, str], folder: Path) -> None:
    """Let the tests and the programs that they start keep what Python compiles, in one folder.

    Containers often set ``PYTHONDONTWRITEBYTECODE``, and uv compiles nothing when it installs: every
    process of the suite, hundreds of them, would compile the program and its libraries anew. The
    folder is within ``.venv``, so that the checkout stays as clean as that variable wants it.
    """
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment.setdefault("PYTHONPYCACHEPREFIX", str(folder))


def stamp(version: Sequence[int], machine: str, locks: Mapping[str, bytes]) -> str:
    """Return the stamp of a complete set-up: first the Python, then one line per lock file."""
    lines = [f"python {version[0]}.{version[1]} {machine}"]
    lines += [f"{name} {hashlib.sha256(text).hexdigest()}" for name, text in sorted(locks.items())]
    return "\n".join(lines) + "\n"


def is_complete(found: str, wanted: str) -> bool:
    """Tell whether the stamp found covers the one wanted; a test set-up also serves ``run``."""
    return set(wanted.splitlines()) <= set(found.splitlines())


def ensurepip_line(os_release: Mapping[str, str], version: Sequence[int]) -> str:
    """Return the one line that gives this Python its ``ensurepip``, for this distribution."""
    family = {os_release.get("ID", ""), *os_release.get("ID_LIKE", "").split()}
    short = f"{version[0]}.{version[1]}"
    if family & {"debian", "ubuntu"}:
        return f"sudo apt-get install -y python3-venv   (or python{short}-venv)"
    if family & {"fedora", "rhel"}:
        return f"sudo dnf install -y python{short}"
    if family & {"suse", "opensuse"}:
        return f"sudo zypper install -y python{version[0]}{version[1]}-pip"
    if "alpine" in family:
        return "apk add python3 py3-pip"
    if "arch" in family:
        return "sudo pacman -S --needed python-pip"
    return "curl -LsSf https://astral.sh/uv/install.sh | sh"


def missing_packages(commands: Mapping[str, str], found: Callable[[str], object]) -> list[str]:
    """Return the packages of what is not found, each once, in order."""
    return sorted({package for command, package in commands.items() if not found(command)})


def needed_commands(everything: bool) -> Mapping[str, str]:
    """Return what tests run against: with ``--all`` also what builds and installs packages."""
    return {**TEST_COMMANDS, **PACKAGE_COMMANDS} if everything else TEST_COMMANDS


def is_there(name: str) -> bool:
    """Tell whether a program is on PATH, or a file is where an absolute pattern says."""
    if name.startswith("/"):
        return any(Path("/").glob(name[1:]))
    return shutil.which(name) is not None


def venv_python(environment: Path, windows: bool = os.name == "nt") -> Path:
    """Return where the interpreter of a virtual environment is."""
    return environment / ("Scripts/python.exe" if windows else "bin/python")


def install_commands(python: Path, lock: Path, uv: str | None) -> list[tuple[str, list[str]]]:
    """Return the installers to try, best first: name and command line."""
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    commands = [("pip", [*pip, "--require-hashes", "-r", str(lock)])]
    if uv is not None:
        command = [uv, "pip", "install", "--python", str(python), "--require-hashes", "-r"]
        commands.insert(0, ("uv", [*command, str(lock)]))
    return commands


# The environment


def wanted_stamp(root: Path, with_tests: bool) -> str:
    """Return the stamp that a complete set-up of this checkout has under this Python."""
    names = [RUN_LOCK, TEST_LOCK] if with_tests else [RUN_LOCK]
    locks = {name: (root / name).read_bytes() for name in names}
    return stamp(sys.version_info, sysconfig.get_platform(), locks)


def ready_python(root: Path, with_tests: bool) -> Path:
    """Return the interpreter of a complete environment; make or repair it first if need be.

    Raises:
        SetupError: it cannot be made here; the text says what to do.
    """
    environment = root / ".venv"
    python = venv_python(environment)
    wanted = wanted_stamp(root, with_tests)
    if python.exists() and is_complete(_read_stamp(environment), wanted):
        _write_command(python)
        return python
    environment.mkdir(exist_ok=True)
    with _only_one(environment / ".dragoman-lock") as lock:
        found = _read_stamp(environment)  # another set-up may have ended while this one waited
        if python.exists() and is_complete(found, wanted):
            return python
        started = time.monotonic()
        if found == INSTALLING or not _is_usable(python):
            say(f"making {environment} with Python {platform.python_version()}")
            _empty(environment, keep=lock)
            venv.create(environment, symlinks=os.name != "nt", with_pip=False)
        _write_stamp(environment, INSTALLING)
        _install(root, python, root / (TEST_LOCK if with_tests else RUN_LOCK))
        _link_checkout(root, python)
        _write_command(python)
        _write_stamp(environment, wanted)
        say(f"set up in {time.monotonic() - started:.0f} s; from now on this needs no network")
    return python


def _stamp_file(environment: Path) -> Path:
    return environment / ".dragoman"


def _read_stamp(environment: Path) -> str:
    try:
        return _stamp_file(environment).read_text("utf-8")
    except FileNotFoundError:
        return ""


def _write_stamp(environment: Path, text: str) -> None:
    fresh = environment / ".dragoman-new"
    fresh.write_text(text, "utf-8")
    os.replace(fresh, _stamp_file(environment))


def _is_usable(python: Path) -> bool:
    """Tell whether an interpreter starts and has the version of the one that runs this."""
    major, minor = sys.version_info[:2]
    code = f"import sys; sys.exit(sys.version_info[:2] != ({major}, {minor}))"
    try:
        return _succeeds([str(python), "-I", "-c", code])
    except OSError:  # missing, or its base Python was removed
        return False


def _empty(folder: Path, keep: Path) -> None:
    for entry in folder.iterdir():
        if entry == keep:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


@contextlib.contextmanager
def _only_one(lock: Path) -> Iterator[Path]:
    """Hold a lock that the operating system drops when this process ends, however it ends."""
    with lock.open("a+b") as file:
        if os.name == "nt":
            import msvcrt

            while True:
                file.seek(0)
                with contextlib.suppress(OSError):  # locking gives up after ten seconds
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                    break
                say("waiting for another set-up")
        else:
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("waiting for another set-up")
                fcntl.flock(file, fcntl.LOCK_EX)
        yield lock


def _install(root: Path, python: Path, lock: Path) -> None:
    count = lock.read_text("utf-8").count("==")
    uv = shutil.which("uv")
    for name, command in install_commands(python, lock, uv):
        if name == "pip":
            _ensure_pip(python)
        say(f"installing up to {count} packages of {lock.relative_to(root).as_posix()} with {name}")
        # The installers' own progress goes beside ours, never into the program's output.
        if subprocess.run(command, stdout=sys.stderr, check=False).returncode == 0:
            return
        say(f"{name} failed")
    raise SetupError(
        "the packages could not be installed; the lines above say why. This first set-up needs "
        "the network. Run the same command again when it is there."
    )


def _ensure_pip(python: Path) -> None:
    """Give the environment its pip.

    Debian splits ``ensurepip`` off into ``python3-venv``; root may install that, others are told.
    """
    if _succeeds([str(python), "-I", "-m", "pip", "--version"]):
        return
    if not _has_ensurepip(python) and may_use_apt(_os_release(), shutil.which("apt-get")):
        _apt_install(["python3-venv"])
    if not _has_ensurepip(python):
        line = ensurepip_line(_os_release(), sys.version_info)
        raise SetupError(f"this Python has no ensurepip. Run this, then try again:\n    {line}")
    command = [str(python), "-I", "-m", "ensurepip", "--upgrade", "--default-pip"]
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode != 0:
        raise SetupError("pip could not be put into .venv; the lines above say why.")


def _apt_install(packages: Sequence[str]) -> bool:
    """Install Debian packages; the lists of packages are fetched only when that is needed."""
    say(f"installing {', '.join(packages)}")
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode == 0:
        return True
    subprocess.run(["apt-get", "update"], stdout=sys.stderr, check=False)
    return subprocess.run(command, stdout=sys.stderr, check=False).returncode == 0


def _ready_system(everything: bool) -> None:
    """Install what tests need of the system, or say what would be tested if it were there."""
    packages = missing_packages(needed_commands(everything), is_there)
    if not packages or sys.platform != "linux":
        return
    if may_use_apt(_os_release(), shutil.which("apt-get")) and _apt_install(packages):
        return
    say(f"some tests are skipped; they need {', '.join(packages)} (names of Debian packages)")


def may_use_apt(os_release: Mapping[str, str], apt_get: str | None) -> bool:
    """Tell whether this is Debian or one of its children, with us as root."""
    family = {os_release.get("ID", ""), *os_release.get("ID_LIKE", "").split()}
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return is_root and apt_get is not None and bool(family & {"debian", "ubuntu"})


def _os_release() -> Mapping[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:  # not Linux
        return {}


def _has_ensurepip(python: Path) -> bool:
    return _succeeds([str(python), "-I", "-c", "import ensurepip"])


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _link_checkout(root: Path, python: Path) -> None:
    """Put the checkout on the environment's module path.

    The path is relative to the ``.pth`` file, which ``site`` allows: it is plain ASCII, so that no
    Python's idea of the file's encoding matters, and it survives moving the checkout.
    """
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    answer = subprocess.run([str(python), "-I", "-c", code], capture_output=True, check=True)
    packages = Path(os.fsdecode(answer.stdout).strip())
    relative = os.path.relpath(root, packages)
    (packages / "dragoman.pth").write_text(relative + "\n", "ascii")


# Commands


def command_script(python: Path, windows: bool = os.name == "nt") -> tuple[str, str]:
    """Return the name and the text of the ``dragoman`` command in the environment.

    It names the interpreter by its whole path, so that it may be linked to from elsewhere. ``-P``
    keeps a folder ``app`` where the user happens to be from being taken for the program.
    """
    if windows:
        return "dragoman.cmd", '@"%~dp0python.exe" -P -m app %*\r\n'
    quoted = str(python).replace("'", "'\\''")
    return "dragoman", f"#!/bin/sh\nexec '{quoted}' -P -m app \"$@\"\n"


def _write_command(python: Path) -> None:
    name, text = command_script(python)
    file = python.parent / name
    content = os.fsencode(text)
    if not file.exists() or file.read_bytes() != content:  # new, or the checkout was moved
        file.write_bytes(content)
        file.chmod(0o755)


def become(command: Sequence[str]) -> int:
    """Run a program in place of this one, so that signals and exit code are its own.

    Returns on Windows only, where a program cannot replace itself: there Ctrl+C reaches both, the
    program decides what it means, and its exit code is returned.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name != "nt":
        os.execv(command[0], list(command))  # noqa: S606 - no shell is the point
    with subprocess.Popen(command) as process:
        while True:
            with contextlib.suppress(KeyboardInterrupt):
                return process.wait()


def run(arguments: Sequence[str]) -> int:
    """Start Dragoman; ``-P`` keeps an ``app`` folder in the working directory out of the way."""
    return become([str(ready_python(ROOT, with_tests=False)), "-P", "-m", "app", *arguments])


def test(arguments: Sequence[str]) -> int:
    """Run the tests from the root of the checkout."""
    everything, rest = split_test_arguments(arguments)
    python = ready_python(ROOT, with_tests=True)
    _ready_system(everything)
    os.chdir(ROOT)
    keep_bytecode(os.environ, ROOT / ".venv" / "bytecode")
    return become([str(python), "-m", "pytest", *pytest_arguments(everything, rest)])


def setup(arguments: Sequence[str]) -> int:
    """Prepare what ``test`` needs, and nothing else."""
    if arguments:
        raise SetupError("setup takes no arguments.")
    ready_python(ROOT, with_tests=True)
    _ready_system(everything=False)
    return 0


def lock(arguments: Sequence[str]) -> int:
    """Write both lock files from ``pyproject.toml``, for every system and Python we support."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(venv_python(ROOT / ".venv").parent))
    if uv is None:
        raise SetupError("lock needs uv: https://docs.astral.sh/uv/getting-started/installation/")
    fixed = ["--no-config", "--default-index", INDEX, "--universal", "--generate-hashes"]
    fixed += ["--python-version", f"{OLDEST[0]}.{OLDEST[1]}", "--no-header", "--no-annotate"]
    for name, extra in ((RUN_LOCK, []), (TEST_LOCK, ["--group", "test", "-c", RUN_LOCK])):
        say(f"resolving {name}")
        command = [uv, "pip", "compile", "--quiet", *fixed, *extra, *arguments]
        subprocess.run([*command, "pyproject.toml", "-o", name], cwd=ROOT, check=True)
        path = ROOT / name
        path.write_bytes((LOCK_NOTE + path.read_text("utf-8")).encode())
    return 0


COMMANDS = {"run": run, "test": test, "setup": setup, "lock": lock}


def usage() -> str:
    """Return the command lines from this file's own documentation."""
    block = (__doc__ or "").split("::\n\n", 1)[1].split("\n\n", 1)[0]
    return "usage:\n" + block


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code, 1 when set-up fails, 2 for a wrong command line."""
    if python_problem(sys.version_info) is not None:
        say(python_problem(sys.version_info, suitable_pythons()) or "")
        return 1
    if arguments[:1] in (["-h"], ["--help"]):
        print(usage())
        return 0
    command = COMMANDS.get(arguments[0]) if arguments else None
    if command is None:
        print(usage(), file=sys.stderr)
        return 2
    try:
        return command(arguments[1:])
    except SetupError as error:
        say(str(error))
        return 1
    except subprocess.CalledProcessError as error:
        say(f"{error.cmd[0]} ended with exit code {error.returncode}.")
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next call starts the set-up over.")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
