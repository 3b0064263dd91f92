import base64

import httpx
import pytest
from google import genai
from google.genai import errors, types

from tests.fakes.gemini import Gemini
from tests.fakes.service import KEY
from tests.fakes.upstream import Upstream

SCHEMA = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}
TOOL = {"functionDeclarations": [{"name": "weather", "parameters": SCHEMA}]}
FLASH, THREE = "gemini-2.5-flash", "gemini-3-pro-preview"


class client:
    """The official client with its sockets closed at the end."""

    def __init__(self, fake, key=KEY):
        options = {"base_url": fake.url, "httpx_async_client": httpx.AsyncClient()}
        self.options = types.HttpOptions(**options)
        self.key = key

    async def __aenter__(self):
        self.api = genai.Client(api_key=self.key, http_options=self.options)
        return self.api.aio.models

    async def __aexit__(self, *_):
        await self.api.aio.aclose()
        self.api.close()
        await self.options.httpx_async_client.aclose()


def config(**settings):
    return types.GenerateContentConfig(automatic_function_calling={"disable": True}, **settings)


def post(http, fake, body, model=FLASH, verb="generateContent", version="v1beta", **headers):
    url = f"{fake.url}/{version}/models/{model}:{verb}"
    return http.post(url, headers={"x-goog-api-key": KEY} | headers, json=body)


def ask(text, **more):
    return {"contents": [{"role": "user", "parts": [{"text": text}]}]} | more


async def test_text_and_usage():
    text = "FAKE:text=hi there;usage=input:60,cached:40,output:20,reasoning:5;"
    async with Upstream(Gemini()) as fake, client(fake) as api:
        done = await api.generate_content(model=FLASH, contents=text)
        assert (done.text, done.candidates[0].finish_reason) == ("hi there", "STOP")
        usage = done.usage_metadata
        assert (usage.prompt_token_count, usage.cached_content_token_count) == (100, 40)
        assert (usage.candidates_token_count, usage.thoughts_token_count) == (15, 5)
        assert usage.total_token_count == 120
        assert (await api.count_tokens(model=FLASH, contents="hi")).total_tokens > 0
        assert (await api.get(model=FLASH)).name == f"models/{FLASH}"


@pytest.mark.parametrize("chunks", ["whole", "one", "bytes", "random:5", "group"])
async def test_streams_equal_the_plain_form_however_they_are_cut(chunks):
    text = 'FAKE:think=Hm \u00fc;text=grüße <b> & \u2028🙂;tool=weather:{"city":"Köln"};'
    settings = config(thinking_config={"include_thoughts": True}, tools=[_sdk_tool()])
    async with Upstream(Gemini(), chunks=chunks) as fake, client(fake) as api:
        plain = await api.generate_content(model=FLASH, contents=text, config=settings)
        parts = []
        stream = await api.generate_content_stream(model=FLASH, contents=text, config=settings)
        async for chunk in stream:
            parts += chunk.candidates[0].content.parts
            last = chunk
        assert last.candidates[0].finish_reason == "STOP"
        for some in (parts, plain.candidates[0].content.parts):
            assert "".join(p.text for p in some if p.thought) == "Hm \u00fc"
            said = "".join(p.text for p in some if p.text and not p.thought)
            assert said == "grüße <b> & \u2028🙂"
            assert [p.function_call.args for p in some if p.function_call] == [{"city": "Köln"}]
        assert last.usage_metadata == plain.usage_metadata


async def test_the_wire_escapes_what_google_escapes_and_has_two_streamed_forms():
    body = ask("FAKE:text=<\u2028>;")
    async with Upstream(Gemini()) as fake, httpx.AsyncClient() as http:
        events = await post(http, fake, body, verb="streamGenerateContent?alt=sse")
        assert all(escape in events.text for escape in ("\\u003c", "\\u2028", "\\u003e"))
        assert events.text.endswith("\r\n\r\n")
        array = await post(http, fake, body, verb="streamGenerateContent", version="v1")
        assert array.json()[-1]["candidates"][0]["finishReason"] == "STOP"


def _sdk_tool():
    return types.Tool(
        function_declarations=[
            types.FunctionDeclaration(
                name="weather",
                parameters_json_schema={
                    "type": "object",
                    "properties": {"city": {"type": "string"}},
                    "additionalProperties": False,
                },
            )
        ]
    )


async def test_parallel_tools_with_signatures_round_trip():
    text = 'FAKE:tool=weather:{"city":"A"};tool=weather:{"city":"B"};'
    settings = config(tools=[_sdk_tool()])
    async with Upstream(Gemini()) as fake, client(fake) as api:
        first = await api.generate_content(model=THREE, contents=text, config=settings)
        content = first.candidates[0].content
        assert [bool(p.thought_signature) for p in content.parts] == [True, False]
        results = [
            types.Part(
                function_response=types.FunctionResponse(
                    id=p.function_call.id,
                    name="weather",
                    response={"output": p.function_call.args["city"]},
                )
            )
            for p in content.parts
        ]
        user = types.Content(role="user", parts=[types.Part(text=text)])
        history = [user, content, types.Content(role="user", parts=results)]
        again = await api.generate_content(model=THREE, contents=history, config=settings)
        assert again.text == "The tool said: A; B"


async def test_limits_stops_schemas_and_images_are_honoured():
    async with Upstream(Gemini()) as fake, client(fake) as api:

        async def said(contents, **settings):
            done = await api.generate_content(
                model=FLASH, contents=contents, config=config(**settings)
            )
            return done.text, done.candidates[0].finish_reason

        assert await said("one two", max_output_tokens=3) == ("You said: one", "MAX_TOKENS")
        assert await said("a b c", stop_sequences=["b"]) == ("You said: a ", "STOP")
        output = {"response_mime_type": "application/json", "response_schema": SCHEMA}
        assert (await said("x", **output))[0] == '{"city": "sample"}'
        picture = types.Part.from_bytes(data=b"hello", mime_type="image/png")
        assert "1 image(s): image/png of 5 bytes" in (await said([picture, "look"]))[0]
        assert (await said("FAKE:stop=content_filter;"))[1] == "SAFETY"
        blocked = await api.generate_content(model=FLASH, contents="FAKE:stop=blocked;")
        assert (blocked.candidates, blocked.prompt_feedback.block_reason) == (
            None,
            "PROHIBITED_CONTENT",
        )


@pytest.mark.parametrize(
    ("told", "error", "code", "status"),
    [
        ("429:retry=7", errors.ClientError, 429, "RESOURCE_EXHAUSTED"),
        ("quota", errors.ClientError, 429, "RESOURCE_EXHAUSTED"),
        ("overloaded", errors.ServerError, 503, "UNAVAILABLE"),
        ("auth", errors.ClientError, 400, "INVALID_ARGUMENT"),
        ("permission", errors.ClientError, 403, "PERMISSION_DENIED"),
        ("500", errors.ServerError, 500, "INTERNAL"),
    ],
)
async def test_failures_are_the_sdks_own(told, error, code, status):
    async with Upstream(Gemini()) as fake, client(fake) as api:
        with pytest.raises(error) as caught:
            await api.generate_content(model=FLASH, contents=f"FAKE:error={told};")
        assert (caught.value.code, caught.value.status) == (code, status)
        if "retry" in told:
            assert '"retryDelay"' in str(caught.value.details).replace("'", '"')


async def test_keys_are_needed_and_checked():
    async with Upstream(Gemini()) as fake, httpx.AsyncClient() as http:
        assert (await post(http, fake, ask("hi"), **{"x-goog-api-key": ""})).status_code == 403
        wrong = await post(http, fake, ask("hi"), **{"x-goog-api-key": "wrong"})
        assert wrong.json()["error"]["details"][0]["reason"] == "API_KEY_INVALID"
        assert (await http.get(f"{fake.url}/v1beta/models?key={KEY}")).status_code == 200


async def test_both_spellings_of_a_field_are_taken_and_null_is_absence():
    body = ask("a b", generation_config={"max_output_tokens": "2", "topP": None})
    async with Upstream(Gemini()) as fake, httpx.AsyncClient() as http:
        done = (await post(http, fake, body)).json()
        assert done["candidates"][0]["finishReason"] == "MAX_TOKENS"


def _turns(*turns):
    contents = [{"role": "user", "parts": [{"text": "hi"}]}]
    return {"contents": [*contents, *({"role": r, "parts": list(p)} for r, *p in turns)]}


def _tool(**declaration):
    return {"tools": [{"functionDeclarations": [{"name": "a", **declaration}]}]}


def _config(**settings):
    return {"generationConfig": settings}


_CALL = {"functionCall": {"name": "weather", "args": {}}}
_RESULT = {"functionResponse": {"name": "weather", "response": {}}}
_FOREIGN = base64.b64encode(b"from elsewhere").decode()
_PLACEHOLDER = base64.b64encode(b"skip_thought_signature_validator").decode()

WRONG = [
    ({"foo": 1}, 'Unknown name "foo": Cannot find field.'),
    (
        {"contents": [{"role": "user", "parts": [{"text": "x", "foo": 1}]}]},
        "Invalid JSON payload received. Unknown name \"foo\" at 'contents[0].parts[0]': Cannot",
    ),
    (
        {"contents": [{"role": "user", "parts": [{"text": 5}]}]},
        "Invalid value at 'contents[0].parts[0].text' (TYPE_STRING), 5",
    ),
    ({"contents": []}, "GenerateContentRequest.contents: contents is not specified"),
    ({"contents": [{"role": "user", "parts": []}]}, "contents[0].parts: contents.parts must not"),
    ({"contents": [{"role": "user", "parts": [{}]}]}, "required oneof field 'data' must have one"),
    (_turns(("assistant", {"text": "x"})), "Please use a valid role: user, model."),
    (
        _turns(("model", _CALL), ("user", _RESULT, _RESULT)),
        "number of function response parts is equal to the number of function call parts",
    ),
    (
        _turns(("model", _CALL), ("user", {"text": "x"})),
        "number of function response parts is equal to the number of function call parts",
    ),
    (_turns(("user", _RESULT)), "function response turn comes immediately after a function call"),
    (
        _turns(("model", {"text": "x"}), ("model", _CALL), ("user", _RESULT)),
        "function call turn comes immediately after a user turn or after a function response",
    ),
    (
        _turns(("model", {"text": "x", "thoughtSignature": _FOREIGN})),
        "Corrupted thought signature.",
    ),
    (
        _turns(("model", {"text": "x", "thoughtSignature": "?"})),
        "(TYPE_BYTES), Base64 decoding failed for",
    ),
    (
        {**_turns(("model", _CALL), ("user", _RESULT)), "model": THREE},
        "Function call is missing a thought_signature in functionCall parts.",
    ),
    (
        _tool(parameters={**SCHEMA, "additionalProperties": False}),
        "Unknown name \"additionalProperties\" at 'tools[0].function_declarations[0].parameters'",
    ),
    (
        _tool(parameters={"type": ["OBJECT", "NULL"]}),
        "Unknown name \"type\" at 'tools[0].function_declarations[0].parameters': Proto field is",
    ),
    (_tool(parameters={"type": "thing"}), "(type.googleapis.com/google.ai.generativelanguage."),
    (
        _tool(parameters={"type": "OBJECT", "properties": {}}),
        "parameters.properties: should be non-empty for OBJECT type",
    ),
    (
        _tool(parameters={"type": "OBJECT", "properties": {"a": {"type": "ARRAY"}}}),
        "parameters.properties[a].items: missing field.",
    ),
    (
        _tool(parameters={**SCHEMA, "required": ["no"]}),
        "parameters.required[0]: property is not defined",
    ),
    (
        _tool(
            parameters={
                "type": "OBJECT",
                "properties": {"a": {"type": "STRING", "format": "uuid"}},
            }
        ),
        "only 'enum' and 'date-time' are supported for STRING type",
    ),
    (_tool(name="1a"), "Invalid function name. Must start with a letter or an underscore."),
    (_tool(parametersJsonSchema={"type": "STRING"}), "parameters_json_schema"),
    (
        {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
        "Function calling config is set without function_declarations.",
    ),
    (
        {"toolConfig": {"functionCallingConfig": {"mode": "SOME"}}},
        "Invalid value at 'tool_config.function_calling_config.mode' (type.googleapis.com",
    ),
    (_config(responseSchema=SCHEMA), "response mime type must be application/json"),
    (_config(responseMimeType="text/html"), "allowed mimetypes are `text/plain`"),
    (
        {**_config(responseMimeType="application/json"), **_tool(parameters=SCHEMA)},
        "Function calling with a response mime type: 'application/json' is unsupported",
    ),
    (_config(temperature=3), "temperature must be in the range [0.0, 2.0]."),
    (_config(thinkingConfig={"thinkingLevel": "LOW"}), "Thinking level is not supported"),
    (_config(thinkingConfig={"thinkingBudget": 90000}), "The thinking budget 90000 is invalid."),
]


@pytest.mark.parametrize(("change", "words"), WRONG)
async def test_wrong_requests_are_refused_with_the_services_words(change, words):
    async with Upstream(Gemini()) as fake, httpx.AsyncClient() as http:
        body = ask("hi") | change
        model = body.pop("model", FLASH)
        reply = await post(http, fake, body, model)
        error = reply.json()["error"]
        assert (reply.status_code, error["status"]) == (400, "INVALID_ARGUMENT")
        assert words in error["message"]


@pytest.mark.parametrize("placeholder", [_PLACEHOLDER, "skip_thought_signature_validator"])
async def test_the_documented_placeholder_stands_for_a_signature(placeholder):
    turns = ("model", {**_CALL, "thoughtSignature": placeholder}), ("user", _RESULT)
    async with Upstream(Gemini()) as fake, httpx.AsyncClient() as http:
        assert (await post(http, fake, _turns(*turns), THREE)).status_code == 200


async def test_unknown_models_are_not_found():
    async with Upstream(Gemini()) as fake, httpx.AsyncClient() as http:
        reply = await post(http, fake, ask("hi"), "gpt-4")
        assert reply.json()["error"]["status"] == "NOT_FOUND"
