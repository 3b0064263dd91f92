"""The calls that the page of routes shows in curl, Python and JavaScript.

``tests/docs/test_api.py`` runs each of them against a running Dragoman.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["EXAMPLES", "Example"]

_ADDRESS = "http://localhost:8317"


@dataclass(frozen=True, slots=True)
class Example:
    """One call.

    Args:
        body: JSON to send; None for nothing.
        control: whether it needs an admin key.
        path: with values in place of parameters, and a query; empty for the route's own.
        show: what of the answer is printed, as names that lead to it; empty for all.
    """

    body: Mapping[str, Any] | None = None
    control: bool = False
    path: str = ""
    show: tuple[str | int, ...] = ()

    def curl(self, method: str, path: str) -> str:
        """Return it for a shell."""
        words = ["curl -s"]
        if method not in ("GET", "POST") or (method == "POST" and self.body is None):
            words.append(f"-X {method}")
        words.append(f"'{_ADDRESS}{path}'" if "?" in path else f"{_ADDRESS}{path}")
        lines = [" ".join(words)]
        if self.control:
            lines.append('-H "Authorization: Bearer $DRAGOMAN_KEY"')
        if self.body is not None:
            lines.append(f"-d '{json.dumps(self.body)}'")
        return " \\\n  ".join(lines)

    def python(self, method: str, path: str) -> str:
        """Return it for Python with httpx."""
        lines = ["import os", "", "import httpx", ""] if self.control else ["import httpx", ""]
        given = [f'    "{_ADDRESS}{path}",']
        if self.control:
            given.append(
                """    headers={"Authorization": f"Bearer {os.environ['DRAGOMAN_KEY']}"},"""
            )
        if self.body is not None:
            given.append(f"    json={_python(self.body)},".replace("\n", "\n    "))
        given.append("    timeout=60,")
        lines += [f"reply = httpx.{method.lower()}(", *given, ")", "reply.raise_for_status()"]
        return "\n".join([*lines, f"print(reply.json(){_steps(self.show)})"])

    def javascript(self, method: str, path: str) -> str:
        """Return it for Node 18 and later, as a module."""
        options = [] if method == "GET" else [f'  method: "{method}",']
        if self.control:
            options.append("  headers: { Authorization: `Bearer ${process.env.DRAGOMAN_KEY}` },")
        if self.body is not None:
            options.append(f"  body: JSON.stringify({_script(self.body)}),")
        address = f'"{_ADDRESS}{path}"'
        call = (
            f"fetch({address})"
            if not options
            else "\n".join([f"fetch({address}, {{", *options, "})"])
        )
        return "\n".join(
            [
                f"const reply = await {call};",
                "if (!reply.ok) throw new Error(await reply.text());",
                "const answer = await reply.json();",
                f"console.log(answer{_steps(self.show)});",
            ]
        )


def _short(value: Any, longest: int, indent: str) -> str:
    """Return JSON in one line, or with a line for each key where that would be too long."""
    text = json.dumps(value)
    if len(text) <= longest or not isinstance(value, dict):
        return text
    rows = (f"{indent}{json.dumps(key)}: {json.dumps(inner)}" for key, inner in value.items())
    return "{\n" + ",\n".join(rows) + ",\n}"


def _script(value: Any) -> str:
    return _short(value, 70, "  ").replace("\n", "\n  ")


def _python(value: Any) -> str:
    text = _short(value, 84, "    ")
    for json_word, word in (("true", "True"), ("false", "False"), ("null", "None")):
        text = text.replace(f": {json_word}", f": {word}")
    return text


def _steps(steps: tuple[str | int, ...]) -> str:
    return "".join(f"[{json.dumps(step)}]" for step in steps)


_TALK = [{"role": "user", "content": "Say hello."}]
_CONTENTS = [{"role": "user", "parts": [{"text": "Say hello."}]}]

EXAMPLES: Mapping[str, Example] = {
    "POST /v1/chat/completions": Example(
        {"model": "demo-chat", "messages": _TALK}, show=("choices", 0, "message", "content")
    ),
    "POST /v1/responses": Example(
        {"model": "demo-chat", "input": "Say hello."}, show=("output", 0, "content", 0, "text")
    ),
    "POST /v1/messages": Example(
        {"model": "demo-chat", "max_tokens": 200, "messages": _TALK}, show=("content", 0, "text")
    ),
    "POST /v1/messages/count_tokens": Example(
        {"model": "demo-chat", "messages": _TALK}, show=("input_tokens",)
    ),
    "POST /v1beta/models/{model}:generateContent": Example(
        {"contents": _CONTENTS},
        path="/v1beta/models/demo-chat:generateContent",
        show=("candidates", 0, "content", "parts", 0, "text"),
    ),
    "GET /v1/health": Example(show=("status",)),
    "GET /v1/quota": Example(path="/v1/quota?refresh=1", show=("accounts",)),
    "GET /v1/models": Example(show=("data",)),
    "GET /v1/models/{model}": Example(path="/v1/models/demo-chat", show=("id",)),
    "GET /admin/accounts": Example(control=True, show=("accounts",)),
    "GET /admin/keys": Example(control=True, show=("keys",)),
    "POST /admin/keys": Example(
        {"label": "night-job", "models": ["gpt-*"], "limits": ["60/minute", "5 usd/month"]},
        control=True,
        show=("record", "id"),
    ),
    "GET /admin/usage": Example(
        control=True, path="/admin/usage?by=model&since=7d", show=("total",)
    ),
    "GET /admin/requests": Example(
        control=True, path="/admin/requests?limit=5", show=("requests",)
    ),
    "GET /admin/budgets": Example(control=True, show=("budgets",)),
    "POST /admin/route/explain": Example(
        {"model": "demo-chat", "tokens": 4000, "tools": ["read_file"]},
        control=True,
        show=("candidates",),
    ),
    "POST /admin/routes/check": Example(
        {"text": "aliases: {fast: demo-chat}", "question": {"model": "fast"}},
        control=True,
        show=("faults",),
    ),
    "GET /admin/config": Example(control=True, show=("values", "logging")),
    "PATCH /admin/config": Example(
        {"changes": [{"key": ["logging", "level"], "value": "info"}]},
        control=True,
        show=("faults",),
    ),
    "POST /admin/config/reload": Example(control=True, show=("problems",)),
    "POST /admin/models/refresh": Example(control=True, show=("sources",)),
    "GET /admin/agents": Example(control=True, show=("offered",)),
    "GET /admin/openapi.json": Example(control=True, show=("openapi",)),
}
"""By route; all of them work where there is no account."""
