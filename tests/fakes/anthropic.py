"""A fake of the Anthropic Messages API, as strict as the service.

Field rules come from the SDK's types (``anthropic.types``); the service prints faults the way
pydantic does, ``messages.0.foo: Extra inputs are not permitted``. Rules beside the types carry
their source: [seen] the text is quoted in the linked public thread; [docs] the documentation
(https://platform.claude.com/docs/en/api/messages and the guides beside it) states the rule, and
[recalled] clients report it, both from memory without a page at hand; [guess] neither.
"""

from typing import TypedDict

import anthropic.types.beta as beta_types
from anthropic.types.beta.message_create_params import MessageCreateParamsBase as BetaCreate
from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.message_create_params import MessageCreateParamsBase

from tests.fakes.anthropic_rules import Rules, at_least, blocks_of, output_format, word
from tests.fakes.directives import (
    Ask,
    Called,
    Faults,
    Offered,
    Text,
    Think,
    count_tokens,
    pieces,
    plan,
)
from tests.fakes.service import Refusal, Service, bearer, dump, image_size, status_of
from tests.fakes.shape import allow, check

VERSIONS = ("2023-01-01", "2023-06-01", "2026-10-21")
MODELS = (
    "claude-haiku-4-5-20251001",
    "claude-opus-4-1-20250805",
    "claude-sonnet-4-5-20250929",
    "claude-opus-4-6",
    "claude-sonnet-5",
    "claude-opus-5",
)
ERRORS = {  # [docs] errors
    "invalid": ("invalid_request_error", "The request is invalid."),
    "context": ("invalid_request_error", "prompt is too long: 213462 tokens > 200000 maximum"),
    "auth": ("authentication_error", "invalid x-api-key"),
    "billing": ("billing_error", "Your credit balance is too low to access the Anthropic API."),
    "permission": ("permission_error", "Your API key does not have permission to use this."),
    "not_found": ("not_found_error", "model: missing"),
    "too_large": ("request_too_large", "Request exceeds the maximum size"),
    "rate_limit": ("rate_limit_error", "This request would exceed your rate limit."),
    "quota": ("rate_limit_error", "This request would exceed your account's rate limit."),
    "server": ("api_error", "Internal server error"),
    "overloaded": ("overloaded_error", "Overloaded"),
    "timeout": ("timeout_error", "Request timed out."),
}
STOPS = {"end": "end_turn", "tool": "tool_use", "content_filter": "refusal", "blocked": "refusal"}


class Create(MessageCreateParamsBase, total=False):
    stream: bool
    # the newest types have dropped these three; models before Opus 4.7 still take them [docs]
    temperature: float
    top_p: float
    top_k: int


class CreateBeta(BetaCreate, total=False):
    stream: bool
    temperature: float
    top_p: float
    top_k: int
    output_format: beta_types.BetaJSONOutputFormatParam


class _Empty(TypedDict):
    """Takes no field at all."""


_NONE = Faults()
_ACCEPTED = (
    # the service returns these in its own messages and takes them back [docs]
    ("messages", None, "content", None, "citations"),
)


class Anthropic(Service):
    """The Messages API: ``/v1/messages``, ``/v1/messages/count_tokens``, ``/v1/models``."""

    name = "anthropic"

    def claims(self, call):
        if call.path.startswith("/v1/messages"):
            return True
        return call.path.startswith("/v1/models") and "anthropic-version" in call.headers

    def answer(self, call):
        self._authorize(call.headers)
        path = call.path.rstrip("/")
        if call.method == "GET" and path.startswith("/v1/models"):
            return self._models(path.removeprefix("/v1/models").strip("/"))
        if call.method != "POST" or path not in ("/v1/messages", "/v1/messages/count_tokens"):
            raise self._refusal(404, "not_found_error", "Not found")
        counting = path.endswith("count_tokens")
        body = self._read(call)
        is_beta = "anthropic-beta" in call.headers
        self._check(body, Create if not is_beta else CreateBeta, counting)
        if counting:
            return self.finish({"input_tokens": self._prompt_tokens(body)}, None, _NONE, False)
        ask = _ask(body)
        answer, faults = plan(ask)
        self.fail_if_told(faults)
        message = self._message(body, answer)
        return self.finish(
            message, lambda: self._frames(message, answer.deltas), faults, body.get("stream")
        )

    # -- refusals

    def _refusal(self, status, kind, message, headers=None):
        error = {"type": kind, "message": message}
        rid = self.new_id("req_01", 22)
        return Refusal(
            status,
            {"type": "error", "error": error, "request_id": rid},
            {"request-id": rid} | (headers or {}),
        )

    def invalid(self, message):
        return self._refusal(400, "invalid_request_error", message)

    def failure(self, kind, status=None, retry_s=None, message=None):
        error_type, text = ERRORS[kind]
        status = status or (529 if kind == "overloaded" else status_of(kind, None))
        headers = {"x-should-retry": "true"} if status in (429, 529) else {}
        if retry_s is not None:
            headers["retry-after"] = f"{retry_s:g}"
        if kind == "quota":  # a subscription's spent window, protocols in public clients [recalled]
            headers |= {
                "anthropic-ratelimit-unified-status": "rejected",
                "anthropic-ratelimit-unified-5h-status": "rejected",
                "anthropic-ratelimit-unified-5h-reset": "1770003600",
                "anthropic-ratelimit-unified-reset": "1770003600",
            }
        return self._refusal(status, error_type, message or text, headers)

    def failed_frames(self, kind):
        error_type, text = ERRORS[kind]
        body = {"type": "error", "error": {"type": error_type, "message": text}}
        return [_event(body | {"request_id": self.new_id("req_01", 22)})]

    def success_headers(self):
        return {
            "request-id": self.new_id("req_01", 22),
            "anthropic-organization-id": "00000000-0000-4000-8000-000000000000",
            "anthropic-ratelimit-requests-limit": "1000",
            "anthropic-ratelimit-requests-remaining": "999",
        }

    def _authorize(self, headers):
        token, key = bearer(headers), headers.get("x-api-key")
        if not token and not key:
            raise self._refusal(401, "authentication_error", "x-api-key header is required")
        betas = headers.get("anthropic-beta", "")
        if token and "sk-ant-oat" in token and "oauth-2025-04-20" not in betas:
            raise self._refusal(  # [recalled]
                401, "authentication_error", "OAuth authentication is currently not supported."
            )
        if (key or token) not in self.keys:
            message = "invalid x-api-key" if key else "Invalid bearer token"
            raise self._refusal(401, "authentication_error", message)
        version = headers.get("anthropic-version")
        if version is None:
            raise self.invalid("anthropic-version: header is required")  # [recalled]
        if version not in VERSIONS:
            raise self.invalid(f'anthropic-version: "{version}" is not a valid version')  # [guess]

    def _read(self, call):
        if "json" not in call.headers.get("content-type", ""):
            raise self.invalid("content-type: header must be application/json")  # [guess]
        try:
            body = call.json
        except ValueError as error:
            raise self.invalid(
                f"The request body is not valid JSON: {error}"
            ) from error  # [recalled]
        if not isinstance(body, dict):
            raise self.invalid("Input should be a valid dictionary")
        return body

    # -- checks

    def _check(self, body, hint, counting):
        problems = check(body, hint)
        if counting:
            known = set(MessageCountTokensParams.__annotations__) | {
                "mcp_servers",
                "context_management",
                "output_format",
            }
            for problem in check({k: v for k, v in body.items() if k not in known}, _Empty):
                problems = [*(p for p in problems if p.path != problem.path), problem]
            problems = [p for p in problems if p.path != ("max_tokens",) or p.kind == "extra"]
        problems = allow(problems, *_ACCEPTED)
        if problems:
            raise self.invalid("\n".join(word(p) for p in problems[:1]))
        if not body["model"].startswith("claude-"):
            raise self._refusal(404, "not_found_error", f"model: {body['model']}")
        if not body["messages"]:
            raise self.invalid("messages: at least one message is required")  # [recalled]
        Rules(self, body).run()

    def _prompt_tokens(self, body):
        return count_tokens([body.get("system"), body["messages"], body.get("tools")])

    # -- answers

    def _message(self, body, answer):
        thinking = body.get("thinking") or {}
        hidden = thinking.get("display") == "omitted" or (
            # [docs] thinking is omitted by default from Opus 4.7 on
            "display" not in thinking and at_least(body["model"], 4, 7)
        )
        content = []
        for part in answer.parts:
            if isinstance(part, Text):
                content.append({"type": "text", "text": part.text, "citations": None})
            elif isinstance(part, Think):
                shown = "" if hidden else part.text
                content.append(
                    {"type": "thinking", "thinking": shown, "signature": self.seal(shown, "Ev")}
                )
            elif isinstance(part, Called):
                content.append(
                    {
                        "type": "tool_use",
                        "id": self.new_id("toolu_01", 22),
                        "name": part.name,
                        "input": part.arguments,
                        "caller": {"type": "direct"},
                    }
                )
        stop = STOPS.get(answer.stop, answer.stop)
        usage = answer.usage
        return {
            "id": self.new_id("msg_01", 22),
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": content,
            "stop_reason": stop,
            "stop_sequence": answer.stop_sequence,
            "stop_details": {"type": "refusal", "category": None, "explanation": None}
            if stop == "refusal"
            else None,
            "usage": {
                "input_tokens": usage.input,
                "cache_creation_input_tokens": usage.write,
                "cache_read_input_tokens": usage.cached,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": usage.write,
                    "ephemeral_1h_input_tokens": 0,
                },
                "output_tokens": usage.output,
                "output_tokens_details": {"thinking_tokens": usage.reasoning},
                "service_tier": "standard",
                "inference_geo": "not_available",
            },
        }

    def _frames(self, message, deltas):
        """Render a message as the events of https://platform.claude.com/docs/en/build-with-claude/streaming."""
        usage = message["usage"]
        head = {**message, "content": [], "stop_reason": None, "stop_details": None}
        head["stop_sequence"] = None
        head["usage"] = {k: v for k, v in usage.items() if k != "output_tokens_details"}
        head["usage"]["output_tokens"] = 1
        frames = [_event({"type": "message_start", "message": head})]
        for i, block in enumerate(message["content"]):
            empty, changes = _changes(block, deltas)
            frames.append(
                _event({"type": "content_block_start", "index": i, "content_block": empty})
            )
            if i == 0:
                frames.append(_event({"type": "ping"}))
            frames += [
                _event({"type": "content_block_delta", "index": i, "delta": change})
                for change in changes
            ]
            frames.append(_event({"type": "content_block_stop", "index": i}))
        tail = {k: message[k] for k in ("stop_reason", "stop_sequence", "stop_details")}
        total = {
            k: usage[k]
            for k in (
                "input_tokens",
                "cache_creation_input_tokens",
                "cache_read_input_tokens",
                "output_tokens",
                "output_tokens_details",
            )
        }
        frames.append(_event({"type": "message_delta", "delta": tail, "usage": total}))
        frames.append(_event({"type": "message_stop"}))
        return frames

    def _models(self, name):
        models = [
            {
                "type": "model",
                "id": m,
                "display_name": m.replace("-", " ").title(),
                "created_at": "2026-01-01T00:00:00Z",
                "lifecycle": "active",
                "max_input_tokens": 200000,
                "max_tokens": 64000,
            }
            for m in MODELS
        ]
        if name:
            found = [m for m in models if m["id"] == name]
            if not found:
                raise self._refusal(404, "not_found_error", f"model: {name}")
            return self.finish(found[0], None, _NONE, False)
        listing = {"data": models, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]}
        return self.finish(listing, None, _NONE, False)


def _event(body):
    return b"event: " + body["type"].encode() + b"\ndata: " + dump(body) + b"\n\n"


def _changes(block, deltas):
    """Return a block's empty form and the deltas that fill it."""
    if block["type"] == "text":
        words = pieces(block["text"], deltas)
        return {**block, "text": ""}, [{"type": "text_delta", "text": w} for w in words]
    if block["type"] == "thinking":
        words = pieces(block["thinking"])
        changes = [{"type": "thinking_delta", "thinking": w} for w in words]
        changes.append({"type": "signature_delta", "signature": block["signature"]})
        return {**block, "thinking": "", "signature": ""}, changes
    text = dump(block["input"]).decode() if block["input"] else ""
    parts = ["", *(text[i : i + 9] for i in range(0, len(text), 9))]
    changes = [{"type": "input_json_delta", "partial_json": p} for p in parts]
    return {**block, "input": {}}, changes


def _ask(body):
    """Return what a request asks for."""
    user, results, images, rounds = "", [], [], 0
    for message in body["messages"]:
        if message["role"] != "user":
            continue
        blocks = blocks_of(message["content"])
        texts = [b["text"] for b in blocks if b["type"] == "text"]
        found = [b for b in blocks if b["type"] == "tool_result"]
        if texts and not found:
            user, results, images, rounds = texts[-1], [], [], 0
        rounds += bool(found)
        for block in [*blocks, *(i for b in found for i in blocks_of(b.get("content") or []))]:
            if block["type"] == "image":
                source = block["source"]
                images.append((source.get("media_type", "url"), image_size(source.get("data", ""))))
        results += [
            "".join(i["text"] for i in blocks_of(b.get("content") or []) if i["type"] == "text")
            for b in found
        ]
    choice = body.get("tool_choice") or {}
    tools = [
        Offered(t["name"], t["input_schema"])
        for t in body.get("tools") or []
        if "input_schema" in t and choice.get("type") != "none"
    ]
    form = output_format(body)
    forced = {"any": "any", "tool": choice.get("name")}.get(choice.get("type"))
    return Ask(
        model=body["model"],
        user=user,
        tools=tools,
        results=results,
        rounds=rounds,
        images=images,
        max_tokens=body["max_tokens"],
        stops=tuple(body.get("stop_sequences", ())),
        schema=form and form["schema"],
        thinking=(body.get("thinking") or {}).get("type") in ("enabled", "adaptive"),
        forced=forced,
        parallel=not choice.get("disable_parallel_tool_use"),
        prompt=[body.get("system"), body["messages"], body.get("tools")],
    )
