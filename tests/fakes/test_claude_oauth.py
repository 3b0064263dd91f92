"""The Messages fake for subscription tokens; what it refuses is in the provider's tests, too."""

import json

import httpx
import pytest

from tests.fakes.basic import Clock
from tests.fakes.claude_oauth import ONLY_CLAUDE_CODE, PREAMBLE, ClaudeOAuth
from tests.fakes.identity import ClaudeIdentity
from tests.fakes.upstream import Upstream

BETAS = "claude-code-20250219,oauth-2025-04-20"
TEXT = {"type": "text", "text": PREAMBLE}


def body(**changes):
    return {
        "model": "claude-sonnet-5",
        "max_tokens": 10,
        "system": [TEXT],
        "messages": [{"role": "user", "content": "hi"}],
    } | changes


class Desk:
    def __init__(self):
        self.identity = ClaudeIdentity(Clock())
        self.service = ClaudeOAuth(self.identity)
        self.grant = self.identity.grant()

    async def post(self, given=None, path="/v1/messages?beta=true", **headers):
        """Post with a head that is right but for these fields; None leaves one out."""
        fields = {
            "authorization": f"Bearer {self.grant.access}",
            "anthropic-version": "2023-06-01",
            "anthropic-beta": BETAS,
            "user-agent": "claude-cli/2.1.328 (external, cli)",
            "x-app": "cli",
        } | {key.replace("_", "-"): value for key, value in headers.items()}
        # httpx has an agent of its own, which only an empty one takes off
        fields = {k: "" if v is None else v for k, v in fields.items()}
        async with Upstream(self.identity, self.service) as fake, httpx.AsyncClient() as http:
            return await http.post(f"{fake.url}{path}", json=given or body(), headers=fields)


def message(reply):
    return reply.json()["error"]["message"]


async def test_a_dressed_call_is_answered_with_the_windows():
    reply = await Desk().post()
    assert reply.status_code == 200, reply.text
    assert reply.headers["anthropic-ratelimit-unified-5h-utilization"] == "0.12"
    assert reply.headers["anthropic-ratelimit-unified-status"] == "allowed"


@pytest.mark.parametrize("field", ["user_agent", "x_app"])
async def test_a_call_that_is_not_claude_codes_is_refused(field):
    reply = await Desk().post(**{field: None})
    assert (reply.status_code, message(reply)) == (400, ONLY_CLAUDE_CODE)


@pytest.mark.parametrize(
    "given",
    [
        {"system": PREAMBLE},
        {"system": []},
        {"system": [{"type": "text", "text": "x"}, TEXT]},
        {"tools": [{"name": "get", "input_schema": {"type": "object"}}]},
        {
            "messages": [
                {"role": "user", "content": "x"},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "t", "name": "get", "input": {}}],
                },
            ]
        },
    ],
)
async def test_a_body_that_is_not_claude_codes_is_refused(given):
    reply = await Desk().post(body(**given))
    assert (reply.status_code, message(reply)) == (400, ONLY_CLAUDE_CODE)


@pytest.mark.parametrize("name", ["Bash", "mcp_get", "mcp__server__get"])
async def test_names_of_claude_code_and_of_its_servers_pass(name):
    tools = [{"name": name, "input_schema": {"type": "object"}}]
    assert (await Desk().post(body(tools=tools))).status_code == 200


async def test_genuine_claude_code_needs_no_dress():
    user = json.dumps({"device_id": "a" * 64, "account_uuid": "", "session_id": "s"})
    given = body(
        system=[{"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.328;"}],
        metadata={"user_id": user},
        tools=[{"name": "anything", "input_schema": {"type": "object"}}],
    )
    assert (await Desk().post(given)).status_code == 200


async def test_tokens_are_checked():
    desk = Desk()
    assert (await desk.post(x_api_key="k")).status_code == 401
    assert (await desk.post(anthropic_beta="claude-code-20250219")).status_code == 401
    desk.identity.now.advance(9 * 3600)
    expired = await desk.post()
    assert (expired.status_code, expired.json()["error"]["type"]) == (401, "authentication_error")
    assert "expired" in message(expired)


async def test_a_count_needs_the_head_alone():
    given = {k: v for k, v in body().items() if k in ("model", "messages")}
    reply = await Desk().post(given, "/v1/messages/count_tokens?beta=true")
    assert reply.json()["input_tokens"] > 0


async def test_a_spent_window_refuses_with_its_reset():
    desk = Desk()
    desk.service.windows["7d"] = (1.0, 500.0)
    reply = await desk.post()
    assert reply.status_code == 429
    assert reply.headers["anthropic-ratelimit-unified-7d-status"] == "rejected"
    assert float(reply.headers["anthropic-ratelimit-unified-reset"]) == desk.identity.now() + 500


async def test_a_policy_refusal_can_be_told():
    desk = Desk()
    desk.service.refuses = ONLY_CLAUDE_CODE
    reply = await desk.post()
    assert (reply.status_code, message(reply)) == (400, ONLY_CLAUDE_CODE)
