"""Tools for Anthropic: declarations, schemas, the choice among them."""

from dataclasses import replace

import pytest

from app.canonical.request import ServerTool, Tool, ToolChoice
from app.errors import TranslationError
from tests.dialects.test_anthropic_request import decode, encode, loss_paths, request, user, wire


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
