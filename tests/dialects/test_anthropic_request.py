"""Anthropic requests: same-dialect fidelity, places of faults, hostile bodies."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from anthropic.types import MessageParam, ToolChoiceParam, ToolUnionParam
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from app.canonical.parts import Text
from app.canonical.profile import ModelProfile, Target
from app.canonical.request import ChatRequest, Message, OutputFormat
from app.dialects.anthropic import ANTHROPIC
from app.dialects.base import Peek
from app.errors import RequestError

CASES = Path(__file__).parent / "cases" / "anthropic"


REQUESTS = sorted(path.parent.name for path in CASES.glob("*/request.json"))


PEEK = Peek("m", stream=False)


def load(case):
    return msgspec.json.decode((CASES / case / "request.json").read_bytes())


def target(official=True, issuer="anthropic", **facts):
    facts.setdefault("mid_system", True)
    return Target(ModelProfile("m", **facts), issuer, official)


def decode(body):
    return ANTHROPIC.decode_request(body, PEEK)


def encode(request, **facts):
    return ANTHROPIC.encode_request(request, target(**facts))


def request(*messages, **fields):
    return ChatRequest("m", messages, **fields)


def user(*parts):
    return Message("user", tuple(Text(p) if isinstance(p, str) else p for p in parts))


def assistant(*parts):
    return Message("assistant", tuple(Text(p) if isinstance(p, str) else p for p in parts))


def results(*parts):
    return Message("tool", parts)


def loss_paths(encoded):
    return [loss.path for loss in encoded.losses]


def wire(**body):
    return {
        "model": "m",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "x"}],
        **body,
    }


@pytest.mark.parametrize("case", REQUESTS)
def test_a_request_comes_back_as_it_was(case):
    body = load(case)
    encoded = encode(decode(body))
    assert encoded.body == body == load(case)
    assert encoded.losses == ()


@pytest.mark.parametrize("case", REQUESTS)
def test_decoding_an_encoded_request_changes_nothing(case):
    once = decode(load(case))
    assert decode(encode(once).body) == once


@pytest.mark.parametrize("case", REQUESTS)
def test_requests_follow_the_sdk_types(case):
    if case == "unknown_fields":
        pytest.skip("holds blocks that the SDK does not know")
    body = encode(decode(load(case))).body
    TypeAdapter(list[MessageParam]).validate_python(
        [m for m in body["messages"] if "compaction" not in str(m)]
    )
    TypeAdapter(list[ToolUnionParam]).validate_python(body.get("tools", []))
    if "tool_choice" in body:
        TypeAdapter(ToolChoiceParam).validate_python(body["tool_choice"])


def test_every_case_names_its_source():
    assert all((CASES / case / "source.txt").read_text().strip() for case in REQUESTS)


def test_stream_is_kept():
    assert encode(decode(load("claude_code"))).body["stream"] is True
    assert "stream" not in encode(decode(wire())).body


def test_two_user_messages_in_a_row_stay_two_within_the_dialect():
    body = wire(messages=[{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])
    assert encode(decode(body)).body["messages"] == body["messages"]


def test_tool_results_are_split_from_the_users_words():
    roles = [message.role for message in decode(load("tool_results")).messages]
    assert roles == ["user", "assistant", "tool", "user"]


def test_output_format_of_the_beta_is_read():
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    old = decode(wire(output_format={"type": "json_schema", "schema": schema}))
    assert old.output == OutputFormat("json_schema", schema)
    assert encode(old).body["output_config"] == {
        "format": {"type": "json_schema", "schema": schema}
    }


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"model": "m"}, "messages", "must be a list, not null"),
        (wire(model=3), "model", "must be a string, not a number"),
        (
            wire(messages=[{"role": "user", "content": 5}]),
            "messages[0].content",
            "must be a string or a list of content blocks, not a number",
        ),
        (wire(messages=[{"role": "tool", "content": "x"}]), "messages[0].role", "'tool'"),
        (wire(messages=["x"]), "messages[0]", "must be an object, not a string"),
        (
            wire(messages=[{"role": "user", "content": [{"type": "text", "text": True}]}]),
            "messages[0].content[0].text",
            "must be a string, not a boolean",
        ),
        (
            wire(messages=[{"role": "user", "content": [{"type": "thinking", "thinking": ""}]}]),
            "messages[0].content[0]",
            "may not stand in user messages",
        ),
        (wire(system=[{"type": "image"}]), "system[0]", "text block"),
        (wire(system=4), "system", "not a number"),
        (wire(max_tokens=1.5), "max_tokens", "a whole number"),
        (wire(max_tokens=-1), "max_tokens", "negative"),
        (wire(temperature="hot"), "temperature", "must be a number, not a string"),
        (wire(tools={"a": 1}), "tools", "must be a list"),
        (wire(tools=[{"name": 1}]), "tools[0].name", "a string"),
        (wire(tools=[{"name": "a", "input_schema": []}]), "tools[0].input_schema", "an object"),
        (wire(tool_choice={"type": "maybe"}), "tool_choice.type", "'maybe'"),
        (wire(tool_choice={"type": "tool"}), "tool_choice.name", "a string"),
        (wire(thinking={"type": 1}), "thinking.type", "a string"),
        (wire(thinking={"type": "enabled", "budget_tokens": "x"}), "thinking.budget_tokens", ""),
        (wire(stop_sequences=[1]), "stop_sequences[0]", "a string"),
        (wire(metadata=[]), "metadata", "an object"),
        (wire(stream=1), "stream", "a boolean"),
    ],
)
def test_faults_name_their_place(body, param, words):
    with pytest.raises(RequestError) as caught:
        decode(body)
    assert caught.value.param == param
    assert words in caught.value.message


def _nodes(value, path=()):
    yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, item in items:
        yield from _nodes(item, (*path, key))


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.just([]),
    st.just({}),
    st.just([{"type": "text"}]),
    st.just({"type": "text", "text": "x"}),
    st.just({"type": "tool_use"}),
)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), case=st.sampled_from(REQUESTS), junk=JUNK)
def test_damaged_requests_raise_nothing_but_request_errors(data, case, junk):
    body = load(case)
    path = data.draw(st.sampled_from([p for p in _nodes(body) if p]))
    holder = body
    for key in path[:-1]:
        holder = holder[key]
    if data.draw(st.booleans()):
        holder[path[-1]] = junk
    else:
        del holder[path[-1]]
    try:
        decoded = decode(body)
        encoded = encode(decoded)
        foreign = encode(replace(decoded, native=None), mid_system=False)
    except RequestError:
        return
    msgspec.json.encode(encoded.body)
    msgspec.json.encode(foreign.body)


def test_deep_nesting_is_a_request_error():
    deep = {}
    for _ in range(100_000):
        deep = {"a": deep}
    body = wire(
        messages=[
            {"role": "user", "content": "x"},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t", "name": "n", "input": deep}],
            },
        ]
    )
    with pytest.raises(RequestError, match="deep"):
        decode(body)
    while deep:  # taken apart by hand: the interpreter would recurse
        deep = deep.pop("a")


def test_a_system_message_holds_text_only():
    image = {"type": "image", "source": {"type": "url", "url": "https://e.org/a.png"}}
    with pytest.raises(RequestError, match="must be text"):
        decode(wire(messages=[{"role": "system", "content": [image]}]))


def test_unknown_words_of_the_output_configuration_are_kept():
    config = {"effort": "ultra", "format": {"type": "regex", "pattern": "a+"}}
    decoded = decode(wire(output_config=config, metadata={"user_id": None}))
    assert (decoded.reasoning, decoded.output) == (None, None)
    encoded = encode(decoded).body
    assert (encoded["output_config"], encoded["metadata"]) == (config, {"user_id": None})
