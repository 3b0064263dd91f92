"""The coverage gates, on a project of two small rooms."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.gates import Row, render, rows

ROOT = Path(__file__).resolve().parent.parent

BRANCHING = "def sign(x):\n    if x < 0:\n        return -1\n    return 1\n"


def entry(lines, covered_lines, branches=0, covered_branches=0):
    return {
        "summary": {
            "num_statements": lines,
            "covered_lines": covered_lines,
            "num_branches": branches,
            "covered_branches": covered_branches,
        }
    }


def test_rooms_add_up_lines_and_branches_of_their_files():
    files = {
        "app/config.py": entry(10, 10),
        "app/routing/plan.py": entry(6, 3, 4, 2),
        "app\\routing\\rules.py": entry(10, 10),
    }
    assert rows(files, {"app": 80.0, "app/routing": 90.0}) == [
        Row("app", 25, 30, 80.0),
        Row("app/config.py", 10, 10, None),
        Row("app/routing", 15, 20, 90.0),
    ]


def test_a_gate_is_missed_only_below_its_figure():
    assert Row("app/x", 899, 1000, 90.0).missed
    assert not Row("app/x", 900, 1000, 90.0).missed
    assert not Row("app/x", 0, 1000, None).missed
    assert not Row("app/x", 0, 0, 90.0).missed


def test_the_table_is_aligned_and_names_missed_gates():
    table = [Row("app", 1, 1, 85.0), Row("app/routing", 1, 2, 90.0), Row("app/x", 0, 1, None)]
    assert list(render(table)) == [
        "app          100.0 %  gate 85 %",
        "app/routing   50.0 %  gate 90 %  MISSED",
        "app/x          0.0 %",
    ]


@pytest.fixture
def project(tmp_path):
    """A checkout with one gated room, whose tests cover both branches of it."""
    room = tmp_path / "app" / "routing"
    room.mkdir(parents=True)
    (tmp_path / "app" / "__init__.py").touch()
    (room / "__init__.py").touch()
    (room / "plan.py").write_text(BRANCHING)
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "__init__.py").touch()
    (tests / "gates.py").write_bytes((ROOT / "tests" / "gates.py").read_bytes())
    (tests / "test_plan.py").write_text(
        "import pytest\nfrom app.routing.plan import sign\n\n\n"
        "@pytest.mark.slow\ndef test_positive():\n    assert sign(3) == 1\n\n\n"
        "def test_negative():\n    assert sign(-3) == -1\n"
    )
    (tmp_path / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\ntestpaths = ["tests"]\naddopts = "-p no:tornado -m \'not live\'"\nmarkers = ["slow"]\n'
        '[tool.coverage.run]\nbranch = true\nsource = ["app"]\n'
    )
    return tmp_path


def run_tests(project, *arguments):
    command = [sys.executable, "-m", "pytest", "-p", "tests.gates", "-p", "no:cacheprovider"]
    command += ["--cov=app", "--cov-branch", "--cov-report=", *arguments]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


def test_a_covered_suite_passes_and_ends_with_pytests_closing_line(project):
    done = run_tests(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "app/routing      100.0 %  gate 90 %" in done.stdout
    assert "2 passed in" in done.stdout.splitlines()[-1]


def test_a_missed_gate_fails_the_session_and_is_counted_in_the_closing_line(project):
    (project / "app" / "routing" / "rules.py").write_text(BRANCHING)
    done = run_tests(project)
    assert done.returncode == 1
    assert "FAILED coverage of app/routing" in done.stdout
    closing = done.stdout.splitlines()[-1]
    assert "2 failed, 2 passed in" in closing  # the room, and app as a whole


@pytest.mark.parametrize(
    "narrowing", [["-k", "positive"], ["-m", "slow"], ["tests/test_plan.py::test_positive"]]
)
def test_part_of_the_suite_is_not_measured_against_the_gates(project, narrowing):
    done = run_tests(project, *narrowing)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
    assert "coverage of lines" not in done.stdout
