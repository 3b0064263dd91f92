"""Settings of a Gemini request, canon to wire: limits, sampling, stop, output form, thought."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from app.canonical.parts import Json, JsonObject
from app.canonical.profile import ModelProfile, ReasoningStyle, Target
from app.canonical.reasoning import resolve
from app.canonical.request import ChatRequest, Effort, OutputFormat, ReasoningConfig
from app.dialects.base import LossList
from app.dialects.gemini_parts import DIALECT, own_fields
from app.dialects.gemini_schema import clean, to_openapi

__all__ = ["encode_settings", "fitted_profile"]

_MAX_STOPS = 5

_LEVELS = re.compile(r"gemini-(?:[3-9]|\d\d)")
_BUDGETS = re.compile(r"gemini-2\.5")


def fitted_profile(profile: ModelProfile, model: str) -> ModelProfile:
    """Return the profile with what the names of Google's models say, where it says nothing.

    Source: https://ai.google.dev/gemini-api/docs/thinking (read November 2026).
    """
    style = profile.reasoning
    if style == "unknown":
        if _LEVELS.search(model):
            style = "level"
        elif _BUDGETS.search(model):
            style = "budget"
    elif style in ("effort", "adaptive"):
        style = "level"
    if style == "level" and not profile.efforts:
        return replace(profile, reasoning=style, efforts=_levels_of(model))
    if style == "budget" and profile.budget_max is None:
        return _with_budgets(profile, style, model)
    return replace(profile, reasoning=style)


def _levels_of(model: str) -> tuple[Effort, ...]:
    if "gemini-3-pro" in model:
        return ("low", "high")
    if "-pro" in model:
        return ("low", "medium", "high")
    return ("minimal", "low", "medium", "high")


def _with_budgets(profile: ModelProfile, style: ReasoningStyle, model: str) -> ModelProfile:
    if "2.5-pro" in model:
        return replace(
            profile,
            reasoning=style,
            budget_min=128,
            budget_max=32768,
            can_disable_reasoning=False,
        )
    lowest = 512 if "flash-lite" in model else None
    return replace(profile, reasoning=style, budget_min=lowest, budget_max=24576)


def encode_settings(
    request: ChatRequest,
    target: Target,
    profile: ModelProfile,
    losses: LossList,
    kept: JsonObject,
) -> JsonObject:
    """Return ``generationConfig``.

    Args:
        request: whose settings.
        target: where it goes.
        profile: of the model, as ``fitted_profile`` returns it.
        losses: takes what the service has no word for.
        kept: the fields that a client of this dialect sent and the canon does not name.
    """
    return _Settings(request, target, profile, losses, kept).body()


@dataclass(frozen=True, slots=True)
class _Settings:
    request: ChatRequest
    target: Target
    profile: ModelProfile
    losses: LossList
    kept: JsonObject

    @property
    def own(self) -> bool:
        """Whether the request came in this dialect."""
        native = self.request.native
        return native is not None and native.dialect == DIALECT

    def body(self) -> JsonObject:
        request = self.request
        config: JsonObject = {}
        limit = request.max_tokens
        if limit is not None and self.profile.max_output and limit > self.profile.max_output:
            self.losses.add("max_tokens", f"limited to {self.profile.max_output}")
            limit = self.profile.max_output
        knobs: list[tuple[str, str, Json]] = [
            ("max_tokens", "maxOutputTokens", limit),
            ("temperature", "temperature", request.temperature),
            ("top_p", "topP", request.top_p),
            ("top_k", "topK", request.top_k),
            ("frequency_penalty", "frequencyPenalty", request.frequency_penalty),
            ("presence_penalty", "presencePenalty", request.presence_penalty),
            ("seed", "seed", request.seed),
            ("logprobs", "responseLogprobs", request.logprobs),
            ("top_logprobs", "logprobs", request.top_logprobs),
            ("choices", "candidateCount", request.choices if request.choices > 1 else None),
        ]
        for path, key, value in knobs:
            if value is not None and not self._refused(path):
                config[key] = value
        self._stop(config)
        thinking = self._thinking()
        if thinking:
            config["thinkingConfig"] = thinking
        if request.output is not None:
            self._output(config, request.output)
        return {**config, **self.kept}

    def _refused(self, path: str) -> bool:
        profile = self.profile
        sampling = ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty")
        refused = not profile.sampling and path in sampling
        if path == "top_p" and profile.temperature_or_top_p:
            refused = refused or self.request.temperature is not None
        if refused:
            self.losses.add(path, "refused by this model")
        return refused

    def _stop(self, config: JsonObject) -> None:
        stop = self.request.stop
        if not stop:
            return
        if not self.profile.stop:
            self.losses.add("stop", "refused by this model")
            return
        if len(stop) > _MAX_STOPS and not self.own:
            self.losses.add("stop", f"only {_MAX_STOPS} are accepted")
            stop = stop[:_MAX_STOPS]
        config["stopSequences"] = list(stop)

    def _output(self, config: JsonObject, output: OutputFormat) -> None:
        if output.kind == "text":
            if self.own:
                config["responseMimeType"] = "text/plain"
            return
        config["responseMimeType"] = "application/json"
        if output.kind == "json_object" or output.schema is None or "responseSchema" in self.kept:
            return
        if self.own:
            config["responseJsonSchema"] = output.schema
        elif not self.profile.json_schema:
            self.losses.add("output.schema", "not enforced by this service")
        else:
            if self.target.official:
                config["responseJsonSchema"], dropped = clean(output.schema)
            else:
                config["responseSchema"], dropped = to_openapi(output.schema)
            for keyword in dropped:
                self.losses.add(f"output.schema.{keyword}", "not known to this dialect")

    def _thinking(self) -> JsonObject:
        wish = self.request.reasoning
        if wish is None:
            return {}
        kept = own_fields(wish.native)
        as_asked = self._as_asked(wish)
        if as_asked is not None:
            return {**as_asked, **kept}
        thinking = resolve(wish, self.profile, self.request.max_tokens)
        if thinking is None:
            if wish.mode != "off":
                self.losses.add("reasoning", "this model does not think")
            return {}
        config: JsonObject = {}
        if self.profile.reasoning == "level":
            if thinking.effort is not None and not (thinking.adaptive and wish.effort is None):
                config["thinkingLevel"] = thinking.effort.upper()
        elif thinking.off:
            config["thinkingBudget"] = 0
        elif thinking.adaptive:
            config["thinkingBudget"] = -1
        elif thinking.budget_tokens is not None:
            config["thinkingBudget"] = thinking.budget_tokens
        if thinking.visible:
            config["includeThoughts"] = True
        return config

    def _as_asked(self, wish: ReasoningConfig) -> JsonObject | None:
        # A Gemini client's own words, where this model has the same way of being told.
        style = self.profile.reasoning
        if not self.own or style == "none":
            return None
        if (style == "level" and wish.budget_tokens is not None) or (
            style == "budget" and wish.effort is not None
        ):
            return None
        config: JsonObject = {}
        if wish.budget_tokens is not None:
            config["thinkingBudget"] = wish.budget_tokens
        if wish.effort is not None:
            config["thinkingLevel"] = wish.effort.upper()
        if wish.visible:
            config["includeThoughts"] = True
        return config
