"""The API description: route tables, models of bodies and words, joined to one OpenAPI document.

What is served and by whom it may be called is read off the tables that serve it; the models that
check a body describe it; the words come from ``openapi_routes``, ``openapi_fields`` and
``openapi_inference``. A route without words is an error here, and a test. The same document is
``GET /admin/openapi.json`` and the help page ``API``.

Paths that mean the same as another are not repeated: the operation lists them under
``x-dragoman-also``. Source: https://spec.openapis.org/oas/v3.1.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, get_type_hints, is_typeddict

import msgspec
from pydantic import BaseModel
from tornado.web import RequestHandler

from app.server import openapi_answers, openapi_shapes
from app.server.inference import Entry
from app.server.openapi_answers import LiveLine
from app.server.openapi_fields import FIELDS, parameter_about
from app.server.openapi_inference import INFERENCE, Vendor
from app.server.openapi_paths import parameters_of, path_templates
from app.server.openapi_routes import OPERATIONS, SAME, TAGS, Operation, Who
from app.server.openapi_shapes import AnthropicError, GeminiError, OpenAIError
from app.server.pages import Page

__all__ = [
    "INFERENCE_ERRORS",
    "METHODS",
    "REFUSED",
    "WRONG_BODY",
    "Served",
    "coded",
    "describe",
    "served_entries",
    "served_pages",
]

Schema: TypeAlias = dict[str, Any]

_SHAPES: Mapping[str, Any] = {
    name: getattr(module, name)
    for module in (openapi_shapes, openapi_answers)
    for name in module.__all__
}
METHODS = ("get", "post", "put", "patch", "delete")
_REF = "#/components/schemas/{name}"
_ERROR = {"application/json": {"schema": {"$ref": _REF.format(name="Error")}}}
_KEYS: tuple[Schema, ...] = ({"clientKey": []}, {"clientKeyHeader": []}, {"clientKeyGoogle": []})
_CONTROL: tuple[Schema, ...] = (
    {"localToken": []},
    {"localTokenHeader": []},
    {"adminKey": []},
    {"session": []},
)
_SECURITY: Mapping[Who, Sequence[Schema]] = {
    "open": (),
    "token": (),
    "proven": ({},),
    "inference": ({}, *_KEYS, *_CONTROL),
    "own": ({}, *_CONTROL),
    "control": _CONTROL,
    "relay": ({"relayKey": []},),
}
"""``{}`` stands for no key: a process of the same user on this machine."""
REFUSED: Mapping[Who, tuple[str, ...]] = {
    "open": ("403 bad_host: the host is not a name of this server",),
    "token": ("403 bad_host: the host is not a name of this server",),
    "proven": (),
    "inference": (
        "401 key_required, invalid_key, expired_key, revoked_key: a key is needed, or is wrong",
        "403 bad_host, origin_not_allowed: the host or the web page may not call",
        "429 too_many_failed_keys: wrong keys were sent again and again",
    ),
    "own": ("401 key_required: the caller is not shown to be the same user",),
    "control": (
        "401 token_required: neither token, admin key nor session was sent, or it is wrong",
        "403 wrong_key_kind: a client's key may not do this",
    ),
    "relay": ("401 key_required, invalid_key: a relay key is needed",),
}
"""What a route may answer because of its caller, as ``Operation.errors`` has it."""
INFERENCE_ERRORS = (
    "400 invalid_request, unsupported_content: the body is wrong, or cannot be said to the service",
    "404 model_not_found: no account serves the model",
    "413 request_too_large: the body is larger than `advanced.max_body_mb`",
    "415 unsupported_media_type: multipart form data was sent",
    "429 accounts_cooling, key_limit_reached, budget_exceeded: wait as long as `retry-after` says",
    "502 upstream_error: the service failed",
    "503 paused: Dragoman takes no calls now",
    "504 upstream_timeout: the service was too slow",
)
"""What every inference route may answer, beside what its vendor says."""
WRONG_BODY = "400 invalid_json: the body is no JSON, or not of this shape"
_SCHEMES: Mapping[str, Schema] = {
    "localToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of `instance.json` in the runtime folder: new at each start, and "
        "readable by the user alone.",
    },
    "localTokenHeader": {
        "type": "apiKey",
        "in": "header",
        "name": "x-dragoman-token",
        "description": "The same token, where `Authorization` is taken.",
    },
    "adminKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key of the kind `admin`: `dragoman keys create --admin`.",
    },
    "session": {
        "type": "http",
        "scheme": "bearer",
        "description": "A session of the dashboard, from `POST /admin/session`.",
    },
    "clientKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key of the kind `client`: `dragoman keys create`. Processes of the same "
        "user on this machine need none.",
    },
    "clientKeyHeader": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "The same key, as Anthropic's clients send it.",
    },
    "clientKeyGoogle": {
        "type": "apiKey",
        "in": "header",
        "name": "x-goog-api-key",
        "description": "The same key, as Gemini's clients send it; also `?key=` in the query.",
    },
    "relayKey": {
        "type": "apiKey",
        "in": "query",
        "name": "auth_token",
        "description": "A key of the kind `relay`, for one account.",
    },
}
_HEADERS: Mapping[str, Schema] = {
    "RequestId": {
        "description": "Id of the request, the same as in the ledger.",
        "schema": {"type": "string"},
    },
    "Route": {
        "description": "Who served it and how: `provider`, `model`, `grade`, `attempts`, and for "
        "callers without a key `account`.",
        "schema": {"type": "string"},
    },
    "RetryAfter": {
        "description": "Seconds to wait before the next try.",
        "schema": {"type": "integer"},
    },
    "Count": {
        "description": "`exact`: counted by the service; `estimate`: counted here.",
        "schema": {"type": "string", "enum": ["exact", "estimate"]},
    },
}
_SENT = {
    "x-request-id": {"$ref": "#/components/headers/RequestId"},
    "x-dragoman-route": {"$ref": "#/components/headers/Route"},
}
_LATER = {**_SENT, "retry-after": {"$ref": "#/components/headers/RetryAfter"}}


@dataclass(frozen=True, slots=True)
class Served:
    """What serves some paths: a page with its methods, or an inference route (POST)."""

    paths: tuple[str, ...]
    """Templates that mean the same, or, for a choice of words, one each."""
    methods: tuple[str, ...]
    page: type[Page] | None = None
    entry: Entry | None = None


def served_pages(rules: Iterable[tuple[str, type[Any]]]) -> list[Served]:
    """Return what the pages serve.

    Args:
        rules: pattern and handler, as in Tornado's table.
    """
    found = []
    for pattern, page in rules:
        methods = tuple(
            method
            for method in METHODS
            if getattr(page, method) is not getattr(RequestHandler, method)
        )
        found.append(Served(path_templates(pattern), methods, page=page))
    return found


def served_entries(exact: Mapping[str, Entry], patterns: Iterable[Entry]) -> list[Served]:
    """Return what the inference routes serve, with the paths of each together."""
    paths: dict[tuple[str, str | None], list[str]] = {}
    entries: dict[tuple[str, str | None], Entry] = {}
    for path, entry in exact.items():
        key = (entry.route.pattern.pattern, entry.extra)
        paths.setdefault(key, []).append(path)
        entries[key] = entry
    for entry in patterns:
        key = (entry.route.pattern.pattern, None)
        paths.setdefault(key, []).extend(path_templates(entry.route.pattern.pattern))
        entries.setdefault(key, entry)
    return [
        Served(tuple(dict.fromkeys(paths[key])), ("post",), entry=entry)
        for key, entry in entries.items()
    ]


def describe(served: Sequence[Served], version: str) -> Schema:
    """Return the OpenAPI document.

    Args:
        served: everything that is served.
        version: of the program.

    Raises:
        KeyError: nobody has said what a route, a parameter or a field is for.
    """
    return _Writer(version).write(served)


class _Writer:
    """Writes one document; collects the types that it names."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._paths: dict[str, Schema] = {}
        self._answers: dict[str, Any] = {}
        self._bodies: dict[str, type[Any]] = {}

    def write(self, served: Sequence[Served]) -> Schema:
        for each in served:
            if each.entry is not None:
                self._infer(each)
            else:
                for method in each.methods:
                    self._page(each, method)
        order = {name: number for number, name in enumerate(TAGS)}
        paths = dict(sorted(self._paths.items(), key=lambda item: _place(item, order)))
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "Dragoman",
                "version": self._version,
                "summary": "One local address for every model account.",
                "description": "The routes of a running Dragoman. Every answer to GET is given to "
                "HEAD, too, without its body, but for sign-ins. Times are epoch seconds UTC.",
                "license": {"name": "MIT", "identifier": "MIT"},
            },
            "servers": [{"url": "http://localhost:8317", "description": "The default address."}],
            "tags": [{"name": name, "description": about} for name, about in TAGS.items()],
            "paths": paths,
            "components": {
                "schemas": self._schemas(),
                "headers": dict(_HEADERS),
                "securitySchemes": dict(_SCHEMES),
            },
        }

    # --- routes ------------------------------------------------------------------------------------

    def _page(self, served: Served, method: str) -> None:
        assert served.page is not None  # noqa: S101 - the caller has looked
        known = [path for path in served.paths if f"{method.upper()} {path}" in OPERATIONS]
        others = [path for path in served.paths if path not in known]
        if not known:
            for path in others:
                self._also(method, SAME.get(path) or _said_before(path, self._paths, method), path)
            return
        for path in known:
            operation = OPERATIONS[f"{method.upper()} {path}"]
            if method not in self._paths.setdefault(path, {}):
                self._paths[path][method] = self._operation(path, method, operation, served.page)
        for path in others:
            self._also(method, known[0], path)

    def _also(self, method: str, path: str, also: str) -> None:
        if path != also:
            self._paths[path][method].setdefault("x-dragoman-also", []).append(also)

    def _operation(self, path: str, method: str, operation: Operation, page: type[Page]) -> Schema:
        who: Who = operation.who or page.kind
        body = page.takes.get(method) if operation.body else None
        answered: Schema = {"description": f"{operation.summary}: done.", "headers": _SENT}
        if content := self._content(operation.answer):
            answered["content"] = content
        errors = [*operation.errors, *REFUSED[who]]
        if body is not None:
            errors.append(WRONG_BODY)
        written: Schema = {
            "operationId": _operation_id(method, path),
            "tags": [operation.tag],
            "summary": operation.summary,
            "x-dragoman-who": who,
            "security": [dict(each) for each in _SECURITY[who]],
            "parameters": [
                *(_path_parameter(path, name) for name in parameters_of(path)),
                *(
                    {
                        "name": field.name,
                        "in": "query",
                        "required": field.required,
                        "description": field.about,
                        "schema": {"type": field.kind},
                    }
                    for field in operation.query
                ),
            ],
        }
        if operation.about:
            written["description"] = operation.about
        if body is not None:
            written["requestBody"] = self._body(body, may_be_empty=operation.empty)
        written["responses"] = {
            str(operation.status): answered,
            **_refusals(errors),
            **{
                str(status): {
                    "description": when,
                    "headers": _SENT,
                    "content": self._content(answer),
                }
                for status, answer, when in operation.refusals
            },
        }
        return written

    def _infer(self, served: Served) -> None:
        assert served.entry is not None  # noqa: S101 - the caller has looked
        path = next((path for path in served.paths if path in INFERENCE), None)
        if path is None:
            raise KeyError(f"POST {served.paths[0]}")
        vendor = INFERENCE[path]
        self._paths.setdefault(path, {})["post"] = {
            "operationId": _operation_id("post", path),
            "tags": ["Inference"],
            "summary": vendor.summary,
            "description": " ".join(vendor.differences),
            "externalDocs": {"url": vendor.reference, "description": vendor.dialect},
            "x-dragoman-who": "inference",
            "x-dragoman-dialect": served.entry.dialect.name,
            "x-dragoman-differences": list(vendor.differences),
            "x-dragoman-also": [other for other in served.paths if other != path],
            "security": [dict(each) for each in _SECURITY["inference"]],
            "parameters": [_path_parameter(path, name) for name in parameters_of(path)],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"type": "object"}}},
                "description": f"As in {vendor.dialect}: {vendor.reference}",
            },
            "responses": {
                "200": _vendor_answer(vendor, served.entry.route.operation == "count_tokens"),
                **_refusals([*INFERENCE_ERRORS, *REFUSED["inference"]]),
            },
        }

    # --- bodies and answers ------------------------------------------------------------------------

    def _content(self, answer: Any) -> Schema:
        if answer is None:
            return {}
        if isinstance(answer, str):
            return {answer: {"schema": {"type": "string"}}}
        if isinstance(answer, type):
            self._answers[answer.__name__] = answer
            schema: Schema = {"$ref": _REF.format(name=answer.__name__)}
        else:
            schema = {"type": "object"}  # of somebody else's form
        return {"application/json": {"schema": schema}}

    def _body(self, model: type[Any], *, may_be_empty: bool) -> Schema:
        name = _body_name(model.__name__)
        self._bodies[name] = model
        return {
            "required": not may_be_empty or _must_be_sent(model),
            "content": {"application/json": {"schema": {"$ref": _REF.format(name=name)}}},
        }

    def _schemas(self) -> Schema:
        errors = (OpenAIError, AnthropicError, GeminiError)
        wanted = (*self._answers.values(), LiveLine, *errors)
        _, found = msgspec.json.schema_components(wanted, ref_template=_REF)
        schemas = {name: _in_order(schema, _SHAPES.get(name)) for name, schema in found.items()}
        schemas["Error"] = {
            "description": "An error in the form that the caller's clients read.",
            "anyOf": [{"$ref": _REF.format(name=error.__name__)} for error in errors],
        }
        for name, model in self._bodies.items():
            schemas |= _body_schemas(name, model)
        for name, words in FIELDS.items():
            if name not in schemas:
                raise KeyError(f"{name}: there is nothing of this name to be explained")
            for field, about in words.items():
                schemas[name]["properties"][field]["description"] = about
        # As JSON has it: what stands for nothing in Python is no JSON.
        plain: Schema = msgspec.json.decode(msgspec.json.encode(dict(sorted(schemas.items()))))
        return plain


def _place(item: tuple[str, Schema], order: Mapping[str, int]) -> tuple[int, int]:
    """Return where a path stands: by its tag, then as the words have it."""
    path, methods = item
    first = next(iter(methods.values()))
    known = list(INFERENCE) if path in INFERENCE else [k.partition(" ")[2] for k in OPERATIONS]
    return order[first["tags"][0]], known.index(path)


def _said_before(path: str, paths: Mapping[str, Schema], method: str) -> str:
    """Return a path of the same form that has been described: another pattern for it.

    Raises:
        KeyError: there is none, and nobody has said what this one is for.
    """
    for known, methods in paths.items():
        if known == path and method in methods:
            return known
    raise KeyError(f"{method.upper()} {path}")


def _operation_id(method: str, path: str) -> str:
    words = re.sub(r"[^A-Za-z0-9]+", "_", path).strip("_")
    return f"{method}_{words}"


def _path_parameter(path: str, name: str) -> Schema:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": parameter_about(path, name),
        "schema": {"type": "string"},
    }


def _refusals(errors: Iterable[str]) -> Schema:
    """Return the responses of errors, one for each status."""
    lines: dict[str, list[str]] = {}
    for error in errors:
        status, _, told = error.partition(" ")
        lines.setdefault(status, [])
        if told not in lines[status]:
            lines[status].append(told)
    found: Schema = {
        status: {
            "description": "; ".join(coded(line) for line in lines[status]),
            "headers": _LATER if status in ("429", "503") else _SENT,
            "content": _ERROR,
        }
        for status in sorted(lines)
    }
    found["default"] = {
        "description": "Any other error; its code is in the help.",
        "headers": _SENT,
        "content": _ERROR,
    }
    return found


def coded(line: str) -> str:
    """Return an error without its status, its codes in backquotes."""
    codes, _, when = line.partition(": ")
    return f"{', '.join(f'`{code}`' for code in codes.split(', '))}: {when}"


def _vendor_answer(vendor: Vendor, counts: bool) -> Schema:
    content: Schema = {"application/json": {"schema": {"type": "object"}}}
    if vendor.streams:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    headers: Schema = dict(_SENT)
    if counts:
        headers["x-dragoman-count"] = {"$ref": "#/components/headers/Count"}
    return {
        "description": f"As in {vendor.dialect}: {vendor.reference}",
        "headers": headers,
        "content": content,
    }


def _body_name(name: str) -> str:
    name = name.lstrip("_")
    return name if name.endswith("Body") else f"{name}Body"


def _must_be_sent(model: type[Any]) -> bool:
    if issubclass(model, BaseModel):
        return any(field.is_required() for field in model.model_fields.values())
    return any(field.required for field in msgspec.structs.fields(model))


def _body_schemas(name: str, model: type[Any]) -> Schema:
    """Return a body's schema, and those of what is in it, by their names here."""
    if issubclass(model, BaseModel):
        schema = model.model_json_schema()
        schema["title"] = name
        for field in schema["properties"].values():
            field.pop("title", None)
        return {name: schema}
    _, found = msgspec.json.schema_components((model,), ref_template=_REF)
    renamed = msgspec.json.encode(found)
    for inner in found:
        here = _REF.format(name=inner).encode()
        renamed = renamed.replace(here, _REF.format(name=_body_name(inner)).encode())
    schemas: Schema = {_body_name(k): v for k, v in msgspec.json.decode(renamed).items()}
    for inner, schema in schemas.items():
        schema["title"] = inner
    return schemas


def _in_order(schema: Schema, shape: Any) -> Schema:
    """Return an answer's schema with its fields in the order in which they are written down.

    What is rendered from a dataclass is always whole, whatever has a default there.
    """
    fields = schema.get("properties", {})
    if is_typeddict(shape):
        order = [name for name in get_type_hints(shape) if name in fields]
        return {**schema, "properties": {name: fields[name] for name in order}}
    told = {
        name: {key: value for key, value in field.items() if key != "default"}
        for name, field in fields.items()
    }
    return {**schema, "properties": told, "required": list(told)}
