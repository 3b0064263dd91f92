"""The description of all routes: valid, complete, and true of the running program."""

import json
from pathlib import Path

import jsonschema
import pytest
from tornado.web import RequestHandler

from app.server.openapi_document import METHODS
from app.server.openapi_paths import path_templates
from tests.server.running import running

META = Path(__file__).parent / "openapi-3.1.json"
"""Of https://spec.openapis.org/oas/3.1/schema/2022-10-07, Apache License 2.0."""


def token(server):
    return {"Authorization": f"Bearer {server.service.instance.token}"}


async def description(server):
    reply = await server.get("/admin/openapi.json", token(server))
    assert reply.status == 200, reply.body
    return reply.json


def pages_of(server):
    """The real route tables of a running program, as (pattern, handler)."""
    front = server.service._server.request_callback
    return [(r.matcher.regex.pattern, r.target) for r in front._pages.wildcard_router.rules]


def served(server):
    """Everything that is served: method and path template."""
    found = set()
    for pattern, page in pages_of(server):
        for method in METHODS:
            if getattr(page, method) is not getattr(RequestHandler, method):
                found |= {(method, path) for path in path_templates(pattern)}
    inference = server.service.inference
    found |= {("post", path) for path in inference.exact}
    for entry in inference.patterns:
        found |= {("post", path) for path in path_templates(entry.route.pattern.pattern)}
    return found


def filled_in(path):
    """A path with something in place of each parameter."""
    return path.replace("{flow}", "00").replace("{", "").replace("}", "")


def described(document):
    found = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found |= {(method, path)} | {(method, p) for p in operation.get("x-dragoman-also", ())}
    return found


async def test_it_is_valid_openapi(tmp_path):
    async with running(tmp_path) as server:
        document = await description(server)
    meta = json.loads(META.read_text("utf-8"))
    jsonschema.Draft202012Validator(meta).validate(document)
    for name, schema in document["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema.get("description") or name.endswith("Body"), name
    ids = [o["operationId"] for ms in document["paths"].values() for o in ms.values()]
    assert len(ids) == len(set(ids))


async def test_every_reference_leads_somewhere(tmp_path):
    async with running(tmp_path) as server:
        document = await description(server)

    def look(value):
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                place = document
                for step in value["$ref"].removeprefix("#/").split("/"):
                    place = place[step]
            for inner in value.values():
                look(inner)
        elif isinstance(value, list):
            for inner in value:
                look(inner)

    look(document)
    named = set(document["components"]["securitySchemes"])
    asked = {
        scheme
        for methods in document["paths"].values()
        for operation in methods.values()
        for each in operation["security"]
        for scheme in each
    }
    assert asked == named


async def test_what_is_served_is_described_and_the_other_way_round(tmp_path):
    async with running(tmp_path) as server:
        assert described(await description(server)) == served(server)


async def test_each_model_of_a_body_is_described_where_it_is_taken(tmp_path):
    async with running(tmp_path) as server:
        paths = (await description(server))["paths"]
        told = {
            (method, path)
            for path, methods in paths.items()
            for method, operation in methods.items()
            if "requestBody" in operation and "x-dragoman-dialect" not in operation
        }
        taken = {
            (method, path)
            for pattern, page in pages_of(server)
            for path in path_templates(pattern)
            for method in page.takes
            if path in paths
        }
    unread = {path for _, path in taken - told}
    assert told <= taken
    assert {path.rpartition("/")[2] for path in unread} == {
        *("primary", "refresh", "resume", "logout"),  # share a model with ``rename`` and others
        *("install", "stop"),  # share a model with ``start``
    }


async def test_each_field_of_a_body_is_explained(tmp_path):
    async with running(tmp_path) as server:
        schemas = (await description(server))["components"]["schemas"]
    bodies = {name: schema for name, schema in schemas.items() if name.endswith("Body")}
    bodies = {n: s for n, s in bodies.items() if not n.endswith("ErrorBody")}
    assert len(bodies) > 15
    for name, schema in bodies.items():
        for field, told in schema["properties"].items():
            assert told.get("description"), (name, field)


async def test_control_routes_say_that_they_need_a_token_and_others_do_not(tmp_path):
    async with running(tmp_path) as server:
        document = await description(server)
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if "{" in path or method == "delete" or path in ("/v1/ws", "/admin/stop"):
                    continue
                if "x-dragoman-dialect" in operation:
                    continue
                reply = await server.ask(method.upper(), path)
                refused = reply.status in (401, 403)
                assert refused == (
                    {} not in operation["security"] and bool(operation["security"])
                ), (
                    method,
                    path,
                    reply.status,
                    reply.body,
                )


@pytest.mark.parametrize("body", [b"[]", b'{"nobody_knows_this": 1}', b"\xff"])
async def test_bodies_are_checked_by_the_models_that_describe_them(tmp_path, body):
    async with running(tmp_path, "advanced: {demo: true}") as server:
        document = await description(server)
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if "requestBody" not in operation or "x-dragoman-dialect" in operation:
                    continue
                if method == "post" and path.endswith("/replay") and b"nobody" in body:
                    continue  # takes more than it reads, since a body may be sent along
                asked = filled_in(path)
                reply = await server.ask(method.upper(), asked, body, token(server))
                assert 400 <= reply.status < 500, (method, path, reply.status, reply.body)


async def test_a_body_may_be_left_out_where_that_is_told(tmp_path):
    async with running(tmp_path, "advanced: {demo: true}") as server:
        document = await description(server)
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if "requestBody" not in operation or "x-dragoman-dialect" in operation:
                    continue
                if path.endswith(("/test", "/connect")):
                    continue  # takes long, or has no agent to work on
                asked = filled_in(path)
                reply = await server.ask(method.upper(), asked, b"", token(server))
                refused = reply.status == 400 and b"invalid_json" in reply.body
                assert refused == operation["requestBody"]["required"], (method, path, reply.body)


async def test_it_is_made_once_and_not_at_start(tmp_path):
    async with running(tmp_path) as server:
        first = await server.get("/admin/openapi.json", token(server))
        second = await server.get("/admin/openapi.json", token(server))
        assert first.body == second.body
        assert (await server.get("/admin/openapi.json")).status == 401


def test_nothing_of_it_is_imported_at_start():
    import subprocess
    import sys

    code = (
        "import sys; import app.service; "
        "print([n for n in sys.modules if n.startswith('app.server.openapi_')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
