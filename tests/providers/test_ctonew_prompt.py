import json

import pytest

from app.dialects.base import read_head
from app.errors import RequestError, TranslationError
from app.providers.ctonew_prompt import make_job


def job(**body):
    head = read_head(json.dumps({"model": "m", **body}).encode())
    return make_job(head, "gpt_5_4", "ctonew-gpt_5_4", "user_1", "org_1")


def prompt(*messages):
    return job(messages=list(messages)).prompt


def test_a_single_question_stays_as_it_is():
    assert prompt({"role": "user", "content": "  why?\n"}) == "  why?\n"


def test_a_conversation_becomes_sections():
    assert prompt(
        {"role": "system", "content": "be brief"},
        {"role": "developer", "content": "and kind"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"role": "user", "content": "why?"},
    ) == ("System:\nbe brief\n\nSystem:\nand kind\n\nUser:\na\nb\n\nAssistant:\nno\n\nUser:\nwhy?")


def test_instructions_alone_keep_their_heading():
    assert prompt({"role": "system", "content": "s"}) == "System:\ns"


def test_the_job_says_whose_it_is_and_how_it_is_answered():
    made = job(
        messages=[{"role": "user", "content": "x"}],
        stream=True,
        stream_options={"include_usage": True},
        tools=[],
        n=1,
        temperature=0.5,
        response_format={"type": "text"},
    )
    assert (made.model, made.public) == ("gpt_5_4", "ctonew-gpt_5_4")
    assert (made.user, made.organization) == ("user_1", "org_1")
    assert (made.stream, made.include_usage) == (True, True)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
        ({"n": 2}, "n"),
        ({"messages": [{"role": "tool", "content": "1"}]}, "messages[0]"),
        (
            {"messages": [{"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}]},
            "messages[0]",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": "x"},
                    {"role": "user", "content": [{"type": "image_url", "image_url": {}}]},
                ]
            },
            "messages[1].content[0]",
        ),
    ],
)
def test_what_would_change_the_meaning_is_refused_with_its_place(body, param):
    with pytest.raises(TranslationError) as caught:
        job(**{"messages": [{"role": "user", "content": "x"}], **body})
    assert (caught.value.param, caught.value.status) == (param, 400)


def test_the_refusal_of_tools_names_the_way_that_has_them():
    with pytest.raises(TranslationError, match="takes no tools") as caught:
        job(tools=[{}])
    assert "cli" in caught.value.hint


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (None, "messages"),
        ([], "messages"),
        ("x", "messages"),
        (["x"], "messages[0]"),
        ([{"role": "user", "content": 7}], "messages[0].content"),
        ([{"role": "user", "content": ""}], "messages"),
    ],
)
def test_a_request_without_words_is_refused(messages, param):
    with pytest.raises(RequestError) as caught:
        job(messages=messages)
    assert caught.value.param == param
