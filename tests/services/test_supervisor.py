"""Real processes, ended in every way."""

import os
import re
import signal
import socket
from pathlib import Path

from app.services.definition import Restart
from tests.services.running import Watched, lives, reached, stand_in


def printed_pid(watched):
    return int(re.findall(r"child (\d+)", watched.log())[-1])


async def test_program_becomes_ready_and_is_stopped(tmp_path):
    async with Watched(tmp_path, stand_in(tmp_path)) as watched:
        await watched.until("ready")
        pid = watched.supervisor.pid
        assert lives(pid)
        assert watched.supervisor.since is not None
        await watched.supervisor.stop()
        assert not lives(pid)
        assert [state for state, _ in watched.states] == ["ready", "stopping", "off"]
        assert watched.supervisor.pid is None
    assert "listening" in watched.log()


async def test_killed_program_is_started_again(tmp_path):
    async with Watched(tmp_path, stand_in(tmp_path)) as watched:
        await watched.until("ready")
        first, seen = watched.supervisor.pid, len(watched.states)
        os.kill(first, signal.SIGKILL)
        assert await watched.until("waiting", seen) == "It was ended by SIGKILL: listening"
        await watched.until("ready", seen)
        assert watched.supervisor.pid not in (None, first)
        assert watched.supervisor.starts == 2


async def test_what_a_killed_program_had_started_ends_with_it(tmp_path):
    async with Watched(tmp_path, stand_in(tmp_path, "child")) as watched:
        await watched.until("ready")
        grandchild, seen = printed_pid(watched), len(watched.states)
        os.kill(watched.supervisor.pid, signal.SIGKILL)
        await watched.until("ready", seen)
        await reached(lambda: not lives(grandchild) or is_zombie(grandchild))


def is_zombie(pid):
    """Killed, but not yet taken leave of by the system's first process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def test_next_try_is_told_while_it_waits(tmp_path):
    definition = stand_in(tmp_path, "crash", restart=Restart(first_s=3600.0))
    async with Watched(tmp_path, definition) as watched:
        reason = await watched.until("waiting")
        assert reason == "It ended with exit code 7: cannot go on"
        assert watched.supervisor.until > 1_700_000_000


async def test_crash_loop_is_given_up(tmp_path, caplog):
    async with Watched(tmp_path, stand_in(tmp_path, "crash")) as watched:
        reason = await watched.until("failed")
        assert "exit code 7: cannot go on" in reason
        assert "3 times in a row" in reason
        assert not watched.supervisor.running
        assert watched.supervisor.starts == 3
        watched.definition = stand_in(tmp_path)
        watched.supervisor.start()  # somebody mended it
        await watched.until("ready")
    assert "is given up" in caplog.text


async def test_port_of_another_program_is_left_to_it(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        definition = stand_in(tmp_path, port=port, restart=Restart(first_s=0.01, most=1000))
        async with Watched(tmp_path, definition) as watched:
            reason = await watched.until("waiting")
            assert reason == f"Port {port} is used by another program."
            assert not watched.log().count("listening")
            other.close()
            await watched.until("ready")


async def test_slow_start_is_waited_for(tmp_path):
    gate = tmp_path / "gate"
    async with Watched(tmp_path, stand_in(tmp_path, f"wait:{gate}")) as watched:
        await reached(lambda: "given" in watched.log())
        assert watched.supervisor.state == "starting"
        gate.touch()
        await watched.until("ready")
        assert watched.supervisor.starts == 1


async def test_start_that_takes_too_long_is_ended(tmp_path):
    gate = tmp_path / "gate"
    definition = stand_in(
        tmp_path, f"wait:{gate}", ready_within_s=0.3, restart=Restart(first_s=3600.0)
    )
    async with Watched(tmp_path, definition) as watched:
        assert "was not ready within 0.3 s" in await watched.until("waiting")
        assert watched.supervisor.pid is None


async def test_program_that_does_not_end_is_killed(tmp_path):
    definition = stand_in(tmp_path, "deaf", stop_within_s=0.2)
    async with Watched(tmp_path, definition) as watched:
        await watched.until("ready")
        pid = watched.supervisor.pid
        await watched.supervisor.stop()
        assert not lives(pid)
    assert "did not end within 0.2 s and is killed" in watched.log()


async def test_program_that_falls_ill_is_started_again(tmp_path):
    sick = tmp_path / "sick"
    definition = stand_in(
        tmp_path, f"sick:{sick}", check_every_s=0.01, check_within_s=5.0, checks=1
    )
    async with Watched(tmp_path, definition) as watched:
        await watched.until("ready")
        seen = len(watched.states)
        sick.touch()
        reason = await watched.until("waiting", seen)
        assert reason == "It does not answer any more: It answered with status 500."
        sick.unlink()
        await watched.until("ready", seen)


async def test_ill_program_that_gets_well_is_left_running(tmp_path):
    sick = tmp_path / "sick"
    definition = stand_in(
        tmp_path, f"sick:{sick}", check_every_s=0.01, check_within_s=0.5, checks=1000
    )
    async with Watched(tmp_path, definition) as watched:
        await watched.until("ready")
        seen = len(watched.states)
        sick.touch()
        assert await watched.until("unhealthy", seen) == "It answered with status 500."
        sick.unlink()
        await watched.until("ready", seen)
        assert watched.supervisor.starts == 1


async def test_program_that_is_not_there_is_told(tmp_path):
    definition = stand_in(tmp_path, restart=Restart(most=1))
    object.__setattr__(definition, "command", (str(tmp_path / "missing"),))
    async with Watched(tmp_path, definition) as watched:
        assert "No such file" in await watched.until("failed")


async def test_stop_while_it_starts_leaves_nothing(tmp_path):
    gate = tmp_path / "gate"
    async with Watched(tmp_path, stand_in(tmp_path, f"wait:{gate}")) as watched:
        await reached(lambda: watched.supervisor.pid is not None)
        pid = watched.supervisor.pid
        await watched.supervisor.stop()
        assert not lives(pid)
