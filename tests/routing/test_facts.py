import pytest

from app.canonical.parts import Media, Text, ToolResult
from app.canonical.request import ChatRequest, Message, ReasoningConfig, ServerTool, Tool
from app.errors import RequestError
from app.routing.facts import FactsMissing, RequestFacts, TokensWanted, readable
from tests.routing.calls import chat, facts, thinking


@pytest.mark.parametrize(
    ("config", "on"),
    [
        (None, False),
        (ReasoningConfig(mode="off"), False),
        (ReasoningConfig(effort="none"), False),
        (ReasoningConfig(budget_tokens=0), False),
        (ReasoningConfig(budget_tokens=-1), True),
        (ReasoningConfig(budget_tokens=1024), True),
        (ReasoningConfig(mode="adaptive"), True),
        (ReasoningConfig(effort="minimal"), True),
        (ReasoningConfig(), True),
    ],
)
def test_thinking_counts_only_when_it_is_really_on(config, on):
    assert facts(request=chat(reasoning=config)).thinking() is on


def test_thinking_is_read_from_the_decoded_body():
    assert facts(request=thinking(effort="high")).thinking()


def test_tools_of_the_client_and_of_the_service_have_names():
    search = ServerTool("anthropic", {"type": "web_search_20250305", "name": "web"}, "web_search")
    google = ServerTool("gemini", {"googleSearch": {}})
    request = ChatRequest("m", (), tools=(Tool("Bash"), search, google))
    assert facts(request=request).tools() == (
        *("Bash", "web_search", "web_search_20250305", "web", "googleSearch"),
    )


def test_images_are_found_in_messages_and_in_results_of_tools():
    image = Media("image", data="AA==", media_type="image/png")
    result = Message("tool", (ToolResult("c1", (Text("see"), image)),))
    assert facts(request=chat(images=True)).images()
    assert facts(request=ChatRequest("m", (result,))).images()
    sound = Message("user", (Media("audio", data="AA=="),))
    assert not facts(request=ChatRequest("m", (sound,))).images()


def test_the_body_is_looked_at_only_when_a_fact_needs_it():
    asked = []

    def request():
        asked.append(1)
        return chat(tools=("a",))

    call = RequestFacts("m", request=request)
    assert call.names() == ("m",)
    assert call.header("x") == ()
    assert asked == []
    assert call.tools() == call.tools() == ("a",)
    assert asked == [1]


def test_tokens_are_wanted_until_they_are_counted():
    call = RequestFacts("m")
    with pytest.raises(TokensWanted):
        call.tokens()
    assert call.counted(7).tokens() == 7


def test_a_body_that_was_not_given_is_a_missing_fact():
    with pytest.raises(FactsMissing):
        RequestFacts("m").thinking()


def test_header_fields_are_found_in_any_case_and_all_of_them():
    call = facts(headers=(("X-Team", "a"), ("x-team", "b"), ("Y", "c")))
    assert call.header("x-team") == ("a", "b")


def test_a_model_with_a_suffix_has_two_names():
    assert facts("gpt-5(high)").names() == ("gpt-5(high)", "gpt-5")
    assert facts("gpt-5(turbo)").names() == ("gpt-5(turbo)",)


def test_a_conversation_without_a_name_is_known_by_how_it_begins():
    first = chat("write a poem", system="be kind")
    grown = chat("write a poem", system="be kind", more=(Message("user", (Text("more"),)),))
    other = chat("write a song", system="be kind")
    assert facts(request=first).seed() == facts(request=grown).seed()
    assert facts(request=first).seed() != facts(request=other).seed()
    assert facts(request=first, conversation="c").seed() == "c"
    assert RequestFacts("m").seed() == ""


def test_half_a_surrogate_pair_has_a_seed_too():
    assert facts(request=chat("\ud800")).seed()


@pytest.mark.parametrize(
    "error",
    [
        RequestError("messages must be a list"),
        RecursionError("too deep"),
        UnicodeDecodeError("utf-8", b"", 0, 1, "bad"),
    ],
)
def test_a_body_that_cannot_be_read_is_a_missing_fact(error):
    def decode():
        raise error

    with pytest.raises(FactsMissing, match="the body cannot be read"):
        RequestFacts("m", request=readable(decode)).thinking()
    assert RequestFacts("m", request=readable(decode)).seed() == ""


def test_a_body_that_can_be_read_is_handed_through():
    request = chat()
    assert readable(lambda: request)() is request
