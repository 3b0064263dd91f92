import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.clients.change import NotEditable, SyntaxFault
from app.clients.marked import EnvDocument, block_of, with_block, without_block

LINES = st.lists(
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=9)
)


@st.composite
def texts(draw):
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    lines = [line for line in draw(LINES) if "dragoman" not in line]
    return newline.join(lines) + draw(st.sampled_from(["", newline]))


@given(texts(), st.lists(st.sampled_from(["A=b", "# c", "", "if x; then y; fi"]), max_size=4))
def test_lines_come_and_go_without_a_trace(text, lines):
    once = with_block(text, lines)
    assert block_of(once) == tuple(lines)
    assert without_block(once) == text
    assert with_block(once, lines) == once


@given(texts())
def test_other_lines_take_the_place_of_older_ones(text):
    assert with_block(with_block(text, ["old"]), ["new"]) == with_block(text, ["new"])


def test_lines_stay_where_they_are_when_something_follows():
    text = with_block("a\n", ["x"]) + "b\n"
    assert with_block(text, ["y"]) == text.replace("x\n", "y\n")
    assert without_block(text) == "a\nb\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n# >>> dragoman >>>\n", 2),
        ("# <<< dragoman <<<\n", 1),
        (with_block("", ["x"]) * 2, 6),
        ("# <<< dragoman <<<\n# >>> dragoman >>>\n", 2),
    ],
)
def test_marks_that_are_no_pair_are_left_alone(text, line):
    for call in (block_of, without_block, lambda text: with_block(text, [])):
        with pytest.raises(SyntaxFault) as caught:
            call(text)
        assert caught.value.line == line


def test_variables_are_set_below_those_of_others_and_go_again():
    text = "KEY=mine # no\n"
    document = EnvDocument(text).put(("KEY",), "ours").put(("OTHER",), "two words")
    assert document.text == text + (
        "# >>> dragoman >>>\nKEY=ours\nOTHER='two words'\n# <<< dragoman <<<\n"
    )
    assert document.value == {"KEY": "ours", "OTHER": "two words"}
    assert document.drop(("KEY",)).drop(("OTHER",)).text == text


@pytest.mark.parametrize("value", ["it's", "two\nlines", 3, None])
def test_values_that_no_line_can_hold_are_refused(value):
    with pytest.raises(NotEditable):
        EnvDocument("").put(("KEY",), value)


@pytest.mark.parametrize("path", [("a-b",), ("A", "B"), ("1A",)])
def test_names_that_no_variable_has_are_refused(path):
    with pytest.raises(NotEditable):
        EnvDocument("").put(path, "v")


def test_a_line_between_the_marks_that_is_no_variable_is_a_fault():
    with pytest.raises(SyntaxFault):
        EnvDocument("# >>> dragoman >>>\nno variable\n# <<< dragoman <<<\n")
