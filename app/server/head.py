"""Heads of requests, strictly: what is taken, and what is answered to all others.

Tornado's parser takes some things that other parsers read differently: lines that end in a bare
LF, and ``Content-Length`` given twice with equal values. Two readings of one byte stream are how
requests are smuggled, so all such heads are refused here, before anything else looks at them. A
head has to match one regular expression as a whole (a few microseconds); only when it does not is
it looked at again, to say what is wrong with it.
"""

from __future__ import annotations

import re
import secrets

import msgspec
from tornado.httputil import HTTPHeaders

from app.help import with_address

__all__ = ["MAX_HEAD_BYTES", "HeadRefused", "check_framing", "check_head", "parse_head"]

MAX_HEAD_BYTES = 64 * 1024

_MAX_FIELDS = 256

_REASONS = {
    400: "Bad Request",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}

# Possessive quantifiers: a head that does not match fails at once, without backtracking.
_HEAD = re.compile(
    rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}+ /[\x21-\x7e]*+ HTTP/1\.[01]\r\n"
    rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n"
)
_REQUEST_LINE = re.compile(rb"([^ ]*) ([^ ]*) HTTP/([0-9]\.[0-9])")
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class HeadRefused(Exception):
    """A request that is not let through to the parser; ``status`` is the answer's."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def render(self, help_at: str = "") -> bytes:
        """Return the whole HTTP answer; ``help_at`` is where the caller finds our help."""
        message = f"{self.message} {with_address('', self.code, help_at)}".rstrip()
        error = {"type": "invalid_request_error", "code": self.code, "message": message}
        if self.status >= 500:
            error["type"] = "server_error"
        body = msgspec.json.encode({"error": error})
        lines = [
            f"HTTP/1.1 {self.status} {_REASONS[self.status]}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
            f"x-request-id: req_{secrets.token_hex(12)}",
            "x-dragoman-route: attempts=0",
        ]
        if self.status == 503:
            lines.append("Retry-After: 1")
        return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def check_head(head: bytes) -> None:
    """Check the bytes of a request's head, from its request line to its empty line.

    One empty line before the request line is allowed (RFC 9112, section 2.2).

    Raises:
        HeadRefused: 431 when it is too long or has too many fields; 400 when it is not exactly
            a request line in origin form and fields as RFC 9110 and 9112 write them.
    """
    if len(head) > MAX_HEAD_BYTES:
        raise HeadRefused(
            431, "head_too_large", f"The request's head is longer than {MAX_HEAD_BYTES} bytes."
        )
    if head.startswith(b"\r\n"):
        head = head[2:]
    if _HEAD.fullmatch(head) is None:
        raise HeadRefused(400, "malformed_request", _fault_of(head))
    if head.count(b"\n") > _MAX_FIELDS + 2:
        raise HeadRefused(
            431, "head_too_large", f"The request has more than {_MAX_FIELDS} header fields."
        )


def _fault_of(head: bytes) -> str:
    """Say what is wrong with a head that does not match."""
    if b"\0" in head:
        return "The request's head contains a NUL byte."
    plain = head.replace(b"\r\n", b"")
    if b"\n" in plain or b"\r" in plain:
        return "Every line of the request's head has to end in CR LF."
    line, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        return "The request line is not of the form `METHOD /path HTTP/1.1`."
    if _METHOD.fullmatch(match[1]) is None:
        return "The request's method is not a short token."
    if not match[2].startswith(b"/"):
        return "The request's target has to be a path that starts with a slash."
    if match[3] not in (b"1.0", b"1.1"):
        return "The request's HTTP version is neither 1.0 nor 1.1."
    for field in fields:
        if field[:1] in (b" ", b"\t"):
            return "A header field may not be folded over several lines."
        name, colon, _ = field.partition(b":")
        if not colon or _NAME.fullmatch(name) is None:
            return "A header field's name is not a token directly followed by a colon."
    return "The request's head contains a control character, or its target a non-ASCII one."


def check_framing(version_line: str, headers: HTTPHeaders) -> None:
    """Check the fields that say where a request ends and whom it is for.

    Raises:
        HeadRefused: 400 unless there is exactly one ``Host``, at most one ``Content-Length`` of
            digits, and instead of it at most ``Transfer-Encoding: chunked`` in HTTP/1.1.
    """
    if len(headers.get_list("Host")) != 1:
        raise HeadRefused(400, "malformed_request", "The request needs exactly one Host field.")
    lengths = headers.get_list("Content-Length")
    if lengths and not (len(lengths) == 1 and lengths[0].isascii() and lengths[0].isdecimal()):
        raise HeadRefused(
            400, "malformed_request", "Content-Length has to be given once, as a decimal number."
        )
    if "Transfer-Encoding" not in headers:
        return
    if lengths:
        raise HeadRefused(
            400,
            "malformed_request",
            "A request may not have both Content-Length and Transfer-Encoding.",
        )
    encodings = headers.get_list("Transfer-Encoding")
    if len(encodings) != 1 or encodings[0].lower() != "chunked":
        raise HeadRefused(
            400, "malformed_request", "The only Transfer-Encoding taken is `chunked`."
        )
    if version_line.endswith("/1.0"):
        raise HeadRefused(400, "malformed_request", "HTTP/1.0 has no Transfer-Encoding.")


def parse_head(head: bytes) -> tuple[str, HTTPHeaders]:
    """Return request line and fields of a head that ``check_head`` has let through."""
    line, *fields = head.decode("latin-1").strip("\r\n").split("\r\n")
    headers = HTTPHeaders()
    seen: set[str] = set()
    for field in fields:
        name, _, value = field.partition(":")
        lower = name.lower()
        if lower in seen:
            headers.add(name, value.strip("\t "))
        else:
            seen.add(lower)
            headers[name] = value.strip("\t ")  # ``add`` would check the name once more
    return line, headers
