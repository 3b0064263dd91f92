import sys

import pytest

from app.errors import AppError
from app.services import install
from app.services.definition import Packages
from app.services.install import (
    Installer,
    find_python,
    install_commands,
    own_environment,
    venv_python,
)
from app.services.journal import Journal

PACKAGES = Packages("services/webai.lock", "8.8.6")


def commands(tmp_path, **more):
    fields = {"uv": None, "has_pip": False, **more}
    return install_commands("py", tmp_path / "venv", tmp_path / "a.lock", **fields)


def test_packages_are_pinned_by_hash_and_come_as_wheels(tmp_path):
    for made in (commands(tmp_path), commands(tmp_path, uv="uv"), commands(tmp_path, has_pip=True)):
        assert {"--require-hashes", "--only-binary", str(tmp_path / "a.lock")} <= set(made[-1])


def test_uv_is_preferred_and_pip_need_not_be_in_the_environment(tmp_path):
    target = str(venv_python(tmp_path / "venv"))
    first, second = commands(tmp_path, uv="/bin/uv", has_pip=True)
    assert first == ("py", "-m", "venv", "--without-pip", str(tmp_path / "venv"))
    assert second[0] == "/bin/uv"
    assert second[-2:] == ("--python", target)
    assert commands(tmp_path, has_pip=True)[1][:5] == ("py", "-m", "pip", "--python", target)
    assert commands(tmp_path)[1][0] == target
    assert "--without-pip" not in commands(tmp_path)[0]


def test_shipped_lock_has_hashes_for_every_package():
    text = install.asset(PACKAGES.lock).read_text("utf-8")
    assert f"g4f=={PACKAGES.version} " in text
    entries = [e for e in text.replace("\\\n", "").splitlines() if not e.startswith("#")]
    assert len(entries) > 20
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)


def test_frozen_build_looks_for_a_python_that_is_new_enough():
    assert find_python(frozen=False) == sys.executable
    found = {"python3.12": "/usr/bin/python3.12", "python3": "/usr/bin/python3"}
    assert find_python(frozen=True, which=found.get) == "/usr/bin/python3.12"
    assert find_python(frozen=True, which=lambda _: None) is None


def test_environment_has_nothing_of_ours(tmp_path):
    env = {"PATH": "/bin", "OPENAI_API_KEY": "x", "DRAGOMAN_HOME": "y", "HOME": "/h", "LANG": "C"}
    made = own_environment(env, tmp_path)
    assert made["HOME"] == str(tmp_path)
    assert set(made) == {"PATH", "LANG", "HOME", "USERPROFILE", "PYTHONUNBUFFERED"}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """An installer whose commands a test writes."""
    script = []
    monkeypatch.setattr(
        install,
        "install_commands",
        lambda _python, environment, _lock, **_: tuple(
            (sys.executable, "-I", "-c", text, str(environment)) for text in script
        ),
    )
    installer = Installer(tmp_path, PACKAGES, Journal(tmp_path / "log"), {"PIP_X": "1"})
    return installer, script


async def test_stamp_is_written_last_and_a_broken_environment_is_made_anew(made, tmp_path):
    installer, script = made
    make = "import os, sys; os.mkdir(sys.argv[1]); print(os.environ['PIP_X'])"
    script[:] = [make, "raise SystemExit('no network')"]
    assert installer.installed == ""
    with pytest.raises(
        AppError, match=r"Installing failed\. It ended with exit code 1: no network"
    ):
        await installer.install()
    assert installer.installed == ""
    script[:] = [make]
    await installer.install()
    assert installer.installed == "8.8.6"
    await installer.install()
    assert installer.installed == "8.8.6"


async def test_environment_of_another_lock_counts_as_none(made):
    installer, script = made
    script[:] = ["import os, sys; os.mkdir(sys.argv[1])"]
    await installer.install()
    (installer.environment / ".dragoman").write_text("8.8.5 abc\n")
    assert installer.installed == ""


async def test_missing_python_is_told(made, monkeypatch):
    monkeypatch.setattr(install, "find_python", lambda: None)
    with pytest.raises(AppError, match=r"no Python 3\.11 or newer"):
        await made[0].install()


async def test_command_that_cannot_be_started_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(install, "install_commands", lambda *_a, **_k: (("/nowhere/uv",),))
    installer = Installer(tmp_path, PACKAGES, Journal(tmp_path / "log"), {})
    with pytest.raises(AppError, match="/nowhere/uv cannot be started"):
        await installer.install()
