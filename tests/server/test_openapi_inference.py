"""What is told of the inference routes beside the vendors' own descriptions is true."""

import json
import re
from pathlib import Path

import pytest

from app.server.openapi_inference import INFERENCE
from tests.server.running import running

MATRIX = Path(__file__).parent.parent / "dialects" / "matrix.json"
TALK = [{"role": "user", "content": "hi"}]
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
LEFT_OUT = [{"type": "file_search", "vector_store_ids": ["x"]}]


def told(path):
    return " ".join(INFERENCE[path].differences)


def test_every_reference_is_an_address():
    for path, vendor in INFERENCE.items():
        assert re.fullmatch(r"https://[a-z.]+/\S+", vendor.reference), path
        assert vendor.differences, path
        assert all(one.endswith(".") for one in vendor.differences), path


@pytest.mark.parametrize(
    "more",
    [
        {"prompt": ["a", "b"]},
        {"prompt": [1, 2]},
        {"suffix": "b"},
        {"echo": True},
        {"best_of": 2},
        {"logprobs": 1},
    ],
)
async def test_completions_refuse_what_chat_models_cannot_do(tmp_path, more):
    async with running(tmp_path) as server:
        body = {"model": "demo-chat", "prompt": "a", **more}
        reply = await server.post("/v1/completions", body)
        assert (reply.status, reply.json["error"]["code"]) == (400, "unsupported_parameter")
    assert "`unsupported_parameter`" in told("/v1/completions")
    (field,) = more
    assert field == "prompt" or f"`{field}`" in told("/v1/completions")


@pytest.mark.parametrize(
    "path", ["/v1/embeddings", "/v1/images/generations", "/v1/responses/compact"]
)
async def test_what_no_account_offers_is_404(tmp_path, path):
    async with running(tmp_path) as server:
        body = {"model": "demo-chat", "input": "a", "prompt": "a"}
        reply = await server.post(path, body)
        assert (reply.status, reply.json["error"]["code"]) == (404, "not_offered")
    assert "404 `not_offered`" in told(path)


COUNTS = {
    "/v1/responses/input_tokens": {"model": "demo-chat", "input": "a"},
    "/v1/messages/count_tokens": {"model": "demo-chat", "messages": TALK},
    "/v1beta/models/{model}:countTokens": CONTENTS,
}


@pytest.mark.parametrize("path", COUNTS)
async def test_a_count_says_whether_it_is_an_estimate(tmp_path, path):
    async with running(tmp_path) as server:
        reply = await server.post(path.replace("{model}", "demo-chat"), COUNTS[path])
        assert (reply.status, reply.header("x-dragoman-count")) == (200, "estimate")
    assert "`x-dragoman-count`" in told(path)


async def test_answers_are_remembered_and_unknown_ones_are_told(tmp_path):
    async with running(tmp_path) as server:
        first = await server.post("/v1/responses", {"model": "demo-chat", "input": "a"})
        again = {"model": "demo-chat", "input": "b", "previous_response_id": first.json["id"]}
        assert (await server.post("/v1/responses", again)).status == 200
        unknown = await server.post("/v1/responses", again | {"previous_response_id": "resp_x"})
        assert unknown.status == 400
        assert f"400 `{unknown.json['error']['code']}`" in told("/v1/responses")


async def test_a_stream_of_gemini_is_an_array_unless_events_are_asked_for(tmp_path):
    path = "/v1beta/models/demo-chat:streamGenerateContent"
    async with running(tmp_path) as server:
        array = await server.post(path, CONTENTS)
        assert isinstance(json.loads(array.body), list)
        events = await server.post(f"{path}?alt=sse", CONTENTS)
        assert events.header("content-type").startswith("text/event-stream")
        assert events.body.startswith(b"data: {")


def test_what_is_told_of_translations_is_what_the_dialects_do():
    """``matrix.json`` holds what every dialect loses or refuses on the way to every other."""
    rows = json.loads(MATRIX.read_text("utf-8"))["requests"]
    said = {
        dialect: json.dumps([row for case, row in rows.items() if case.startswith(f"{dialect}/")])
        for dialect in ("openai_chat", "openai_responses", "anthropic", "gemini")
    }
    for dialect in ("openai_chat", "openai_responses", "anthropic"):
        assert "Gemini does not fetch this" in said[dialect]
    assert "refused at n" in said["openai_chat"]
    assert "refused at n" in said["gemini"]
    assert "A file stored at another service cannot be" in said["openai_chat"]
    assert "native.top_k: not known to this dialect" in said["openai_chat"]
    assert "a tool of another service" in said["openai_responses"] + said["anthropic"]
    assert "Gemini caches by itself" in said["anthropic"]
    assert "sent as the nearest effort" in said["anthropic"]
    assert "identity that is not for this vendor" in said["anthropic"]
