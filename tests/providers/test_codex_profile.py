import pytest

from app.providers.codex_profile import (
    CLIENT_VERSION,
    ENDPOINTS,
    MODELS_PATH,
    CodexEndpoints,
    known_models,
)
from app.providers.credential import Credential
from app.providers.signin import Listen


def test_addresses_follow_from_two_bases():
    assert ENDPOINTS.hosts == {"auth.openai.com", "chatgpt.com"}
    assert ENDPOINTS.codex == "https://chatgpt.com/backend-api/codex"
    assert ENDPOINTS.usage == "https://chatgpt.com/backend-api/wham/usage"
    other = CodexEndpoints("http://127.0.0.1:1", "http://127.0.0.1:2/api")
    assert (other.hosts, other.codex) == ({"127.0.0.1"}, "http://127.0.0.1:2/api/codex")


def test_the_listener_is_where_the_redirect_goes():
    assert ENDPOINTS.listen == Listen(1455, "/auth/callback")
    assert CodexEndpoints(redirect="http://localhost/x").listen == Listen(80, "/x")


def test_the_list_is_asked_for_with_the_version():
    assert f"/models?client_version={CLIENT_VERSION}" == MODELS_PATH


@pytest.mark.parametrize("plan", ["", "free", "go", "plus", "pro", "team", "business", "new"])
def test_each_plan_has_models_once_and_no_plan_less_than_the_free_one(plan):
    listed = [row.id for row in known_models(Credential("t", facts={"plan": plan}))]
    assert len(set(listed)) == len(listed)
    assert {row.id for row in known_models(Credential("t", facts={"plan": "free"}))} <= set(listed)
