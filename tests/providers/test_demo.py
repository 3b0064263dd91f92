import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.canonical.events import (
    Failed,
    Finished,
    PartEnded,
    PartStarted,
    Started,
    TextDelta,
)
from app.canonical.failure import Failure
from app.canonical.fold import fold
from app.canonical.parts import (
    Media,
    Opaque,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)
from app.canonical.request import ChatRequest, Message, ServerTool, Tool, ToolChoice
from app.canonical.usage import Usage
from app.providers.demo import DEMO, DEMO_MODELS, failure_for, script
from app.routing.failover import may_try_next

FIND = Tool("find", schema={"type": "object", "properties": {"q": {"type": "string"}}})
RUN = Tool("run", kind="custom", namespace="shell")
SEARCH = ServerTool("anthropic", {"type": "web_search"}, "web_search")


def user(*parts):
    return Message("user", tuple(Text(p) if isinstance(p, str) else p for p in parts))


def called(number=1):
    return Message("assistant", (ToolCall(f"call_demo{number}", "find", "{}"),))


def result(text, number=1):
    content = (Text(text),) if text else ()
    return Message("tool", (ToolResult(f"call_demo{number}", content),))


def request(model="demo-chat", *messages, **changes):
    return ChatRequest(model, messages or (user("Hello there"),), **changes)


def events(chat):
    return [event for _, found in script(chat) for event in found]


def answer(model="demo-chat", *messages, **changes):
    return fold(events(request(model, *messages, **changes)))


def said(response):
    (part,) = response.parts
    assert isinstance(part, Text)
    return part.text


# What it says


def test_chat_says_what_it_understood():
    response = answer()
    assert said(response) == "Dragoman's demo understood: “Hello there” (1 message)."
    assert (response.stop, response.model) == ("end", "demo-chat")
    assert response.usage == Usage(input=2, output=7)


@pytest.mark.parametrize(
    ("messages", "tools", "facts"),
    [
        ((user("a"),), (), "1 message"),
        ((user("a"), Message("assistant", (Text("b"),)), user("c")), (), "3 messages"),
        ((user("a"),), (FIND,), "1 message; 1 tool"),
        ((user("a"),), (FIND, SEARCH), "1 message; 2 tools"),
        (
            (user("a", Media("image", data="aa"), Media("document", text="d"), Media("image")),),
            (),
            "1 message; document, image",
        ),
    ],
)
def test_chat_counts_messages_tools_and_kinds_of_media(messages, tools, facts):
    assert said(answer("demo-chat", *messages, tools=tools)).endswith(f"({facts}).")


@pytest.mark.parametrize(
    ("messages", "quote"),
    [
        ((user("one"), user("two")), "two"),
        ((user("one"), Message("assistant", (Text("two"),))), "one"),
        ((user("one", "two"),), "two"),
        ((user("one"), user(Media("image", data="aa"))), "one"),
        ((Message("system", (Text("rules"),)),), ""),
        ((user("x" * 201),), "x" * 200 + "…"),
        ((user("x" * 200),), "x" * 200),
    ],
)
def test_chat_quotes_the_users_last_words(messages, quote):
    assert f"“{quote}”" in said(answer("demo-chat", *messages))


def test_the_prompt_is_counted_with_its_system_text():
    assert answer("demo-chat", user("a b"), system=(Text("c d e"),)).usage.input == 5


@pytest.mark.parametrize(
    ("limit", "words", "stop"),
    [(0, 0, "max_tokens"), (3, 3, "max_tokens"), (7, 7, "end"), (None, 7, "end")],
)
def test_an_answer_ends_at_its_limit(limit, words, stop):
    response = answer(max_tokens=limit)
    assert (len(said(response).split()), response.stop) == (words, stop)
    assert response.usage.output == words


def test_slow_takes_a_second_per_word_and_nothing_else_takes_time():
    slow = list(script(request("demo-slow")))
    assert [pause for pause, found in slow if isinstance(found[0], TextDelta)] == [1.0] * 7
    assert sum(pause for pause, _ in slow) == 7.0
    for model in DEMO_MODELS:
        if model != "demo-slow":
            assert sum(pause for pause, _ in script(request(model, tools=(FIND,)))) == 0.0


def test_think_thinks_first_and_signs_it():
    thought, text = answer("demo-think").parts
    assert isinstance(thought, Reasoning)
    assert thought.text.startswith("The user wants")
    assert thought.signature == Signature(DEMO.issuer, "demo-thought")
    assert "Hello there" in text.text


def test_thought_is_counted_within_the_output():
    usage = answer("demo-think").usage
    assert 0 < usage.reasoning < usage.output
    assert answer("demo-chat").usage.reasoning is None


# Tools


def test_tools_calls_the_first_offered_tool_with_what_was_asked():
    response = answer("demo-tools", tools=(SEARCH, FIND, RUN))
    (call,) = response.parts
    assert call == ToolCall("call_demo1", "find", '{"q":"Hello there"}')
    assert response.stop == "tool_use"


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        (None, "find"),
        (ToolChoice("auto"), "find"),
        (ToolChoice("required"), "find"),
        (ToolChoice("required", ("run",)), "run"),
        (ToolChoice("auto", ("run", "find")), "run"),
        (ToolChoice("required", ("unheard",)), "find"),
    ],
)
def test_tools_keeps_to_the_callers_choice(choice, name):
    (call,) = answer("demo-tools", tools=(FIND, RUN), tool_choice=choice).parts
    assert call.name == name


def test_a_tool_for_free_text_gets_free_text():
    (call,) = answer("demo-tools", tools=(RUN,)).parts
    assert call == ToolCall("call_demo1", "run", "demo input", "custom", "shell")


def test_a_tool_without_a_schema_gets_an_empty_object():
    (call,) = answer("demo-tools", tools=(Tool("bare"),)).parts
    assert call.arguments == "{}"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tools": (SEARCH,)},
        {"tools": (FIND,), "tool_choice": ToolChoice("none")},
    ],
)
def test_tools_says_so_when_there_is_nothing_to_call(changes):
    response = answer("demo-tools", **changes)
    assert said(response).endswith("this request allows none.")
    assert response.stop == "end"


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ((user("a"), called(), result("42")), "The tool answered: 42"),
        ((user("a"), called(), result("")), "The tool answered nothing."),
        ((user("a"), called(), result("1"), result("2")), "The tool answered: 1 2"),
        ((user("a"), called(), result("42"), user("reminder")), "The tool answered: 42"),
        ((user("a"), called(), result("42"), Message("system", ())), "The tool answered: 42"),
    ],
)
def test_tools_uses_the_results_since_its_call(messages, text):
    assert said(answer("demo-tools", *messages, tools=(FIND,))) == text


def test_tools_calls_again_in_the_next_turn_under_a_new_id():
    turn = (user("a"), called(), result("42"), Message("assistant", (Text("It is 42."),)))
    (call,) = answer("demo-tools", *turn, user("again"), tools=(FIND,)).parts
    assert call.id == "call_demo2"
    assert msgspec.json.decode(call.arguments) == {"q": "again"}


# Failures


@pytest.mark.parametrize(
    ("model", "status", "kind"),
    [
        ("demo-error-429", 429, "rate_limit"),
        ("demo-error-500", 500, "server"),
        ("demo-error-overloaded", 529, "overloaded"),
    ],
)
def test_failures_are_told_by_the_name(model, status, kind):
    failure = failure_for(model)
    assert (failure.status, failure.kind) == (status, kind)
    assert "demo" in failure.message


@pytest.mark.parametrize("model", ["demo-chat", "demo-error-midstream", "demo-error-", "", "429"])
def test_all_other_names_begin_an_answer(model):
    assert failure_for(model) is None


def test_a_rate_limit_says_how_long_to_wait_and_where_to_go():
    failure = failure_for("demo-error-429")
    assert failure.retry_after_s == 3.0
    assert may_try_next(failure)


def test_midstream_fails_after_some_words():
    found = events(request("demo-error-midstream"))
    assert [type(e) for e in found] == [Started, PartStarted, *[TextDelta] * 3, Failed]
    failure = answer("demo-error-midstream")
    assert isinstance(failure, Failure)
    assert failure.kind == "overloaded"


# Every request


texts = st.text(max_size=20)
parts = st.one_of(
    st.builds(Text, texts),
    st.builds(Refusal, texts),
    st.builds(Media, st.sampled_from(["image", "audio", "document"])),
    st.builds(ToolCall, texts, texts, texts),
    st.builds(ToolResult, texts, st.lists(st.builds(Text, texts), max_size=2).map(tuple)),
    st.builds(Reasoning, texts),
    st.just(Opaque("gemini", {})),
)
messages = st.builds(
    Message,
    st.sampled_from(["system", "developer", "user", "assistant", "tool"]),
    st.lists(parts, max_size=3).map(tuple),
)
requests = st.builds(
    ChatRequest,
    st.sampled_from(DEMO_MODELS) | texts,
    st.lists(messages, max_size=5).map(tuple),
    system=st.lists(st.builds(Text, texts), max_size=2).map(tuple),
    tools=st.lists(st.sampled_from([FIND, RUN, SEARCH]), max_size=3).map(tuple),
    tool_choice=st.none()
    | st.builds(
        ToolChoice,
        st.sampled_from(["auto", "none", "required"]),
        st.lists(st.sampled_from(["find", "run", "x"]), max_size=2).map(tuple),
    ),
    max_tokens=st.none() | st.integers(0, 30),
)


@given(requests)
def test_any_request_is_answered_in_the_grammar_of_events(chat):
    first, *middle, last = events(chat)
    assert first == Started("", chat.model)
    assert isinstance(last, Finished | Failed)
    index, is_open = -1, False
    for event in middle:
        assert isinstance(event, PartStarted) is not is_open
        if isinstance(event, PartStarted):
            index, is_open = index + 1, True
        assert event.index == index
        if isinstance(event, PartEnded):
            is_open = False
    if isinstance(last, Finished):
        assert not is_open
        usage = fold(events(chat)).usage
        assert usage.input > 0
        assert usage.output >= (usage.reasoning or 0)


@given(requests)
def test_the_same_request_gets_the_same_answer(chat):
    assert list(script(chat)) == list(script(chat))


@given(requests)
def test_tools_are_called_only_when_offered_and_allowed(chat):
    response = fold(events(chat))
    calls = [] if isinstance(response, Failure) else response.parts
    for call in calls:
        if isinstance(call, ToolCall):
            assert chat.model == "demo-tools"
            assert call.name in {tool.name for tool in chat.tools if isinstance(tool, Tool)}
            assert chat.tool_choice is None or chat.tool_choice.mode != "none"
