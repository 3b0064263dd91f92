import pytest

from app.canonical.loss import Loss
from app.canonical.parts import (
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
from app.canonical.response import ChatResponse
from app.canonical.usage import Usage
from app.dialects.base import Peek
from app.dialects.carrier import open_seal
from app.dialects.gemini import GEMINI
from app.dialects.gemini_response import encode_usage, read_usage
from app.errors import Retry, UpstreamError
from tests.dialects.test_gemini import load, reply


def answer(*parts, finish="STOP", **candidate):
    content = {"role": "model", "parts": list(parts)}
    return {"candidates": [{"content": content, "finishReason": finish, **candidate}]}


def decode(body, issuer="google"):
    return GEMINI.decode_response(body, issuer)


def encode(*parts, stop="end", **fields):
    return GEMINI.encode_response(ChatResponse("r1", "m", parts, stop, **fields), reply("asked"))


def parts_of(encoded):
    return encoded.body["candidates"][0]["content"]["parts"]


@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        ({"promptTokenCount": 10, "candidatesTokenCount": 4}, Usage(10, output=4)),
        (
            {
                "promptTokenCount": 100,
                "cachedContentTokenCount": 60,
                "candidatesTokenCount": 4,
                "thoughtsTokenCount": 30,
            },
            Usage(40, 60, output=34, reasoning=30),
        ),
        ({"promptTokenCount": 10, "toolUsePromptTokenCount": 5}, Usage(15)),
        ({"promptTokenCount": 10, "thoughtsTokenCount": 0}, Usage(10, reasoning=0)),
        ({}, Usage()),
    ],
)
def test_counts_do_not_overlap(wire, usage):
    read, kept = read_usage(wire)
    assert read == usage
    again, _ = read_usage(encode_usage(read, kept))
    assert again == usage


def test_counts_of_others_add_up():
    usage = Usage(input=10, cache_read=20, cache_write=5, output=50, reasoning=40)
    assert encode_usage(usage) == {
        "promptTokenCount": 35,
        "cachedContentTokenCount": 20,
        "candidatesTokenCount": 10,
        "thoughtsTokenCount": 40,
        "totalTokenCount": 85,
    }


def test_reasoning_that_nobody_counted_is_not_reported():
    assert "thoughtsTokenCount" not in encode_usage(Usage(1, output=2))


@pytest.mark.parametrize(
    ("finish", "stop"),
    [
        ("STOP", "end"),
        ("MAX_TOKENS", "max_tokens"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("LANGUAGE", "content_filter"),
        ("OTHER", "end"),
        ("SOMETHING_NEW", "end"),
        ("MALFORMED_FUNCTION_CALL", "end"),
    ],
)
def test_finish_reasons(finish, stop):
    response = decode(answer({"text": "x"}, finish=finish))
    assert response.stop == stop
    encoded = GEMINI.encode_response(response, reply())
    assert encoded.body["candidates"][0]["finishReason"] == finish


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end", "STOP"),
        ("tool_use", "STOP"),
        ("stop_sequence", "STOP"),
        ("max_tokens", "MAX_TOKENS"),
        ("context_full", "MAX_TOKENS"),
        ("refusal", "SAFETY"),
        ("content_filter", "SAFETY"),
    ],
)
def test_stop_reasons_of_others(stop, finish):
    assert encode(Text("x"), stop=stop).body["candidates"][0]["finishReason"] == finish


def test_a_call_means_tool_use():
    assert decode(answer({"functionCall": {"name": "f", "args": {}}})).stop == "tool_use"
    cut = decode(answer({"functionCall": {"name": "f", "args": {}}}, finish="MAX_TOKENS"))
    assert cut.stop == "max_tokens"


@pytest.mark.parametrize("finish", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"])
@pytest.mark.parametrize("parts", [(), ({"text": "Hm.", "thought": True},)])
def test_an_answer_that_the_service_could_not_read_is_a_failure(finish, parts):
    with pytest.raises(UpstreamError, match=f"{finish}.*bad json") as caught:
        decode(answer(*parts, finish=finish, finishMessage="bad json"))
    assert caught.value.retry is Retry.NEXT_ACCOUNT


@pytest.mark.parametrize(
    "body", [{}, {"candidates": []}, {"candidates": 1}, {"candidates": [1]}, {"promptFeedback": {}}]
)
def test_a_body_without_answer_is_a_failure(body):
    with pytest.raises(UpstreamError):
        decode(body)


def test_a_blocked_prompt_keeps_its_words():
    response = decode(load("blocked_prompt", "response.json"))
    assert response.stop == "content_filter"
    (told,) = response.parts
    assert isinstance(told, Refusal)
    assert told.text == "The prompt was blocked."


def test_equal_ids_of_parallel_calls_are_told_apart():
    call = {"functionCall": {"id": "same", "name": "f", "args": {}}}
    response = decode(answer(call, call, call))
    assert [part.id for part in response.parts] == ["same", "same_2", "same_3"]


def test_calls_without_id_get_one_for_the_client():
    response = decode(load("parallel_tools", "response.json"))
    assert [part.id for part in response.parts] == ["", "", ""]
    ids = [p["functionCall"]["id"] for p in parts_of(GEMINI.encode_response(response, reply()))]
    assert len(set(ids)) == 3


def test_signatures_are_the_issuers():
    response = decode(answer({"text": "x", "thoughtSignature": "QUJD"}), "aistudio")
    assert response.parts[0].signature == Signature("aistudio", "QUJD")


def test_foreign_signatures_travel_sealed():
    sign = Signature("anthropic", "sig")
    parts = parts_of(encode(Reasoning("Hm.", signature=sign), Text("x"), ToolCall("a", "f", "{}")))
    assert parts[0]["thought"] is True
    assert open_seal(parts[0]["thoughtSignature"]) == (sign, {})
    assert "thoughtSignature" not in parts[1]


@pytest.mark.parametrize("after", [Text("x"), ToolCall("a", "f", "{}")])
@pytest.mark.parametrize(
    "hidden",
    [
        Reasoning(redacted=True, signature=Signature("anthropic", "data")),
        Reasoning(summary=True, id="rs_1", signature=Signature("openai", "enc")),
    ],
)
def test_hidden_thought_travels_on_the_part_behind_it_and_comes_back(hidden, after):
    parts = parts_of(encode(hidden, after))
    assert len(parts) == 1
    request = GEMINI.decode_request(
        {"contents": [{"role": "model", "parts": parts}]}, Peek("g", False)
    )
    assert request.messages[0].parts == (hidden, after)


def test_hidden_thought_with_nothing_behind_it_stands_alone():
    hidden = Reasoning(redacted=True, signature=Signature("anthropic", "data"))
    parts = parts_of(encode(hidden, hidden, Media("image", "image/png", "AAAA")))
    assert [sorted(p) for p in parts] == [
        ["text", "thought", "thoughtSignature"],
        ["text", "thought", "thoughtSignature"],
        ["inlineData"],
    ]
    request = GEMINI.decode_request(
        {"contents": [{"role": "model", "parts": parts}]}, Peek("g", False)
    )
    assert request.messages[0].parts[:2] == (hidden, hidden)


def test_own_signatures_travel_as_they_are():
    sign = Signature("google", "QUJD")
    parts = parts_of(
        encode(Reasoning("", signature=sign), ToolCall("a", "f", "{}", signature=sign))
    )
    assert [p["thoughtSignature"] for p in parts] == ["QUJD", "QUJD"]


def test_what_a_gemini_client_cannot_see_is_reported():
    encoded = encode(
        Text("x"),
        Opaque("anthropic", {"type": "server_tool_use"}),
        ToolResult("a", ()),
        Media("image", file_id="file-1"),
    )
    assert parts_of(encoded) == [{"text": "x"}]
    assert encoded.losses == tuple(
        Loss(f"content[{n}]", "not known to this dialect") for n in (1, 2, 3)
    )


def test_an_answer_of_another_service_has_all_that_clients_look_for():
    encoded = encode(Refusal("No."), stop="refusal", usage=Usage(1, output=2), created=0.0)
    assert encoded.body == {
        "candidates": [
            {
                "content": {"role": "model", "parts": [{"text": "No."}]},
                "finishReason": "SAFETY",
                "index": 0,
            }
        ],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3},
        "modelVersion": "asked",
        "responseId": "r1",
        "createTime": "1970-01-01T00:00:00Z",
    }


def test_native_fields_of_others_are_not_shown():
    body = encode(Text("x"), native=Native("openai_chat", {"system_fingerprint": "fp"})).body
    assert "system_fingerprint" not in body


def test_arguments_that_are_no_object_are_kept_raw():
    (part,) = parts_of(encode(ToolCall("a", "f", "oops")))
    assert part["functionCall"]["args"] == {"_raw": "oops"}


def test_further_candidates_come_back():
    body = answer({"text": "a"}, index=0)
    body["candidates"].append({"content": {"parts": [{"text": "b"}]}, "index": 1})
    response = decode(body)
    assert response.parts == (Text("a"),)
    assert GEMINI.encode_response(response, reply()).body["candidates"] == body["candidates"]


@pytest.mark.parametrize("time", ["2026-11-04T12:00:00Z", "2026-11-04T12:00:00.123456789Z", "soon"])
def test_a_time_comes_back_as_it_was(time):
    response = decode({**answer({"text": "a"}), "createTime": time})
    assert GEMINI.encode_response(response, reply()).body["createTime"] == time
