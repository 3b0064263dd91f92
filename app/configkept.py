"""The shape of ``cache`` and ``traces``: what is kept of answers, and told of them elsewhere."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["Cache", "Traces"]


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid",  # a misspelt key must not pass as none
        frozen=True,
        hide_input_in_errors=True,
        validate_default=False,
    )


class Cache(_Section):
    """Answers that are given again to the same question."""

    # Nobody wants yesterday's answer unasked.
    enabled: bool = Field(
        default=False,
        description="whether a request is answered again that says the same and leaves nothing to "
        "chance (temperature 0, or a seed)",
    )
    # A test that is run again is run again soon.
    ttl_s: float = Field(
        default=3_600.0, gt=0, le=30 * 86_400, description="seconds until an answer is forgotten"
    )
    # Memory that nobody misses.
    max_mb: int = Field(
        default=32, ge=1, le=4_096, description="megabytes of memory for all answers together"
    )


def _check_endpoint(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s?#]*)?", value):
        raise ValueError("expected an http or https address without user, query and fragment")
    return value


class Traces(_Section):
    """OpenTelemetry traces of requests; needs the extra ``otel``."""

    # Traces go to another program.
    enabled: bool = Field(
        default=False,
        description="whether a span is sent for each request and for each attempt, without "
        "prompts and answers",
    )
    # As any program with OpenTelemetry has it; header fields come from OTEL_EXPORTER_OTLP_HEADERS.
    endpoint: Annotated[str, AfterValidator(_check_endpoint)] | None = Field(
        default=None,
        description="where to, by OTLP over HTTP, without /v1/traces; null is "
        "OTEL_EXPORTER_OTLP_ENDPOINT, else http://localhost:4318",
    )
