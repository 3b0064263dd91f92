"""Shared fixtures: pytest-tornado without setuptools, one fresh loop per test."""

import asyncio
import inspect
import sys
import types

if "pkg_resources" not in sys.modules:  # pytest-tornado wants it; setuptools 82 no longer has it
    from packaging.version import parse

    sys.modules["pkg_resources"] = types.SimpleNamespace(parse_version=parse)

import hypothesis
import pytest
import tornado.ioloop

# The same examples each time, and no time limit: a run says something of the change it tests and
# not of its luck. `--hypothesis-profile default` looks further.
hypothesis.settings.register_profile(
    "steady", derandomize=True, deadline=None, database=None, max_examples=25
)
hypothesis.settings.load_profile("steady")

pytest_plugins = ["pytest_tornado.plugin"]


def pytest_collection_modifyitems(items):
    for item in items:
        if inspect.iscoroutinefunction(getattr(item, "obj", None)) and not item.get_closest_marker(
            "gen_test"
        ):
            # pytest-tornado's five seconds are short on a busy machine, above all for new processes.
            item.add_marker(pytest.mark.gen_test(timeout=60))


@pytest.fixture
def io_loop():
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    io = tornado.ioloop.IOLoop.current()
    yield io
    io.close(all_fds=True)
    asyncio.set_event_loop(None)
