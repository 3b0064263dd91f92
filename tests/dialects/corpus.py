"""The cases of every dialect, for tests that hold for all of them."""

import itertools
from pathlib import Path

import msgspec

from app.canonical.fold import fold
from app.canonical.profile import ModelProfile, Target
from app.dialects import DIALECTS
from app.dialects.base import Peek, ReplyContext
from app.routing.profiles import profile_for

CASES = Path(__file__).parent / "cases"

ISSUERS = {
    "openai_chat": "openai",
    "openai_responses": "openai",
    "anthropic": "anthropic",
    "gemini": "google",
}
"""Who signs the thoughts at the service that owns a dialect."""


def names(dialect, file):
    """Names of the cases of a dialect that have a file."""
    return sorted(path.parent.name for path in (CASES / dialect).glob(f"*/{file}"))


def all_cases(file):
    """(dialect, case) of every case that has a file, in the order of the registry."""
    return [(dialect, name) for dialect in DIALECTS for name in names(dialect, file)]


def pairs(file):
    """(dialect, case, other dialect) for every other dialect."""
    return [
        (source, name, target)
        for source, name in all_cases(file)
        for target in DIALECTS
        if target != source
    ]


def raw_of(dialect, name, file):
    return (CASES / dialect / name / file).read_bytes()


def json_of(dialect, name, file):
    return msgspec.json.decode(raw_of(dialect, name, file))


OTHER_MODEL = "gemini-2.5-flash"
MODELS = {"reasoning_level": "gemini-3-flash-preview"}
"""Models of Gemini's cases, whose bodies name none."""

COMPATIBLE = {
    *("reasoning_details", "reasoning_history", "cache_control", "video", "thought_signature"),
}
"""Chat cases with fields that only compatible servers know."""


STRIDE = 13


def places_to_cut(data, name):
    """Places of a stream at which it is cut in two: around each line end, and in between.

    Those in between are every 13th byte, from a first one that depends on the case's name: frames
    look alike, so over all cases each byte of a frame has its turn, at a tenth of the time.
    """
    first = sum(name.encode()) % STRIDE
    found = set(range(first, len(data), STRIDE))
    for end in (at for at, byte in enumerate(data) if byte == 0x0A):
        found.update(range(max(0, end - 1), min(len(data), end + 3)))
    return sorted(found)


def peek_of(body, model=OTHER_MODEL):
    said = body.get("model")
    return Peek(said if isinstance(said, str) else model, body.get("stream") is True)


def request_of(dialect, name):
    """The canonical request of a case."""
    body = json_of(dialect, name, "request.json")
    return DIALECTS[dialect].decode_request(body, peek_of(body, MODELS.get(name, OTHER_MODEL)))


def response_of(dialect, name):
    """The canonical answer of a case."""
    body = json_of(dialect, name, "response.json")
    return DIALECTS[dialect].decode_response(body, ISSUERS[dialect])


def target_of(dialect, model=None):
    """The owner of a dialect, for a model by its name, or for one of which nothing is known."""
    profile = ModelProfile("m") if model is None else profile_for(model)
    return Target(profile, ISSUERS[dialect])


def events_of(dialect, data, step=None):
    """Events of a stream that arrives in pieces of ``step`` bytes, or in one."""
    decoder = DIALECTS[dialect].stream_decoder(ISSUERS[dialect])
    events = []
    for start in range(0, len(data), step or len(data) or 1):
        events.extend(decoder.feed(data[start : start + (step or len(data))]))
    return events + decoder.close()


def answer_of(dialect, data):
    """What a stream tells in the end."""
    return fold(events_of(dialect, data))


def reply_for(request=None, model="m"):
    """A reply context whose ids count up."""
    count = itertools.count(1)
    return ReplyContext(model, request, 1.0, lambda prefix: f"{prefix}{next(count):024d}")
