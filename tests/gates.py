"""Coverage gates as a pytest plugin: a table per room, and a failure for every gate missed.

Loaded by ``bootstrap.py test`` with ``-p tests.gates`` next to pytest-cov. The gates hold for the
whole suite only: naming a path, ``-k``, ``-m``, ``--lf`` and the like turn them off, since part of the
tests says nothing about coverage. A missed gate is shown and counted like a failed test, so that
pytest's closing line and exit code tell the truth. Rooms that do not exist are skipped.
"""

import json
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import coverage
import pytest

GATES = {
    "app": 85.0,
    "app/accounts": 90.0,
    "app/canonical": 90.0,
    "app/config.py": 90.0,
    "app/configsecret.py": 90.0,
    "app/configvalues.py": 90.0,
    "app/dialects": 90.0,
    "app/providers": 90.0,
    "app/routing": 90.0,
}
"""Lowest share of lines and branches that tests must reach, in percent, per folder or file."""


@dataclass(frozen=True, slots=True)
class Row:
    """Coverage of one room: lines and branches together."""

    room: str
    covered: int
    total: int
    gate: float | None

    @property
    def percent(self):
        return 100.0 * self.covered / self.total if self.total else 100.0

    @property
    def missed(self):
        return self.gate is not None and self.percent < self.gate


def rows(files, gates):
    """Add up a coverage report by room.

    ``files`` is the ``files`` object of coverage's JSON report: path → ``summary`` with
    ``num_statements``, ``covered_lines``, ``num_branches``, ``covered_branches``. A room is the
    folder or file directly below ``app``, and ``app`` itself. Rows come in order of their names.
    """
    covered, total = defaultdict(int), defaultdict(int)
    for path, entry in files.items():
        parts = path.replace("\\", "/").split("/")
        summary = entry["summary"]
        for room in {parts[0], "/".join(parts[:2])}:
            covered[room] += summary["covered_lines"] + summary.get("covered_branches", 0)
            total[room] += summary["num_statements"] + summary.get("num_branches", 0)
    return [Row(room, covered[room], total[room], gates.get(room)) for room in sorted(total)]


def render(table):
    """Render the rows as aligned lines of text."""
    width = max(len(row.room) for row in table)
    for row in table:
        gate = "" if row.gate is None else f"  gate {row.gate:.0f} %"
        yield f"{row.room:<{width}}  {row.percent:5.1f} %{gate}{'  MISSED' if row.missed else ''}"


def read_report():
    """Return the files of the coverage data that pytest-cov has just saved; empty without data."""
    measured = coverage.Coverage()
    measured.load()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "coverage.json")
        try:
            measured.json_report(outfile=str(target))
        except coverage.exceptions.NoDataError:
            return {}
        return json.loads(target.read_text("utf-8"))["files"]


def is_whole_suite(config):
    """Tell whether every test that is on by default was to run, under coverage."""
    option = config.option
    usual = config.getini("addopts")
    marks = {usual[usual.index("-m") + 1] if "-m" in usual else "", "not live"}
    narrowed = [
        option.markexpr not in marks,
        option.keyword,
        option.collectonly,
        getattr(option, "lf", False),
        getattr(option, "stepwise", False),
        option.deselect,
        option.ignore,
        option.ignore_glob,
        getattr(option, "no_cov", False),
    ]
    return (
        config.args_source is config.ArgsSource.TESTPATHS
        and not any(narrowed)
        and config.pluginmanager.hasplugin("_cov")
    )


class Gates:
    """Checks the gates once the tests have run and shows the table before the closing line."""

    def __init__(self, config):
        self.config = config
        self.table = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session):
        """Run outside of pytest-cov's own wrapper, which saves the data when the tests end."""
        result = yield
        self.table = rows(read_report(), GATES)
        reporter = self.config.pluginmanager.getplugin("terminalreporter")
        for row in self.table:
            if row.missed:
                session.testsfailed += 1
                reporter.stats.setdefault("failed", []).append(failure(row))
        return result

    def pytest_terminal_summary(self, terminalreporter):
        if self.table:
            terminalreporter.write_sep("=", "coverage of lines and branches")
            for line in render(self.table):
                terminalreporter.write_line(line)


def failure(row):
    """Return a missed gate in the form of a failed test."""
    return pytest.TestReport(
        nodeid=f"coverage of {row.room}",
        location=(row.room, None, f"coverage of {row.room}"),
        keywords={},
        outcome="failed",
        longrepr=f"{row.percent:.1f} % of lines and branches are tested; the gate is {row.gate:.0f} %.",
        when="call",
    )


def pytest_configure(config):
    is_worker = hasattr(config, "workerinput")  # of several processes one alone sees it all
    if not is_worker and is_whole_suite(config):
        config.pluginmanager.register(Gates(config), "dragoman-gates")
