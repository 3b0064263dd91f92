"""Subscriptions through the whole gateway: strict services over sockets, clients of every dialect."""

import json
from contextlib import asynccontextmanager

import pytest

from app.accounts.account import Account
from app.accounts.forwarded import forwarding
from app.providers.base import ModelFacts
from app.providers.copilot import copilot
from app.providers.credential import Credential
from app.providers.github import GitHub as Server
from app.routing.catalog import Catalog
from app.upstream.client import Client
from app.upstream.proxies import Environment
from tests.fakes.basic import Clock
from tests.fakes.claude_oauth import ONLY_CLAUDE_CODE, ClaudeOAuth
from tests.fakes.codex_backend import CodexBackend
from tests.fakes.copilot import CHAT, MESSAGES, MODELS, RESPONSES, Copilot
from tests.fakes.github import OPENCODE, GitHub, User
from tests.fakes.identity import ChatGptIdentity, ClaudeIdentity, claude_at, codex_at
from tests.fakes.upstream import Upstream
from tests.gateway.scripted import Desk

NOW = 1_795_000_000.0
CLAUDE, GPT = "claude-sonnet-5", "gpt-5.5"
SCHEMA = {
    "type": "object",
    "properties": {"command": {"type": "string"}},
    "required": ["command"],
    "additionalProperties": False,
}
DEVICE = {
    "device_id": "ab" * 32,
    "account_uuid": "",
    "session_id": "33333333-3333-4333-8333-333333333333",
}
CLAUDE_CODE = (
    ("user-agent", "claude-cli/2.1.328 (external, cli)"),
    ("x-app", "cli"),
    ("anthropic-beta", "claude-code-20250219,interleaved-thinking-2025-05-14"),
    ("anthropic-version", "2023-06-01"),
    ("x-api-key", "dummy-key"),
    ("x-claude-code-session-id", DEVICE["session_id"]),
)
CODEX_CLI = (
    ("originator", "codex_exec"),
    ("user-agent", "codex_exec/0.169.0 (Debian 13; x86_64) unknown"),
    ("session-id", "0192-session"),
    ("x-codex-turn-metadata", '{"turn":"secret-turn"}'),
    ("authorization", "Bearer dummy"),
)


class Town:
    """Both services, one signed-in account of each, and a gateway over them."""

    def __init__(self, fake, client):
        self.fake = fake
        clock = Clock(NOW)
        self.claude, self.chatgpt = ClaudeIdentity(clock), ChatGptIdentity(clock)
        self.messages, self.backend = ClaudeOAuth(self.claude), CodexBackend(self.chatgpt)
        fake.services = (self.claude, self.messages, self.chatgpt, self.backend)
        held = self.claude.grant()
        one = Credential(held.access, "oauth", renewal=held.refresh)
        held = self.chatgpt.grant()
        facts = {"account_id": held.person.account}
        two = Credential(held.access, "oauth", renewal=held.refresh, facts=facts)
        accounts = [
            Account(f"{p.id}/{p.id}-1", p, f"{p.id}-1", p.base_url, credential, models={m: m})
            for p, credential, m in (
                (claude_at(fake.url), one, CLAUDE),
                (codex_at(fake.url), two, GPT),
            )
        ]
        self.desk = Desk(*accounts, send=client.send)

    async def ask(self, body, dialect, headers=()):
        """Ask as a client does; the answer's body, decoded, is in ``json`` or ``events``."""
        return await self.desk.ask(body, dialect, headers=headers)

    @property
    def sent(self):
        """The last call that a service got."""
        return self.fake.requests[-1]


@asynccontextmanager
async def town(chunks="whole"):
    client = Client(environment=lambda: Environment({}, lambda host: False))
    try:
        async with Upstream(chunks=chunks) as fake:
            yield Town(fake, client)
    finally:
        await client.aclose()


def claude_code(text, model, *, stream=True, messages=()):
    return {
        "model": model,
        "max_tokens": 500,
        "stream": stream,
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.328.a1b;"},
            {
                "type": "text",
                "text": "You are Claude Code, Anthropic's official CLI for Claude.",
                "cache_control": {"type": "ephemeral"},
            },
        ],
        "metadata": {"user_id": json.dumps(DEVICE)},
        "tools": [{"name": "Bash", "description": "run", "input_schema": SCHEMA}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}, *messages],
    }


def codex_cli(text, model, *, items=()):
    return {
        "model": model,
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "0192-session",
        "client_metadata": {"installation": "secret-installation"},
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "tools": [
            {"type": "function", "name": "exec_command", "strict": False, "parameters": SCHEMA}
        ],
        "input": [
            {
                "type": "message",
                "role": "user",
                "id": "msg_1",
                "content": [{"type": "input_text", "text": text}],
            },
            *items,
        ],
    }


def messages_content(events):
    """Put the blocks of an Anthropic stream together."""
    blocks, inputs = [], {}
    for event in events:
        if event["type"] == "content_block_start":
            blocks.append(dict(event["content_block"]))
        elif event["type"] == "content_block_delta":
            block, delta = blocks[event["index"]], event["delta"]
            if delta["type"] == "text_delta":
                block["text"] += delta["text"]
            elif delta["type"] == "input_json_delta":
                inputs[event["index"]] = inputs.get(event["index"], "") + delta["partial_json"]
    for index, text in inputs.items():
        blocks[index]["input"] = json.loads(text or "{}")
    return blocks


def responses_output(events):
    return [e["item"] for e in events if e["type"] == "response.output_item.done"]


CHUNKS = pytest.mark.parametrize("chunks", ["whole", "random:7"])


@CHUNKS
async def test_claude_code_works_over_a_codex_account_with_tools(chunks):
    async with town(chunks) as place:
        text = 'FAKE:tool=Bash:{"command":"ls"}; FAKE:text=done;'
        first = await place.ask(claude_code(text, GPT), "anthropic", CLAUDE_CODE)
        (call,) = [b for b in messages_content(first.events()) if b["type"] == "tool_use"]
        assert (call["name"], call["input"]) == ("Bash", {"command": "ls"})
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": "a.txt"}
        turn = [
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result]},
        ]
        second = await place.ask(claude_code(text, GPT, messages=turn), "anthropic", CLAUDE_CODE)
        blocks = messages_content(second.events())
        assert [b["text"] for b in blocks if b["type"] == "text"] == ["done"]
        assert place.sent.path == "/backend-api/codex/responses"
        assert place.sent.headers["originator"] == "dragoman"
        everything = f"{dict(place.sent.headers)}{place.sent.body.decode()}"
        for own in (
            DEVICE["device_id"],
            DEVICE["session_id"],
            "billing",
            "dummy-key",
            "claude-cli",
        ):
            assert own not in everything


@CHUNKS
async def test_codex_works_over_a_claude_account_with_tools(chunks):
    async with town(chunks) as place:
        text = 'FAKE:tool=mcp_exec_command:{"command":"ls"}; FAKE:text=done;'
        first = await place.ask(codex_cli(text, CLAUDE), "openai_responses", CODEX_CLI)
        (call,) = [i for i in responses_output(first.events()) if i["type"] == "function_call"]
        assert (call["name"], json.loads(call["arguments"])) == ("exec_command", {"command": "ls"})
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "a.txt"}
        second = await place.ask(
            codex_cli(text, CLAUDE, items=[call, output]), "openai_responses", CODEX_CLI
        )
        (said,) = [i for i in responses_output(second.events()) if i["type"] == "message"]
        assert said["content"][0]["text"] == "done"
        assert place.sent.path == "/v1/messages"
        everything = f"{dict(place.sent.headers)}{place.sent.body.decode()}"
        for own in ("secret-installation", "secret-turn", "codex_exec", "0192-session", "dummy"):
            assert own not in everything


@pytest.mark.parametrize("stream", [True, False])
async def test_claude_code_reaches_its_own_service_byte_for_byte(stream):
    async with town() as place:
        raw = json.dumps(claude_code("FAKE:text=hello;", CLAUDE, stream=stream), indent=1).encode()
        client = await place.ask(raw, "anthropic", CLAUDE_CODE)
        assert client.status == 200, client.body
        assert place.sent.body == raw
        assert place.desk.outcome.grade == "verbatim"
        assert "dummy-key" not in str(dict(place.sent.headers))
        assert place.sent.headers["x-claude-code-session-id"] == DEVICE["session_id"]


@pytest.mark.parametrize("stream", [True, False])
async def test_another_client_of_messages_gets_its_own_names_back(stream):
    async with town() as place:
        body = {
            "model": CLAUDE,
            "max_tokens": 100,
            "stream": stream,
            "system": "Be kind.",
            "tools": [{"name": "weather", "input_schema": SCHEMA}],
            "messages": [{"role": "user", "content": 'FAKE:tool=mcp_weather:{"command":"Rome"};'}],
        }
        client = await place.ask(body, "anthropic")
        assert client.status == 200, client.body
        blocks = messages_content(client.events()) if stream else client.json["content"]
        assert [b["name"] for b in blocks if b["type"] == "tool_use"] == ["weather"]
        assert b"mcp_weather" in place.sent.body


async def test_codex_reaches_its_own_service_byte_for_byte():
    async with town() as place:
        body = codex_cli("FAKE:text=hello;", GPT) | {"instructions": "x"}
        raw = json.dumps(body, indent=1).encode()
        client = await place.ask(raw, "openai_responses", CODEX_CLI)
        assert client.status == 200, client.body
        assert place.sent.body == raw
        assert place.sent.headers["originator"] == "codex_exec"
        assert place.sent.headers["x-codex-turn-metadata"] == '{"turn":"secret-turn"}'


@pytest.mark.parametrize("dialect", ["openai_responses", "openai_chat", "anthropic"])
async def test_a_whole_answer_is_collected_from_a_service_that_only_streams(dialect):
    async with town() as place:
        text = "FAKE:text=hello there;usage=input:60,cached:40,output:20,reasoning:5;"
        body = {"model": GPT, "messages": [{"role": "user", "content": text}]}
        if dialect == "openai_responses":
            body = {"model": GPT, "input": text, "temperature": 0.5, "max_output_tokens": 99}
        elif dialect == "anthropic":
            body["max_tokens"] = 100
        client = await place.ask(body, dialect)
        assert client.status == 200, client.body
        assert "hello there" in client.body.decode()
        assert place.sent.json["stream"] is True
        usage = client.json["usage"]
        assert usage.get("output_tokens", usage.get("completion_tokens")) == 20


async def test_a_long_tool_name_comes_back_whole_from_codex():
    name = "mcp__" + "server_" * 9 + "__fetch"
    async with town() as place:
        body = {
            "model": GPT,
            "stream": True,
            "input": 'FAKE:tool=mcp__fetch:{"command":"x"};',
            "tools": [{"type": "function", "name": name, "parameters": SCHEMA, "strict": True}],
        }
        client = await place.ask(body, "openai_responses")
        calls = [i for i in responses_output(client.events()) if i["type"] == "function_call"]
        assert [call["name"] for call in calls] == [name]
        assert name not in place.sent.body.decode()


async def test_a_policy_refusal_takes_the_account_out_at_once():
    async with town() as place:
        place.messages.refuses = ONLY_CLAUDE_CODE
        body = {"model": CLAUDE, "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
        refused = await place.ask(body, "anthropic")
        assert refused.status != 200
        assert ONLY_CLAUDE_CODE in refused.json["error"]["message"]
        asked = len(place.fake.requests)
        again = await place.ask(body, "anthropic")
        assert again.status != 200
        assert len(place.fake.requests) == asked


# Thoughts that are bound to an account

SPOKEN = {CHAT: "openai_chat", RESPONSES: "openai_responses", MESSAGES: "anthropic"}


def thoughtful(dialect, model, *turns):
    """A request that asks for a thought, with what was said so far."""
    text = "FAKE:think=hmm;text=hello;"
    if dialect == "anthropic":
        return {
            "model": model,
            "max_tokens": 4_000,
            "thinking": {"type": "enabled", "budget_tokens": 1_024},
            "messages": [{"role": "user", "content": text}, *turns],
        }
    return {
        "model": model,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"effort": "low"},
        "input": [{"type": "message", "role": "user", "content": text}, *turns],
    }


def said_so_far(dialect, answer):
    if dialect == "anthropic":
        return [
            {"role": "assistant", "content": answer["content"]},
            {"role": "user", "content": "FAKE:text=goodbye;"},
        ]
    asked = {"type": "message", "role": "user", "content": "FAKE:text=goodbye;"}
    return [*answer["output"], asked]


@pytest.mark.parametrize(
    ("dialect", "model"),
    [
        ("anthropic", "claude-sonnet-4.5"),
        ("anthropic", "gpt-5.2-codex"),
        ("openai_responses", "gpt-5-mini"),
    ],
)
async def test_a_conversation_goes_on_over_another_copilot_account(dialect, model):
    clock = Clock(NOW)
    github = GitHub(clock)
    async with town() as place:
        service = Copilot(github)
        place.fake.services = (github, service)
        url = github.base = place.fake.url
        provider = copilot(Server("github.com", url, url, url))
        facts = {"family": "direct", "host": "github.com", "api": url}
        names = ("ada", "bob")
        accounts = [
            Account(
                f"copilot/{name}",
                provider,
                name,
                url,
                Credential(github.grant(OPENCODE, User(name)), "oauth", facts=facts),
                models={model: model},
                order=order,
            )
            for order, name in enumerate(names)
        ]
        spoken = {m.id: tuple(SPOKEN[e] for e in m.endpoints or () if e in SPOKEN) for m in MODELS}
        facts_of = {name: ModelFacts(name, dialects=dialects) for name, dialects in spoken.items()}
        catalog = Catalog(listed={account.id: facts_of for account in accounts})
        place.desk = Desk(*accounts, send=place.desk.send, catalog=catalog)
        first = await place.ask(thoughtful(dialect, model), dialect)
        assert first.status == 200, first.body
        assert service.callers == ["ada"]
        place.desk.roster.pause("copilot/ada", None, 600, "spent", place.desk.clock())
        turns = said_so_far(dialect, first.json)
        signed = json.dumps(turns)
        assert '"signature"' in signed or "encrypted_content" in signed
        second = await place.ask(thoughtful(dialect, model, *turns), dialect)
        assert second.status == 200, second.body
        assert "goodbye" in second.body.decode()
        # The service refuses the other account's thoughts, and is asked once more without them.
        assert service.callers == ["ada", "bob", "bob"]
        assert place.desk.outcome.account == "copilot/bob"


# A caller's own sign-in


def own_sign_in(place, held):
    """Let calls go on with their own sign-in, and return the head of one that brings it."""
    place.desk.gateway.own_sign_in = forwarding([claude_at(place.fake.url)])
    head = [field for field in CLAUDE_CODE if field[0] != "x-api-key"]
    return (*head, ("authorization", f"Bearer {held.access}"))


@pytest.mark.parametrize("stream", [True, False])
async def test_a_callers_own_sign_in_goes_on_with_its_call_untouched(stream, caplog):
    async with town() as place:
        held = place.claude.grant()
        head = own_sign_in(place, held)
        raw = json.dumps(claude_code("FAKE:text=hello;", CLAUDE, stream=stream), indent=1).encode()
        client = await place.ask(raw, "anthropic", head)
        assert client.status == 200, client.body
        assert place.sent.body == raw
        assert place.sent.headers["authorization"] == f"Bearer {held.access}"
        assert place.desk.outcome.grade == "verbatim"
        assert held.access not in caplog.text + repr(place.desk.outcome)


async def test_a_refused_sign_in_of_the_caller_is_told_to_it_and_to_nobody_else():
    async with town() as place:
        held = place.claude.grant()
        head = own_sign_in(place, held)
        place.claude.revoke(held)
        body = claude_code("FAKE:text=hello;", CLAUDE, stream=False)
        refused = await place.ask(body, "anthropic", head)
        assert refused.status == 401
        assert refused.json["error"]["type"] == "authentication_error"
        assert len(place.fake.requests) == 1
        assert (await place.ask(body, "anthropic", CLAUDE_CODE)).status == 200


async def test_another_model_with_that_sign_in_takes_the_usual_way():
    async with town() as place:
        head = own_sign_in(place, place.claude.grant())
        client = await place.ask(
            claude_code("FAKE:text=hello;", GPT, stream=False), "anthropic", head
        )
        assert client.status == 200, client.body
        assert place.desk.outcome.account == "codex/codex-1"
