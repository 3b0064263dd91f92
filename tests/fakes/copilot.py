"""A fake of the Copilot API over the fakes of the three dialects, as strict as its users report.

It takes tokens that its ``GitHub`` gave out and nothing else, wants the header set of the token's
family, refuses a model on an endpoint that does not serve it, and notes every ``x-initiator``.
Signatures and encrypted thoughts are bound to the account that got them (caozhiyuan/copilot-api
issues 142 and 208).
Rules are from the protocol notes (2026-08); texts of refusals are [guess] unless quoted there.
"""

from dataclasses import dataclass

from tests.fakes.anthropic import Anthropic
from tests.fakes.directives import FAILURES
from tests.fakes.github import OPENCODE
from tests.fakes.openai_chat import OpenAIChat
from tests.fakes.openai_responses import OpenAIResponses
from tests.fakes.service import KEY, Call, Refusal, Reply, Service, bearer, dump

CHAT, RESPONSES, MESSAGES = "/chat/completions", "/responses", "/v1/messages"
EMBEDDINGS = "/embeddings"
BETAS = {
    "interleaved-thinking-2025-05-14",
    "advanced-tool-use-2025-11-20",
    "context-management-2025-06-27",
}
EDITOR_FIELDS = ("editor-version", "editor-plugin-version", "copilot-integration-id")


@dataclass
class Model:
    """One line of the list."""

    id: str
    endpoints: tuple | None
    vendor: str = "OpenAI"
    picker: bool = True
    policy: str | None = "enabled"
    kind: str = "chat"
    context: int = 128_000
    prompt: int = 96_000
    output: int = 16_000
    tools: bool = True
    vision: bool = True


MODELS = (
    Model("gpt-4.1", (CHAT,), policy=None),
    Model("gpt-5-mini", (CHAT, RESPONSES)),
    Model("gpt-5.2-codex", (RESPONSES, "ws:/responses"), context=400_000, output=128_000),
    Model("claude-sonnet-4.5", (CHAT, MESSAGES), "Anthropic", context=200_000, output=64_000),
    Model("claude-opus-4.6", (MESSAGES,), "Anthropic"),
    Model("gemini-3-pro", (CHAT,), "Google", tools=True),
    Model("grok-code-fast-1", None, "xAI", vision=False),
    Model("gpt-4o-old", (CHAT,), picker=False),
    Model("claude-opus-41", (CHAT,), "Anthropic", policy="disabled"),
    Model("realtime-1", ("ws:/responses",)),
    Model("text-embedding-3-small", ("/embeddings",), picker=False, kind="embeddings"),
)


class _Chat(OpenAIChat):
    def check_model(self, model):
        """Every model that got this far is served."""


class _Responses(OpenAIResponses):
    def check_model(self, model):
        """Every model that got this far is served."""


_INNER = {
    CHAT: (_Chat, "/v1/chat/completions"),
    RESPONSES: (_Responses, "/v1/responses"),
    MESSAGES: (Anthropic, MESSAGES),
    EMBEDDINGS: (_Chat, "/v1/embeddings"),
}
"""Endpoint to the fake of its dialect, and the path there."""


class Copilot(Service):
    """See the module. ``github`` is the fake that gives out its tokens."""

    name = "copilot"

    def __init__(self, github, models=MODELS):
        super().__init__()
        self.github = github
        self.models = {model.id: model for model in models}
        self.initiators = []
        self.callers = []
        """GitHub login of each call that was let in."""
        self.spent = False
        """Premium requests are used up."""
        self._inner = {}

    def claims(self, call):
        return call.path in (*_INNER, "/models") or call.path.startswith("/v1")

    def failure(self, kind, status=None, retry_s=None, message=None):
        headers = {} if retry_s is None else {"retry-after": f"{retry_s:g}"}
        return self._refusal(status or FAILURES[kind], kind, message or kind, headers)

    def _refusal(self, status, code, message, headers=None):
        error = {"message": message, "code": code, "type": "invalid_request_error"}
        return Refusal(status, {"error": error}, headers)

    def answer(self, call):
        self._authorize(call.headers)
        if (call.method, call.path) == ("GET", "/models"):
            listed = [self._listed(model) for model in self.models.values()]
            return self._json({"object": "list", "data": listed})
        if call.method != "POST":
            raise self._refusal(404, "not_found", "404 page not found")
        if call.path == EMBEDDINGS:
            return self._pass(call)
        if call.path not in _INNER:
            raise self._refusal(404, "not_found", "404 page not found")
        body = call.json
        self._check_model(body.get("model"), call.path)
        self._check_initiator(call)
        self._check_vision(call, body)
        {CHAT: self._check_chat, RESPONSES: self._check_responses, MESSAGES: self._check_messages}[
            call.path
        ](call, body)
        if self.spent:
            raise self._refusal(402, "quota_exceeded", "You have no quota left.")
        return self._pass(call)

    def _json(self, body):
        return Reply(200, {"content-type": "application/json"}, dump(body))

    def _of_caller(self, path):
        """Return the dialect's fake for the account that calls: seals are bound to accounts."""
        login = self.callers[-1]
        if (login, path) not in self._inner:
            service = _INNER[path][0]()
            service.name = f"{service.name} for {login}"
            self._inner[login, path] = service
        return self._inner[login, path]

    def _pass(self, call):
        service, path = self._of_caller(call.path), _INNER[call.path][1]
        headers = {
            key.lower(): value
            for key, value in call.headers.items()
            if key.lower() not in ("authorization", "openai-beta")
        }
        if isinstance(service, Anthropic):
            headers["x-api-key"] = KEY
        else:
            headers["authorization"] = f"Bearer {KEY}"
        return service.answer(Call(call.method, path, call.query, headers, call.body))

    # -- checks

    def _authorize(self, headers):
        token = bearer(headers)
        if token is None:
            raise self._refusal(401, "unauthorized", "unauthorized: no token")
        editor = [name for name in EDITOR_FIELDS if name in headers]
        if token in self.github.exchanged:
            github_token, end = self.github.exchanged[token]
            if self.github.now() >= end or github_token not in self.github.tokens:
                raise self._refusal(401, "unauthorized", "IDE token expired: unauthorized")
            if len(editor) < len(EDITOR_FIELDS):
                raise self._refusal(400, "bad_request", "missing header for IDE auth")
            token = github_token
        else:
            user, client_id = self.github.tokens.get(token, (None, None))
            if user is None or client_id != OPENCODE:
                raise self._refusal(401, "unauthorized", "unauthorized: token is not valid here")
            if editor:
                raise self._refusal(400, "bad_request", "editor headers do not fit this token")
        if not headers.get("user-agent"):
            raise self._refusal(400, "bad_request", "no user agent")
        if not headers.get("openai-intent") and "x-initiator" in headers:
            raise self._refusal(400, "bad_request", "no intent")
        user, _ = self.github.tokens[token]
        if not user.seat:
            raise self._refusal(403, "forbidden", "Access to this endpoint is forbidden.")
        self.callers.append(user.login)

    def _check_model(self, name, path):
        model = self.models.get(name)
        if model is None or model.policy == "disabled":
            raise self._refusal(400, "model_not_supported", "The requested model is not supported.")
        served = model.endpoints if model.endpoints is not None else (CHAT,)
        if path not in served:
            raise self._refusal(
                400,
                "unsupported_api_for_model",
                f"model {name} is not accessible via the {path} endpoint",
            )

    def _check_initiator(self, call):
        value = call.headers.get("x-initiator")
        if value not in ("user", "agent"):
            raise self._refusal(400, "bad_request", f"x-initiator is {value!r}")
        self.initiators.append(value)

    def _check_vision(self, call, body):
        shown = _images(body.get("messages", body.get("input")))
        told = call.headers.get("copilot-vision-request") == "true"
        if shown and not told:
            raise self._refusal(
                400, "bad_request", "missing required Copilot-Vision-Request header"
            )
        if told and not shown:
            raise self._refusal(400, "bad_request", "Copilot-Vision-Request without an image")

    def _check_chat(self, _call, body):
        for name in ("store", "reasoning_effort", "service_tier"):
            if name in body:
                raise self._refusal(400, "invalid_request_body", f"{name} is not supported")
        if any(message["role"] == "developer" for message in body["messages"]):
            raise self._refusal(400, "invalid_request_body", "role developer is not supported")

    def _check_responses(self, _call, body):
        if body.get("service_tier") is not None:
            raise self._refusal(400, "invalid_request_body", "service_tier is not supported")

    def _check_messages(self, call, body):
        betas = {word.strip() for word in call.headers.get("anthropic-beta", "").split(",")} - {""}
        if betas - BETAS:
            raise self._refusal(400, "invalid_request_body", f"unsupported beta {betas - BETAS}")
        if any("eager_input_streaming" in tool for tool in body.get("tools", ())):
            raise self._refusal(400, "invalid_request_body", "eager_input_streaming")

    def _listed(self, model):
        row = {
            "id": model.id,
            "name": model.id.title(),
            "object": "model",
            "vendor": model.vendor,
            "version": model.id,
            "preview": False,
            "model_picker_enabled": model.picker,
            "billing": {"is_premium": True, "multiplier": 1},
            "capabilities": {
                "family": model.id,
                "tokenizer": "o200k_base",
                "type": model.kind,
                "limits": {
                    "max_context_window_tokens": model.context,
                    "max_prompt_tokens": model.prompt,
                    "max_output_tokens": model.output,
                },
                "supports": {
                    "tool_calls": model.tools,
                    "streaming": True,
                    "vision": model.vision,
                },
            },
        }
        if model.policy is not None:
            row["policy"] = {"state": model.policy, "terms": "Terms."}
        if model.endpoints is not None:
            row["supported_endpoints"] = list(model.endpoints)
        return row


def _images(value):
    """Return whether a body's messages hold an image anywhere."""
    if isinstance(value, list):
        return any(_images(item) for item in value)
    if isinstance(value, dict):
        kinds = ("image", "image_url", "input_image")
        return value.get("type") in kinds or any(_images(item) for item in value.values())
    return False
