"""The set-up script: its decisions as values, real environments with nothing to install, its locks."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "packaging" / "bootstrap.py"


def load():
    spec = importlib.util.spec_from_file_location("dragoman_bootstrap", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bootstrap = load()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

# Decisions


@pytest.mark.parametrize("version", [(3, 11), (3, 12, 4), (3, 14, 0, "final", 0)])
def test_supported_pythons_are_no_problem(version):
    assert bootstrap.python_problem(version) is None


@pytest.mark.parametrize("version", [(2, 7), (3, 10, 13), (3, 15, 0), (4, 0)])
def test_other_pythons_are_named_with_what_is_needed(version):
    text = bootstrap.python_problem(version)
    assert f"Python {version[0]}.{version[1]};" in text
    assert "3.11 to 3.14" in text
    assert "python.org" in text


def test_a_suitable_python_on_the_path_is_offered_instead():
    text = bootstrap.python_problem((3, 9), ["python3.13", "python3.11"])
    assert text.endswith("Use: python3.13 packaging/bootstrap.py")


def test_the_range_of_pythons_is_that_of_the_project():
    oldest, newest = bootstrap.OLDEST, bootstrap.NEWEST
    assert PROJECT["project"]["requires-python"] == (
        f">={oldest[0]}.{oldest[1]},<{newest[0]}.{newest[1] + 1}"
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], (False, [])),
        (["--all"], (True, [])),
        (["-k", "a b", "--all", "tests/x"], (True, ["-k", "a b", "tests/x"])),
        (["--all-of-it"], (False, ["--all-of-it"])),
    ],
)
def test_all_is_taken_out_of_the_arguments_for_pytest(arguments, expected):
    assert bootstrap.split_test_arguments(arguments) == expected


def test_own_marks_come_after_those_of_all_so_that_they_win():
    arguments = bootstrap.pytest_arguments(True, ["-m", "gui"])
    assert arguments[-4:] == ["-m", "not live", "-m", "gui"]
    assert "-m" not in bootstrap.pytest_arguments(False, ["tests/x"])
    assert bootstrap.pytest_arguments(False, [])[:2] == ["-p", "tests.gates"]


def test_only_the_whole_suite_is_spread_over_the_cores():
    assert "-n" in bootstrap.pytest_arguments(False, [])
    assert "-n" in bootstrap.pytest_arguments(True, [])
    assert "-n" not in bootstrap.pytest_arguments(False, ["tests/x"])


def test_what_is_compiled_is_kept_whatever_the_container_says(tmp_path):
    environment = {"PYTHONDONTWRITEBYTECODE": "1", "HOME": "/h"}
    bootstrap.keep_bytecode(environment, tmp_path)
    assert environment == {"HOME": "/h", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    module = tmp_path / "module.py"
    module.write_text("x = 1\n", "utf-8")
    command = [sys.executable, "-c", "import module; print(module.__cached__)"]
    own = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPYCACHEPREFIX": str(tmp_path / "own"),
    }
    bootstrap.keep_bytecode(own, tmp_path / "other")
    told = subprocess.run(
        command, cwd=tmp_path, env=own, capture_output=True, check=True, timeout=60
    )
    assert Path(told.stdout.decode().strip()).is_relative_to(tmp_path / "own")
    assert list((tmp_path / "own").rglob("module.*.pyc"))
    assert not (tmp_path / "__pycache__").exists()


def test_a_test_set_up_also_serves_run_but_not_the_other_way_round():
    run = bootstrap.stamp((3, 12, 1), "linux", {"run.lock": b"a"})
    test = bootstrap.stamp((3, 12, 9), "linux", {"run.lock": b"a", "test.lock": b"b"})
    assert bootstrap.is_complete(test, run)
    assert not bootstrap.is_complete(run, test)


@pytest.mark.parametrize(
    "found",
    [
        "",
        "installing\n",
        bootstrap.stamp((3, 13), "linux", {"run.lock": b"a"}),
        bootstrap.stamp((3, 12), "win-arm64", {"run.lock": b"a"}),
        bootstrap.stamp((3, 12), "linux", {"run.lock": b"changed"}),
    ],
)
def test_another_python_machine_or_lock_file_makes_the_set_up_incomplete(found):
    assert not bootstrap.is_complete(found, bootstrap.stamp((3, 12), "linux", {"run.lock": b"a"}))


@pytest.mark.parametrize(
    ("os_release", "expected"),
    [
        ({"ID": "debian"}, "sudo apt-get install -y python3-venv   (or python3.12-venv)"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "sudo apt-get install -y python3-venv"),
        ({"ID": "fedora"}, "sudo dnf install -y python3.12"),
        ({"ID": "opensuse-leap", "ID_LIKE": "suse opensuse"}, "python312-pip"),
        ({"ID": "alpine"}, "apk add python3 py3-pip"),
        ({"ID": "arch"}, "pacman"),
        ({}, "https://astral.sh/uv/install.sh"),
    ],
)
def test_the_line_to_run_fits_the_distribution(os_release, expected):
    assert expected in bootstrap.ensurepip_line(os_release, (3, 12))


def test_only_packages_whose_commands_are_missing_are_installed():
    commands = {"b-daemon": "b", "b-client": "b", "a": "pkg-a", "there": "c"}
    assert bootstrap.missing_packages(commands, lambda name: name == "there") == ["b", "pkg-a"]
    assert bootstrap.missing_packages(commands, lambda name: True) == []


def test_programs_and_files_are_found(tmp_path):
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64" / "some.typelib").touch()
    assert bootstrap.is_there(f"{tmp_path}/lib*/some.typelib")
    assert not bootstrap.is_there(f"{tmp_path}/lib*/other.typelib")
    assert bootstrap.is_there("git")
    assert not bootstrap.is_there("no-such-program")


def test_the_gui_tests_have_what_they_need_in_the_list():
    packages = set(bootstrap.TEST_COMMANDS.values())
    assert {"dbus", "xvfb", "chromium", "python3-gi", "gir1.2-webkit2-4.1"} <= packages


def test_the_whole_suite_has_what_packages_need_in_its_list_and_a_part_of_it_has_not():
    packages = {"lintian", "nsis", "binutils", "xauth", "nodejs", "npm", "iproute2", "util-linux"}
    assert packages <= set(bootstrap.needed_commands(True).values())
    assert not packages & set(bootstrap.needed_commands(False).values())


def test_every_program_that_a_test_of_packages_skips_without_is_in_the_list():
    known = {*bootstrap.needed_commands(True), "dpkg", "chroot", "useradd", "buildah"}
    for name in ("test_package.py", "test_story.py"):
        text = (ROOT / "tests" / "packaging_" / name).read_text("utf-8")
        for named in re.findall(r"^(?:    |@)needs\((.*)\)", text, re.MULTILINE):
            assert set(re.findall(r'"([\w-]+)"', named)) <= known


def test_the_keyring_tests_have_their_programs_in_the_list():
    assert {"dbus-daemon", "gnome-keyring-daemon"} <= set(bootstrap.TEST_COMMANDS)


def test_the_shells_that_are_tested_are_in_the_list():
    assert {"bash", "zsh", "fish"} <= set(bootstrap.TEST_COMMANDS)


def test_apt_is_used_on_debians_and_where_it_exists_only():
    assert not bootstrap.may_use_apt({"ID": "fedora"}, "/usr/bin/apt-get")
    assert not bootstrap.may_use_apt({"ID": "debian"}, None)
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    assert bootstrap.may_use_apt({"ID_LIKE": "debian"}, "/usr/bin/apt-get") is is_root


def test_the_interpreter_is_where_each_system_has_it():
    folder = Path("x")
    assert bootstrap.venv_python(folder, windows=True) == folder / "Scripts" / "python.exe"
    assert bootstrap.venv_python(folder, windows=False) == folder / "bin" / "python"


def test_the_command_is_what_each_system_starts():
    name, text = bootstrap.command_script(Path("/home/o'neil/a b/bin/python"), windows=False)
    assert name == "dragoman"
    assert text.splitlines()[1] == "exec '/home/o'\\''neil/a b/bin/python' -P -m app \"$@\""
    name, text = bootstrap.command_script(Path("C:/x/python.exe"), windows=True)
    assert (name, text) == ("dragoman.cmd", '@"%~dp0python.exe" -P -m app %*\r\n')


def test_uv_goes_first_and_both_installers_check_hashes():
    python, lock = Path("p"), Path("l")
    (pip,) = bootstrap.install_commands(python, lock, None)
    uv, second = bootstrap.install_commands(python, lock, "/bin/uv")
    assert second == pip
    assert (uv[0], uv[1][0], pip[0], pip[1][0]) == ("uv", "/bin/uv", "pip", "p")
    assert "--require-hashes" in uv[1]
    assert "--require-hashes" in pip[1]


# The command line


def call(*arguments, cwd=None):
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_help_lists_every_command():
    done = call("--help")
    assert done.returncode == 0
    listed = re.findall(r"bootstrap\.py (\w+)", done.stdout)
    assert listed == list(bootstrap.COMMANDS)


@pytest.mark.parametrize("arguments", [[], ["rnu"]])
def test_a_wrong_command_line_is_answered_with_the_usage(arguments):
    done = call(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "usage:" in done.stderr


# Environments, with nothing to install


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with empty locks, and on PATH a uv that writes down its arguments."""
    root = tmp_path / "check out"
    (root / "packaging").mkdir(parents=True)
    (root / "app").mkdir()
    (root / "app" / "__init__.py").write_text("WHERE = 'checkout'\n")
    for name in (bootstrap.RUN_LOCK, bootstrap.TEST_LOCK):
        (root / name).write_text("# nothing\n")
    tools = tmp_path / "tools"
    tools.mkdir()
    uv = tools / "uv"
    uv.write_text(f'#!/bin/sh\necho "$*" >> "{tmp_path}/calls"\nexit "${{UV_EXIT:-0}}"\n')
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.defpath}")
    return root


def installs(checkout):
    calls = checkout.parent / "calls"
    return calls.read_text().splitlines() if calls.exists() else []


posix = pytest.mark.skipif(os.name == "nt", reason="the fake uv is a shell script")


@posix
def test_the_first_call_sets_up_and_the_next_ones_only_start(checkout):
    python = bootstrap.ready_python(checkout, with_tests=True)
    assert bootstrap.ready_python(checkout, with_tests=True) == python
    assert bootstrap.ready_python(checkout, with_tests=False) == python
    assert len(installs(checkout)) == 1
    assert installs(checkout)[0].endswith("requirements-test.lock")


@posix
def test_the_checkout_is_importable_from_anywhere_even_after_it_moved(checkout, tmp_path):
    bootstrap.ready_python(checkout, with_tests=False)
    moved = shutil.move(checkout, tmp_path / "elsewhere")
    other = tmp_path / "cwd" / "app"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("WHERE = 'working directory'\n")
    command = [bootstrap.venv_python(moved / ".venv"), "-P", "-c", "import app; print(app.WHERE)"]
    answer = subprocess.run(command, cwd=other.parent, capture_output=True, text=True, check=True)
    assert answer.stdout == "checkout\n"


@posix
def test_the_command_starts_the_program_from_anywhere_even_after_a_move(checkout, tmp_path):
    (checkout / "app" / "__main__.py").write_text("import sys; print(sys.argv[1:], __file__)")
    bootstrap.ready_python(checkout, with_tests=False)
    elsewhere = tmp_path / "else where"
    (elsewhere / "app").mkdir(parents=True)
    (elsewhere / "app" / "__main__.py").write_text("print('taken for the program')")

    def call(root):
        link = elsewhere / "link"
        link.unlink(missing_ok=True)
        link.symlink_to(root / ".venv" / "bin" / "dragoman")
        command = [link, "a b"]
        done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=True)
        return done.stdout

    assert call(checkout).startswith(f"['a b'] {checkout}")
    moved = checkout.rename(tmp_path / "it's moved")
    bootstrap.ready_python(moved, with_tests=False)
    assert call(moved).startswith(f"['a b'] {moved}")


@posix
def test_an_interrupted_set_up_is_made_anew(checkout):
    bootstrap.ready_python(checkout, with_tests=False)
    half = checkout / ".venv" / "half-unpacked"
    half.mkdir()
    (checkout / ".venv" / ".dragoman").write_text(bootstrap.INSTALLING)
    python = bootstrap.ready_python(checkout, with_tests=False)
    assert not half.exists()
    assert python.exists()
    assert len(installs(checkout)) == 2


@posix
def test_a_changed_lock_file_is_installed_into_the_same_environment(checkout):
    bootstrap.ready_python(checkout, with_tests=False)
    kept = checkout / ".venv" / "kept"
    kept.touch()
    (checkout / bootstrap.RUN_LOCK).write_text("# changed\n")
    bootstrap.ready_python(checkout, with_tests=False)
    assert kept.exists()
    assert len(installs(checkout)) == 2


@posix
def test_an_environment_whose_python_is_gone_is_made_anew(checkout):
    python = bootstrap.ready_python(checkout, with_tests=False)
    python.unlink()
    python.symlink_to(checkout / "removed-python")
    assert bootstrap.ready_python(checkout, with_tests=False).exists()
    assert len(installs(checkout)) == 2


@posix
def test_pip_takes_over_where_uv_fails_and_a_failed_set_up_is_not_taken_for_complete(
    checkout, monkeypatch, capfd
):
    monkeypatch.setenv("UV_EXIT", "2")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (checkout / bootstrap.RUN_LOCK).write_text("missing==1 --hash=sha256:" + "0" * 64 + "\n")
    with pytest.raises(bootstrap.SetupError, match="could not be installed"):
        bootstrap.ready_python(checkout, with_tests=False)
    told = capfd.readouterr()
    assert told.out == ""
    assert "uv failed" in told.err
    assert "pip failed" in told.err
    assert (checkout / ".venv" / ".dragoman").read_text() == bootstrap.INSTALLING


@posix
def test_the_program_takes_the_place_of_the_script_with_its_exit_code_and_output():
    code = (
        "import runpy, sys, os; become = runpy.run_path(sys.argv[1])['become'];"
        "print(os.getpid(), flush=True);"
        "become([sys.executable, '-c', 'import os; print(os.getpid()); raise SystemExit(7)'])"
    )
    command = [sys.executable, "-c", code, str(SCRIPT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    before, after = done.stdout.split()
    assert before == after
    assert done.returncode == 7


# The lock files


SYSTEMS = [
    {"sys_platform": "linux", "platform_machine": "x86_64"},
    {"sys_platform": "linux", "platform_machine": "aarch64"},
    {"sys_platform": "darwin", "platform_machine": "arm64"},
    {"sys_platform": "darwin", "platform_machine": "x86_64"},
    {"sys_platform": "win32", "platform_machine": "AMD64"},
]
ENVIRONMENTS = [
    {**system, "python_version": f"3.{minor}", "python_full_version": f"3.{minor}.0"}
    for system in SYSTEMS
    for minor in range(bootstrap.OLDEST[1], bootstrap.NEWEST[1] + 1)
]


def wanted(requirements, environment):
    """Parse the requirements that count in an environment."""
    parsed = map(Requirement, requirements)
    return [one for one in parsed if one.marker is None or one.marker.evaluate(environment)]


def pins(lock, environment):
    """Return what a lock file pins in an environment: name and version."""
    text = (ROOT / lock).read_text("utf-8")
    lines = re.findall(r"^([a-z0-9].*?) \\$", text, re.MULTILINE)
    pairs = [(one.name, str(one.specifier)[2:]) for one in wanted(lines, environment)]
    assert len(dict(pairs)) == len(pairs), "a package is pinned twice"
    return dict(pairs)


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda e: "-".join(e.values()))
@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        (bootstrap.RUN_LOCK, PROJECT["project"]["dependencies"]),
        (bootstrap.TEST_LOCK, PROJECT["project"]["dependencies"]),
        (bootstrap.TEST_LOCK, PROJECT["dependency-groups"]["test"]),
    ],
    ids=["run", "run in test", "test"],
)
def test_the_lock_files_satisfy_the_project_everywhere(lock, requirements, environment):
    pinned = pins(lock, environment)
    for requirement in wanted(requirements, environment):
        version = pinned.get(plain(requirement.name), "0")
        assert requirement.specifier.contains(Version(version)), f"{requirement}: run lock again"


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda e: "-".join(e.values()))
def test_the_test_lock_holds_all_of_the_run_lock(environment):
    run, test = pins(bootstrap.RUN_LOCK, environment), pins(bootstrap.TEST_LOCK, environment)
    assert len(run) > 20
    assert run.items() <= test.items()


@pytest.mark.parametrize("lock", [bootstrap.RUN_LOCK, bootstrap.TEST_LOCK])
def test_lock_files_hold_pins_and_hashes_and_no_addresses(lock):
    lines = (ROOT / lock).read_text("utf-8").splitlines()
    assert lines[0] + "\n" == bootstrap.LOCK_NOTE
    allowed = re.compile(r"[a-z0-9.-]+==\S+( ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert [line for line in lines[1:] if not allowed.fullmatch(line)] == []
