import asyncio

from app.errors import UpstreamError
from app.http import HttpReply
from app.services.outside import Outside
from app.services.table import judge_models, models_request
from tests.fakes.basic import Clock

LIST = HttpReply(200, (), b'{"data":[{"id":"m"}]}')


async def watch(answers, states):
    """Look at a service that gives these answers, until so many changes were seen."""
    seen, changed = [], asyncio.Event()

    async def fetch(request, _limits):
        assert request.url == "http://127.0.0.1:6969/v1/models"
        assert dict(request.headers) == {"Authorization": "Bearer k"}
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def note():
        seen.append((outside.state, outside.reason))
        changed.set()

    outside = Outside(
        lambda: models_request("http://127.0.0.1:6969", "k"),
        judge_models,
        fetch,
        note,
        Clock(),
        every_s=0.001,
    )
    outside.start()
    outside.start()
    assert outside.running
    assert outside.state == "starting"
    while len(seen) < states:
        changed.clear()
        await asyncio.wait_for(changed.wait(), 20)
    await outside.stop()
    assert not outside.running
    return seen


async def test_health_is_followed():
    down = UpstreamError("It cannot be reached.")
    seen = await watch([LIST, down, LIST], 3)
    assert seen[:4] == [
        ("ready", ""),
        ("unhealthy", "It cannot be reached."),
        ("ready", ""),
        ("off", ""),
    ]


async def test_wrong_key_is_named():
    seen = await watch([HttpReply(401, (), b"{}")], 1)
    assert "services.webai.api_key" in seen[0][1]
