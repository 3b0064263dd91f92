"""Secrets of the settings: what is shown of them is never the secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

__all__ = ["REFERENCE", "SecretRef"]

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""A reference to an environment variable."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True, repr=False)
class SecretRef:
    """A secret of the settings: a literal, a ``${NAME}`` reference, or text around references.

    The value leaves this object through ``resolve`` alone. ``str``, ``repr``, model dumps and JSON
    show the references by name and ``***`` for everything literal.
    """

    _text: str

    def __post_init__(self) -> None:
        if not self._text.strip():
            raise ValueError("expected a value, or null for none")
        if "${" in REFERENCE.sub("", self._text):
            raise ValueError("expected a reference of the form ${NAME}")
        if _CONTROL.search(self._text):
            raise ValueError("expected one line without control characters")

    def resolve(self, env: Mapping[str, str]) -> str | None:
        """Return the secret, or None while a variable it refers to is unset or empty."""
        if self.missing(env):
            return None
        return REFERENCE.sub(lambda match: env[match[1]].strip(), self._text).strip()

    def missing(self, env: Mapping[str, str]) -> tuple[str, ...]:
        """Return the names of the variables that are referred to and unset or empty."""
        return tuple(name for name in self.variables if not env.get(name, "").strip())

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables that are referred to, in order."""
        return tuple(dict.fromkeys(REFERENCE.findall(self._text)))

    @property
    def literal(self) -> bool:
        """True when the secret itself stands in the file."""
        return not self.variables

    def __str__(self) -> str:
        parts = REFERENCE.split(self._text)  # literal, name, literal, name, …, literal
        return "".join(
            f"${{{part}}}" if i % 2 else "***" for i, part in enumerate(parts) if i % 2 or part
        )

    def __repr__(self) -> str:
        return f"SecretRef({str(self)!r})"

    @classmethod
    def _validate(cls, value: object) -> SecretRef:
        if isinstance(value, SecretRef):
            return value
        if not isinstance(value, str):
            raise ValueError("expected text; put the value in quotes")
        return cls(value)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: Any, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validate, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "minLength": 1}
