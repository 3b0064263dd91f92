"""Tools and tool choice of Responses, both ways."""

import pytest

from app.canonical.request import (
    ServerTool,
    Tool,
    ToolChoice,
)
from app.errors import TranslationError
from tests.dialects.responses import (
    decode_request,
    encode_request,
    load,
    simple,
)


def test_named_hosted_tool_that_is_missing_is_refused():
    request = simple(
        tools=(ServerTool("anthropic", {"name": "bash"}), Tool("f")),
        tool_choice=ToolChoice("required", ("bash",)),
    )
    with pytest.raises(TranslationError):
        encode_request(request)


def test_named_hosted_tool_keeps_its_purpose():
    request = simple(
        tools=(ServerTool("anthropic", {"name": "web_search"}, "web_search"),),
        tool_choice=ToolChoice("required", ("web_search",)),
    )
    body = encode_request(request).body
    assert body["tools"] == [{"type": "web_search"}]
    assert body["tool_choice"] == {"type": "web_search"}


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        (ToolChoice("none"), "none"),
        (ToolChoice("required"), "required"),
        (ToolChoice("required", ("f",)), {"type": "function", "name": "f"}),
        (ToolChoice("required", ("p",)), {"type": "custom", "name": "p"}),
        (
            ToolChoice("auto", ("f", "p")),
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "p"}],
            },
        ),
    ],
)
def test_tool_choice_keeps_its_meaning(choice, wire):
    request = simple(tools=(Tool("f"), Tool("p", kind="custom")), tool_choice=choice)
    assert encode_request(request).body["tool_choice"] == wire


def test_namespace_tools_are_decoded_one_by_one():
    tools = decode_request(load("namespace", "request.json")).tools
    assert [(tool.namespace, tool.name) for tool in tools] == [
        ("mcp__files", "list"),
        ("mcp__files", "read"),
        (None, "get_weather"),
    ]
