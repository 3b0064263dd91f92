import os

import pytest

from app.errors import AppError, RequestError
from app.server.agentdesk import AgentDesk, digest_of
from tests.clients.corpus import Bench
from tests.server.test_agents import ORIGINAL, opened, posix, stand_in, user

__all__ = ["user"]  # a fixture


def test_the_digest_stands_for_what_is_shown(tmp_path):
    bench = Bench(tmp_path)
    one = digest_of(bench.propose("claude", {"main": "a"}))
    assert digest_of(bench.propose("claude", {"main": "a"})) == one
    assert digest_of(bench.propose("claude", {"main": "b"})) != one
    assert digest_of(bench.propose("codex", {"main": "a"})) != one


@posix
async def test_versions_are_asked_for_once_for_each_program(tmp_path, user):
    async with opened(tmp_path, user) as site:
        count = tmp_path / "count"
        stand_in(tmp_path, f"open({str(count)!r}, 'a').write('x'); print('claude 1.2.3')")
        for _ in range(2):
            assert (await site.show())["agents"]["claude"]["version"] == "1.2.3"
        assert count.read_text() == "x"
        stand_in(tmp_path, "print('claude 1.2.4')")
        os.utime(tmp_path / "bin" / "claude", (1, 1))
        assert (await site.show())["agents"]["claude"]["version"] == "1.2.4"


async def test_the_tray_disconnects_without_a_plan(tmp_path, user):
    async with opened(tmp_path, user) as site:
        desk = AgentDesk(site.service)
        plan = await desk.plan("claude", {"main": "m"})
        await desk.write("claude", {"main": "m"}, plan["shown"])
        assert [s.agent.name for s in await desk.states() if s.connected] == ["claude"]
        await desk.disconnect(["claude"])
        assert site.settings.read_text() == ORIGINAL
        with pytest.raises(RequestError):
            await desk.disconnect(["claude"])


async def test_a_ledger_that_cannot_be_asked_is_not_known(tmp_path, user):
    class Dead:
        def page(self, query):
            raise AppError("It is still opening.", code="store_unavailable")

    class Program:
        ledger = Dead()

    assert AgentDesk(Program())._requests(1_700_000_000.0) is None
