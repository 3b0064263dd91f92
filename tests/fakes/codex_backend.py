"""A fake of ChatGPT's Codex service: Responses with rules of its own.

Its refusals are ``{"detail": …}`` with the service's texts. Sources are marked as in
``tests.fakes.openai_service``; the rules are those in which public clients agree.
"""

import json

from tests.fakes.openai_responses import OpenAIResponses
from tests.fakes.openai_service import ERRORS, NONE
from tests.fakes.service import CREATED, Refusal, dump

REFUSED = (  # [recalled] "Unsupported parameter: max_output_tokens"
    "max_output_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "truncation",
    "user",
    "previous_response_id",
    "generate",
    "prompt_cache_retention",
    "prompt_cache_options",
    "safety_identifier",
    "context_management",
)
MODELS = ("gpt-5.6-sol", "gpt-5.6-terra", "gpt-5.6-luna", "gpt-5.5", "gpt-5.4", "gpt-5.4-mini")


class CodexBackend(OpenAIResponses):
    """``/backend-api/codex`` for the tokens of a ``ChatGptIdentity``."""

    name = "codex_backend"
    base = "/backend-api/codex"

    def __init__(self, identity):
        super().__init__()
        self.identity = identity
        self.models_of_plan = set(MODELS)
        self.exhausted = False
        """Set: the plan's window is used up."""

    def claims(self, call):
        return call.path.startswith(self.base)

    def answer(self, call):
        self.identity.check(call.headers)
        path = call.path.removeprefix(self.base)
        if call.method == "GET" and "upgrade" in call.headers:
            raise self._refusal(426, "Upgrade Required")
        if call.method == "GET" and path == "/models":
            return self._models(call)
        if call.method == "POST" and path == "/responses":
            return self._generate(call)
        if call.method == "POST" and path == "/responses/compact":
            return self._compact(self._read(call))
        raise Refusal(404, {"detail": "Not Found"})

    def detail(self, text):
        raise Refusal(400, {"detail": text})

    def success_headers(self):
        now = self.identity.now()
        headers = super().success_headers()
        headers["x-codex-plan-type"] = self.identity.person.plan
        for place, (used, length, after) in self.identity.windows.items():
            headers[f"x-codex-{place}-used-percent"] = f"{used:g}"
            headers[f"x-codex-{place}-window-minutes"] = f"{length // 60}"
            headers[f"x-codex-{place}-reset-at"] = f"{now + after:.0f}"
        return headers

    def failure(self, kind, status=None, retry_s=None, message=None):
        if kind != "quota":
            return super().failure(kind, status, retry_s, message)
        _, _, after = self.identity.windows["primary"]
        error = {
            "type": "usage_limit_reached",
            "message": "The usage limit has been reached",
            "plan_type": self.identity.person.plan,
            "resets_at": int(self.identity.now() + after),
            "resets_in_seconds": int(after),
        }
        return Refusal(429, {"error": error}, self.success_headers())

    def failed_frames(self, kind):
        """Return an ``error`` event for what the service tells inside a 200, else as the API."""
        told = {
            "overloaded": ("service_unavailable_error", "server_is_overloaded"),
            "rate_limit": ("rate_limit_error", "rate_limit_exceeded"),
        }
        if kind == "quota":
            error = self.failure("quota").body["error"]
        elif kind in told:
            error_type, code = told[kind]
            error = {"type": error_type, "code": code, "message": ERRORS[kind][2], "param": None}
        else:
            return super().failed_frames(kind)
        event = {"type": "error", "sequence_number": 2, "error": error}
        return [b"event: error\ndata: " + dump(event) + b"\n\n"]

    def _models(self, call):
        if not call.query.get("client_version"):  # [recalled]
            self.detail("Missing client_version")
        rows = [
            {
                "slug": model,
                "display_name": model.upper(),
                "context_window": 272_000,
                "visibility": "list",
                "supported_in_api": True,
            }
            for model in sorted(self.models_of_plan)
        ]
        rows.append({"slug": "codex-auto-review", "visibility": "hide"})
        return self.finish({"models": rows}, None, NONE, False)

    # -- rules

    def _read(self, call):
        try:
            body = call.json
        except ValueError:
            body = None
        if not isinstance(body, dict):
            self.detail("Invalid JSON")
        return body

    def _check_common(self, body):
        for name in REFUSED:
            if name in body:
                self.detail(f"Unsupported parameter: {name}")
        if not isinstance(body.get("instructions"), str):  # [seen] openai/codex issue 3376
            self.detail("Instructions are required")
        if not isinstance(body.get("input"), list):  # [recalled]
            self.detail("Input must be a list")
        if body.get("model") not in self.models_of_plan:  # [recalled]
            self.detail(
                f"The '{body.get('model')}' model is not supported when using Codex with a ChatGPT "
                "account."
            )
        for item in body["input"]:
            if item.get("role") == "system":  # [recalled]
                self.detail("System messages are not allowed")
            parts = item.get("content") if isinstance(item.get("content"), list) else []
            if any("prompt_cache_breakpoint" in part for part in parts):
                self.detail("Unsupported parameter: prompt_cache_breakpoint")
        for tool in body.get("tools") or []:
            if tool.get("type", "").startswith("web_search_preview"):  # [recalled]
                self.detail(f"Unsupported tool type: {tool['type']}")

    def _check_body(self, body):
        self._check_common(body)
        if body.get("store") is not False:  # [seen] openai/codex issue 26173
            self.detail("Store must be set to false")
        if body.get("stream") is not True:  # [recalled]
            self.detail("Stream must be set to true")
        if set(body.get("stream_options") or {}) - {"reasoning_summary_delivery"}:  # [guess]
            self.detail("Unsupported parameter: stream_options")
        if body.get("service_tier") not in (None, "priority"):  # [guess]
            self.detail(f"Unsupported service_tier: {body['service_tier']}")
        if "parallel_tool_calls" in body and not body.get("tools"):  # [guess]
            self.detail("Unsupported parameter: parallel_tool_calls")

    # -- answers

    def _generate(self, call):
        body = self._read(call)
        self._check_body(body)
        if self.exhausted:
            raise self.failure("quota")
        reply = self._create(body)
        if reply.frames:
            reply.frames = self._as_codex(reply.frames)
        return reply

    def _as_codex(self, frames):
        """Return a stream with the handshake events, and with nothing in the last one's output."""
        events = [json.loads(frame.partition(b"data: ")[2]) for frame in frames]
        started = sum(e["type"] in ("response.created", "response.in_progress") for e in events)
        events[started:started] = self._handshake()
        for event in events:
            if event["type"] in ("response.completed", "response.incomplete"):
                event["response"] = {**event["response"], "output": []}
        return [b"event: " + e["type"].encode() + b"\ndata: " + dump(e) + b"\n\n" for e in events]

    def _handshake(self):
        limits = {
            place: {
                "used_percent": used,
                "window_minutes": length // 60,
                "reset_at": int(self.identity.now() + after),
            }
            for place, (used, length, after) in self.identity.windows.items()
        }
        return [
            {
                "type": "codex.rate_limits",
                "plan_type": self.identity.person.plan,
                "rate_limits": {"allowed": True, "limit_reached": False, **limits},
            },
            {"type": "codex.response.metadata", "metadata": {"model": "auto"}},
        ]

    def _compact(self, body):
        self._check_common(body)
        for name in ("stream", "store", "include"):  # [guess]
            if name in body:
                self.detail(f"Unsupported parameter: {name}")
        seal = self.seal("", "gAAAAA")
        item = {"id": self.new_id("cmp_", 48), "type": "compaction", "encrypted_content": seal}
        answer = {
            "id": self.new_id("resp_", 48),
            "object": "response.compaction",
            "created_at": CREATED,
            "output": [item],
        }
        return self.finish(answer, None, NONE, False)
