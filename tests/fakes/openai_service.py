"""What OpenAI's endpoints share: keys, errors and their wording, models, tools, pictures.

Field rules come from the SDK's types (``openai.types``). Rules beside them carry their source:
[seen] the text is quoted in the linked public thread; [docs] the documentation
(https://platform.openai.com/docs/api-reference and guides) states the rule, and [recalled] clients
report it, both from memory without a page at hand; [guess] neither.
"""

import re

from tests.fakes import schema as schemas
from tests.fakes.directives import Faults
from tests.fakes.service import CREATED, Refusal, Service, bearer, image_size, status_of
from tests.fakes.shape import check, json_type

MODELS = (
    "gpt-4.1",
    "gpt-4o-mini",
    "gpt-5",
    "gpt-5-mini",
    "o4-mini",
    "text-embedding-3-small",
    "gpt-image-1",
)
ERRORS = {  # kind: type, code, message [docs] error codes
    "invalid": ("invalid_request_error", None, "The request is invalid."),
    "context": (
        "invalid_request_error",
        "context_length_exceeded",
        "Your input exceeds the context window of this model. Please adjust your input and try "
        "again.",
    ),
    "auth": (
        "invalid_request_error",
        "invalid_api_key",
        "Incorrect API key provided: test. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
    ),
    "billing": ("billing_error", "billing_not_active", "Your account is not active."),
    "permission": (
        "invalid_request_error",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    "not_found": (
        "invalid_request_error",
        "model_not_found",
        "The model `missing` does not exist or you do not have access to it.",
    ),
    "too_large": ("invalid_request_error", None, "Maximum content size limit exceeded."),
    "rate_limit": (
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached for this model in organization org-test on requests per min (RPM): "
        "Limit 3, Used 3, Requested 1. Please try again in 20s.",
    ),
    "quota": (
        "insufficient_quota",
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "server": (
        "server_error",
        None,
        "The server had an error while processing your request. Sorry about that!",
    ),
    "overloaded": (
        "service_unavailable_error",
        "server_is_overloaded",
        "Our servers are currently overloaded. Please try again later.",
    ),
    "timeout": ("server_error", "timeout", "Request timed out."),
}
NONE = Faults()

TOOL_NAME = r"^[a-zA-Z0-9_-]+$"  # [recalled]
_FAMILY = re.compile(r"^(gpt-|o\d|chatgpt-|codex-|text-embedding-|dall-e-|computer-use)")
_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_ARTICLES = {"integer": "an integer", "number": "a decimal", "array": "an array"}
_ARTICLES |= {"object": "an object", "string": "a string", "boolean": "a boolean", "null": "null"}


def is_reasoning(model):
    """Return whether a model reasons before it answers [docs]."""
    return bool(re.match(r"^(gpt-[5-9]|o\d|codex-)", model)) and "chat" not in model


def takes_sampling(model, effort):
    """Return whether sampling settings are taken; from GPT-5.1 on with effort ``none`` [docs]."""
    return not is_reasoning(model) or (effort == "none" and bool(re.match(r"gpt-5\.\d", model)))


def where(path):
    """Render a path as the service does: ``messages[0].content``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _listed(words, joiner="and"):
    words = list(words)
    if len(words) < 2:
        return "".join(words)
    if len(words) == 2:
        return f"{words[0]} {joiner} {words[1]}"
    return ", ".join(words[:-1]) + f", {joiner} {words[-1]}"


def data_url(url):
    """Return ``(media type, size)`` of a data URL; size None when its data is not base64."""
    match = re.match(r"data:([^;,]+);base64,(.*)$", url, re.DOTALL)
    return (match[1], image_size(match[2])) if match else None


class OpenAI(Service):
    """Base of the OpenAI fakes."""

    def _refusal(self, status, message, param=None, code=None, kind="invalid_request_error"):
        error = {"message": message, "type": kind, "param": param, "code": code}
        return Refusal(status, {"error": error})

    def fail(self, message, param=None, code=None):
        raise self._refusal(400, message, param, code)

    def failure(self, kind, status=None, retry_s=None, message=None):
        error_type, code, text = ERRORS[kind]
        refusal = self._refusal(status_of(kind, status), message or text, None, code, error_type)
        if retry_s is not None:
            refusal.headers["retry-after"] = f"{retry_s:g}"
            refusal.headers["retry-after-ms"] = f"{retry_s * 1000:.0f}"
        if kind == "rate_limit":
            refusal.headers["x-ratelimit-remaining-requests"] = "0"
            refusal.headers["x-ratelimit-reset-requests"] = "20s"
        return refusal

    def success_headers(self):
        return {
            "x-request-id": self.new_id("req_", 32),
            "openai-version": "2020-10-01",
            "openai-processing-ms": "12",
            "x-ratelimit-limit-requests": "500",
            "x-ratelimit-remaining-requests": "499",
        }

    def authorize(self, headers):
        token = bearer(headers)
        if token is None:
            raise self._refusal(
                401,
                "You didn't provide an API key. You need to provide your API key in an "
                "Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY). You "
                "can obtain an API key from https://platform.openai.com/account/api-keys.",
            )
        if token not in self.keys:
            shown = token if len(token) < 12 else f"{token[:4]}****{token[-4:]}"
            raise self._refusal(
                401,
                f"Incorrect API key provided: {shown}. You can find your API key at "
                "https://platform.openai.com/account/api-keys.",
                code="invalid_api_key",
            )

    def read(self, call):
        if "json" not in call.headers.get("content-type", ""):  # [guess]
            self.fail("Unsupported content type. Expected 'application/json'.")
        try:
            body = call.json
        except ValueError:
            body = None
        if not isinstance(body, dict):  # [recalled]
            self.fail(
                "We could not parse the JSON body of your request. (HINT: This likely means you "
                "aren't using your HTTP library correctly. The OpenAI API expects a JSON payload, "
                "but what was sent was not valid JSON.)"
            )
        return body

    def check_model(self, model):
        if not _FAMILY.match(model):
            raise self._refusal(
                404,
                f"The model `{model}` does not exist or you do not have access to it.",
                code="model_not_found",
            )

    def check_fields(self, body, hint, select=lambda problems: problems):
        """Refuse the first field that is not as in the SDK's types."""
        problems = select(check(body, hint))
        # a missing field is told only when nothing present is wrong
        for problem in sorted(problems, key=lambda p: p.kind == "missing"):
            self._tell(problem)

    def _tell(self, problem):
        at, got = where(problem.path), problem.got
        if problem.kind == "extra":  # [recalled]
            self.fail(f"Unknown parameter: '{at}'.", at, "unknown_parameter")
        if problem.kind == "missing":  # [recalled]
            self.fail(f"Missing required parameter: '{at}'.", at, "missing_required_parameter")
        if problem.kind in ("value", "tag"):  # [recalled]
            values = _listed(f"'{v}'" for v in problem.expected)
            self.fail(
                f"Invalid value: '{got}'. Supported values are: {values}.", at, "invalid_value"
            )
        expected = [_ARTICLES[name] for name in problem.expected]
        one = "one of " if len(expected) > 1 else ""
        self.fail(  # [recalled]
            f"Invalid type for '{at}': expected {one}{_listed(expected, 'or')}, but got "
            f"{_ARTICLES[json_type(got)]} instead.",
            at,
            "invalid_type",
        )

    # -- rules that several endpoints share

    def check_length(self, at, text, limit):  # [recalled]
        if len(text) > limit:
            self.fail(
                f"Invalid '{at}': string too long. Expected a string with maximum length {limit}, "
                f"but got a string with length {len(text)} instead.",
                at,
                "string_above_max_length",
            )

    def check_filled(self, at, values):  # [recalled]
        if not values:
            self.fail(
                f"Invalid '{at}': empty array. Expected an array with minimum length 1, but got an "
                "empty array instead.",
                at,
                "empty_array",
            )

    def check_range(self, body, name, low, high=None):  # [recalled]
        value = body.get(name)
        if value is None:
            return
        kind = "integer" if isinstance(value, int) else "decimal"
        if value < low:
            self.fail(
                f"Invalid '{name}': {kind} below minimum value. Expected a value >= {low}, but got "
                f"{value} instead.",
                name,
                f"{kind}_below_min_value",
            )
        if high is not None and value > high:
            self.fail(
                f"Invalid '{name}': {kind} above maximum value. Expected a value <= {high}, but "
                f"got {value} instead.",
                name,
                f"{kind}_above_max_value",
            )

    def check_name(self, at, name, limit=64):
        if not re.match(TOOL_NAME, name):  # [recalled]
            self.fail(
                f"Invalid '{at}': string does not match pattern. Expected a string that matches "
                f"the pattern '{TOOL_NAME}'.",
                at,
                "invalid_value",
            )
        self.check_length(at, name, limit)

    def check_function(self, at, function):
        """Check a function's name and schema; ``function`` has name, parameters, strict."""
        self.check_name(f"{at}.name", function["name"])
        parameters, param = function.get("parameters"), f"{at}.parameters"
        if parameters is None:
            return
        lead = f"Invalid schema for function '{function['name']}': "
        code = "invalid_function_parameters"
        if parameters.get("type") != "object":  # [recalled]
            kind = parameters.get("type")
            shown = f'"{kind}"' if kind else '"None"'
            self.fail(
                lead + f"schema must be a JSON Schema of 'type: \"object\"', got 'type: {shown}'.",
                param,
                code,
            )
        if found := schemas.invalid(parameters):
            self.fail(lead + found[1] + ".", param, code)
        if function.get("strict") and (why := schemas.not_strict(parameters)):
            self.fail(lead + why, param, code)

    def check_schema(self, at, form):
        """Check a structured answer's ``{name, schema, strict}``."""
        self.check_name(f"{at}.name", form["name"])
        schema = form.get("schema") or {}
        lead = f"Invalid schema for response_format '{form['name']}': "
        if schema.get("type") != "object" and "$ref" not in schema:  # [recalled]
            kind = schema.get("type") or "None"
            self.fail(
                lead
                + f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'.",
                at,
                "invalid_json_schema",
            )
        if found := schemas.invalid(schema):
            self.fail(lead + found[1] + ".", at, "invalid_json_schema")
        if form.get("strict") and (why := schemas.not_strict(schema)):
            self.fail(lead + why, at, "invalid_json_schema")

    def check_picture(self, at, url):
        """Check an image's URL; returns ``(media type, size)``, or None for a remote one."""
        if not url.startswith("data:"):
            if not re.match(r"https?://", url):  # [recalled]
                self.fail(
                    f"Invalid '{at}'. Expected a valid URL, but got a value with an invalid "
                    "format.",
                    at,
                    "invalid_value",
                )
            return None
        found = data_url(url)
        if not found or not found[1]:
            self.fail("Invalid base64 image_url.", at, "invalid_base64")  # [recalled]
        if found[0] not in _PICTURES:  # [recalled]
            self.fail(
                "You uploaded an unsupported image. Please make sure your image has of one the "
                "following formats: ['png', 'jpeg', 'gif', 'webp'].",
                at,
                "invalid_image_format",
            )
        return found

    def check_tool_settings(self, body, names):
        """Check settings that need tools."""
        for name in ("tool_choice", "parallel_tool_calls"):
            # [recalled] tool_choice none and auto pass with no tools in Responses only
            if body.get(name) is not None and not body.get("tools"):
                self.fail(
                    f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are "
                    "specified.",
                    name,
                )
        choice = body.get("tool_choice")
        named = choice.get("function", choice) if isinstance(choice, dict) else {}
        named = named.get("name") or (choice.get("custom", {}).get("name") if named else None)
        if named and named not in names:
            self.fail(
                f"Invalid value for 'tool_choice': tool '{named}' not found in 'tools'.",
                "tool_choice",
            )

    def unsupported(self, name, hint=""):
        self.fail(
            f"Unsupported parameter: '{name}' is not supported with this model.{hint}",
            name,
            "unsupported_parameter",
        )

    def models(self, name):
        listed = [
            {"id": m, "object": "model", "created": CREATED, "owned_by": "openai"} for m in MODELS
        ]
        if not name:
            return self.finish({"object": "list", "data": listed}, None, NONE, False)
        self.check_model(name)
        found = [m for m in listed if m["id"] == name]
        if not found:
            raise self._refusal(
                404,
                f"The model '{name}' does not exist",
                "model",
                "model_not_found",
            )
        return self.finish(found[0], None, NONE, False)
