"""JSON Schema as the services look at it: a sample that satisfies one, and their complaints."""

TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")


def resolve(schema, root):
    """Follow ``$ref`` inside one document; returns ``{}`` for anything that leads nowhere."""
    seen = set()
    while isinstance(schema, dict) and "$ref" in schema:
        ref = schema["$ref"]
        if ref in seen or not ref.startswith("#"):
            return {}
        seen.add(ref)
        schema = root
        for key in ref[1:].strip("/").split("/") if ref != "#" else []:
            schema = schema.get(key.replace("~1", "/").replace("~0", "~"), {})
    return schema if isinstance(schema, dict) else {}


def sample(schema, root=None, depth=0):
    """Return the simplest JSON value that satisfies a schema (JSON Schema or Gemini's form)."""
    root = root if root is not None else schema
    schema = resolve(schema, root)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "any_of"):
        if schema.get(key):
            return sample(schema[key][0], root, depth + 1)
    if schema.get("allOf"):
        merged = {"type": "object", "properties": {}, "required": []}
        for part in schema["allOf"]:
            part = resolve(part, root)
            merged["properties"] |= part.get("properties", {})
            merged["required"] += part.get("required", [])
        return sample(merged, root, depth + 1)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    kind = str(kind).lower() if kind else ("object" if "properties" in schema else "string")
    return _BY_TYPE[kind](schema, root, depth)


def _object(schema, root, depth):
    names = schema.get("properties", {})
    wanted = names if depth == 0 else schema.get("required", [])
    return {n: sample(names.get(n, {}), root, depth + 1) for n in wanted if depth < 12}


def _array(schema, root, depth):
    count = int(schema.get("minItems", schema.get("min_items", 0)) or 0)
    if depth < 3:
        count = max(count, 1)
    return [sample(schema.get("items", {}), root, depth + 1) for _ in range(count)]


def _number(schema, integer):
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    value = 7 if low is None else low + (1 if "exclusiveMinimum" in schema else 0)
    high = schema.get("maximum")
    value = high if high is not None and value > high else value
    return int(value) if integer else value


def _string(schema):
    text = {
        "date": "2026-01-02",
        "date-time": "2026-01-02T03:04:05Z",
        "email": "a@example.com",
        "uri": "https://example.com/",
        "uuid": "123e4567-e89b-42d3-a456-426614174000",
    }.get(schema.get("format", ""), "sample")
    low = int(schema.get("minLength", schema.get("min_length", 0)) or 0)
    return text.ljust(low, "x")


_BY_TYPE = {
    "object": _object,
    "array": _array,
    "string": lambda s, r, d: _string(s),
    "integer": lambda s, r, d: _number(s, True),
    "number": lambda s, r, d: _number(s, False),
    "boolean": lambda s, r, d: True,
    "null": lambda s, r, d: None,
}


def invalid(schema, at=()):
    """Return the first structural fault of a JSON Schema as ``(path, why)``, or None."""
    if isinstance(schema, bool):
        return None
    if not isinstance(schema, dict):
        return at, f"{schema!r} is not of type 'object', 'boolean'"
    kinds = schema.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind not in TYPES:
            return (*at, "type"), f"{kind!r} is not valid under any of the given schemas"
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(r, str) for r in required):
        return (*at, "required"), f"{required!r} is not of type 'array'"
    return _invalid_below(schema, at)


def _invalid_below(schema, at):
    for key in ("properties", "$defs", "definitions", "patternProperties"):
        if key in schema:
            if not isinstance(schema[key], dict):
                return (*at, key), f"{schema[key]!r} is not of type 'object'"
            for name, part in schema[key].items():
                if found := invalid(part, (*at, key, name)):
                    return found
    for key in ("anyOf", "oneOf", "allOf"):
        for i, part in enumerate(schema.get(key) or []):
            if found := invalid(part, (*at, key, i)):
                return found
    for key in ("items", "additionalProperties", "not"):
        part = schema.get(key, True)
        if not isinstance(part, list) and (found := invalid(part, (*at, key))):
            return found
    return None


def not_strict(schema, at=()):
    """Return why a schema breaks OpenAI's rules for strict mode, or None.

    https://platform.openai.com/docs/guides/structured-outputs#supported-schemas: every object
    says ``additionalProperties: false`` and requires all its properties.
    """
    if not isinstance(schema, dict):
        return None
    if schema.get("type") == "object" or "properties" in schema:
        names = list(schema.get("properties", {}))
        if schema.get("additionalProperties") is not False:
            return (
                f"In context={_context(at)}, 'additionalProperties' is required to be supplied "
                "and to be false."
            )
        missing = [n for n in names if n not in schema.get("required", [])]
        if missing:
            return (
                f"In context={_context(at)}, 'required' is required to be supplied and to be an "
                f"array including every key in properties. Missing '{missing[0]}'."
            )
    if "oneOf" in schema:
        return f"In context={_context(at)}, 'oneOf' is not permitted."
    return _not_strict_below(schema, at)


def _not_strict_below(schema, at):
    for key in ("properties", "$defs", "definitions"):
        for name, part in (schema.get(key) or {}).items():
            if why := not_strict(part, (*at, key, name)):
                return why
    for i, part in enumerate(schema.get("anyOf") or []):
        if why := not_strict(part, (*at, "anyOf", str(i))):
            return why
    return not_strict(schema.get("items"), (*at, "items"))


def _context(at):
    return str(tuple(str(a) for a in at))
