"""Heads of requests: what passes, and what a refused one is told."""

import pytest

from app.server.head import HeadRefused, check_head
from tests.server.test_front import OK


@pytest.mark.parametrize(
    "head",
    [
        OK,
        b"\r\n" + OK,
        b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        b"PROPFIND /a%20b?c=d&e=[f] HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nx_y.z: \t caf\xc3\xa9 \r\n\r\n",
        b"OPTIONS / HTTP/1.1\r\nHost: a\r\n" + b"x: y\r\n" * 255 + b"\r\n",
    ],
)
def test_a_right_head_passes(head):
    check_head(head)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"GET / HTTP/1.1\nHost: a\n\n", "end in CR LF"),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", "end in CR LF"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", "end in CR LF"),
        (b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", "end in CR LF"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", "NUL"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", "control character"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n", "folded"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\tfolded\r\n\r\n", "folded"),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", "folded"),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "name"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX Y: a\r\n\r\n", "name"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX(Y: a\r\n\r\n", "name"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n", "name"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", "name"),
        (b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "slash"),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "slash"),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "slash"),
        (b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", "non-ASCII"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "version"),
        (b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", "form"),
        (b"GET / http/1.1\r\nHost: a\r\n\r\n", "form"),
        (b"GET /\r\nHost: a\r\n\r\n", "form"),
        (b"\r\n\r\n", "form"),
        (b"\r\n\r\n" + OK, "form"),
        (b"G" * 33 + b" / HTTP/1.1\r\nHost: a\r\n\r\n", "method"),
        (b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", "method"),
        (b"\x16\x03\x01\x02 tls hello \r\n\r\n", "form"),
    ],
)
def test_a_wrong_head_is_refused_and_told_why(head, words):
    with pytest.raises(HeadRefused, match=words) as caught:
        check_head(head)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 65536 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"x: y\r\n" * 257 + b"\r\n",
    ],
)
def test_a_head_that_is_too_large_is_431(head):
    with pytest.raises(HeadRefused) as caught:
        check_head(head)
    assert caught.value.status == 431
