"""OpenCode itself reads our registry, for each key its own, and calls the models that are in it."""

import asyncio
import os

import pytest

from app.server.registry import models_token
from tests.clients.agents import OpenCode
from tests.clients.installing import program
from tests.server.running import running

pytestmark = pytest.mark.clients

SETTINGS = "models: {registry: false, aliases: {fast: demo-chat}}\n"


async def opencode(home, server, path, *words):
    home.mkdir(exist_ok=True)
    env = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "OPENCODE_MODELS_URL": f"http://localhost:{server.port}{path}",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "DRAGOMAN_API_KEY": "local",
    }
    process = await asyncio.create_subprocess_exec(
        await asyncio.to_thread(program, OpenCode),
        *words,
        cwd=home,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 180)
    assert process.returncode == 0, err.decode()
    return out.decode()


@pytest.mark.gen_test(timeout=400)
async def test_it_offers_what_the_registry_lists_and_calls_it(tmp_path):
    async with running(tmp_path / "dragoman", SETTINGS) as server:
        offered = (await opencode(tmp_path / "a", server, "/models", "models", "dragoman")).split()
        assert {"dragoman/demo-chat", "dragoman/fast"} <= set(offered)
        said = await opencode(
            tmp_path / "a", server, "/models", "run", "-m", "dragoman/fast", "hello there"
        )
        assert "Dragoman's demo understood" in said


@pytest.mark.gen_test(timeout=400)
async def test_a_keys_address_offers_its_models_alone(tmp_path):
    async with running(tmp_path / "dragoman", SETTINGS) as server:
        record, _ = await server.key(label="opencode", models=["fast"])
        path = f"/models/{models_token(record)}"
        offered = (await opencode(tmp_path / "a", server, path, "models", "dragoman")).split()
        assert offered == ["dragoman/fast"]
