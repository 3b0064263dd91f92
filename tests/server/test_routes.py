"""The routing part of the settings, edited over the control routes of the whole program."""

import json

import pytest

from tests.server.running import CHAT, SAY, running

SETTINGS = """\
# The house rules.
providers:
  local:
    kind: compatible
    dialect: openai_chat
    base_url: http://127.0.0.1:9/v1
    models: [m]
models:
  aliases: {fast: demo-chat}
  # in their order
  rules:
    # the first
    - name: cats   # never
      when: {header: {x-cat: "*"}}
      then: {reject: No cats.}
ledger: {retention_days: 30}
"""


async def control(server, method, path, body=b""):
    token = {"Authorization": f"Bearer {server.service.instance.token}"}
    return await server.ask(method, path, b"" if body is None else body, token)


async def put(server, text):
    return await control(server, "PUT", "/admin/routes", {"text": text})


async def check(server, text, question=None):
    return (
        await control(server, "POST", "/admin/routes/check", {"text": text, "question": question})
    ).json


async def test_the_text_is_the_routing_part_with_its_comments(tmp_path):
    async with running(tmp_path, SETTINGS) as server:
        found = (await control(server, "GET", "/admin/routes")).json
        assert found["path"] == str(server.service.located.path)
        assert (found["problems"], found["doubts"]) == ([], [])
        assert "# the first" in found["text"]
        assert "aliases: {fast: demo-chat}" in found["text"]
        assert "retention" not in found["text"]


async def test_what_is_saved_is_in_force_and_the_rest_of_the_file_stays(tmp_path):
    async with running(tmp_path, SETTINGS) as server:
        text = (await control(server, "GET", "/admin/routes")).json["text"]
        assert (await server.post(CHAT, SAY, {"x-cat": "a"})).status == 403
        done = await put(server, text.replace("No cats.", "Dogs only."))
        assert (done.status, done.json["faults"]) == (200, [])
        refused = await server.post(CHAT, SAY, {"x-cat": "a"})
        assert refused.json["error"]["message"] == "Dogs only."
        kept = server.service.located.path.read_text()
        assert kept.replace("Dogs only.", "No cats.") == SETTINGS
        assert (await put(server, "")).status == 200
        assert (await server.post(CHAT, SAY, {"x-cat": "a"})).status == 200
        assert "No cats" not in server.service.located.path.read_text()


FAULTS = {
    "rules:\n  - then: {model: [1]}\n": ("models.rules[0].then.model", 2),
    "rules:\n  - name: a\n    when: {rule: Nowhere}\n    then: {}\n": (
        "models.rules[0].when.rule",
        3,
    ),
    "aliases: {a: b}\naliases: {a: c}\n": ("aliases", 2),
    "chains: {a: [b], b: [a]}\n": ("models.chains", 1),
    "rules: [\n": ("", 2),
    "extensions: [own.py]\n": ("extensions", 0),
    "- a\n": ("", 0),
    "rules: [{then: {}}, {name: late, then: {model: m}}]\n": ("models.rules[1]", 1),
}


@pytest.mark.parametrize("text", FAULTS)
async def test_a_text_with_faults_is_not_written_and_each_has_its_line(tmp_path, text):
    key, line = FAULTS[text]
    async with running(tmp_path, SETTINGS) as server:
        answer = await put(server, text)
        assert answer.status == 422
        fault = answer.json["faults"][0]
        assert fault["key"].startswith(key)
        assert fault["line"] == line
        assert fault["message"]
        assert (await check(server, text))["faults"] == answer.json["faults"]
        assert server.service.located.path.read_text() == SETTINGS


async def test_a_question_is_answered_under_the_draft_not_the_rules_in_force(tmp_path):
    async with running(tmp_path, SETTINGS) as server:
        draft = "rules: [{name: mine, when: {model: x}, then: {model: m}}]"
        found = await check(server, draft, {"model": "x"})
        assert (found["faults"], found["trace"]["rule"]) == ([], "mine")
        assert found["trace"]["candidates"][0]["account"] == "local/local-1"
        in_force = await control(server, "POST", "/admin/route/explain", {"model": "x"})
        assert in_force.json["rule"] == ""
        wrong = await check(server, draft, {"tokens": "many"})
        assert (wrong["trace"], wrong["error"]) == (None, "tokens must be a whole number.")


async def test_what_may_be_meant_otherwise_is_a_doubt_and_saved_all_the_same(tmp_path):
    async with running(tmp_path, SETTINGS) as server:
        text = "rules: [{name: big, when: {model: a}, then: {model: openai/gpt-5}}]"
        done = await put(server, text)
        assert done.status == 200
        assert "no account of openai" in done.json["doubts"][0]
        health = (await control(server, "GET", "/v1/health")).json
        assert health["rules"] == {"count": 1, "extensions": []}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/admin/routes"), ("PUT", "/admin/routes"), ("POST", "/admin/routes/check")],
)
async def test_only_who_may_control_reads_and_writes(tmp_path, method, path):
    async with running(tmp_path, SETTINGS) as server:
        body = b"" if method == "GET" else {"text": ""}
        assert (await server.ask(method, path, body)).status == 401
        assert server.service.located.path.read_text() == SETTINGS


async def test_a_body_that_is_wrong_is_named(tmp_path):
    async with running(tmp_path, SETTINGS) as server:
        for body in ({"text": 1}, {"words": ""}, {"text": "x" * 200_001}):
            answer = await control(server, "PUT", "/admin/routes", body)
            assert answer.status in (400, 413)
            assert json.loads(answer.body)["error"]["message"]
