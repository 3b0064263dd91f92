"""Every inference path and what serves it."""

import pytest

from app.dialects import COMPLETIONS, DIALECTS
from app.server.entries import exact_entries, pattern_entries

EXACT = exact_entries(DIALECTS)


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/chat/completions", "openai_chat"),
        ("/v1/responses", "openai_responses"),
        ("/v1/responses/input_tokens", "openai_responses"),
        ("/v1/messages", "anthropic"),
        ("/v1/messages/count_tokens", "anthropic"),
        ("/v1/embeddings", "openai_chat"),
        ("/v1/responses/compact", "openai_responses"),
    ],
)
def test_paths_belong_to_their_dialect(path, dialect):
    assert EXACT[path].dialect.name == dialect


@pytest.mark.parametrize("path", ["/chat/completions", "/responses", "/completions", "/embeddings"])
def test_openais_paths_answer_without_the_version_too(path):
    assert EXACT[path].dialect is EXACT[f"/v1{path}"].dialect


def test_completions_are_answered_by_their_own_surface():
    entry = EXACT["/v1/completions"]
    assert (entry.surface, entry.dialect) == (COMPLETIONS, COMPLETIONS)


@pytest.mark.parametrize(
    "path",
    [
        "/v1beta/models/gemini-2.5-pro:generateContent",
        "/v1/models/gemini-2.5-pro:streamGenerateContent",
        "/v1beta/models/vendor%2Fmodel:countTokens",
    ],
)
def test_paths_with_a_model_are_found_by_pattern(path):
    assert path not in EXACT
    found = next(e for e in pattern_entries(DIALECTS) if e.route.pattern.fullmatch(path))
    assert found.dialect.name == "gemini"
