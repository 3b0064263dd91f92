"""What did not survive a translation."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Loss"]


@dataclass(frozen=True, slots=True)
class Loss:
    """One thing that the target could not express and that the answer can do without.

    Content that matters is never lost: that raises ``TranslationError``.
    """

    path: str
    """Where it stood, in the words of the canon (``tools[2].strict``, ``top_k``)."""
    reason: str
    """Why, in a few words (``not known to this dialect``, ``refused by reasoning models``)."""
