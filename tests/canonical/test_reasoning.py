import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.canonical.profile import ModelProfile
from app.canonical.reasoning import (
    BUDGETS,
    EFFORTS,
    Thinking,
    budget_of,
    effort_of,
    nearest_effort,
    resolve,
)
from app.canonical.request import ReasoningConfig

efforts = st.sampled_from(EFFORTS)
accepted = st.sets(efforts).map(lambda found: tuple(sorted(found, key=EFFORTS.index)))
limits = st.none() | st.integers(2, 200_000)
configs = st.builds(
    ReasoningConfig,
    st.sampled_from(["on", "adaptive", "off"]),
    st.none() | efforts,
    st.none() | st.integers(-1, 200_000),
    st.none() | st.booleans(),
)


def test_budgets_rise_with_efforts():
    assert list(BUDGETS) == list(EFFORTS)
    assert all(low < high for low, high in itertools.pairwise(BUDGETS.values()))


@given(efforts)
def test_an_effort_survives_its_budget(effort):
    assert effort_of(budget_of(effort)) == effort


@given(st.integers(0, 300_000), st.integers(0, 300_000))
def test_a_larger_budget_never_means_less_effort(one, other):
    low, high = sorted((one, other))
    assert EFFORTS.index(effort_of(low)) <= EFFORTS.index(effort_of(high))


def test_any_thought_at_all_is_more_than_none():
    assert effort_of(0) == "none"
    assert effort_of(1) == "minimal"
    assert effort_of(-1) == "medium"


@given(efforts, accepted)
def test_the_nearest_effort_is_accepted_and_thinks_where_thought_was_asked(effort, found):
    near = nearest_effort(effort, found)
    assert near in (found or (effort,))
    if effort != "none" and set(found) - {"none"}:
        assert near != "none"
    if effort in found:
        assert near == effort


@given(efforts, efforts, accepted)
def test_the_nearest_effort_keeps_the_order(one, other, found):
    low, high = sorted((one, other), key=EFFORTS.index)
    if low == "none" or not found:
        return
    assert EFFORTS.index(nearest_effort(low, found)) <= EFFORTS.index(nearest_effort(high, found))


def test_of_two_equally_near_efforts_the_higher_is_taken():
    assert nearest_effort("medium", ("low", "high")) == "high"
    assert nearest_effort("none", ("low", "high")) == "low"
    assert nearest_effort("max", ("low", "high")) == "high"


@given(configs, limits, st.integers(0, 2000), st.integers(2000, 64_000))
def test_a_budget_is_clamped_to_the_model(config, limit, least, most):
    profile = ModelProfile("m", reasoning="budget", budget_min=least, budget_max=most)
    wish = resolve(config, profile, limit)
    if wish.off or wish.budget_tokens in (None, -1):
        return
    assert least <= wish.budget_tokens <= most
    if limit is not None and limit > least:
        assert wish.budget_tokens < limit


@given(st.integers(1, 200_000), st.integers(1, 200_000), limits)
def test_a_larger_wish_never_gets_a_smaller_budget(one, other, limit):
    profile = ModelProfile("m", reasoning="budget", budget_min=1024, budget_max=32_000)
    small, large = (
        resolve(ReasoningConfig(budget_tokens=tokens), profile, limit).budget_tokens
        for tokens in sorted((one, other))
    )
    assert small <= large


@pytest.mark.parametrize(
    "config",
    [
        ReasoningConfig("off"),
        ReasoningConfig(effort="none"),
        ReasoningConfig(budget_tokens=0),
    ],
)
def test_off_is_off_where_the_model_can_and_least_where_it_cannot(config):
    free = ModelProfile("m", efforts=("none", "low"))
    assert resolve(config, free, None) == Thinking(True, "none", 0, False, False)
    bound = ModelProfile("m", efforts=("low", "high"), budget_min=128, can_disable_reasoning=False)
    assert resolve(config, bound, None) == Thinking(False, "low", 128, False, False)


def test_nothing_is_said_without_a_wish_or_to_a_model_that_cannot_think():
    assert resolve(None, ModelProfile("m"), None) is None
    assert resolve(ReasoningConfig(effort="high"), ModelProfile("m", reasoning="none"), 1) is None


def test_a_service_may_decide_by_itself():
    wish = resolve(ReasoningConfig(budget_tokens=-1), ModelProfile("m"), 100)
    assert wish == Thinking(False, None, -1, True, True)
    assert resolve(ReasoningConfig("adaptive"), ModelProfile("m"), 100).adaptive


def test_thought_is_shown_unless_the_client_declines_it():
    profile = ModelProfile("m")
    assert resolve(ReasoningConfig(effort="low", visible=None), profile, None).visible
    assert not resolve(ReasoningConfig(effort="low", visible=False), profile, None).visible
