"""Tools under names and kinds that the upstream knows, and back under those of the client."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.canonical.events import (
    ArgumentsDelta,
    Failed,
    Finished,
    PartEnded,
    PartStarted,
    Started,
    TextDelta,
)
from app.canonical.failure import cut_stream
from app.canonical.fold import fold, unfold
from app.canonical.parts import Native, Signature, Text, ToolCall, ToolResult
from app.canonical.profile import ModelProfile, Target
from app.canonical.request import ChatRequest, Message, ServerTool, Tool, ToolChoice
from app.canonical.response import ChatResponse
from app.dialects import DIALECTS
from app.dialects.tools import Restorer, ToolNames, fit_tools

OWNER = Target(ModelProfile("m"), "x")
COMPATIBLE = Target(ModelProfile("m"), "x", official=False)
CUSTOM = Target(ModelProfile("m", custom_tools=True), "x")
LONGEST = {"openai_chat": 64, "openai_responses": 64, "anthropic": 128, "gemini": 64}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
PATCH = Tool("patch", "Edits.", kind="custom", grammar=GRAMMAR)


def ask(*tools, messages=(), choice=None):
    return ChatRequest("m", tuple(messages), tools=tools, tool_choice=choice)


def names_of(request):
    return [tool.name for tool in request.tools]


def call(name, **fields):
    return ToolCall(f"call_{name}", name, fields.pop("arguments", "{}"), **fields)


def restored(names, *calls):
    """The calls of an answer as a client gets them: whole, and streamed in two ways."""
    answer = ChatResponse("r", "m", calls, "tool_use")
    whole = names.restore_parts(calls)
    events = unfold(answer)
    batched = fold(Restorer(names).apply(events)).parts
    one = Restorer(names)
    single = fold([out for event in events for out in one.apply([event])]).parts
    assert whole == batched == single
    return whole


# Names


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_request_that_fits_is_left_as_it_is(dialect):
    request = ask(
        Tool("get_weather"),
        ServerTool("anthropic", {"type": "x"}),
        messages=(
            Message("user", (Text("Hi"),)),
            Message("assistant", (call("get_weather"),)),
            Message("tool", (ToolResult("call_get_weather", (), name="get_weather"),)),
        ),
        choice=ToolChoice("required", ("get_weather",)),
    )
    fitted, names = fit_tools(request, dialect, OWNER)
    assert fitted is request
    assert names.back == {}
    assert restored(names, call("get_weather")) == (call("get_weather"),)
    events = [Started("", "")]
    assert Restorer(names).apply(events) is events


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("length", [63, 64, 65, 127, 128, 129, 500])
def test_a_name_is_shortened_only_past_the_dialects_limit(dialect, length):
    long = "n" * length
    fitted, names = fit_tools(ask(Tool(long)), dialect, OWNER)
    (name,) = names_of(fitted)
    assert (name == long) == (length <= LONGEST[dialect])
    assert len(name) <= LONGEST[dialect]
    assert restored(names, call(name)) == (ToolCall(f"call_{name}", long, "{}"),)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "tools",
    [
        ("a.b", "a_b"),
        ("a_b", "a.b"),
        ("a.b", "a:b", "a b", "a_b"),
        ("x" * 200, "x" * 201, "x" * 202),
        ("x" * 128 + "1", "x" * 128 + "2"),
        ("工具", "ツール", "ab", "__", "___"),
        ("9lives", "t_9lives", "-x", "t_-x"),
        ("", "tool"),
    ],
)
def test_names_that_would_clash_stay_apart(dialect, tools):
    fitted, names = fit_tools(ask(*map(Tool, tools)), dialect, OWNER)
    sent = names_of(fitted)
    assert len(set(sent)) == len(tools)
    assert all(0 < len(name) <= LONGEST[dialect] for name in sent)
    assert all(name.isascii() for name in sent)
    back = restored(names, *(call(name) for name in sent))
    assert tuple(part.name for part in back) == tools


@given(
    st.lists(st.tuples(st.text(max_size=80), st.none() | st.text(max_size=80)), unique=True),
    st.sampled_from(list(DIALECTS)),
    st.booleans(),
)
def test_any_tools_come_back_under_the_names_that_the_client_gave(declared, dialect, official):
    tools = [Tool(name, namespace=space) for name, space in declared]
    fitted, names = fit_tools(ask(*tools), dialect, OWNER if official else COMPATIBLE)
    assert len(set(names_of(fitted))) == len(tools)
    back = restored(names, *(call(name) for name in names_of(fitted)))
    kept = [(part.name, part.namespace) for part in back]
    if dialect == "openai_responses" and official:  # there the answer says the namespace itself
        assert [name for name, _ in kept] == [name for name, _ in declared]
    else:
        assert kept == declared


def test_a_name_of_the_same_request_is_always_rewritten_alike():
    first, _ = fit_tools(ask(Tool("a.b"), Tool("c" * 70)), "openai_chat", OWNER)
    again, _ = fit_tools(ask(Tool("a.b"), Tool("c" * 70)), "openai_chat", OWNER)
    assert names_of(first) == names_of(again)


def test_google_takes_dots_that_others_do_not():
    assert names_of(fit_tools(ask(Tool("a.b:c")), "gemini", OWNER)[0]) == ["a.b:c"]
    assert names_of(fit_tools(ask(Tool("a.b:c")), "anthropic", OWNER)[0]) == ["a_b_c"]


# Namespaces


SPACED = (Tool("list", namespace="files"), Tool("list", namespace="mail"), Tool("list"))


@pytest.mark.parametrize(
    ("dialect", "target"),
    [(name, OWNER) for name in ("openai_chat", "anthropic", "gemini")]
    + [("openai_responses", COMPATIBLE)],
)
def test_namespaces_are_flattened_and_come_back(dialect, target):
    fitted, names = fit_tools(ask(*SPACED), dialect, target)
    assert names_of(fitted) == ["files__list", "mail__list", "list"]
    assert all(tool.namespace is None for tool in fitted.tools)
    back = restored(names, *(call(name) for name in names_of(fitted)))
    assert [(part.name, part.namespace) for part in back] == [
        ("list", "files"),
        ("list", "mail"),
        ("list", None),
    ]


def test_the_owner_of_namespaces_keeps_them():
    request = ask(Tool("list", namespace="files"))
    assert fit_tools(request, "openai_responses", OWNER)[0] is request


def test_a_flat_name_that_is_taken_is_told_apart():
    tools = (Tool("a__b"), Tool("b", namespace="a"), Tool("b", namespace="a__"))
    fitted, names = fit_tools(ask(*tools), "anthropic", OWNER)
    assert len(set(names_of(fitted))) == 3
    back = restored(names, *(call(name) for name in names_of(fitted)))
    assert [(p.name, p.namespace) for p in back] == [("a__b", None), ("b", "a"), ("b", "a__")]


def test_calls_of_the_history_are_renamed_as_their_tools_are():
    history = (
        Message("user", (call("list"),)),
        Message(
            "assistant", (Text("x"), call("list", namespace="files"), call("gone", namespace="q"))
        ),
        Message("tool", (ToolResult("c", (), name="a b"),)),
    )
    fitted, names = fit_tools(ask(*SPACED, Tool("a b"), messages=history), "anthropic", OWNER)
    assert fitted.messages[0] is history[0]
    calls = fitted.messages[1].parts[1:]
    assert [(part.name, part.namespace) for part in calls] == [
        ("files__list", None),
        ("q__gone", None),
    ]
    assert fitted.messages[2].parts[0].name == "a_b"
    assert restored(names, *calls) == history[1].parts[1:]


# Tool choice


@pytest.mark.parametrize(
    ("tools", "asked", "sent"),
    [
        ((Tool("a b"),), ("a b",), ("a_b",)),
        ((Tool("a b"), Tool("c")), ("c", "a b"), ("c", "a_b")),
        ((Tool("x", namespace="s"),), ("x",), ("s__x",)),
        ((Tool("x"), Tool("x", namespace="s")), ("x",), ("x",)),
        ((Tool("x", namespace="s"), Tool("x", namespace="t")), ("x",), ("s__x",)),
        ((PATCH,), ("patch",), ("patch",)),
        ((Tool("a b"), ServerTool("gemini", {})), ("web_search",), ("web_search",)),
    ],
)
def test_a_tool_choice_follows_its_tool(tools, asked, sent):
    native = Native("openai_responses", {"a": 1})
    request = ask(*tools, choice=ToolChoice("required", asked, native))
    fitted, _ = fit_tools(request, "anthropic", OWNER)
    assert fitted.tool_choice == ToolChoice("required", sent, native)


def test_a_choice_of_any_tool_stays():
    request = ask(Tool("a b"), choice=ToolChoice("required"))
    assert fit_tools(request, "gemini", OWNER)[0].tool_choice is request.tool_choice


# Custom tools


@pytest.mark.parametrize(
    ("dialect", "target", "kept"),
    [
        ("openai_chat", CUSTOM, True),
        ("openai_responses", CUSTOM, True),
        ("openai_chat", OWNER, False),
        ("openai_responses", OWNER, False),
        ("anthropic", CUSTOM, False),
        ("gemini", CUSTOM, False),
    ],
)
def test_custom_tools_become_functions_where_they_are_not_known(dialect, target, kept):
    request = ask(PATCH)
    fitted, names = fit_tools(request, dialect, target)
    (tool,) = fitted.tools
    if kept:
        assert fitted is request
        return
    assert (tool.kind, tool.grammar) == ("function", None)
    assert tool.schema["required"] == ["input"]
    assert tool.description.startswith("Edits.\n\nFormat of the input: {")
    assert '"start: /.+/"' in tool.description
    arguments = msgspec.json.encode({"input": "*** Begin\n\u2028é"}).decode()
    assert restored(names, call("patch", arguments=arguments)) == (
        call("patch", arguments="*** Begin\n\u2028é", kind="custom"),
    )


def test_a_custom_tool_without_words_gets_none():
    (tool,) = fit_tools(ask(Tool("t", kind="custom")), "gemini", OWNER)[0].tools
    assert tool.description is None
    (tool,) = fit_tools(ask(Tool("t", kind="custom", grammar=GRAMMAR)), "gemini", OWNER)[0].tools
    assert tool.description.startswith("Format of the input:")


def test_custom_calls_of_the_history_become_functions():
    native = Native("openai_responses", {"status": "completed"})
    history = (
        Message("assistant", (call("patch", kind="custom", arguments='"\n', native=native),)),
        Message("tool", (ToolResult("call_patch", (Text("ok"),), kind="custom", name="patch"),)),
    )
    fitted, _ = fit_tools(ask(PATCH, messages=history), "anthropic", OWNER)
    (made,) = fitted.messages[0].parts
    assert (made.kind, made.native) == ("function", None)
    assert msgspec.json.decode(made.arguments) == {"input": '"\n'}
    (result,) = fitted.messages[1].parts
    assert (result.kind, result.name, result.content) == ("function", "patch", (Text("ok"),))


@pytest.mark.parametrize(
    "arguments", ["", "no json", "[]", '"text"', "{}", '{"input":3}', '{"other":"x"}', "[" * 5_000]
)
def test_arguments_in_another_form_reach_the_tool_as_they_are(arguments):
    _, names = fit_tools(ask(PATCH), "anthropic", OWNER)
    (back,) = restored(names, call("patch", arguments=arguments))
    assert (back.kind, back.arguments) == ("custom", arguments)


def test_a_custom_tool_may_be_spaced_and_long_too():
    tool = Tool("p" * 70, kind="custom", namespace="s p a c e")
    for dialect in DIALECTS:
        fitted, names = fit_tools(ask(tool), dialect, COMPATIBLE)
        (back,) = restored(names, call(names_of(fitted)[0], arguments='{"input":"x"}'))
        assert (back.name, back.namespace, back.kind) == (tool.name, tool.namespace, "custom")
        assert back.arguments == "x"


# Streams


def test_free_text_is_held_until_its_json_is_complete_and_others_pass():
    _, names = fit_tools(ask(PATCH, Tool("a b")), "anthropic", OWNER)
    restorer = Restorer(names)
    signature = Signature("google", "s")
    opened = restorer.apply(
        [
            Started("", ""),
            PartStarted(0, Text("")),
            TextDelta(0, "patch"),
            PartEnded(0),
            PartStarted(1, ToolCall("1", "patch", '{"in', signature=signature)),
            ArgumentsDelta(1, 'put":"a'),
        ]
    )
    assert opened[-1] == PartStarted(1, ToolCall("1", "patch", "", "custom", signature=signature))
    assert opened[2] == TextDelta(0, "patch")
    assert restorer.apply([ArgumentsDelta(1, 'b"}')]) == []
    assert restorer.apply([PartEnded(1)]) == [ArgumentsDelta(1, "ab"), PartEnded(1)]
    rest = [
        PartStarted(2, ToolCall("2", "a_b", "")),
        ArgumentsDelta(2, "{}"),
        PartEnded(2),
        PartStarted(3, ToolCall("3", "unheard", "")),
        PartEnded(3),
        Finished("tool_use"),
    ]
    assert restorer.apply(rest) == [PartStarted(2, ToolCall("2", "a b", "")), *rest[1:]]


def test_an_empty_text_makes_no_delta():
    _, names = fit_tools(ask(PATCH), "anthropic", OWNER)
    events = Restorer(names).apply(
        [
            PartStarted(0, ToolCall("1", "patch", "")),
            ArgumentsDelta(0, '{"input":""}'),
            PartEnded(0),
        ]
    )
    assert events == [PartStarted(0, ToolCall("1", "patch", "", "custom")), PartEnded(0)]


def test_a_stream_that_fails_within_a_call_fails_towards_the_client():
    _, names = fit_tools(ask(PATCH), "anthropic", OWNER)
    failed = Failed(cut_stream())
    events = [PartStarted(0, ToolCall("1", "patch", "")), ArgumentsDelta(0, '{"inp'), failed]
    assert Restorer(names).apply(events)[-1] is failed


def test_calls_that_are_custom_already_keep_their_text():
    names = ToolNames(fit_tools(ask(PATCH), "anthropic", OWNER)[1].back)
    custom = call("patch", kind="custom", arguments='{"input":"x"}')
    assert names.restore_call(custom) == custom
