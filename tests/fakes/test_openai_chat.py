import httpx
import openai
import pytest

from tests.fakes.openai_chat import OpenAIChat
from tests.fakes.service import KEY
from tests.fakes.upstream import Upstream

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA, "strict": True}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}


def client(fake, key=KEY):
    return openai.AsyncOpenAI(api_key=key, base_url=f"{fake.url}/v1", max_retries=0)


def ask(text, **more):
    return {"model": "gpt-4.1", "messages": [{"role": "user", "content": text}]} | more


async def test_text_usage_and_choices():
    text = "FAKE:text=hi there;usage=input:60,cached:40,write:3,output:20,reasoning:5;"
    async with Upstream(OpenAIChat()) as fake, client(fake) as api:
        done = await api.chat.completions.create(**ask(text, n=2))
        assert [c.message.content for c in done.choices] == ["hi there"] * 2
        assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (103, 20)
        assert done.usage.prompt_tokens_details.cached_tokens == 40
        assert done.usage.completion_tokens_details.reasoning_tokens == 5
        assert fake.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("chunks", ["whole", "one", "bytes", "random:3", "group"])
async def test_streams_equal_the_plain_form_however_they_are_cut(chunks):
    body = ask('FAKE:text=grüße\u2028🙂;tool=weather:{"city":"Köln"};tool=weather:{"city":"x"};')
    body["tools"] = [TOOL]
    async with Upstream(OpenAIChat(), chunks=chunks) as fake, client(fake) as api:
        plain = (await api.chat.completions.create(**body)).choices[0]
        options = {"include_usage": True}
        async with api.chat.completions.stream(**body, stream_options=options) as stream:
            events = [e async for e in stream]
            done = await stream.get_final_completion()
        streamed = done.choices[0]
        assert streamed.message.content == plain.message.content == "grüße\u2028🙂"
        arguments = ['{"city":"Köln"}', '{"city":"x"}']
        for choice in (plain, streamed):
            assert [c.function.arguments for c in choice.message.tool_calls] == arguments
            assert choice.finish_reason == "tool_calls"
        ids = [c.id for c in streamed.message.tool_calls]
        assert len(set(ids)) == 2
        assert done.usage.total_tokens > 0
        last = [e.chunk for e in events if e.type == "chunk"][-1]
        assert last.choices == []


async def test_tools_round_trip_including_custom_tools():
    custom = {"type": "custom", "custom": {"name": "shell"}}
    body = ask("Use the tool.", tools=[custom, TOOL])
    async with Upstream(OpenAIChat()) as fake, client(fake) as api:
        message = (await api.chat.completions.create(**body)).choices[0].message
        call = message.tool_calls[0]
        assert (call.custom.name, call.custom.input) == ("shell", "sample input")
        body["messages"] += [
            message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "done"},
        ]
        again = await api.chat.completions.create(**body)
        assert again.choices[0].message.content == "The tool said: done"


async def test_limits_stops_schemas_and_images_are_honoured():
    form = {
        "type": "json_schema",
        "json_schema": {"name": "city", "schema": SCHEMA, "strict": True},
    }
    async with Upstream(OpenAIChat()) as fake, client(fake) as api:

        async def choice(*args, **more):
            return (await api.chat.completions.create(**ask(*args, **more))).choices[0]

        cut = await choice("one two three", max_tokens=3)
        assert (cut.message.content, cut.finish_reason) == ("You said: one", "length")
        assert (await choice("a b c", stop="b")).message.content == "You said: a "
        assert (await choice("x", response_format=form)).message.content == '{"city": "sample"}'
        seen = await choice([PICTURE, {"type": "text", "text": "look"}])
        assert "1 image(s): image/png of 5 bytes" in seen.message.content
        refused = await choice("FAKE:stop=refusal;")
        assert (refused.message.refusal, refused.message.content) != (None, "")
        assert (await choice("FAKE:stop=content_filter;")).finish_reason == "content_filter"


@pytest.mark.parametrize(
    ("told", "error", "code"),
    [
        ("429:retry=7", openai.RateLimitError, "rate_limit_exceeded"),
        ("quota", openai.RateLimitError, "insufficient_quota"),
        ("overloaded", openai.InternalServerError, "server_is_overloaded"),
        ("auth", openai.AuthenticationError, "invalid_api_key"),
        ("403", openai.PermissionDeniedError, "unsupported_country_region_territory"),
        ("not_found", openai.NotFoundError, "model_not_found"),
        ("context", openai.BadRequestError, "context_length_exceeded"),
    ],
)
async def test_failures_are_the_sdks_own(told, error, code):
    async with Upstream(OpenAIChat()) as fake, client(fake) as api:
        with pytest.raises(error) as caught:
            await api.chat.completions.create(**ask(f"FAKE:error={told};"))
        assert caught.value.code == code
        if "retry" in told:
            assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("told", ["midstream=server:after=2;text=a b c d", "empty200error=server"])
async def test_errors_inside_a_stream_reach_the_sdk(told):
    async with Upstream(OpenAIChat()) as fake, client(fake) as api:
        stream = await api.chat.completions.create(**ask(f"FAKE:{told};"), stream=True)
        with pytest.raises(openai.APIError, match="The server had an error"):
            async for _ in stream:
                pass


async def test_embeddings_images_and_models():
    async with Upstream(OpenAIChat()) as fake, client(fake) as api:
        made = await api.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
        assert [len(e.embedding) for e in made.data] == [8, 8]
        drawn = await api.images.generate(model="gpt-image-1", prompt="a cat")
        assert drawn.data[0].b64_json.startswith("iVBOR")
        assert "gpt-5" in [m.id for m in (await api.models.list()).data]
    async with Upstream(OpenAIChat()) as fake, client(fake, "wrong") as api:
        with pytest.raises(openai.AuthenticationError):
            await api.models.list()


def _call(name="weather", call_id="c1"):
    function = {"name": name, "arguments": "{}"}
    return {"id": call_id, "type": "function", "function": function}


def _history(*messages):
    return {"messages": [{"role": "user", "content": "hi"}, *messages]}


def _tool(**function):
    return {"tools": [{"type": "function", "function": {"name": "a", **function}}]}


def _part(**part):
    return {"messages": [{"role": "user", "content": [part]}]}


_RESULT = {"role": "tool", "tool_call_id": "c1", "content": "x"}
_CALLS = {"role": "assistant", "content": None, "tool_calls": [_call()]}

WRONG = [
    ({"foo": 1}, "Unknown parameter: 'foo'.", "foo", "unknown_parameter"),
    (
        _part(type="text", text="a", cache_control={}),
        "Unknown parameter: 'messages[0].content[0].cache_control'.",
        "messages[0].content[0].cache_control",
        "unknown_parameter",
    ),
    ({"tools": None}, "Invalid type for 'tools'", "tools", "invalid_type"),
    ({"tools": []}, "Invalid 'tools': empty array.", "tools", "empty_array"),
    ({"messages": []}, "Invalid 'messages': empty array.", "messages", "empty_array"),
    (
        {"messages": [{"role": "bot", "content": "x"}]},
        "Invalid value: 'bot'. Supported values are: 'developer',",
        "messages[0].role",
        "invalid_value",
    ),
    (
        {"messages": [{"role": "user"}]},
        "Missing required parameter: 'messages[0].content'.",
        "messages[0].content",
        "missing_required_parameter",
    ),
    (_history(_RESULT), "must be a response to a preceeding message", "messages.[1].role", None),
    (
        _history(_CALLS),
        "The following tool_call_ids did not have response messages: c1",
        "messages",
        None,
    ),
    (
        _history(_CALLS, {"role": "user", "content": "x"}, _RESULT),
        "An assistant message with 'tool_calls' must be followed by tool messages",
        "messages",
        None,
    ),
    (
        _history(_CALLS, {**_RESULT, "tool_call_id": "c2"}),
        "'tool_call_id' of 'c2' not found in 'tool_calls' of previous message.",
        "messages.[1].tool_call_id".replace("1", "2"),
        None,
    ),
    (
        _history({**_CALLS, "tool_calls": [_call(call_id="c" * 41)]}),
        "string too long. Expected a string with maximum length 40, but got",
        "messages[1].tool_calls[0].id",
        "string_above_max_length",
    ),
    (
        _history({"role": "assistant", "content": None}),
        "Invalid value for 'content': expected a string, got null.",
        "messages.[1].content",
        None,
    ),
    (
        _tool(name="a b"),
        "string does not match pattern.",
        "tools[0].function.name",
        "invalid_value",
    ),
    (
        _tool(parameters={}),
        "Invalid schema for function 'a': schema must be a JSON Schema of 'type: \"object\"', got",
        "tools[0].function.parameters",
        "invalid_function_parameters",
    ),
    (
        _tool(parameters={"type": "object", "properties": {}}, strict=True),
        "In context=(), 'additionalProperties' is required to be supplied and to be false.",
        "tools[0].function.parameters",
        "invalid_function_parameters",
    ),
    (
        _tool(parameters={"type": "object", "properties": {"a": {"type": "STRING"}}}),
        "'STRING' is not valid under any of the given schemas",
        "tools[0].function.parameters",
        "invalid_function_parameters",
    ),
    (
        {"tool_choice": "auto"},
        "'tool_choice' is only allowed when 'tools' are specified.",
        "tool_choice",
        None,
    ),
    (
        {"tools": [TOOL], "tool_choice": {"type": "function", "name": "weather"}},
        "Unknown parameter: 'tool_choice.name'.",
        "tool_choice.name",
        "unknown_parameter",
    ),
    (
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "no"}}},
        "tool 'no' not found in 'tools'.",
        "tool_choice",
        None,
    ),
    (
        {"model": "gpt-5", "temperature": 0.2},
        "'temperature' does not support 0.2 with this model. Only the default (1) value",
        "temperature",
        "unsupported_value",
    ),
    ({"model": "o4-mini", "stop": ["a"]}, "'stop' is not sup", "stop", "unsupported_parameter"),
    (
        {"model": "gpt-5", "max_tokens": 5},
        "Use 'max_completion_tokens' instead.",
        "max_tokens",
        "unsupported_parameter",
    ),
    (
        {"reasoning_effort": "low"},
        "Unrecognized request argument supplied: reasoning_effort",
        None,
        None,
    ),
    ({"temperature": 3}, "Expected a value <= 2", "temperature", "integer_above_max_value"),
    (
        {"stream_options": {"include_usage": True}},
        "only allowed when 'stream' is enabled",
        "stream_options",
        None,
    ),
    (
        {"response_format": {"type": "json_object"}},
        "must contain the word 'json' in some form",
        "messages",
        None,
    ),
    (
        _part(type="image_url", image_url={"url": "data:image/png;base64,!!"}),
        "Invalid base64 image_url.",
        "messages[0].content[0].image_url.url",
        "invalid_base64",
    ),
]


@pytest.mark.parametrize(("change", "words", "param", "code"), WRONG)
async def test_wrong_requests_are_refused_with_the_services_words(change, words, param, code):
    async with Upstream(OpenAIChat()) as fake, httpx.AsyncClient() as http:
        headers = {"authorization": f"Bearer {KEY}"}
        url = f"{fake.url}/v1/chat/completions"
        reply = await http.post(url, headers=headers, json=ask("hi") | change)
        assert reply.status_code == 400
        error = reply.json()["error"]
        assert words in error["message"]
        assert (error["type"], error["param"], error["code"]) == (
            "invalid_request_error",
            param,
            code,
        )


async def test_unknown_models_are_not_found():
    async with Upstream(OpenAIChat()) as fake, client(fake) as api:
        with pytest.raises(openai.NotFoundError, match="The model `claude-x` does not exist"):
            await api.chat.completions.create(**ask("hi", model="claude-x"))
