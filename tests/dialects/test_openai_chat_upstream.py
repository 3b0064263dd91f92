import pytest

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
from app.canonical.profile import ModelProfile, Target
from app.canonical.request import (
    ChatRequest,
    Message,
    OutputFormat,
    ReasoningConfig,
    ServerTool,
    Tool,
    ToolChoice,
)
from app.dialects.openai_chat_upstream import encode_chat_request
from app.errors import TranslationError


def encode(request, official=True, issuer="openai", tells_usage=True, **profile):
    target = Target(ModelProfile("m", **profile), issuer, official, tells_usage)
    return encode_chat_request(request, target)


def ask(*messages, **fields):
    if not messages:
        messages = (Message("user", (Text("hi"),)),)
    return ChatRequest("m", tuple(messages), **fields)


def paths(encoded):
    return [loss.path for loss in encoded.losses]


F = Tool("f", "d", {"type": "object", "properties": {}})
G = Tool("g")
PNG = Media("image", "image/png", "iVBORw0K")


def test_system_parts_come_first_and_stay_apart():
    request = ask(system=(Text("a"), Text("b", CacheMark("1h"))))
    encoded = encode(request)
    assert encoded.body["messages"][0] == {
        "role": "system",
        "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
    }
    assert paths(encoded) == ["system[1].cache"]
    assert encode(request, official=False).body["messages"][0]["content"] == "a\n\nb"
    assert encode(request, developer_role=True).body["messages"][0]["role"] == "developer"


def test_developer_messages_become_system_where_the_role_is_unknown():
    request = ask(Message("developer", (Text("x"),)))
    assert encode(request).body["messages"][0]["role"] == "developer"
    assert encode(request, official=False).body["messages"][0]["role"] == "system"


def test_the_name_of_the_limit_follows_the_service():
    request = ask(max_tokens=100)
    assert encode(request).body["max_completion_tokens"] == 100
    assert encode(request, official=False).body["max_completion_tokens"] == 100
    assert encode(request, legacy_max_tokens=True).body["max_tokens"] == 100
    limited = encode(request, max_output=50)
    assert limited.body["max_completion_tokens"] == 50
    assert paths(limited) == ["max_tokens"]


def test_sampling_is_dropped_for_models_that_refuse_it():
    request = ask(temperature=0.5, top_p=0.5, frequency_penalty=1, presence_penalty=1, top_k=4)
    encoded = encode(request, sampling=False)
    assert not encoded.body.keys() & {
        "temperature",
        "top_p",
        "frequency_penalty",
        "presence_penalty",
    }
    assert paths(encoded) == [
        "temperature",
        "top_p",
        "frequency_penalty",
        "presence_penalty",
        "top_k",
    ]
    either = encode(request, temperature_or_top_p=True)
    assert "top_p" not in either.body
    assert either.body["temperature"] == 0.5


def test_stop_sequences_are_at_most_four():
    encoded = encode(ask(stop=("a", "b", "c", "d", "e")))
    assert encoded.body["stop"] == ["a", "b", "c", "d"]
    assert paths(encoded) == ["stop[4]"]
    assert "stop" not in encode(ask(stop=("a",)), stop=False).body


@pytest.mark.parametrize(
    ("config", "profile", "effort", "losses"),
    [
        (ReasoningConfig(effort="high"), {}, "high", []),
        (ReasoningConfig(budget_tokens=8192), {}, "medium", ["reasoning.budget_tokens"]),
        (ReasoningConfig("off"), {}, None, ["reasoning"]),
        (ReasoningConfig("off", "none"), {}, "none", []),
        (ReasoningConfig("off"), {"reasoning": "effort", "efforts": ("none", "low")}, "none", []),
        (ReasoningConfig("adaptive"), {}, None, []),
        (
            ReasoningConfig(effort="max"),
            {"reasoning": "effort", "efforts": ("low", "high")},
            "high",
            [],
        ),
        (ReasoningConfig(effort="low"), {"reasoning": "none"}, None, ["reasoning"]),
        (ReasoningConfig(effort="low", visible=True), {}, "low", ["reasoning.visible"]),
    ],
)
def test_reasoning_is_sent_as_effort(config, profile, effort, losses):
    encoded = encode(ask(reasoning=config), **profile)
    assert encoded.body.get("reasoning_effort") == effort
    assert paths(encoded) == losses


def test_schemas_are_always_those_of_objects():
    tools = (
        Tool("a"),
        Tool("b", schema={}),
        Tool("c", schema={"properties": {}}),
        Tool("d", schema={"$ref": "#/x"}),
    )
    sent = [t["function"]["parameters"] for t in encode(ask(tools=tools)).body["tools"]]
    empty = {"type": "object", "properties": {}}
    assert sent == [empty, empty, empty, {"$ref": "#/x"}]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (ToolChoice("auto"), "auto"),
        (ToolChoice("none"), "none"),
        (ToolChoice("required"), "required"),
        (ToolChoice("required", ("f",)), {"type": "function", "function": {"name": "f"}}),
        (
            ToolChoice("required", ("f", "g")),
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [
                        {"type": "function", "function": {"name": "f"}},
                        {"type": "function", "function": {"name": "g"}},
                    ],
                },
            },
        ),
    ],
)
def test_tool_choice_keeps_its_meaning(choice, expected):
    assert encode(ask(tools=(F, G), tool_choice=choice)).body["tool_choice"] == expected


def test_compatible_servers_are_given_only_the_allowed_tools():
    body = encode(ask(tools=(F, G), tool_choice=ToolChoice("auto", ("g",))), official=False).body
    assert [tool["function"]["name"] for tool in body["tools"]] == ["g"]
    assert body["tool_choice"] == "auto"


def test_tool_choice_without_tools_is_dropped():
    encoded = encode(ask(tool_choice=ToolChoice("required"), parallel_tools=False))
    assert not encoded.body.keys() & {"tool_choice", "tools", "parallel_tool_calls"}
    assert paths(encoded) == ["parallel_tools", "tool_choice"]


def test_tools_of_other_services_are_dropped_unless_chosen():
    search = ServerTool(
        "anthropic", {"type": "web_search_20250305", "name": "web_search"}, "web_search"
    )
    encoded = encode(ask(tools=(search, F)))
    assert [t["function"]["name"] for t in encoded.body["tools"]] == ["f"]
    assert paths(encoded) == ["tools[0]"]
    with pytest.raises(TranslationError) as caught:
        encode(ask(tools=(search,), tool_choice=ToolChoice("required", ("web_search",))))
    assert caught.value.param == "tool_choice"
    searching = ChatRequest("gpt-5-search-api", ask().messages, tools=(search,))
    assert encode(searching).body["web_search_options"] == {}


def test_namespaces_are_refused():
    with pytest.raises(TranslationError):
        encode(ask(tools=(Tool("a", namespace="n"),)))


def test_flat_grammars_are_nested():
    tool = Tool(
        "p", kind="custom", grammar={"type": "grammar", "syntax": "lark", "definition": "x"}
    )
    sent = encode(ask(tools=(tool,), tool_choice=ToolChoice("required", ("p",)))).body
    assert sent["tools"][0]["custom"]["format"] == {
        "type": "grammar",
        "grammar": {"syntax": "lark", "definition": "x"},
    }
    assert sent["tool_choice"] == {"type": "custom", "custom": {"name": "p"}}


def history(*results):
    calls = (ToolCall("call_1", "f", ""), ToolCall("call_2", "g", "{}"))
    return (
        Message("user", (Text("go"),)),
        Message("assistant", calls),
        Message("tool", results),
        Message("user", (Text("next"),)),
    )


def test_images_in_results_follow_them_in_a_user_message():
    results = (
        ToolResult("call_1", (Text("see"), PNG)),
        ToolResult("call_2", (Text("a"), Text("b")), is_error=True),
    )
    encoded = encode(ask(*history(*results)))
    roles = [message["role"] for message in encoded.body["messages"]]
    assert roles == ["user", "assistant", "tool", "tool", "user", "user"]
    assert encoded.body["messages"][1]["tool_calls"][0]["function"]["arguments"] == "{}"
    assert encoded.body["messages"][1]["content"] is None
    assert encoded.body["messages"][2]["content"] == "see"
    assert encoded.body["messages"][4]["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0K"}}
    ]
    assert paths(encoded) == [
        "messages[2].content[0].content[1]",
        "messages[2].content[1].is_error",
    ]


def test_images_of_the_last_results_are_not_forgotten():
    encoded = encode(ask(*history(ToolResult("call_1", (PNG,)))[:3]))
    assert encoded.body["messages"][-1]["role"] == "user"
    assert encoded.body["messages"][-2]["content"] == ""


def test_call_and_result_ids_are_fitted_alike():
    long = "toolu_" + "x" * 60
    body = encode(
        ask(
            Message("assistant", (ToolCall(long, "f", "{}"),)),
            Message("tool", (ToolResult(long, ()),)),
        )
    ).body
    sent = body["messages"][0]["tool_calls"][0]["id"]
    assert len(sent) <= 40
    assert body["messages"][1]["tool_call_id"] == sent


def test_calls_without_ids_get_different_ones():
    calls = (ToolCall("", "f", "{}"), ToolCall("", "f", "{}"))
    sent = encode(ask(Message("assistant", calls))).body["messages"][0]["tool_calls"]
    assert sent[0]["id"] != sent[1]["id"]


def test_thought_goes_back_only_where_it_is_known():
    own = Reasoning("hm", native=Native("openai_chat", {"$form": ["reasoning_content"]}))
    foreign = Reasoning("hm", signature=Signature("anthropic", "s"))
    request = ask(
        Message("assistant", (own, Text("x"))), Message("assistant", (foreign, Text("y")))
    )
    official = encode(request)
    assert all("reasoning_content" not in message for message in official.body["messages"])
    assert paths(official) == ["messages[0].content[0]", "messages[1].content[0]"]
    other = encode(request, official=False, issuer="deepseek")
    assert [m.get("reasoning_content") for m in other.body["messages"]] == ["hm", None]
    assert paths(other) == ["messages[1].content[0]"]


def test_details_return_to_their_issuer_only():
    items = '[{"type":"reasoning.encrypted","data":"abc"}]'
    request = ask(
        Message("assistant", (Reasoning("hm", signature=Signature("openrouter", items)), Text("x")))
    )
    message = encode(request, official=False, issuer="openrouter").body["messages"][0]
    assert message["reasoning_details"] == [{"type": "reasoning.encrypted", "data": "abc"}]
    assert message["reasoning"] == "hm"
    assert (
        "reasoning_details" not in encode(request, official=False, issuer="x").body["messages"][0]
    )


def test_call_signatures_go_to_their_issuer_only():
    call = ToolCall("call_1", "f", "{}", signature=Signature("google", "sig"))
    request = ask(Message("assistant", (call,)))
    sent = encode(request, official=False, issuer="google").body["messages"][0]["tool_calls"][0]
    assert sent["extra_content"] == {"google": {"thought_signature": "sig"}}
    other = encode(request)
    assert "extra_content" not in other.body["messages"][0]["tool_calls"][0]
    assert paths(other) == ["messages[0].content[0].signature"]


@pytest.mark.parametrize(
    "part",
    [
        Opaque("anthropic", {"type": "x"}),
        Media("document", url="https://example.com/a.pdf"),
        Media("document", file_id="file_anthropic"),
        Media("video", "video/mp4", "AAAA"),
        Media("audio", "audio/ogg", "AAAA"),
        Media("audio", url="https://example.com/a.wav"),
        Media("image", file_id="file_1"),
        Media("image", url="gs://bucket/a.png"),
        ToolCall("c", "f", "{}"),
        Reasoning("x"),
    ],
)
def test_content_that_cannot_be_said_is_refused_with_its_place(part):
    with pytest.raises(TranslationError) as caught:
        encode(ask(Message("user", (Text("a"), part))))
    assert caught.value.param == "messages[0].content[1]"


def test_compatible_servers_take_more_media():
    parts = (
        Media("document", url="https://example.com/a.pdf"),
        Media("video", "video/mp4", "AAAA"),
        Media("audio", "audio/ogg", "AAAA"),
    )
    content = encode(ask(Message("user", parts)), official=False).body["messages"][0]["content"]
    assert [item["type"] for item in content] == ["file", "video_url", "input_audio"]


def test_text_documents_are_sent_as_text():
    part = Media("document", "text/plain", text="body", name="a.txt")
    encoded = encode(ask(Message("user", (part,))))
    assert encoded.body["messages"][0]["content"] == "a.txt\n\nbody"
    assert paths(encoded) == ["messages[0].content[0]"]


def test_file_data_has_a_name():
    part = Media("document", "application/pdf", "JVBERi0x")
    file = encode(ask(Message("user", (part,)))).body["messages"][0]["content"][0]["file"]
    assert file == {"file_data": "data:application/pdf;base64,JVBERi0x", "filename": "document.pdf"}


def test_media_of_the_assistant_is_refused():
    with pytest.raises(TranslationError):
        encode(ask(Message("assistant", (PNG,))))


def test_text_after_a_call_is_moved_and_said():
    encoded = encode(ask(Message("assistant", (Text("a"), ToolCall("c", "f", "{}"), Text("b")))))
    assert encoded.body["messages"][0]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
    ]
    assert paths(encoded) == ["messages[0].content[2]"]
    joined = encode(
        ask(Message("assistant", (Text("a"), Text("b"), Refusal("no")))), official=False
    )
    assert joined.body["messages"][0]["content"] == "ab"
    assert joined.body["messages"][0]["refusal"] == "no"


def test_what_only_the_owner_knows_stays_away_from_other_servers():
    request = ask(
        user="u",
        cache_key="k",
        service_tier="standard_only",
        metadata={"a": "b"},
        store=False,
        verbosity="low",
        logprobs=True,
        top_logprobs=1,
    )
    official = encode(request)
    assert official.body["prompt_cache_key"] == "k"
    assert official.body["store"] is False
    assert paths(official) == ["logprobs", "top_logprobs", "service_tier", "metadata", "user"]
    other = encode(request, official=False)
    assert other.body.keys() == {"model", "messages"}


def test_a_schema_keeps_its_name_or_gets_one():
    output = OutputFormat("json_schema", {"type": "object"}, None, True, "d")
    assert encode(ask(output=output)).body["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "response",
            "description": "d",
            "schema": {"type": "object"},
            "strict": True,
        },
    }


def test_fields_of_another_dialect_are_lost_one_by_one():
    encoded = encode(ask(native=Native("anthropic", {"container": "c", "mcp_servers": []})))
    assert paths(encoded) == ["native.container", "native.mcp_servers"]


@pytest.mark.parametrize("shown", [True, False])
def test_streams_tell_their_use_whether_the_client_asks_or_not(shown):
    asked = encode(ask(stream=True, include_usage=shown)).body
    assert asked["stream_options"] == {"include_usage": True}


def test_servers_that_refuse_to_tell_the_use_of_a_stream_are_not_asked():
    assert "stream_options" not in encode(ask(stream=True), tells_usage=False).body
