import asyncio
import logging

import pytest

from app.tasks import cancel_all, spawn


async def returns(value):
    return value


async def fails():
    raise ValueError("why it failed")


async def test_a_task_runs_under_its_name_and_gives_its_value():
    task = spawn(returns(5), "five")
    assert task.get_name() == "five"
    assert await task == 5


async def test_a_task_that_nobody_holds_runs_to_its_end():
    done = asyncio.Event()

    async def work():
        await asyncio.sleep(0)
        done.set()

    spawn(work(), "kept")
    await done.wait()


async def test_a_failure_is_logged_with_the_name_and_the_reason(caplog):
    with caplog.at_level(logging.ERROR, "dragoman.tasks"):
        task = spawn(fails(), "doomed")
        await asyncio.wait([task])
        await asyncio.sleep(0)
    (record,) = caplog.records
    assert record.getMessage() == "task doomed failed"
    assert str(record.exc_info[1]) == "why it failed"


async def test_a_task_that_was_cancelled_is_no_failure(caplog):
    task = spawn(asyncio.Event().wait(), "waiting")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert caplog.records == []


async def test_all_that_runs_is_cancelled_and_awaited():
    cleaned = []

    async def work(number):
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(number)

    tasks = [spawn(work(number), "work") for number in range(3)]
    await asyncio.sleep(0)
    await cancel_all()
    assert all(task.cancelled() for task in tasks)
    assert sorted(cleaned) == [0, 1, 2]


async def test_a_task_that_cancels_the_others_goes_on():
    other = spawn(asyncio.Event().wait(), "other")

    async def stop():
        await cancel_all()
        return "done"

    assert await spawn(stop(), "stopping") == "done"
    assert other.cancelled()


async def test_a_task_that_will_not_end_is_waited_for_only_so_long():
    release = asyncio.Event()

    async def stubborn():
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    task = spawn(stubborn(), "stubborn")
    await asyncio.sleep(0)
    await cancel_all(grace_s=0.0)
    assert not task.done()
    release.set()
    await task


async def test_nothing_running_is_nothing_to_wait_for():
    await cancel_all()
    await asyncio.wait([task := spawn(returns(1), "done")])
    await asyncio.sleep(0)
    await cancel_all()
    assert not task.cancelled()
