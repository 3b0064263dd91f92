"""Names of calling programs."""

import pytest
from tornado.httputil import HTTPHeaders

from app.server.clientnames import ClientNames
from tests.server.running import CHAT, SAY, running


def of(agent, program=None, names=None):
    headers = {} if agent is None else {"User-Agent": agent}
    return (names or ClientNames()).of(program, HTTPHeaders(headers))


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("curl/8.5.0", "curl"),
        ("claude-cli/2.1.3 (external, cli)", "claude-cli"),
        ("OpenAI/Python 2.1.0", "openai"),
        ("codex_cli_rs/0.50", "codex_cli_rs"),
        ("opencode", "opencode"),
        ("Mozilla/5.0 (X11; Linux)", "browser"),
        ("", ""),
        ("=cmd()", ""),
        ("x" * 500, ""),
        (None, ""),
    ],
)
def test_a_program_that_the_system_does_not_tell_is_called_what_it_calls_itself(agent, name):
    assert of(agent) == name


def test_the_systems_word_wins():
    assert of("curl/8.5.0", "claude") == "claude"


def test_odd_names_are_bounded():
    names = ClientNames(most=3)
    found = [of(f"agent{chr(97 + i)}/1", names=names) for i in range(10)]
    assert found == ["agenta", "agentb", "agentc", *["other"] * 7]
    assert of("agentb/2", names=names) == "agentb"


async def test_the_ledger_knows_the_program_of_the_first_request(tmp_path):
    async with running(tmp_path) as server:
        seen = []
        note = server.service.ledger.note
        server.service.ledger.note = lambda entry: (seen.append(entry.client), note(entry))
        await server.post(CHAT, SAY, {"User-Agent": "my-agent/1.0"})
        assert seen[0] != ""
