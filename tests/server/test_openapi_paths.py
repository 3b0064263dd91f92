"""Patterns of route tables and the paths that they stand for."""

import pytest

from app.server.openapi_paths import parameters_of, path_templates

FOUND = {
    r"/healthz": ("/healthz",),
    r"/admin/?": ("/admin/", "/admin"),
    r"/(?:models/)?api\.json": ("/models/api.json", "/api.json"),
    r"/(?:v1/)?responses/(?P<name>[^/]+)": ("/v1/responses/{name}", "/responses/{name}"),
    r"/(?:models|api)/(?P<token>[0-9a-f]{32})/api\.json$": (
        "/models/{token}/api.json",
        "/api/{token}/api.json",
    ),
    r"^/a/(?P<order>show|sign-out)": ("/a/show", "/a/sign-out"),
    r"/static/(?P<name>[a-z0-9-]+\.(?:css|js))": ("/static/{name}",),
    r"/v1(?:beta1?|alpha)?/(?:x/|(?=tuned/))(?P<model>.+):go": tuple(
        f"/{version}/{place}/{{model}}:go"
        for version in ("v1beta1", "v1beta", "v1alpha", "v1")
        for place in ("x", "tuned")
    ),
}


@pytest.mark.parametrize("pattern", FOUND)
def test_a_pattern_stands_for_these_paths(pattern):
    assert path_templates(pattern) == FOUND[pattern]


@pytest.mark.parametrize("pattern", ["/a.b", "/(?:a", "/[ab]", "/a)", r"/\d", "/a*", "(?P<n>"])
def test_what_cannot_be_read_is_said_and_not_guessed(pattern):
    with pytest.raises(ValueError, match=r"has |goes on"):
        path_templates(pattern)


def test_parameters_are_named_in_order():
    assert parameters_of("/a/{provider}/b/{flow}") == ("provider", "flow")
    assert parameters_of("/healthz") == ()
