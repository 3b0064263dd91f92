import base64

import pytest

from app.canonical.parts import (
    Media,
    Native,
    Opaque,
    Reasoning,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)
from app.canonical.request import OutputFormat, ReasoningConfig, ServerTool, Tool, ToolChoice
from app.dialects.base import Peek
from app.dialects.carrier import seal
from app.dialects.gemini import GEMINI
from app.errors import RequestError
from tests.dialects.test_gemini import PEEK, load


def decode(**body):
    return GEMINI.decode_request({"contents": [], **body}, PEEK)


def parts_of(*parts, role="user"):
    request = decode(contents=[{"role": role, "parts": list(parts)}])
    return [part for message in request.messages for part in message.parts]


def test_snake_case_says_the_same_as_camel_case():
    snake = {
        "system_instruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {
                "role": "user",
                "parts": [{"inline_data": {"mime_type": "image/png", "data": "AAAA"}}],
            },
            {
                "role": "model",
                "parts": [
                    {
                        "function_call": {"name": "f", "args": {"a_b": 1}},
                        "thought_signature": "QUJD",
                    }
                ],
            },
            {
                "role": "user",
                "parts": [{"function_response": {"name": "f", "response": {"x_y": 2}}}],
            },
        ],
        "tools": [
            {
                "function_declarations": [
                    {"name": "f", "parameters_json_schema": {"type": "object"}}
                ]
            },
            {"google_search": {}},
        ],
        "tool_config": {
            "function_calling_config": {"mode": "ANY", "allowed_function_names": ["f"]}
        },
        "generation_config": {
            "max_output_tokens": 9,
            "top_p": 0.5,
            "top_k": 3,
            "stop_sequences": ["x"],
            "response_mime_type": "application/json",
            "response_schema": {"type": "STRING"},
            "thinking_config": {"thinking_budget": 5, "include_thoughts": True},
        },
        "safety_settings": [],
        "cached_content": "cachedContents/a",
    }
    camel = {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]},
            {
                "role": "model",
                "parts": [
                    {"functionCall": {"name": "f", "args": {"a_b": 1}}, "thoughtSignature": "QUJD"}
                ],
            },
            {
                "role": "user",
                "parts": [{"functionResponse": {"name": "f", "response": {"x_y": 2}}}],
            },
        ],
        "tools": [
            {"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object"}}]},
            {"googleSearch": {}},
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {
            "maxOutputTokens": 9,
            "topP": 0.5,
            "topK": 3,
            "stopSequences": ["x"],
            "responseMimeType": "application/json",
            "responseSchema": {"type": "STRING"},
            "thinkingConfig": {"thinkingBudget": 5, "includeThoughts": True},
        },
        "safetySettings": [],
        "cachedContent": "cachedContents/a",
    }
    assert GEMINI.decode_request(snake, PEEK) == GEMINI.decode_request(camel, PEEK)


def test_a_key_in_both_spellings_is_refused():
    with pytest.raises(RequestError, match="two spellings"):
        decode(generationConfig={"topP": 1, "top_p": 0.5})


@pytest.mark.parametrize(
    "value",
    [
        "Be brief.",
        {"text": "Be brief."},
        [{"text": "Be brief."}],
        ["Be brief."],
        {"parts": [{"text": "Be brief."}]},
        {"role": "user", "parts": [{"text": "Be brief."}]},
    ],
)
def test_a_system_instruction_may_have_any_form(value):
    assert decode(systemInstruction=value).system == (Text("Be brief."),)


def test_a_content_without_role_is_the_users():
    request = decode(contents=[{"parts": [{"text": "Hi"}]}])
    assert request.messages[0].role == "user"


def test_calls_without_id_are_numbered_and_results_find_them_by_name_in_order():
    request = GEMINI.decode_request(load("parallel_tools"), PEEK)
    calls = [p for m in request.messages for p in m.parts if isinstance(p, ToolCall)]
    results = [p for m in request.messages for p in m.parts if isinstance(p, ToolResult)]
    assert [call.id for call in calls] == ["call_g1", "call_g2", "call_g3"]
    assert [result.call_id for result in results] == ["call_g1", "call_g2", "call_g3"]
    assert [m.role for m in request.messages] == ["user", "assistant", "tool"]


def test_results_in_another_order_find_their_call():
    call = lambda name: {"functionCall": {"name": name, "args": {}}}  # noqa: E731
    answer = lambda name: {"functionResponse": {"name": name, "response": {}}}  # noqa: E731
    request = decode(
        contents=[
            {"role": "model", "parts": [call("a"), call("b")]},
            {"role": "user", "parts": [answer("b"), answer("a")]},
        ]
    )
    assert [p.call_id for p in request.messages[1].parts] == ["call_g2", "call_g1"]


def test_an_unanswered_call_of_an_earlier_step_takes_no_result():
    call = {"functionCall": {"name": "a", "args": {}}}
    other = {"functionCall": {"name": "b", "args": {}}}
    request = decode(
        contents=[
            {"role": "model", "parts": [call, other]},
            {"role": "user", "parts": [{"functionResponse": {"name": "b", "response": {}}}]},
            {"role": "model", "parts": [call]},
            {"role": "user", "parts": [{"functionResponse": {"name": "a", "response": {}}}]},
        ]
    )
    assert request.messages[3].parts[0].call_id == "call_g3"


def test_made_up_ids_avoid_the_clients_own():
    request = decode(
        contents=[
            {
                "role": "model",
                "parts": [
                    {"functionCall": {"name": "a"}},
                    {"functionCall": {"name": "a", "id": "call_g1"}},
                ],
            }
        ]
    )
    assert [p.id for p in request.messages[0].parts] == ["call_g1_2", "call_g1"]


@pytest.mark.parametrize(
    ("response", "text", "is_error"),
    [
        ({"output": "plain"}, "plain", False),
        ({"result": "plain"}, "plain", False),
        ({"content": "plain"}, "plain", False),
        ({"name": "f", "content": "plain"}, "plain", False),
        ({"error": "broken"}, "broken", True),
        ({"output": {"a": 1}}, '{"a":1}', False),
        ({"result": [1, "x"]}, '[1,"x"]', False),
        ({"temperature": 20, "unit": "C"}, '{"temperature":20,"unit":"C"}', False),
        ({"output": "x", "error": "y"}, '{"output":"x","error":"y"}', False),
    ],
)
def test_a_tools_words_come_out_of_their_wrapper(response, text, is_error):
    (result,) = parts_of({"functionResponse": {"name": "f", "response": response}})
    assert result.content == (Text(text),)
    assert result.is_error is is_error


def test_an_empty_result_is_empty():
    (result,) = parts_of({"functionResponse": {"name": "f"}})
    assert result.content == ()


def test_images_inside_a_result_are_content():
    request = GEMINI.decode_request(load("tool_results"), PEEK)
    result = request.messages[2].parts[2]
    assert result.content[0] == Text("taken")
    assert isinstance(result.content[1], Media)
    assert [m.role for m in request.messages[2:4]] == ["tool", "user"]


def test_media_kinds():
    kinds = {
        "image/png": "image",
        "audio/wav": "audio",
        "video/mp4": "video",
        "text/csv": "document",
    }
    for mime, kind in kinds.items():
        (part,) = parts_of({"inlineData": {"mimeType": mime, "data": "AAAA"}})
        assert (part.kind, part.media_type, part.data) == (kind, mime, "AAAA")


def test_url_safe_base64_is_turned_into_the_usual_alphabet():
    raw = bytes(range(240, 256))
    data = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    (part,) = parts_of({"inlineData": {"mimeType": "image/png", "data": data}})
    assert part.data == base64.b64encode(raw).decode()


def test_a_plain_text_document_is_read():
    data = base64.b64encode("Grüße".encode()).decode()
    (part,) = parts_of({"inlineData": {"mimeType": "text/plain", "data": data}})
    assert (part.kind, part.text, part.data) == ("document", "Grüße", None)
    (part,) = parts_of({"inlineData": {"mimeType": "text/plain", "data": "//8="}})
    assert (part.text, part.data) == (None, "//8=")


def test_a_thought_is_reasoning_with_its_signature():
    (part,) = parts_of({"text": "Hm.", "thought": True, "thoughtSignature": "QUJD"}, role="model")
    assert part == Reasoning("Hm.", summary=True, signature=Signature("google", "QUJD"))


@pytest.mark.parametrize(
    "word", ["skip_thought_signature_validator", "context_engineering_is_the_way_to_go"]
)
def test_the_documented_stand_ins_are_no_signature(word):
    for value in (word, base64.b64encode(word.encode()).decode()):
        (part,) = parts_of({"functionCall": {"name": "f"}, "thoughtSignature": value}, role="model")
        assert part.signature is None


def test_a_signature_sent_back_url_safe_is_restored():
    raw = bytes(range(200, 256))
    safe = base64.urlsafe_b64encode(raw).decode()
    (part,) = parts_of({"text": "x", "thoughtSignature": safe}, role="model")
    assert part.signature == Signature("google", base64.b64encode(raw).decode())


def test_a_sealed_signature_is_its_issuers():
    sealed = seal(Signature("anthropic", "sig"), gemini=True)
    (part,) = parts_of({"text": "Hm.", "thought": True, "thoughtSignature": sealed}, role="model")
    assert part == Reasoning("Hm.", signature=Signature("anthropic", "sig"))
    (part,) = parts_of({"text": "x", "thoughtSignature": sealed.rstrip("=")}, role="model")
    assert part.signature == Signature("anthropic", "sig")


def test_a_hidden_thought_comes_out_in_front_of_the_part_that_carried_it():
    sealed = seal(
        Signature("openai", "enc"), {"ahead": True, "id": "rs_1", "summary": True}, gemini=True
    )
    parts = parts_of({"functionCall": {"name": "f"}, "thoughtSignature": sealed}, role="model")
    assert parts[0] == Reasoning(summary=True, signature=Signature("openai", "enc"), id="rs_1")
    assert isinstance(parts[1], ToolCall)
    assert parts[1].signature is None


def test_the_streamed_pieces_of_a_sealed_thought_become_one_again():
    sealed = seal(Signature("anthropic", "sig"), gemini=True)
    pieces = [
        {"text": "First, ", "thought": True},
        {"text": "second.", "thought": True},
        {"text": "", "thought": True, "thoughtSignature": sealed},
        {"text": "Done."},
    ]
    whole = Reasoning("First, second.", signature=Signature("anthropic", "sig"))
    assert parts_of(*pieces, role="model") == [whole, Text("Done.")]
    apart = decode(contents=[{"role": "model", "parts": [piece]} for piece in pieces])
    assert [p for m in apart.messages for p in m.parts] == [whole, Text("Done.")]


def test_unknown_parts_are_opaque():
    for body in (
        {"executableCode": {"code": "1"}},
        {"toolCall": {}},
        {"text": "a", "toolCall": {}},
        {},
    ):
        assert parts_of(body) == [Opaque("gemini", body)]


def test_tools_and_their_schemas():
    request = decode(
        tools=[
            {
                "functionDeclarations": [
                    {"name": "a", "parameters": {"type": "OBJECT", "properties": {}}},
                    {"name": "b", "description": "B.", "parametersJsonSchema": {"type": "object"}},
                ],
                "codeExecution": {},
            },
            {"urlContext": {}},
            {"googleMaps": {}},
        ]
    )
    first, second, *rest = request.tools
    assert isinstance(first, Tool)
    assert first.schema == {"type": "object", "properties": {}}
    assert second == Tool("b", "B.", {"type": "object"})
    assert rest == [
        ServerTool("gemini", {"codeExecution": {}}, "code_execution"),
        ServerTool("gemini", {"urlContext": {}}, "url_context"),
        ServerTool("gemini", {"googleMaps": {}}, None),
    ]


@pytest.mark.parametrize(
    ("mode", "choice"),
    [
        ("AUTO", ToolChoice("auto")),
        ("ANY", ToolChoice("required")),
        ("NONE", ToolChoice("none")),
        ("any", ToolChoice("required")),
        ("VALIDATED", ToolChoice("auto", native=Native("gemini", {"mode": "VALIDATED"}))),
    ],
)
def test_tool_choice_modes(mode, choice):
    assert decode(toolConfig={"functionCallingConfig": {"mode": mode}}).tool_choice == choice


def thinking(**config):
    return decode(generationConfig={"thinkingConfig": config}).reasoning


def test_thinking():
    assert thinking(thinkingBudget=0) == ReasoningConfig("off", None, 0, visible=False)
    assert thinking(thinkingBudget=-1).budget_tokens == -1
    assert thinking(thinkingLevel="LOW", includeThoughts=True) == ReasoningConfig(
        "on", "low", visible=True
    )
    assert thinking(thinkingLevel="high").effort == "high"
    assert thinking(includeThoughts=False).visible is False


def test_output_formats():
    def output(**config):
        return decode(generationConfig=config).output

    schema = {"type": "object", "properties": {}}
    assert output(responseMimeType="text/plain") == OutputFormat("text")
    assert output(responseMimeType="application/json") == OutputFormat("json_object")
    assert output(responseMimeType="application/json", responseJsonSchema=schema) == OutputFormat(
        "json_schema", schema
    )
    assert output(responseSchema={"type": "STRING"}) == OutputFormat(
        "json_schema", {"type": "string"}
    )
    assert output(responseMimeType="text/x.enum", responseSchema={"type": "STRING"}) is None
    assert output(temperature=1) is None


def test_numbers_may_be_written_as_googles_parsers_take_them():
    request = decode(
        generationConfig={"maxOutputTokens": "100", "topK": 40.0, "temperature": "0.5"}
    )
    assert (request.max_tokens, request.top_k, request.temperature) == (100, 40, 0.5)


def test_private_fields_go_no_further():
    request = GEMINI.decode_request({"contents": [], "model": "x", "session_id": "s"}, PEEK)
    assert request.native == Native("gemini", {})


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"contents": "Hi"}, "contents", "must be a list, not a string"),
        ({"contents": [1]}, "contents[0]", "must be an object, not a number"),
        ({"contents": [{"role": "bot"}]}, "contents[0].role", "must be user or model"),
        ({"contents": [{"parts": {}}]}, "contents[0].parts", "must be a list, not an object"),
        ({"contents": [{"parts": [{"text": 1}]}]}, "contents[0].parts[0].text", "must be a string"),
        (
            {"contents": [{"parts": [{"functionCall": {}}]}]},
            "contents[0].parts[0].functionCall.name",
            "missing",
        ),
        (
            {"contents": [{"parts": [{"functionCall": {"name": "f", "args": []}}]}]},
            "contents[0].parts[0].functionCall.args",
            "must be an object, not a list",
        ),
        (
            {"contents": [{"parts": [{"functionResponse": {}}]}]},
            "contents[0].parts[0].functionResponse.name",
            "neither",
        ),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png"}}]}]},
            "contents[0].parts[0].inlineData.data",
            "missing",
        ),
        (
            {"contents": [{"parts": [{"fileData": {}}]}]},
            "contents[0].parts[0].fileData.fileUri",
            "missing",
        ),
        ({"tools": {}}, "tools", "must be a list"),
        (
            {"tools": [{"functionDeclarations": [{}]}]},
            "tools[0].functionDeclarations[0].name",
            "missing",
        ),
        (
            {"generationConfig": {"temperature": True}},
            "generationConfig.temperature",
            "not a boolean",
        ),
        ({"generationConfig": {"topK": 1.5}}, "generationConfig.topK", "whole number"),
        (
            {"generationConfig": {"stopSequences": [1]}},
            "generationConfig.stopSequences[0]",
            "string",
        ),
        ({"systemInstruction": 7}, "systemInstruction", "must be a content"),
    ],
)
def test_a_fault_names_its_place(body, param, words):
    with pytest.raises(RequestError, match=words.replace("[", r"\[")) as caught:
        GEMINI.decode_request(body, Peek("g", False))
    assert caught.value.param == param
