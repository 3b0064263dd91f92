"""Check JSON against protocol buffer messages the way Google's front end does.

Field names are taken in camelCase and snake_case alike, ``null`` stands for absent, numbers may
come as strings; anything else is refused with the front end's own words (protobuf JSON mapping,
https://protobuf.dev/programming-guides/json; the wording is from memory of what clients report).
"""

import base64
import binascii
import re

PACKAGE = "google.ai.generativelanguage.v1beta"


def snake(name):
    return re.sub(r"(?<!^)([A-Z])", lambda m: "_" + m[1].lower(), name)


def camel(name):
    return re.sub(r"_([a-z0-9])", lambda m: m[1].upper(), name)


class Reader:
    """Reads messages of a schema; ``faults`` collects ``(field, description)``.

    ``messages`` maps a message's name to its fields (camelCase) and their types: ``string``,
    ``bytes``, ``int``, ``float``, ``bool``, ``any``, ``object``, a message's name, ``[type]`` for
    repeated, ``{type}`` for maps, or a tuple ``(enum's name, values)``.
    """

    def __init__(self, messages):
        self.messages = messages
        self.faults = []

    def read(self, value, kind, path=""):
        """Return a value with camelCase names and without nulls; None after a fault."""
        if isinstance(kind, list):
            # a single message passes for a list of one in no client's output: refused as by proto
            if not isinstance(value, list):
                return self._fault(
                    path, f"Invalid value at '{path}' ({self._name(kind[0])}), {_show(value)}"
                )
            return [self.read(v, kind[0], f"{path}[{i}]") for i, v in enumerate(value)]
        if isinstance(value, list) and kind not in ("any",):
            parent, _, field = path.rpartition(".")
            return self._unknown(field, parent, "Proto field is not repeating, cannot start list.")
        if isinstance(kind, set):
            (inner,) = kind
            if not isinstance(value, dict):
                return self._fault(path, f"Invalid value at '{path}' (Map), {_show(value)}")
            return {
                k: self.read(v, inner, f"{path}[{i}].value")
                for i, (k, v) in enumerate(value.items())
            }
        if isinstance(kind, tuple):
            return self._enum(value, kind, path)
        if kind in self.messages:
            return self._message(value, kind, path)
        return self._scalar(value, kind, path)

    def _fault(self, path, words):
        self.faults.append((path, words))

    def _unknown(self, name, parent, why):
        at = f" at '{parent}'" if parent else ""
        self._fault(parent, f'Invalid JSON payload received. Unknown name "{name}"{at}: {why}')

    def _name(self, kind):
        if isinstance(kind, tuple):
            return f"type.googleapis.com/{PACKAGE}.{kind[0]}"
        if kind in self.messages:
            return f"type.googleapis.com/{PACKAGE}.{kind}"
        names = {"int": "TYPE_INT32", "float": "TYPE_FLOAT", "object": "Map"}
        return names.get(kind, f"TYPE_{str(kind).upper()}")

    def _wrong(self, value, kind, path, more=""):
        self._fault(path, f"Invalid value at '{path}' ({self._name(kind)}), {more}{_show(value)}")

    def _message(self, value, kind, path):
        if not isinstance(value, dict):
            return self._wrong(value, kind, path)
        fields, found = self.messages[kind], {}
        for name, element in value.items():
            key = name if name in fields else camel(name)
            # the proto name itself also has to match: "top_P" is neither form
            if key not in fields or name not in (key, snake(key)):
                self._unknown(name, path, "Cannot find field.")
            elif element is not None:
                found[key] = self.read(
                    element, fields[key], f"{path}.{snake(key)}" if path else snake(key)
                )
        return found

    def _enum(self, value, kind, path):
        # any case is taken for schema types [recalled]
        shown = value.upper() if isinstance(value, str) and kind[0] == "Type" else value
        if isinstance(value, bool) or not isinstance(value, str | int):
            return self._wrong(value, kind, path)
        if isinstance(value, str) and shown not in kind[1]:
            return self._wrong(value, kind, path)
        return shown

    def _scalar(self, value, kind, path):
        if kind == "any" or (kind == "object" and isinstance(value, dict)):
            return value
        if kind == "string" and isinstance(value, str):
            return value
        if kind == "bool" and isinstance(value, bool):
            return value
        if kind == "bytes" and isinstance(value, str):
            try:
                base64.b64decode(_padded(value), altchars=b"-_", validate=True)
            except (binascii.Error, ValueError):
                return self._wrong(value, kind, path, "Base64 decoding failed for ")
            return value
        if kind in ("int", "float") and not isinstance(value, bool):
            try:
                number = float(value) if isinstance(value, int | float | str) else None
            except ValueError:
                number = None
            if number is not None and (kind == "float" or number.is_integer()):
                return int(number) if kind == "int" else number
        return self._wrong(value, kind, path)


def _padded(text):
    text = text.replace("+", "-").replace("/", "_").rstrip("=")
    return text + "=" * (-len(text) % 4)


def _show(value):
    if isinstance(value, str):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool) else str(value)
