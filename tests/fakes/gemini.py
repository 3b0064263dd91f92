"""A fake of the Gemini API (generateContent and its like), as strict as the service.

Messages and fields follow the public reference, https://ai.google.dev/api/generate-content and
/api/caching, and what ``google.genai`` sends to it. Rules carry their source: [seen]
the text is quoted in the linked public thread; [docs] the guides under
https://ai.google.dev/gemini-api/docs state the rule, and [recalled] clients report it, both from
memory without a page at hand; [guess] neither.
"""

import json
import re

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
from tests.fakes.gemini_rules import MESSAGES, Rules
from tests.fakes.protojson import Reader
from tests.fakes.service import Refusal, Service, image_size, status_of

MODELS = ("gemini-2.0-flash", "gemini-2.5-flash", "gemini-2.5-pro", "gemini-3-pro-preview")
STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
ERRORS = {  # [docs] troubleshooting
    "invalid": "Request contains an invalid argument.",
    "context": "The input token count (1200000) exceeds the maximum number of tokens allowed "
    "(1048576).",
    "auth": "API key not valid. Please pass a valid API key.",
    "billing": "Billing is not enabled for this project.",
    "permission": "The caller does not have permission",
    "not_found": "models/missing is not found for API version v1beta, or is not supported for "
    "generateContent. Call ListModels to see the list of available models and their supported "
    "methods.",
    "too_large": "Request payload size exceeds the limit: 20971520 bytes.",
    "rate_limit": "Resource has been exhausted (e.g. check quota).",
    "quota": "You exceeded your current quota, please check your plan and billing details.",
    "server": "An internal error has occurred. Please retry or report in "
    "https://developers.generativeai.google/guide/troubleshooting",
    "overloaded": "The model is overloaded. Please try again later.",
    "timeout": "Deadline expired before operation could complete.",
}
FINISH = {
    "end": "STOP",
    "tool": "STOP",
    "stop_sequence": "STOP",
    "max_tokens": "MAX_TOKENS",
    "refusal": "PROHIBITED_CONTENT",
    "content_filter": "SAFETY",
}
_NONE = Faults()

_PATH = re.compile(r"^/(v1|v1beta)/models/([^:]+):([a-zA-Z]+)$")
_VERB = {
    "generateContent": "GenerateContentRequest",
    "streamGenerateContent": "GenerateContentRequest",
    "countTokens": "CountTokensRequest",
}


def dump(value):
    """Render JSON as Google's servers do: these characters come escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for char in "<>&='\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text.encode("utf-8", "surrogatepass")


class Gemini(Service):
    """``/v1beta/models`` and ``/v1/models`` with their methods."""

    name = "gemini"

    def claims(self, call):
        if call.path.startswith("/v1beta/") or _PATH.match(call.path):
            return True
        return call.path.startswith("/v1/models") and (
            "x-goog-api-key" in call.headers or "key" in call.query
        )

    def answer(self, call):
        self._authorize(call)
        listing = re.match(r"^/(v1|v1beta)/models(?:/([^:]+))?$", call.path)
        if call.method == "GET" and listing:
            return self._models(listing[1], listing[2])
        match = _PATH.match(call.path)
        if call.method != "POST" or not match or match[3] not in _VERB:
            raise Refusal(404, {"error": {"code": 404, "message": "", "status": "NOT_FOUND"}})
        version, model, verb = match.groups()
        body = self._read(call, _VERB[verb])
        if not model.startswith("gemini-"):
            raise self._refusal(
                404,
                f"models/{model} is not found for API version {version}, or is not supported for "
                f"{verb}. Call ListModels to see the list of available models and their supported "
                "methods.",
            )
        if verb == "countTokens":
            inner = body.get("generateContentRequest") or body
            tokens = count_tokens([inner.get("contents"), inner.get("tools")])
            details = [{"modality": "TEXT", "tokenCount": tokens}]
            counted = {"totalTokens": tokens, "promptTokensDetails": details}
            return self.finish(dump(counted), None, _NONE, False)
        Rules(self, body, model).run()
        return self._generate(body, model, verb == "streamGenerateContent", call.query)

    def _generate(self, body, model, stream, query):
        ask = _ask(body, model)
        answer, faults = plan(ask)
        self.fail_if_told(faults)
        chunks = self._chunks(body, model, answer)
        as_events = query.get("alt") == "sse"
        if not stream:
            return self.finish(dump(_joined(chunks)), None, faults, False)
        reply = self.finish(
            b"", lambda: _sse(chunks) if as_events else _array(chunks), faults, True
        )
        if not as_events:
            reply.headers["content-type"] = "application/json; charset=UTF-8"
        else:
            reply.headers["content-type"] = "text/event-stream"
        return reply

    # -- refusals

    def _refusal(self, status, message, details=None, headers=None):
        error = {"code": status, "message": message, "status": STATUS.get(status, "UNKNOWN")}
        if details:
            error["details"] = details
        return Refusal(status, {"error": error}, headers)

    def fail(self, message):
        raise self._refusal(400, message)

    def failure(self, kind, status=None, retry_s=None, message=None):
        status = status_of(kind, status)
        if kind == "auth" and status == 401:
            status = 400  # a wrong key is answered with 400 [recalled]
        details = []
        if kind == "auth":
            details.append(_info("API_KEY_INVALID"))
        if kind == "quota":
            quota = {"quotaMetric": "generate_content_free_tier_requests", "quotaValue": "20"}
            details.append(
                {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [quota]}
            )
        if retry_s is not None:
            details.append(
                {
                    "@type": "type.googleapis.com/google.rpc.RetryInfo",
                    "retryDelay": f"{retry_s:g}s",
                }
            )
        return self._refusal(status, message or ERRORS[kind], details)

    def failed_frames(self, kind):
        return [b"data: " + dump(self.failure(kind).body) + b"\r\n\r\n"]

    def success_headers(self):
        return {"server-timing": "gfet4t7; dur=12", "vary": "Origin, X-Origin, Referer"}

    def _authorize(self, call):
        key = call.headers.get("x-goog-api-key") or call.query.get("key")
        if not key:
            raise self._refusal(  # [recalled]
                403,
                "Method doesn't allow unregistered callers (callers without established "
                "identity). Please use API Key or other form of API consumer identity to call "
                "this API.",
            )
        if key not in self.keys:
            raise self.failure("auth")

    def _read(self, call, kind):
        try:
            body = call.json
        except ValueError as error:
            raise self._refusal(400, f"Invalid JSON payload received. {error}") from error
        reader = Reader(MESSAGES)
        body = reader.read(body, kind)
        if reader.faults:
            violations = [{"field": f, "description": d} for f, d in reader.faults]
            raise self._refusal(
                400,
                "\n".join(d for _, d in reader.faults),
                [
                    {
                        "@type": "type.googleapis.com/google.rpc.BadRequest",
                        "fieldViolations": violations,
                    }
                ],
            )
        return body

    # -- answers

    def _signed(self, model, body):
        config = body.get("generationConfig", {}).get("thinkingConfig")
        return model.startswith("gemini-3") or bool(config)

    def signature(self):
        return self.seal("")

    def _chunks(self, body, model, answer):
        """Return the stream's chunks; the last has the finish reason."""
        signed = self._signed(model, body)
        usage, response_id = _usage(answer.usage), self.new_id("", 22)
        base = {"modelVersion": model, "responseId": response_id}
        if answer.stop == "blocked":
            feedback = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
            spent = {k: usage[k] for k in ("promptTokenCount", "promptTokensDetails")}
            spent["totalTokenCount"] = spent["promptTokenCount"]
            return [{**feedback, "usageMetadata": spent, **base}]
        parts = []
        for part in answer.parts:
            if isinstance(part, Think) and _wants_thoughts(body):
                parts += [{"text": w, "thought": True} for w in pieces(part.text)]
            elif isinstance(part, Text):
                parts += [{"text": w} for w in pieces(part.text, answer.deltas)]
        for i, call in enumerate(answer.calls):
            parts.append(self._call(call, signed and i == 0, model))
        if signed and not answer.calls:  # the signature comes in a part of its own [docs]
            parts.append({"text": "", "thoughtSignature": self.signature()})
        chunks = []
        for part in parts or [{"text": ""}]:
            candidate = {"content": {"parts": [part], "role": "model"}, "index": 0}
            chunks.append({"candidates": [candidate], "usageMetadata": usage, **base})
        last = chunks[-1]["candidates"][0]
        last["finishReason"] = FINISH[answer.stop]
        if answer.stop == "content_filter":
            last["safetyRatings"] = [
                {"category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH", "blocked": True}
            ]
        for chunk in chunks[:-1]:  # interim counts lack what is still to come [docs]
            chunk["usageMetadata"] = {
                k: v
                for k, v in usage.items()
                if k not in ("candidatesTokenCount", "thoughtsTokenCount")
            }
            chunk["usageMetadata"]["totalTokenCount"] = usage["promptTokenCount"]
        return chunks

    def _call(self, call: Called, signed, model):
        made = {"name": call.name, "args": call.arguments}
        if model.startswith("gemini-3"):
            made = {"id": self.new_id("", 8), **made}
        part = {"functionCall": made}
        return {**part, "thoughtSignature": self.signature()} if signed else part

    def _models(self, version, name):
        listed = [
            {
                "name": f"models/{m}",
                "version": "001",
                "displayName": m,
                "description": "A model",
                "inputTokenLimit": 1048576,
                "outputTokenLimit": 65536,
                "supportedGenerationMethods": ["generateContent", "countTokens"],
                "thinking": m != MODELS[0],
            }
            for m in MODELS
        ]
        if not name:
            return self.finish(dump({"models": listed}), None, _NONE, False)
        found = [m for m in listed if m["name"] == f"models/{name}"]
        if not found:
            raise self._refusal(
                404,
                f"Model is not found: models/{name} for api version {version}",
            )
        return self.finish(dump(found[0]), None, _NONE, False)


def _info(reason):
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com"},
    }


def _sse(chunks):
    # Google ends its lines with CRLF
    return [b"data: " + dump(c) + b"\r\n\r\n" for c in chunks]


def _array(chunks):
    """Render the form without ``alt=sse``: one JSON array, element by element."""
    frames = [(b"," if i else b"[") + dump(c) + b"\r\n" for i, c in enumerate(chunks)]
    frames[-1] += b"]"
    return frames


def _joined(chunks):
    """Fold a stream's chunks into the plain answer; texts of one kind become one part."""
    whole = {**chunks[-1]}
    if "candidates" not in whole:
        return whole
    parts = []
    for chunk in chunks:
        for part in chunk["candidates"][0]["content"]["parts"]:
            same = parts and "text" in part and "text" in parts[-1]
            if same and part.get("thought") == parts[-1].get("thought"):
                parts[-1] = {**parts[-1], **part, "text": parts[-1]["text"] + part["text"]}
            else:
                parts.append(dict(part))
    candidate = {**whole["candidates"][0], "content": {"parts": parts, "role": "model"}}
    return {**whole, "candidates": [candidate]}


def _usage(usage):
    counts = {
        "promptTokenCount": usage.prompt,
        "candidatesTokenCount": usage.output - usage.reasoning,
        "totalTokenCount": usage.prompt + usage.output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.prompt}],
    }
    if usage.cached:
        counts["cachedContentTokenCount"] = usage.cached
        counts["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": usage.cached}]
    if usage.reasoning:
        counts["thoughtsTokenCount"] = usage.reasoning
    return counts


def _wants_thoughts(body):
    config = body.get("generationConfig", {}).get("thinkingConfig", {})
    return bool(config.get("includeThoughts"))


def _ask(body, model):
    """Return what a request asks for."""
    user, results, images, rounds = "", [], [], 0
    for content in body["contents"]:
        if content.get("role", "user") == "model":
            continue
        found = [p["functionResponse"] for p in content["parts"] if "functionResponse" in p]
        texts = [p["text"] for p in content["parts"] if "text" in p]
        blobs = [p["inlineData"] for p in content["parts"] if "inlineData" in p]
        if texts and not found:
            user, results, images, rounds = texts[-1], [], [], 0
        images += [(b["mimeType"], image_size(b["data"])) for b in blobs]
        rounds += bool(found)
        results += [_result_text(r.get("response", {})) for r in found]
    config = body.get("generationConfig", {})
    calling = body.get("toolConfig", {}).get("functionCallingConfig", {})
    allowed = calling.get("allowedFunctionNames")
    tools = [
        Offered(
            d["name"], d.get("parameters") or d.get("parametersJsonSchema") or {"type": "object"}
        )
        for t in body.get("tools", [])
        for d in t.get("functionDeclarations", [])
        if calling.get("mode") != "NONE" and (not allowed or d["name"] in allowed)
    ]
    schema = config.get("responseSchema") or config.get("responseJsonSchema")
    if schema is None and config.get("responseMimeType") == "application/json":
        schema = {}
    thinking = config.get("thinkingConfig") or {}
    return Ask(
        model=model,
        user=user,
        tools=tools,
        results=results,
        rounds=rounds,
        images=images,
        max_tokens=config.get("maxOutputTokens"),
        stops=tuple(config.get("stopSequences", ())),
        schema=schema,
        thinking=bool(thinking) and thinking.get("thinkingBudget") != 0,
        forced="any" if calling.get("mode") == "ANY" else None,
        prompt=[body.get("systemInstruction"), body["contents"], body.get("tools")],
    )


def _result_text(response):
    for key in ("output", "result", "content", "error"):
        if key in response:
            value = response[key]
            return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return json.dumps(response, ensure_ascii=False)
