import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import UpstreamError
from app.providers.ctonew_frames import FrameDecoder, Heard
from tests.fakes.enginelabs import BUSY, IDLE, said, update


def heard(*frames):
    """Return (decoder, all pieces)."""
    decoder = FrameDecoder()
    pieces = []
    for frame in frames:
        raw = frame if isinstance(frame, str | bytes) else json.dumps(frame)
        pieces += decoder.feed(raw)
    return decoder, pieces


def text(*frames):
    return "".join(piece.text for piece in heard(*frames)[1] if piece.kind == "text")


def test_an_idle_state_at_the_beginning_ends_nothing():
    decoder, pieces = heard(IDLE, {"type": "history", "messages": [1]}, IDLE)
    assert (decoder.begun, decoder.ended, pieces) == (False, False, [])


def test_an_idle_state_after_a_busy_one_ends_the_answer():
    assert heard(IDLE, BUSY)[0].begun
    assert heard(IDLE, BUSY, IDLE)[0].ended


def test_an_idle_state_after_an_update_ends_the_answer_too():
    assert heard(IDLE, said("x"), IDLE)[0].ended


def test_the_question_that_comes_back_is_neither_told_nor_a_beginning():
    echo = update({"role": "user", "type": "chat", "chat": {"content": "why?"}})
    decoder, pieces = heard(echo, IDLE)
    assert (decoder.begun, decoder.ended, pieces) == (False, False, [])


@pytest.mark.parametrize("as_text", [True, False])
def test_buffers_are_read_as_text_and_as_objects(as_text):
    _, pieces = heard(said("hm", kind="thinking", as_text=as_text), said("yes", as_text=as_text))
    assert pieces == [Heard("thinking", "hm"), Heard("text", "yes")]


def test_thoughts_and_words_of_one_message_do_not_mix():
    assert text(said("a", kind="thinking"), said("ab"), said("c")) == "abc"


def test_a_snapshot_tells_only_what_is_new():
    assert text(said("Hel"), said("Hello"), said("Hello"), said("Hello world")) == "Hello world"


def test_pieces_are_told_whole():
    assert text(said("Hel"), said("lo"), said(" world")) == "Hello world"


def test_a_piece_that_begins_like_the_text_by_chance_is_not_cut():
    assert text(said("1"), said("2"), said("12"), said("12")) == "121212"


def test_a_last_snapshot_after_pieces_repeats_nothing():
    words = ["The answer is ", "that nobody ", "knows it."]
    assert text(*map(said, words), said("".join(words)), IDLE) == "".join(words)


def test_the_next_message_begins_a_paragraph():
    assert text(said("a", "msg_1"), said("b", "msg_2"), said("c", "msg_2")) == "a\n\nbc"
    assert text(said("t", "msg_1", "thinking"), said("b", "msg_2")) == "b"


@given(st.lists(st.text(min_size=1), min_size=1, max_size=8))
def test_snapshots_of_any_text_give_that_text(pieces):
    shown = ["".join(pieces[: end + 1]) for end in range(len(pieces))]
    assert text(*map(said, shown)) == shown[-1]


@pytest.mark.parametrize(
    "frame",
    [
        "ping",
        b"pong",
        "",
        "7",
        "[1]",
        {"type": "label", "label": "x"},
        {"type": "news"},
        {"type": "state"},
        {"type": "state", "state": None},
        {"type": "update"},
        {"type": "update", "buffer": " "},
        {"type": "update", "buffer": "[]"},
        {"type": "update", "buffer": 7},
    ],
)
def test_frames_without_meaning_are_passed_over(frame):
    decoder, pieces = heard(frame)
    assert (decoder.begun, decoder.ended, pieces) == (False, False, [])


@pytest.mark.parametrize(
    "message",
    [
        {"type": "tool"},
        {"type": "chat"},
        {"type": "chat", "chat": {"content": None}},
        {"type": "chat", "chat": {"content": ""}},
        {"type": "chat", "chat": "x"},
    ],
)
def test_messages_without_words_are_a_beginning_and_no_more(message):
    decoder, pieces = heard(update(message))
    assert (decoder.begun, pieces) == (True, [])


@pytest.mark.parametrize(
    "frame", ['{"type": "update"', '{"type":"update","buffer":"{x"}', b"{\xff"]
)
def test_a_broken_frame_is_a_failure(frame):
    with pytest.raises(UpstreamError) as caught:
        heard(frame)
    assert caught.value.code == "upstream_protocol"


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        ({"type": "error", "message": "too\nbusy"}, "too busy"),
        ({"type": "error", "error": {"message": "inner"}}, "inner"),
        ({"type": "error", "error": "text"}, "text"),
        ({"type": "error"}, "without a reason"),
        (update({"type": "error", "message": "in a message"}), "in a message"),
    ],
)
def test_an_error_is_told_in_the_services_words(frame, words):
    with pytest.raises(UpstreamError, match=words):
        heard(frame)


def test_an_answer_that_was_broken_off_is_a_failure():
    with pytest.raises(UpstreamError) as caught:
        heard(BUSY, {"type": "state", "state": {"inProgress": False, "cancelled": True}})
    assert caught.value.code == "upstream_cancelled"
