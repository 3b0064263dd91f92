"""Shared fixtures: pytest-tornado without setuptools, one fresh loop per test."""

import asyncio
import inspect
import sys
import types

if "pkg_resources" not in sys.modules:  # pytest-tornado wants it; setuptools 82 no longer has it
    from packaging.version import parse

    sys.modules["pkg_resources"] = types.SimpleNamespace(parse_version=parse)

import pytest
import tornado.ioloop

pytest_plugins = ["pytest_tornado.plugin"]


def pytest_collection_modifyitems(items):
    for item in items:
        if inspect.iscoroutinefunction(getattr(item, "obj", None)) and not item.get_closest_marker(
            "gen_test"
        ):
            item.add_marker(pytest.mark.gen_test)


@pytest.fixture
def io_loop():
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    io = tornado.ioloop.IOLoop.current()
    yield io
    io.close(all_fds=True)
    asyncio.set_event_loop(None)
