"""A fake of OpenAI Responses, as strict as the service.

Sources are marked as in ``tests.fakes.openai_service``. Encrypted reasoning is sealed with a key
of the fake's own, so that altered or foreign content is refused as by the service.
"""

import itertools
import typing
from typing import Literal, NotRequired, Required

import openai.types.responses as sdk
from openai.types.responses.input_token_count_params import InputTokenCountParams
from openai.types.responses.response_create_params import ResponseCreateParamsBase
from openai.types.responses.response_input_item_param import (
    Message as InputMessage,
)
from openai.types.responses.response_input_item_param import (
    ResponseInputItemParam,
)
from openai.types.responses.response_input_message_content_list_param import (
    ResponseInputMessageContentListParam,
)
from typing_extensions import TypedDict

from tests.fakes.directives import Ask, Offered, Text, Think, count_tokens, pieces, plan
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

_STATUS = Literal["in_progress", "completed", "incomplete"]


class _OutputText(TypedDict, total=False):
    # annotations are required by the types, and optional to the service [recalled]
    text: Required[str]
    type: Required[Literal["output_text"]]
    annotations: list[dict[str, object]]
    logprobs: list[dict[str, object]] | None


class _Said(TypedDict, total=False):
    """A message of the model; ``id`` and ``status`` may be missing [recalled]."""

    role: Required[Literal["assistant"]]
    content: Required[str | list[_OutputText | sdk.ResponseOutputRefusalParam]]
    type: Literal["message"]
    id: str
    status: _STATUS
    phase: Literal["commentary", "final_answer"] | None


class _Heard(TypedDict, total=False):
    """A message to the model."""

    role: Required[Literal["user", "system", "developer"]]
    content: Required[str | ResponseInputMessageContentListParam]
    type: Literal["message"]
    id: str
    status: _STATUS


_ITEMS = [
    member
    for member in typing.get_args(ResponseInputItemParam)
    if member not in (sdk.EasyInputMessageParam, InputMessage, sdk.ResponseOutputMessageParam)
]
_Input = typing.Union[(str, list[typing.Union[(_Said, _Heard, *_ITEMS)]])]  # noqa: UP007


class Create(ResponseCreateParamsBase, total=False):
    stream: bool | None
    input: _Input  # narrower than the types' field


class Count(InputTokenCountParams, total=False):
    input: NotRequired[_Input | None]  # narrower than the types' field


_ACCEPTED = (
    ("input", None, "internal_chat_message_metadata_passthrough"),  # Codex sends both [recalled]
    ("client_metadata",),
    ("client_metadata", ...),
)
# required by the types, and optional to the service, which has defaults for them [docs]
_OPTIONAL = ("strict", "parameters", "detail")
_PREFIXES = {  # [recalled] "Invalid 'input[0].id': 'x'. Expected an ID that begins with 'msg'."
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fc",
    "reasoning": "rs",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctc",
    "web_search_call": "ws",
}
_CALLS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
_OUTPUTS = {output: call for call, output in _CALLS.items()}
_SEAL = "gAAAAA"


def _accepted(problems):
    """Drop what the service takes although the types do not."""
    return [
        p
        for p in allow(problems, *_ACCEPTED)
        if not _null_reasoning(p) and not (p.kind == "missing" and p.path[-1] in _OPTIONAL)
    ]


def _null_reasoning(problem):
    # Codex sends ``content: null`` in reasoning items, and is served [recalled]; elsewhere a
    # message's content also takes a string, so that its expected types differ
    return (
        problem.path[:1] == ("input",)
        and problem.path[2:] == ("content",)
        and problem.got is None
        and problem.expected == ("array",)
    )


class OpenAIResponses(OpenAI):
    """``/v1/responses``, ``/v1/responses/{id}``, ``/v1/responses/input_tokens``."""

    name = "openai_responses"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.stored = {}
        """Responses by id, each with the input items that led to it."""

    def claims(self, call):
        return call.path.startswith("/v1/responses")

    def answer(self, call):
        self.authorize(call.headers)
        path = call.path.rstrip("/")
        name = path.removeprefix("/v1/responses").strip("/")
        if call.method == "GET" and "upgrade" in call.headers:  # clients then use HTTP [recalled]
            raise self._refusal(426, "Upgrade Required")
        if call.method == "GET" and path.startswith("/v1/models"):
            return self.models(path.removeprefix("/v1/models").strip("/"))
        if call.method in ("GET", "DELETE") and name:
            return self._stored(call.method, name)
        if call.method == "POST" and name == "input_tokens":
            return self._count(self.read(call))
        if call.method != "POST" or name or not path.startswith("/v1/responses"):
            raise self._refusal(404, f"Invalid URL ({call.method} {call.path})")  # [recalled]
        return self._create(self.read(call))

    def failed_frames(self, kind):
        error_type, code, text = ERRORS[kind]
        body = {"type": error_type, "code": code, "message": text, "param": None}
        if kind in ("overloaded", "rate_limit"):  # [recalled] type error, then response.failed
            return [_event({"type": "error", "sequence_number": 99, "error": body} | body)]
        failed = self._response({"model": "gpt-5"}, [], "failed", None)
        failed["error"] = {"code": code or "server_error", "message": text}
        return [_event({"type": "response.failed", "sequence_number": 99, "response": failed})]

    def _stored(self, method, name):
        if name not in self.stored:
            raise self._refusal(404, f"Response with id '{name}' not found.")
        if method == "DELETE":
            del self.stored[name]
            body = {"id": name, "object": "response", "deleted": True}
            return self.finish(body, None, NONE, False)
        return self.finish(self.stored[name][0], None, NONE, False)

    def _count(self, body):
        self.check_fields(body, Count, _accepted)
        tokens = count_tokens([body.get(k) for k in ("instructions", "input", "tools")])
        counted = {"object": "response.input_tokens", "input_tokens": tokens}
        return self.finish(counted, None, NONE, False)

    def _create(self, body):
        self.check_fields(body, Create, _accepted)
        for name in ("model", "input"):
            if name not in body:  # input may be missing beside a stored prompt [docs]
                self.fail(
                    f"Missing required parameter: '{name}'.", name, "missing_required_parameter"
                )
        self.check_model(body["model"])
        self._check_settings(body)
        self._check_tools(body)
        items = self._items(body)
        _Items(self, items, self._before(body)).run()
        ask = _ask(body, [*self._before(body), *items])
        answer, faults = plan(ask)
        self.fail_if_told(faults)
        output = self._output(body, answer)
        status = {"max_tokens": "incomplete", "content_filter": "incomplete"}
        whole = self._response(body, output, status.get(answer.stop, "completed"), answer)
        if body.get("store") is not False:
            self.stored[whole["id"]] = (whole, [*self._before(body), *items])
        return self.finish(
            whole, lambda: _Stream(whole, answer.deltas, body).frames(), faults, body.get("stream")
        )

    def _items(self, body):
        given = body["input"]
        return [{"role": "user", "content": given}] if isinstance(given, str) else given

    def _before(self, body):
        """Return the items of the stored conversation that a request continues."""
        name = body.get("previous_response_id")
        if name is None:
            return []
        if name not in self.stored:  # [recalled]
            self.fail(
                f"Previous response with id '{name}' not found.",
                "previous_response_id",
                "previous_response_not_found",
            )
        whole, items = self.stored[name]
        return [*items, *whole["output"]]

    # -- checks

    def _check_settings(self, body):
        model, reasoning = body["model"], body.get("reasoning") or {}
        self.check_range(body, "max_output_tokens", 16)  # [recalled]
        self.check_range(body, "temperature", 0, 2)
        self.check_range(body, "top_p", 0, 1)
        if is_reasoning(model):
            for name in ("temperature", "top_p", "top_logprobs"):
                value = body.get(name)
                if value is not None and not takes_sampling(model, reasoning.get("effort")):
                    self.unsupported(name)  # [recalled]
        elif reasoning.get("effort") is not None:
            self.unsupported("reasoning.effort")  # [recalled]
        elif reasoning.get("summary") is not None:
            self.unsupported("reasoning.summary")
        include = body.get("include") or []
        if "reasoning.encrypted_content" in include and not is_reasoning(model):
            self.fail(
                "Encrypted content is not supported with this model.", "include"
            )  # [recalled]
        if body.get("stream_options") is not None and not body.get("stream"):
            self.fail(
                "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
                "stream_options",
            )
        if body.get("background") and body.get("store") is False:  # [docs] background
            self.fail("'background' requires 'store' to be true.", "background")
        form = (body.get("text") or {}).get("format") or {"type": "text"}
        if form["type"] == "json_schema":
            self.check_schema("text.format", form)
        said = dump([body.get("input"), body.get("instructions")]).decode().lower()
        if form["type"] == "json_object" and "json" not in said:  # [recalled]
            self.fail(
                "Response input messages must contain the word 'json' in some form to use "
                "'text.format' of type 'json_object'.",
                "input",
            )

    def _check_tools(self, body):
        names = []
        for i, tool in enumerate(body.get("tools") or []):
            # [recalled] nested tools of a namespace follow the same rules
            inner = tool.get("tools") or [] if tool["type"] == "namespace" else [tool]
            for each in inner:
                if each["type"] == "function":
                    self.check_function(f"tools[{i}]", each)
                elif each["type"] == "custom":
                    self.check_name(f"tools[{i}].name", each["name"])
                names.append(each.get("name"))
        choice = body.get("tool_choice")
        if isinstance(choice, dict) or choice == "required":  # [recalled] words pass without tools
            self.check_tool_settings({**body, "parallel_tool_calls": None}, names)

    # -- answers

    def _output(self, body, answer):
        include = body.get("include") or []
        reasoning = body.get("reasoning") or {}
        output = []
        status = "incomplete" if answer.stop in ("max_tokens", "content_filter") else "completed"
        for part in answer.parts:
            if isinstance(part, Think):
                if is_reasoning(body["model"]):
                    output.append(self._thought(part, reasoning, include))
            elif isinstance(part, Text):
                content = {"type": "output_text", "text": part.text}
                content |= {"annotations": [], "logprobs": []}
                if answer.stop == "refusal":
                    content = {"type": "refusal", "refusal": part.text}
                output.append(
                    {
                        "id": self.new_id("msg_", 48),
                        "type": "message",
                        "status": status,
                        "role": "assistant",
                        "content": [content],
                    }
                )
            else:
                output.append(self._call(part))
        return output

    def _thought(self, part, reasoning, include):
        summary = []
        if reasoning.get("summary") or reasoning.get("generate_summary"):
            summary = [{"type": "summary_text", "text": part.text}]
        item = {"id": self.new_id("rs_", 48), "type": "reasoning", "summary": summary}
        if "reasoning.encrypted_content" in include:
            item["encrypted_content"] = self.seal("", _SEAL)
        return item

    def _call(self, part):
        if isinstance(part.arguments, str):
            return {
                "id": self.new_id("ctc_", 48),
                "type": "custom_tool_call",
                "status": "completed",
                "call_id": self.new_id("call_"),
                "name": part.name,
                "input": part.arguments,
            }
        return {
            "id": self.new_id("fc_", 48),
            "type": "function_call",
            "status": "completed",
            "arguments": dump(part.arguments).decode(),
            "call_id": self.new_id("call_"),
            "name": part.name,
        }

    def _response(self, body, output, status, answer):
        reasoning = body.get("reasoning") or {}
        effort = "medium" if is_reasoning(body["model"]) else None
        text = {"format": {"type": "text"}, "verbosity": "medium"} | (body.get("text") or {})
        reason = {"max_tokens": "max_output_tokens", "content_filter": "content_filter"}
        incomplete = {"reason": reason[answer.stop]} if status == "incomplete" else None
        return {
            "id": self.new_id("resp_", 48),
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "background": body.get("background") or False,
            "completed_at": CREATED if status == "completed" else None,
            "error": None,
            "incomplete_details": incomplete,
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "max_tool_calls": body.get("max_tool_calls"),
            "model": body["model"],
            "output": output,
            "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
            "previous_response_id": body.get("previous_response_id"),
            "prompt_cache_key": body.get("prompt_cache_key"),
            "reasoning": {
                "effort": reasoning.get("effort") or effort,
                "summary": reasoning.get("summary"),
            },
            "safety_identifier": body.get("safety_identifier"),
            "service_tier": "default",
            "store": body.get("store") is not False,
            "temperature": body.get("temperature", 1.0),
            "text": text,
            "tool_choice": body.get("tool_choice", "auto"),
            "tools": body.get("tools", []),
            "top_logprobs": body.get("top_logprobs", 0),
            "top_p": body.get("top_p", 1.0),
            "truncation": body.get("truncation") or "disabled",
            "usage": _usage(answer.usage) if status != "failed" else None,
            "user": body.get("user"),
            "metadata": body.get("metadata") or {},
        }


class _Items:
    """The rules over input items; ``before`` are those of the stored conversation."""

    def __init__(self, service, items, before):
        self.service = service
        self.items = items
        self.before = before

    def run(self):
        for i, item in enumerate(self.items):
            self.check_id(i, item)
            self.check_content(i, item)
        self.check_pairs()
        self.check_reasoning()

    def check_id(self, i, item):
        kind, own = item.get("type") or "message", item.get("id")
        if own is not None:
            prefix = _PREFIXES.get(kind, "")
            # [seen] https://github.com/UKGovernmentBEIS/inspect_ai/pull/1545
            if not own.startswith(prefix):
                self.service.fail(
                    f"Invalid 'input[{i}].id': '{own}'. Expected an ID that begins with "
                    f"'{prefix}'.",
                    f"input[{i}].id",
                    "invalid_value",
                )
            self.service.check_length(f"input[{i}].id", own, 64)
        if item.get("call_id") is not None:
            if not item["call_id"]:  # [recalled]
                self.service.fail(
                    f"Invalid 'input[{i}].call_id': empty string. Expected a string with minimum "
                    "length 1, but got an empty string instead.",
                    f"input[{i}].call_id",
                    "empty_string",
                )
            self.service.check_length(f"input[{i}].call_id", item["call_id"], 64)
        if kind in _CALLS:
            self.service.check_name(f"input[{i}].name", item["name"], 128)

    def check_content(self, i, item):
        # pictures come in messages and in outputs of tools alike
        for key in ("content", "output"):
            content = item.get(key)
            for j, part in enumerate(content if isinstance(content, list) else []):
                if part.get("type") == "input_image" and part.get("image_url"):
                    at = f"input[{i}].{key}[{j}].image_url"
                    self.service.check_picture(at, part["image_url"])

    def check_pairs(self):
        calls, answered = {}, set()
        for item in [*self.before, *self.items]:
            kind = item.get("type")
            if kind in _CALLS:
                if item["call_id"] in calls:  # [guess]
                    self.service.fail(f"Duplicate call_id '{item['call_id']}' in input.", "input")
                calls[item["call_id"]] = kind
            elif kind in _OUTPUTS:
                name = item.get("call_id")
                if calls.get(name) != _OUTPUTS[kind]:  # [recalled]
                    words = _OUTPUTS[kind].replace("_", " ")
                    self.service.fail(
                        f"No tool call found for {words} output with call_id {name}.", "input"
                    )
                answered.add(name)
        missing = [name for name in calls if name not in answered]
        if missing:  # [recalled]
            self.service.fail(
                f"No tool output found for {calls[missing[0]].replace('_', ' ')} {missing[0]}.",
                "input",
            )

    def check_reasoning(self):
        known = {item.get("id") for item in self.before}
        known |= {i["id"] for whole, _ in self.service.stored.values() for i in whole["output"]}
        self.check_thoughts_kept()
        for i, item in enumerate(self.items):
            if item.get("type") == "item_reference" or (
                item.get("type") == "reasoning" and not item.get("encrypted_content")
            ):
                if item["id"] not in known:  # [recalled]
                    raise self.service._refusal(
                        404,
                        f"Item with id '{item['id']}' not found. Items are not persisted when "
                        "`store` is set to false. Try again with `store` set to true, or remove "
                        "this item from your input.",
                        "input",
                    )
            elif item.get("type") == "reasoning" and not self.service.sealed(
                item["encrypted_content"], "", _SEAL
            ):
                self.service.fail(  # [seen] https://github.com/smallmain/vscode-unify-chat-provider/issues/178
                    f"The encrypted content for item {item['id']} could not be verified. "
                    "Reason: Encrypted content could not be decrypted or parsed.",
                    None,
                    "invalid_encrypted_content",
                )
            if item.get("type") == "reasoning":
                after = self.items[i + 1] if i + 1 < len(self.items) else {}
                follows = after.get("type") in (*_CALLS, "reasoning", "web_search_call")
                # [seen] https://github.com/continuedev/continue/issues/8933
                if not follows and after.get("role") != "assistant":
                    self.service.fail(
                        f"Item '{item['id']}' of type 'reasoning' was provided without its "
                        "required following item.",
                        "input",
                    )

    def check_thoughts_kept(self):
        """Refuse stored items that come back without the reasoning before them.

        [seen] https://github.com/TanStack/ai/issues/1212 for calls; [recalled] for messages. Whether answers that
        were not stored are held to it is unknown; the fake lets them pass.
        """
        needs = {}
        for whole, _ in self.service.stored.values():
            for before, item in itertools.pairwise(whole["output"]):
                if before["type"] == "reasoning":
                    needs[item["id"]] = before["id"]
        present = {item.get("id") for item in [*self.before, *self.items]}
        for item in self.items:
            needed = needs.get(item.get("id"))
            if needed and needed not in present:
                self.service.fail(
                    f"Item '{item['id']}' of type '{item.get('type') or 'message'}' was provided "
                    f"without its required 'reasoning' item: '{needed}'.",
                    "input",
                )


class _Stream:
    """Render a response as events, https://platform.openai.com/docs/api-reference/responses-streaming."""

    def __init__(self, whole, deltas, body):
        self.whole = whole
        self.deltas = deltas
        self.padded = (body.get("stream_options") or {}).get("include_obfuscation", True)
        self.events = []

    def frames(self):
        open_form = {"status": "in_progress", "output": [], "usage": None, "completed_at": None}
        started = {**self.whole, **open_form, "incomplete_details": None}
        self.add("response.created", response=started)
        self.add("response.in_progress", response=started)
        for index, item in enumerate(self.whole["output"]):
            self.item(index, item)
        self.add(f"response.{self.whole['status']}", response=self.whole)
        return [_event(event) for event in self.events]

    def add(self, kind, **fields):
        self.events.append({"type": kind, "sequence_number": len(self.events), **fields})

    def words(self, kind, words, place):
        for word in words:
            pad = {"obfuscation": "x" * (len(word) % 16)} if self.padded else {}
            self.add(f"{kind}.delta", **place, delta=word, **pad)

    def item(self, index, item):
        place = {"item_id": item["id"], "output_index": index}
        empties = {
            "message": {"content": []},
            "reasoning": {"summary": []},
            "function_call": {"arguments": ""},
            "custom_tool_call": {"input": ""},
        }
        kind = item["type"]
        fresh = {**item, **empties[kind]}
        if kind != "reasoning":
            fresh["status"] = "in_progress"
        self.add("response.output_item.added", output_index=index, item=fresh)
        getattr(self, f"_{kind}")(item, place)
        self.add("response.output_item.done", output_index=index, item=item)

    def _message(self, item, place):
        for j, part in enumerate(item["content"]):
            place = {**place, "content_index": j}
            key = "text" if part["type"] == "output_text" else "refusal"
            self.add("response.content_part.added", **place, part={**part, key: ""})
            name = f"response.{part['type']}"
            more = {"logprobs": []} if key == "text" else {}
            self.words(name, pieces(part[key], self.deltas), {**place, **more})
            self.add(f"{name}.done", **place, **more, **{key: part[key]})
            self.add("response.content_part.done", **place, part=part)

    def _reasoning(self, item, place):
        for j, part in enumerate(item["summary"]):
            place = {**place, "summary_index": j}
            name = "response.reasoning_summary"
            self.add(f"{name}_part.added", **place, part={**part, "text": ""})
            self.words(f"{name}_text", pieces(part["text"]), place)
            self.add(f"{name}_text.done", **place, text=part["text"])
            self.add(f"{name}_part.done", **place, part=part)

    def _function_call(self, item, place):
        name, text = "response.function_call_arguments", item["arguments"]
        self.words(name, [text[i : i + 9] for i in range(0, len(text), 9)], place)
        self.add(f"{name}.done", **place, arguments=text, name=item["name"])

    def _custom_tool_call(self, item, place):
        name, text = "response.custom_tool_call_input", item["input"]
        self.words(name, [text[i : i + 9] for i in range(0, len(text), 9)], place)
        self.add(f"{name}.done", **place, input=text)


def _event(body):
    return b"event: " + body["type"].encode() + b"\ndata: " + dump(body) + b"\n\n"


def _usage(usage):
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {
            "cached_tokens": usage.cached,
            "cache_write_tokens": usage.write,
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.output,
    }


def _text(content):
    if isinstance(content, str):
        return content
    return "".join(p.get("text", "") for p in content or [])


def _ask(body, items):
    """Return what a request asks for; ``items`` with those of the stored conversation."""
    user, results, images, rounds, was_output = "", [], [], 0, False
    for item in items:
        content = item.get("content")
        if item.get("role") == "user":
            parts = content
            if isinstance(content, str):
                parts = [{"type": "input_text", "text": content}]
            texts = [p["text"] for p in parts if p["type"] == "input_text"]
            user, results, rounds = texts[-1] if texts else "", [], 0
            urls = [p.get("image_url") or "" for p in parts if p["type"] == "input_image"]
            images = [data_url(u) or ("url", len(u)) for u in urls]
        is_output = item.get("type") in _OUTPUTS
        if is_output:
            results.append(_text(item["output"]))
            rounds += not was_output
        was_output = is_output
    form = (body.get("text") or {}).get("format") or {"type": "text"}
    choice = body.get("tool_choice") or "auto"
    forced = "any" if choice == "required" else None
    if isinstance(choice, dict):
        forced = choice.get("name") or ("any" if choice.get("mode") == "required" else None)
    return Ask(
        model=body["model"],
        user=user,
        tools=[] if choice == "none" else _offered(body.get("tools") or []),
        results=results,
        rounds=rounds,
        images=images,
        max_tokens=body.get("max_output_tokens"),
        schema={"json_schema": form.get("schema"), "json_object": {}}.get(form["type"]),
        thinking=is_reasoning(body["model"])
        and bool(body.get("reasoning"))
        and body["reasoning"].get("effort") != "none",
        forced=forced,
        parallel=body.get("parallel_tool_calls") is not False,
        prompt=[body.get("instructions"), items, body.get("tools")],
    )


def _offered(tools):
    found = []
    for tool in tools:
        if tool["type"] == "function":
            found.append(Offered(tool["name"], tool.get("parameters") or {"type": "object"}))
        elif tool["type"] == "custom":
            found.append(Offered(tool["name"], {}, custom=True))
        elif tool["type"] == "namespace":
            found += _offered(tool["tools"])
    return found
