"""Choosing one of several weighted models, the same one for a whole conversation (pure)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Share", "choose_share"]


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a split that a call fell into."""

    model: str
    part: float
    """Its weight as a part of all, above 0 and up to 1."""
    point: float
    """Where the conversation lies, from 0 up to but not including 1."""


def choose_share(weights: Mapping[str, float], split: str, seed: str) -> Share:
    """Return where a conversation goes.

    The choice is a function of the names alone: it survives restarts, and a conversation stays
    when a model is added behind the others with its weight taken from the last of them.

    Args:
        weights: model to weight, in the order of the settings; at least one is above 0.
        split: name of the split, so that two splits divide conversations differently.
        seed: names the conversation.
    """
    digest = hashlib.blake2b(
        f"{split}\0{seed}".encode("utf-8", "surrogatepass"), digest_size=8
    ).digest()
    # 53 bits, so that the quotient stays below 1 when it is rounded.
    point = (int.from_bytes(digest, "big") >> 11) / 2**53
    total = sum(weights.values())
    reached = 0.0
    usable = [(model, weight) for model, weight in weights.items() if weight > 0]
    for model, weight in usable:
        reached += weight
        if point * total < reached:
            return Share(model, weight / total, point)
    model, weight = usable[-1]  # the sum was rounded down
    return Share(model, weight / total, point)
