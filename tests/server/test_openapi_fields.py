"""Words about fields and parameters."""

import pytest

from app.server.openapi_fields import FIELDS, PARAMETERS, parameter_about
from tests.server.running import running
from tests.server.test_openapi import description


def test_a_parameter_is_explained_by_its_path():
    assert "key" in parameter_about("/admin/keys/{name}", "name")
    assert "sign-in" in parameter_about("/admin/accounts/flows/{flow}/place", "flow")
    with pytest.raises(KeyError, match="name in /v1/weather"):
        parameter_about("/v1/weather/{name}", "name")


def test_words_are_sentences():
    for words in (*FIELDS.values(), {str(key): about for key, about in PARAMETERS.items()}):
        for name, about in words.items():
            assert about.endswith("."), name


async def test_no_words_are_about_a_parameter_that_is_gone(tmp_path):
    async with running(tmp_path) as server:
        paths = (await description(server))["paths"]
    for beginning, name in PARAMETERS:
        found = [path for path in paths if path.startswith(beginning) and f"{{{name}}}" in path]
        assert found, (beginning, name)
