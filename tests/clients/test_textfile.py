import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.clients.change import SyntaxFault
from app.clients.textfile import MAX_BYTES, decode, keep_line_ends, newline_of


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"])
def test_bytes_come_back_with_their_mark(mark):
    encoding = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}.get(mark, "utf-8")
    content = mark + "a: \u00fc\r\n".encode(encoding)
    file = decode(content)
    assert file.text == "a: \u00fc\r\n"
    assert file.encode(file.text) == content


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back(text):
    content = text.encode()
    file = decode(content)
    assert file.encode(file.text) == content


@pytest.mark.parametrize(
    ("content", "line"), [(b"a\nb\n\xff\n", 3), (b"\xff\xfea", 1), (b" " * (MAX_BYTES + 1), 0)]
)
def test_what_is_no_text_is_refused_with_its_line(content, line):
    with pytest.raises(SyntaxFault) as caught:
        decode(content)
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("text", "newline"), [("", "\n"), ("a\n", "\n"), ("a\r\n", "\r\n"), ("a\r\nb\n", "\n")]
)
def test_most_lines_decide_the_line_end(text, newline):
    assert newline_of(text) == newline


@pytest.mark.parametrize(
    ("before", "after", "result"),
    [
        ("a\r\nb\r\n", "a\nx\nb\n", "a\r\nx\r\nb\r\n"),
        ("a\r\nb\n", "a\nx\nb\n", "a\r\nx\nb\n"),
        ("a\r\nb\r\nc\n", "a\nb\nx\nc\n", "a\r\nb\r\nx\r\nc\n"),
        ("a\nb", "a\nx\nb", "a\nx\nb"),
    ],
)
def test_lines_keep_the_ends_that_they_had(before, after, result):
    assert keep_line_ends(before, after) == result
