import copy

import anthropic
import httpx
import pytest

from tests.fakes.anthropic import Anthropic
from tests.fakes.service import KEY
from tests.fakes.upstream import Upstream

MODEL = "claude-haiku-4-5"
TOOL = {
    "name": "weather",
    "description": "Tell the weather.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}},
        "required": ["city"],
    },
}
THINK = {"type": "enabled", "budget_tokens": 1024}


def client(fake, key=KEY):
    return anthropic.AsyncAnthropic(api_key=key, base_url=fake.url, max_retries=0)


def ask(text, **more):
    body = {"model": MODEL, "max_tokens": 2000, "messages": [{"role": "user", "content": text}]}
    return body | more


async def test_text_is_echoed_and_recorded():
    async with Upstream(Anthropic()) as fake, client(fake) as api:
        message = await api.messages.create(**ask("héllo"))
        assert message.content[0].text == "You said: héllo"
        assert message.stop_reason == "end_turn"
        assert message.usage.output_tokens == 3
        assert fake.requests[0].path == "/v1/messages"
        assert fake.requests[0].json["messages"][0]["content"] == "héllo"
        assert fake.connections == 1


@pytest.mark.parametrize("chunks", ["whole", "one", "bytes", "random:1", "random:2", "group"])
async def test_streams_equal_the_plain_form_however_they_are_cut(chunks):
    directive = 'FAKE:think=Hm \u00fc;text=grüße\u2028 🙂 viele;tool=weather:{"city":"Köln"};'
    body = ask(directive, tools=[TOOL], thinking=THINK)
    async with Upstream(Anthropic()) as fake, client(fake) as api:
        plain = await api.messages.create(**body)
    async with (
        Upstream(Anthropic(), chunks=chunks) as fake,
        client(fake) as api,
        api.messages.stream(**body) as stream,
    ):
        streamed = await stream.get_final_message()
    kinds = [b.type for b in streamed.content]
    assert kinds == ["thinking", "text", "tool_use"]
    for one, two in zip(plain.content, streamed.content, strict=True):
        for key in ("thinking", "text", "input", "name"):
            assert getattr(one, key, None) == getattr(two, key, None)
    assert streamed.content[1].text == "grüße\u2028 🙂 viele"
    assert plain.usage.output_tokens == streamed.usage.output_tokens
    assert streamed.stop_reason == "tool_use"


async def test_parallel_tools_with_thinking_round_trip():
    body = ask(
        'FAKE:think=a thought;tool=weather:{"city":"A"};tool=weather:{"city":"B"};',
        tools=[TOOL],
        thinking=THINK,
    )
    async with Upstream(Anthropic()) as fake, client(fake) as api:
        first = await api.messages.create(**body)
        calls = [b for b in first.content if b.type == "tool_use"]
        assert [c.input for c in calls] == [{"city": "A"}, {"city": "B"}]
        results = [
            {"type": "tool_result", "tool_use_id": c.id, "content": c.input["city"] + " is sunny"}
            for c in calls
        ]
        history = [
            *body["messages"],
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": results},
        ]
        second = await api.messages.create(**{**body, "messages": history})
        assert second.content[-1].text == "The tool said: A is sunny; B is sunny"


async def test_a_tool_is_used_when_the_text_says_so():
    async with Upstream(Anthropic()) as fake, client(fake) as api:
        message = await api.messages.create(**ask("Please use the tool.", tools=[TOOL]))
        assert message.content[0].input == {"city": "sample", "days": 2}
        forced = {"type": "tool", "name": "weather"}
        message = await api.messages.create(**ask("hi", tools=[TOOL], tool_choice=forced))
        assert message.content[0].name == "weather"


async def test_limits_stops_schemas_and_images_are_honoured():
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    image = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="},
    }
    async with Upstream(Anthropic()) as fake, client(fake) as api:
        message = await api.messages.create(**ask("one two three four") | {"max_tokens": 3})
        assert (message.content[0].text, message.stop_reason) == ("You said: one", "max_tokens")
        message = await api.messages.create(**ask("one two three", stop_sequences=["two"]))
        assert (message.content[0].text, message.stop_sequence) == ("You said: one ", "two")
        output = {"format": {"type": "json_schema", "schema": schema}}
        message = await api.messages.create(**ask("x", output_config=output))
        assert message.content[0].text == '{"n": 7}'
        content = [image, {"type": "text", "text": "look"}]
        message = await api.messages.create(**ask(content))
        assert "1 image(s): image/png of 5 bytes" in message.content[0].text


async def test_usage_stop_and_deltas_follow_directives():
    text = "FAKE:usage=input:100,cached:40,write:10,output:20,reasoning:5;n=50;stop=refusal;"
    async with Upstream(Anthropic()) as fake, client(fake) as api:
        async with api.messages.stream(**ask(text)) as stream:
            events = [e async for e in stream]
            message = await stream.get_final_message()
        assert sum(e.type == "content_block_delta" for e in events) == 50
        usage = message.usage
        assert (usage.input_tokens, usage.cache_read_input_tokens) == (100, 40)
        assert (usage.cache_creation_input_tokens, usage.output_tokens) == (10, 20)
        assert message.stop_reason == "refusal"


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ("429:retry=7", anthropic.RateLimitError),
        ("quota", anthropic.RateLimitError),
        ("overloaded", anthropic.OverloadedError),
        ("auth", anthropic.AuthenticationError),
        ("permission", anthropic.PermissionDeniedError),
        ("not_found", anthropic.NotFoundError),
        ("context", anthropic.BadRequestError),
        ("too_large", anthropic.RequestTooLargeError),
        ("500", anthropic.InternalServerError),
    ],
)
async def test_failures_are_the_sdks_own(told, error):
    async with Upstream(Anthropic()) as fake, client(fake) as api:
        with pytest.raises(error) as caught:
            await api.messages.create(**ask(f"FAKE:error={told};"))
        assert caught.value.request_id.startswith("req_")
        if "retry" in told:
            assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("told", ["midstream=overloaded:after=4", "empty200error=overloaded"])
async def test_errors_inside_a_stream_reach_the_sdk(told):
    async with Upstream(Anthropic()) as fake, client(fake) as api:
        with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
            async with api.messages.stream(**ask(f"FAKE:{told};text=hello;")) as stream:
                await stream.get_final_message()


async def test_a_wrong_key_and_a_missing_version_are_refused():
    async with Upstream(Anthropic()) as fake, client(fake, "wrong") as api:
        with pytest.raises(anthropic.AuthenticationError):
            await api.messages.create(**ask("hi"))
        with pytest.raises(anthropic.AuthenticationError):
            await api.models.list()
    async with Upstream(Anthropic()) as fake, httpx.AsyncClient() as http:
        reply = await http.post(f"{fake.url}/v1/messages", headers={"x-api-key": KEY}, json={})
        assert reply.json()["error"]["message"] == "anthropic-version: header is required"


async def test_models_and_counts():
    async with Upstream(Anthropic()) as fake, client(fake) as api:
        assert (await api.models.list()).data[0].id.startswith("claude-")
        counted = await api.messages.count_tokens(model=MODEL, messages=ask("hi")["messages"])
        assert counted.input_tokens > 0


def _user(*blocks):
    return {"role": "user", "content": list(blocks)}


def _model(*blocks):
    return {"role": "assistant", "content": list(blocks)}


_TEXT = {"type": "text", "text": "hi"}
_USE = {"type": "tool_use", "id": "t1", "name": "weather", "input": {}}
_RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "x"}
_THOUGHT = {"type": "thinking", "thinking": "x", "signature": "bm9uZQ=="}
_OPEN = {"type": "object", "properties": {}}

WRONG = [
    ({"foo": 1}, "foo: Extra inputs are not permitted"),
    ({"max_tokens": None}, "max_tokens: Input should be a valid integer"),
    ({"messages": []}, "messages: at least one message is required"),
    ({"messages": [_user({**_TEXT, "foo": 1})]}, "messages.0.content.0.text.foo: Extra inputs"),
    ({"messages": [_user({"type": "zz"})]}, "messages.0.content.0: Input tag 'zz' found using"),
    ({"messages": [{"role": "user", "content": ""}]}, "text content blocks must be non-empty"),
    ({"messages": [_user({"type": "text", "text": " \n"})]}, "must contain non-whitespace text"),
    ({"messages": [_user()]}, "messages.0: all messages must have non-empty content"),
    ({"messages": [_model(_TEXT)]}, 'first message must use the "user" role'),
    (
        {"messages": [_user(_TEXT), _model({"type": "text", "text": "a "})]},
        "final assistant content cannot end with trailing whitespace",
    ),
    (
        {"messages": [_user(_TEXT), {"role": "system", "content": "x"}]},
        "role 'system' is not supported on this model",
    ),
    (
        {"messages": [_user(_TEXT), _model(_USE)]},
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t1.",
    ),
    (
        {"messages": [_user(_TEXT), _model(_USE), _user(_TEXT, _RESULT)]},
        "messages.1: `tool_use` ids were found without `tool_result` blocks",
    ),
    (
        {"messages": [_user(_TEXT), _model(_USE), _user(_RESULT, _RESULT)]},
        "each tool_use must have a single result. Found multiple",
    ),
    (
        {"messages": [_user(_RESULT)]},
        "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: t1.",
    ),
    (
        {"messages": [_user(_TEXT), _model(_USE, _USE), _user(_RESULT)]},
        "`tool_use` ids must be unique",
    ),
    (
        {"messages": [_user(_TEXT), _model({**_USE, "id": "a.b"}), _user(_RESULT)]},
        "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'",
    ),
    (
        {"messages": [_user(_TEXT), _model(_THOUGHT, _TEXT), _user(_TEXT)]},
        "messages.1.content.0: Invalid `signature` in `thinking` block",
    ),
    (
        {"messages": [_user(_TEXT), _model(_USE), _user(_RESULT)], "thinking": THINK},
        "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found",
    ),
    ({"messages": [_user(_USE)]}, "`tool_use` blocks can only be in `assistant` messages"),
    ({"tools": [{**TOOL, "name": "a b"}]}, "tools.0.custom.name: String should match pattern"),
    ({"tools": [TOOL, TOOL]}, "tools: Tool names must be unique."),
    ({"tools": [{"name": "a", "input_schema": {}}]}, "tools.0.custom.input_schema.type: Field req"),
    (
        {"tools": [{"name": "a", "input_schema": {**_OPEN, "properties": {"a": {"type": "X"}}}}]},
        "JSON schema is invalid",
    ),
    ({"tools": [{"name": "a", "parameters": _OPEN}]}, "tools.0.custom"),
    ({"tool_choice": {"type": "any"}}, "tool_choice may only be specified while providing tools"),
    ({"tool_choice": "auto", "tools": [TOOL]}, "tool_choice: Input should be a valid dictionary"),
    (
        {"tool_choice": {"type": "tool", "name": "no"}, "tools": [TOOL]},
        "Tool 'no' not found in provided tools",
    ),
    ({"temperature": 2}, "temperature: range: 0..1"),
    ({"temperature": 0.5, "top_p": 0.5}, "`temperature` and `top_p` cannot both be specified"),
    ({"thinking": {"type": "enabled", "budget_tokens": 10}}, "greater than or equal to 1024"),
    ({"thinking": THINK, "max_tokens": 1024}, "`max_tokens` must be greater than `thinking."),
    ({"thinking": THINK, "temperature": 0.5}, "`temperature` may only be set to 1 when thinking"),
    ({"thinking": THINK, "top_k": 5}, "`top_k` must be unset when thinking is enabled"),
    (
        {"thinking": THINK, "tools": [TOOL], "tool_choice": {"type": "any"}},
        "Thinking may not be enabled when tool_choice forces tool use.",
    ),
    ({"thinking": {"type": "adaptive"}}, "adaptive thinking is not supported on this model"),
    ({"thinking": THINK, "model": "claude-opus-4-7"}, '"thinking.type.enabled" is not supported'),
    ({"temperature": 0.5, "model": "claude-opus-4-7"}, "`temperature` is deprecated for this"),
    (
        {"model": "claude-opus-4-6", "messages": [_user(_TEXT), _model(_TEXT)]},
        "This model does not support assistant message prefill.",
    ),
    (
        {"messages": [_user(*[{**_TEXT, "cache_control": {"type": "ephemeral"}}] * 5)]},
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    (
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        "'additionalProperties' must be explicitly set to false",
    ),
]


@pytest.mark.parametrize(("change", "words"), WRONG, ids=lambda v: v[:40] if type(v) is str else "")
async def test_wrong_requests_are_refused_with_the_services_words(change, words):
    async with Upstream(Anthropic()) as fake, httpx.AsyncClient() as http:
        headers = {"authorization": f"Bearer {KEY}", "anthropic-version": "2026-10-21"}
        body = copy.deepcopy(ask("hi") | change)
        reply = await http.post(f"{fake.url}/v1/messages?beta=true", headers=headers, json=body)
        assert reply.status_code == 400
        assert reply.json()["type"] == "error"
        assert reply.json()["error"]["type"] == "invalid_request_error"
        assert words in reply.json()["error"]["message"]


async def test_an_altered_thought_is_refused_and_an_own_one_taken():
    async with Upstream(Anthropic()) as fake, client(fake) as api:
        body = ask("hi", thinking=THINK)
        thought, text = (await api.messages.create(**body)).content
        history = [*body["messages"], _model(thought, text), _user(_TEXT)]
        await api.messages.create(**{**body, "messages": history})
        ended = [*body["messages"], _model(thought, text)]
        with pytest.raises(anthropic.BadRequestError, match="When thinking is disabled"):
            await api.messages.create(**ask("hi", messages=ended))
        history[1] = _model({**thought.model_dump(), "thinking": "changed"}, text)
        with pytest.raises(anthropic.BadRequestError, match="Invalid `signature` in `thinking`"):
            await api.messages.create(**{**body, "messages": history})
