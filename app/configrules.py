"""The shape of ``models.rules`` and what belongs to it, as frozen models.

Only the shape of each value is checked here; what rules name (models, accounts, rule types), which
rules can never match and where chains go in circles is checked by ``app.routing.checks``.

A pattern is written as text: ``gpt-5`` means just that, ``claude-*`` is a glob (``*`` any letters,
``?`` one letter; brackets are ordinary letters, since names of models have them), and ``/^gpt-[45]/``
is a regular expression that is searched for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    model_validator,
)

__all__ = [
    "EFFORT_NAMES",
    "Action",
    "Condition",
    "MoveReason",
    "MoveReasons",
    "Rejection",
    "Retry",
    "Rule",
    "Strategy",
    "Tokens",
]

_T = TypeVar("_T")

_LONGEST_PATTERN = 1_000
"""Longer patterns are no names; a bound keeps the compiler's work small."""

EFFORT_NAMES = ("none", "minimal", "low", "medium", "high", "xhigh", "max", "auto")
"""Levels of reasoning by name; ``auto`` lets the model decide."""

MoveReason: TypeAlias = Literal[
    "any",
    "quota",
    "rate_limit",
    "overloaded",
    "server",
    "timeout",
    "unavailable",
    "authentication",
    "not_found",
    "too_long",
    "refused",
    "invalid",
]
"""Why a chain may move on; ``app.routing.chains`` says which failures each one means."""

Strategy: TypeAlias = Literal[
    "primary_first", "fill_first", "round_robin", "weighted", "least_used", "most_left"
]


def _check_some(value: tuple[_T, ...]) -> tuple[_T, ...]:
    # A bound on the length would also report a list whose only entry is wrong as empty.
    if not value:
        raise ValueError("expected at least one entry")
    return value


def _check_pattern(value: str) -> str:
    if len(value) > _LONGEST_PATTERN:
        raise ValueError(f"expected a pattern of at most {_LONGEST_PATTERN} characters")
    if len(value) > 2 and value.startswith("/") and value.endswith("/"):
        try:
            re.compile(value[1:-1])
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"expected a regular expression between slashes: {error}") from None
    return value


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _just_over(value: object) -> object:
    return {"over": value} if isinstance(value, int) and not isinstance(value, bool) else value


def _just_message(value: object) -> object:
    return {"message": value} if isinstance(value, str) else value


def _null_is_empty(value: object) -> object:
    return {} if value is None else value


def _parse_level(value: object) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1_000_000:
        return value
    if isinstance(value, str):
        if value.lower() in EFFORT_NAMES:
            return value.lower()
        if re.fullmatch(r"[0-9]{1,7}", value) and int(value) <= 1_000_000:
            return int(value)
    raise ValueError(f"expected {', '.join(EFFORT_NAMES)}, or a number of tokens up to 1000000")


_FIXED_FIELDS = ("model", "stream")
"""Fields of a body that rules do not edit: who answers, and how, is decided by then."""


def _check_field(value: str) -> str:
    parts = value.split(".")
    if not all(parts) or len(parts) > 16:
        raise ValueError("expected the name of a field, or several joined by dots")
    if parts[0] in _FIXED_FIELDS:
        raise ValueError(
            "the model is chosen with `model`, `chain` or `split`"
            if parts[0] == "model"
            else "whether an answer is streamed is the caller's choice"
        )
    return value


MoveReasons: TypeAlias = Annotated[tuple[MoveReason, ...], AfterValidator(_check_some)]

_Text: TypeAlias = Annotated[str, Field(min_length=1)]
_Patterns: TypeAlias = Annotated[
    tuple[Annotated[_Text, AfterValidator(_check_pattern)], ...],
    AfterValidator(_check_some),
    BeforeValidator(_one_or_more, json_schema_input_type=str | list[str]),
]
_Level: TypeAlias = Annotated[
    str | int, PlainValidator(_parse_level, json_schema_input_type=str | int)
]
_FieldName: TypeAlias = Annotated[str, AfterValidator(_check_field)]
_Fields: TypeAlias = Mapping[_FieldName, Any]
_Weight: TypeAlias = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid",  # a misspelt condition must not pass as one that always holds
        frozen=True,
        hide_input_in_errors=True,
        validate_default=False,
    )


class Tokens(_Section):
    """How long a prompt is, in tokens; system text, tools and their results count."""

    # A rule about long prompts has no upper end, and the other way round.
    over: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="more tokens than this"
    )
    under: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="fewer tokens than this"
    )

    @model_validator(mode="after")
    def _check(self) -> Tokens:
        if self.over is None and self.under is None:
            raise ValueError("expected over, under, or both")
        if self.over is not None and self.under is not None and self.under <= self.over + 1:
            raise ValueError("no number is over and under these")
        return self


class Condition(_Section):
    """What has to hold of a call, all of it; what is left out does not matter."""

    # Conditions that are not written hold for every call.
    model: _Patterns | None = Field(
        default=None, description="the model asked for: a name, a glob, or /a regular expression/"
    )
    tokens: Annotated[Tokens, BeforeValidator(_just_over)] | None = Field(
        default=None, description="length of the prompt; a number means over it"
    )
    thinking: bool | None = Field(default=None, description="whether thinking is really on")
    tool: _Patterns | None = Field(
        default=None, description="a tool that is offered, in any case of letters"
    )
    images: bool | None = Field(default=None, description="whether there are images")
    client: _Patterns | None = Field(
        default=None, description="the calling program, such as claude or codex"
    )
    key: _Patterns | None = Field(default=None, description="label of the key that is used")
    path: _Patterns | None = Field(default=None, description="path that is called")
    stream: bool | None = Field(default=None, description="whether the answer is streamed")
    header: Mapping[_Text, _Patterns] = Field(
        default={}, description='header fields: {name: a value, or several}; "*" is any value'
    )
    rule: _Text | None = Field(
        default=None, description="a rule of ccproxy, or one of your own, by its name"
    )
    params: Any = Field(
        default=None, description="what that rule is given: a value, a list, or names"
    )
    any: tuple[Condition, ...] | None = Field(
        default=None, description="conditions of which one is enough"
    )
    not_: Condition | None = Field(
        default=None, alias="not", description="conditions that do not all hold"
    )

    @model_validator(mode="after")
    def _check(self) -> Condition:
        if self.params is not None and self.rule is None:
            raise ValueError("params belong to a rule, and none is named")
        if self.any is not None and not self.any:
            raise ValueError("any needs at least one condition")
        return self


class Rejection(_Section):
    """An answer in place of a model's."""

    message: _Text = Field(..., description="what the caller reads")
    # The call was understood, and is not wanted.
    status: int = Field(default=403, ge=400, le=599, description="HTTP status of the answer")


_TARGETS = ("model", "chain", "split", "reject")


class Action(_Section):
    """What a rule does; nothing keeps the call as it is, and later rules are not looked at."""

    # An action that is not written leaves that part of the call alone.
    model: _Text | None = Field(
        default=None, description="the model to use, or an alias; model(high) sets the reasoning"
    )
    chain: _Text | None = Field(default=None, description="name of a chain to use")
    split: Annotated[Mapping[_Text, _Weight], Field(min_length=1)] | None = Field(
        default=None,
        description="models to choose from: {model: weight}; a conversation stays with its model",
    )
    reject: Annotated[Rejection, BeforeValidator(_just_message)] | None = Field(
        default=None, description="the message with which the call is refused"
    )
    provider: _Text | None = Field(default=None, description="only this provider's accounts")
    account: _Text | None = Field(default=None, description="only this account: provider/label")
    reasoning: _Level | None = Field(
        default=None,
        description="how much the model thinks: none, minimal, low, medium, high, xhigh, max, "
        "auto, or a number of tokens",
    )
    strategy: Strategy | None = Field(
        default=None, description="which account comes first; see strategies"
    )
    set: _Fields = Field(
        default={}, description="fields of the body that are set where the call has none"
    )
    override: _Fields = Field(
        default={}, description="fields of the body that are set, whatever the call has"
    )
    remove: tuple[_FieldName, ...] = Field(default=(), description="fields of the body to drop")

    @model_validator(mode="after")
    def _check(self) -> Action:
        targets = [name for name in _TARGETS if getattr(self, name) is not None]
        if len(targets) > 1:
            raise ValueError(f"expected one of {' and '.join(targets)}, not both")
        if self.provider is not None and self.account is not None:
            raise ValueError("an account has its provider; expected one of the two")
        others = (getattr(self, name) for name in type(self).model_fields if name != "reject")
        if self.reject is not None and any(others):
            raise ValueError("a call that is refused needs no other action")
        fixed = self.provider or self.account
        if fixed is not None and (self.chain is not None or self.split is not None):
            raise ValueError("write the provider before each model of the chain or split instead")
        if self.split is not None and not sum(self.split.values()):
            raise ValueError("one of the weights must be above 0")
        twice = [name for name in self.remove if name in self.set or name in self.override]
        if twice:
            raise ValueError(f"{twice[0]} is both set and removed")
        return self


class Rule(_Section):
    """One rule: what has to hold, and what is done then."""

    # Numbered where it has none: rule 1, rule 2.
    name: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="what it is called in explanations and the log"
    )
    # A rule without conditions is for all calls that come so far.
    when: Annotated[Condition, BeforeValidator(_null_is_empty)] = Field(
        default=Condition(), description="what has to hold, all of it; nothing: any call"
    )
    then: Annotated[Action, BeforeValidator(_null_is_empty)] = Field(
        ..., description="what is done; nothing ({}) keeps the call as it is"
    )


class Retry(_Section):
    """Asking again after a passing failure, before anything of an answer was sent."""

    # The agents themselves try again, too; one more try here saves them the wait.
    attempts: int = Field(
        default=2,
        ge=1,
        le=10,
        description="calls of one account, the first one included; 1 is no retry",
    )
    # Most overloads pass within a second.
    first_wait_s: float = Field(
        default=0.5, gt=0, le=60, allow_inf_nan=False, description="seconds before the second call"
    )
    # Longer waits are better spent with another account.
    longest_wait_s: float = Field(
        default=8.0,
        gt=0,
        le=600,
        allow_inf_nan=False,
        description="seconds; each wait is twice the one before, up to this",
    )
    # People and agents take a longer silence for a broken connection.
    budget_s: float = Field(
        default=20.0,
        ge=0,
        le=3_600,
        allow_inf_nan=False,
        description="seconds after the call came; no try begins later",
    )


Condition.model_rebuild()
