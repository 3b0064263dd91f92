import json

import pytest

from app.errors import UpstreamError
from app.http import HttpReply
from app.providers.copilot_models import parse_models
from tests.fakes.copilot import Copilot, Model
from tests.fakes.github import GitHub


def listed(*models):
    fake = Copilot(GitHub(lambda: 0.0), models)
    rows = [fake._listed(model) for model in models]
    return parse_models(HttpReply(200, (), json.dumps({"data": rows}).encode()))


def test_limits_and_abilities_are_those_of_the_list():
    (facts,) = listed(Model("m", ("/responses",), context=400_000, output=128_000, vision=False))
    assert (facts.id, facts.name) == ("m", "M")
    assert (facts.context, facts.max_output) == (400_000, 128_000)
    assert (facts.tools, facts.images) == (True, False)


@pytest.mark.parametrize(
    ("model", "endpoints", "dialects"),
    [
        ("gpt-4.1", ["/chat/completions"], ("openai_chat",)),
        ("gpt-5.2", ["/chat/completions", "/responses"], ("openai_responses", "openai_chat")),
        ("gpt-5.2", ["/responses", "ws:/responses"], ("openai_responses",)),
        ("claude-x", ["/chat/completions", "/v1/messages"], ("anthropic", "openai_chat")),
        ("other", ["/v1/messages", "/chat/completions"], ("openai_chat", "anthropic")),
        ("other", None, ()),
        ("other", [], ()),
    ],
)
def test_endpoints_become_dialects_with_the_makers_own_first(model, endpoints, dialects):
    (facts,) = listed(Model(model, endpoints))
    assert facts.dialects == dialects


@pytest.mark.parametrize(
    "model",
    [
        Model("m", ("/chat/completions",), picker=False),
        Model("m", ("/chat/completions",), policy="disabled"),
        Model("m", ("ws:/responses",)),
        Model("", ("/responses",)),
    ],
)
def test_models_that_the_account_cannot_use_are_hidden(model):
    assert listed(model) == ()


@pytest.mark.parametrize("policy", [None, "enabled", "unconfigured"])
def test_models_that_only_want_a_yes_are_shown(policy):
    assert len(listed(Model("m", ("/responses",), policy=policy))) == 1


def test_embeddings_are_there_without_a_dialect():
    (facts,) = listed(Model("e", ("/embeddings",), picker=False, kind="embeddings"))
    assert (facts.id, facts.dialects) == ("e", ())


def test_odd_rows_cost_only_themselves():
    body = {
        "data": [
            "x",
            {"id": 7},
            {"id": "a", "capabilities": 1, "supported_endpoints": [1, "/responses"]},
            {"id": "b", "capabilities": {"limits": {"max_prompt_tokens": 5}, "supports": []}},
        ]
    }
    a, b = parse_models(HttpReply(200, (), json.dumps(body).encode()))
    assert (a.id, a.dialects, a.tools) == ("a", ("openai_responses",), None)
    assert (b.id, b.context, b.max_output) == ("b", 5, None)


@pytest.mark.parametrize("body", [b"[]", b"{}", b"<html>", b'{"data": {}}'])
def test_another_answer_is_no_list(body):
    with pytest.raises(UpstreamError):
        parse_models(HttpReply(200, (), body))
