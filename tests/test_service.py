"""The whole program: starts, swaps its settings, finds models, tells its state, stops."""

import asyncio
import contextlib
import json
import logging
import stat
import time

import pytest

from app import log, service
from app.accounts.account import Account
from app.accounts.pace import SUBSCRIPTION, Pace
from app.errors import AppError, ConfigError
from app.help import without_address
from app.providers import PROVIDERS
from app.providers.quota import Quota, QuotaWindow
from app.service import new_id
from tests.gateway.scripted import CHAT_END, CHAT_START, chat_chunk, chat_whole
from tests.server.running import (
    CHAT,
    SAY,
    STREAM_HEAD,
    Upstream,
    answering,
    build,
    chunk,
    holding,
    read_reply,
    running,
    whole,
)

BEGUN = STREAM_HEAD + chunk(CHAT_START + chat_chunk({"content": "a"}))
DONE = chunk(CHAT_END) + b"0\r\n\r\n"
ASK = SAY | {"model": "m"}
HELLO = answering(whole(chat_whole()))


def rewrite(server, text):
    """Replace the settings' file as editors do: at once, by a rename."""
    path = server.service.located.path
    new = path.with_name("new.yaml")
    new.write_text(text)
    new.chmod(0o600)
    new.replace(path)


@contextlib.asynccontextmanager
async def unwatched(home, settings, **options):
    """A program whose settings are read again only when a test says so."""
    async with running(home, settings, **options) as server:
        server.service._watcher.close()
        yield server


async def config_of(server):
    return (await server.get("/v1/health")).json["config"]


async def read_rest(reader):
    """Read a chunked answer up to its last chunk."""
    return await reader.readuntil(b"\r\n0\r\n\r\n")


def finishing(event):
    """A stream that ends when ``event`` is set."""

    async def answer(writer, _body):
        writer.write(BEGUN)
        await event.wait()
        writer.write(DONE)
        await writer.drain()

    return answer


# Settings


async def test_valid_change_is_swapped_in_whole(tmp_path):
    async with Upstream(HELLO) as old, Upstream(HELLO) as new:
        async with unwatched(tmp_path, old.settings()) as server:
            assert (await server.post(CHAT, ASK)).status == 200
            more = (
                "models: {aliases: {fast: n}}\nadvanced: {max_body_mb: 1}\n"
                "upstream: {total_timeout_s: 7}\naccess: {keyless: never}\n"
            )
            rewrite(server, new.settings(models="[n]", more=more))
            assert await server.service.reload() == {"changed": True, "problems": []}
            _, key = await server.key(label="k")
            assert (await server.post(CHAT, ASK)).status == 401
            headers = {"x-api-key": key}
            assert (await server.post(CHAT, ASK | {"model": "fast"}, headers)).status == 200
            assert (await server.post(CHAT, b" " * (1024 * 1024 + 1), headers)).status == 413
            assert server.service.gateway.limits.total_s == 7
        assert (len(old.requests), len(new.requests)) == (1, 1)
        assert json.loads(new.requests[0][1])["model"] == "n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("server: [", "config.yaml:"),
        ("sever: {port: 1}\n", "server"),
        ("server: {port: lots}\n", "server.port"),
        ("models: {patterns: [{match: 'x', provider: nobody}]}\n", "nobody"),
        (
            "providers:\n  openai:\n    accounts:\n"
            "      - {label: a, api_key: x}\n      - {label: a, api_key: y}\n",
            "another account",
        ),
    ],
)
async def test_wrong_change_keeps_the_old_and_says_so(tmp_path, caplog, text, words):
    async with Upstream(HELLO) as up, unwatched(tmp_path, up.settings()) as server:
        before = server.service.config
        told = []
        server.service.subscribe(lambda: told.append(server.service.overview.status().problems))
        rewrite(server, text)
        answer = await server.service.reload()
        assert answer["changed"] is False
        assert told == [tuple(answer["problems"])]
        assert words in "\n".join(answer["problems"])
        assert server.service.config is before
        assert (await config_of(server))["problems"] == answer["problems"]
        assert "the settings are refused" in caplog.text
        assert (await server.post(CHAT, ASK)).status == 200
        rewrite(server, up.settings())
        assert await server.service.reload() == {"changed": False, "problems": []}
        assert told[-1] == ()
        assert (await config_of(server))["problems"] == []


async def test_all_faults_of_a_wrong_change_are_told_at_once(tmp_path):
    async with unwatched(tmp_path, "") as server:
        rewrite(server, "sever: {}\nlogging: {level: loud}\nadvanced: {max_body_mb: 0}\n")
        assert len((await server.service.reload())["problems"]) == 3


async def test_change_of_the_file_is_heard_without_being_asked(tmp_path):
    async with running(tmp_path, "models: {aliases: {one: demo-chat}}\n") as server:
        heard = asyncio.Event()
        reload = server.service.reload

        async def listening():
            answer = await reload()
            heard.set()
            return answer

        server.service._watcher._on_change = lambda: asyncio.ensure_future(listening())
        rewrite(server, "models: {aliases: {two: demo-chat}}\n")
        await asyncio.wait_for(heard.wait(), 10)
        assert (await server.post(CHAT, SAY | {"model": "two"})).status == 200
        assert (await server.post(CHAT, SAY | {"model": "one"})).status == 404


async def test_file_that_is_gone_means_the_defaults(tmp_path):
    async with Upstream(HELLO) as up, unwatched(tmp_path, up.settings()) as server:
        server.service.located.path.unlink()
        assert (await server.service.reload())["changed"] is True
        ids = [model["id"] for model in (await server.get("/v1/models")).json["data"]]
        assert "demo-chat" in ids
        assert "m" not in ids


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("server: {port: 9999}\n", "server holds from the next start"),
        ("database: {url: 'postgresql+psycopg://a@b/c'}\n", "database holds from the next start"),
    ],
)
async def test_change_that_needs_a_start_is_noted(tmp_path, text, note):
    async with unwatched(tmp_path, "logging: {level: info}\n") as server:
        rewrite(server, text)
        assert await server.service.reload() == {"changed": True, "problems": [note]}
        assert (await server.get("/healthz")).status == 200


async def test_change_of_the_log_level_holds_at_once(tmp_path):
    root = logging.getLogger()
    before = root.level
    try:
        async with unwatched(tmp_path, "logging: {level: info}\n") as server:
            rewrite(server, "logging: {level: debug}\n")
            await server.service.reload()
            await server.post(CHAT, SAY)
            assert "demo-chat" in server.service.paths.log_file.read_text()
    finally:
        log.setup()()
        root.setLevel(before)
        logging.captureWarnings(False)


async def test_pause_of_an_account_outlives_a_change(tmp_path):
    busy = whole(b'{"error":{"message":"slow down"}}', 429).replace(
        b"\r\n", b"\r\nRetry-After: 60\r\n", 1
    )
    async with Upstream(answering(busy)) as up, unwatched(tmp_path, up.settings()) as server:
        assert (await server.post(CHAT, ASK)).status == 429
        rewrite(server, up.settings(more="models: {aliases: {x: m}}\n"))
        await server.service.reload()
        reply = await server.post(CHAT, ASK)
        assert reply.status == 429
        assert 50 <= int(reply.header("retry-after")) <= 60
        assert len(up.requests) == 1


async def test_stream_goes_on_over_a_change_of_the_upstream_settings(tmp_path):
    finish = asyncio.Event()
    async with Upstream(finishing(finish)) as up, unwatched(tmp_path, up.settings()) as server:
        former = server.service.client
        async with server.dial() as (reader, writer):
            writer.write(server.render("POST", CHAT, ASK | {"stream": True}))
            await asyncio.wait_for(reader.readuntil(b'"content"'), 5)
            rewrite(server, up.settings(more="upstream: {connect_timeout_s: 3}\n"))
            assert (await server.service.reload())["changed"] is True
            assert server.service.client is not former
            finish.set()
            await asyncio.wait_for(reader.readuntil(b"[DONE]"), 5)


async def test_answer_over_former_connections_has_its_time_too(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(service, "_RETIRED_S", 0.05)
    async with Upstream(holding(BEGUN)) as up, unwatched(tmp_path, up.settings()) as server:
        async with server.dial() as (reader, writer):
            writer.write(server.render("POST", CHAT, ASK | {"stream": True}))
            await asyncio.wait_for(reader.readuntil(b'"content"'), 5)
            rewrite(server, up.settings(more="upstream: {connect_timeout_s: 3}\n"))
            await server.service.reload()
            rest = await asyncio.wait_for(read_rest(reader), 5)
            assert b'"error"' in rest  # told in the stream, which ends as streams do
        assert "answers from before the settings changed are cut off" in caplog.text


async def test_limit_of_bodies_may_be_raised_beyond_twice_the_old_one(tmp_path):
    async with unwatched(tmp_path, "advanced: {max_body_mb: 1}\n") as server:
        raw = json.dumps(SAY).encode() + b" " * (3 * 1024 * 1024)
        assert (await server.post(CHAT, raw)).status == 413
        rewrite(server, "advanced: {max_body_mb: 4}\n")
        await server.service.reload()
        assert (await server.post(CHAT, raw)).status == 200


# The start


async def test_name_that_is_unknown_ends_the_start(tmp_path):
    built = build(tmp_path, "models: {patterns: [{match: 'x', provider: nobody}]}\n")
    with pytest.raises(ConfigError, match="nobody"):
        await built.start()
    await built.close()
    async with running(tmp_path, "server: {port: 8317}\n") as server:  # nothing is held
        assert (await server.get("/healthz")).status == 200


async def test_port_in_use_names_the_key_to_change(tmp_path):
    async with running(tmp_path / "one") as server:
        built = build(tmp_path / "two", f"server: {{port: {server.port}}}\n")
        built.options = type(built.options)()
        with pytest.raises(ConfigError, match="already in use") as caught:
            await built.start()
        await built.close()
        assert caught.value.code == "port_in_use"
        assert caught.value.problems[0].key == "server.port"
        assert "server: {port" in caught.value.hint or "dragoman stop" in caught.value.hint
        assert not (tmp_path / "two" / "instance.json").exists()
        assert (await server.get("/healthz")).status == 200


async def test_second_instance_on_a_data_folder_is_refused(tmp_path):
    async with running(tmp_path):
        with pytest.raises(AppError, match="already runs") as caught:
            build(tmp_path)
        assert caught.value.code == "already_running"


async def test_address_of_other_machines_needs_a_key_first(tmp_path):
    built = build(tmp_path, "server: {host: 0.0.0.0}\n")
    with pytest.raises(AppError, match="there is no key yet") as caught:
        await built.start()
    await built.close()
    assert caught.value.code == "keys_required"
    async with running(tmp_path, "server: {host: loopback}\n") as server:
        _, key = await server.key(label="remote")
    async with running(tmp_path, "server: {host: 0.0.0.0}\n") as server:
        assert (await server.post(CHAT, SAY, {"x-api-key": key})).status == 200


async def test_instance_tells_others_where_it_is_in_private(tmp_path):
    async with running(tmp_path) as server:
        file = server.service.paths.runtime / "instance.json"
        record = json.loads(file.read_text())
        assert (record["port"], record["token"]) == (server.port, server.service.instance.token)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not file.exists()


async def test_store_that_cannot_be_opened_leaves_keyless_calls_working(tmp_path, caplog):
    built = build(tmp_path)
    (built.paths.data / "dragoman.db").mkdir(parents=True)
    try:
        await built.start()
        await asyncio.wait_for(built.store.done.wait(), 5)
        with pytest.raises(AppError) as caught:
            await built.list_keys()
        assert (caught.value.status, caught.value.code) == (503, "store_unavailable")
        assert "keys cannot be used" in caplog.text
    finally:
        await built.close()


def test_ids_have_their_prefix_and_do_not_repeat():
    ids = {new_id("req_") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(i.startswith("req_") and len(i) == 28 and i[4:].isalnum() for i in ids)


# Models and accounts


async def serve_lists(lists):
    """A server of model lists: each connection gets the next of ``lists``."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        answer = lists.pop(0) if len(lists) > 1 else lists[0]
        writer.write(answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        await writer.drain()
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


@contextlib.asynccontextmanager
async def listing(home, *lists):
    """A program with one account whose models are read from ``lists``."""
    source = await serve_lists(list(lists))
    port = source.sockets[0].getsockname()[1]
    settings = (
        "providers:\n  fake:\n    kind: compatible\n    dialect: openai_chat\n"
        f"    base_url: http://127.0.0.1:{port}/v1\n    api_key: sk-fake\n"
    )
    try:
        async with unwatched(home, settings) as server:
            yield server
    finally:
        source.close()
        await source.wait_closed()


def named(*names):
    return whole(json.dumps({"data": [{"id": name} for name in names]}).encode())


async def account_of(server):
    body = (await server.get("/v1/health")).json
    return next(p for p in body["providers"] if p["id"] == "fake")["accounts"][0]


async def test_models_of_a_service_are_discovered_and_listed(tmp_path):
    async with listing(tmp_path, named("x-1", "org/x-2")) as server:
        await server.service.discover()
        ids = [model["id"] for model in (await server.get("/v1/models")).json["data"]]
        assert ids == ["x-1", "org/x-2"]
        assert (await account_of(server))["models"] == 2


async def test_list_that_cannot_be_read_is_told_until_it_can(tmp_path, caplog):
    refused = whole(b'{"error":{"message":"who are you"}}', 401)
    async with listing(tmp_path, refused) as server:
        await server.service.discover()
        account = await account_of(server)
        assert "who are you" in account["reason"]
        assert "are not known" in caplog.text
        text = server.service.located.path.read_text()
        rewrite(server, text + "    models: [m]\n")
        await server.service.reload()
        assert (await account_of(server))["reason"] == ""
    async with listing(tmp_path / "2", refused, refused, named("x")) as server:
        while (await account_of(server))["models"] == 0:
            await server.service.discover()
        assert (await account_of(server))["reason"] == ""


@pytest.mark.parametrize("form", ["proxy", "upstream"])
async def test_proxy_of_an_account_carries_its_calls_and_its_model_list(tmp_path, form):
    seen = []

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        line = head.split(b"\r\n")[0].decode()
        seen.append(line)
        body = chat_whole() if line.startswith("POST") else b'{"data":[{"id":"m"}]}'
        writer.write(whole(body).replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        await writer.drain()
        writer.close()

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    settings = (
        "providers:\n  fake:\n    kind: compatible\n    dialect: openai_chat\n"
        "    base_url: http://upstream.test/v1\n    insecure_http: true\n    api_key: sk-fake\n"
    )
    if form == "proxy":
        settings += f"    proxy: {url}\n"
    else:
        settings += f"upstream: {{proxy: '{url}'}}\n"
    try:
        async with running(tmp_path, settings) as server:
            await server.service.discover()
            reply = await server.post(CHAT, ASK)
            assert reply.status == 200, reply.body
    finally:
        proxy.close()
        await proxy.wait_closed()
    assert seen[0] == "GET http://upstream.test/v1/models HTTP/1.1"
    assert seen[-1] == "POST http://upstream.test/v1/chat/completions HTTP/1.1"


async def test_program_never_calls_itself(tmp_path):
    async with unwatched(tmp_path, "") as server:
        rewrite(
            server,
            "providers:\n  fake:\n    kind: compatible\n    dialect: openai_chat\n"
            f"    base_url: http://localhost:{server.port}/v1\n    api_key: k\n    models: [m]\n",
        )
        await server.service.reload()
        reply = await server.post(CHAT, ASK)
        assert reply.status >= 500
        assert server.service.served == 1


async def test_model_of_two_accounts_is_listed_once_with_both(tmp_path):
    settings = (
        "providers:\n  openai:\n    accounts:\n"
        "      - {label: work, api_key: x, models: [a]}\n"
        "      - {label: home, api_key: y, models: [a, b]}\n"
    )
    async with running(tmp_path, settings) as server:
        rows = (await server.get("/v1/models")).json["data"]
        assert [row["id"] for row in rows] == ["a", "b"]
        assert rows[0]["x_dragoman"] == {"accounts": ["work", "home"]}


@pytest.mark.parametrize(
    ("settings", "listed"),
    [
        ("", True),
        ("advanced: {demo: false}\n", False),
        ("providers: {openai: {api_key: sk-x, models: [m]}}\n", False),
        ("providers: {openai: {api_key: sk-x, models: [m], enabled: false}}\n", False),
    ],
)
async def test_demo_is_listed_only_while_there_is_no_account(tmp_path, settings, listed):
    async with running(tmp_path, settings) as server:
        ids = [model["id"] for model in (await server.get("/v1/models")).json["data"]]
        assert ("demo-chat" in ids) is listed
        reply = await server.post(CHAT, SAY)
        assert reply.status == (404 if "demo: false" in settings else 200)


# Accounts


async def test_pace_of_the_settings_is_in_force_and_follows_them(tmp_path):
    async with unwatched(tmp_path, "providers: {codex: {pace: {at_once: 2}}}\n") as server:
        pacer = server.service.gateway.pacer
        codex = Account("codex/a", PROVIDERS["codex"], "a", "https://codex.test")
        assert pacer.pace_of(codex) == Pace(2, SUBSCRIPTION.per_minute)
        rewrite(server, "providers: {codex: {pace: {per_minute: 5}}}\n")
        await server.service.reload()
        assert pacer.pace_of(codex) == Pace(SUBSCRIPTION.at_once, 5)
        rewrite(server, "{}\n")
        await server.service.reload()
        assert pacer.pace_of(codex) == SUBSCRIPTION


async def test_window_that_is_used_up_is_named_to_clients(tmp_path):
    settings = (
        "providers:\n  openai: {api_key: sk-literal, base_url: 'http://127.0.0.1:9', models: [m]}\n"
    )
    async with unwatched(tmp_path, settings) as server:
        service, now = server.service, time.time()
        spent = QuotaWindow("5h", 100.0, now + 7_200, exhausted=True)
        service.quotas.note("openai/openai-1", Quota((spent,), now, "headers"))
        service.roster.pause("openai/openai-1", None, 7_200, "No.", now)
        refused = await server.post(CHAT, SAY | {"model": "m"})
        assert refused.status == 429
        assert "openai-1: 5-hour window used up, back " in refused.json["error"]["message"]
        (account,) = (await server.get("/v1/health")).json["providers"][0]["accounts"]
        assert account["quota"]["left_percent"] == 0.0
        assert account["since"] == pytest.approx(now)


# Health


async def test_health_has_its_shape(tmp_path):
    settings = (
        "providers:\n  openai:\n    accounts:\n"
        "      - {label: work, api_key: '${NOT_THERE}', models: [a, b]}\n"
        "      - {label: home, api_key: sk-literal, models: [a], enabled: false}\n"
    )
    async with unwatched(tmp_path, settings) as server:
        await server.post(CHAT, SAY)
        await server.post(CHAT, SAY | {"model": "demo-error-500"})
        body = (await server.get("/v1/health")).json
        assert (body["status"], body["state"], body["keys"]) == ("ok", "running", "ready")
        assert body["address"] == f"http://localhost:{server.port}"
        assert body["uptime_s"] >= 0
        assert body["requests"] == {"running": 0, "served": 2, "failed": 1}
        openai, demo = body["providers"]
        assert (openai["id"], openai["title"]) == ("openai", "OpenAI API")
        work, home = openai["accounts"]
        told = {"id", "label", "state", "reason", "since", "until", "models"}
        assert work.keys() == told | {"quota", "warning", "configured"}
        assert (work["configured"], work["quota"], work["warning"]) == (True, None, "")
        assert (work["id"], work["state"], work["models"]) == ("openai/work", "unusable", 2)
        assert "NOT_THERE" in work["reason"]
        assert home["state"] == "disabled"
        assert demo["accounts"][0]["state"] == "ready"
        assert body["config"]["problems"] == []
        assert any("home" in warning or "api_key" in warning for warning in _texts(body))
        assert "sk-literal" not in json.dumps(body)


def _texts(body):
    return body["config"]["warnings"]


async def test_health_shows_a_pause_with_its_end(tmp_path):
    async with Upstream(HELLO) as up, running(tmp_path, up.settings()) as server:
        (fake, _demo) = server.service.roster.accounts()
        server.service.roster.pause(fake.id, None, 60.0, "slow down", time.time())
        account = await account_of(server)
        assert (account["state"], account["reason"]) == ("cooling", "slow down")
        assert 50 < account["until"] - time.time() <= 60


async def test_health_says_that_the_program_is_paused(tmp_path):
    async with running(tmp_path) as server:
        server.service.gateway.paused = "Gone fishing."
        body = (await server.get("/v1/health")).json
        assert (body["status"], body["state"]) == ("paused", "Gone fishing.")
        reply = await server.post(CHAT, SAY)
        said = without_address(reply.json["error"]["message"])
        assert (reply.status, said) == (503, "Gone fishing.")


# The end


async def test_stop_lets_running_answers_finish_and_takes_no_new_ones(tmp_path):
    finish = asyncio.Event()
    async with Upstream(finishing(finish)) as up, running(tmp_path, up.settings()) as server:
        ending = asyncio.ensure_future(server.service.run_until_stopped())
        async with server.dial() as (idle, asking), server.dial() as (reader, writer):
            asking.write(server.render("GET", "/healthz"))
            await read_reply(idle)
            writer.write(server.render("POST", CHAT, ASK | {"stream": True}))
            await asyncio.wait_for(reader.readuntil(b'"content"'), 5)
            server.service.stop()
            await asyncio.sleep(0)
            with pytest.raises(ConnectionError):
                await server.get("/healthz")
            asking.write(server.render("POST", CHAT, ASK))
            refused = await asyncio.wait_for(read_reply(idle), 5)
            assert refused.status == 503
            assert "stopping" in refused.json["error"]["message"]
            assert not ending.done()
            finish.set()
            rest = await asyncio.wait_for(reader.read(), 5)
            assert rest.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
            await asyncio.wait_for(ending, 5)


@pytest.mark.parametrize("begun", [b"", BEGUN])
async def test_stop_cuts_off_what_takes_too_long(tmp_path, caplog, begun):
    async with (
        Upstream(holding(begun)) as up,
        running(tmp_path, up.settings(), grace_s=0.05) as server,
        server.dial() as (reader, writer),
    ):
        writer.write(server.render("POST", CHAT, ASK | {"stream": True}))
        await asyncio.wait_for(up.reached.wait(), 5)
        began = time.monotonic()
        await asyncio.wait_for(server.service.close(), 5)
        assert time.monotonic() - began < 2
        await asyncio.wait_for(up.left.wait(), 1)
        assert not (await reader.read()).endswith(b"0\r\n\r\n")  # does not look complete
        assert "1 answers are cut off" in caplog.text
        assert server.service.inference.active == 0


async def test_closing_twice_does_no_harm(tmp_path):
    async with running(tmp_path) as server:
        await server.service.close()


def test_child_processes_get_no_variable_that_holds_a_secret(tmp_path):
    made = build(tmp_path, 'providers: {openai: {api_key: "${A_KEY}"}}\n')
    made.env = {"A_KEY": "sk-secret", "PATH": "/bin"}
    try:
        assert made._child_env() == {"PATH": "/bin"}
    finally:
        made.instance.release()
