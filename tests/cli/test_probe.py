import itertools

import pytest

from app.cli.client import Client
from app.cli.probe import ask
from app.errors import AppError
from tests.cli.fake_instance import events

ROLE = {"choices": [{"delta": {"role": "assistant", "content": ""}}]}
USAGE = {"choices": [], "usage": {"completion_tokens": 9}}


@pytest.fixture
def answer(fake):
    def call(content):
        fake.answers["POST /v1/chat/completions"] = content
        return ask(Client(fake.port), "openai/work/gpt-5", now=itertools.count().__next__)

    return call


def test_tokens_are_the_services_count(answer):
    assert answer(events(ROLE, "a", "b", USAGE)).tokens == 9


def test_without_a_count_the_pieces_are_counted(answer):
    assert answer(events(b": ping", ROLE, "a", "b")).tokens == 2


def test_times_run_from_the_request_to_first_token_and_end(answer):
    assert (answer(events(ROLE, "a", "b")).first_s, answer(events("a")).total_s) == (1, 2)


@pytest.mark.parametrize("delta", [{"reasoning_content": "hm"}, {"tool_calls": [{"index": 0}]}])
def test_thought_and_calls_are_tokens_too(answer, delta):
    assert answer(events({"choices": [{"delta": delta}]})).tokens == 1


def test_request_is_short_and_streamed(fake, answer):
    seen = []
    answer(lambda body: seen.append(body) or events("a"))
    assert (seen[0]["model"], seen[0]["stream"]) == ("openai/work/gpt-5", True)
    assert seen[0]["max_tokens"] == 16


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (events("a", {"error": {"message": "Overloaded."}}), "Overloaded"),
        (events({"error": "plain"}), "plain"),
        (events("a", done=False), "ended early"),
        (events(ROLE), "no text"),
        (events(b"data: {"), "no event"),
        ((401, {"error": {"message": "Bad key."}}), "Bad key"),
    ],
)
def test_answer_that_fails_raises_with_its_reason(answer, content, words):
    with pytest.raises(AppError, match=words):
        answer(content)
