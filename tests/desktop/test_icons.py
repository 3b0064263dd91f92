import itertools

import pytest

from app.desktop.icons import Look, draw

STATES = ("running", "working", "attention", "paused", "stopped")


def ink(image):
    """Return how much of the picture is not transparent."""
    return sum(image.getchannel("A").tobytes())


@pytest.mark.parametrize("theme", ["light", "dark", "template"])
@pytest.mark.parametrize("size", [16, 22, 44, 64])
def test_every_state_looks_different(theme, size):
    pictures = {draw(Look(state, theme), size).tobytes() for state in STATES}
    assert len(pictures) == len(STATES)


def test_states_differ_in_shape_and_not_only_in_colour():
    shapes = {draw(Look(state, "light")).getchannel("A").tobytes() for state in STATES}
    assert len(shapes) == len(STATES)


@pytest.mark.parametrize(("state", "left"), list(itertools.product(STATES, [None, 3])))
def test_template_is_black_on_nothing(state, left):
    colours = draw(Look(state, "template", left)).convert("RGBA").getcolors(4_096)
    assert {colour[:3] for _, colour in colours if colour[3]} == {(0, 0, 0)}


def test_bar_grows_with_what_is_left():
    inks = [ink(draw(Look.of("running", "light", left))) for left in (0, 25, 50, 75, 100)]
    assert inks == sorted(set(inks))


def test_little_left_is_red_and_never_nothing():
    assert Look.of("running", "dark", 0.4).left == 1
    assert Look.of("running", "dark", 0.0).left == 0
    assert Look.of("running", "dark", None).left is None
    low = draw(Look.of("running", "dark", 5.0)).getpixel((6, 60))
    high = draw(Look.of("running", "dark", 90.0)).getpixel((6, 60))
    assert low[0] > 150 > low[1]
    assert min(high[:3]) > 200


def test_small_changes_of_quota_are_the_same_picture():
    assert Look.of("running", "dark", 61.0) == Look.of("running", "dark", 62.0)


def test_icon_has_the_size_asked_for():
    assert draw(Look("running", "dark"), 22).size == (22, 22)
