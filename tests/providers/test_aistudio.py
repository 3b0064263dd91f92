import json

import pytest

from app.canonical.failure import Failure
from app.dialects import DIALECTS
from app.errors import RequestError, Retry
from app.http import HttpReply
from app.providers.aistudio import AISTUDIO, classify, upstream_name
from app.providers.gemini import GEMINI
from app.providers.shaping import Asked
from tests.fakes.aistudio import Sandbox
from tests.fakes.service import Call, Refusal

TURN = {"role": "user", "parts": [{"text": "hi"}]}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


def shape(body, model="gemini-2.5-flash-aistudio", operation="generate", stream=False):
    """Shape a call; returns its body and its path."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    path = DIALECTS["gemini"].path(operation, model, stream=stream)
    asked = Asked("gemini", operation, model, raw, stream, path, (), None)
    shaped = AISTUDIO.shape(asked)
    return json.loads(shaped.body), shaped.path


def takes(body, path):
    """Let Google's stand-in judge a call."""
    where, _, query = path.partition("?")
    queries = dict(pair.split("=") for pair in query.split("&")) if query else {}
    headers = {"content-type": "application/json"}
    Sandbox().answer(Call("POST", where, queries, headers, json.dumps(body).encode()))


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("gemini-2.5-pro-aistudio", "gemini-2.5-pro"),
        ("models/gemini-2.5-pro-aistudio", "gemini-2.5-pro"),
        ("gemini-2.5-pro", "gemini-2.5-pro"),
        ("gemini-2-flash-aistudio", "gemini-2.5-flash"),
    ],
)
def test_names_are_googles_with_an_ending(name, theirs):
    assert upstream_name(name) == theirs


def test_names_with_the_ending_are_its_own_and_not_those_of_the_key():
    assert AISTUDIO.serves("gemini-2.5-pro-aistudio")
    assert not GEMINI.serves("gemini-2.5-pro-aistudio")
    assert not AISTUDIO.serves("gemini-2.5-pro")
    assert not AISTUDIO.serves("-aistudio")


@pytest.mark.parametrize(
    ("operation", "stream", "path"),
    [
        ("generate", False, "/v1beta/models/gemini-2.5-flash:generateContent"),
        ("generate", True, "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"),
        ("count_tokens", False, "/v1beta/models/gemini-2.5-flash:countTokens"),
    ],
)
def test_the_path_has_googles_name(operation, stream, path):
    assert shape({"contents": [TURN]}, operation=operation, stream=stream)[1] == path


def test_what_the_route_does_not_take_is_left_out():
    config = {"maxOutputTokens": 5, "temperature": 1, "stopSequences": ["x"]}
    body, path = shape(
        {"contents": [TURN], "generationConfig": config, "session_id": "s", "model": "m"}
    )
    assert body == {
        "contents": [TURN],
        "generationConfig": {"temperature": 1, "stopSequences": ["x"]},
    }
    takes(body, path)


def test_an_empty_configuration_goes_too():
    body, _ = shape({"contents": [TURN], "generationConfig": {"maxOutputTokens": 5}})
    assert body == {"contents": [TURN]}


@pytest.mark.parametrize("key", ["responseJsonSchema", "responseSchema", "response_schema"])
def test_a_forced_form_is_asked_for_in_words(key):
    system = {"parts": [{"text": "Be brief."}]}
    config = {"responseMimeType": "application/json", key: SCHEMA}
    body, path = shape(
        {"contents": [TURN], "systemInstruction": system, "generationConfig": config}
    )
    first, wish = body["systemInstruction"]["parts"]
    assert first == {"text": "Be brief."}
    assert wish["text"].endswith(json.dumps(SCHEMA))
    assert "generationConfig" not in body
    takes(body, path)


def test_json_without_a_schema_is_asked_for_in_words():
    config = {"responseMimeType": "application/json"}
    body, _ = shape({"contents": [TURN], "generationConfig": config})
    assert "JSON" in body["systemInstruction"]["parts"][0]["text"]
    plain, _ = shape({"contents": [TURN], "generationConfig": {"responseMimeType": "text/plain"}})
    assert "systemInstruction" not in plain


def test_a_history_that_begins_with_the_model_gets_a_turn_before_it():
    model = {"role": "model", "parts": [{"text": "hello"}]}
    body, path = shape({"contents": [model, TURN]})
    assert [turn["role"] for turn in body["contents"]] == ["user", "model", "user"]
    takes(body, path)


def test_names_of_levels_and_modalities_are_upper_case():
    config = {
        "thinkingConfig": {"thinking_level": "low", "includeThoughts": True},
        "responseModalities": ["text"],
    }
    body, _ = shape({"contents": [TURN], "generation_config": config})
    assert body["generationConfig"] == {
        "thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": True},
        "responseModalities": ["TEXT"],
    }


def test_thought_signatures_and_numbers_keep_their_bytes():
    raw = (
        b'{"contents":[{"role":"user","parts":[{"text":"a"}]},{"role":"model","parts":[{"function'
        b'Call":{"name":"f","args":{"x":1.0,"y":1e3}},"thoughtSignature":"c2ln\\u003d"}]}],'
        b'"generationConfig":{"temperature":0.10}}'
    )
    path = "/v1beta/models/gemini-3-pro-preview-aistudio:generateContent"
    asked = Asked("gemini", "generate", "gemini-3-pro-preview-aistudio", raw, False, path, (), None)
    assert AISTUDIO.shape(asked).body == raw


@pytest.mark.parametrize(
    ("model", "modalities"),
    [
        ("gemini-2.5-flash-image-aistudio", ["TEXT", "IMAGE"]),
        ("gemini-3-pro-image-preview-aistudio", ["TEXT", "IMAGE"]),
        ("gemini-2.5-flash-preview-tts-aistudio", ["AUDIO"]),
    ],
)
def test_models_that_draw_or_speak_get_what_they_take(model, modalities):
    body, path = shape(
        {
            "contents": [TURN],
            "systemInstruction": {"parts": [{"text": "In blue."}]},
            "tools": [{"googleSearch": {}}],
            "tool_config": {"functionCallingConfig": {"mode": "AUTO"}},
            "generationConfig": {"thinkingConfig": {"thinkingBudget": 5}, "temperature": 1},
        },
        model,
    )
    assert body == {
        "contents": [{"role": "user", "parts": [{"text": "In blue."}]}, TURN],
        "generationConfig": {"temperature": 1, "responseModalities": modalities},
    }
    takes(body, path)


def test_modalities_that_were_asked_for_stay():
    config = {"responseModalities": ["image"]}
    model = "gemini-2.5-flash-image-aistudio"
    body, _ = shape({"contents": [TURN], "generationConfig": config}, model)
    assert body["generationConfig"]["responseModalities"] == ["IMAGE"]


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_count_has_contents_alone(wrapped):
    inner = {
        "model": "models/gemini-2.5-flash-aistudio",
        "contents": [TURN],
        "system_instruction": {"parts": [{"text": "Be brief."}]},
        "tools": [{"googleSearch": {}}],
        "safetySettings": [],
        "generationConfig": {"temperature": 1},
    }
    body, path = shape(
        {"generateContentRequest": inner} if wrapped else inner, operation="count_tokens"
    )
    assert body == {"contents": [{"role": "user", "parts": [{"text": "Be brief."}]}, TURN]}
    takes(body, path)


@pytest.mark.parametrize("raw", [b"[]", b"no", b'{"contents":[],"generationConfig":5}'])
def test_what_is_no_object_is_refused(raw):
    with pytest.raises(RequestError) as caught:
        shape(raw)
    assert caught.value.code == "invalid_json"


def test_odd_values_are_left_to_the_service():
    odd = {"contents": 5, "systemInstruction": "text", "generationConfig": {"thinkingConfig": 1}}
    assert shape(odd)[0] == odd


def test_the_list_of_models_has_the_ending_and_the_old_name():
    rows = [
        {
            "name": f"models/{name}",
            "displayName": name,
            "inputTokenLimit": 1000,
            "supportedGenerationMethods": methods,
        }
        for name, methods in (
            ("gemini-2.5-flash", ["generateContent"]),
            ("gemini-2.5-flash-image", ["generateContent"]),
            ("gemini-embedding-001", ["embedContent"]),
        )
    ]
    facts = AISTUDIO.parse_models(HttpReply(200, (), json.dumps({"models": rows}).encode()))
    assert {row.id: (row.context, row.tools) for row in facts} == {
        "gemini-2.5-flash-aistudio": (1000, None),
        "gemini-2.5-flash-image-aistudio": (1000, False),
        "gemini-2-flash-aistudio": (1000, None),
    }


def test_models_are_known_before_a_page_was_asked():
    names = {facts.id for facts in AISTUDIO.known_models(None)}
    assert {"gemini-2.5-pro-aistudio", "gemini-2-flash-aistudio"} <= names


def test_it_is_off_until_agreed_to_and_takes_no_key_of_the_settings():
    assert "against Google's terms" in AISTUDIO.consent.text
    assert "API key" in AISTUDIO.consent.instead
    assert AISTUDIO.hosts


def refusal(status, kind="auth", **more):
    """What our dialect makes of an answer of Google's."""
    try:
        raise Sandbox().failure(kind, status, **more)
    except Refusal as told:
        body = json.dumps(told.body).encode()
        failure = DIALECTS["gemini"].decode_failure(told.status, (), body)
        return classify(failure, HttpReply(told.status, (), body))


@pytest.mark.parametrize(("status", "kind"), [(401, "auth"), (403, "permission")])
def test_a_lost_session_rests_the_account_for_a_minute_only(status, kind):
    failure = refusal(status, kind)
    assert (failure.kind, failure.scope) == ("permission", "account")
    assert (failure.retry, failure.retry_after_s) == (Retry.NEXT_ACCOUNT, 60.0)
    assert "sign in to Google" in failure.hint


def test_a_limit_speaks_of_one_model_and_its_wait_is_believed():
    failure = refusal(429, "quota", retry_s=17.5)
    assert (failure.scope, failure.retry, failure.retry_after_s) == (
        "model",
        Retry.NEXT_ACCOUNT,
        17.5,
    )


def test_a_missing_model_says_where_to_look():
    assert "own list" in refusal(404, "not_found").hint


def test_other_failures_and_final_ones_stay_as_they_are():
    for failure in (
        Failure(503, "busy", "overloaded"),
        Failure(403, "account suspended", "permission", final=True),
    ):
        assert classify(failure, HttpReply(failure.status)) is failure
