from app.cli.health import accounts_of, describe_accounts, model_for
from tests.cli.fake_instance import HEALTH, account, model, provider

TWO = {"providers": [provider("openai", account("openai/work"), account("openai/b", "cooling"))]}


def only(entry):
    (found,) = accounts_of({"providers": [provider(entry["id"].split("/")[0], entry)]})
    return found


def test_demo_is_no_account():
    assert accounts_of(HEALTH) == []
    assert describe_accounts(HEALTH) == "No account yet: the demo models answer."


def test_without_account_and_demo_nothing_answers():
    assert "nothing can answer" in describe_accounts({"providers": []})


def test_accounts_are_counted_by_state():
    assert describe_accounts(TWO).startswith("2 accounts, 1 ready")
    assert [a.id for a in accounts_of(TWO)] == ["openai/work", "openai/b"]


def test_first_model_that_chats_is_asked_at_this_account():
    models = [
        model("other", "openai", "openai/else"),
        model("text-embedding-3", "openai", "openai/work"),
        model("gpt-5", "openai", "openai/work"),
    ]
    assert model_for(only(account("openai/work")), models) == "openai/work/gpt-5"


def test_account_is_found_by_its_label_preferring_its_own_provider():
    models = [model("a", "anthropic", "work"), model("b", "openai", "work")]
    assert model_for(only(account("openai/work")), models) == "openai/work/b"


def test_model_that_may_not_chat_is_better_than_none():
    models = [model("image-1", "openai", "openai/work")]
    assert model_for(only(account("openai/work")), models) == "openai/work/image-1"


def test_account_without_models_has_none():
    assert model_for(only(account("openai/work")), [{"id": "a", "owned_by": "openai"}]) is None
