from app.canonical.parts import Text
from app.canonical.request import ChatRequest, Message, hoist_system, with_model


def said(role, text):
    return Message(role, (Text(text),))


def test_system_text_is_gathered_in_order():
    request = ChatRequest(
        "m",
        (said("system", "b"), said("developer", "c"), said("user", "d")),
        system=(Text("a"),),
    )
    assert hoist_system(request) == (
        (Text("a"), Text("b"), Text("c")),
        (said("user", "d"),),
        False,
    )


def test_system_text_from_the_middle_is_reported_as_moved():
    request = ChatRequest("m", (said("user", "a"), said("system", "b"), said("user", "c")))
    parts, rest, moved = hoist_system(request)
    assert parts == (Text("b"),)
    assert rest == (said("user", "a"), said("user", "c"))
    assert moved


def test_a_request_without_system_text_is_left_as_it_is():
    request = ChatRequest("m", (said("user", "a"),))
    assert hoist_system(request) == ((), request.messages, False)


def test_the_model_changes_only_when_it_differs():
    request = ChatRequest("m", (said("user", "a"),))
    assert with_model(request, "m") is request
    assert with_model(request, "n") == ChatRequest("n", request.messages)
