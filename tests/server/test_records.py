"""What is kept and told of requests, over the whole program."""

import asyncio
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.config import Config
from app.ledger.ledger import Ledger
from app.ledger.traces import Traces
from app.paths import asset
from app.server.records import Records
from tests.ledger.test_traces import Receiver
from tests.server.running import CHAT, SAY, running

FIXED = SAY | {"temperature": 0}


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


async def follow(server, settings):
    """Let other settings come into force, and wait until they are."""
    server.service.located.path.parent.mkdir(parents=True, exist_ok=True)
    server.service.located.path.write_text(settings)
    server.service.located.path.chmod(0o600)
    await server.service.reload()
    await server.service.records.follow()


async def warnings(server):
    return (await server.get("/v1/health")).json["config"]["warnings"]


async def test_each_request_becomes_a_trace_that_goes_on_from_the_callers(tmp_path, receiver):
    otlp = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    settings = f"traces: {{enabled: true, endpoint: '{receiver.url}'}}\n"
    parent = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    async with running(tmp_path, settings) as server:
        await server.service.records.follow()
        assert server.service.records.traces.on
        reply = await server.post(CHAT, SAY, parent)
        assert await warnings(server) == []
    ((path, _, body),) = receiver.calls  # sent at the stop, if not before
    assert path == "/v1/traces"
    spans = otlp.ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
    assert {span.name for span in spans} == {"chat demo-chat", "attempt 1"}
    assert {span.trace_id.hex() for span in spans} == {"0af7651916cd43dd8448eb211c80319c"}
    told = {one.key: one.value.string_value for span in spans for one in span.attributes}
    assert told["dragoman.request.id"] == reply.header("x-request-id")
    assert b"hi" not in {one.value.string_value for span in spans for one in span.attributes}


async def test_traces_begin_and_end_with_the_settings(tmp_path, receiver):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    async with running(tmp_path) as server:
        await server.service.records.follow()
        assert not server.service.records.traces.on
        await follow(server, f"traces: {{enabled: true, endpoint: '{receiver.url}'}}\n")
        assert server.service.records.traces.on
        await follow(server, "")
        assert not server.service.records.traces.on


async def test_a_missing_extra_is_a_warning_and_requests_go_on(tmp_path):
    def missing(_endpoint):
        raise ModuleNotFoundError("No module", name="opentelemetry.exporter")

    async with running(tmp_path, "traces: {enabled: true}\n") as server:
        records = server.service.records
        await asyncio.to_thread(records.traces.close)
        records.traces = Traces(missing)
        await records.follow()
        assert (await server.post(CHAT, SAY)).status == 200
        (warning,) = await warnings(server)
        assert warning.startswith("traces: OpenTelemetry is not installed")


async def test_bodies_that_cannot_be_kept_are_a_warning_and_requests_go_on(tmp_path, caplog):
    (tmp_path / "data" / "bodies.db").mkdir(parents=True)
    async with running(tmp_path, "ledger: {bodies: true}\n") as server:
        await server.service.records.follow()
        assert (await server.post(CHAT, SAY)).status == 200
        assert await asyncio.to_thread(server.service.records.bodies.flush)
        (warning,) = await warnings(server)
        assert warning.startswith("ledger.bodies: ")
    assert "are not kept" in caplog.text


async def test_answers_are_given_again_only_where_the_settings_say_so(tmp_path):
    async with running(tmp_path) as server:
        for _ in range(2):
            reply = await server.post(CHAT, FIXED)
        assert "cache=hit" not in reply.header("x-dragoman-route")
        await follow(server, "cache: {enabled: true}\n")
        for _ in range(2):
            reply = await server.post(CHAT, FIXED)
        assert reply.header("x-dragoman-route").endswith("attempts=0; account=demo; cache=hit")
        stream = FIXED | {"stream": True}
        bodies = [(await server.post(CHAT, stream)).body for _ in range(2)]
        assert bodies[0] == bodies[1]
        anew = await server.post(CHAT, FIXED, {"Cache-Control": "no-cache"})
        assert "cache=hit" not in anew.header("x-dragoman-route")
        service = server.service
        assert await asyncio.to_thread(service.ledger.opened.wait, 10)
        assert await asyncio.to_thread(service.ledger.flush)
        token = {"Authorization": f"Bearer {service.instance.token}"}
        rows = (await server.get("/admin/requests", token)).json["requests"]
        assert [row["cached"] for row in rows] == [False, True, False, True, False, False, False]
        assert {row["cost_usd"] for row in rows if row["cached"]} == {0}
        total = (await server.get("/admin/usage?by=day", token)).json["total"]
        assert (total["requests"], total["cached"]) == (7, 2)


async def test_a_key_never_gets_the_answer_of_another(tmp_path):
    async with running(tmp_path, "cache: {enabled: true}\n") as server:
        _, one = await server.key(label="one")
        _, two = await server.key(label="two")
        for plain, hit in ((one, False), (two, False), (one, True), (two, True)):
            reply = await server.post(CHAT, FIXED, {"Authorization": f"Bearer {plain}"})
            assert ("cache=hit" in reply.header("x-dragoman-route")) == hit


def test_the_sizes_of_the_settings_are_bytes(tmp_path):
    config = Config.model_validate(
        {
            "ledger": {"bodies": True, "bodies_each_kb": 3, "bodies_mb": 2, "bodies_days": 1},
            "cache": {"enabled": True, "max_mb": 5, "ttl_s": 9},
        }
    )
    ledger = Ledger(spill=None)
    rooms = SimpleNamespace(config=config, paths=SimpleNamespace(data=tmp_path), ledger=ledger)
    records = Records(rooms)
    rules = records._body_rules()
    assert (rules.on, rules.days, rules.body_bytes) == (True, 1, 3_072)
    assert rules.all_bytes == 2 * 1024 * 1024
    assert records._answer_rules().max_bytes == 5 * 1024 * 1024
    assert records.warnings == ()


def test_every_header_field_of_ours_is_in_the_documentation():
    told = asset("docs/usage.md").read_text("utf-8")
    sources = Path(asset("docs")).parent.parent.joinpath("app").rglob("*.py")
    used = set()
    for path in sources:
        if path.name.startswith("openapi_"):
            continue  # extensions of OpenAPI begin so, too
        used |= set(re.findall(r"\"(x-dragoman-[a-z-]+)", path.read_text("utf-8"), re.IGNORECASE))
    assert {"x-dragoman-route", "x-dragoman-count"} <= {name.lower() for name in used}
    for name in used:
        assert f"`{name.lower()}`" in told, name


async def test_prompts_and_answers_are_in_no_file_unless_the_settings_say_so(tmp_path):
    secret = "a prompt that nobody keeps"
    said = SAY | {"messages": [{"role": "user", "content": secret}]}
    for settings, kept in (("", False), ("ledger: {bodies: true}\n", True)):
        home = tmp_path / str(kept)
        async with running(home, settings) as server:
            await server.service.records.follow()
            reply = await server.post(CHAT, said)
            assert secret in reply.body.decode()  # the demo repeats what it was told
            assert await asyncio.to_thread(server.service.ledger.opened.wait, 10)
            assert await asyncio.to_thread(server.service.ledger.flush)
            assert await asyncio.to_thread(server.service.records.bodies.flush)
            written = [path.read_bytes() for path in home.rglob("*") if path.is_file()]
        assert any(b"demo-chat" in content for content in written)
        assert (home / "data" / "bodies.db").exists() is kept
        if not kept:
            assert not any(secret.encode() in content for content in written)
