"""A small value for a JSON Schema, so that the demo's tool calls satisfy their tools."""

from __future__ import annotations

import math
from urllib.parse import unquote

from app.canonical.parts import Json, JsonObject

__all__ = ["example"]

_DEEPEST = 8
"""Below this many levels empty values are used: schemas may refer to themselves."""
_MOST_VALUES = 2_000
"""Once so many are made, empty values are used: levels and lists multiply."""
_MOST_ITEMS = 64
_LONGEST = 4_096
"""Characters that a stated least length is believed."""
_LARGEST = 1e300
"""Whole numbers may be longer than arithmetic with fractions can bear."""
_SMALLEST_STEP = 1e-9
"""Every value is near enough to a multiple of less."""
_FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "demo@example.com",
    "hostname": "example.com",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def example(schema: JsonObject, text: str) -> Json:
    """Return a small value that satisfies a JSON Schema, as far as examples can be made.

    Types, enums, constants, defaults, local references, required properties, lengths, numeric
    bounds and the common formats are honoured; patterns and conditions are not.

    Args:
        schema: of the whole value; ``#/…`` references are looked up in it.
        text: used for free strings, so that the call shows what was asked.
    """
    return _Maker(schema, text).make(schema, 0)


class _Maker:
    __slots__ = ("_left", "_root", "_text")

    def __init__(self, root: JsonObject, text: str) -> None:
        self._root = root
        self._text = text
        self._left = _MOST_VALUES

    def make(self, schema: Json, depth: int) -> Json:
        self._left -= 1
        if not isinstance(schema, dict):
            return {}  # true, or no schema at all: anything goes
        schema = self._resolved(schema)
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        for key in ("enum", "examples"):
            values = schema.get(key)
            if isinstance(values, list) and values:
                return values[0]
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((name for name in kind if name != "null"), "null")
        match kind:
            case "string":
                return self._string(schema)
            case "integer" | "number":
                return _number(schema, whole=kind == "integer")
            case "boolean":
                return True
            case "null":
                return None
            case "array":
                return self._array(schema, depth)
            case _:
                return self._object(schema, depth)

    def _resolved(self, schema: JsonObject) -> JsonObject:
        """Return a schema with its reference and combinations taken in."""
        for _ in range(_DEEPEST):
            inner: list[Json] = []
            if isinstance(schema.get("$ref"), str):
                inner.append(self._lookup(str(schema["$ref"])))
            for key in ("anyOf", "oneOf"):
                choices = schema.get(key)
                if isinstance(choices, list) and choices:
                    inner.append(choices[0])
            every = schema.get("allOf")
            if isinstance(every, list):
                inner.extend(every)
            if not inner:
                break
            merged = {
                key: value
                for key, value in schema.items()
                if key not in ("$ref", "anyOf", "oneOf", "allOf")
            }
            for part in inner:
                if isinstance(part, dict):
                    merged = _merge(merged, part)
            schema = merged
        return schema

    def _lookup(self, reference: str) -> Json:
        found: Json = self._root
        for step in unquote(reference.removeprefix("#")).split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def _full(self, depth: int) -> bool:
        return depth >= _DEEPEST or self._left <= 0

    def _string(self, schema: JsonObject) -> str:
        form = schema.get("format")
        if isinstance(form, str) and form in _FORMATS:
            return _FORMATS[form]
        value = self._text or "demo"
        least, most = schema.get("minLength"), schema.get("maxLength")
        if isinstance(least, int) and len(value) < least:
            value = value.ljust(min(least, _LONGEST), ".")
        return value[:most] if isinstance(most, int) else value

    def _array(self, schema: JsonObject, depth: int) -> Json:
        if self._full(depth):
            return []
        first = schema.get("prefixItems")
        made = [self.make(item, depth + 1) for item in first] if isinstance(first, list) else []
        items = schema.get("items")
        least, most = schema.get("minItems"), schema.get("maxItems")
        usual = 1 if isinstance(items, dict) and not made else 0
        wanted = least if isinstance(least, int) else usual
        if isinstance(most, int):
            wanted = min(wanted, most)
        while len(made) < min(wanted, _MOST_ITEMS):
            made.append(self.make(items, depth + 1))
        return made

    def _object(self, schema: JsonObject, depth: int) -> Json:
        properties = schema.get("properties")
        if not isinstance(properties, dict) or self._full(depth):
            properties = {}
        required = schema.get("required")
        names = required if isinstance(required, list) else list(properties)
        return {
            name: self.make(properties.get(name, {}), depth + 1)
            for name in names
            if isinstance(name, str)
        }


def _merge(first: JsonObject, second: JsonObject) -> JsonObject:
    merged = {**second, **first}
    for key in ("properties", "$defs"):
        one, other = first.get(key), second.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            merged[key] = {**other, **one}
    one, other = first.get("required"), second.get("required")
    if isinstance(one, list) and isinstance(other, list):
        merged["required"] = [*one, *(name for name in other if name not in one)]
    return merged


def _number(schema: JsonObject, *, whole: bool) -> Json:
    """Return 1, or the bound that is nearest to it."""
    step: float = 1 if whole else 0.5
    least, most = _bound(schema, "minimum"), _bound(schema, "maximum")
    above, below = _bound(schema, "exclusiveMinimum"), _bound(schema, "exclusiveMaximum")
    low = -math.inf if least is None else math.ceil(least) if whole else least
    high = math.inf if most is None else math.floor(most) if whole else most
    if above is not None:
        low = max(low, math.floor(above) + 1 if whole else above + step)
    if below is not None:
        high = min(high, math.ceil(below) - 1 if whole else below - step)
    if low > high and not whole:  # the open bounds are nearer to each other than a step
        bottom = max(bound for bound in (least, above) if bound is not None)
        top = min(bound for bound in (most, below) if bound is not None)
        return (bottom + top) / 2
    value: float = min(max(1, low), high)
    multiple = _bound(schema, "multipleOf")
    if multiple is not None and multiple > _SMALLEST_STEP:
        # Floor division of whole numbers is exact, however large they are.
        value = -(-value // multiple) * multiple
        if value > high:
            value = high // multiple * multiple
    return value


def _bound(schema: JsonObject, key: str) -> float | None:
    value = schema.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= _LARGEST else None
