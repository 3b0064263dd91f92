import json

import pytest

from tests.fakes.basic import Clock
from tests.fakes.copilot import CHAT, EDITOR_FIELDS, MESSAGES, RESPONSES, Copilot
from tests.fakes.github import OPENCODE, VSCODE, GitHub, User
from tests.fakes.service import Call, Refusal

PROMPT = [{"role": "user", "content": "hi"}]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def copilot(clock):
    return Copilot(GitHub(clock))


def headers(copilot, **more):
    return {
        "authorization": f"Bearer {copilot.github.grant(OPENCODE)}",
        "user-agent": "t",
        "openai-intent": "conversation-edits",
        "x-initiator": "user",
        "content-type": "application/json",
        "anthropic-version": "2023-06-01",
        **more,
    }


def call(copilot, path, body, **more):
    fields = headers(copilot, **more)
    return copilot.answer(Call("POST", path, {}, fields, json.dumps(body).encode()))


def refusal(copilot, path, body, **more):
    with pytest.raises(Refusal) as caught:
        call(copilot, path, body, **more)
    return caught.value


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {"model": "gpt-4.1", "messages": PROMPT}),
        (RESPONSES, {"model": "gpt-5.2-codex", "input": PROMPT}),
        (MESSAGES, {"model": "claude-opus-4.6", "messages": PROMPT, "max_tokens": 5}),
        ("/embeddings", {"model": "text-embedding-3-small", "input": "x"}),
    ],
)
def test_each_endpoint_answers_in_its_dialect(copilot, path, body):
    assert call(copilot, path, body).status == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/messages"])
def test_other_paths_are_not_there(copilot, path):
    assert refusal(copilot, path, {"model": "gpt-4.1"}).status == 404


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        (CHAT, {"model": "gpt-5.2-codex", "messages": PROMPT}, "unsupported_api_for_model"),
        (MESSAGES, {"model": "gpt-4.1", "messages": PROMPT}, "unsupported_api_for_model"),
        (CHAT, {"model": "unknown", "messages": PROMPT}, "model_not_supported"),
        (CHAT, {"model": "gpt-4.1", "messages": PROMPT, "store": False}, "invalid_request_body"),
        (
            RESPONSES,
            {"model": "gpt-5-mini", "input": PROMPT, "service_tier": "auto"},
            "invalid_request_body",
        ),
    ],
)
def test_what_copilot_does_not_take_is_refused(copilot, path, body, code):
    refused = refusal(copilot, path, body)
    assert (refused.status, refused.body["error"]["code"]) == (400, code)


def test_header_fields_are_checked(copilot):
    body = {"model": "claude-opus-4.6", "messages": PROMPT, "max_tokens": 5}
    picture = [{"type": "image", "source": {}}]
    shown = {**body, "messages": [{"role": "user", "content": picture}]}
    more = {"copilot-vision-request": "true"}
    for fields, sent in (
        ({"x-initiator": "nobody"}, body),
        ({"anthropic-beta": "oauth-2025-04-20"}, body),
        ({}, shown),
        (more, body),
        (dict.fromkeys(EDITOR_FIELDS, "x"), body),
        ({"user-agent": ""}, body),
    ):
        assert refusal(copilot, MESSAGES, sent, **fields).status == 400
    assert copilot.initiators == ["user"] * 3


def test_tokens_are_taken_in_the_form_of_their_family_while_they_live(copilot, clock):
    body = {"model": "gpt-4.1", "messages": PROMPT}
    token = copilot.github.grant(VSCODE)
    editor = dict.fromkeys(EDITOR_FIELDS, "x")
    assert refusal(copilot, CHAT, body, authorization=f"Bearer {token}").status == 401
    fields = {"authorization": f"Bearer {token}", "user-agent": "t", **editor}
    told = copilot.github.answer(Call("GET", "/copilot_internal/v2/token", {}, fields))
    secret = f"Bearer {json.loads(told.body)['token']}"
    assert call(copilot, CHAT, body, authorization=secret, **editor).status == 200
    assert refusal(copilot, CHAT, body, authorization=secret).status == 400
    clock.advance(1_800)
    assert refusal(copilot, CHAT, body, authorization=secret, **editor).status == 401


def test_thoughts_are_bound_to_the_account_that_got_them(copilot):
    ada, bob = (f"Bearer {copilot.github.grant(OPENCODE, User(name))}" for name in ("ada", "bob"))
    body = {
        "model": "claude-sonnet-4.5",
        "max_tokens": 4_000,
        "thinking": {"type": "enabled", "budget_tokens": 1_024},
        "messages": [{"role": "user", "content": "FAKE:think=hmm;text=hello;"}],
    }
    answer = json.loads(call(copilot, MESSAGES, body, authorization=ada).body)
    turns = [{"role": "assistant", "content": answer["content"]}, *PROMPT]
    body["messages"] += turns
    assert call(copilot, MESSAGES, body, authorization=ada).status == 200
    refused = refusal(copilot, MESSAGES, body, authorization=bob)
    assert (refused.status, "Invalid `signature`" in str(refused.body)) == (400, True)
