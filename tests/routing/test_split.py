import pytest

from app.routing.split import choose_share


def test_a_conversation_stays_with_its_model():
    weights = {"a": 1, "b": 1}
    first = choose_share(weights, "s", "conversation")
    assert all(choose_share(weights, "s", "conversation") == first for _ in range(50))


@pytest.mark.parametrize(
    "weights", [{"a": 90, "b": 10}, {"a": 1, "b": 1, "c": 2}, {"a": 0, "b": 0.5, "c": 0.25}]
)
def test_conversations_divide_by_weight(weights):
    count = 20_000
    seen = dict.fromkeys(weights, 0)
    for number in range(count):
        seen[choose_share(weights, "s", f"c{number}").model] += 1
    total = sum(weights.values())
    for model, weight in weights.items():
        assert abs(seen[model] / count - weight / total) < 0.012


def test_two_splits_divide_differently():
    weights = {"a": 1, "b": 1}
    same = sum(
        choose_share(weights, "s", f"{n}").model == choose_share(weights, "t", f"{n}").model
        for n in range(2_000)
    )
    assert 850 < same < 1_150


def test_a_model_that_takes_weight_from_the_last_moves_nobody_else():
    for number in range(2_000):
        before = choose_share({"a": 50, "b": 50}, "s", f"{number}")
        after = choose_share({"a": 50, "b": 30, "c": 20}, "s", f"{number}")
        assert after.model == before.model or (before.model, after.model) == ("b", "c")


def test_odd_weights_and_names_have_a_choice():
    assert choose_share({"a": 0, "b": 1e-9}, "s", "\ud800").model == "b"
    assert choose_share({"a": 0.1, "b": 0.2, "c": 0.7}, "s", "").model in "abc"
    share = choose_share({"a": 1, "b": 3}, "s", "x")
    assert share.part in (0.25, 0.75)
    assert 0 <= share.point < 1
