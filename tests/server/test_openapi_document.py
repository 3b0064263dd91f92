"""Joining tables, models and words: what is missing is an error, what is the same is said once."""

import re

import msgspec
import pytest
from pydantic import BaseModel

from app.dialects import COMPLETIONS, DIALECTS
from app.server.entries import exact_entries, pattern_entries
from app.server.inference import Entry
from app.server.openapi_document import (
    INFERENCE_ERRORS,
    REFUSED,
    Served,
    coded,
    describe,
    served_entries,
    served_pages,
)
from app.server.openapi_inference import INFERENCE
from app.server.pages import Page


class Health(Page):
    def get(self):
        """Answer."""


class Keys(Page):
    kind = "control"

    def get(self):
        """Answer."""

    def post(self):
        """Answer."""


class _NewKey(msgspec.Struct):
    label: str = ""


FIELDS = "app.server.openapi_document.FIELDS"


def document(*rules):
    return describe(served_pages(rules), "1.2.3")


@pytest.fixture(autouse=True)
def no_words_about_bodies(monkeypatch):
    """A document of a few routes has a few of the bodies that there are words about."""
    monkeypatch.setattr(FIELDS, {})


def test_methods_are_those_that_a_handler_has():
    (health, keys) = served_pages([(r"/v1/health", Health), (r"/admin/keys", Keys)])
    assert health == Served(("/v1/health",), ("get",), page=Health)
    assert keys.methods == ("get", "post")


def test_a_route_without_words_is_an_error():
    with pytest.raises(KeyError, match="GET /v1/weather"):
        document((r"/v1/weather", Health))


def test_a_method_without_words_is_an_error():
    with pytest.raises(KeyError, match="POST /v1/health"):
        document((r"/v1/health", Keys))


def test_paths_that_mean_the_same_are_listed_with_the_first():
    found = document((r"/(?:v1|v1beta)/models", Health), (r"/models", Health))
    assert list(found["paths"]) == ["/v1/models"]
    assert found["paths"]["/v1/models"]["get"]["x-dragoman-also"] == ["/v1beta/models", "/models"]


def test_a_second_pattern_for_the_same_path_changes_nothing():
    rules = [(r"/help/(?P<name>help\.css)", Health), (r"/help/(?P<name>[^/]+)", Health)]
    assert document(*rules)["paths"] == document(rules[0])["paths"]


def test_who_may_call_is_what_the_handler_asks():
    paths = document((r"/v1/health", Health), (r"/admin/keys", Keys))["paths"]
    assert {} in paths["/v1/health"]["get"]["security"]
    asked = paths["/admin/keys"]["get"]["security"]
    assert {} not in asked
    assert {"adminKey": []} in asked
    assert "401" in paths["/admin/keys"]["get"]["responses"]


def test_a_body_is_described_by_its_model():
    class Told(Keys):
        takes = {"post": _NewKey}  # noqa: RUF012 - as handlers have it

    operation = document((r"/admin/keys", Told))
    body = operation["paths"]["/admin/keys"]["post"]["requestBody"]
    assert body["required"]  # the words say so
    name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert name == "NewKeyBody"
    assert operation["components"]["schemas"][name]["properties"]["label"]["type"] == "string"
    assert "requestBody" not in operation["paths"]["/admin/keys"]["get"]


def test_a_model_of_pydantic_is_described_too():
    class QuestionBody(BaseModel):
        text: str
        more: int | None = None

    class Asked(Page):
        kind = "control"
        takes = {"post": QuestionBody}  # noqa: RUF012 - as handlers have it

        def post(self):
            """Answer."""

    found = document((r"/admin/route/explain", Asked))
    schema = found["components"]["schemas"]["QuestionBody"]
    assert schema["required"] == ["text"]
    assert found["paths"]["/admin/route/explain"]["post"]["requestBody"]["required"]


def test_words_about_a_field_that_is_gone_are_an_error(monkeypatch):
    monkeypatch.setattr(FIELDS, {"NewKeyBody": {"gone": "Nothing."}})
    with pytest.raises(KeyError):
        document((r"/v1/health", Health))


def test_errors_of_one_status_are_told_together():
    responses = document((r"/admin/keys", Keys))["paths"]["/admin/keys"]["post"]["responses"]
    assert responses["400"]["description"].startswith("`unknown_provider`: ")
    assert responses["default"]["content"] == responses["400"]["content"]
    assert "retry-after" not in responses["400"]["headers"]


@pytest.mark.parametrize(
    "error", [*INFERENCE_ERRORS, *(one for errors in REFUSED.values() for one in errors)]
)
def test_usual_errors_have_status_codes_and_reason(error):
    assert re.fullmatch(r"[45]\d\d \w+(, \w+)*: .+", error)
    assert coded(error.partition(" ")[2]).startswith("`")


def test_inference_routes_are_joined_by_what_serves_them():
    found = served_entries(exact_entries(DIALECTS), pattern_entries(DIALECTS))
    paths = describe(found, "1")["paths"]
    assert set(paths) == set(INFERENCE)
    chat = paths["/v1/chat/completions"]["post"]
    assert chat["x-dragoman-dialect"] == "openai_chat"
    assert "/chat/completions" in chat["x-dragoman-also"]
    counts = paths["/v1/messages/count_tokens"]["post"]["responses"]["200"]["headers"]
    assert "x-dragoman-count" in counts
    streams = paths["/v1/messages"]["post"]["responses"]["200"]["content"]
    assert "text/event-stream" in streams


def test_an_inference_route_without_words_is_an_error():
    entry = Entry(COMPLETIONS, COMPLETIONS.routes[0], extra="weather")
    with pytest.raises(KeyError, match="POST /v1/weather"):
        describe(served_entries({"/v1/weather": entry}, ()), "1")
