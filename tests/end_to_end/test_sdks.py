"""The official Python SDKs over every upstream dialect, through real sockets."""

import base64
import contextlib
import json

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from tests.end_to_end.running import PUBLIC

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVR4nGNQaPiAFTEMLQkA3wJkAdYSfq8AAAAASUVORK5CYII="
"""A PNG of 8 by 8 pixels, base64."""
UNICODE = "naïve 日本 🙂 \u2028 </script> line"


def directive(**pairs):
    return "FAKE:" + "".join(f"{key}={value};" for key, value in pairs.items())


class Chat:
    """OpenAI Chat; each client class answers in the same small vocabulary."""

    def __init__(self, address, model):
        self.sdk = openai.OpenAI(base_url=f"{address}/v1", api_key="x", max_retries=0)
        self.model = model

    def ask(self, messages, stream=False, tools=(), **options):
        arguments = {"model": self.model, "messages": messages, **options}
        if tools:
            arguments["tools"] = [
                {"type": "function", "function": {"name": name, "parameters": SCHEMA}}
                for name in tools
            ]
        if stream:
            with self.sdk.chat.completions.stream(
                **arguments, stream_options={"include_usage": True}
            ) as running:
                for _ in running:
                    pass
                return running.get_final_completion()
        return self.sdk.chat.completions.create(**arguments)

    def text(self, prompt, stream=False, **options):
        mapped = dict(options)
        if "max_tokens" in mapped:
            mapped["max_completion_tokens"] = mapped.pop("max_tokens")
        answer = self.ask([{"role": "user", "content": prompt}], stream, **mapped)
        return answer.choices[0].message.content

    def stop(self, prompt, stream=False, **options):
        if "max_tokens" in options:
            options["max_completion_tokens"] = options.pop("max_tokens")
        messages = [{"role": "user", "content": prompt}]
        if stream:  # the stream helper raises when the limit is reached
            chunks = self.sdk.chat.completions.create(
                model=self.model, messages=messages, stream=True, **options
            )
            with chunks:
                (reason,) = [
                    c.choices[0].finish_reason
                    for c in chunks
                    if c.choices and c.choices[0].finish_reason
                ]
        else:
            reason = self.ask(messages, **options).choices[0].finish_reason
        return {"stop": "end", "length": "max_tokens", "content_filter": "filter"}[reason]

    def usage(self, prompt, stream=False):
        used = self.ask([{"role": "user", "content": prompt}], stream).usage
        return used.prompt_tokens, used.prompt_tokens_details.cached_tokens, used.completion_tokens

    def tool_turn(self, prompt, tools, results, stream=False):
        messages = [{"role": "user", "content": prompt}]
        first = self.ask(messages, stream, tools)
        message = first.choices[0].message
        assert first.choices[0].finish_reason == "tool_calls"
        calls = [(c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls]
        messages.append(message.model_dump(exclude_none=True, exclude={"parsed"}))
        for call, result in zip(message.tool_calls, results, strict=True):
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        for call in messages[1].get("tool_calls", ()):
            call["function"].pop("parsed_arguments", None)
            call.pop("index", None)  # left over from the stream by the SDK
        second = self.ask(messages, stream, tools)
        return calls, second.choices[0].message.content

    def image(self, stream=False):
        content = [
            {"type": "text", "text": "What is it?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}},
        ]
        return self.ask([{"role": "user", "content": content}], stream).choices[0].message.content

    def structured(self, prompt):
        form = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
        return self.text(prompt, response_format=form)

    def system(self, text, prompt):
        messages = [{"role": "system", "content": text}, {"role": "user", "content": prompt}]
        return self.ask(messages).choices[0].message.content

    def deltas(self, prompt):
        stream = self.sdk.chat.completions.create(
            model=self.model, messages=[{"role": "user", "content": prompt}], stream=True
        )
        with stream:
            return [c.choices[0].delta.content for c in stream if c.choices[0].delta.content]

    failed = (openai.APIStatusError, openai.APIError)


class Responses(Chat):
    def ask(self, messages, stream=False, tools=(), **options):
        arguments = {"model": self.model, "input": messages, "store": False, **options}
        if tools:
            arguments["tools"] = [
                {"type": "function", "name": name, "parameters": SCHEMA, "strict": True}
                for name in tools
            ]
        arguments["include"] = ["reasoning.encrypted_content"]
        if stream:
            with self.sdk.responses.stream(**arguments) as running:
                for _ in running:
                    pass
                return running.get_final_response()
        return self.sdk.responses.create(**arguments)

    def text(self, prompt, stream=False, **options):
        if "max_tokens" in options:
            options["max_output_tokens"] = options.pop("max_tokens")
        return self.ask([{"role": "user", "content": prompt}], stream, **options).output_text

    def stop(self, prompt, stream=False, **options):
        if "max_tokens" in options:
            options["max_output_tokens"] = options.pop("max_tokens")
        if stream:  # the stream helper knows only completed answers
            events = self.sdk.responses.create(
                model=self.model, input=prompt, stream=True, **options
            )
            with events:
                answer = list(events)[-1].response
        else:
            answer = self.ask([{"role": "user", "content": prompt}], **options)
        if answer.status == "completed":
            return "end"
        reason = answer.incomplete_details.reason
        return {"max_output_tokens": "max_tokens", "content_filter": "filter"}[reason]

    def usage(self, prompt, stream=False):
        used = self.ask([{"role": "user", "content": prompt}], stream).usage
        return used.input_tokens, used.input_tokens_details.cached_tokens, used.output_tokens

    def tool_turn(self, prompt, tools, results, stream=False):
        items = [{"role": "user", "content": prompt}]
        first = self.ask(items, stream, tools)
        made = [item for item in first.output if item.type == "function_call"]
        calls = [(c.name, json.loads(c.arguments)) for c in made]
        items += [
            item.model_dump(exclude_none=True, exclude={"parsed_arguments"})
            for item in first.output
        ]
        for call, result in zip(made, results, strict=True):
            items.append(
                {"type": "function_call_output", "call_id": call.call_id, "output": result}
            )
        return calls, self.ask(items, stream, tools).output_text

    def image(self, stream=False):
        content = [
            {"type": "input_text", "text": "What is it?"},
            {"type": "input_image", "image_url": f"data:image/png;base64,{IMAGE}"},
        ]
        return self.ask([{"role": "user", "content": content}], stream).output_text

    def structured(self, prompt):
        form = {"type": "json_schema", "name": "place", "schema": SCHEMA, "strict": True}
        return self.text(prompt, text={"format": form})

    def system(self, text, prompt):
        return self.ask([{"role": "user", "content": prompt}], instructions=text).output_text

    def deltas(self, prompt):
        stream = self.sdk.responses.create(model=self.model, input=prompt, stream=True)
        with stream:
            events = list(stream)
        if events[-1].type != "response.completed":
            raise RuntimeError(events[-1])
        return [event.delta for event in events if event.type == "response.output_text.delta"]


class Messages:
    failed = (anthropic.APIStatusError, anthropic.APIError)

    def __init__(self, address, model):
        self.sdk = anthropic.Anthropic(base_url=address, api_key="x", max_retries=0)
        self.model = model

    def ask(self, messages, stream=False, tools=(), **options):
        arguments = {"model": self.model, "max_tokens": 1000, "messages": messages, **options}
        if tools:
            arguments["tools"] = [{"name": name, "input_schema": SCHEMA} for name in tools]
        if stream:
            with self.sdk.messages.stream(**arguments) as running:
                return running.get_final_message()
        return self.sdk.messages.create(**arguments)

    def text(self, prompt, stream=False, **options):
        answer = self.ask([{"role": "user", "content": prompt}], stream, **options)
        return "".join(block.text for block in answer.content if block.type == "text")

    def stop(self, prompt, stream=False, **options):
        answer = self.ask([{"role": "user", "content": prompt}], stream, **options)
        return {"end_turn": "end", "max_tokens": "max_tokens", "refusal": "filter"}[
            answer.stop_reason
        ]

    def usage(self, prompt, stream=False):
        used = self.ask([{"role": "user", "content": prompt}], stream).usage
        cached, written = used.cache_read_input_tokens, used.cache_creation_input_tokens
        return used.input_tokens + (cached or 0) + (written or 0), cached or 0, used.output_tokens

    def tool_turn(self, prompt, tools, results, stream=False, **options):
        messages = [{"role": "user", "content": prompt}]
        first = self.ask(messages, stream, tools, **options)
        assert first.stop_reason == "tool_use"
        made = [block for block in first.content if block.type == "tool_use"]
        calls = [(c.name, c.input) for c in made]
        messages.append(
            {
                "role": "assistant",
                "content": [b.model_dump(exclude_none=True) for b in first.content],
            }
        )
        messages.append(
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": call.id, "content": result}
                    for call, result in zip(made, results, strict=True)
                ],
            }
        )
        second = self.ask(messages, stream, tools, **options)
        return calls, "".join(b.text for b in second.content if b.type == "text")

    def image(self, stream=False):
        source = {"type": "base64", "media_type": "image/png", "data": IMAGE}
        content = [{"type": "text", "text": "What is it?"}, {"type": "image", "source": source}]
        answer = self.ask([{"role": "user", "content": content}], stream)
        return "".join(block.text for block in answer.content if block.type == "text")

    def structured(self, prompt):
        form = {"format": {"type": "json_schema", "schema": SCHEMA}}
        return self.text(prompt, extra_body={"output_config": form})

    def system(self, text, prompt):
        return self.text(prompt, system=text)

    def deltas(self, prompt):
        with self.sdk.messages.stream(
            model=self.model, max_tokens=9000, messages=[{"role": "user", "content": prompt}]
        ) as running:
            return list(running.text_stream)


class Gemini:
    failed = (genai.errors.APIError,)

    def __init__(self, address, model):
        self.sdk = genai.Client(
            api_key="x",
            http_options=types.HttpOptions(
                base_url=address, retry_options=types.HttpRetryOptions(attempts=1)
            ),
        )
        self.model = model

    def ask(self, contents, stream=False, tools=(), **options):
        if tools:
            options["tools"] = [
                types.Tool(
                    function_declarations=[
                        types.FunctionDeclaration(name=name, parameters_json_schema=SCHEMA)
                        for name in tools
                    ]
                )
            ]
        config = types.GenerateContentConfig(**options)
        arguments = {"model": self.model, "contents": contents, "config": config}
        if not stream:
            return [self.sdk.models.generate_content(**arguments)]
        return list(self.sdk.models.generate_content_stream(**arguments))

    @staticmethod
    def parts(chunks):
        return [
            part
            for chunk in chunks
            if chunk.candidates and chunk.candidates[0].content
            for part in chunk.candidates[0].content.parts or ()
        ]

    def said(self, chunks):
        return "".join(p.text for p in self.parts(chunks) if p.text and not p.thought)

    def text(self, prompt, stream=False, **options):
        if "max_tokens" in options:
            options["max_output_tokens"] = options.pop("max_tokens")
        return self.said(self.ask(prompt, stream, **options))

    def stop(self, prompt, stream=False, **options):
        if "max_tokens" in options:
            options["max_output_tokens"] = options.pop("max_tokens")
        chunks = self.ask(prompt, stream, **options)
        reasons = [c.candidates[0].finish_reason for c in chunks if c.candidates]
        (reason,) = [r.name for r in reasons if r is not None]
        return {"STOP": "end", "MAX_TOKENS": "max_tokens", "SAFETY": "filter"}[reason]

    def usage(self, prompt, stream=False):
        used = self.ask(prompt, stream)[-1].usage_metadata
        output = (used.candidates_token_count or 0) + (used.thoughts_token_count or 0)
        return used.prompt_token_count, used.cached_content_token_count or 0, output

    def tool_turn(self, prompt, tools, results, stream=False):
        contents = [types.Content(role="user", parts=[types.Part(text=prompt)])]
        parts = self.parts(self.ask(contents, stream, tools))
        made = [part.function_call for part in parts if part.function_call]
        calls = [(c.name, c.args) for c in made]
        contents.append(types.Content(role="model", parts=parts))
        contents.append(
            types.Content(
                role="user",
                parts=[
                    types.Part(
                        function_response=types.FunctionResponse(
                            id=call.id, name=call.name, response={"output": result}
                        )
                    )
                    for call, result in zip(made, results, strict=True)
                ],
            )
        )
        return calls, self.said(self.ask(contents, stream, tools))

    def image(self, stream=False):
        image = types.Part.from_bytes(data=base64.b64decode(IMAGE), mime_type="image/png")
        return self.said(self.ask([types.Part(text="What is it?"), image], stream))

    def structured(self, prompt):
        return self.text(prompt, response_mime_type="application/json", response_json_schema=SCHEMA)

    def system(self, text, prompt):
        return self.text(prompt, system_instruction=text)

    def deltas(self, prompt):
        chunks = self.ask(prompt, stream=True)
        return [part.text for part in self.parts(chunks) if part.text]


CLIENTS = {"chat": Chat, "responses": Responses, "messages": Messages, "gemini": Gemini}


@pytest.fixture(params=sorted(PUBLIC))
def over(request):
    """The upstream dialect."""
    return request.param


@pytest.fixture
def made(address):
    """Makes clients, and closes them."""
    with contextlib.ExitStack() as stack:

        def make(name, over):
            client = CLIENTS[name](address, PUBLIC[over])
            stack.callback(client.sdk.close)
            return client

        yield make


@pytest.fixture(params=sorted(CLIENTS))
def client(request, made, over):
    return made(request.param, over)


@pytest.fixture(params=[False, True], ids=["whole", "stream"])
def stream(request):
    return request.param


def test_text_arrives_unharmed(client, stream):
    text = json.dumps(UNICODE, ensure_ascii=False)
    assert client.text(directive(text=text), stream) == UNICODE


def test_tools_are_called_and_their_results_used(client, stream):
    calls, answer = client.tool_turn(
        directive(tool='weather:{"city":"Köln"}'), ["weather"], ["sunny, 20 °C"], stream
    )
    assert calls == [("weather", {"city": "Köln"})]
    assert "sunny, 20 °C" in answer


def test_parallel_calls_keep_their_order_and_results(client, stream):
    prompt = "FAKE:" + "".join(f'tool=weather:{{"city":"{c}"}};' for c in "ABC")
    calls, answer = client.tool_turn(prompt, ["weather"], ["one", "two", "three"], stream)
    assert calls == [("weather", {"city": c}) for c in "ABC"]
    assert answer.index("one") < answer.index("two") < answer.index("three")


def test_images_are_seen(client):
    assert "image/png" in client.image()


def test_structured_answers_follow_the_schema(client):
    assert set(json.loads(client.structured("Where?"))) == {"city"}


def test_the_answer_ends_at_the_limit(client, stream):
    prompt = "say " + "word " * 200
    assert client.stop(prompt, stream, max_tokens=20) == "max_tokens"


def test_a_normal_end_is_one(client, stream):
    assert client.stop("hello", stream) == "end"


def test_usage_is_complete(client, stream):
    prompt = directive(usage="input:100,cached:40,output:20")
    assert client.usage(prompt, stream) == (140, 40, 20)


@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_errors_keep_status_and_words(client, status):
    with pytest.raises(client.failed) as caught:
        client.text(directive(error=status))
    code = getattr(caught.value, "status_code", None) or getattr(caught.value, "code", None)
    assert code == status


def test_a_failure_in_the_middle_is_an_error(client):
    with pytest.raises((*client.failed, RuntimeError)):
        client.deltas(directive(text="a b c d e f g h", n=8, midstream="overloaded:after=8"))


def test_a_cut_stream_is_no_clean_end(client):
    with pytest.raises((*client.failed, RuntimeError)):
        client.deltas(directive(text="a b c d e f g h", n=8, cut=5))


NAMES, OVER = sorted(CLIENTS), sorted(PUBLIC)


@pytest.mark.parametrize(
    ("name", "over"),
    [("chat", "openai_chat"), *zip(NAMES, [*OVER[1:], OVER[0]], strict=True)],
)
def test_two_thousand_deltas_arrive(made, name, over):
    """Untouched, and once from each dialect to each client; the SDKs take longer than the proxy."""
    client = made(name, over)
    text = " ".join(str(number) for number in range(2000))
    deltas = client.deltas(directive(text=json.dumps(text), n=2000))
    assert "".join(deltas) == text
    assert len(deltas) > 10  # pieces that come in one read go on as one
