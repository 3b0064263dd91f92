import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from app.dialects.base import dump
from app.dialects.gemini_schema import clean, from_openapi, to_openapi


@pytest.mark.parametrize(
    ("schema", "cleaned", "dropped"),
    [
        ({}, {"type": "object", "properties": {}}, ()),
        ({"properties": {"a": {}}}, {"type": "object", "properties": {"a": {}}}, ()),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}, ()),
        ({"type": "string", "pattern": "x", "minLength": 1}, {"type": "string"}, ("pattern", "minLength")),
        ({"type": "object", "$schema": "s", "$id": "i", "$comment": "c"}, {"type": "object"}, ()),
        ({"type": "object", "additionalProperties": False}, {"type": "object", "additionalProperties": False}, ()),
        ({"const": "a"}, {"enum": ["a"], "type": "string"}, ()),
        ({"enum": ["a", None]}, {"enum": ["a"], "type": ["string", "null"]}, ()),
        ({"type": "string", "enum": ["a", None]}, {"type": ["string", "null"], "enum": ["a"]}, ()),
        ({"const": True}, {"type": "boolean"}, ("enum",)),
        ({"const": None}, {"type": "null"}, ()),
        ({"oneOf": [{"type": "string"}]}, {"anyOf": [{"type": "string"}]}, ()),
        ({"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 9}, {"type": "integer", "minimum": 4, "maximum": 8}, ()),
        ({"type": "number", "exclusiveMinimum": 3}, {"type": "number"}, ("exclusiveMinimum",)),
        ({"type": "array", "items": True}, {"type": "array", "items": {}}, ()),
        ({"type": "array", "items": [{"type": "string"}]}, {"type": "array", "prefixItems": [{"type": "string"}]}, ()),
        ({"type": "object", "required": ["a", "b"], "properties": {"a": {}}}, {"type": "object", "required": ["a"], "properties": {"a": {}}}, ()),
        ({"type": "object", "properties": {"a": {"not": {}}}, "patternProperties": {}}, {"type": "object", "properties": {"a": {}}}, ("not", "patternProperties")),
        ({"type": "object", "properties": {"a": False}}, {"type": "object", "properties": {"a": {}}}, ("false",)),
    ],
)  # fmt: skip
def test_clean(schema, cleaned, dropped):
    assert clean(schema) == (cleaned, dropped)


def test_a_property_may_be_called_like_a_keyword():
    schema = {
        "type": "object",
        "properties": {"pattern": {"type": "string"}, "$ref": {"type": "string"}},
    }
    assert clean(schema) == (schema, ())


def test_references_are_written_out():
    schema = {
        "type": "object",
        "properties": {
            "a": {"$ref": "#/$defs/A", "description": "mine"},
            "b": {"$ref": "#/definitions/a~1b"},
        },
        "$defs": {"A": {"type": "string", "description": "A"}},
        "definitions": {"a/b": {"type": "array", "items": {"$ref": "#/$defs/A"}}},
    }
    assert clean(schema) == (
        {
            "type": "object",
            "properties": {
                "a": {"type": "string", "description": "mine"},
                "b": {"type": "array", "items": {"type": "string", "description": "A"}},
            },
        },
        (),
    )


def test_a_recursive_reference_is_cut_and_named():
    schema = {
        "$ref": "#/$defs/Node",
        "$defs": {
            "Node": {
                "type": "object",
                "properties": {"next": {"$ref": "#/$defs/Node"}, "value": {"type": "integer"}},
            }
        },
    }
    assert clean(schema) == (
        {
            "type": "object",
            "properties": {"next": {"type": "object"}, "value": {"type": "integer"}},
        },
        ("$ref",),
    )


@pytest.mark.parametrize(
    "reference", ["#/$defs/None", "https://example.com/s.json", "#/type", "#x", "#/a/b/9"]
)
def test_a_reference_to_nothing_is_dropped_and_named(reference):
    schema = {"type": "object", "properties": {"a": {"$ref": reference}}}
    assert clean(schema) == ({"type": "object", "properties": {"a": {}}}, ("$ref",))


def test_references_cannot_blow_up():
    defs = {
        f"L{n}": {"type": "array", "prefixItems": [{"$ref": f"#/$defs/L{n + 1}"}] * 10}
        for n in range(12)
    }
    cleaned, dropped = clean({"$ref": "#/$defs/L0", "$defs": {**defs, "L12": {"type": "string"}}})
    assert "$ref" in dropped
    assert len(dump(cleaned)) < 2_000_000


def test_deep_nesting_is_cut():
    schema = {"type": "string"}
    for _ in range(400):
        schema = {"type": "array", "items": schema}
    cleaned, dropped = clean(schema)
    assert dropped == ("nesting",)
    to_openapi(schema)
    from_openapi(schema)
    assert cleaned["type"] == "array"


def test_all_of_is_merged():
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "allOf": [
            {"properties": {"b": {"type": "integer"}}, "required": ["b", "a"]},
            {"description": "D"},
        ],
    }
    assert clean(schema) == (
        {
            "type": "object",
            "properties": {"b": {"type": "integer"}, "a": {"type": "string"}},
            "required": ["a", "b"],
            "description": "D",
        },
        (),
    )


@pytest.mark.parametrize(
    ("schema", "openapi", "dropped"),
    [
        ({}, {"type": "OBJECT"}, ()),
        ({"type": "string"}, {"type": "STRING"}, ()),
        ({"type": ["string", "null"]}, {"type": "STRING", "nullable": True}, ()),
        ({"type": ["string", "integer"]}, {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]}, ()),
        ({"const": "a"}, {"type": "STRING", "enum": ["a"]}, ()),
        ({"enum": [1, 2]}, {"type": "INTEGER"}, ("enum",)),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "STRING", "nullable": True}, ()),
        ({"oneOf": [{"const": "a"}, {"const": "b"}]}, {"type": "STRING", "enum": ["a", "b"]}, ()),
        ({"anyOf": [{"type": "string"}, {"type": "object"}]}, {"anyOf": [{"type": "STRING"}, {"type": "OBJECT"}]}, ()),
        ({"type": "string", "format": "uri"}, {"type": "STRING"}, ("format",)),
        ({"type": "string", "format": "date-time"}, {"type": "STRING", "format": "date-time"}, ()),
        ({"type": "array"}, {"type": "ARRAY", "items": {"type": "STRING"}}, ()),
        ({"type": "array", "prefixItems": [{"type": "number"}]}, {"type": "ARRAY", "items": {"type": "NUMBER"}}, ("prefixItems",)),
        ({"type": "object", "additionalProperties": False}, {"type": "OBJECT"}, ()),
        ({"type": "number", "exclusiveMinimum": 0}, {"type": "NUMBER"}, ("exclusiveMinimum",)),
        ({"type": "string", "pattern": "x"}, {"type": "STRING", "pattern": "x"}, ()),
        ({"type": "null"}, {"type": "STRING", "nullable": True}, ()),
    ],
)  # fmt: skip
def test_to_openapi(schema, openapi, dropped):
    assert to_openapi(schema) == (openapi, dropped)
    types.Schema.model_validate_json(dump(openapi))


@pytest.mark.parametrize(
    ("openapi", "schema"),
    [
        ({"type": "STRING", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "string"}, {"type": "string"}),
        ({"type": "STRING", "format": "enum", "enum": ["a"], "nullable": True}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"type": "ARRAY", "items": {"type": "NUMBER"}, "min_items": "2"}, {"type": "array", "items": {"type": "number"}, "minItems": 2}),
        ({"any_of": [{"type": "STRING"}], "nullable": True}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"type": "OBJECT", "properties": {"a_b": {"type": "BOOLEAN"}}, "propertyOrdering": ["a_b"]}, {"type": "object", "properties": {"a_b": {"type": "boolean"}}}),
        ({"type": "TYPE_UNSPECIFIED"}, {}),
    ],
)  # fmt: skip
def test_from_openapi(openapi, schema):
    assert from_openapi(openapi) == schema


odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from(["string", "null", "#", "#/a", "object"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "properties",
                    "items",
                    "anyOf",
                    "oneOf",
                    "allOf",
                    "enum",
                    "const",
                    "required",
                    "$ref",
                    "a",
                    "nullable",
                    "prefixItems",
                    "exclusiveMinimum",
                    "additionalProperties",
                    "format",
                    "minItems",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(["type", "properties", "anyOf", "allOf", "enum", "$ref", "items"]), odd
    )
)
def test_any_object_can_be_converted(schema):
    for result in (clean(schema)[0], to_openapi(schema)[0], from_openapi(schema)):
        assert isinstance(result, dict)
        dump(result)
