"""Citations of the web: they cross to OpenAI's dialects, and are a named loss elsewhere."""

import msgspec
import pytest

from app.canonical.events import Annotated, Finished, PartEnded, PartStarted, Started, TextDelta
from app.canonical.parts import Native, Text
from app.canonical.response import ChatResponse
from app.dialects import COMPLETIONS, DIALECTS
from app.dialects.base import dump
from app.dialects.citations import WebCitation, url_citation, web_citations
from app.dialects.sse import SseParser
from tests.dialects.corpus import reply_for

PAGE = {
    "type": "web_search_result_location",
    "url": "https://example.org/a",
    "title": "A",
    "cited_text": "sea",
    "encrypted_index": "Eo8B",
}
FOUND = {"type": "search_result_location", "source": "https://example.org/b", "title": None}
DOCUMENT = {"type": "char_location", "document_index": 0, "cited_text": "x"}
RANGE = {
    "type": "url_citation",
    "url": "https://example.org/c",
    "title": "C",
    "start_index": 2,
    "end_index": 5,
}
FILE = {"type": "file_citation", "file_id": "file_1", "index": 3}
FIRST, SECOND = "See: ", "the blue sea"
LOST = "citations of this form are not known here"

CLAUDE = Native("anthropic", {"citations": [PAGE, FOUND, DOCUMENT]})
RESPONSES = Native("openai_responses", {"annotations": [RANGE, FILE]})


def answer(native):
    return ChatResponse("r", "m", (Text(FIRST), Text(SECOND, native=native)), "end")


def events(native, late):
    """The same as a stream; the citations come with the part or behind its words."""
    extra = [
        Annotated(1, Native(native.dialect, {key: [item]}))
        for key, items in native.fields.items()
        for item in items
    ]
    return [
        Started("r", "m"),
        PartStarted(0, Text("")),
        TextDelta(0, FIRST),
        PartEnded(0),
        PartStarted(1, Text("", native=None if late else native)),
        TextDelta(1, SECOND[:4]),
        TextDelta(1, SECOND[4:]),
        *(extra if late else ()),
        PartEnded(1),
        Finished("end"),
    ]


def bodies(data):
    parser = SseParser()
    frames = parser.feed(data) + parser.close()
    return [msgspec.json.decode(frame.data) for frame in frames if frame.data[:1] == b"{"]


def marks(start, end, url, title):
    return {"start_index": start, "end_index": end, "url": url, "title": title}


PAGES = [("https://example.org/a", "A"), ("https://example.org/b", "https://example.org/b")]


@pytest.mark.parametrize(
    ("native", "expected"),
    [
        (CLAUDE, [marks(5, 17, *page) for page in PAGES]),
        (RESPONSES, [marks(7, 10, "https://example.org/c", "C")]),
    ],
)
def test_web_pages_are_cited_towards_chat_clients(native, expected):
    chat = DIALECTS["openai_chat"]
    wanted = [{"type": "url_citation", "url_citation": note} for note in expected]
    whole = chat.encode_response(answer(native), reply_for())
    assert whole.body["choices"][0]["message"]["annotations"] == wanted
    assert [(loss.path, loss.reason) for loss in whole.losses] == [("annotations", LOST)]
    for late in (False, True):
        encoder = chat.stream_encoder(reply_for())
        out = bodies(b"".join(encoder.encode([event]) for event in events(native, late)))
        deltas = [choice["delta"] for body in out for choice in body["choices"]]
        assert [d["annotations"] for d in deltas if "annotations" in d] == [wanted]
        assert encoder.losses == whole.losses


def test_web_pages_are_cited_towards_responses_clients():
    responses = DIALECTS["openai_responses"]
    wanted = [{"type": "url_citation", **marks(0, 12, *page)} for page in PAGES]
    whole = responses.encode_response(answer(CLAUDE), reply_for())
    (message,) = whole.body["output"]
    assert [part["annotations"] for part in message["content"]] == [[], wanted]
    assert [loss.reason for loss in whole.losses] == [LOST]
    for late in (False, True):
        encoder = responses.stream_encoder(reply_for())
        out = bodies(b"".join(encoder.encode([event]) for event in events(CLAUDE, late)))
        added = [body for body in out if body["type"].endswith("annotation.added")]
        assert [body["annotation"] for body in added] == wanted
        assert [body["annotation_index"] for body in added] == [0, 1]
        assert out[-1]["response"]["output"] == [{**message, "id": out[2]["item"]["id"]}]
        assert encoder.losses == whole.losses


@pytest.mark.parametrize("client", ["anthropic", "gemini", "completions"])
@pytest.mark.parametrize("native", [CLAUDE, RESPONSES])
def test_where_citations_cannot_cross_they_are_a_named_loss(client, native):
    dialect = COMPLETIONS if client == "completions" else DIALECTS[client]
    lost = native.dialect != client
    whole = dialect.encode_response(answer(native), reply_for())
    assert any(loss.reason == LOST for loss in whole.losses) == lost
    assert (b"example.org" in dump(whole.body)) == (not lost)
    for late in (False, True):
        encoder = dialect.stream_encoder(reply_for())
        data = b"".join(encoder.encode([event]) for event in events(native, late))
        assert b"blue" in data or b"the" in data
        assert any(loss.reason == LOST for loss in encoder.losses) == lost


@pytest.mark.parametrize("dialect", ["anthropic", "openai_responses"])
def test_a_clients_own_citations_are_its_own_matter(dialect):
    native = CLAUDE if dialect == "anthropic" else RESPONSES
    for made in (
        DIALECTS[dialect].encode_response(answer(native), reply_for()).losses,
        DIALECTS[dialect].stream_encoder(reply_for()).losses,
    ):
        assert made == ()


@pytest.mark.parametrize(
    "odd",
    [
        None,
        "x",
        {},
        {"type": "web_search_result_location"},
        {"type": "web_search_result_location", "url": "javascript:alert(1)", "title": "x"},
        {"type": "search_result_location", "source": "notes/today", "title": "x"},
        FILE,
        DOCUMENT,
    ],
)
def test_what_is_no_web_page_does_not_cross(odd):
    assert web_citations([odd, PAGE]) == ([WebCitation("https://example.org/a", "A")], 1)


def test_a_range_stays_within_its_text():
    odd = {**RANGE, "start_index": 40, "end_index": True}
    pages, _ = web_citations([{**RANGE, "end_index": 99}, odd, {**RANGE, "start_index": -1}])
    ranges = [(n["start_index"], n["end_index"]) for n in (url_citation(p, 12, 3) for p in pages)]
    assert ranges == [(5, 15), (15, 15), (3, 8)]
