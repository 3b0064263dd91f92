from hypothesis import given
from hypothesis import strategies as st

from app.canonical.events import (
    Annotated,
    Failed,
    Finished,
    PartEnded,
    PartStarted,
    Ping,
    ReasoningDelta,
    SignatureDelta,
    Started,
    TextDelta,
    UsageSeen,
)
from app.canonical.failure import Failure, cut_stream
from app.canonical.fold import Fold, fold, merge_native, unfold
from app.canonical.parts import Media, Native, Reasoning, Refusal, Signature, Text
from app.canonical.usage import Usage
from tests.canonical.strategies import responses


@given(responses)
def test_fold_undoes_unfold(response):
    assert fold(unfold(response)) == response


@given(responses, st.randoms(use_true_random=False))
def test_pings_and_earlier_usage_change_nothing(response, chance):
    events = unfold(response)
    for extra in (Ping(), UsageSeen(response.usage or Usage(output=1)), Ping()):
        events.insert(chance.randint(1, len(events) - 1), extra)
    told = fold(events)
    assert told.parts == response.parts
    assert told.usage == (response.usage or Usage(output=1))


@given(responses)
def test_unfolded_events_keep_the_grammar(response):
    started, *middle, finished = unfold(response)
    assert type(started) is Started
    assert type(finished) is Finished
    number, is_open = -1, False
    for event in middle:
        if isinstance(event, PartStarted):
            assert not is_open
            number, is_open = number + 1, True
        assert is_open
        assert event.index == number
        if isinstance(event, PartEnded):
            is_open = False
    assert not is_open
    assert number == len(response.parts) - 1


def test_later_usage_replaces_earlier_and_the_last_event_wins():
    start = Started("i", "m", Usage(input=1))
    assert fold([start, Finished("end")]).usage == Usage(input=1)
    assert fold([start, UsageSeen(Usage(2)), Finished("end")]).usage == Usage(2)
    assert fold([start, UsageSeen(Usage(2)), Finished("end", Usage(3))]).usage == Usage(3)


def test_thought_sections_are_kept_apart_and_joined_in_order():
    told = fold(
        [
            Started("i", "m"),
            PartStarted(0, Reasoning(id="rs_1")),
            ReasoningDelta(0, "b", 1),
            ReasoningDelta(0, "a", 0),
            ReasoningDelta(0, "c", 1),
            SignatureDelta(0, Signature("openai", "x")),
            PartEnded(0),
            Finished("end"),
        ]
    )
    assert told.parts == (
        Reasoning("a\n\nbc", ("a", "bc"), signature=Signature("openai", "x"), id="rs_1"),
    )


def test_annotations_are_appended_to_the_open_part_only():
    note = Native("openai_chat", {"annotations": ["x"]})
    told = fold(
        [
            Started("i", "m"),
            PartStarted(0, Text("")),
            Annotated(0, note),
            Annotated(0, note),
            PartEnded(0),
            PartStarted(1, Text("")),
            TextDelta(1, "b"),
            PartEnded(1),
            Finished("end"),
        ]
    )
    assert told.parts[0].native.fields == {"annotations": ["x", "x"]}
    assert told.parts[1] == Text("b")


def test_annotations_of_a_part_that_has_no_place_for_them_are_left_out():
    image = Media("image", data="aa")
    note = Annotated(0, Native("gemini", {"citation": "x"}))
    told = fold([PartStarted(0, image), note, PartEnded(0), Finished("end")])
    assert told.parts == (image,)


def test_native_fields_of_the_start_and_the_end_are_merged():
    start = Started("i", "m", native=Native("gemini", {"a": [1], "b": 1}))
    assert fold([start, Finished("end")]).native == start.native
    end = Finished("end", native=Native("gemini", {"a": [2], "c": 3}))
    assert fold([start, end]).native == Native("gemini", {"a": [1, 2], "b": 1, "c": 3})
    foreign = Finished("end", native=Native("anthropic", {"d": 4}))
    assert fold([start, foreign]).native == foreign.native


def test_a_signature_for_a_part_that_has_none_is_left_out():
    events = [PartStarted(0, Refusal("no")), SignatureDelta(0, Signature("google", "x"))]
    assert fold([*events, PartEnded(0), Finished("end")]).parts == (Refusal("no"),)


def test_a_failure_is_the_result_whatever_came_before():
    failure = Failure(529, "busy", "overloaded")
    assert fold([Started("i", "m"), PartStarted(0, Text("a")), Failed(failure)]) == failure
    assert fold([Failed(failure)]) == failure


def test_a_stream_without_its_end_is_a_cut():
    assert fold([]) == cut_stream()
    assert fold(unfold_text("a")[:-1]) == cut_stream()


def unfold_text(text):
    return [
        Started("i", "m"),
        PartStarted(0, Text("")),
        TextDelta(0, text),
        PartEnded(0),
        Finished("end"),
    ]


def test_a_part_that_was_left_open_is_not_lost():
    state = Fold()
    for event in (Started("i", "m"), PartStarted(0, Text("")), TextDelta(0, "a"), Finished("end")):
        state.add(event)
    assert state.result().parts == (Text("a"),)


def test_merging_appends_lists_and_replaces_the_rest():
    first = Native("gemini", {"a": [1], "b": 1, "c": 1})
    second = Native("gemini", {"a": [2], "b": 2})
    assert merge_native(first, second) == Native("gemini", {"a": [1, 2], "b": 2, "c": 1})
    other = Native("anthropic", {"a": [3]})
    assert merge_native(first, other) == other
    assert merge_native(None, other) == other


def test_a_thought_is_told_its_id_and_nature_with_its_signature():
    def thought(start, *late):
        events = [Started("", ""), PartStarted(0, start), *late, PartEnded(0), Finished("end")]
        return fold(events).parts[0]

    signature = Signature("openai", "enc")
    late = SignatureDelta(0, signature, "rs_1", summary=True)
    assert thought(Reasoning("x"), late) == Reasoning(
        "x", summary=True, signature=signature, id="rs_1"
    )
    plain = SignatureDelta(0, signature)
    known = Reasoning("x", summary=True, id="rs_0")
    assert thought(known, plain) == Reasoning("x", summary=True, signature=signature, id="rs_0")
    assert thought(Text("x"), late) == Text("x", signature=signature)
