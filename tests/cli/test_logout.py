import pytest

from tests.cli.test_accounts import account, listing

ACCOUNTS = (
    account("claude/claude-1"),
    account("codex/work"),
    account("codex/home"),
    account("openai/openai-1", configured=True),
)


@pytest.mark.parametrize("name", ["claude", "claude-1", "claude/claude-1"])
def test_account_is_meant_by_id_label_or_provider(dragoman, fake, name):
    fake.answers["GET /admin/accounts"] = listing(*ACCOUNTS)
    fake.answers["POST /admin/accounts/claude%2Fclaude-1/logout"] = {"message": "It is gone."}
    code, out, _ = dragoman("logout", name)
    assert (code, out) == (0, "It is gone.\n")
    assert fake.asked[-1][2] == f"Bearer {fake.record.token}"


def test_several_are_listed_and_none_is_removed(dragoman, fake):
    fake.answers["GET /admin/accounts"] = listing(*ACCOUNTS)
    code, _, err = dragoman("logout", "codex")
    assert code == 1
    assert "codex/work, codex/home" in err
    assert fake.asked[-1][0] == "GET"


def test_unknown_account_is_a_failure_with_a_hint(dragoman, fake):
    fake.answers["GET /admin/accounts"] = listing(*ACCOUNTS)
    code, _, err = dragoman("logout", "nobody")
    assert code == 1
    assert "dragoman accounts" in err


@pytest.mark.parametrize("name", ["openai", "openai-1"])
def test_refusal_of_the_instance_is_told(dragoman, fake, name):
    fake.answers["GET /admin/accounts"] = listing(*ACCOUNTS)
    refusal = (409, {"error": {"message": "It is written in the settings.", "code": "x"}})
    fake.answers["POST /admin/accounts/openai%2Fopenai-1/logout"] = refusal
    code, _, err = dragoman("logout", name)
    assert code == 1
    assert "written in the settings" in err


def test_without_an_instance_it_says_how_to_start(dragoman):
    assert dragoman("logout", "claude").code == 3
