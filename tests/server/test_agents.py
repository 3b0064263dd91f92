import asyncio
import os
import sys

import pytest

from tests.server.running import Server, build

ORIGINAL = '{\n  "mine":   1,\n  "theme": "dark"\n}\n'


@pytest.fixture
def user(tmp_path):
    folder = tmp_path / "user"
    (folder / ".claude").mkdir(parents=True)
    (folder / ".claude" / "settings.json").write_text(ORIGINAL)
    (tmp_path / "bin").mkdir()
    return folder


class Site(Server):
    """The running program of a user, asked with the local token."""

    def __init__(self, service, user):
        super().__init__(service)
        self.user = user
        self.settings = user / ".claude" / "settings.json"
        self.local = {"Authorization": f"Bearer {service.instance.token}"}

    async def show(self):
        answer = await self.get("/admin/agents", self.local)
        assert answer.status == 200, answer.body
        return answer.json | {"agents": {agent["name"]: agent for agent in answer.json["agents"]}}

    async def ask_for(self, name, step, body=None, headers=None):
        headers = self.local if headers is None else headers
        return await self.post(f"/admin/agents/{name}/{step}", body or {}, headers)


class opened:
    """A site as an asynchronous context."""

    def __init__(self, tmp_path, user, settings=""):
        self.service = build(tmp_path / "home", settings)
        home = "USERPROFILE" if sys.platform == "win32" else "HOME"
        self.service.env = {
            **self.service.env,
            home: str(user),
            "PATH": str(tmp_path / "bin"),
        }
        self.user = user

    async def __aenter__(self):
        await self.service.start()
        return Site(self.service, self.user)

    async def __aexit__(self, *_):
        await self.service.close()


def stand_in(tmp_path, text="print('ready')", name="claude"):
    file = tmp_path / "bin" / name
    file.write_text(f"#!{sys.executable} -I\nimport os, sys\n{text}\n")
    file.chmod(0o755)


async def test_agents_are_shown_with_what_is_known_of_them(tmp_path, user):
    async with opened(tmp_path, user) as site:
        shown = await site.show()
        assert shown["address"] == f"http://127.0.0.1:{site.port}"
        assert "demo-chat" in shown["offered"]
        claude = shown["agents"]["claude"]
        assert (claude["installed"], claude["connected"], claude["state"]) == (
            True,
            False,
            "not connected",
        )
        assert shown["agents"]["cursor"]["steps"]
        assert str(site.port) in " ".join(shown["agents"]["cline"]["steps"])


async def test_the_exact_change_is_shown_and_only_that_is_made(tmp_path, user):
    async with opened(tmp_path, user) as site:
        plan = (await site.ask_for("claude", "plan", {"models": {"main": "demo-chat"}})).json
        (file,) = plan["files"]
        assert (file["path"], file["action"]) == (str(site.settings), "change")
        assert f'+    "ANTHROPIC_BASE_URL": "http://127.0.0.1:{site.port}"' in file["diff"]
        assert plan["limits"]
        assert site.settings.read_text() == ORIGINAL
        made = {"models": {"main": "demo-chat"}, "shown": plan["shown"]}
        assert (await site.ask_for("claude", "connect", made)).status == 200
        assert "demo-chat" in site.settings.read_text()
        claude = (await site.show())["agents"]["claude"]
        assert (claude["state"], claude["models"]) == ("connected", {"main": "demo-chat"})
        undo = (await site.ask_for("claude", "plan", {"undo": True})).json
        assert '-    "ANTHROPIC_BASE_URL"' in undo["files"][0]["diff"]
        answer = await site.ask_for("claude", "disconnect", {"shown": undo["shown"]})
        assert answer.json == {"agent": "claude", "connected": False}
        assert site.settings.read_text() == ORIGINAL


@pytest.mark.parametrize("change", ["file", "models", "digest"])
async def test_what_was_not_shown_is_not_written(tmp_path, user, change):
    async with opened(tmp_path, user) as site:
        plan = (await site.ask_for("claude", "plan", {"models": {"main": "a"}})).json
        models, shown = {"main": "a"}, plan["shown"]
        if change == "file":
            site.settings.write_text('{"theme": "light"}')
        elif change == "models":
            models = {"main": "b"}
        else:
            shown = "0" * 64
        before = site.settings.read_text()
        answer = await site.ask_for("claude", "connect", {"models": models, "shown": shown})
        assert (answer.status, answer.json["error"]["code"]) == (409, "file_changed")
        assert site.settings.read_text() == before


async def test_without_models_those_of_the_connection_are_kept(tmp_path, user):
    async with opened(tmp_path, user) as site:
        plan = (await site.ask_for("claude", "plan", {"models": {"main": "a"}})).json
        made = {"models": {"main": "a"}, "shown": plan["shown"]}
        assert (await site.ask_for("claude", "connect", made)).status == 200
        again = (await site.ask_for("claude", "plan")).json
        assert again["models"] == {"main": "a"}
        assert [file["diff"] for file in again["files"]] == [""]
        none = (await site.ask_for("claude", "plan", {"models": {}})).json
        assert '-    "ANTHROPIC_MODEL": "a"' in none["files"][0]["diff"]


async def test_drift_and_a_former_port_are_shown(tmp_path, user):
    async with opened(tmp_path, user) as site:
        plan = (await site.ask_for("claude", "plan")).json
        await site.ask_for("claude", "connect", {"shown": plan["shown"]})
        text = site.settings.read_text()
        site.settings.write_text(text.replace(f"127.0.0.1:{site.port}", "gateway.example"))
        claude = (await site.show())["agents"]["claude"]
        assert claude["drifted"]
        assert claude["files"][0]["places"] == ["env.ANTHROPIC_BASE_URL"]
        manifest = site.service.paths.data / "agents" / "manifest.json"
        manifest.write_text(manifest.read_text().replace(f":{site.port}", ":1"))
        assert (await site.show())["agents"]["claude"]["outdated"]


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 401), ({"Authorization": "Bearer nonsense"}, 401)]
)
@pytest.mark.parametrize("step", ["plan", "connect", "disconnect", "test"])
async def test_being_the_same_user_is_not_enough(tmp_path, user, step, headers, status):
    async with opened(tmp_path, user) as site:
        body = {"shown": "x"} if step.endswith("connect") else {}
        answer = await site.ask_for("claude", step, body, headers)
        assert answer.status == status
        assert (await site.get("/admin/agents", headers)).status == status
        assert site.settings.read_text() == ORIGINAL


async def test_a_key_for_models_may_not_and_the_dashboard_may(tmp_path, user):
    async with opened(tmp_path, user) as site:
        _, key = await site.key(label="x")
        answer = await site.get("/admin/agents", {"Authorization": f"Bearer {key}"})
        assert answer.status == 403
        session = site.service.sessions.redeem(site.service.sessions.new_ticket())
        answer = await site.get("/admin/agents", {"Authorization": f"Bearer {session}"})
        assert answer.status == 200


@pytest.mark.parametrize(
    ("name", "step", "body", "status", "code"),
    [
        ("nonsense", "plan", {}, 400, "unknown_agent"),
        ("cursor", "plan", {}, 400, "by_hand"),
        ("zed", "plan", {}, 400, "model_needed"),
        ("codex", "plan", {"models": {"large": "x"}}, 400, "unknown_role"),
        ("claude", "plan", {"undo": True}, 400, "not_connected"),
        ("claude", "plan", {"wrong": 1}, 400, "invalid_json"),
        ("claude", "connect", {}, 400, "invalid_json"),
        ("codex", "test", {}, 400, "program_missing"),
        ("zed", "test", {"models": {"main": "m"}}, 400, "not_testable"),
    ],
)
async def test_what_cannot_be_done_is_said(tmp_path, user, name, step, body, status, code):
    async with opened(tmp_path, user) as site:
        answer = await site.ask_for(name, step, body)
        assert (answer.status, answer.json["error"]["code"]) == (status, code)


async def test_a_broken_file_is_left_alone_with_the_place(tmp_path, user):
    async with opened(tmp_path, user) as site:
        site.settings.write_text("{\n broken")
        answer = await site.ask_for("claude", "plan")
        assert answer.status >= 400
        assert "settings.json:2" in answer.json["error"]["message"]
        assert site.settings.read_text() == "{\n broken"


posix = pytest.mark.skipif(os.name != "posix", reason="stands in for agents with a script")


@posix
async def test_an_agent_is_tried_through_the_demo_and_its_model(tmp_path, user):
    async with opened(tmp_path, user) as site:
        stand_in(
            tmp_path,
            "import json, urllib.request\n"
            "env = json.load(open(os.environ['HOME'] + '/.claude/settings.json'))['env']\n"
            "ask = {'model': env['ANTHROPIC_MODEL'], 'max_tokens': 99, 'messages':\n"
            "       [{'role': 'user', 'content': sys.argv[2]}]}\n"
            "call = urllib.request.Request(env['ANTHROPIC_BASE_URL'] + '/v1/messages',\n"
            "    json.dumps(ask).encode(), {'x-api-key': 'k', 'anthropic-version': '2023-06-01'})\n"
            "opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))\n"
            "print(json.load(opener.open(call))['content'][0]['text'])",
        )
        await site.service.store.done.wait()
        answer = await site.ask_for("claude", "test", {"models": {"main": "demo-think"}})
        assert answer.status == 200, answer.body
        first, second = answer.json["findings"]
        assert (first["model"], first["verdict"]) == ("demo-chat", "ok"), first
        assert "Dragoman's demo understood: “Reply with the word: ready”" in first["answer"]
        assert "Dragoman saw 1 request in anthropic (200)" in first["text"]
        assert (second["model"], second["verdict"]) == ("demo-think", "failed"), second
        assert site.settings.read_text() == ORIGINAL


@posix
async def test_an_agent_that_cannot_start_is_a_finding(tmp_path, user):
    async with opened(tmp_path, user) as site:
        stand_in(tmp_path)
        (tmp_path / "bin" / "claude").write_text("#!/nowhere/at/all\n")
        answer = await site.ask_for("claude", "test", {"models": {"main": "demo-chat"}})
        (finding,) = answer.json["findings"]
        assert not answer.json["ok"]
        assert "cannot be started" in finding["text"]


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - another process makes it so
            await asyncio.sleep(0.02)


def is_there(pid):
    state = f"/proc/{pid}/stat"
    if not os.path.exists(state):
        return False
    with open(state) as file:
        return file.read().split()[2] != "Z"


@posix
@pytest.mark.parametrize("way", ["page", "program"])
async def test_a_test_ends_with_the_page_and_with_the_program(tmp_path, user, way):
    async with opened(tmp_path, user) as site:
        mark = tmp_path / "pid"
        stand_in(
            tmp_path,
            f"import time\nfile = open({str(mark)!r} + 'x', 'w')\n"
            f"file.write(str(os.getpid())); file.close()\n"
            f"os.rename({str(mark)!r} + 'x', {str(mark)!r})\ntime.sleep(100)",
        )
        async with site.dial() as (_, writer):
            body = b'{"models": {"main": "demo-chat"}}'
            writer.write(site.render("POST", "/admin/agents/claude/test", body, site.local))
            await until(mark.exists)
            if way == "program":
                await site.service.close()
        pid = int(mark.read_text())
        await until(lambda: not is_there(pid))


async def test_what_agents_need_is_loaded_with_the_first_question_about_them():
    code = "import sys, app.service; print([n for n in sys.modules if n.startswith('app.clients')])"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out.decode().strip() == "[]"
