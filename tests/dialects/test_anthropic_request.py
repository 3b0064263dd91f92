"""Anthropic requests: same-dialect fidelity, the service's rules, hostile bodies."""

import base64
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from anthropic.types import MessageParam, ToolChoiceParam, ToolUnionParam
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from app.canonical.parts import (
    CacheMark,
    Media,
    Native,
    Opaque,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)
from app.canonical.profile import ModelProfile, Target
from app.canonical.request import (
    ChatRequest,
    Message,
    OutputFormat,
    ReasoningConfig,
    ServerTool,
    Tool,
    ToolChoice,
)
from app.dialects.anthropic import ANTHROPIC
from app.dialects.base import Peek
from app.dialects.carrier import seal
from app.errors import RequestError, TranslationError

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


# --- fidelity within the dialect -----------------------------------------------------------------


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


def test_data_urls_become_base64_sources():
    source = {"type": "url", "url": "data:image/png;base64,iVBORw0KGgo="}
    decoded = decode(
        wire(messages=[{"role": "user", "content": [{"type": "image", "source": source}]}])
    )
    part = decoded.messages[0].parts[0]
    assert isinstance(part, Media)
    assert (part.data, part.media_type, part.url) == ("iVBORw0KGgo=", "image/png", None)


def test_the_billing_block_stays_out_of_the_system_text():
    decoded = decode(load("claude_code"))
    assert not any("billing" in part.text for part in decoded.system)
    foreign = replace(decoded, native=Native("gemini", decoded.native.fields))
    encoded = encode(foreign)
    assert "billing" not in str(encoded.body)
    assert "native.billing_blocks" in loss_paths(encoded)


def test_the_user_id_of_another_vendor_is_not_sent():
    assert decode(load("unknown_fields")).user == "u-1"
    encoded = encode(request(user("x"), user="someone"))
    assert "metadata" not in encoded.body
    assert loss_paths(encoded) == ["user"]


def test_a_replaced_user_id_is_what_goes_out():
    decoded = replace(decode(load("unknown_fields")), user="u_hash")
    assert encode(decoded).body["metadata"] == {"user_id": "u_hash", "team": "blue"}
    gone = replace(decode(load("claude_code")), user=None)
    assert "metadata" not in encode(gone).body


# --- what is refused -----------------------------------------------------------------------------


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


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
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


# --- messages from other dialects ----------------------------------------------------------------


def test_neighbours_of_one_role_are_merged():
    encoded = encode(request(user("a"), user("b"), assistant("c"), assistant("d"), user("e")))
    assert [m["role"] for m in encoded.body["messages"]] == ["user", "assistant", "user"]
    assert encoded.body["messages"][0]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
    ]


def test_tool_results_come_first_in_their_message():
    call = ToolCall("c1", "f", "{}")
    encoded = encode(
        request(user("a"), assistant(call), user("by the way"), results(ToolResult("c1", ())))
    )
    last = encoded.body["messages"][-1]
    assert [block["type"] for block in last["content"]] == ["tool_result", "text"]


@pytest.mark.parametrize("start", [(), (Message("assistant", (Text("hello"),)),)])
def test_a_conversation_must_begin_with_the_user(start):
    encoded = encode(request(*start))
    assert encoded.body["messages"][0] == {"role": "user", "content": "."}
    assert loss_paths(encoded) == ["messages[0]"]


def test_white_space_after_a_prefill_is_cut():
    encoded = encode(request(user("a"), assistant("The answer is  \n")))
    assert encoded.body["messages"][1]["content"] == "The answer is"
    assert loss_paths(encoded) == ["messages[-1]"]


def test_blank_texts_are_left_out():
    encoded = encode(
        request(user("a", ""), assistant("", ToolCall("c", "f", "{}")), user("\n", "b"))
    )
    assert encoded.body["messages"][0]["content"] == "a"
    assert [b["type"] for b in encoded.body["messages"][1]["content"]] == ["tool_use"]
    assert encoded.body["messages"][2]["content"] == "b"
    assert loss_paths(encoded) == ["messages[2].content[0]"]


def test_system_messages_go_to_the_front_where_the_model_refuses_them():
    body = (
        Message("system", (Text("be kind"),)),
        user("a"),
        Message("developer", (Text("be brief"),)),
        user("b"),
    )
    encoded = encode(request(*body, system=(Text("first"),)), mid_system=False)
    assert [block["text"] for block in encoded.body["system"]] == ["first", "be kind", "be brief"]
    assert loss_paths(encoded) == ["messages[2]"]
    kept = encode(request(*body), mid_system=True)
    assert kept.body["system"] == "be kind"
    assert kept.body["messages"][1] == {"role": "system", "content": "be brief"}
    assert kept.losses == ()


def test_a_refusal_in_the_history_becomes_text():
    encoded = encode(request(user("a"), assistant(Refusal("I won't.")), user("b")))
    assert encoded.body["messages"][1]["content"] == "I won't."


def test_ids_are_fitted_and_twins_told_apart():
    call = ToolCall("call.with dots", "f", "{}")
    encoded = encode(
        request(
            user("a"),
            assistant(call, ToolCall("same", "f", "{}"), ToolCall("same", "g", "{}")),
            results(
                ToolResult("call.with dots", (Text("0"),)),
                ToolResult("same", (Text("1"),)),
                ToolResult("same", (Text("2"),)),
            ),
            assistant(ToolCall("same", "f", "{}")),
            results(ToolResult("same", (Text("3"),))),
        )
    ).body["messages"]
    calls = [b["id"] for m in encoded if m["role"] == "assistant" for b in m["content"]]
    answers = [
        b["tool_use_id"]
        for m in encoded
        if m["role"] == "user"
        for b in m["content"][:]
        if isinstance(b, dict)
    ]
    assert len(set(calls)) == 4
    assert calls == answers
    assert calls[0].startswith("toolu_")


def test_calls_without_ids_meet_their_results_by_name_and_order():
    encoded = encode(
        request(
            user("a"),
            assistant(ToolCall("", "f", "{}"), ToolCall("", "g", "{}"), ToolCall("", "f", "{}")),
            results(
                ToolResult("", (Text("g"),), name="g"),
                ToolResult("", (Text("f1"),), name="f"),
                ToolResult("", (Text("f2"),), name="f"),
            ),
        )
    ).body["messages"]
    first, second, third = (block["id"] for block in encoded[1]["content"])
    assert [block["tool_use_id"] for block in encoded[2]["content"]] == [second, first, third]


@pytest.mark.parametrize("arguments", ["not json", "[1]", '{"a":'])
def test_arguments_that_are_no_object_travel_as_text(arguments):
    encoded = encode(request(user("a"), assistant(ToolCall("c", "f", arguments))))
    assert encoded.body["messages"][1]["content"][0]["input"] == {"_raw": arguments}
    assert "messages[1].content[0].arguments" in loss_paths(encoded)


def test_results_keep_strings_images_and_errors():
    encoded = encode(
        request(
            user("a"),
            assistant(ToolCall("c", "f", ""), ToolCall("d", "f", ""), ToolCall("e", "f", "")),
            results(
                ToolResult("c", (Text('{"quoted": "json"}'),)),
                ToolResult("d", (Text("see"), Media("image", "image/png", data="iVBOR"))),
                ToolResult("e", (), is_error=True),
            ),
        )
    )
    plain, rich, failed = encoded.body["messages"][2]["content"]
    assert plain["content"] == '{"quoted": "json"}'
    assert [block["type"] for block in rich["content"]] == ["text", "image"]
    assert failed["is_error"] is True
    assert failed["content"]


def test_thought_of_others_is_dropped_and_own_thought_kept():
    own = Reasoning("mine", signature=Signature("anthropic", "sig"))
    foreign = Reasoning("theirs", signature=Signature("openai", "enc"))
    nobody = Reasoning("unsigned")
    hidden = Reasoning(redacted=True, signature=Signature("anthropic", "data"))
    encoded = encode(request(user("a"), assistant(own, foreign, nobody, hidden, "b"), user("c")))
    assert encoded.body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "mine", "signature": "sig"},
        {"type": "redacted_thinking", "data": "data"},
        {"type": "text", "text": "b"},
    ]
    assert loss_paths(encoded) == ["messages[1].content[1]", "messages[1].content[2]"]


def test_sealed_signatures_are_opened():
    def thought(signature):
        block = {"type": "thinking", "thinking": "t", "signature": signature}
        body = wire(
            messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": [block]}]
        )
        return decode(body).messages[1].parts[0]

    sealed = seal(Signature("openai", "enc"), {"id": "rs_1", "summary": True})
    assert thought(sealed) == Reasoning(
        "t", summary=True, signature=Signature("openai", "enc"), id="rs_1"
    )
    assert thought(seal(Signature("none", ""))) == Reasoning("t")
    assert thought("plain") == Reasoning("t", signature=Signature("anthropic", "plain"))
    assert thought("dgc1.broken").signature == Signature("anthropic", "dgc1.broken")


def test_a_calls_own_signature_comes_back_to_the_call():
    blocks = [
        {
            "type": "thinking",
            "thinking": "",
            "signature": seal(Signature("google", "s"), {"call": "toolu_1"}),
        },
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
    ]
    body = wire(
        messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": blocks}]
    )
    assert decode(body).messages[1].parts == (
        ToolCall("toolu_1", "f", "{}", signature=Signature("google", "s")),
    )


# --- media ---------------------------------------------------------------------------------------


def media_source(part, **facts):
    return encode(request(user(part, "x")), **facts).body["messages"][0]["content"][0]["source"]


def test_media_sources():
    text = base64.b64encode("grün".encode()).decode()
    assert media_source(Media("image", "image/jpg", data="/9j/"))["media_type"] == "image/jpeg"
    assert media_source(Media("image", data="R0lGOD"))["media_type"] == "image/gif"
    assert media_source(Media("image", url="https://e.org/a.png")) == {
        "type": "url",
        "url": "https://e.org/a.png",
    }
    assert media_source(Media("document", "application/pdf", data="JVBERi0"))["type"] == "base64"
    assert media_source(Media("document", "text/markdown", data=text))["data"] == "grün"
    assert media_source(Media("document", text="hi"))["data"] == "hi"


@pytest.mark.parametrize(
    "part",
    [
        Media("audio", "audio/wav", data="UklGR"),
        Media("video", url="https://e.org/a.mp4"),
        Media("image", "image/bmp", data="Qk0="),
        Media("image", url="gs://bucket/a.png"),
        Media("image", file_id="file-1"),
        Media("document", "application/zip", data="UEs="),
        Media("document", "text/plain", data="!"),
        Opaque("gemini", {"executableCode": {}}),
        ToolCall("c", "f", "x", kind="custom"),
        ToolCall("c", "f", "{}", namespace="n"),
        ToolCall("c", "no spaces", "{}"),
    ],
)
def test_what_cannot_be_said_names_its_place(part):
    with pytest.raises(TranslationError) as caught:
        encode(request(user("a"), user("b", part)))
    assert caught.value.param == "messages[1].content[1]"


def test_models_without_eyes_or_tools_say_so():
    with pytest.raises(TranslationError):
        encode(request(user(Media("image", data="/9j/"))), images=False)
    with pytest.raises(TranslationError):
        encode(request(user(Media("document", text="x"))), documents=False)
    with pytest.raises(TranslationError):
        encode(request(user("x"), tools=(Tool("f"),)), tools=False)
    with pytest.raises(TranslationError, match="assistant"):
        encode(request(user("a"), assistant(Media("image", data="/9j/")), user("b")))
    with pytest.raises(TranslationError, match="text"):
        encode(request(user("x"), system=(Media("image", data="/9j/"),)))


# --- tools ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        (None, {"type": "object", "properties": {}}),
        ({}, {"type": "object", "properties": {}}),
        ({"type": "object", "properties": None}, {"type": "object", "properties": {}}),
        (
            {"type": "OBJECT", "properties": {"type": {"type": "STRING"}}},
            {"type": "object", "properties": {"type": {"type": "string"}}},
        ),
        ({"properties": {"a": {}}}, {"type": "object", "properties": {"a": {}}}),
        ({"type": ["object", "null"]}, {"type": "object", "properties": {}}),
    ],
)
def test_schemas_are_object_schemas(schema, sent):
    encoded = encode(request(user("x"), tools=(Tool("f", schema=schema),)))
    assert encoded.body["tools"] == [{"name": "f", "input_schema": sent}]


F, G = Tool("f"), Tool("g")


@pytest.mark.parametrize(
    ("choice", "parallel", "sent", "names"),
    [
        (None, None, None, ["f", "g"]),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}, ["f", "g"]),
        (None, True, None, ["f", "g"]),
        (ToolChoice("none"), False, {"type": "none"}, ["f", "g"]),
        (ToolChoice("required"), None, {"type": "any"}, ["f", "g"]),
        (
            ToolChoice("required", ("f",)),
            False,
            {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
            ["f", "g"],
        ),
        (ToolChoice("required", ("f", "g")), None, {"type": "any"}, ["f", "g"]),
        (ToolChoice("auto", ("g",)), None, {"type": "auto"}, ["g"]),
    ],
)
def test_tool_choice(choice, parallel, sent, names):
    encoded = encode(request(user("x"), tools=(F, G), tool_choice=choice, parallel_tools=parallel))
    assert encoded.body.get("tool_choice") == sent
    assert [tool["name"] for tool in encoded.body["tools"]] == names


def test_a_choice_without_tools_is_dropped():
    encoded = encode(request(user("x"), tool_choice=ToolChoice("required"), parallel_tools=False))
    assert "tool_choice" not in encoded.body
    assert loss_paths(encoded) == ["tool_choice"]


def test_server_tools_of_others_map_by_purpose():
    search = ServerTool(
        "openai_responses",
        {
            "type": "web_search",
            "filters": {"allowed_domains": ["e.org"]},
            "user_location": {"type": "approximate", "city": "Rome", "x": 1},
        },
        "web_search",
    )
    encoded = encode(
        request(
            user("x"),
            tools=(
                search,
                ServerTool("gemini", {"codeExecution": {}}, "code_execution"),
                ServerTool("gemini", {"urlContext": {}}, "url_context"),
                ServerTool("openai_responses", {"type": "file_search"}),
                search,
            ),
        )
    )
    assert encoded.body["tools"] == [
        {
            "type": "web_search_20250305",
            "name": "web_search",
            "user_location": {"type": "approximate", "city": "Rome"},
            "allowed_domains": ["e.org"],
        },
        {"type": "code_execution_20250825", "name": "code_execution"},
        {"type": "web_fetch_20250910", "name": "web_fetch"},
    ]
    assert loss_paths(encoded) == ["tools[3]"]
    with pytest.raises(TranslationError):
        encode(
            request(
                user("x"),
                tools=(F, ServerTool("openai_responses", {"type": "file_search"})),
                tool_choice=ToolChoice("required", ("file_search",)),
            )
        )


def test_empty_domain_lists_of_a_search_are_left_out():
    tool = {"type": "web_search_20250305", "name": "web_search", "allowed_domains": []}
    assert "allowed_domains" not in encode(decode(wire(tools=[tool]))).body["tools"][0]


def test_foreign_strictness_is_a_loss_and_own_is_kept():
    assert loss_paths(encode(request(user("x"), tools=(replace(F, strict=True),)))) == [
        "tools[0].strict"
    ]
    tool = {"name": "f", "input_schema": {"type": "object"}, "strict": False}
    assert encode(decode(wire(tools=[tool]))).body["tools"] == [tool]


@pytest.mark.parametrize(
    "tool", [Tool("f", kind="custom"), Tool("f", namespace="n"), Tool("a b"), Tool("x" * 129)]
)
def test_tools_that_cannot_be_declared(tool):
    with pytest.raises(TranslationError):
        encode(request(user("x"), tools=(tool,)))


def test_at_most_four_cache_marks_are_sent():
    mark = CacheMark("1h")
    parts = tuple(Text(str(n), cache=mark) for n in range(5))
    encoded = encode(
        request(Message("user", parts), tools=(replace(F, cache=mark),), system=(Text("s", mark),))
    )
    texts = [b["text"] for b in encoded.body["messages"][0]["content"] if "cache_control" in b]
    assert encoded.body["tools"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert texts == ["2", "3", "4"]
    assert loss_paths(encoded) == ["cache"] * 3
    odd = encode(request(user(Text("a", CacheMark("24h")), "b")))
    assert odd.body["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral"}


# --- limits, sampling, knobs ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "most", "sent"),
    [(None, None, 8192), (None, 64000, 64000), (100, 64000, 100), (0, None, 0)],
)
def test_max_tokens_is_always_sent(asked, most, sent):
    assert encode(request(user("x"), max_tokens=asked), max_output=most).body["max_tokens"] == sent


def test_max_tokens_is_lowered_to_what_the_model_can():
    encoded = encode(request(user("x"), max_tokens=100_000), max_output=64000)
    assert encoded.body["max_tokens"] == 64000
    assert loss_paths(encoded) == ["max_tokens"]


def test_sampling_follows_the_model():
    asked = request(user("x"), temperature=1.5, top_p=0.9, top_k=5)
    both = encode(asked)
    assert (both.body["temperature"], both.body["top_p"], both.body["top_k"]) == (1, 0.9, 5)
    assert loss_paths(both) == ["temperature"]
    one = encode(replace(asked, temperature=0.2), temperature_or_top_p=True)
    assert "top_p" not in one.body
    assert loss_paths(one) == ["top_p"]
    none = encode(replace(asked, temperature=0.2), sampling=False)
    assert loss_paths(none) == ["temperature", "top_p", "top_k"]
    assert not {"temperature", "top_p", "top_k"} & none.body.keys()


def test_sampling_under_thought():
    thinking = ReasoningConfig("adaptive", "high")
    asked = request(user("x"), reasoning=thinking, temperature=0.5, top_p=0.9, top_k=4)
    assert loss_paths(encode(asked)) == ["temperature", "top_p", "top_k"]
    fine = encode(request(user("x"), reasoning=thinking, temperature=1.0, top_p=0.97))
    assert (fine.body["temperature"], fine.body["top_p"]) == (1, 0.97)
    assert fine.losses == ()


def test_stop_sequences():
    assert encode(request(user("x"), stop=("a", "b"))).body["stop_sequences"] == ["a", "b"]
    assert loss_paths(encode(request(user("x"), stop=("a", "\n")))) == ["stop"]
    assert "stop_sequences" not in encode(request(user("x"), stop=("a",)), stop=False).body


def test_knobs_of_other_dialects_are_reported():
    encoded = encode(
        request(
            Message("user", (Text("x", signature=Signature("google", "s")),), name="bob"),
            frequency_penalty=0.1,
            presence_penalty=0.1,
            seed=1,
            logprobs=True,
            top_logprobs=2,
            choices=2,
            verbosity="low",
            cache_key="k",
            metadata={"a": "b"},
            store=True,
            service_tier="flex",
            native=Native("openai_chat", {"modalities": ["text"], "$form": 1}),
        )
    )
    assert sorted(loss_paths(encoded)) == sorted(
        [
            "messages[0].name",
            "messages[0].content[0].signature",
            "frequency_penalty",
            "presence_penalty",
            "seed",
            "logprobs",
            "top_logprobs",
            "choices",
            "verbosity",
            "cache_key",
            "metadata",
            "store",
            "service_tier",
            "native.modalities",
        ]
    )
    assert encode(request(user("x"), store=False, logprobs=False)).losses == ()
    assert (
        encode(request(user("x"), service_tier="default")).body["service_tier"] == "standard_only"
    )


# --- thought -------------------------------------------------------------------------------------

EFFORT = ReasoningConfig("on", "high")


@pytest.mark.parametrize(
    ("config", "facts", "thinking", "effort"),
    [
        (EFFORT, {}, {"type": "adaptive"}, "high"),
        (EFFORT, {"official": False}, {"type": "enabled", "budget_tokens": 24576}, None),
        (EFFORT, {"reasoning": "adaptive"}, {"type": "adaptive"}, "high"),
        (EFFORT, {"reasoning": "budget"}, {"type": "enabled", "budget_tokens": 24576}, None),
        (
            EFFORT,
            {"reasoning": "budget", "budget_max": 9000},
            {"type": "enabled", "budget_tokens": 9000},
            None,
        ),
        (ReasoningConfig("on", "minimal"), {"reasoning": "adaptive"}, {"type": "adaptive"}, "low"),
        (
            ReasoningConfig("on", "minimal"),
            {"reasoning": "budget"},
            {"type": "enabled", "budget_tokens": 1024},
            None,
        ),
        (
            ReasoningConfig("on", "max"),
            {"reasoning": "adaptive", "efforts": ("low", "high")},
            {"type": "adaptive"},
            "high",
        ),
        (ReasoningConfig("on", None, 5000), {}, {"type": "enabled", "budget_tokens": 5000}, None),
        (
            ReasoningConfig("on", None, 9000),
            {"reasoning": "adaptive"},
            {"type": "adaptive"},
            "medium",
        ),
        (
            ReasoningConfig("on", None, 100),
            {"reasoning": "budget"},
            {"type": "enabled", "budget_tokens": 1024},
            None,
        ),
        (ReasoningConfig("on", None, -1), {}, {"type": "adaptive"}, None),
        (
            ReasoningConfig("adaptive"),
            {"reasoning": "budget"},
            {"type": "enabled", "budget_tokens": 24576},
            None,
        ),
        (
            ReasoningConfig("on", None, None, True),
            {},
            {"type": "adaptive", "display": "summarized"},
            None,
        ),
        (
            ReasoningConfig("on", "low", None, False),
            {},
            {"type": "adaptive", "display": "omitted"},
            "low",
        ),
        (ReasoningConfig("off"), {}, {"type": "disabled"}, None),
        (ReasoningConfig("on", "none"), {}, {"type": "disabled"}, None),
        (None, {"reasoning": "adaptive"}, None, None),
        (EFFORT, {"reasoning": "none"}, None, None),
    ],
)
def test_thought_is_asked_for_in_the_models_form(config, facts, thinking, effort):
    encoded = encode(request(user("x"), reasoning=config, max_tokens=60000), **facts)
    assert encoded.body.get("thinking") == thinking
    assert encoded.body.get("output_config", {}).get("effort") == effort


def test_a_model_that_cannot_stop_thinking_is_reported():
    encoded = encode(
        request(user("x"), reasoning=ReasoningConfig("off")), can_disable_reasoning=False
    )
    assert "reasoning" in loss_paths(encoded)
    assert encoded.body.get("thinking") != {"type": "disabled"}


def test_an_effort_leaves_room_for_the_answer():
    encoded = encode(request(user("x"), reasoning=EFFORT, max_tokens=8000), reasoning="budget")
    assert encoded.body["thinking"]["budget_tokens"] == 6000
    unlimited = encode(request(user("x"), reasoning=EFFORT), reasoning="budget")
    assert unlimited.body["max_tokens"] == 24576 + 8192
    small = encode(request(user("x"), reasoning=EFFORT, max_tokens=900), reasoning="budget")
    assert "thinking" not in small.body
    assert loss_paths(small) == ["reasoning"]


def test_a_clients_own_budget_stays_below_max_tokens():
    body = wire(thinking={"type": "enabled", "budget_tokens": 9000})
    assert encode(decode(body)).body["thinking"]["budget_tokens"] == 4095


def test_own_effort_beside_a_budget():
    body = wire(
        thinking={"type": "enabled", "budget_tokens": 2000, "display": "updates"},
        output_config={"effort": "high"},
    )
    assert encode(decode(body)).body["output_config"] == {"effort": "high"}
    plain = encode(decode(body), reasoning="budget")
    assert "output_config" not in plain.body
    assert loss_paths(plain) == ["reasoning.effort"]
    adaptive = encode(decode(body), reasoning="adaptive").body
    assert adaptive["thinking"] == {"type": "adaptive", "display": "updates"}


def test_a_forced_call_switches_thought_off():
    for choice in (ToolChoice("required"), ToolChoice("required", ("f",))):
        encoded = encode(request(user("x"), tools=(F,), tool_choice=choice, reasoning=EFFORT))
        assert "thinking" not in encoded.body
        assert "output_config" not in encoded.body
        assert loss_paths(encoded) == ["reasoning"]


def tool_turn(*thought):
    return request(
        user("x"),
        assistant(*thought, ToolCall("c", "f", "{}")),
        results(ToolResult("c", (Text("1"),))),
        tools=(F,),
        reasoning=ReasoningConfig("on", None, 2000),
    )


def test_a_tool_turn_without_its_thought_switches_thought_off():
    lacking = encode(tool_turn("text"))
    assert "thinking" not in lacking.body
    assert loss_paths(lacking) == ["reasoning"]
    foreign = encode(tool_turn(Reasoning("t", signature=Signature("google", "s"))))
    assert "thinking" not in foreign.body
    own = encode(tool_turn(Reasoning("t", signature=Signature("anthropic", "s"))))
    assert own.body["thinking"]["type"] == "enabled"
    done = tool_turn("text")
    finished = replace(done, messages=(*done.messages, assistant("done"), user("next")))
    assert encode(finished).body["thinking"]["type"] == "enabled"
    adaptive = encode(replace(done, reasoning=EFFORT))
    assert adaptive.body["thinking"] == {"type": "adaptive"}


def test_thought_is_off_for_a_prefill():
    asked = request(user("x"), assistant("The"), reasoning=ReasoningConfig("on", None, 2000))
    assert "thinking" not in encode(asked).body


# --- structured output ---------------------------------------------------------------------------


def test_foreign_output_schemas_are_fitted():
    schema = {
        "$schema": "x",
        "type": "object",
        "properties": {
            "age": {"type": "integer", "minimum": 0, "description": "Years"},
            "tags": {"type": "array", "items": {"type": "string", "pattern": "a+"}, "minItems": 1},
            "who": {"oneOf": [{"type": "null"}, {"$ref": "#/$defs/p"}]},
            "when": {"type": "string", "format": "date"},
        },
        "required": ["age"],
        "$defs": {"p": {"type": "object", "properties": {"n": {"type": "string"}}}},
    }
    encoded = encode(request(user("x"), output=OutputFormat("json_schema", schema, "n", True)))
    sent = encoded.body["output_config"]["format"]["schema"]
    assert sent["properties"]["age"] == {
        "type": "integer",
        "description": 'Years\n\n{"minimum":0}',
    }
    assert sent["properties"]["tags"]["minItems"] == 1
    assert "pattern" not in sent["properties"]["tags"]["items"]
    assert sent["properties"]["who"] == {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/p"}]}
    assert sent["properties"]["when"] == {"type": "string", "format": "date"}
    assert sent["$defs"]["p"]["additionalProperties"] is False
    assert sent["additionalProperties"] is False
    assert loss_paths(encoded) == ["output.schema"]


def test_json_without_an_enforced_schema_is_asked_for_in_words():
    free = encode(request(user("x"), output=OutputFormat("json_object")))
    assert "JSON" in free.body["system"]
    assert loss_paths(free) == ["output"]
    told = encode(
        request(
            user("x"), output=OutputFormat("json_schema", {"type": "object"}), system=(Text("s"),)
        ),
        json_schema=False,
    )
    assert '{"type":"object"}' in told.body["system"][1]["text"]
    assert loss_paths(told) == ["output"]
    assert encode(request(user("x"), output=OutputFormat("text"))).losses == ()


def test_the_count_call_takes_only_what_it_knows():
    counted = ANTHROPIC.encode_count_request(decode(load("claude_code")), target())
    assert set(counted.body) == {"model", "messages", "system", "tools", "thinking"}
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    counting = ANTHROPIC.decode_request(body, Peek("m", stream=False, operation="count_tokens"))
    assert ANTHROPIC.encode_count_request(counting, target()).body == body


# --- rarer wire forms ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "url", "url": "data:text,plain"}},
        {"type": "tool_result", "tool_use_id": "a", "content": 3},
    ],
)
def test_odd_blocks_are_refused(block):
    with pytest.raises(RequestError):
        decode(wire(messages=[{"role": "user", "content": [block]}]))


def test_a_system_message_holds_text_only():
    image = {"type": "image", "source": {"type": "url", "url": "https://e.org/a.png"}}
    with pytest.raises(RequestError, match="must be text"):
        decode(wire(messages=[{"role": "system", "content": [image]}]))


def test_chunked_documents_with_images_stay_whole():
    image = {"type": "image", "source": {"type": "url", "url": "https://e.org/a.png"}}
    body = wire(
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "document", "source": {"type": "content", "content": [image]}}
                ],
            }
        ]
    )
    decoded = decode(body)
    assert isinstance(decoded.messages[0].parts[0], Opaque)
    assert encode(decoded).body["messages"] == body["messages"]


def test_unknown_words_of_the_output_configuration_are_kept():
    config = {"effort": "ultra", "format": {"type": "regex", "pattern": "a+"}}
    decoded = decode(wire(output_config=config, metadata={"user_id": None}))
    assert (decoded.reasoning, decoded.output) == (None, None)
    encoded = encode(decoded).body
    assert (encoded["output_config"], encoded["metadata"]) == (config, {"user_id": None})


def test_content_source_as_one_string():
    source = {"type": "content", "content": "all of it"}
    body = wire(messages=[{"role": "user", "content": [{"type": "document", "source": source}]}])
    part = decode(body).messages[0].parts[0]
    assert part.text == "all of it"
    assert encode(decode(body)).body["messages"] == body["messages"]


@pytest.mark.parametrize(
    "content", [Opaque("gemini", {"x": 1}), Reasoning("t"), Media("audio", "audio/wav", data="U")]
)
def test_results_that_cannot_be_said_name_their_place(content):
    with pytest.raises(TranslationError) as caught:
        encode(request(user("a"), results(ToolResult("c", (content,)))))
    assert caught.value.param == "messages[1].content[0].content[0]"


def test_small_knobs_of_foreign_parts_are_losses():
    encoded = encode(
        request(
            user(Media("image", data="/9j/", detail="high"), "x"),
            assistant(ToolCall("c", "f", "{}", signature=Signature("google", "s"))),
            results(ToolResult("other", (Text(" "), Text("kept")))),
        )
    )
    assert loss_paths(encoded) == [
        "messages[0].content[0].detail",
        "messages[1].content[0].signature",
        "messages[2].content[0].content[0]",
    ]
    assert encoded.body["messages"][2]["content"][0]["tool_use_id"] == "other"


def test_own_effort_alone_for_a_model_with_budgets():
    decoded = replace(decode(load("effort_only")), max_tokens=4096)
    budget = encode(decoded, reasoning="budget").body
    assert budget["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    assert "output_config" not in budget
    known = encode(decoded, reasoning="budget", efforts=("low", "high")).body
    assert "thinking" not in known
    assert known["output_config"] == {"effort": "low"}
    none = encode(decoded, reasoning="none")
    assert "output_config" not in none.body


def test_deep_schemas_are_refused_on_the_way_out():
    deep = {}
    for _ in range(100_000):
        deep = {"properties": {"a": deep}, "type": "OBJECT"}
    with pytest.raises(TranslationError, match="deep"):
        encode(request(user("x"), tools=(Tool("f", schema=deep),)))
    while deep.get("properties"):
        deep = deep["properties"].pop("a")
