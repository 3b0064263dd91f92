import math
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.providers.example import example

NUMBERS = (int, float)


def fits(value, schema):
    """Tell whether a value satisfies a schema without references and combinations."""
    if "const" in schema:
        return value == schema["const"]
    if "enum" in schema and value not in schema["enum"]:
        return False
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    return any(_fits_type(value, name, schema) for name in kinds)


def _fits_type(value, kind, schema):
    match kind:
        case "string":
            least, most = schema.get("minLength", 0), schema.get("maxLength", math.inf)
            return isinstance(value, str) and least <= len(value) <= most
        case "integer" | "number":
            return _fits_number(value, kind, schema)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
        case "array":
            least, most = schema.get("minItems", 0), schema.get("maxItems", math.inf)
            return (
                isinstance(value, list)
                and least <= len(value) <= most
                and all(fits(item, schema["items"]) for item in value)
            )
        case "object":
            return (
                isinstance(value, dict)
                and set(schema["required"]) <= set(value) <= set(schema["properties"])
                and all(fits(item, schema["properties"][name]) for name, item in value.items())
            )
    return True


def _fits_number(value, kind, schema):
    return (
        isinstance(value, NUMBERS)
        and not isinstance(value, bool)
        and (kind == "number" or value == int(value))
        and value >= schema.get("minimum", -math.inf)
        and value <= schema.get("maximum", math.inf)
        and value > schema.get("exclusiveMinimum", -math.inf)
        and value < schema.get("exclusiveMaximum", math.inf)
    )


@st.composite
def number_schemas(draw):
    kind = draw(st.sampled_from(["integer", "number"]))
    numbers = st.integers(-1000, 1000) | st.floats(-1000, 1000).map(lambda x: round(x, 3))
    low, high = sorted((draw(numbers), draw(numbers)))
    if kind == "integer":  # room for at least one whole number within
        low, high = math.floor(low) - 1, math.ceil(high) + 1
    elif low == high:
        high += 1
    schema = {"type": kind}
    if lower := draw(st.sampled_from([None, "minimum", "exclusiveMinimum"])):
        schema[lower] = low
    if upper := draw(st.sampled_from([None, "maximum", "exclusiveMaximum"])):
        schema[upper] = high
    return schema


@st.composite
def string_schemas(draw):
    least, most = sorted((draw(st.integers(0, 50)), draw(st.integers(0, 50))))
    schema = {"type": "string"}
    if draw(st.booleans()):
        schema["minLength"] = least
    if draw(st.booleans()):
        schema["maxLength"] = most
    return schema


leaves = (
    number_schemas()
    | string_schemas()
    | st.sampled_from(
        [
            {"type": "boolean"},
            {"type": "null"},
            {"type": ["null", "boolean"]},
            {"enum": ["a", "b"], "type": "string"},
            {"const": {"a": [1]}},
            {"type": "integer", "default": 5},
        ]
    )
)
words = st.text("abc/~", max_size=4)


@st.composite
def array_schemas(draw, items):
    least, most = sorted((draw(st.integers(0, 4)), draw(st.integers(0, 4))))
    schema = {"type": "array", "items": draw(items)}
    if draw(st.booleans()):
        schema["minItems"] = least
    if draw(st.booleans()):
        schema["maxItems"] = most
    return schema


@st.composite
def object_schemas(draw, values):
    properties = draw(st.dictionaries(words, values, max_size=4))
    names = sorted(properties)
    required = draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    return {"type": "object", "properties": properties, "required": required}


schemas = st.recursive(leaves, lambda s: array_schemas(s) | object_schemas(s), max_leaves=8)


@given(schemas, st.text(max_size=60))
def test_an_example_satisfies_its_schema(schema, text):
    assert fits(example(schema, text), schema)


@given(schemas, st.text(max_size=60))
def test_a_reference_stands_for_what_it_points_to(schema, text):
    root = {"$ref": "#/$defs/a~1b~0c%20d", "$defs": {"a/b~c d": schema}}
    assert example(root, text) == example(schema, text)


@given(schemas, st.sampled_from(["anyOf", "oneOf", "allOf"]))
def test_a_combination_of_one_is_that_one(schema, key):
    assert example({key: [schema]}, "t") == example(schema, "t")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
keywords = st.sampled_from(
    [
        "type",
        "properties",
        "required",
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "enum",
        "const",
        "format",
        "$ref",
        "anyOf",
        "oneOf",
        "allOf",
        "$defs",
        "examples",
    ]
)
types = st.sampled_from(["string", "integer", "number", "array", "object", ["null"], [], 5])
references = st.sampled_from(["#", "#/", "#/$defs/x", "#/properties", "https://x.test/s", ""])
hostile = st.recursive(
    json_values,
    lambda inner: (
        st.dictionaries(keywords, inner | types | references, max_size=6)
        | st.lists(inner, max_size=3)
    ),
    max_leaves=20,
)


@given(st.dictionaries(keywords, hostile | types | references, max_size=8), st.text(max_size=5))
def test_any_json_taken_for_a_schema_gives_a_value_that_can_be_sent(schema, text):
    msgspec.json.encode(example(schema, text))


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, {}),
        ({"type": "string"}, "hi"),
        ({"type": "string", "minLength": 5}, "hi..."),
        ({"type": "string", "maxLength": 1}, "h"),
        ({"type": "string", "maxLength": 0}, ""),
        ({"type": "integer"}, 1),
        ({"type": "integer", "minimum": 2.5}, 3),
        ({"type": "integer", "maximum": -2.5}, -3),
        ({"type": "integer", "exclusiveMinimum": 1}, 2),
        ({"type": "integer", "exclusiveMaximum": 1}, 0),
        ({"type": "integer", "minimum": 7, "multipleOf": 5}, 10),
        ({"type": "integer", "maximum": 3, "multipleOf": 5}, 0),
        ({"type": "integer", "minimum": 10**25, "multipleOf": 3}, 10**25 + 2),
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 0.5}, 0),
        ({"type": "number", "minimum": 0.9, "exclusiveMaximum": 1}, 0.95),
        ({"type": "number", "exclusiveMinimum": 1, "maximum": 1.2}, 1.1),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5}, 0.25),
        ({"type": "number", "multipleOf": -1}, 1),
        ({"type": "number", "minimum": True}, 1),
        ({"type": ["null", "string"]}, "hi"),
        ({"type": ["null"]}, None),
        ({"enum": [3, 4]}, 3),
        ({"enum": []}, {}),
        ({"examples": ["e"], "type": "string"}, "e"),
        ({"const": None}, None),
        ({"default": 0, "type": "string"}, 0),
        ({"type": "array", "items": {"type": "boolean"}}, [True]),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 3}, [True] * 3),
        ({"type": "array", "items": {"type": "boolean"}, "maxItems": 0}, []),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 10**9}, [True] * 64),
        ({"type": "array"}, []),
        ({"type": "array", "minItems": 2}, [{}, {}]),
        ({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}]}, [1, 2]),
        (
            {"type": "array", "prefixItems": [{"const": 1}], "items": {"const": 9}, "minItems": 2},
            [1, 9],
        ),
        ({"properties": {"a": {"const": 1}, "b": {"const": 2}}}, {"a": 1, "b": 2}),
        ({"properties": {"a": {"const": 1}, "b": {"const": 2}}, "required": ["b"]}, {"b": 2}),
        ({"properties": {"a": {"const": 1}}, "required": []}, {}),
        ({"required": ["a", 5, None]}, {"a": {}}),
        ({"properties": {"a": True}}, {"a": {}}),
        ({"anyOf": [{"type": "boolean"}, {"type": "string"}]}, True),
        ({"$ref": "#/nowhere", "type": "boolean"}, True),
        ({"$ref": "https://example.com/schema"}, {}),
        ({"$ref": "#"}, {}),
        (
            {
                "allOf": [
                    {"properties": {"a": {"const": 1}}, "required": ["a"]},
                    {"properties": {"b": {"const": 2}}, "required": ["b", "a"]},
                ],
                "properties": {"c": {"const": 3}},
                "required": ["c"],
            },
            {"c": 3, "a": 1, "b": 2},
        ),
    ],
)
def test_examples(schema, expected):
    assert example(schema, "hi") == expected


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("date-time", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
        ("date", r"\d{4}-\d\d-\d\d"),
        ("email", r"[^@]+@[^@]+\.[a-z]+"),
        ("uri", r"https://.+"),
        ("uuid", r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
        ("ipv4", r"\d+(\.\d+){3}"),
        ("unheard", "hi"),
    ],
)
def test_common_formats_are_honoured(form, pattern):
    assert re.fullmatch(pattern, example({"type": "string", "format": form}, "hi"))


def test_without_words_a_string_still_says_something():
    assert example({"type": "string"}, "") == "demo"


def test_a_schema_that_refers_to_itself_ends():
    tree = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "children": {"type": "array", "items": {"$ref": "#"}},
        },
    }
    made = example(tree, "hi")
    depth = 0
    while made.get("children"):
        made, depth = made["children"][0], depth + 1
    assert 1 <= depth <= 8


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {name: {"$ref": "#"} for name in "abcdefghijkl"}},
        {"type": "array", "minItems": 64, "items": {"$ref": "#"}},
        {
            "allOf": [{"$ref": "#"}, {"$ref": "#"}],
            "properties": {n: {"$ref": "#"} for n in "abcdef"},
        },
        {"type": "string", "minLength": 10**12},
        {"type": "number", "exclusiveMinimum": 10**400, "multipleOf": 10**400},
        {"type": "number", "minimum": 1, "multipleOf": 5e-324},
    ],
)
def test_a_schema_that_asks_for_too_much_gives_a_small_value(schema):
    assert len(msgspec.json.encode(example(schema, "hi"))) < 100_000
