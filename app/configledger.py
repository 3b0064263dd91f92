"""The shape of ``ledger`` and of ``models.prices``, as frozen models."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

__all__ = ["Budget", "Ledger", "Price"]

_Dollars: TypeAlias = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
_Rate: TypeAlias = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
_Percent: TypeAlias = Annotated[float, Field(gt=0, le=1_000, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid",  # a misspelt limit must not pass as none
        frozen=True,
        hide_input_in_errors=True,
        validate_default=False,
    )


class Budget(_Section):
    """How much a day or a month may cost: of everything, of one key or of one provider."""

    # Numbered where it has none: budget 1, budget 2.
    name: Annotated[str, Field(min_length=1, max_length=60)] | None = Field(
        default=None, description="what it is called in the tray, in messages and in the log"
    )
    # One of the two is needed.
    usd: _Dollars | None = Field(
        default=None, description="the limit in US dollars; or give tokens"
    )
    tokens: Annotated[int, Field(gt=0, le=10**15)] | None = Field(
        default=None, description="the limit in tokens, read and written; or give usd"
    )
    # What services send bills for.
    per: Literal["day", "month"] = Field(
        default="month", description="the time that the limit is for: day, or month"
    )
    # Everything, unless it is narrowed to one of the two.
    key: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="only calls with this key: its id or its name"
    )
    provider: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="only calls that this provider answers"
    )
    # Time enough to do something about it.
    warn_percent: _Percent | None = Field(
        default=80.0,
        description="percent of the limit from which on you are told; null: not before it stops",
    )
    # A budget that does not stop anything is no budget.
    stop_percent: _Percent | None = Field(
        default=100.0,
        description="percent of the limit from which on calls are refused; null: never",
    )
    # Nobody pays by the token for them.
    count_plans: bool = Field(
        default=False,
        description="for a limit in dollars: whether what plans serve counts, too, at list price",
    )

    @model_validator(mode="after")
    def _check(self) -> Budget:
        if (self.usd is None) == (self.tokens is None):
            raise ValueError("expected either usd or tokens")
        if self.key is not None and self.provider is not None:
            raise ValueError("a budget is for a key or for a provider, not both")
        if self.warn_percent is None and self.stop_percent is None:
            raise ValueError("a budget that neither warns nor stops does nothing")
        return self


def _check_names(budgets: tuple[Budget, ...]) -> tuple[Budget, ...]:
    names = [budget.name or f"budget {number}" for number, budget in enumerate(budgets, 1)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two budgets are called {name}")
    return budgets


class Ledger(_Section):
    """What each request cost, and how much may be spent."""

    # Prompts and answers are private.
    bodies: bool = Field(default=False, description="whether prompts and answers are kept, too")
    # Long enough to look at what happened last week.
    bodies_days: float = Field(
        default=7.0, gt=0, le=3_650, description="days until a prompt and its answer are removed"
    )
    # An agent's longest prompts, without pictures.
    bodies_each_kb: int = Field(
        default=1_024,
        ge=1,
        le=65_536,
        description="kilobytes of a prompt or of an answer; the rest is cut off",
    )
    # What nobody misses on a disk.
    bodies_mb: int = Field(
        default=512,
        ge=1,
        le=10**6,
        description="megabytes of all of them, packed; the oldest go when it is more",
    )
    # A year, and the weeks to look back at it.
    retention_days: int = Field(
        default=400, ge=1, le=36_500, description="days until a row is removed"
    )
    # Some three million requests.
    max_mb: int = Field(
        default=2_048,
        ge=16,
        le=10**6,
        description="megabytes of the file that may be used; the oldest requests go when it is "
        "more, their sums stay",
    )
    # Nobody else knows what is too much.
    budgets: Annotated[tuple[Budget, ...], AfterValidator(_check_names)] = Field(
        default=(), description="how much money or how many tokens may be used"
    )


class Price(_Section):
    """What a model costs, in US dollars per million tokens; null is not known."""

    # Local models cost nothing; of others, the service's price list tells.
    input: _Rate | None = Field(default=None, description="tokens read, without the cached ones")
    output: _Rate | None = Field(default=None, description="tokens written, with reasoning")
    cache_read: _Rate | None = Field(
        default=None, description="tokens read from the cache; null: as input"
    )
    cache_write: _Rate | None = Field(
        default=None, description="tokens written to the cache; null: as input"
    )
