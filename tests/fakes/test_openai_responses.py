import httpx
import openai
import pytest

from tests.fakes.openai_responses import OpenAIResponses
from tests.fakes.service import KEY
from tests.fakes.upstream import Upstream

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}
SEALED = {"store": False, "include": ["reasoning.encrypted_content"]}
REASONING = {"reasoning": {"effort": "low", "summary": "auto"}}


def client(fake, key=KEY):
    return openai.AsyncOpenAI(api_key=key, base_url=f"{fake.url}/v1", max_retries=0)


def ask(given, **more):
    return {"model": "gpt-5", "input": given} | more


async def test_text_usage_and_stored_answers():
    text = "FAKE:text=hi there;usage=input:60,cached:40,output:20,reasoning:5;"
    async with Upstream(OpenAIResponses()) as fake, client(fake) as api:
        done = await api.responses.create(**ask(text))
        assert (done.output_text, done.status) == ("hi there", "completed")
        assert (done.usage.input_tokens, done.usage.output_tokens) == (100, 20)
        assert done.usage.input_tokens_details.cached_tokens == 40
        assert done.usage.output_tokens_details.reasoning_tokens == 5
        assert (await api.responses.retrieve(done.id)).output_text == "hi there"
        await api.responses.delete(done.id)
        with pytest.raises(openai.NotFoundError):
            await api.responses.retrieve(done.id)
        counted = await api.responses.input_tokens.count(model="gpt-5", input="hi")
        assert counted.input_tokens > 0


@pytest.mark.parametrize("chunks", ["whole", "one", "bytes", "random:4", "group"])
async def test_streams_equal_the_plain_form_however_they_are_cut(chunks):
    text = 'FAKE:think=Hm \u00fc;text=grüße\u2028🙂;tool=weather:{"city":"Köln"};tool=shell:"ls";'
    body = ask(text, tools=[TOOL, {"type": "custom", "name": "shell"}], **REASONING)
    async with Upstream(OpenAIResponses(), chunks=chunks) as fake, client(fake) as api:
        plain = await api.responses.create(**body)
        async with api.responses.stream(**body) as stream:
            events = [e async for e in stream]
            streamed = await stream.get_final_response()
        kinds = ["reasoning", "message", "function_call", "custom_tool_call"]
        for whole in (plain, streamed):
            assert [item.type for item in whole.output] == kinds
            assert whole.output[0].summary[0].text == "Hm \u00fc"
            assert whole.output_text == "grüße\u2028🙂"
            assert whole.output[2].arguments == '{"city":"Köln"}'
            assert whole.output[3].input == "ls"
        deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
        assert "".join(deltas) == streamed.output_text


async def test_the_wire_numbers_its_events_and_names_them():
    async with Upstream(OpenAIResponses()) as fake, httpx.AsyncClient() as http:
        headers = {"authorization": f"Bearer {KEY}"}
        url, body = f"{fake.url}/v1/responses", ask("hi", stream=True)
        lines = (await http.post(url, headers=headers, json=body)).text.split("\n")
        names = [line[7:] for line in lines if line.startswith("event: ")]
        data = [httpx.Response(200, text=li[6:]).json() for li in lines if li.startswith("data: ")]
        assert [d["type"] for d in data] == names
        assert [d["sequence_number"] for d in data] == list(range(len(data)))
        assert (names[0], names[-1]) == ("response.created", "response.completed")


@pytest.mark.parametrize("more", [SEALED, {}])
async def test_parallel_tools_with_reasoning_round_trip(more):
    text = 'FAKE:think=a;tool=weather:{"city":"A"};tool=weather:{"city":"B"};'
    body = ask([{"role": "user", "content": text}], tools=[TOOL], **REASONING, **more)
    async with Upstream(OpenAIResponses()) as fake, client(fake) as api:
        first = await api.responses.create(**body)
        outputs = [
            {"type": "function_call_output", "call_id": i.call_id, "output": i.name}
            for i in first.output
            if i.type == "function_call"
        ]
        history = [i.model_dump(exclude_none=True) for i in first.output]
        body["input"] = [*body["input"], *history, *outputs]
        again = await api.responses.create(**body)
        assert again.output_text == "The tool said: weather; weather"


async def test_a_stored_call_without_its_reasoning_is_refused():
    async with Upstream(OpenAIResponses()) as fake, client(fake) as api:
        first = await api.responses.create(**ask("Use the tool.", tools=[TOOL], **REASONING))
        call = first.output[1].model_dump(exclude_none=True)
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "x"}
        with pytest.raises(openai.BadRequestError, match="without its required 'reasoning' item"):
            await api.responses.create(**ask([call, output]))
        del call["id"]
        await api.responses.create(**ask([call, output]))


async def test_a_conversation_continues_from_its_stored_answer():
    async with Upstream(OpenAIResponses()) as fake, client(fake) as api:
        first = await api.responses.create(**ask("Use the tool.", tools=[TOOL]))
        output = {
            "type": "function_call_output",
            "call_id": first.output[-1].call_id,
            "output": "ok",
        }
        again = await api.responses.create(**ask([output], previous_response_id=first.id))
        assert again.output_text == "The tool said: ok"
        with pytest.raises(openai.BadRequestError) as caught:
            await api.responses.create(**ask("hi", previous_response_id="resp_no"))
        assert caught.value.code == "previous_response_not_found"


async def test_foreign_and_altered_reasoning_is_refused():
    async with Upstream(OpenAIResponses()) as fake, client(fake) as api:
        first = await api.responses.create(**ask("hi", **REASONING, **SEALED))
        thought, said = (i.model_dump(exclude_none=True) for i in first.output)
        more = {"role": "user", "content": "more"}
        await api.responses.create(**ask([thought, said, more], store=False))
        seal = thought["encrypted_content"]
        for wrong in ("gAAAAABforeign", seal[:-8] + "AAAAAAA="):
            altered = {**thought, "encrypted_content": wrong}
            with pytest.raises(openai.BadRequestError) as caught:
                await api.responses.create(**ask([altered, said, more]))
            assert caught.value.code == "invalid_encrypted_content"
        bare = {k: v for k, v in thought.items() if k != "encrypted_content"}
        with pytest.raises(openai.NotFoundError, match="Items are not persisted when"):
            await api.responses.create(**ask([bare, said, more]))


async def test_limits_schemas_images_and_stops_are_honoured():
    form = {"format": {"type": "json_schema", "name": "city", "schema": SCHEMA, "strict": True}}
    picture = {"type": "input_image", "image_url": "data:image/png;base64,aGVsbG8="}
    async with Upstream(OpenAIResponses()) as fake, client(fake) as api:
        cut = await api.responses.create(**ask("a " * 50, max_output_tokens=16))
        assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        assert (await api.responses.create(**ask("x", text=form))).output_text == (
            '{"city": "sample"}'
        )
        content = [picture, {"type": "input_text", "text": "look"}]
        seen = await api.responses.create(**ask([{"role": "user", "content": content}]))
        assert "1 image(s): image/png of 5 bytes" in seen.output_text
        refused = await api.responses.create(**ask("FAKE:stop=refusal;"))
        assert refused.output[0].content[0].type == "refusal"


@pytest.mark.parametrize(
    ("told", "error", "code"),
    [
        ("429:retry=7", openai.RateLimitError, "rate_limit_exceeded"),
        ("overloaded", openai.InternalServerError, "server_is_overloaded"),
        ("auth", openai.AuthenticationError, "invalid_api_key"),
        ("context", openai.BadRequestError, "context_length_exceeded"),
    ],
)
async def test_failures_are_the_sdks_own(told, error, code):
    async with Upstream(OpenAIResponses()) as fake, client(fake) as api:
        with pytest.raises(error) as caught:
            await api.responses.create(**ask(f"FAKE:error={told};"))
        assert caught.value.code == code


@pytest.mark.parametrize("chunks", ["whole", "random"])
@pytest.mark.parametrize(
    ("told", "last"),
    [
        ("midstream=overloaded:after=2", "error"),
        ("empty200error=server", "response.failed"),
    ],
)
async def test_errors_inside_a_stream_reach_the_sdk(told, last, chunks):
    async with Upstream(OpenAIResponses(), chunks=chunks) as fake, client(fake) as api:
        stream = await api.responses.create(**ask(f"FAKE:{told};"), stream=True)
        kinds = []
        try:
            async for event in stream:
                kinds += [event.type]
        except openai.APIError:
            kinds.append("error")
        assert kinds[-1] == last


async def test_websockets_are_declined_so_that_clients_use_http():
    async with Upstream(OpenAIResponses()) as fake, httpx.AsyncClient() as http:
        headers = {"authorization": f"Bearer {KEY}", "upgrade": "websocket"}
        assert (await http.get(f"{fake.url}/v1/responses", headers=headers)).status_code == 426


def _item(**item):
    return {"input": [item]}


_CALL = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}
_OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "x"}

WRONG = [
    ({"foo": 1}, "Unknown parameter: 'foo'.", "unknown_parameter"),
    ({"input": None}, "Invalid type for 'input'", "invalid_type"),
    (
        _item(role="user", content=[{"type": "text", "text": "x"}]),
        "Invalid value: 'text'. Supported values are: 'input_text', 'input_image'",
        "invalid_value",
    ),
    (
        _item(role="assistant", content=[{"type": "input_text", "text": "x"}]),
        "Supported values are: 'output_text' and 'refusal'.",
        "invalid_value",
    ),
    (_item(type="zz"), "Invalid value: 'zz'. Supported values are: 'message'", "invalid_value"),
    (_item(role="user", content="x", status=None), "'input[0].status'", "invalid_type"),
    (_item(role="user", content="x", id="x1"), "Expected an ID that begins with 'msg'.",
     "invalid_value"),
    (_item(**_CALL, id="call_1"), "Expected an ID that begins with 'fc'.", "invalid_value"),
    (_item(**_CALL), "No tool output found for function call c1.", None),
    (_item(**_OUTPUT), "No tool call found for function call output with call_id c1.", None),
    (_item(**{**_CALL, "call_id": "c" * 65}), "maximum length 64", "string_above_max_length"),
    ({"input": [_CALL, _CALL, _OUTPUT]}, "Duplicate call_id 'c1' in input.", None),
    ({"temperature": 0.5}, "'temperature' is not supported with", "unsupported_parameter"),
    ({"stop": ["a"]}, "Unknown parameter: 'stop'.", "unknown_parameter"),
    ({"max_output_tokens": 5}, "Expected a value >= 16, but got 5", "integer_below_min_value"),
    (
        {"tools": [{"type": "function", "function": {"name": "a"}}]},
        "Unknown parameter: 'tools[0].function'.",
        "unknown_parameter",
    ),
    (
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
        "Unknown parameter: 'tool_choice.function'.",
        "unknown_parameter",
    ),
    (
        {"tools": [{**TOOL, "parameters": {}}]},
        "schema must be a JSON Schema of 'type: \"object\"'",
        "invalid_function_parameters",
    ),
    (
        {"model": "gpt-4.1", "reasoning": {"effort": "low"}},
        "'reasoning.effort' is not supported with this model",
        "unsupported_parameter",
    ),
    ({"text": {"format": {"type": "json_object"}}}, "must contain the word 'json'", None),
    (
        _item(type="reasoning", id="rs_1", summary=[], encrypted_content=None),
        "Item with id 'rs_1' not found.",
        None,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words", "code"), WRONG)
async def test_wrong_requests_are_refused_with_the_services_words(change, words, code):
    async with Upstream(OpenAIResponses()) as fake, httpx.AsyncClient() as http:
        headers = {"authorization": f"Bearer {KEY}"}
        url = f"{fake.url}/v1/responses"
        reply = await http.post(url, headers=headers, json=ask("hi") | change)
        assert reply.status_code in (400, 404)
        assert words in reply.json()["error"]["message"]
        assert reply.json()["error"]["code"] == code
