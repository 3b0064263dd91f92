"""What is left of accounts, over a real socket."""

import json

from app.providers.quota import Quota, QuotaWindow
from app.server.peer import NoProver
from tests.server.running import CHAT, Upstream, answering, running, whole

TWO = """
providers:
  one: {{kind: compatible, dialect: openai_chat, base_url: "{url}", models: [m], api_key: sk-1}}
  two: {{kind: compatible, dialect: openai_chat, base_url: "{url}", models: [m], api_key: sk-2}}
"""
ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def answer(**fields):
    """A whole answer with further fields in its head."""
    message = {"role": "assistant", "content": "hi"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    first, rest = whole(json.dumps(head | {"choices": [choice]}).encode()).split(b"\r\n", 1)
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return answering(first + b"\r\n" + lines.encode() + rest)


async def test_limits_in_the_heads_of_answers_are_shown(tmp_path):
    fields = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "45",
        "x-ratelimit-reset-requests": "30s",
    }
    async with (
        Upstream(answer(**fields)) as upstream,
        running(tmp_path, TWO.format(url=upstream.url)) as server,
    ):
        before = (await server.get("/v1/quota")).json["accounts"]
        assert [(row["id"], row["windows"]) for row in before] == [
            ("one/one-1", []),
            ("two/two-1", []),
        ]
        assert (await server.post(CHAT, ASK)).status == 200
        one, two = (await server.get("/v1/quota")).json["accounts"]
        (window,) = one["windows"]
        assert window["name"] == "requests"
        assert (window["left_percent"], window["used_percent"]) == (75.0, 25.0)
        assert (window["left"], window["limit"], window["source"]) == (45, 60, "headers")
        assert 0 < window["resets_in_s"] <= 30
        assert window["age_s"] <= 5
        assert not window["exhausted"]
        assert two["windows"] == []


async def test_an_account_near_its_end_is_asked_after_one_with_room(tmp_path):
    async with (
        Upstream(answer()) as upstream,
        running(tmp_path, TWO.format(url=upstream.url)) as server,
    ):
        assert "provider=one" in (await server.post(CHAT, ASK)).header("x-dragoman-route")
        now = server.service.started_at
        spent = Quota((QuotaWindow("5h", 97.0, now + 3_600),), now, "usage call")
        server.service.quotas.note("one/one-1", spent)
        assert "provider=two" in (await server.post(CHAT, ASK)).header("x-dragoman-route")


async def test_a_key_sees_its_scope_and_who_may_not_ask_sees_nothing(tmp_path):
    settings = TWO.format(url="http://127.0.0.1:9")
    async with running(tmp_path, settings, prover=NoProver()) as server:
        assert (await server.get("/v1/quota")).status == 401
        _, key = await server.key(label="k", providers=["two"])
        rows = (await server.get("/v1/quota?refresh=1", {"x-api-key": key})).json["accounts"]
        assert [row["id"] for row in rows] == ["two/two-1"]
        assert "sk-2" not in json.dumps(rows)
