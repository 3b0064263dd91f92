import os
import subprocess
import sys

import pytest

from app.services.memory import MemoryGauge, read_memory, tree_of
from tests.fakes.basic import Clock

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_gauge_asks_the_system_every_half_minute_at_most():
    asked, clock = [], Clock()
    gauge = MemoryGauge(lambda pid: asked.append(pid) or 5_500_000 * len(asked), clock)
    assert gauge.of(None) is None
    assert gauge.of(1) == 5 * 1024 * 1024
    clock.advance(29)
    assert gauge.of(1) == 5 * 1024 * 1024
    clock.advance(2)
    assert gauge.of(1) == 10 * 1024 * 1024
    assert asked == [1, 1]


def test_memory_that_nobody_knows_is_none():
    assert MemoryGauge(lambda _pid: None).of(1) is None


@linux
def test_own_memory_is_told_without_that_of_children():
    size = read_memory(os.getpid())
    assert 5_000_000 < size < 5_000_000_000


@linux
def test_family_of_a_process_is_found_and_measured():
    text = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=0)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", f"{text}; print(p.pid, flush=True); p.wait()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with parent:
        child = int(parent.stdout.readline())
        assert tree_of(parent.pid) == (parent.pid, child)
        assert read_memory(parent.pid) > read_memory(child) > 0
        parent.stdin.close()
    assert read_memory(parent.pid) is None


def test_odd_names_of_programs_do_not_confuse(tmp_path):
    for number, parent in ((10, 1), (11, 10)):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "stat").write_text(f"{number} (a) b (c) S {parent} 0 0")
    (tmp_path / "12").mkdir()  # it ended while it was looked at
    (tmp_path / "self").mkdir()
    assert tree_of(10, tmp_path) == (10, 11)
