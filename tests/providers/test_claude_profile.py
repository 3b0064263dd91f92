import pytest

from app.providers.claude_profile import (
    ENDPOINTS,
    MODELS,
    NEEDED_BETAS,
    OAUTH_BETA,
    ClaudeEndpoints,
)
from app.providers.signin import Listen


def test_tokens_go_to_two_hosts_and_the_browser_page_is_none_of_them():
    assert ENDPOINTS.hosts == {"platform.claude.com", "api.anthropic.com"}
    assert all(url.startswith("https://") for url in (ENDPOINTS.authorize, ENDPOINTS.token))


@pytest.mark.parametrize(
    ("redirect", "listen"),
    [
        ("http://localhost:54545/callback", Listen(54545, "/callback")),
        ("http://localhost/x/y", Listen(80, "/x/y")),
    ],
)
def test_the_listener_is_where_the_redirect_goes(redirect, listen):
    assert ClaudeEndpoints(redirect=redirect).listen == listen


def test_the_needed_betas_have_the_one_of_oauth():
    assert OAUTH_BETA in NEEDED_BETAS


def test_models_answer_less_than_they_read():
    assert all(row.max_output < row.context for row in MODELS)
    assert all(row.dialects == ("anthropic",) for row in MODELS)
