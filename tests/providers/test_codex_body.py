"""The body rules of the Codex service, one by one, and against the strict fake."""

import json
import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import AppError, RequestError
from app.providers.codex_body import fit_body

INCLUDE = ["reasoning.encrypted_content"]
USER = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
RIGHT = {
    "model": "gpt-5.5",
    "instructions": "",
    "input": [USER],
    "stream": True,
    "store": False,
    "include": INCLUDE,
}
SEALED = "gAAAAABsealed"
SCHEMA = {"type": "object", "properties": {}}


def body(**changes):
    return {"model": "gpt-5.5", "input": [USER]} | changes


def fitted(given, session="", lite=False, compact=False):
    raw = given if isinstance(given, bytes) else json.dumps(given).encode()
    return fit_body(raw, session=session, lite=lite, compact=compact)


def sent(given, **more):
    return json.loads(fitted(given, **more).body)


def function(name, **more):
    return {"type": "function", "name": name, "parameters": SCHEMA, **more}


# What must be there


def test_what_the_service_demands_is_put_in():
    assert sent(body()) == RIGHT


@pytest.mark.parametrize(
    "given",
    [
        RIGHT,
        {**RIGHT, "prompt_cache_key": "k", "reasoning": {"effort": "low", "summary": "auto"}},
        {**RIGHT, "tools": [function("a")], "parallel_tool_calls": False, "tool_choice": "auto"},
        {**RIGHT, "service_tier": "priority"},
        {**RIGHT, "stream_options": {"reasoning_summary_delivery": "sequential"}},
        {**RIGHT, "client_metadata": {"x": "y"}, "text": {"verbosity": "low"}},
        {
            **RIGHT,
            "input": [
                {**USER, "id": "msg_1", "internal_chat_message_metadata_passthrough": {"a": 1}},
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": SEALED},
                {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "a"},
                {"type": "function_call_output", "id": "fco_1", "call_id": "c", "output": "x"},
                {"type": "message", "role": "developer", "content": "y"},
                {"type": "compaction", "id": "cmp_1", "encrypted_content": SEALED},
            ],
        },
    ],
)
def test_a_body_that_follows_the_rules_is_the_same_object(given):
    raw = json.dumps(given, indent=1).encode()
    assert fitted(raw).body is raw


ODD = [
    (key, odd)
    for key in ("stream", "store", "include", "instructions")
    for odd in (None, 5, "x", [], {}, 1, 0)
    if (key, odd) != ("instructions", "x")  # a text of any kind is taken
]


@pytest.mark.parametrize(("key", "odd"), ODD)
def test_a_demanded_value_replaces_any_other(key, odd):
    assert sent({**RIGHT, key: odd})[key] is not None
    assert sent({**RIGHT, key: odd}) == RIGHT


def test_instructions_of_the_caller_stay():
    assert sent(body(instructions="Be kind."))["instructions"] == "Be kind."


@pytest.mark.parametrize("text", ["hi", "", 'é "x"\u2028'])
def test_a_text_as_input_becomes_a_message(text):
    assert sent(body(input=text))["input"] == [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    ]


@pytest.mark.parametrize("odd", [None, 5, {}])
def test_an_input_of_another_type_is_refused(odd):
    with pytest.raises(RequestError):
        fitted(body(input=odd))


# What must not be there


@pytest.mark.parametrize(
    "key",
    [
        "max_output_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "truncation",
        "user",
        "generate",
        "prompt_cache_retention",
        "prompt_cache_options",
        "safety_identifier",
        "context_management",
    ],
)
@pytest.mark.parametrize("value", [5, None, "x"])
def test_a_field_that_the_service_refuses_goes(key, value):
    assert sent(body(**{key: value})) == RIGHT


def test_going_on_from_a_stored_answer_is_refused_instead_of_losing_it():
    with pytest.raises(AppError) as caught:
        fitted(body(previous_response_id="resp_1"))
    assert (caught.value.status, caught.value.code) == (400, "previous_response_not_found")
    assert sent(body(previous_response_id=None)) == RIGHT


@pytest.mark.parametrize("tier", ["auto", "default", "flex", None, 5])
def test_only_the_priority_tier_is_kept(tier):
    assert sent(body(service_tier=tier)) == RIGHT
    assert sent(body(service_tier="priority"))["service_tier"] == "priority"


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (None, None),
        ({}, None),
        ({"include_obfuscation": False}, None),
        (
            {"include_obfuscation": False, "reasoning_summary_delivery": "x"},
            {"reasoning_summary_delivery": "x"},
        ),
        (5, None),
    ],
)
def test_of_the_stream_options_one_is_kept(options, kept):
    assert sent(body(stream_options=options)).get("stream_options") == kept


@pytest.mark.parametrize("tools", [None, [], {}])
def test_parallel_calls_need_tools(tools):
    assert "parallel_tool_calls" not in sent(body(tools=tools, parallel_tool_calls=True))
    assert "parallel_tool_calls" not in sent(body(parallel_tool_calls=True), lite=True)


@pytest.mark.parametrize(
    ("given", "lite", "kept"),
    [
        ({}, False, True),
        ({"parallel_tool_calls": None}, False, True),
        ({"parallel_tool_calls": True}, False, True),
        ({"parallel_tool_calls": False}, False, False),
        ({"parallel_tool_calls": True}, True, False),
        ({}, True, False),
    ],
)
def test_parallel_calls_are_on_unless_refused_or_lite(given, lite, kept):
    made = sent(body(tools=[function("a")], **given), lite=lite)
    assert made["parallel_tool_calls"] is kept


# The cache key


def test_a_session_makes_a_key_of_its_own():
    made = fitted(body(), session="a" * 48)
    assert uuid.UUID(made.cache_key)
    assert json.loads(made.body)["prompt_cache_key"] == made.cache_key
    assert fitted(body(input="other"), session="a" * 48).cache_key == made.cache_key
    assert fitted(body(), session="b" * 48).cache_key != made.cache_key
    assert "a" * 8 not in made.cache_key


def test_the_callers_own_key_stays():
    made = fitted(body(prompt_cache_key="mine"), session="a")
    assert made.cache_key == "mine"
    assert json.loads(made.body)["prompt_cache_key"] == "mine"


@pytest.mark.parametrize("key", [None, "", 5])
def test_a_key_that_says_nothing_is_replaced(key):
    assert uuid.UUID(fitted(body(prompt_cache_key=key), session="a").cache_key)


def test_without_a_session_there_is_none():
    made = fitted(body())
    assert made.cache_key == ""
    assert b"prompt_cache_key" not in made.body


# Tools


@pytest.mark.parametrize("old", ["web_search_preview", "web_search_preview_2025_03_11"])
def test_the_search_tool_has_its_new_name_everywhere(old):
    made = sent(
        body(
            tools=[{"type": old, "search_context_size": "low"}, function("a")],
            tool_choice={"type": "allowed_tools", "mode": "auto", "tools": [{"type": old}]},
        )
    )
    assert made["tools"][0] == {"type": "web_search", "search_context_size": "low"}
    assert made["tool_choice"]["tools"] == [{"type": "web_search"}]
    assert sent(body(tool_choice={"type": old}))["tool_choice"] == {"type": "web_search"}


def test_other_tools_and_choices_stay_as_they_are():
    tools = [
        {"type": "web_search", "external_web_access": True},
        {"type": "image_generation"},
        {"type": "custom", "name": "apply_patch", "format": {"type": "text"}},
        {"type": "namespace", "name": "n", "tools": [function("a")]},
        5,
    ]
    for choice in ("auto", "required", None, {"type": "function", "name": "a"}):
        made = sent(body(tools=tools, tool_choice=choice))
        assert (made["tools"], made["tool_choice"]) == (tools, choice)


LONG = "mcp__a_rather_long_server_name_that_nobody_would_choose__do_the_thing_now"


def test_long_names_are_short_everywhere_and_come_back():
    call = {"type": "function_call", "call_id": "c", "name": LONG, "arguments": "{}"}
    made = fitted(
        body(
            input=[call, {"type": "function_call_output", "call_id": "c", "output": LONG}, USER],
            tools=[
                function(LONG, description=LONG),
                {"type": "namespace", "name": "n", "tools": [function("x" * 70)]},
                {"type": "custom", "name": "y" * 65},
            ],
            tool_choice={"type": "function", "name": LONG},
        )
    )
    short = "mcp__do_the_thing_now"
    assert made.names == {short: LONG, "x" * 64: "x" * 70, "y" * 64: "y" * 65}
    out = json.loads(made.body)
    assert out["tools"][0]["name"] == short
    assert out["tools"][0]["description"] == LONG
    assert out["tools"][1]["tools"][0]["name"] == "x" * 64
    assert out["tools"][2]["name"] == "y" * 64
    assert out["tool_choice"]["name"] == short
    assert out["input"][0]["name"] == short
    assert out["input"][1]["output"] == LONG


def test_short_names_that_meet_are_told_apart():
    names = [LONG, LONG.replace("nobody", "somebody"), "mcp__do_the_thing_now", "z" * 70, "z" * 71]
    made = fitted(body(tools=[function(name) for name in names]))
    there = [tool["name"] for tool in json.loads(made.body)["tools"]]
    assert there == [
        "mcp__do_the_thing_now_1",
        "mcp__do_the_thing_now_2",
        "mcp__do_the_thing_now",
        "z" * 64,
        "z" * 62 + "_1",
    ]
    assert [made.names.get(name, name) for name in there] == names


NAMES = st.lists(
    st.one_of(
        st.from_regex(r"[a-zA-Z0-9_-]{1,8}", fullmatch=True),
        st.integers(60, 140).map(lambda size: "x" * size),
        st.integers(60, 140).map(lambda size: f"mcp__{'s' * size}__tool"),
        st.integers(60, 140).map(lambda size: f"mcp__{'s' * size}__"),
    ),
    unique=True,
    max_size=10,
)


@given(NAMES)
def test_every_name_is_sent_once_in_a_form_that_is_taken_and_comes_back(names):
    made = fitted(body(tools=[function(name) for name in names]))
    there = [tool["name"] for tool in json.loads(made.body)["tools"]]
    assert len(set(there)) == len(there)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in there)
    assert [made.names.get(name, name) for name in there] == names


# Input


def items(*given):
    return sent(body(input=list(given)))["input"]


def test_system_messages_are_the_developers():
    assert items({"role": "system", "content": "x"}, {"role": "user", "content": "system"}) == [
        {"role": "developer", "content": "x"},
        {"role": "user", "content": "system"},
    ]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("message", "msg_1", "item_1"),
        ("function_call", "fc_1", "call_1"),
        ("function_call_output", "fco_1", "msg_1"),
        ("custom_tool_call", "ctc_1", "fc_1"),
        ("web_search_call", "ws_1", "x"),
        ("message", "msg_" + "1" * 60, "msg_" + "1" * 61),
        ("function_call", "fc", ""),
        ("function_call", "fc", None),
        ("unheard_of", "anything", "x" * 65),
    ],
)
def test_an_id_that_is_not_the_services_own_goes(kind, good, bad):
    assert items({"type": kind, "id": good, "x": 1}) == [{"type": kind, "id": good, "x": 1}]
    assert items({"type": kind, "id": bad, "x": 1}) == [{"type": kind, "x": 1}]


def test_a_message_needs_no_type_for_that():
    assert items({"role": "user", "id": "x", "content": "y"}) == [{"role": "user", "content": "y"}]


@pytest.mark.parametrize(
    "thought",
    [
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": ""},
        {"type": "reasoning", "id": "th_1", "summary": [], "encrypted_content": SEALED},
        {"type": "reasoning", "id": "rs_" + "1" * 62, "summary": [], "encrypted_content": SEALED},
    ],
)
def test_a_thought_that_cannot_be_opened_again_goes(thought):
    assert items(thought, USER) == [USER]


def test_a_sealed_thought_keeps_its_bytes():
    thought = (
        b'{"type": "reasoning","id":"rs_1", "summary":[],"content":null,"encrypted_content":"gA=="}'
    )
    raw = b'{"model":"m","input":[' + thought + b',{"role":"system","content":"x"}]}'
    assert thought in fitted(raw).body


def test_cache_marks_in_parts_go():
    mark = {"prompt_cache_breakpoint": {"type": "x"}}
    part = {"type": "input_text", "text": "prompt_cache_breakpoint"}
    made = items(
        {"role": "user", "content": [{**part, **mark}, part]},
        {"type": "function_call_output", "call_id": "c", "output": [{**part, **mark}]},
        {"role": "user", "content": "prompt_cache_breakpoint"},
    )
    assert made == [
        {"role": "user", "content": [part, part]},
        {"type": "function_call_output", "call_id": "c", "output": [part]},
        {"role": "user", "content": "prompt_cache_breakpoint"},
    ]


def test_items_of_another_type_are_left_for_the_service_to_refuse():
    assert items(5, None, "x", []) == [5, None, "x", []]


# Compaction


def test_a_compaction_has_nothing_of_a_stream():
    made = sent(
        body(stream=True, store=True, include=[], service_tier="priority", temperature=1, user="u"),
        compact=True,
    )
    assert made == {"model": "gpt-5.5", "instructions": "", "input": [USER]}


# Any body


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"a":1,"a":2}', b"\xff"])
def test_a_body_that_is_no_object_is_refused(raw):
    with pytest.raises(RequestError):
        fitted(raw)


@given(
    st.dictionaries(
        st.sampled_from(["model", "tools", "tool_choice", "stream", "include", "user", "extra"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=4),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["type", "name", "tools", "x"]), inner)
            ),
            max_leaves=8,
        ),
    ),
    st.booleans(),
)
def test_fitting_twice_is_fitting_once(given_body, lite):
    once = fitted(given_body | {"input": "x"}, session="s", lite=lite)
    twice = fitted(once.body, session="s", lite=lite)
    assert twice.body is once.body
