"""A fake of OpenAI Chat Completions, with embeddings and images beside it.

Sources are marked as in ``tests.fakes.openai_service``.
"""

import base64
import struct

from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.embedding_create_params import EmbeddingCreateParams
from openai.types.image_generate_params import ImageGenerateParamsBase

from tests.fakes.directives import Ask, Called, Offered, count_tokens, pieces, plan
from tests.fakes.openai_service import (
    ERRORS,
    NONE,
    OpenAI,
    data_url,
    is_reasoning,
    takes_sampling,
)
from tests.fakes.service import CREATED, dump
from tests.fakes.shape import allow

FINISH = {
    "end": "stop",
    "stop_sequence": "stop",
    "refusal": "stop",
    "tool": "tool_calls",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "blocked": "content_filter",
}
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
"""A transparent PNG of one pixel, base64."""


class Create(CompletionCreateParamsBase, total=False):
    stream: bool | None


class Image(ImageGenerateParamsBase, total=False):
    stream: bool | None


_ACCEPTED = (
    # the service's own assistant messages come back whole [docs]
    ("messages", None, "annotations"),
    ("messages", None, "annotations", ...),
)


class OpenAIChat(OpenAI):
    """``/v1/chat/completions``, ``/v1/embeddings``, ``/v1/images/generations``, ``/v1/models``."""

    name = "openai_chat"

    def claims(self, call):
        return True

    def answer(self, call):
        self.authorize(call.headers)
        path = call.path.rstrip("/")
        if call.method == "GET" and path.startswith("/v1/models"):
            return self.models(path.removeprefix("/v1/models").strip("/"))
        answers = {
            "/v1/chat/completions": self._complete,
            "/v1/embeddings": self._embed,
            "/v1/images/generations": self._draw,
        }
        if call.method != "POST" or path not in answers:
            raise self._refusal(404, f"Invalid URL ({call.method} {call.path})")  # [recalled]
        return answers[path](self.read(call))

    def failed_frames(self, kind):
        error_type, code, text = ERRORS[kind]
        error = {"message": text, "type": error_type, "param": None, "code": code}
        return [_data({"error": error})]

    def _complete(self, body):
        self.check_fields(body, Create, lambda problems: allow(problems, *_ACCEPTED))
        self.check_model(body["model"])
        self._check_settings(body)
        self._check_tools(body)
        _Turns(self, body["messages"]).run()
        ask = _ask(body)
        answer, faults = plan(ask)
        self.fail_if_told(faults)
        base = {
            "id": self.new_id("chatcmpl-", 29),
            "created": CREATED,
            "model": body["model"],
            "service_tier": "default",
            "system_fingerprint": "fp_0000000000",
        }
        message = self._message(answer)
        count = body.get("n") or 1
        choices = [
            {
                "index": i,
                "message": message,
                "logprobs": _logprobs(body, answer),
                "finish_reason": FINISH[answer.stop],
            }
            for i in range(count)
        ]
        usage = _usage(answer.usage)
        whole = {**base, "object": "chat.completion", "choices": choices, "usage": usage}
        return self.finish(
            whole, lambda: _frames(body, base, choices, usage, answer), faults, body.get("stream")
        )

    # -- checks

    def _check_settings(self, body):
        model, effort = body["model"], body.get("reasoning_effort")
        self.check_filled("messages", body["messages"])
        for name, low, high in (
            ("temperature", 0, 2),
            ("top_p", 0, 1),
            ("presence_penalty", -2, 2),
            ("frequency_penalty", -2, 2),
            ("n", 1, 128),
            ("max_tokens", 1, None),
            ("max_completion_tokens", 1, None),
            ("top_logprobs", 0, 20),
        ):
            self.check_range(body, name, low, high)
        if is_reasoning(model):
            if body.get("max_tokens") is not None:  # [recalled]
                self.unsupported("max_tokens", " Use 'max_completion_tokens' instead.")
            if not takes_sampling(model, effort):
                self._check_no_sampling(body)
        elif effort is not None:  # [recalled]
            self.fail("Unrecognized request argument supplied: reasoning_effort")
        if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
            self.fail(  # [recalled]
                "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not "
                "supported.",
                "max_tokens",
                "invalid_parameter_combination",
            )
        if body.get("stream_options") is not None and not body.get("stream"):  # [recalled]
            self.fail(
                "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
                "stream_options",
            )
        if body.get("top_logprobs") is not None and not body.get("logprobs"):  # [docs]
            self.fail("'top_logprobs' requires 'logprobs' to be set to true.", "top_logprobs")
        stop = body.get("stop")
        if isinstance(stop, list) and len(stop) > 4:  # [docs]
            self.fail(
                "Invalid 'stop': array too long. Expected an array with maximum length 4, but got "
                f"an array with length {len(stop)} instead.",
                "stop",
                "array_above_max_length",
            )
        self._check_format(body)

    def _check_no_sampling(self, body):
        """Refuse what reasoning models do not take [docs] guides/reasoning, texts [recalled]."""
        for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty"):
            default = 0 if name.endswith("penalty") else 1
            if body.get(name) not in (None, default):
                self.fail(
                    f"Unsupported value: '{name}' does not support {body[name]} with this model. "
                    f"Only the default ({default}) value is supported.",
                    name,
                    "unsupported_value",
                )
        for name in ("stop", "logprobs", "top_logprobs", "logit_bias"):
            if body.get(name):
                self.unsupported(name)

    def _check_format(self, body):
        form = body.get("response_format") or {"type": "text"}
        if form["type"] == "json_schema":
            self.check_schema("response_format", form["json_schema"])
        said = dump(body["messages"]).decode().lower()
        if form["type"] == "json_object" and "json" not in said:  # [recalled]
            self.fail(
                "'messages' must contain the word 'json' in some form, to use 'response_format' of "
                "type 'json_object'.",
                "messages",
            )

    def _check_tools(self, body):
        tools = body.get("tools")
        if tools is not None:
            self.check_filled("tools", tools)
        names = []
        for i, tool in enumerate(tools or []):
            kind = tool["type"]
            if kind == "function":
                self.check_function(f"tools[{i}].function", tool["function"])
            else:
                self.check_name(f"tools[{i}].custom.name", tool["custom"]["name"])
            names.append(tool[kind]["name"])
        self.check_tool_settings(body, names)

    # -- answers

    def _message(self, answer):
        refused = answer.stop == "refusal"
        message = {
            "role": "assistant",
            "content": None if refused else answer.text or None,
            "refusal": answer.text if refused else None,
            "annotations": [],
        }
        if not answer.calls and not refused and message["content"] is None:
            message["content"] = ""
        if answer.calls:
            message["tool_calls"] = [self._call(c) for c in answer.calls]
        return message

    def _call(self, call: Called):
        made = {"id": self.new_id("call_"), "type": "function"}
        if isinstance(call.arguments, str):
            made["type"] = "custom"
            return {**made, "custom": {"name": call.name, "input": call.arguments}}
        text = dump(call.arguments).decode()
        return {**made, "function": {"name": call.name, "arguments": text}}

    def _embed(self, body):
        self.check_fields(body, EmbeddingCreateParams)
        self.check_model(body["model"])
        given = body["input"]
        self.check_filled("input", given)
        many = isinstance(given, list) and not isinstance(given[0], int)
        texts = given if many else [given]
        size = body.get("dimensions", 8)
        vectors = [[round(1 / (i + j + 1), 6) for j in range(size)] for i in range(len(texts))]
        if body.get("encoding_format") == "base64":
            vectors = [base64.b64encode(struct.pack(f"<{size}f", *v)).decode() for v in vectors]
        tokens = sum(count_tokens(t) for t in texts)
        return self.finish(
            {
                "object": "list",
                "data": [
                    {"object": "embedding", "index": i, "embedding": v}
                    for i, v in enumerate(vectors)
                ],
                "model": body["model"],
                "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            },
            None,
            NONE,
            False,
        )

    def _draw(self, body):
        self.check_fields(body, Image)
        self.check_model(body.get("model") or "dall-e-2")
        self.check_range(body, "n", 1, 10)
        details = {"image_tokens": 0, "text_tokens": count_tokens(body["prompt"])}
        return self.finish(
            {
                "created": CREATED,
                "data": [{"b64_json": PIXEL} for _ in range(body.get("n") or 1)],
                "usage": {
                    "input_tokens": details["text_tokens"],
                    "input_tokens_details": details,
                    "output_tokens": 10,
                    "total_tokens": details["text_tokens"] + 10,
                },
            },
            None,
            NONE,
            False,
        )


class _Turns:
    """The rules over the order of messages."""

    def __init__(self, service, messages):
        self.service = service
        self.messages = messages

    def run(self):
        open_ids, called_at = [], 0
        for i, message in enumerate(self.messages):
            role = message["role"]
            if role == "tool":
                self.check_tool(i, message, open_ids)
                continue
            self.check_answered(open_ids)
            open_ids, called_at = [], i
            if role == "assistant":
                open_ids = self.check_assistant(called_at, message)
            self.check_parts(i, message)
        self.check_answered(open_ids)

    def check_tool(self, i, message, open_ids):
        if message["tool_call_id"] not in open_ids:  # [recalled]
            self.service.fail(
                "Invalid parameter: messages with role 'tool' must be a response to a preceeding "
                "message with 'tool_calls'."
                if not open_ids
                else f"Invalid parameter: 'tool_call_id' of '{message['tool_call_id']}' not found "
                "in 'tool_calls' of previous message.",
                f"messages.[{i}].role" if not open_ids else f"messages.[{i}].tool_call_id",
            )
        open_ids.remove(message["tool_call_id"])

    def check_answered(self, open_ids):
        if open_ids:  # [recalled]
            self.service.fail(
                "An assistant message with 'tool_calls' must be followed by tool messages "
                "responding to each 'tool_call_id'. The following tool_call_ids did not have "
                f"response messages: {', '.join(open_ids)}",
                "messages",
            )

    def check_assistant(self, i, message):
        calls = message.get("tool_calls")
        if calls is not None:
            self.service.check_filled(f"messages[{i}].tool_calls", calls)
        has_more = calls or message.get("refusal") or message.get("audio")
        if message.get("content") is None and not (has_more or message.get("function_call")):
            self.service.fail(  # [recalled]
                "Invalid value for 'content': expected a string, got null.",
                f"messages.[{i}].content",
            )
        ids = []
        for j, call in enumerate(calls or []):
            at = f"messages[{i}].tool_calls[{j}]"
            self.service.check_length(f"{at}.id", call["id"], 40)  # [recalled]
            self.service.check_name(f"{at}.{call['type']}.name", call[call["type"]]["name"])
            if call["id"] in ids:  # [recalled]
                self.service.fail(
                    f"Duplicate value for 'tool_call_id' of '{call['id']}'", f"{at}.id"
                )
            ids.append(call["id"])
        return ids

    def check_parts(self, i, message):
        content = message.get("content")
        if isinstance(content, list):
            self.service.check_filled(f"messages[{i}].content", content)
            for j, part in enumerate(content):
                if part["type"] == "image_url":
                    at = f"messages[{i}].content[{j}].image_url.url"
                    self.service.check_picture(at, part["image_url"]["url"])


def _data(body):
    return b"data: " + (body if isinstance(body, bytes) else dump(body)) + b"\n\n"


def _frames(body, base, choices, usage, answer):
    """Render an answer as chunks, https://platform.openai.com/docs/api-reference/chat-streaming."""
    options = body.get("stream_options") or {}
    counted = options.get("include_usage")
    padded = options.get("include_obfuscation", True)
    base = {**base, "object": "chat.completion.chunk"}
    more = {"usage": None} if counted else {}

    def chunk(index, delta, finish=None):
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        pad = {"obfuscation": "x" * (len(str(delta)) % 16)} if padded else {}
        return _data({**base, "choices": [choice], **more, **pad})

    frames = []
    for choice in choices:
        deltas = _deltas(choice["message"], answer.deltas)
        frames += [chunk(choice["index"], delta) for delta in deltas]
        frames.append(chunk(choice["index"], {}, choice["finish_reason"]))
    if counted:
        frames.append(_data({**base, "choices": [], "usage": usage}))
    frames.append(_data(b"[DONE]"))
    return frames


def _deltas(message, count):
    calls = message.get("tool_calls", [])
    key = "refusal" if message["refusal"] is not None else "content"
    start = None if calls and not message["content"] else ""
    yield {"role": "assistant", "content": start if key == "content" else None, "refusal": None}
    for word in pieces(message[key] or "", count):
        yield {key: word}
    for i, call in enumerate(calls):
        kind = call["type"]
        text_key = "arguments" if kind == "function" else "input"
        text = call[kind][text_key]
        head = {"index": i, "id": call["id"], "type": kind}
        yield {"tool_calls": [{**head, kind: {**call[kind], text_key: ""}}]}
        for at in range(0, len(text), 9):
            yield {"tool_calls": [{"index": i, kind: {text_key: text[at : at + 9]}}]}


def _logprobs(body, answer):
    if not body.get("logprobs"):
        return None
    tokens = [
        {
            "token": w,
            "logprob": -0.1,
            "bytes": list(w.encode()),
            "top_logprobs": [{"token": w, "logprob": -0.1, "bytes": list(w.encode())}]
            * min(1, body.get("top_logprobs") or 0),
        }
        for w in pieces(answer.text)
    ]
    return {"content": tokens, "refusal": None}


def _usage(usage):
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.output,
        "total_tokens": usage.prompt + usage.output,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached,
            "cache_write_tokens": usage.write,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _text(content):
    if isinstance(content, str):
        return content
    return "".join(p.get("text", "") for p in content or [])


def _ask(body):
    """Return what a request asks for."""
    user, results, images, rounds, was_tool = "", [], [], 0, False
    for message in body["messages"]:
        content = message.get("content")
        if message["role"] == "user":
            parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
            texts = [p["text"] for p in parts if p["type"] == "text"]
            user, results, rounds = texts[-1] if texts else "", [], 0
            urls = [p["image_url"]["url"] for p in parts if p["type"] == "image_url"]
            images = [data_url(u) or ("url", len(u)) for u in urls]
        if message["role"] == "tool":
            results.append(_text(content))
            rounds += not was_tool
        was_tool = message["role"] == "tool"
    choice = body.get("tool_choice") or "auto"
    form = body.get("response_format") or {"type": "text"}
    schema = {"json_schema": form.get("json_schema", {}).get("schema"), "json_object": {}}
    stop = body.get("stop") or ()
    return Ask(
        model=body["model"],
        user=user,
        tools=[] if choice == "none" else [_offered(t) for t in body.get("tools") or []],
        results=results,
        rounds=rounds,
        images=images,
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        stops=(stop,) if isinstance(stop, str) else tuple(stop),
        schema=schema.get(form["type"]),
        thinking=body.get("reasoning_effort") not in (None, "none"),
        forced=_forced(choice),
        parallel=body.get("parallel_tool_calls", True),
        prompt=[body["messages"], body.get("tools")],
    )


def _offered(tool):
    if tool["type"] == "custom":
        return Offered(tool["custom"]["name"], {}, custom=True)
    function = tool["function"]
    return Offered(function["name"], function.get("parameters") or {"type": "object"})


def _forced(choice):
    if isinstance(choice, str):
        return "any" if choice == "required" else None
    if choice["type"] == "allowed_tools":
        return "any" if choice["allowed_tools"]["mode"] == "required" else None
    return choice[choice["type"]]["name"]
