import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.canonical.ids import ANTHROPIC_CALL, CHAT_CALL, RESPONSES_CALL, fit_id

RULES = (CHAT_CALL, RESPONSES_CALL, ANTHROPIC_CALL)
ids = st.text(max_size=90) | st.text("abc-_.:", max_size=90)


@pytest.mark.parametrize("rule", RULES)
@given(value=ids)
def test_a_fitted_id_follows_the_rule_and_stays(rule, value):
    fitted = fit_id(value, rule)
    assert rule.pattern.fullmatch(fitted)
    assert fit_id(fitted, rule) == fitted


@pytest.mark.parametrize("rule", RULES)
@given(one=ids, other=ids)
def test_different_ids_stay_different(rule, one, other):
    assert (fit_id(one, rule) == fit_id(other, rule)) == (one == other)


@given(ids)
def test_an_id_made_for_anyone_is_taken_by_everyone(value):
    for rule in RULES:
        if not rule.pattern.fullmatch(value):
            made = fit_id(value, rule)
            assert all(other.pattern.fullmatch(made) for other in RULES)


def test_what_fits_is_untouched():
    assert fit_id("toolu_01", ANTHROPIC_CALL) == "toolu_01"
    assert fit_id("call.1", CHAT_CALL) == "call.1"
    assert fit_id("call.1", ANTHROPIC_CALL).startswith("toolu_")
    assert fit_id("", CHAT_CALL).startswith("call_")
    assert fit_id("\ud800", CHAT_CALL).startswith("call_")
