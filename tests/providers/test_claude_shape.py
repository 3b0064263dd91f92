"""Calls with the tokens of a subscription: genuine Claude Code untouched, others with four additions."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import RequestError
from app.http import HttpRequest, Limits
from app.providers import claude_profile as profile
from app.providers.claude_shape import is_genuine, shape
from app.providers.credential import Credential
from app.providers.shaping import Asked
from tests.fakes.basic import Clock
from tests.fakes.claude_oauth import ONLY_CLAUDE_CODE, ClaudeOAuth
from tests.fakes.identity import ClaudeIdentity, claude_at
from tests.fakes.upstream import Upstream
from tests.providers.driving import NOW, driving

PREAMBLE = {"type": "text", "text": "You are Claude Code, Anthropic's official CLI for Claude."}
DEVICE = {
    "device_id": "ab" * 32,
    "account_uuid": "11111111-1111-4111-8111-111111111111",
    "session_id": "22222222-2222-4222-8222-222222222222",
}
GENUINE = (
    ("User-Agent", "claude-cli/2.1.328 (external, cli)"),
    ("Accept", "application/json"),
    ("x-app", "cli"),
    ("anthropic-beta", "claude-code-20250219,interleaved-thinking-2025-05-14"),
    ("anthropic-version", "2023-06-01"),
    ("anthropic-dangerous-direct-browser-access", "true"),
    ("X-Stainless-Lang", "js"),
    ("X-Claude-Code-Session-Id", "22222222-2222-4222-8222-222222222222"),
    ("x-api-key", "dummy"),
    ("authorization", "Bearer theirs"),
    ("cookie", "c=1"),
    ("x-forwarded-for", "10.0.0.1"),
)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


def genuine_body(**changes):
    return {
        "model": "claude-sonnet-5",
        "max_tokens": 100,
        "stream": False,
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.328.abc;"},
            {**PREAMBLE, "cache_control": {"type": "ephemeral"}},
        ],
        "metadata": {"user_id": json.dumps(DEVICE)},
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"name": "Bash", "input_schema": SCHEMA}],
    } | changes


def body(**changes):
    return {
        "model": "claude-sonnet-5",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "hi"}],
    } | changes


def asked(given, headers=(), operation="generate", path="/v1/messages"):
    raw = given if isinstance(given, bytes) else json.dumps(given).encode()
    credential = Credential("sk-ant-oat01-x", "oauth")
    return Asked("anthropic", operation, "claude-sonnet-5", raw, False, path, headers, credential)


def fitted(given, headers=()):
    shaped = shape(asked(given, headers))
    return json.loads(shaped.body), shaped


def without(name):
    return tuple((key, value) for key, value in GENUINE if key.lower() != name)


def replaced(name, text):
    return (*without(name), (name, text))


# Genuine Claude Code


def test_genuine_claude_code_goes_out_untouched():
    call = asked(genuine_body(), GENUINE, path="/v1/messages?beta=true")
    shaped = shape(call)
    assert shaped.body is call.body
    assert shaped.path == "/v1/messages?beta=true"
    assert dict(shaped.names) == {}
    fields = dict(shaped.headers)
    assert fields == {
        "accept": "application/json",
        "user-agent": "claude-cli/2.1.328 (external, cli)",
        "x-app": "cli",
        "anthropic-version": "2023-06-01",
        "anthropic-dangerous-direct-browser-access": "true",
        "x-stainless-lang": "js",
        "x-claude-code-session-id": "22222222-2222-4222-8222-222222222222",
        "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,oauth-2025-04-20",
    }


@pytest.mark.parametrize(
    "user",
    [
        json.dumps(DEVICE),
        json.dumps({**DEVICE, "account_uuid": ""}),
        json.dumps({**DEVICE, "more": 1}),
        f"user_{'ab' * 32}_account__session_{DEVICE['session_id']}",
        f"user_{'ab' * 32}_account_{DEVICE['account_uuid']}_session_{DEVICE['session_id']}",
    ],
)
@pytest.mark.parametrize("entry", ["cli", "sdk-cli", "sdk-ts", "claude-vscode, agent-sdk/0.2.1"])
def test_claude_code_is_known_in_all_its_forms(user, entry):
    headers = replaced("user-agent", f"claude-cli/2.1.328 (external, {entry})")
    assert is_genuine(asked(genuine_body(metadata={"user_id": user}), headers))


@pytest.mark.parametrize(
    "headers",
    [
        (),
        without("user-agent"),
        without("x-app"),
        without("anthropic-beta"),
        replaced("user-agent", "claude-cli/2.1.328"),
        replaced("user-agent", "my claude-cli/2.1.328 (external, cli)"),
        replaced("user-agent", "claude-code/2.1.328 (external, cli)"),
        replaced("x-app", "mine"),
        replaced("anthropic-beta", "oauth-2025-04-20"),
        replaced("anthropic-beta", "claude-code-20250219x"),
    ],
)
def test_one_mark_that_is_missing_makes_it_another_client(headers):
    assert not is_genuine(asked(genuine_body(), headers))


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {"user_id": None},
        {"user_id": "me"},
        {"user_id": "{}"},
        {"user_id": "{"},
        {"user_id": "[]"},
        {"user_id": json.dumps({**DEVICE, "device_id": "ab"})},
        {"user_id": json.dumps({**DEVICE, "session_id": 5})},
        {"user_id": json.dumps({**DEVICE, "account_uuid": 5})},
        {"user_id": json.dumps({**DEVICE, "account_uuid": "me"})},
        5,
    ],
)
def test_a_body_without_claude_codes_own_user_id_is_another_clients(metadata):
    assert not is_genuine(asked(genuine_body(metadata=metadata), GENUINE))


def test_a_count_is_genuine_without_a_user_id():
    call = asked(body(), GENUINE, "count_tokens", "/v1/messages/count_tokens?beta=true")
    shaped = shape(call)
    assert shaped.body is call.body
    assert ("x-app", "cli") in shaped.headers


# Other clients: betas, agent, path


def test_other_clients_get_betas_agent_and_nothing_of_their_own_head():
    headers = (
        ("User-Agent", "my-agent/1"),
        ("anthropic-beta", "structured-outputs-2025-11-13, oauth-2025-04-20"),
        ("Anthropic-Beta", "context-1m-2025-08-07"),
        ("x-stainless-lang", "python"),
        ("x-api-key", "dummy"),
    )
    shaped = shape(asked(body(), headers))
    assert shaped.headers == (
        (
            "anthropic-beta",
            "claude-code-20250219,oauth-2025-04-20,structured-outputs-2025-11-13,"
            "context-1m-2025-08-07",
        ),
        ("user-agent", profile.USER_AGENT),
        ("x-app", "cli"),
    )


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/v1/messages", "/v1/messages?beta=true"),
        ("/v1/messages?beta=true", "/v1/messages?beta=true"),
        ("/v1/messages?x=1", "/v1/messages?x=1&beta=true"),
        ("/v1/messages?x=1&beta=true", "/v1/messages?x=1&beta=true"),
        ("/v1/messages/count_tokens", "/v1/messages/count_tokens?beta=true"),
    ],
)
def test_the_path_says_beta_once(path, sent):
    assert shape(asked(body(), path=path)).path == sent


@pytest.mark.parametrize("betas", [["b-1", "oauth-2025-04-20", 5], "b-1, oauth-2025-04-20"])
def test_betas_of_a_body_move_into_the_head(betas):
    sent, shaped = fitted(body(betas=betas))
    assert "betas" not in sent
    assert dict(shaped.headers)["anthropic-beta"] == "claude-code-20250219,oauth-2025-04-20,b-1"


def test_nothing_else_is_made_up():
    sent, _ = fitted(body(temperature=0.5, metadata={"user_id": "me"}))
    assert sent.pop("system") == [PREAMBLE]
    assert sent == body(temperature=0.5, metadata={"user_id": "me"})


def test_a_count_is_of_the_callers_own_text():
    call = asked(body(tools=[{"name": "a", "input_schema": SCHEMA}]), (), "count_tokens")
    shaped = shape(call)
    assert shaped.body is call.body
    assert dict(shaped.names) == {}


# Other clients: the preamble


def text(said, **more):
    return {"type": "text", "text": said, **more}


MARK = {"cache_control": {"type": "ephemeral"}}


@pytest.mark.parametrize(
    ("system", "sent"),
    [
        (None, [PREAMBLE]),
        ("", [PREAMBLE]),
        ([], [PREAMBLE]),
        (PREAMBLE["text"], [PREAMBLE]),
        ("Be kind.", [PREAMBLE, text("Be kind.")]),
        (f"{PREAMBLE['text']} Be kind.", [PREAMBLE, text(f"{PREAMBLE['text']} Be kind.")]),
        ([text("Be kind.", **MARK)], [PREAMBLE, text("Be kind.", **MARK)]),
        ([PREAMBLE], [PREAMBLE]),
        ([{**PREAMBLE, **MARK}, text("x")], [{**PREAMBLE, **MARK}, text("x")]),
        (
            [text(f"{PREAMBLE['text']}\n\nBe kind."), text("x")],
            [text(f"{PREAMBLE['text']}\n\nBe kind."), text("x")],
        ),
        (
            [text("x-anthropic-billing-header: a"), PREAMBLE],
            [text("x-anthropic-billing-header: a"), PREAMBLE],
        ),
        ([text("x"), PREAMBLE], [PREAMBLE, text("x"), PREAMBLE]),
        (5, 5),
        ({"a": 1}, {"a": 1}),
    ],
)
def test_the_preamble_is_the_first_block_once(system, sent):
    assert fitted(body(system=system))[0]["system"] == sent


@pytest.mark.parametrize("system", ["Be kind.", [text("x", **MARK)], None])
def test_shaping_twice_is_shaping_once(system):
    tools = [{"name": "get", "input_schema": SCHEMA}]
    once = shape(asked(body(system=system, tools=tools)))
    twice = shape(asked(once.body))
    assert twice.body is once.body
    assert dict(twice.names) == {}


def test_four_cache_marks_stay_where_they_are_with_their_bytes():
    blocks = b",".join(
        b'{"type": "text",  "text":"\\u00e9 %d", "cache_control" :{"type":"ephemeral","ttl":"1h"}}'
        % n
        for n in range(4)
    )
    raw = b'{ "model":"m", "system" : [' + blocks + b'], "max_tokens": 1.0, "messages":[]}'
    sent = shape(asked(raw)).body
    assert blocks in sent
    assert sent.count(b"cache_control") == 4
    assert b'"max_tokens":1.0' in sent


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"a":1,"a":2}', b"\xff"])
def test_a_body_that_is_no_object_is_refused(raw):
    with pytest.raises(RequestError):
        shape(asked(raw))


# Other clients: names of tools


def tool(name, **more):
    return {"name": name, "input_schema": SCHEMA, **more}


def call_of(name, number=1):
    return {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": {"name": name}}


def test_names_change_everywhere_and_come_back():
    history = [
        {"role": "user", "content": "use it"},
        {
            "role": "assistant",
            "content": [text('say "tool_use"'), call_of("get"), call_of("old", 2)],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "get"},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "old"},
            ],
        },
    ]
    sent, shaped = fitted(
        body(
            messages=history,
            tools=[tool("get", cache_control={"type": "ephemeral"}), tool("mcp_own")],
            tool_choice={"type": "tool", "name": "get", "disable_parallel_tool_use": True},
        )
    )
    assert dict(shaped.names) == {"mcp_get": "get", "mcp_old": "old"}
    assert [t["name"] for t in sent["tools"]] == ["mcp_get", "mcp_own"]
    assert sent["tools"][0]["cache_control"] == {"type": "ephemeral"}
    assert sent["tool_choice"]["name"] == "mcp_get"
    assert sent["tool_choice"]["disable_parallel_tool_use"] is True
    said = sent["messages"][1]["content"]
    assert [block.get("name") for block in said] == [None, "mcp_get", "mcp_old"]
    assert said[1]["input"] == {"name": "get"}
    assert sent["messages"][0] == history[0]
    assert sent["messages"][2] == history[2]


def test_names_that_meet_are_told_apart():
    names = ["get", "mcp_get", "mcp_get_2", "Get"]
    sent, shaped = fitted(body(tools=[tool(name) for name in names]))
    there = [t["name"] for t in sent["tools"]]
    assert there == ["mcp_get_3", "mcp_get", "mcp_get_2", "mcp_Get"]
    assert dict(shaped.names) == {"mcp_get_3": "get", "mcp_Get": "Get"}


def test_server_tools_and_their_calls_keep_their_names():
    tools = [
        {"type": "web_search_20250305", "name": "web_search"},
        {"type": "bash_20250124", "name": "bash"},
        tool("get", type="custom"),
        {"type": "mcp_toolset", "mcp_server_name": "x"},
    ]
    history = [
        {
            "role": "assistant",
            "content": [
                call_of("bash"),
                {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
            ],
        }
    ]
    sent, shaped = fitted(
        body(tools=tools, messages=history, tool_choice={"type": "tool", "name": "bash"})
    )
    assert sent["tools"][:2] == tools[:2]
    assert sent["tools"][2]["name"] == "mcp_get"
    assert sent["tools"][3] == tools[3]
    assert sent["messages"] == history
    assert sent["tool_choice"]["name"] == "bash"
    assert dict(shaped.names) == {"mcp_get": "get"}


def test_references_of_a_tool_search_follow_the_names():
    found = {
        "type": "tool_search_tool_result",
        "tool_use_id": "s1",
        "content": {
            "type": "tool_search_tool_search_result",
            "tool_references": [
                {"type": "tool_reference", "tool_name": "get"},
                {"type": "tool_reference", "tool_name": "mcp_own"},
            ],
        },
    }
    sent, _ = fitted(
        body(
            tools=[tool("get", defer_loading=True), tool("mcp_own")],
            messages=[{"role": "assistant", "content": [found]}],
        )
    )
    references = sent["messages"][0]["content"][0]["content"]["tool_references"]
    assert [r["tool_name"] for r in references] == ["mcp_get", "mcp_own"]


@pytest.mark.parametrize(
    "choice", [{"type": "auto"}, {"type": "any"}, "auto", None, {"type": "tool"}]
)
def test_choices_without_a_name_stay(choice):
    assert fitted(body(tools=[tool("get")], tool_choice=choice))[0]["tool_choice"] == choice


@pytest.mark.parametrize(
    "odd",
    [
        {"tools": 5},
        {"tools": [5, {"name": 5}, None]},
        {"messages": 5},
        {"messages": ["tool_use", {"role": "assistant", "content": '"tool_use"'}]},
        {"messages": [{"role": "assistant", "content": ["tool_use", {"type": "tool_use"}]}]},
    ],
)
def test_what_is_of_another_type_is_left_for_the_service_to_refuse(odd):
    sent, _ = fitted(body(**odd))
    assert {key: sent[key] for key in odd} == odd


NAMES = st.lists(
    st.one_of(
        st.from_regex(r"[a-zA-Z0-9_-]{1,8}", fullmatch=True),
        st.sampled_from(["a", "mcp_a", "mcp_a_2", "mcp_mcp_a", "x" * 124, "x" * 125, "x" * 128]),
    ),
    unique=True,
    max_size=8,
)


@given(NAMES)
def test_every_name_is_sent_once_in_a_form_that_is_taken_and_comes_back(names):
    sent, shaped = fitted(body(tools=[tool(name) for name in names]))
    there = [t["name"] for t in sent["tools"]]
    assert len(set(there)) == len(there)
    assert all(re.fullmatch(r"mcp_[a-zA-Z0-9_-]{0,124}", name) for name in there)
    assert [shaped.names.get(name, name) for name in there] == names


def test_a_signed_thought_keeps_its_bytes_beside_a_renamed_call():
    thought = b'{"type":"thinking", "thinking":"h\\u00e9", "signature": "Ev=="}'
    call = json.dumps(call_of("get")).encode()
    raw = (
        b'{"model":"m","messages":[{"role":"assistant","content":['
        + thought
        + b","
        + call
        + b"]}]}"
    )
    assert thought in shape(asked(raw)).body


# Against the strict service


async def ask(given, headers=(), **more):
    """Send a call through the provider to a strict fake; returns answer, names and what arrived."""
    clock = Clock(NOW)
    identity = ClaudeIdentity(clock)
    async with (
        Upstream(identity, ClaudeOAuth(identity)) as fake,
        driving(claude_at(fake.url), clock) as drive,
    ):
        held = identity.grant()
        credential = Credential(held.access, "oauth")
        path = more.pop("path", "/v1/messages")
        shaped, reply = await drive.call(
            "claude-sonnet-5", given, headers=headers, path=path, credential=credential, **more
        )
        return json.loads(reply.body), shaped, fake.requests[-1]


async def test_the_service_takes_a_dressed_call_with_tools():
    said = 'FAKE:tool=mcp_weather:{"city":"Rome"};'
    answer, shaped, call = await ask(
        body(
            system="Be kind.",
            tools=[tool("weather"), {"type": "web_search_20250305", "name": "web_search"}],
            messages=[{"role": "user", "content": said}],
        )
    )
    assert answer.get("type") == "message", answer
    names = [b["name"] for b in answer["content"] if b["type"] == "tool_use"]
    assert [shaped.names[name] for name in names] == ["weather"]
    assert call.query == {"beta": "true"}
    assert "x-api-key" not in call.headers


async def test_the_service_takes_genuine_claude_code():
    given = json.dumps(genuine_body()).encode()
    answer, _, call = await ask(given, GENUINE, path="/v1/messages?beta=true")
    assert answer.get("type") == "message", answer
    assert call.body == given
    assert "x-api-key" not in call.headers
    assert "cookie" not in call.headers


async def test_the_service_counts():
    answer, _, _ = await ask(
        {"model": "claude-sonnet-5", "messages": body()["messages"], "system": "x"},
        operation="count_tokens",
        path="/v1/messages/count_tokens",
    )
    assert answer["input_tokens"] > 0


async def test_the_fake_refuses_what_lacks_an_addition():
    clock = Clock(NOW)
    identity = ClaudeIdentity(clock)
    provider = claude_at("http://unused.test")
    shaped = shape(asked(body(system="x", tools=[tool("get")])))
    fields = dict(shaped.headers) | {"anthropic-version": "2023-06-01"}
    fields |= {"content-type": "application/json"}
    assert provider.base_url == "http://unused.test"
    async with Upstream(identity, ClaudeOAuth(identity)) as fake, driving(provider) as drive:
        fields["authorization"] = f"Bearer {identity.grant().access}"

        async def status(headers, raw=shaped.body):
            request = HttpRequest("POST", f"{fake.url}/v1/messages", tuple(headers.items()), raw)
            reply = await drive.client.fetch(request, Limits())
            return reply.status, json.loads(reply.body).get("error", {}).get("message")

        assert await status(fields) == (200, None)
        for name in ("user-agent", "x-app"):
            missing = {key: value for key, value in fields.items() if key != name}
            assert await status(missing) == (400, ONLY_CLAUDE_CODE)
        assert await status(fields | {"anthropic-beta": "claude-code-20250219"}) == (
            401,
            "OAuth authentication is currently not supported.",
        )
        assert (await status(fields | {"x-api-key": "k"}))[0] == 401
        for given in (
            body(),
            body(system=PREAMBLE["text"]),
            body(system=[PREAMBLE], tools=[tool("get")]),
        ):
            assert await status(fields, json.dumps(given).encode()) == (400, ONLY_CLAUDE_CODE)
