import base64

import msgspec
import pytest

from app.canonical.loss import Loss
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
from app.canonical.request import (
    ChatRequest,
    Message,
    ServerTool,
    Tool,
    ToolChoice,
)
from app.dialects.base import Peek
from app.dialects.gemini import GEMINI
from app.dialects.gemini_parts import PLACEHOLDER
from app.errors import TranslationError
from tests.dialects.test_gemini import check_request, load, target

USER = Message("user", (Text("Hi"),))
CALL = ToolCall("toolu_1", "f", '{"a":1}')


def encode(*messages, to=None, **settings):
    request = ChatRequest("gemini-2.5-flash", messages or (USER,), **settings)
    encoded = GEMINI.encode_request(request, to or target())
    check_request(encoded.body)
    return encoded


def contents(*messages, **settings):
    return encode(*messages, **settings).body["contents"]


def paths(encoded):
    return [loss.path for loss in encoded.losses]


def test_turns_alternate():
    assert contents(
        USER,
        Message("user", (Text("there"),)),
        Message("assistant", (Text("Yes"),)),
        Message("assistant", (Refusal("No"),)),
    ) == [
        {"role": "user", "parts": [{"text": "Hi"}, {"text": "there"}]},
        {"role": "model", "parts": [{"text": "Yes"}, {"text": "No"}]},
    ]


def test_a_history_that_starts_with_the_model_gets_a_user_turn():
    encoded = encode(Message("assistant", (Text("Hello"),)), USER)
    assert [c["role"] for c in encoded.body["contents"]] == ["user", "model", "user"]
    assert paths(encoded) == ["messages[0]"]


def test_empty_parts_and_messages_are_left_out():
    assert contents(
        USER, Message("assistant", (Text(""),)), Message("user", (Text(""), Text("b")))
    ) == [{"role": "user", "parts": [{"text": "Hi"}, {"text": "b"}]}]


def test_system_text_from_everywhere_is_hoisted():
    encoded = encode(
        Message("developer", (Text("B"),)),
        USER,
        Message("system", (Text("C"),)),
        system=(Text("A"),),
    )
    assert encoded.body["systemInstruction"] == {"parts": [{"text": t} for t in "ABC"]}
    assert paths(encoded) == ["messages[2]"]


def test_an_image_in_the_system_text_is_refused():
    with pytest.raises(TranslationError) as caught:
        encode(system=(Media("image", "image/png", "AAAA"),))
    assert caught.value.param == "system[0]"


def test_a_call_and_its_result():
    result = ToolResult("toolu_1", (Text("fine"),))
    assert contents(USER, Message("assistant", (CALL,)), Message("tool", (result,))) == [
        {"role": "user", "parts": [{"text": "Hi"}]},
        {
            "role": "model",
            "parts": [{"functionCall": {"id": "toolu_1", "name": "f", "args": {"a": 1}}}],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "toolu_1", "name": "f", "response": {"output": "fine"}}}
            ],
        },
    ]


@pytest.mark.parametrize(
    ("result", "response"),
    [
        (ToolResult("toolu_1", (Text("a"), Text("b"))), {"output": "a\nb"}),
        (ToolResult("toolu_1", (Text('{"x": [1]}'),)), {"x": [1]}),
        (ToolResult("toolu_1", (Text("[1]"),)), {"output": "[1]"}),
        (ToolResult("toolu_1", (Text("{broken"),)), {"output": "{broken"}),
        (ToolResult("toolu_1", (Text("bad"),), is_error=True), {"error": "bad"}),
        (ToolResult("toolu_1", ()), {"output": ""}),
    ],
)
def test_forms_of_a_result(result, response):
    turns = contents(USER, Message("assistant", (CALL,)), Message("tool", (result,)))
    assert turns[2]["parts"][0]["functionResponse"]["response"] == response


def test_images_of_a_result_follow_the_results():
    results = (
        ToolResult("toolu_1", (Text("see"), Media("image", "image/png", "AAAA"))),
        ToolResult("toolu_2", (Text("b"),)),
    )
    calls = (CALL, ToolCall("toolu_2", "g", "{}"))
    encoded = encode(USER, Message("assistant", calls), Message("tool", results), USER)
    assert [next(iter(p)) for p in encoded.body["contents"][2]["parts"]] == [
        "functionResponse",
        "functionResponse",
        "inlineData",
        "text",
    ]
    assert paths(encoded) == ["messages[2].content[0].content[1]"]


def test_a_result_without_call_is_refused():
    with pytest.raises(TranslationError) as caught:
        encode(USER, Message("tool", (ToolResult("x", (Text("a"),)),)))
    assert caught.value.param == "messages[1].content[0]"


def test_a_result_may_bring_its_name():
    turns = contents(USER, Message("tool", (ToolResult("x", (Text("a"),), name="f"),)))
    assert turns[0]["parts"][1]["functionResponse"]["name"] == "f"


def test_servers_without_ids_get_results_in_the_order_of_the_calls():
    calls = (ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}"))
    results = (ToolResult("b", (Text("2"),)), ToolResult("a", (Text("1"),)))
    turns = contents(
        USER, Message("assistant", calls), Message("tool", results), to=target(official=False)
    )
    answers = [part["functionResponse"] for part in turns[2]["parts"]]
    assert answers == [
        {"name": "f", "response": {"output": "1"}},
        {"name": "f", "response": {"output": "2"}},
    ]


def test_arguments_that_are_no_object_are_kept_raw():
    encoded = encode(USER, Message("assistant", (ToolCall("a", "f", "[1"),)))
    assert encoded.body["contents"][1]["parts"][0]["functionCall"]["args"] == {"_raw": "[1"}
    assert paths(encoded) == ["messages[1].content[0].arguments"]


def test_signatures_go_to_their_issuer_only():
    google, other = Signature("google", "QUJD"), Signature("anthropic", "sig")
    encoded = encode(
        USER,
        Message(
            "assistant",
            (
                Reasoning("ours", signature=google),
                Reasoning("theirs", signature=other),
                Reasoning("unsigned"),
                Text("x", signature=google),
                ToolCall("a", "f", "{}", signature=other),
            ),
        ),
    )
    assert encoded.body["contents"][1]["parts"] == [
        {"text": "ours", "thought": True, "thoughtSignature": "QUJD"},
        {"text": "x", "thoughtSignature": "QUJD"},
        {"functionCall": {"id": "a", "name": "f", "args": {}}},
    ]
    assert paths(encoded) == [
        "messages[1].content[1]",
        "messages[1].content[2]",
        "messages[1].content[4].signature",
    ]


def test_gemini_3_gets_the_stand_in_on_the_first_unsigned_call_of_each_step():
    calls = (ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}"))
    results = tuple(ToolResult(c.id, (Text("1"),)) for c in calls)
    signed = ToolCall("c", "f", "{}", signature=Signature("google", "QUJD"))
    messages = (
        USER,
        Message("assistant", calls),
        Message("tool", results),
        Message("assistant", (signed,)),
    )
    for to in (target("gemini-3-flash-preview"), target("other", reasoning="level")):
        request = ChatRequest(to.profile.name, messages)
        turns = GEMINI.encode_request(request, to).body["contents"]
        assert [p.get("thoughtSignature") for p in turns[1]["parts"]] == [PLACEHOLDER, None]
        assert turns[3]["parts"][0]["thoughtSignature"] == "QUJD"
    assert base64.b64decode(PLACEHOLDER) == b"skip_thought_signature_validator"
    older = GEMINI.encode_request(ChatRequest("gemini-2.5-pro", messages), target("gemini-2.5-pro"))
    assert "thoughtSignature" not in older.body["contents"][1]["parts"][0]


@pytest.mark.parametrize(
    ("media", "body"),
    [
        (
            Media("image", "image/png", "AAAA"),
            {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        ),
        (
            Media("audio", "audio/wav", "AAAA"),
            {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
        ),
        (
            Media("document", text="Hi", name="a.txt"),
            {"inlineData": {"mimeType": "text/plain", "data": "SGk="}},
        ),
        (
            Media("document", None, "AAAA"),
            {"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}},
        ),
        (
            Media("video", url="https://youtu.be/abc"),
            {"fileData": {"fileUri": "https://youtu.be/abc"}},
        ),
        (
            Media("image", "image/png", url="gs://b/o.png"),
            {"fileData": {"mimeType": "image/png", "fileUri": "gs://b/o.png"}},
        ),
    ],
)
def test_media(media, body):
    assert contents(Message("user", (media,))) == [{"role": "user", "parts": [body]}]


@pytest.mark.parametrize(
    "media", [Media("image", url="https://example.com/a.png"), Media("document", file_id="file-1")]
)
def test_media_that_gemini_cannot_fetch_is_refused(media):
    with pytest.raises(TranslationError, match=r"does not fetch|stored") as caught:
        encode(USER, Message("user", (Text("x"), media)))
    assert caught.value.param == "messages[1].content[1]"
    assert "base64" in caught.value.hint


def test_blocks_of_other_dialects_are_refused():
    with pytest.raises(TranslationError):
        encode(Message("user", (Opaque("anthropic", {"type": "x"}),)))
    with pytest.raises(TranslationError):
        encode(USER, Message("assistant", (ToolCall("a", "f", "x", kind="custom"),)))
    with pytest.raises(TranslationError):
        encode(tools=(Tool("f", namespace="n"),))


def test_tool_schemas_are_cleaned_for_google():
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string", "pattern": "x"}},
        "$schema": "s",
    }
    encoded = encode(tools=(Tool("f", "F.", schema, strict=True), Tool("g")))
    assert encoded.body["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "f",
                    "description": "F.",
                    "parametersJsonSchema": {
                        "type": "object",
                        "properties": {"a": {"type": "string"}},
                    },
                },
                {"name": "g"},
            ]
        }
    ]
    assert paths(encoded) == ["tools[0].strict", "tools[0].schema.pattern"]


def test_other_servers_get_the_openapi_form():
    schema = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}}
    encoded = encode(
        tools=(Tool("f", None, schema), Tool("g", None, {})), to=target(official=False)
    )
    assert encoded.body["tools"][0]["functionDeclarations"] == [
        {
            "name": "f",
            "parameters": {
                "type": "OBJECT",
                "properties": {"a": {"type": "STRING", "nullable": True}},
            },
        },
        {"name": "g"},
    ]


def test_a_gemini_clients_schema_is_sent_as_it_was():
    request = GEMINI.decode_request(load("tools"), Peek("gemini-2.5-flash", False))
    for official in (True, False):
        assert (
            GEMINI.encode_request(request, target(official=official)).body["tools"]
            == (load("tools")["tools"])
        )


def test_server_tools_are_mapped_by_purpose():
    tools = (
        ServerTool(
            "anthropic", {"type": "web_search_20250305", "name": "web_search"}, "web_search"
        ),
        ServerTool(
            "openai_responses", {"type": "code_interpreter", "container": {}}, "code_execution"
        ),
        ServerTool("openai_responses", {"type": "image_generation"}),
    )
    encoded = encode(tools=tools)
    assert encoded.body["tools"] == [{"googleSearch": {}}, {"codeExecution": {}}]
    assert paths(encoded) == ["tools[1].options", "tools[2]"]


def test_server_tools_give_way_to_functions():
    tools = (ServerTool("openai_responses", {"type": "web_search"}, "web_search"), Tool("f"))
    encoded = encode(tools=tools)
    assert encoded.body["tools"] == [{"functionDeclarations": [{"name": "f"}]}]
    assert paths(encoded) == ["tools[0]"]


def test_a_demanded_server_tool_is_refused():
    tool = ServerTool("anthropic", {"type": "computer_20250124", "name": "computer"})
    with pytest.raises(TranslationError) as caught:
        encode(tools=(tool,), tool_choice=ToolChoice("required", ("computer",)))
    assert caught.value.param == "tools[0]"


@pytest.mark.parametrize(
    ("choice", "calling"),
    [
        (ToolChoice("auto"), {"mode": "AUTO"}),
        (ToolChoice("none"), {"mode": "NONE"}),
        (ToolChoice("required"), {"mode": "ANY"}),
        (ToolChoice("required", ("f",)), {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (ToolChoice("auto", ("f",)), {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}),
    ],
)
def test_tool_choice(choice, calling):
    body = encode(tools=(Tool("f"),), tool_choice=choice).body
    assert body["toolConfig"] == {"functionCallingConfig": calling}


def test_a_tool_choice_without_tools_is_dropped():
    encoded = encode(tool_choice=ToolChoice("required"))
    assert "toolConfig" not in encoded.body
    assert paths(encoded) == ["tool_choice"]


def test_knobs_without_counterpart_are_reported():
    encoded = encode(
        parallel_tools=False,
        verbosity="low",
        cache_key="k",
        user="u",
        metadata={"a": "b"},
        store=True,
        service_tier="scale",
        native=Native("openai_chat", {"logit_bias": {}, "modalities": []}),
    )
    assert set(encoded.body) == {"contents"}
    assert set(paths(encoded)) == {
        "parallel_tools",
        "verbosity",
        "cache_key",
        "user",
        "metadata",
        "store",
        "service_tier",
        "native.logit_bias",
        "native.modalities",
    }


def test_a_cache_mark_is_reported_once():
    mark = CacheMark()
    encoded = encode(Message("user", (Text("a", cache=mark), Text("b", cache=mark))))
    assert encoded.losses == (Loss("messages[0].content[0].cache", "Gemini caches by itself"),)


@pytest.mark.parametrize(
    ("tier", "sent"), [("default", "standard"), ("flex", "flex"), ("auto", None)]
)
def test_service_tiers(tier, sent):
    assert encode(service_tier=tier).body.get("serviceTier") == sent


def test_own_turns_that_stood_apart_stay_apart():
    body = load("multi_turn")
    request = GEMINI.decode_request(body, Peek("g", False))
    assert len(GEMINI.encode_request(request, target("g")).body["contents"]) == 4


def test_what_is_encoded_is_json():
    msgspec.json.encode(encode(USER, Message("assistant", (CALL,))).body)
