"""Which models there are, and who serves them: an immutable value that ``service`` swaps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from app.accounts.account import Account
from app.canonical.profile import ModelProfile, ReasoningStyle
from app.providers.base import ModelFacts
from app.routing.profiles import profile_for
from app.routing.snapshot import Snapshot, find

__all__ = ["Capabilities", "Catalog", "NamePattern"]


_MAX_PROFILES = 512
"""Clients may ask for any name, so what is kept of their asking is bounded."""


@dataclass(frozen=True, slots=True)
class NamePattern:
    """A rule of the settings: models whose name matches belong to a provider."""

    match: re.Pattern[str]
    provider: str
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the settings say of a model; None leaves what is known otherwise."""

    context: int | None = None
    tools: bool | None = None
    images: bool | None = None
    reasoning: ReasoningStyle | None = None
    max_output: int | None = None


@dataclass(frozen=True, slots=True)
class Catalog:
    """Models by name, per account."""

    listed: Mapping[str, Mapping[str, ModelFacts]] = field(default_factory=dict)
    """Account id to upstream model to what the service's own list says of it."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    patterns: tuple[NamePattern, ...] = ()
    capabilities: Mapping[str, Capabilities] = field(default_factory=dict)
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    default: str | None = None
    snapshot: Snapshot = field(default_factory=dict)
    """Public model data; fills what neither the name nor the service tells."""
    _profiles: dict[tuple[str, str, str], ModelProfile] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """What ``profile`` has worked out; the catalog never changes, so it stays true."""

    def names(self, account: Account) -> Mapping[str, str]:
        """Return public name to upstream name for an account, as far as known."""
        if account.models is not None:
            return account.models
        return {name: name for name in self.listed.get(account.id, ())}

    def upstream_name(self, account: Account, model: str) -> str | None:
        """Return the account's own name for a public model, or None when it does not list it."""
        if account.models is not None:
            return account.models.get(model)
        return model if model in self.listed.get(account.id, ()) else None

    def knows(self, account: Account) -> bool:
        """Whether the account's models are known at all (configured, or listed by the service)."""
        return account.models is not None or account.id in self.listed

    def facts(self, account: Account, upstream_model: str) -> ModelFacts | None:
        """Return the service's own line for a model."""
        return self.listed.get(account.id, {}).get(upstream_model)

    def profile(self, account: Account, public: str, upstream_model: str) -> ModelProfile:
        """Return what encoders need.

        The settings win over the service's own list. Then sizes are those of the public data,
        which knows single models where a name tells only the family; for the rest it is the
        other way round.
        """
        key = (account.id, public, upstream_model)
        known = self._profiles.get(key)
        if known is None:
            if len(self._profiles) >= _MAX_PROFILES:
                self._profiles.clear()
            known = self._profiles[key] = self._profile(account, public, upstream_model)
        return known

    def _profile(self, account: Account, public: str, upstream_model: str) -> ModelProfile:
        profile = _completed(
            profile_for(upstream_model, official=account.provider.official), self.snapshot
        )
        facts = self.facts(account, upstream_model)
        if facts is not None:
            profile = replace(
                profile,
                context=facts.context or profile.context,
                max_output=facts.max_output or profile.max_output,
                tools=profile.tools if facts.tools is None else facts.tools,
                images=profile.images if facts.images is None else facts.images,
            )
        own = self.capabilities.get(public) or self.capabilities.get(upstream_model)
        if own is not None:
            profile = replace(
                profile,
                context=own.context or profile.context,
                max_output=own.max_output or profile.max_output,
                tools=profile.tools if own.tools is None else own.tools,
                images=profile.images if own.images is None else own.images,
                reasoning=own.reasoning or profile.reasoning,
            )
        return profile


def _completed(profile: ModelProfile, snapshot: Snapshot) -> ModelProfile:
    """Join a profile with public model data."""
    row = find(snapshot, profile.name)
    if row is None:
        return profile
    return replace(
        profile,
        context=row.context or profile.context,
        max_output=row.max_output or profile.max_output,
        tools=profile.tools if row.tools is None else row.tools,
        images="image" in row.input if row.input else profile.images,
        audio=profile.audio or "audio" in row.input,
    )
