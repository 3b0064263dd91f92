"""Running the program as a process: its lock, its log, its signals, its end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import threading
from collections.abc import Callable

from app import log
from app.configfile import load_file, locate
from app.instance import Instance
from app.paths import Paths
from app.service import ServeOptions, Service, register_secrets
from app.tasks import spawn

__all__ = ["serve"]


def serve(
    options: ServeOptions,
    *,
    ready: Callable[[str], None] | None = None,
    attach: Callable[[Service], None] | None = None,
) -> int:
    """Serve until SIGTERM, SIGINT or ``POST /admin/stop``.

    Args:
        options: from the command line.
        ready: called with the address once the port listens.
        attach: called on the loop with the running program, before ``ready``.

    Returns:
        The exit code.

    Raises:
        ConfigError: the settings are wrong, or the port cannot be had.
        AppError: another instance runs on this data folder.
    """
    env = dict(os.environ)
    paths = Paths.find(env)
    located = locate(options.config_path, env)
    config = load_file(located, env)
    register_secrets(config, env)
    instance = Instance.acquire(paths.data, paths.runtime)
    log.redact(instance.token)
    close_log = log.setup(config.logging.level, as_json=config.logging.as_json, file=paths.log_file)
    try:
        return asyncio.run(
            _serve(Service(paths, located, options, env, config, instance), ready, attach)
        )
    finally:
        instance.release()
        close_log()


async def _serve(
    service: Service,
    ready: Callable[[str], None] | None,
    attach: Callable[[Service], None] | None = None,
) -> int:
    loop = asyncio.get_running_loop()
    main = threading.current_thread() is threading.main_thread()
    for name in ("SIGTERM", "SIGINT") if main else ():
        number = getattr(signal, name)
        with contextlib.suppress(NotImplementedError):  # Windows: KeyboardInterrupt ends the run
            loop.add_signal_handler(number, service.stop)
    try:
        await service.start()
    except BaseException:
        await service.close()
        raise
    if attach is not None:
        attach(service)
    if ready is not None:
        ready(f"http://localhost:{service.port}")
    spawn(_settle_memory(service), "settle memory")
    await service.run_until_stopped()
    return 0


async def _settle_memory(service: Service) -> None:
    """Take what start-up made out of the garbage collector's sight.

    It stays for the life of the process, and walking it again and again would take a tenth of the
    time of a request.
    """
    await service.store.done.wait()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
