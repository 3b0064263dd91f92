"""Tools of Chat requests: schemas, spellings, kinds."""

import pytest

from app.canonical.request import ServerTool, ToolChoice
from tests.dialects.test_openai_chat_request import decode


@pytest.mark.parametrize("parameters", [None, {}])
def test_a_missing_schema_is_that_of_an_empty_object(parameters):
    request = decode(
        tools=[{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    )
    assert request.tools[0].schema == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("any", ToolChoice("required")),
        ({"type": "auto"}, ToolChoice("auto")),
        ({"type": "none"}, ToolChoice("none")),
        ({"type": "function", "name": "f"}, ToolChoice("required", ("f",))),
        ({"type": "tool", "name": "f"}, ToolChoice("required", ("f",))),
    ],
)
def test_spellings_of_tool_choice_from_other_dialects_are_understood(choice, expected):
    assert decode(tool_choice=choice).tool_choice == expected


def test_flat_and_unknown_tools_are_read():
    request = decode(
        tools=[
            {"type": "function", "name": "f", "parameters": {}},
            {"type": "openrouter:web_search"},
        ],
        web_search_options={},
    )
    assert request.tools[0].name == "f"
    assert isinstance(request.tools[1], ServerTool)
    assert [tool.purpose for tool in request.tools[1:]] == ["web_search", "web_search"]
