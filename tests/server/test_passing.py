"""Embeddings, images and compaction over real sockets: found, judged and passed on."""

import json

import pytest

from app.dialects import DIALECTS
from app.server.passing import passing_entries
from app.server.peer import NoProver
from tests.server.running import Upstream, answering, running, whole
from tests.server.test_inference import Slow, error_of

PATHS = ("/v1/embeddings", "/v1/images/generations", "/v1/responses/compact")
EVERY = [*PATHS, *(path.removeprefix("/v1") for path in PATHS)]
BODY = {"model": "m", "input": "hi", "prompt": "hi"}
ANSWER = b'{"object" : "list", "data": []}'


def settings(up):
    """One account of the one provider that offers all three."""
    return (
        f"providers:\n  openai:\n    api_key: sk-fake\n    base_url: {up.url}/v1\n    models: [m]\n"
    )


def dialect_of(path):
    return "openai_responses" if path.endswith("compact") else "openai_chat"


def test_each_path_is_served_with_and_without_its_version():
    entries = passing_entries(DIALECTS)
    assert sorted(entries) == sorted(EVERY)
    for path, entry in entries.items():
        assert entry.dialect.name == dialect_of(path)
        assert (
            entry.extra
            == {"e": "embeddings", "i": "images", "r": "compact"}[
                path.removeprefix("/v1").lstrip("/")[0]
            ]
        )


@pytest.mark.parametrize("path", EVERY)
async def test_body_and_answer_travel_untouched_to_the_same_path(tmp_path, path):
    async with (
        Upstream(answering(whole(ANSWER))) as up,
        running(tmp_path, settings(up)) as server,
    ):
        raw = json.dumps(BODY, indent=1).encode()
        reply = await server.post(path, raw, {"Authorization": "Bearer sk-mine", "Cookie": "a=b"})
        assert (reply.status, reply.body) == (200, ANSWER)
        assert "grade=verbatim" in reply.header("x-dragoman-route")
        assert reply.header("x-request-id").startswith("req_")
        head, body = up.requests[0]
        assert body == raw
        assert head.split(b" ")[1].decode() == "/v1" + path.removeprefix("/v1")
        assert b"bearer sk-fake" in head.lower()
        assert b"sk-mine" not in head
        assert b"cookie" not in head.lower()


@pytest.mark.parametrize("path", PATHS)
async def test_callers_are_judged_as_for_inference(tmp_path, path):
    async with (
        Upstream(answering(whole(ANSWER))) as up,
        running(tmp_path, settings(up), prover=NoProver()) as server,
    ):
        _, good = await server.key(label="good")
        _, narrow = await server.key(label="narrow", models=["other"])
        _, relay = await server.key(label="relay", kind="relay", accounts=["openai/openai"])
        for headers, status in (
            ({}, 401),
            ({"x-api-key": "sk-foreign"}, 401),
            ({"x-api-key": "dg-wrong"}, 401),
            ({"x-api-key": relay}, 403),
            ({"x-api-key": good, "Host": "evil.test"}, 403),
            ({"x-api-key": good, "Origin": "https://evil.test"}, 403),
            ({"x-api-key": good, "Sec-Fetch-Site": "cross-site"}, 403),
            ({"x-api-key": narrow}, 404),
        ):
            reply = await server.post(path, BODY, headers)
            assert reply.status == status, headers
            assert error_of(dialect_of(path), reply)
        assert not up.requests
        reply = await server.post(path, BODY, {"x-api-key": good})
        assert reply.status == 200
        assert "account=" not in reply.header("x-dragoman-route")


async def test_slow_prover_is_awaited(tmp_path):
    prover = Slow()
    async with (
        Upstream(answering(whole(ANSWER))) as up,
        running(tmp_path, settings(up), prover=prover) as server,
    ):
        assert (await server.post(PATHS[0], BODY)).status == 200
        assert prover.threads == ["executor"]


@pytest.mark.parametrize("path", PATHS)
async def test_body_over_the_limit_is_413(tmp_path, path):
    async with running(tmp_path, "advanced: {max_body_mb: 1}\n") as server:
        reply = await server.post(path, b" " * (1024 * 1024 + 1))
        assert reply.status == 413
        assert "1 MB" in error_of(dialect_of(path), reply)


@pytest.mark.parametrize("path", PATHS)
async def test_account_that_offers_no_such_call_is_404_and_named(tmp_path, path):
    async with running(tmp_path) as server:
        reply = await server.post(path, BODY | {"model": "demo-chat"})
        assert reply.status == 404
        assert path in error_of(dialect_of(path), reply)


@pytest.mark.parametrize("path", PATHS)
async def test_broken_bodies_are_request_faults(tmp_path, path):
    async with running(tmp_path) as server:
        for raw in (b"", b"no", b"[]", b"{}", b'{"model":5}', b"[" * 100_000):
            reply = await server.post(path, raw)
            assert reply.status == 400, raw[:20]
            assert error_of(dialect_of(path), reply)
