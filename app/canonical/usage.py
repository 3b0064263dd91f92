"""What a call used, in counts that never overlap."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Usage"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Disjoint token counts of one answer.

    The prompt is ``input + cache_read + cache_write``. Anthropic reports these three apart;
    OpenAI and Gemini report the sum and the cached part, so decoders subtract.
    """

    input: int = 0
    """Prompt tokens neither read from nor written to a cache."""
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    """Generated tokens, thought included."""
    reasoning: int | None = None
    """How many of ``output`` were thought; None when the service does not say."""
    cache_write_1h: int | None = None
    """How many of ``cache_write`` live one hour (Anthropic); None when not said."""

    @property
    def prompt(self) -> int:
        """All prompt tokens."""
        return self.input + self.cache_read + self.cache_write

    @property
    def total(self) -> int:
        """Prompt and output."""
        return self.prompt + self.output
