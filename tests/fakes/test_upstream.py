import asyncio
import json
import socket
import sys

import anthropic
import httpx
import pytest

from tests.fakes.directives import Ask, Offered, Text, pieces, plan, read_directives
from tests.fakes.schema import sample
from tests.fakes.service import KEY
from tests.fakes.shape import check
from tests.fakes.upstream import CHUNKS, DROP, PASS, Upstream, split

HEADERS = {"authorization": f"Bearer {KEY}"}


def ask(text, **more):
    return {"model": "gpt-4.1", "messages": [{"role": "user", "content": text}]} | more


def post(http, fake, text, **more):
    return http.post(f"{fake.url}/v1/chat/completions", headers=HEADERS, json=ask(text, **more))


async def _collect(chunks, into):
    async for chunk in chunks:
        into.append(chunk)


async def test_all_services_share_one_port_by_path_and_headers():
    goog = {"x-goog-api-key": KEY}
    claude = HEADERS | {"anthropic-version": "2023-06-01"}
    async with Upstream() as fake, httpx.AsyncClient() as http:
        assert (await post(http, fake, "hi")).json()["object"] == "chat.completion"
        body = {"model": "gpt-5", "input": "hi"}
        reply = await http.post(f"{fake.url}/v1/responses", headers=HEADERS, json=body)
        assert reply.json()["object"] == "response"
        body = ask("hi", model="claude-haiku-4-5", max_tokens=9)
        reply = await http.post(f"{fake.url}/v1/messages", headers=claude, json=body)
        assert reply.json()["type"] == "message"
        body = {"contents": [{"parts": [{"text": "hi"}]}]}
        for version in ("v1", "v1beta"):
            url = f"{fake.url}/{version}/models/gemini-2.5-flash:generateContent"
            assert "candidates" in (await http.post(url, headers=goog, json=body)).json()
        shapes = []
        for headers in (HEADERS, claude, goog):
            listing = (await http.get(f"{fake.url}/v1/models", headers=headers)).json()
            shapes.append(sorted(listing)[0])
        assert shapes == ["data", "data", "models"]
        assert (await http.get(f"{fake.url}/no", headers=HEADERS)).status_code == 404
        assert fake.connections == 1


async def test_scripted_answers_come_first_and_in_order():
    async with Upstream() as fake, httpx.AsyncClient() as http:
        fake.script((418, {"x-a": "b"}, {"no": 1}), PASS, (200, {}, [b"data: a\n\n", b"b"]), DROP)
        first = await post(http, fake, "hi")
        assert (first.status_code, first.headers["x-a"], first.json()) == (418, "b", {"no": 1})
        assert (await post(http, fake, "hi")).status_code == 200
        assert (await post(http, fake, "hi")).text == "data: a\n\nb"
        with pytest.raises(httpx.RemoteProtocolError):
            await post(http, fake, "hi")
        assert (await post(http, fake, "hi")).status_code == 200
        assert len(fake.requests) == 5


async def test_rotating_limits_refuse_every_so_many_calls():
    async with Upstream(rate_limit_after=2) as fake, httpx.AsyncClient() as http:
        codes = [(await post(http, fake, "hi")).status_code for _ in range(6)]
        assert codes == [200, 200, 429, 200, 200, 429]


async def test_a_cut_drops_the_connection_after_so_many_events():
    async with Upstream() as fake, httpx.AsyncClient() as http:
        body = ask("FAKE:cut=3;text=a b c d e f;", stream=True)
        got = []
        url = f"{fake.url}/v1/chat/completions"
        async with http.stream("POST", url, headers=HEADERS, json=body) as reply:
            with pytest.raises(httpx.RemoteProtocolError):
                await _collect(reply.aiter_raw(), got)
        assert b"".join(got).count(b"data: ") == 3
        assert fake.cancelled == 0


@pytest.mark.parametrize("text", ["FAKE:hang=head:60;", "FAKE:hang=event:60;text=a;"])
async def test_clients_that_leave_are_counted(text):
    async with Upstream() as fake, httpx.AsyncClient() as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post(
                f"{fake.url}/v1/chat/completions",
                headers=HEADERS,
                json=ask(text, stream=True),
                timeout=httpx.Timeout(5, read=0.1),
            )
        await asyncio.wait_for(fake.until_left(), 5)
        assert fake.cancelled == 1


async def test_a_client_that_stops_reading_a_long_stream_is_counted():
    async with Upstream() as fake, httpx.AsyncClient() as http:
        body = ask("FAKE:n=20000;", stream=True)
        url = f"{fake.url}/v1/chat/completions"
        async with http.stream("POST", url, headers=HEADERS, json=body) as reply:
            async for _ in reply.aiter_raw():
                break
        await asyncio.wait_for(fake.until_left(), 10)


async def test_directives_can_ask_for_a_chunk_mode_and_hang_between_events():
    async with Upstream() as fake, httpx.AsyncClient() as http:
        reply = await post(http, fake, "FAKE:chunks=bytes;hang=event:0.001;text=a;", stream=True)
        assert reply.text.endswith("data: [DONE]\n\n")


async def test_a_wrong_directive_is_the_tests_fault_and_shown():
    fake = Upstream()
    with pytest.raises(ValueError, match="no directive is called 'txet'"):
        async with fake, httpx.AsyncClient() as http:
            assert (await post(http, fake, "FAKE:txet=a;")).status_code == 500


def test_chunks_join_to_the_same_bytes_and_cut_through_characters():
    frames = [f"data: {c}\n\n".encode() for c in "grüße 🙂"] * 4
    for mode in CHUNKS:
        assert b"".join(split(frames, mode, 3)) == b"".join(frames)
    assert split(frames, "random:7") == split(frames, "random", 7) != split(frames, "random", 8)
    broken = 0
    for chunk in split(frames, "random:7"):
        try:
            chunk.decode()
        except UnicodeDecodeError:
            broken += 1
    assert broken > 1
    assert max(len(c) for c in split(frames, "bytes")) == 1
    with pytest.raises(ValueError, match="no chunk mode"):
        Upstream(chunks="halves")


def test_directives_are_read_from_anywhere_in_the_text():
    text = 'Hi. FAKE:text="a;\\nb";tool=x:{"a":";"};tool=y;n=3\nmore FAKE:stop=refusal;'
    assert read_directives(text) == [
        [("text", "a;\nb"), ("tool", ("x", {"a": ";"})), ("tool", ("y", None)), ("n", "3")],
        [("stop", "refusal")],
    ]


def test_sections_hold_for_successive_turns():
    text = "FAKE:tool=a; FAKE:tool=b; FAKE:text=done;"
    answers = [plan(Ask("m", text, rounds=i, results=["r"] * i))[0] for i in range(4)]
    assert [a.calls[0].name for a in answers[:2]] == ["a", "b"]
    assert [a.text for a in answers[2:]] == ["done", "The tool said: r; r; r"]


def test_deltas_come_in_the_number_asked_for():
    answer, _ = plan(Ask("m", "FAKE:n=2000;"))
    words = pieces(answer.text, answer.deltas)
    assert len(words) == 2000
    assert "".join(words) == answer.text
    for text in ("", " lead and trail \n", "🙂" * 30):
        assert "".join(pieces(text)) == text


def test_samples_satisfy_their_schemas():
    schema = {
        "type": "object",
        "properties": {
            "kind": {"enum": ["b", "c"]},
            "when": {"type": "string", "format": "date"},
            "list": {"type": "array", "items": {"$ref": "#/$defs/Leaf"}, "minItems": 2},
            "maybe": {"type": ["null", "integer"], "minimum": 9},
            "either": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
        },
        "$defs": {"Leaf": {"type": "object", "properties": {"n": {"type": "number"}},
                           "required": ["n"]}},
    }  # fmt: skip
    assert sample(schema) == {
        "kind": "b",
        "when": "2026-01-02",
        "list": [{"n": 7}, {"n": 7}],
        "maybe": 9,
        "either": True,
    }
    answer, _ = plan(Ask("m", "use the tool", tools=[Offered("t", schema)]))
    assert answer.calls[0].arguments == sample(schema)
    assert not any(isinstance(p, Text) for p in answer.parts)


def test_problems_name_path_and_kind():
    problems = check({"a": [1, "x"], "b": None}, dict[str, list[int] | None])
    assert [(p.kind, p.path, p.expected) for p in problems] == [("type", ("a", 1), ("integer",))]


async def test_the_command_serves_and_prints_its_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.fakes.upstream", "--port", str(port)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()
        assert line == f"http://127.0.0.1:{port}"
        async with anthropic.AsyncAnthropic(api_key=KEY, base_url=line, max_retries=0) as api:
            message = await api.messages.create(
                model="claude-haiku-4-5",
                max_tokens=20,
                messages=[{"role": "user", "content": "hi"}],
            )
        assert json.loads(message.to_json())["content"][0]["text"] == "You said: hi"
    finally:
        process.kill()
        await process.communicate()
