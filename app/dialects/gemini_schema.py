"""JSON Schema on its way to Gemini and back.

Gemini describes arguments and answers in one of two ways: as JSON Schema with a short list of
keywords (``parametersJsonSchema``, ``responseJsonSchema``), or as its older subset of OpenAPI
(``parameters``, ``responseSchema``: upper-case types, ``nullable``, no ``const``). What neither
can say is dropped and named, because Gemini refuses a whole request for one unknown keyword.

References are written out in place: a recursive one is cut at its second turn, and a schema that
would grow beyond ``_MAX_NODES`` is cut where it stands.

Sources: https://ai.google.dev/api/generate-content#FIELDS.response_json_schema and
https://ai.google.dev/api/caching#Schema (read November 2026).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from app.canonical.parts import Json, JsonObject

__all__ = ["clean", "from_openapi", "to_openapi"]

_MAX_NODES = 20_000
_MAX_DEPTH = 48

_words = re.compile(r"[$\w]+").findall
_SILENT: frozenset[str] = frozenset(
    _words(
        "$schema $id $anchor $comment $defs $vocabulary $dynamicAnchor definitions examples "
        "deprecated readOnly writeOnly"
    )
)
"""Keywords that say nothing about which values are valid, once references are written out."""
_JSON_KEPT: frozenset[str] = frozenset(
    _words(
        "type format title description enum items prefixItems minItems maxItems minimum maximum "
        "anyOf properties additionalProperties required propertyOrdering"
    )
)
_OPENAPI_KEPT: frozenset[str] = frozenset(
    _words(
        "type format title description nullable enum items minItems maxItems minimum maximum anyOf "
        "properties required propertyOrdering minProperties maxProperties minLength maxLength "
        "pattern example default"
    )
)
_LISTS = ("anyOf", "prefixItems")
_STRING_FORMATS = ("enum", "date-time")
_NUMBER_FORMATS = ("float", "double", "int32", "int64")


def clean(schema: Mapping[str, Json]) -> tuple[JsonObject, tuple[str, ...]]:
    """Return a schema in the JSON Schema that Gemini knows.

    Returns:
        The schema (``type`` lists kept), and the keywords that were dropped, each once, in the
        order met.
    """
    walk = _Inliner(schema)
    plain = walk.resolve(dict(schema), (), 0)
    result = _Cleaner(walk.dropped).visit(plain)
    if not result:
        result = {"type": "object", "properties": {}}
    elif "type" not in result and "properties" in result:
        result = {"type": "object", **result}
    return result, tuple(walk.dropped)


def to_openapi(schema: Mapping[str, Json]) -> tuple[JsonObject, tuple[str, ...]]:
    """Return a schema in Gemini's OpenAPI subset, and the keywords that were dropped."""
    walk = _Inliner(schema)
    plain = walk.resolve(dict(schema), (), 0)
    cleaned = _Cleaner(walk.dropped, openapi=True).visit(plain)
    result = _OpenApi(walk.dropped).visit(cleaned)
    if "type" not in result and "anyOf" not in result:
        result = {"type": "OBJECT", **result}
    return result, tuple(walk.dropped)


def from_openapi(schema: Mapping[str, Json]) -> JsonObject:
    """Return a schema of Gemini's OpenAPI subset as JSON Schema.

    Types become lower case, ``nullable`` a type list; keys in snake_case and counts written as
    strings, which the protocol's JSON form allows, become what JSON Schema has.
    """
    return _read_openapi(schema, 0)


class _Inliner:
    """Writes references out and merges ``allOf``; booleans become ``{}``."""

    def __init__(self, root: Mapping[str, Json]) -> None:
        self.root = root
        self.dropped: dict[str, None] = {}
        self._nodes = 0

    def resolve(self, schema: Json, seen: tuple[str, ...], depth: int) -> JsonObject:
        self._nodes += 1
        if not isinstance(schema, dict):
            if schema is not True:
                self.dropped["false"] = None
            return {}
        if self._nodes > _MAX_NODES or depth > _MAX_DEPTH:
            self.dropped["$ref" if self._nodes > _MAX_NODES else "nesting"] = None
            return _outline(schema)
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return self._follow(schema, reference, seen, depth)
        result: JsonObject = {}
        for key, value in schema.items():
            if key in ("properties", "patternProperties") and isinstance(value, dict):
                result[key] = {
                    name: self.resolve(item, seen, depth + 1) for name, item in value.items()
                }
            elif key in ("anyOf", "oneOf", "prefixItems", "allOf") and isinstance(value, list):
                result[key] = [self.resolve(item, seen, depth + 1) for item in value]
            elif key == "items" and isinstance(value, list):  # drafts before 2020-12
                result["prefixItems"] = [self.resolve(item, seen, depth + 1) for item in value]
            elif key == "items" or (key == "additionalProperties" and isinstance(value, dict)):
                result[key] = self.resolve(value, seen, depth + 1)
            elif key not in _SILENT:
                result[key] = value
        for piece in _objects(result.pop("allOf", None)):
            _merge(result, piece)
        return result

    def _follow(
        self, schema: JsonObject, reference: str, seen: tuple[str, ...], depth: int
    ) -> JsonObject:
        target = _point(self.root, reference)
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        if target is None or reference in seen:
            self.dropped["$ref"] = None
            outline = _outline(target or {})
            outline.update(self.resolve(rest, seen, depth + 1))
            return outline
        result = self.resolve(target, (*seen, reference), depth + 1)
        if rest:
            result = {**result, **self.resolve(rest, seen, depth + 1)}
        return result


def _outline(schema: Mapping[str, Json]) -> JsonObject:
    return {key: schema[key] for key in ("type", "description") if key in schema}


def _objects(value: Json) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _point(root: Mapping[str, Json], reference: str) -> JsonObject | None:
    if reference != "#" and not reference.startswith("#/"):
        return None
    here: Json = dict(root)
    for step in reference[1:].split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(here, dict):
            here = here.get(key)
        elif isinstance(here, list) and key.isdecimal() and int(key) < len(here):
            here = here[int(key)]
        else:
            return None
    return here if isinstance(here, dict) else None


def _merge(result: JsonObject, piece: JsonObject) -> None:
    # allOf: properties and required add up; of anything else the first word stands.
    for key, value in piece.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = {**value, **old}
        elif key == "required" and isinstance(old, list) and isinstance(value, list):
            result[key] = [*old, *(name for name in value if name not in old)]
        elif key not in result:
            result[key] = value


class _Cleaner:
    """Turns keywords into ones that Gemini knows, and drops the others."""

    def __init__(self, dropped: dict[str, None], *, openapi: bool = False) -> None:
        self._dropped = dropped
        self._kept = (_OPENAPI_KEPT | _JSON_KEPT) if openapi else _JSON_KEPT

    def visit(self, schema: JsonObject) -> JsonObject:
        schema = dict(schema)
        _join_alternatives(schema)
        self._enumerate(schema)
        self._bound(schema, "exclusiveMinimum", "minimum", 1)
        self._bound(schema, "exclusiveMaximum", "maximum", -1)
        result: JsonObject = {}
        for key, value in schema.items():
            if key not in self._kept:
                self._dropped[key] = None
            elif key == "properties" and isinstance(value, dict):
                result[key] = {
                    name: self.visit(item) if isinstance(item, dict) else {}
                    for name, item in value.items()
                }
            elif key in _LISTS and isinstance(value, list):
                result[key] = [self.visit(item) for item in _objects(value)]
            elif key in ("items", "additionalProperties") and isinstance(value, dict):
                result[key] = self.visit(value)
            else:
                result[key] = value
        _keep_declared(result)
        return result

    def _enumerate(self, schema: JsonObject) -> None:
        # Only strings and numbers may be enumerated; null becomes a type, a boolean is dropped.
        if "const" in schema:
            schema.setdefault("enum", [schema.pop("const")])
            schema.pop("const", None)
        values = schema.get("enum")
        if not isinstance(values, list):
            return
        fit = [v for v in values if isinstance(v, str | int | float) and not isinstance(v, bool)]
        if "type" not in schema:
            _name_type(schema, values)
        elif None in values and isinstance(schema["type"], str):
            schema["type"] = [schema["type"], "null"]
        if any(isinstance(value, bool | list | dict) for value in values):
            self._dropped["enum"] = None
            del schema["enum"]
        elif fit:
            schema["enum"] = fit  # type: ignore[assignment]  # a list of str is Json, but invariant
        else:
            del schema["enum"]

    def _bound(self, schema: JsonObject, exclusive: str, inclusive: str, step: int) -> None:
        # For whole numbers "more than 3" is "at least 4".
        value = schema.get(exclusive)
        if (
            schema.get("type") == "integer"
            and isinstance(value, int)
            and not isinstance(value, bool)
            and inclusive not in schema
        ):
            del schema[exclusive]
            schema[inclusive] = value + step


def _join_alternatives(schema: JsonObject) -> None:
    # Gemini reads oneOf as anyOf; two such lists in one place cannot be said.
    one = schema.get("oneOf")
    if isinstance(one, list) and "anyOf" not in schema:
        schema["anyOf"] = schema.pop("oneOf")


def _name_type(schema: JsonObject, values: list[Json]) -> None:
    names = dict.fromkeys(_type_of(value) for value in values)
    types: list[Json] = [name for name in names if name]
    if len(types) == 1:
        schema["type"] = types[0]
    elif types:
        schema["type"] = types


def _type_of(value: Json) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    return "string" if isinstance(value, str) else ""


def _keep_declared(schema: JsonObject) -> None:
    # Gemini refuses a name in `required` that `properties` does not have.
    required, properties = schema.get("required"), schema.get("properties")
    if not isinstance(required, list):
        return
    known = properties if isinstance(properties, dict) else {}
    names: list[Json] = [name for name in required if isinstance(name, str) and name in known]
    if names:
        schema["required"] = names
    else:
        del schema["required"]


class _OpenApi:
    """Rewrites a cleaned schema into the OpenAPI subset."""

    def __init__(self, dropped: dict[str, None]) -> None:
        self._dropped = dropped

    def visit(self, schema: JsonObject) -> JsonObject:
        schema = dict(schema)
        self._spread_types(schema)
        self._flatten(schema)
        if schema.pop("additionalProperties", False) not in (False, True):
            self._dropped["additionalProperties"] = None
        tuple_items = _objects(schema.pop("prefixItems", None))
        if tuple_items:
            self._dropped["prefixItems"] = None
            schema.setdefault("items", tuple_items[0])
        kind = schema.get("type")
        if isinstance(kind, str):
            kind = kind.lower()
            schema["type"] = kind.upper()
            self._fit_kind(schema, kind)
        properties = schema.get("properties")
        if isinstance(properties, dict):
            schema["properties"] = {
                name: self.visit(item)
                for name, item in properties.items()
                if isinstance(item, dict)
            }
        items = schema.get("items")
        if isinstance(items, dict):
            schema["items"] = self.visit(items)
        variants = schema.get("anyOf")
        if isinstance(variants, list):
            schema["anyOf"] = [self.visit(item) for item in _objects(variants)]
        return schema

    def _spread_types(self, schema: JsonObject) -> None:
        kinds = schema.get("type")
        if not isinstance(kinds, list):
            return
        names: list[str] = [kind for kind in kinds if isinstance(kind, str)]
        if "null" in names:
            schema["nullable"] = True
        names = [name for name in names if name != "null"]
        if len(names) == 1:
            schema["type"] = names[0]
            return
        del schema["type"]
        if names and "anyOf" not in schema:
            schema["anyOf"] = [{"type": name} for name in names]

    def _flatten(self, schema: JsonObject) -> None:
        # null among the alternatives becomes `nullable`; one left is no choice; enumerations of
        # one type become one enumeration.
        if "anyOf" not in schema:
            return
        variants = _objects(schema.pop("anyOf"))
        real = [item for item in variants if item.get("type") != "null"]
        if len(real) < len(variants):
            schema["nullable"] = True
        if not real:
            return
        enums = [item.get("enum") for item in real]
        if len(real) == 1:
            for key, value in real[0].items():
                schema.setdefault(key, value)
        elif (
            all(isinstance(e, list) for e in enums) and len({str(i.get("type")) for i in real}) == 1
        ):
            joined: list[Json] = []
            for values in enums:
                joined.extend(values if isinstance(values, list) else ())
            schema.setdefault("enum", joined)
            schema.setdefault("type", real[0].get("type", "string"))
        else:
            schema["anyOf"] = list(real)
            schema.pop("type", None)  # beside anyOf the service takes no type

    def _fit_kind(self, schema: JsonObject, kind: str) -> None:
        if "enum" in schema and kind != "string":
            self._dropped["enum"] = None  # only strings may be enumerated here
            del schema["enum"]
        allowed = _STRING_FORMATS if kind == "string" else _NUMBER_FORMATS
        if "format" in schema and schema["format"] not in allowed:
            self._dropped["format"] = None
            del schema["format"]
        if kind == "array" and "items" not in schema:
            schema["items"] = {"type": "string"}  # the field is required here
        if kind == "null":
            schema["type"] = "STRING"
            schema["nullable"] = True


_SNAKE = {
    "any_of": "anyOf",
    "min_items": "minItems",
    "max_items": "maxItems",
    "min_length": "minLength",
    "max_length": "maxLength",
    "min_properties": "minProperties",
    "max_properties": "maxProperties",
    "property_ordering": "propertyOrdering",
    "additional_properties": "additionalProperties",
}
_COUNTS: frozenset[str] = frozenset(
    _words("minItems maxItems minLength maxLength minProperties maxProperties")
)


def _read_openapi(schema: Mapping[str, Json], depth: int) -> JsonObject:
    result: JsonObject = {}
    if depth > _MAX_DEPTH:
        return result
    for raw_key, value in schema.items():
        key = _SNAKE.get(raw_key, raw_key)
        if value is None or key in ("nullable", "propertyOrdering"):
            continue
        if key == "type" and isinstance(value, str):
            if value != "TYPE_UNSPECIFIED":
                result[key] = value.lower()
        elif key == "properties" and isinstance(value, dict):
            result[key] = {
                name: _read_openapi(item, depth + 1)
                for name, item in value.items()
                if isinstance(item, dict)
            }
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            result[key] = _read_openapi(value, depth + 1)
        elif key == "anyOf" and isinstance(value, list):
            result[key] = [_read_openapi(item, depth + 1) for item in _objects(value)]
        elif key in _COUNTS and isinstance(value, str) and value.isdecimal():
            result[key] = int(value[:9])
        elif not (key == "format" and value == "enum"):
            result[key] = value
    if schema.get("nullable") is True:
        _allow_null(result)
    return result


def _allow_null(schema: JsonObject) -> None:
    kind, variants, values = schema.get("type"), schema.get("anyOf"), schema.get("enum")
    if isinstance(kind, str):
        schema["type"] = [kind, "null"]
    elif isinstance(variants, list):
        schema["anyOf"] = [*variants, {"type": "null"}]
    if isinstance(values, list) and None not in values:
        schema["enum"] = [*values, None]
