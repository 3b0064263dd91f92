"""What the fakes share: the call, the answer to it, refusals, seals and ids."""

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass, field

from tests.fakes.directives import FAILURES, Faults

KEY = "test-key"
"""The key that every fake accepts."""
CREATED = 1_770_000_000
"""The fakes' clock stands still: epoch seconds."""


@dataclass
class Call:
    """One request as a fake received it; ``headers`` compare without case."""

    method: str
    path: str
    query: dict
    headers: dict
    body: bytes = b""

    @property
    def json(self):
        return json.loads(self.body)


@dataclass
class Reply:
    """An answer: ``body`` for a plain one, ``frames`` for a stream, one frame an event."""

    status: int = 200
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    frames: list | None = None
    faults: Faults = field(default_factory=Faults)


class Refusal(Exception):
    """The service's own error answer; ``body`` is its JSON."""

    def __init__(self, status, body, headers=None):
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.headers = headers or {}


class Service:
    """One fake service; subclasses speak a dialect.

    ``keys`` are the keys it accepts. ``stored`` state lasts as long as the object.
    """

    name = ""

    def __init__(self, keys=(KEY,)):
        self.keys = set(keys)
        self._issued = 0

    def claims(self, call):
        """Return whether a call is for this service."""
        raise NotImplementedError

    def answer(self, call):
        """Return the ``Reply``; raises ``Refusal``."""
        raise NotImplementedError

    def failure(self, kind, status=None, retry_s=None, message=None):
        """Return the ``Refusal`` for a kind of ``FAILURES``."""
        raise NotImplementedError

    def failed_frames(self, kind):
        """Return the events that tell of a failure inside a stream."""
        raise NotImplementedError

    def success_headers(self):
        return {}

    def new_id(self, prefix, length=24):
        """Return ids that are unlike each other, and the same in each run."""
        self._issued += 1
        digest = hashlib.sha512(f"{self.name}{self._issued}".encode()).hexdigest()
        return prefix + digest[:length]

    def seal(self, text, lead=""):
        """Sign a text so that ``sealed`` recognises it; base64, different each time."""
        self._issued += 1
        nonce = self._issued.to_bytes(8, "big")
        mark = hmac.new(self._secret(), nonce + lead.encode() + text.encode(), hashlib.sha256)
        return lead + base64.b64encode(nonce + mark.digest() * 2).decode()

    def sealed(self, seal, text, lead=""):
        """Return whether this service made a seal over a text."""
        try:
            raw = base64.b64decode(seal.removeprefix(lead), validate=True)
        except (binascii.Error, ValueError):
            return False
        nonce, mark = raw[:8], raw[8:]
        expected = hmac.new(self._secret(), nonce + lead.encode() + text.encode(), hashlib.sha256)
        return seal.startswith(lead) and hmac.compare_digest(mark, expected.digest() * 2)

    def _secret(self):
        return f"the secret of {self.name}".encode()

    def finish(self, answer_body, frames, faults, stream):
        """Turn an answer into a ``Reply``, with the faults that were asked for.

        ``frames`` is called only for a stream.
        """
        headers = self.success_headers()
        if not stream:
            if faults.empty200 or faults.midstream:
                failing = faults.empty200 or faults.midstream
                raise self.failure(failing.kind, failing.status, failing.retry_s)
            body = answer_body if isinstance(answer_body, bytes) else dump(answer_body)
            headers["content-type"] = "application/json"
            return Reply(200, headers, body, faults=faults)
        headers["content-type"] = "text/event-stream; charset=utf-8"
        events = frames()
        if faults.empty200:
            events = self.failed_frames(faults.empty200.kind)
        elif faults.midstream:
            events = events[: faults.midstream.after] + self.failed_frames(faults.midstream.kind)
        return Reply(200, headers, b"", events, faults)

    def fail_if_told(self, faults):
        """Raise the failure that ``error=`` asks for."""
        if faults.error:
            failing = faults.error
            raise self.failure(failing.kind, failing.status, failing.retry_s)


def dump(value):
    """Render JSON as the services do: compact, characters as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


def bearer(headers):
    """Return the bearer token, or None."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def status_of(kind, status):
    return status or FAILURES[kind]


def image_size(data):
    """Return the size in bytes of base64 data, or None when it is not base64."""
    try:
        return len(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        return None
