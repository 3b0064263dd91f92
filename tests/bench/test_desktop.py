import shutil
import sys

import pytest

from tests.bench.desktop import Line, render, take

pytestmark = [
    pytest.mark.bench,
    pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's books"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="builds its mock and load generator"),
    pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="needs a session bus"),
]

SLACK = 3.0
"""The budgets hold on a quiet machine; here only what has become a multiple of one is a failure."""


def test_tray_is_soon_there_costs_little_and_answers_while_streams_run():
    lines = take(starts=2, idle_s=10.0)
    assert [line for line in lines if line.most and line.value > line.most * SLACK] == []


def test_table_says_what_is_missed():
    text = render([Line("a", "s", 0.5, 1.0), Line("b", "MB", 120.0, 90.0), Line("c", "ms", 3.0)])
    assert [row.rpartition("| ")[2] for row in text.splitlines()[2:]] == [
        "kept |",
        "**missed** |",
        "- |",
    ]
