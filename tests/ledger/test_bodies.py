"""What is kept of prompts and answers, and what is not."""

import json
import os
import threading
from pathlib import Path

import msgspec
import pytest

from app import log
from app.dialects import DIALECTS
from app.ledger import bodies as module
from app.ledger.bodies import Answer, Bodies, Heard, Rules, as_json, read_answer, redacted
from tests.gateway.scripted import (
    anthropic_end,
    anthropic_start,
    anthropic_text,
    anthropic_whole,
    ask_body,
    chat_chunk,
    chat_stream,
    chat_whole,
    gemini_whole,
)

CHAT = DIALECTS["openai_chat"]
NOW = 1_770_000_000.0
SECRET = "sk-ant-api03-this-is-a-secret"


def heard(name="req_1", body=None, answer=None, **more):
    raw = body if isinstance(body, bytes) else json.dumps(body or ask_body("openai_chat", "m"))
    fields = {
        "id": name,
        "at": NOW,
        "dialect": CHAT,
        "path": "/v1/chat/completions",
        "query": "",
        "headers": (("Authorization", f"Bearer {SECRET}"), ("Anthropic-Beta", "x-1")),
        "request": raw if isinstance(raw, bytes) else raw.encode(),
        "status": 200,
        "answer": chat_whole("hello") if answer is None else answer,
        "streamed": False,
    }
    return Heard(**fields | more)


class Desk:
    def __init__(self, folder, **rules):
        self.rules = Rules(on=True, **rules)
        self.at = NOW
        self.bodies = Bodies(folder, lambda: self.rules, now=lambda: self.at, every_s=0.001)

    def keep(self, *calls):
        for call in calls:
            self.bodies.add(call)
        assert self.bodies.flush()
        return self.bodies.find(calls[-1].id)


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path)
    yield made
    made.bodies.close()


def test_a_request_and_its_answer_are_kept(desk):
    kept = desk.keep(heard())
    assert (kept.id, kept.at) == ("req_1", NOW)
    assert kept.request.body == ask_body("openai_chat", "m")
    assert (kept.request.dialect, kept.request.path) == ("openai_chat", "/v1/chat/completions")
    assert (kept.answer.text, kept.answer.stop, kept.answer.status) == ("hello", "end", 200)
    assert desk.bodies.find("nobody") is None
    assert as_json(kept)["answer"]["text"] == "hello"
    msgspec.json.encode(as_json(kept))


def test_only_headers_that_change_the_meaning_are_kept(desk):
    assert desk.keep(heard()).request.headers == (("anthropic-beta", "x-1"),)


def test_secrets_are_cut_out_of_both(desk, tmp_path):
    log.redact("hunter2-the-known-secret")
    body = ask_body("openai_chat", "m", text=f"my key is {SECRET}") | {
        "api_key": "plain-words",
        "metadata": {"note": "hunter2-the-known-secret", "password": "x"},
        "tools": [{"function": {"parameters": {"properties": {"password": {"type": "string"}}}}}],
    }
    kept = desk.keep(heard(body=body, answer=chat_whole(f"it is {SECRET}, yes")))
    text = msgspec.json.encode(as_json(kept)).decode()
    for secret in (SECRET, "hunter2", "plain-words"):
        assert secret not in text
    assert kept.request.body["metadata"] == {"note": "***", "password": "***"}
    parameters = kept.request.body["tools"][0]["function"]["parameters"]
    assert parameters == {"properties": {"password": {"type": "string"}}}
    assert kept.answer.text == "it is ***, yes"
    desk.bodies.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("bodies.db*"))
    assert SECRET.encode() not in stored


def test_what_is_no_json_is_kept_as_text_and_marked(desk):
    kept = desk.keep(heard(body=b"\xff{not json " + SECRET.encode()))
    assert kept.request.cut
    assert SECRET not in kept.request.body


def test_long_prompts_and_answers_are_cut_and_marked(tmp_path):
    desk = Desk(tmp_path, body_bytes=1_000)
    long = heard(
        body=ask_body("openai_chat", "m", text="x" * 5_000), answer=chat_whole("y" * 5_000)
    )
    kept = desk.keep(long)
    assert (len(kept.request.body), kept.request.cut) == (1_000, True)
    assert (len(kept.answer.text) <= 1_000, kept.answer.cut) == (True, True)
    short = desk.keep(heard("req_2"))
    assert (short.request.cut, short.answer.cut) == (False, False)
    assert desk.keep(heard("req_3", cut=True)).answer.cut
    desk.bodies.close()


def test_they_are_removed_when_they_are_old_or_too_many(tmp_path):
    desk = Desk(tmp_path, days=2)
    desk.keep(heard("old", at=NOW - 3 * 86_400), heard("new"))
    desk.bodies.tidy()
    assert desk.bodies.find("old") is None
    assert desk.bodies.find("new") is not None
    desk.rules = Rules(on=True, all_bytes=1)
    desk.bodies.tidy()
    assert desk.bodies.find("new") is None
    desk.bodies.close()


def test_switching_it_off_removes_the_file(tmp_path):
    desk = Desk(tmp_path)
    desk.keep(heard())
    desk.rules = Rules(on=False)
    desk.bodies.tidy()
    assert not list(tmp_path.glob("bodies.db*"))
    assert desk.bodies.find("req_1") is None
    desk.keep(heard("late"))  # on its way when the settings changed
    assert not list(tmp_path.glob("bodies.db*"))
    desk.rules = Rules(on=True)
    assert desk.keep(heard("again")).id == "again"
    desk.bodies.close()


def test_nothing_is_made_while_nothing_is_kept(tmp_path):
    desk = Desk(tmp_path)
    desk.bodies.tidy()
    assert desk.bodies.find("x") is None
    desk.bodies.close()
    assert list(tmp_path.iterdir()) == []


def test_they_are_there_after_the_next_start(tmp_path):
    first = Desk(tmp_path)
    first.bodies.add(heard())
    first.bodies.close()  # writes what waits
    again = Desk(tmp_path)
    assert again.bodies.find("req_1").answer.text == "hello"
    again.bodies.close()
    again.bodies.add(heard("late"))
    assert again.bodies.dropped == 1


def test_a_file_that_cannot_be_used_costs_bodies_and_nothing_else(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    desk = Desk(tmp_path / "file")
    desk.bodies.add(heard())
    assert desk.bodies.flush()
    desk.bodies.close()
    assert desk.bodies.trouble
    assert "are not kept" in caplog.text


def test_more_than_can_be_written_is_dropped_and_counted(tmp_path, monkeypatch, caplog):
    desk = Desk(tmp_path)
    gate = threading.Event()
    write = desk.bodies._write

    def slowly(some):
        gate.wait(20)
        write(some)

    monkeypatch.setattr(desk.bodies, "_write", slowly)
    monkeypatch.setattr(module, "_MOST_WAITING", 30)
    for i in range(100):
        desk.bodies.add(heard(f"req_{i}"))
    assert desk.bodies.dropped >= 50
    assert desk.bodies.waiting <= 30
    gate.set()
    assert desk.bodies.flush()
    desk.bodies.close()
    assert "too many wait" in caplog.text


def test_what_cannot_be_read_back_is_not_there(desk, tmp_path, caplog):
    from app.store.bodies import BodyRow, BodyStore

    desk.keep(heard())
    other = BodyStore(tmp_path, 0.0)
    other.add([BodyRow("odd", 1.0, b"no zlib", b"x")])
    other.close()
    assert desk.bodies.find("odd") is None
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("dialect", "raw", "streamed", "text"),
    [
        ("openai_chat", chat_whole("whole"), False, "whole"),
        ("openai_chat", b"".join(chat_stream("a", "b")), True, "ab"),
        ("anthropic", anthropic_whole("whole"), False, "whole"),
        ("anthropic", anthropic_start() + anthropic_text("x") + anthropic_end(), True, "x"),
        ("gemini", gemini_whole("whole"), False, "whole"),
    ],
)
def test_answers_are_read_in_every_dialect(dialect, raw, streamed, text):
    answer = read_answer(DIALECTS[dialect], 200, raw, streamed=streamed)
    assert (answer.text, answer.stop, answer.error) == (text, "end", "")


def test_calls_and_thoughts_are_parts_of_an_answer():
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
    raw = chat_whole(None, tool_calls=[call], reasoning_content="hm")
    answer = read_answer(CHAT, 200, raw, streamed=False)
    assert {"type": "tool_call", "name": "look", "arguments": '{"a":1}'} in answer.parts
    assert answer.text == ""
    assert answer.stop == "tool_use"


def test_what_a_failure_says_is_kept():
    raw = b'{"error":{"message":"no such model"}}'
    assert read_answer(CHAT, 404, raw, streamed=False).error == "no such model"


def test_what_was_said_before_a_stream_broke_is_kept():
    raw = chat_chunk({"content": "half an"}) + chat_chunk({"content": " answer"})
    answer = read_answer(CHAT, 200, raw, streamed=True)
    assert answer.text == "half an answer"
    assert answer.error


@pytest.mark.parametrize(("raw", "plain"), [(b"<html>", True), (chat_whole("x"), False)])
def test_what_no_dialect_reads_is_kept_as_it_is(raw, plain):
    answer = read_answer(CHAT, 200, raw, streamed=False, plain=plain)
    assert answer == Answer(200, raw=raw.decode())


def test_redaction_keeps_everything_else():
    value = {"a": [1, None, True, "text", {"b": 2.5}], "secret": {"deep": "kept"}, "token": ""}
    assert redacted(value) == value


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_the_file_is_the_users_alone(desk, tmp_path):
    desk.keep(heard())
    assert {path.stat().st_mode & 0o077 for path in Path(tmp_path).glob("bodies.db*")} == {0}
