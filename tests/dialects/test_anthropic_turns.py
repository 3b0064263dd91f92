"""Messages for Anthropic: order, ids, thought, media."""

import base64

import pytest

from app.canonical.parts import (
    Media,
    Opaque,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)
from app.canonical.request import Message
from app.errors import TranslationError
from tests.dialects.test_anthropic_request import (
    assistant,
    encode,
    loss_paths,
    request,
    results,
    user,
)


def test_neighbours_of_one_role_are_merged():
    encoded = encode(request(user("a"), user("b"), assistant("c"), assistant("d"), user("e")))
    assert [m["role"] for m in encoded.body["messages"]] == ["user", "assistant", "user"]
    assert encoded.body["messages"][0]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
    ]


def test_tool_results_come_first_in_their_message():
    call = ToolCall("c1", "f", "{}")
    encoded = encode(
        request(user("a"), assistant(call), user("by the way"), results(ToolResult("c1", ())))
    )
    last = encoded.body["messages"][-1]
    assert [block["type"] for block in last["content"]] == ["tool_result", "text"]


@pytest.mark.parametrize("start", [(), (Message("assistant", (Text("hello"),)),)])
def test_a_conversation_must_begin_with_the_user(start):
    encoded = encode(request(*start))
    assert encoded.body["messages"][0] == {"role": "user", "content": "."}
    assert loss_paths(encoded) == ["messages[0]"]


def test_white_space_after_a_prefill_is_cut():
    encoded = encode(request(user("a"), assistant("The answer is  \n")))
    assert encoded.body["messages"][1]["content"] == "The answer is"
    assert loss_paths(encoded) == ["messages[-1]"]


def test_blank_texts_are_left_out():
    encoded = encode(
        request(user("a", ""), assistant("", ToolCall("c", "f", "{}")), user("\n", "b"))
    )
    assert encoded.body["messages"][0]["content"] == "a"
    assert [b["type"] for b in encoded.body["messages"][1]["content"]] == ["tool_use"]
    assert encoded.body["messages"][2]["content"] == "b"
    assert loss_paths(encoded) == ["messages[2].content[0]"]


def test_a_refusal_in_the_history_becomes_text():
    encoded = encode(request(user("a"), assistant(Refusal("I won't.")), user("b")))
    assert encoded.body["messages"][1]["content"] == "I won't."


def test_ids_are_fitted_and_twins_told_apart():
    call = ToolCall("call.with dots", "f", "{}")
    encoded = encode(
        request(
            user("a"),
            assistant(call, ToolCall("same", "f", "{}"), ToolCall("same", "g", "{}")),
            results(
                ToolResult("call.with dots", (Text("0"),)),
                ToolResult("same", (Text("1"),)),
                ToolResult("same", (Text("2"),)),
            ),
            assistant(ToolCall("same", "f", "{}")),
            results(ToolResult("same", (Text("3"),))),
        )
    ).body["messages"]
    calls = [b["id"] for m in encoded if m["role"] == "assistant" for b in m["content"]]
    answers = [
        b["tool_use_id"]
        for m in encoded
        if m["role"] == "user"
        for b in m["content"][:]
        if isinstance(b, dict)
    ]
    assert len(set(calls)) == 4
    assert calls == answers
    assert calls[0].startswith("toolu_")


def test_calls_without_ids_meet_their_results_by_name_and_order():
    encoded = encode(
        request(
            user("a"),
            assistant(ToolCall("", "f", "{}"), ToolCall("", "g", "{}"), ToolCall("", "f", "{}")),
            results(
                ToolResult("", (Text("g"),), name="g"),
                ToolResult("", (Text("f1"),), name="f"),
                ToolResult("", (Text("f2"),), name="f"),
            ),
        )
    ).body["messages"]
    first, second, third = (block["id"] for block in encoded[1]["content"])
    assert [block["tool_use_id"] for block in encoded[2]["content"]] == [second, first, third]


@pytest.mark.parametrize("arguments", ["not json", "[1]", '{"a":'])
def test_arguments_that_are_no_object_travel_as_text(arguments):
    encoded = encode(request(user("a"), assistant(ToolCall("c", "f", arguments))))
    assert encoded.body["messages"][1]["content"][0]["input"] == {"_raw": arguments}
    assert "messages[1].content[0].arguments" in loss_paths(encoded)


def test_results_keep_strings_images_and_errors():
    encoded = encode(
        request(
            user("a"),
            assistant(ToolCall("c", "f", ""), ToolCall("d", "f", ""), ToolCall("e", "f", "")),
            results(
                ToolResult("c", (Text('{"quoted": "json"}'),)),
                ToolResult("d", (Text("see"), Media("image", "image/png", data="iVBOR"))),
                ToolResult("e", (), is_error=True),
            ),
        )
    )
    plain, rich, failed = encoded.body["messages"][2]["content"]
    assert plain["content"] == '{"quoted": "json"}'
    assert [block["type"] for block in rich["content"]] == ["text", "image"]
    assert failed["is_error"] is True
    assert failed["content"]


def test_thought_of_others_is_dropped_and_own_thought_kept():
    own = Reasoning("mine", signature=Signature("anthropic", "sig"))
    foreign = Reasoning("theirs", signature=Signature("openai", "enc"))
    nobody = Reasoning("unsigned")
    hidden = Reasoning(redacted=True, signature=Signature("anthropic", "data"))
    encoded = encode(request(user("a"), assistant(own, foreign, nobody, hidden, "b"), user("c")))
    assert encoded.body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "mine", "signature": "sig"},
        {"type": "redacted_thinking", "data": "data"},
        {"type": "text", "text": "b"},
    ]
    assert loss_paths(encoded) == ["messages[1].content[1]", "messages[1].content[2]"]


def media_source(part, **facts):
    return encode(request(user(part, "x")), **facts).body["messages"][0]["content"][0]["source"]


def test_media_sources():
    text = base64.b64encode("grün".encode()).decode()
    assert media_source(Media("image", "image/jpg", data="/9j/"))["media_type"] == "image/jpeg"
    assert media_source(Media("image", data="R0lGOD"))["media_type"] == "image/gif"
    assert media_source(Media("image", url="https://e.org/a.png")) == {
        "type": "url",
        "url": "https://e.org/a.png",
    }
    assert media_source(Media("document", "application/pdf", data="JVBERi0"))["type"] == "base64"
    assert media_source(Media("document", "text/markdown", data=text))["data"] == "grün"
    assert media_source(Media("document", text="hi"))["data"] == "hi"


@pytest.mark.parametrize(
    "part",
    [
        Media("audio", "audio/wav", data="UklGR"),
        Media("video", url="https://e.org/a.mp4"),
        Media("image", "image/bmp", data="Qk0="),
        Media("image", url="gs://bucket/a.png"),
        Media("image", file_id="file-1"),
        Media("document", "application/zip", data="UEs="),
        Media("document", "text/plain", data="!"),
        Opaque("gemini", {"executableCode": {}}),
        ToolCall("c", "f", "x", kind="custom"),
        ToolCall("c", "f", "{}", namespace="n"),
        ToolCall("c", "no spaces", "{}"),
    ],
)
def test_what_cannot_be_said_names_its_place(part):
    with pytest.raises(TranslationError) as caught:
        encode(request(user("a"), user("b", part)))
    assert caught.value.param == "messages[1].content[1]"


@pytest.mark.parametrize(
    "content", [Opaque("gemini", {"x": 1}), Reasoning("t"), Media("audio", "audio/wav", data="U")]
)
def test_results_that_cannot_be_said_name_their_place(content):
    with pytest.raises(TranslationError) as caught:
        encode(request(user("a"), results(ToolResult("c", (content,)))))
    assert caught.value.param == "messages[1].content[0].content[0]"


def test_small_knobs_of_foreign_parts_are_losses():
    encoded = encode(
        request(
            user(Media("image", data="/9j/", detail="high"), "x"),
            assistant(ToolCall("c", "f", "{}", signature=Signature("google", "s"))),
            results(ToolResult("other", (Text(" "), Text("kept")))),
        )
    )
    assert loss_paths(encoded) == [
        "messages[0].content[0].detail",
        "messages[1].content[0].signature",
        "messages[2].content[0].content[0]",
    ]
    assert encoded.body["messages"][2]["content"][0]["tool_use_id"] == "other"
