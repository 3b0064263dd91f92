"""Words about routes: none too much, and in the form that the description reads."""

import re

from app.server.openapi_inference import INFERENCE
from app.server.openapi_routes import OPERATIONS, SAME, TAGS
from tests.server.running import running
from tests.server.test_openapi import description


async def test_no_words_are_about_a_route_that_is_gone(tmp_path):
    async with running(tmp_path) as server:
        paths = (await description(server))["paths"]
    told = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert told == {*OPERATIONS, *(f"POST {path}" for path in INFERENCE)}
    for path, meant in SAME.items():
        assert path in paths[meant]["get"]["x-dragoman-also"]


def test_every_heading_has_routes_and_every_route_a_heading():
    assert {operation.tag for operation in OPERATIONS.values()} == set(TAGS)


def test_errors_name_status_code_and_reason():
    for name, operation in OPERATIONS.items():
        for error in operation.errors:
            assert re.fullmatch(r"4\d\d \w+: .+|503 \w+: .+", error), (name, error)
        assert "; " not in "".join(operation.errors), name  # parts the errors of one status


def test_summaries_are_short_orders_and_the_rest_are_sentences():
    for name, operation in OPERATIONS.items():
        assert len(operation.summary) < 80, name
        assert not operation.summary.endswith("."), name
        assert not operation.about or operation.about.endswith("."), name
        for field in operation.query:
            assert field.about.endswith("."), (name, field.name)
