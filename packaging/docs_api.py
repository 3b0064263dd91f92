"""The page of all routes, from the description that a running Dragoman gives of itself."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import re
import tempfile
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import httpx
from api_examples import EXAMPLES, Example

from app.configfile import load_file, locate
from app.instance import Instance
from app.paths import Paths
from app.server.openapi_document import INFERENCE_ERRORS, REFUSED, WRONG_BODY, coded
from app.service import ServeOptions, Service

__all__ = ["document", "render"]

_WIDTH = 100
_METHODS = ("get", "post", "put", "patch", "delete")

HEAD = """\
# API

Every address that Dragoman answers. By default it listens at `http://localhost:8317`, on this
machine only. There are two kinds of routes: those by which programs ask models, in the words of
four vendors, and those by which programs and people look at Dragoman and change it.

The same description for machines is at `GET /admin/openapi.json` (OpenAPI 3.1). Whole programs that
run as they stand are in [Examples](examples.md).

SECTIONS

## Who may call

| caller | what it needs | what it reaches |
|---|---|---|
| a process of the same user on this machine | nothing | models, health, quota, starting a sign-in |
| any other caller, and every web page | a client key: `dragoman keys create` | the same, but for sign-ins, and within the key's scope |
| whoever may change Dragoman | an admin key, the local token, or a session of the dashboard | everything |
| a page of AI Studio | a relay key | `GET /v1/ws` |

A key is sent as `Authorization: Bearer dg-…`, as `x-api-key`, or as `x-goog-api-key`; under
`/v1beta` also as `?key=`. The local token is in `instance.json` in the runtime folder, new at each
start; a refused call prints the `curl` line that reads it. For scripts, make an admin key and keep
it in a variable:

```text
export DRAGOMAN_KEY="$(dragoman keys create --admin --label scripts)"
```

A web page is let in only when its origin stands under `access: origins` in the
[settings](configuration.md). A call for a host name that is not Dragoman's is refused.
[Security](security.md) says why.

In the tables below, *models* stands for the first two lines of this table, *control* for the third,
*relay* for the fourth, and *anyone* for routes that need nothing.

## Header fields

| field | in | meaning |
|---|---|---|
| `x-request-id` | every answer | the id of the request, the same as in the ledger and in `GET /admin/requests/{name}` |
| `x-dragoman-route` | every answer | who served it and how: `provider`, `model` (the service's name), `grade`, `attempts`, `account` (only for callers without a key), `cache=hit` |
| `x-dragoman-count` | answers of token counts | `exact` from the service, or `estimate` |
| `x-upstream-request-id` | answers of services that name one | the service's own id |
| `retry-after` | 429, and 503 where it is known | seconds until another try makes sense |
| `www-authenticate` | 401 | `Bearer realm="dragoman"` |
| `x-dragoman-token` | requests to control routes | the local token, where `Authorization` is taken |
| `cache-control` | requests for models | `no-cache` asks anew, `no-store` also keeps nothing, where the [cache](usage.md#the-same-answer-again) is on |
| `traceparent`, `tracestate` | requests for models | the trace that the request belongs to |

The grades in `x-dragoman-route`: `verbatim`, no byte was changed; `patched`, named fields were
replaced and all else kept; `translated`, through another vendor's words, with a list of losses in
the ledger.

## Errors

An error has the form that the caller's own clients read. The message says what happened and what to
do, and ends with the address of its entry in [Troubleshooting](troubleshooting.md).

| form | for | where the code is |
|---|---|---|
| [`OpenAIError`](#shape-openaierror) | everybody else | `error.code` |
| [`AnthropicError`](#shape-anthropicerror) | `/v1/messages`, and requests with `anthropic-version` | in the address at the end of the message |
| [`GeminiError`](#shape-geminierror) | `/v1beta`, and requests with `x-goog-api-key` | in the address at the end of the message |

A failure after an answer has begun is sent as the dialect's own error event.
"""

_TRANSLATED = (
    "A call goes to the account that serves its model. Where that account's service speaks the same "
    "words, nothing is changed, or single fields are. Else the call is translated, and so is the "
    "answer: a setting that cannot be said is left out and noted, and content that cannot be said is "
    "refused with 400. `GET /admin/requests/{name}` shows what was left out."
)


@functools.cache
def document() -> dict[str, Any]:
    """Return what a Dragoman without accounts and settings says of its routes."""
    with tempfile.TemporaryDirectory() as home:
        return asyncio.run(_ask(home))


async def _ask(home: str) -> dict[str, Any]:
    env = {"DRAGOMAN_HOME": home, "PATH": os.environ.get("PATH", "")}
    paths = Paths.find(env)
    paths.config.mkdir(parents=True, exist_ok=True)
    located = locate(None, env)
    instance = Instance.acquire(paths.data, paths.runtime)
    config = load_file(located, env)
    service = Service(paths, located, ServeOptions(port=0), env, config, instance)
    try:
        await service.start()
        address = f"http://127.0.0.1:{service.port}/admin/openapi.json"
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            reply = await client.get(address, headers={"x-dragoman-token": instance.token})
        found: dict[str, Any] = reply.raise_for_status().json()
        return found
    finally:
        await service.close()


def render() -> str:
    """Return the whole page."""
    described = document()
    titles = [tag["name"] for tag in described["tags"]]
    links = ", ".join(f"[{title}](#{anchor(title)})" for title in [*titles, "Shapes"])
    head = HEAD.replace("SECTIONS", wrapped(f"Routes by what they are for: {links}."))
    parts = [head, *_callers(), *_routes(described), *_shapes(described)]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _callers() -> Iterator[str]:
    """Yield what a route answers to whom it does not know."""
    yield "What routes of *models* answer to a caller that may not call:\n"
    yield _error_table(REFUSED["inference"])
    yield "What routes of *control* answer to a caller that may not call, or sends a wrong body:\n"
    yield _error_table((*REFUSED["control"], *REFUSED["open"], WRONG_BODY))


# --- routes ----------------------------------------------------------------------------------------


def _routes(described: Mapping[str, Any]) -> Iterator[str]:
    for tag in described["tags"]:
        found = [
            (method, path, operation)
            for path, methods in described["paths"].items()
            for method, operation in methods.items()
            if operation["tags"] == [tag["name"]]
        ]
        yield f"## {tag['name']}\n\n{wrapped(tag['description'])}\n"
        if tag["name"] == "Inference":
            yield wrapped(_TRANSLATED) + "\n"
            yield wrapped("Beside the errors of its vendor, each of them may answer:") + "\n"
            yield _error_table(INFERENCE_ERRORS)
        rows = ["| route | caller | what it does |", "|---|---|---|"]
        for method, path, operation in found:
            name = f"{method.upper()} {path}"
            rows.append(
                f"| [`{name}`](#{anchor(name)}) | {_caller(operation)} | {operation['summary']} |"
            )
        yield "\n".join(rows) + "\n"
        for method, path, operation in found:
            yield _operation(f"{method.upper()} {path}", operation, described)


def _caller(operation: Mapping[str, Any]) -> str:
    words = {"inference": "models", "own": "models, no client key", "open": "anyone"}
    words |= {"proven": "the same user, with a ticket", "token": "the token in the path"}
    who: str = operation["x-dragoman-who"]
    return words.get(who, who)


def _operation(name: str, operation: Mapping[str, Any], described: Mapping[str, Any]) -> str:
    lines = [f"### {name}", ""]
    vendor = operation.get("externalDocs")
    lines += [wrapped(_sentence(operation["summary"])), ""]
    if vendor is not None:
        said = (
            f"Body and answer are those of [{vendor['description']}]({vendor['url']}). Differences:"
        )
        lines += [wrapped(said), ""]
        lines += [*(listed(one) for one in operation["x-dragoman-differences"]), ""]
    elif "description" in operation:
        lines += [wrapped(operation["description"]), ""]
    if also := operation.get("x-dragoman-also"):
        lines += [wrapped("Also at " + ", ".join(f"`{path}`" for path in also) + "."), ""]
    lines += _parameters(operation)
    if vendor is None:
        lines += _body(operation, described)
        lines += _answer(operation)
    lines += _errors(operation)
    if example := EXAMPLES.get(name):
        lines += _example(name, example)
    return "\n".join(lines)


def _parameters(operation: Mapping[str, Any]) -> list[str]:
    if not operation["parameters"]:
        return []
    rows = ["| parameter | in | meaning |", "|---|---|---|"]
    for one in operation["parameters"]:
        needed = " Required." if one["in"] == "query" and one["required"] else ""
        rows.append(f"| `{one['name']}` | {one['in']} | {cell(one['description'])}{needed} |")
    return [*rows, ""]


def _body(operation: Mapping[str, Any], described: Mapping[str, Any]) -> list[str]:
    if "requestBody" not in operation:
        return []
    sent = operation["requestBody"]["content"]["application/json"]["schema"]
    name = _name(sent)
    needed = "" if operation["requestBody"]["required"] else " It may be left out."
    return [
        f"Body, a JSON object (`{name}`).{needed}",
        "",
        *_fields(described["components"]["schemas"][name], needs=True),
        "",
    ]


def _answer(operation: Mapping[str, Any]) -> list[str]:
    told = []
    for status, answer in operation["responses"].items():
        content = answer.get("content", {})
        if status == "101":
            told.append("Answer: 101, a WebSocket.")
        elif status.startswith("2") or "Error" not in json.dumps(content):
            (kind, schema), *_ = content.items()
            name = _name(schema["schema"])
            shape = f"[`{name}`](#shape-{name.lower()})" if name else ""
            if not shape:
                shape = "a JSON object" if kind == "application/json" else f"`{kind}`"
            when = "" if status.startswith("2") else f", when {answer['description']}"
            told.append(f"Answer: {status}, {shape}{when}.")
    return [line for one in told for line in (wrapped(one), "")]


def _errors(operation: Mapping[str, Any]) -> list[str]:
    """Return a table of errors, but for those that the sections tell of all routes."""
    usual = {coded(error.partition(" ")[2]) for error in _usual()}
    rows = []
    for status, answer in operation["responses"].items():
        if status[0] not in "45" or "Error" not in json.dumps(answer.get("content", {})):
            continue
        told = [one for one in answer["description"].split("; ") if one not in usual]
        if told:
            rows.append(f"| {status} | {linked(cell('; '.join(told)))} |")
    return ["| error | code and reason |", "|---|---|", *rows, ""] if rows else []


def _usual() -> Iterator[str]:
    yield WRONG_BODY
    yield from INFERENCE_ERRORS
    for errors in REFUSED.values():
        yield from errors


def _error_table(errors: Iterable[str]) -> str:
    rows = ["| error | code and reason |", "|---|---|"]
    for error in errors:
        status, _, told = error.partition(" ")
        rows.append(f"| {status} | {linked(coded(told))} |")
    return "\n".join(rows) + "\n"


def _example(name: str, example: Example) -> list[str]:
    method, path = name.split(" ")
    path = example.path or path
    return [
        *("```bash", example.curl(method, path), "```", ""),
        *("```python", example.python(method, path), "```", ""),
        *("```javascript", example.javascript(method, path), "```", ""),
    ]


# --- shapes ----------------------------------------------------------------------------------------


def _shapes(described: Mapping[str, Any]) -> Iterator[str]:
    yield "## Shapes\n\n" + wrapped(
        "What bodies and answers are made of. A field that is marked *optional* may be missing."
    )
    shown = set(re.findall(r"\(#shape-(\w+)\)", "".join(_routes(described))))
    for name, schema in described["components"]["schemas"].items():
        if name.endswith("Body") and name.lower() not in shown and "Error" not in name:
            continue  # its fields stand at its route
        lines = [f"### Shape: {name}", ""]
        if "description" in schema:
            lines += [wrapped(plain(schema["description"])), ""]
        if "anyOf" in schema:
            lines += [wrapped(f"One of {_type(schema)}."), ""]
        else:
            lines += [*_fields(schema, needs=False), ""]
        yield "\n".join(lines)


def _fields(schema: Mapping[str, Any], *, needs: bool) -> list[str]:
    required = set(schema.get("required", ()))
    mark = "Required." if needs else "*Optional.*"
    rows = ["| field | type | meaning |", "|---|---|---|"]
    for name, field in schema.get("properties", {}).items():
        about = cell(_about(field))
        marked = (name in required) == needs
        rows.append(
            f"| `{name}` | {_type(field)} | {f'{about} {mark}'.strip() if marked else about} |"
        )
    return rows if len(rows) > 2 else ["It has no fields of its own."]


def _about(field: Mapping[str, Any]) -> str:
    about = field.get("description", "")
    for one in field.get("anyOf", ()):
        about = about or one.get("description", "")
    return plain(about)


def _type(schema: Mapping[str, Any]) -> str:
    words = {
        "string": "text",
        "integer": "whole number",
        "boolean": "true or false",
        "null": "null",
    }
    if name := _name(schema):
        return f"[`{name}`](#shape-{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(one) for one in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"`{one}`" if one else "empty" for one in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_type(schema['items'])}" if schema.get("items") else "list"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"object of {_type(inner)}" if isinstance(inner, dict) and inner else "object"
    if isinstance(kind, list):
        return " or ".join(words.get(one, one) for one in kind)
    return words.get(kind, "number") if kind else "any JSON"


def _name(schema: Mapping[str, Any]) -> str:
    reference = schema.get("$ref", "")
    if not reference and len(schema.get("allOf", ())) == 1:
        reference = schema["allOf"][0].get("$ref", "")
    return str(reference.rpartition("/")[2])


# --- text ------------------------------------------------------------------------------------------


def anchor(heading: str) -> str:
    """Return the anchor of a heading as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def wrapped(text: str) -> str:
    """Return text in lines; what stands in backquotes stays on one."""
    held = re.sub(r"`[^`]*`|\[[^\]]*\]\([^)]*\)", lambda match: match[0].replace(" ", "\0"), text)
    return textwrap.fill(held, _WIDTH, break_long_words=False, break_on_hyphens=False).replace(
        "\0", " "
    )


def linked(text: str) -> str:
    """Return text with each code of an error leading to its entry."""
    entry = r"[`\1`](troubleshooting.md#\1)"
    return re.sub(r"`([a-z]+(?:_[a-z0-9]+)+|paused)`(?=[,:])", entry, text)


def listed(text: str) -> str:
    """Return an item of a list."""
    return wrapped(f"- {text}").replace("\n", "\n  ")


def plain(text: str) -> str:
    """Return a docstring's text as Markdown in one line."""
    return " ".join(text.replace("``", "`").split())


def cell(text: str) -> str:
    """Return text that can stand in a table."""
    return text.replace("|", "\\|")


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
