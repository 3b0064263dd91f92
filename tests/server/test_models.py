"""The shapes of the model list; the official clients' types read them."""

import pytest
from anthropic.types import ModelInfo
from google.genai.types import Model as GeminiModel
from openai.types import Model as OpenAIModel

from app.server.models import ModelRow, render_models

FULL = ModelRow("org/big", "fake", ("one", "two"), "Big One", 1_700_000_000, 200_000, 8_000)
BARE = ModelRow("small", "fake")
CLIENTS = {"openai_chat": OpenAIModel, "anthropic": ModelInfo}


def test_openai_list_has_sizes_and_labels_where_they_are_known():
    body = render_models([FULL, BARE], "openai_chat")
    assert body["object"] == "list"
    assert body["data"] == [
        {
            "id": "org/big",
            "object": "model",
            "created": 1_700_000_000,
            "owned_by": "fake",
            "display_name": "Big One",
            "max_input_tokens": 200_000,
            "max_tokens": 8_000,
            "x_dragoman": {"accounts": ["one", "two"]},
        },
        {"id": "small", "object": "model", "created": 0, "owned_by": "fake"},
    ]


def test_anthropic_list_says_where_it_begins_and_ends():
    body = render_models([FULL, BARE], "anthropic")
    assert (body["first_id"], body["last_id"], body["has_more"]) == ("org/big", "small", False)
    assert body["data"][0] == {
        "type": "model",
        "id": "org/big",
        "display_name": "Big One",
        "created_at": "2023-11-14T22:13:20Z",
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 8_000,
    }
    assert body["data"][1]["display_name"] == "small"


def test_gemini_list_names_models_as_resources():
    body = render_models([FULL, BARE], "gemini")
    assert list(body) == ["models"]
    assert body["models"][0] == {
        "name": "models/org/big",
        "version": "org/big",
        "displayName": "Big One",
        "supportedGenerationMethods": ["generateContent", "countTokens"],
        "inputTokenLimit": 200_000,
        "outputTokenLimit": 8_000,
    }
    assert "inputTokenLimit" not in body["models"][1]


@pytest.mark.parametrize("form", ["openai_chat", "openai_responses", "anthropic", "gemini"])
def test_single_model_is_the_lines_own_object(form):
    whole = render_models([FULL], form)
    (line,) = whole.get("data") or whole["models"]
    assert render_models([FULL], form, single=True) == line


@pytest.mark.parametrize("form", CLIENTS)
@pytest.mark.parametrize("row", [FULL, BARE])
def test_official_clients_read_each_line(form, row):
    line = render_models([row], form, single=True)
    assert CLIENTS[form].model_validate(line, strict=False).id == row.id


def test_google_reads_each_line():
    line = render_models([FULL], "gemini", single=True)
    model = GeminiModel.model_validate({"name": line["name"], "displayName": line["displayName"]})
    assert (model.name, model.display_name) == ("models/org/big", "Big One")


@pytest.mark.parametrize(
    ("form", "empty"),
    [
        ("openai_chat", {"object": "list", "data": []}),
        ("anthropic", {"data": [], "has_more": False, "first_id": None, "last_id": None}),
        ("gemini", {"models": []}),
    ],
)
def test_empty_list_is_a_list(form, empty):
    assert render_models([], form) == empty
