"""The status of a running program."""

from tests.server.running import CHAT, SAY, running

TWO = """
providers:
  one: {kind: compatible, dialect: openai_chat, base_url: "http://127.0.0.1:9", models: [m, n], api_key: sk-1}
models: {default: m, aliases: {fast: n}}
"""


async def test_a_fresh_program_has_the_demo(tmp_path):
    async with running(tmp_path) as server:
        status = server.service.overview.status()
        assert (status.state, status.demo, status.accounts) == ("running", True, ())
        assert status.address == f"http://localhost:{server.port}"
        assert {service.id for service in status.services} >= {"claude", "codex", "openai"}


async def test_accounts_models_and_default_are_told(tmp_path):
    async with running(tmp_path, TWO) as server:
        status = server.service.overview.status()
        assert [account.id for account in status.accounts] == ["one/one-1"]
        assert (status.default_model, status.demo) == ("m", False)
        assert {"m", "n", "fast"} <= {model.name for model in status.models}
        rows = {row["name"]: row for row in server.service.overview.models()}
        assert {"m", "n"} <= set(rows)


async def test_what_ran_is_remembered_for_the_dashboard(tmp_path):
    async with running(tmp_path) as server:
        assert (await server.post(CHAT, SAY)).status == 200
        (row,) = server.service.gateway.recent.rows()
        assert (row["state"], row["model"], row["status"]) == ("done", "demo-chat", 200)
        assert row["sent_bytes"] > 100


async def test_the_dashboard_is_opened_by_a_ticket_and_its_session_is_taken(tmp_path):
    async with running(tmp_path) as server:
        address = server.service.dashboard_address("models")
        page, _, rest = address.partition("#ticket=")
        assert page == f"http://localhost:{server.port}/admin"
        ticket, _, section = rest.partition("&show=")
        assert section == "models"
        assert (await server.get("/admin")).status == 200
        opened = await server.post("/admin/session", {"ticket": ticket})
        assert opened.status in (200, 201), opened.body
        headers = {"Authorization": f"Bearer {opened.json['token']}"}
        assert (await server.get("/admin/models", headers)).status == 200
        assert (await server.get("/admin/accounts", headers)).status == 200
        assert (await server.post("/admin/session", {"ticket": ticket})).status >= 400
