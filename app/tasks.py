"""Background tasks that are kept and logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["cancel_all", "spawn"]

_log = logging.getLogger("dragoman.tasks")
_T = TypeVar("_T")
_running: set[asyncio.Task[Any]] = set()
"""The event loop keeps only weak references to tasks; this set keeps them until they end."""


def spawn(coroutine: Coroutine[Any, Any, _T], name: str) -> asyncio.Task[_T]:
    """Run a coroutine in the background; a failure is logged under ``name``."""
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    _running.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("task %s failed", task.get_name(), exc_info=error)


async def cancel_all(grace_s: float = 2.0) -> None:
    """Cancel what still runs on this loop and wait up to ``grace_s`` seconds for it."""
    loop = asyncio.get_running_loop()
    current = asyncio.current_task()
    tasks = [t for t in _running if t.get_loop() is loop and t is not current]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=grace_s)
