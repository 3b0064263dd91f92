"""``dragoman replay``: two answers beside each other."""

import msgspec
import pytest

from app.cli import replay as module
from app.cli.replay import render_columns


def side(name="req_1", text="hello", **more):
    answer = {"status": 200, "parts": [{"type": "text", "text": text}], "stop": "end", "text": text}
    answer |= {"error": "", "raw": "", "cut": False} | more.pop("answer", {})
    return {
        "id": name,
        "at": 1.0,
        "asked": "sonnet",
        "model": "claude-sonnet-4-5",
        "account": "claude/one",
        "status": 200,
        "error": "",
        "first_ms": 350,
        "duration_ms": 2_100,
        "input": 100,
        "cache_read": 50,
        "cache_write": 0,
        "output": 1_234,
        "cost_usd": 0.0015,
        "worth": False,
        "answer": answer,
    } | more


@pytest.fixture
def answered(fake):
    def script(before, now, name="req_1"):
        fake.answers[f"POST /admin/requests/{name}/replay"] = {"original": before, "replay": now}

    return script


def lines_of(out):
    return [" ".join(line.split()) for line in out.splitlines()]


def test_both_stand_side_by_side_with_times_and_costs(dragoman, fake, answered):
    now = side("req_2", "bonjour", model="gpt-5", cost_usd=0.25, worth=True, first_ms=80)
    answered(side(), now)
    code, out, _ = dragoman("replay", "req_1", "--model", "gpt-5")
    assert code == 0
    assert msgspec.json.decode(fake.asked[-1][3]) == {"model": "gpt-5"}
    lines = lines_of(out)
    assert lines[0] == "THEN NOW"
    assert "request req_1 req_2" in lines
    assert "model claude-sonnet-4-5 gpt-5" in lines
    assert "first content 350 ms 80 ms" in lines
    assert "whole 2.10 s 2.10 s" in lines
    assert "input 150 (50 from the cache) 150 (50 from the cache)" in lines
    assert "output 1,234 1,234" in lines
    assert "cost $0.001500 $0.250000 (worth; a plan paid)" in lines
    assert lines[-1] == "hello │ bonjour"


def test_the_same_model_is_asked_by_default(dragoman, fake, answered):
    answered(side(), side("req_2"), name="req%2F1")
    assert dragoman("replay", "req/1").code == 0
    assert fake.asked[-1][3] == b"{}"
    assert fake.asked[-1][2] == f"Bearer {fake.record.token}"


def test_calls_thoughts_and_failures_are_named(dragoman, answered):
    parts = [
        {"type": "reasoning", "text": "hm"},
        {"type": "reasoning", "text": ""},
        {"type": "tool_call", "name": "look", "arguments": '{"a":1}'},
        {"type": "media", "text": ""},
    ]
    failed = side(
        "req_2",
        status=529,
        error="overloaded",
        cost_usd=None,
        input=None,
        output=None,
        first_ms=None,
        answer={"parts": [], "error": "Overloaded", "stop": ""},
    )
    answered(side(answer={"parts": parts, "cut": True}), failed)
    _, out, _ = dragoman("replay", "req_1")
    lines = lines_of(out)
    assert "status 200 529 overloaded" in lines
    assert lines[-4:] == [
        "[thought] hm │ [failed] Overloaded",
        '[calls look] {"a":1} │',
        "[media] │",
        "[the rest was not kept] │",
    ]


def test_an_answer_of_no_dialect_is_shown_as_it_is(dragoman, answered):
    answered(side(answer={"parts": [], "raw": "<html>"}), side(answer={"parts": []}))
    assert lines_of(dragoman("replay", "req_1").out)[-1] == "<html> │ (nothing)"


def test_json_is_the_answer_as_served(dragoman, answered):
    answered(side(), side("req_2"))
    _, out, _ = dragoman("replay", "req_1", "--json")
    assert msgspec.json.decode(out) == {"original": side(), "replay": side("req_2")}


def test_what_is_not_kept_is_told(dragoman, fake):
    refusal = {"error": {"message": "Prompt and answer are not kept.", "code": "body_not_kept"}}
    fake.answers["POST /admin/requests/req_1/replay"] = (404, refusal)
    code, _, err = dragoman("replay", "req_1")
    assert (code, "not kept" in err) == (1, True)


def test_it_needs_an_instance(dragoman):
    assert dragoman("replay", "req_1").code == 3


def test_long_texts_are_wrapped_into_their_columns():
    rows = render_columns("one two three " * 5, "x\n\ny", 43)
    assert all(len(row) <= 43 for row in rows)
    assert rows[0].endswith("│ x")
    assert rows[1].rstrip().endswith("│")
    assert rows[2].endswith("│ y")


def test_control_characters_of_an_answer_do_nothing_to_the_terminal():
    (row,) = render_columns("\x1b[31mred\x07", "ok", 60)
    assert "\x1b" not in row
    assert "\x07" not in row


def test_a_terminal_without_lines_gets_bars(dragoman, answered, monkeypatch):
    monkeypatch.setattr(module, "_gap", lambda: " | ")
    answered(side(), side("req_2", "bonjour"))
    assert lines_of(dragoman("replay", "req_1").out)[-1] == "hello | bonjour"
