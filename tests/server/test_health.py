from app.accounts.quota import WindowView
from app.accounts.roster import AccountState
from app.providers.quota import QuotaWindow
from app.server.health import render_account, render_providers
from tests.routing.accounts import account

A, B, C = account("openai/a"), account("openai/b"), account("claude/c")
TOLD = {"trouble": "", "window": None, "warning": "", "configured": True, "models": 2}


def test_accounts_are_grouped_by_provider_in_order():
    rows = render_providers([A, C, B], lambda one: {"id": one.id})
    assert [(row["id"], [a["id"] for a in row["accounts"]]) for row in rows] == [
        ("openai", ["openai/a", "openai/b"]),
        ("claude", ["claude/c"]),
    ]


def test_row_tells_state_window_and_warning():
    window = WindowView(QuotaWindow("5h", 62.55, 900.0), 1.0, "headers")
    state = AccountState("cooling", "busy", 500.0, since=400.0)
    row = render_account(C, state, **TOLD | {"window": window, "warning": "w", "configured": False})
    assert row == {
        "id": "claude/c",
        "label": "c",
        "state": "cooling",
        "reason": "busy",
        "since": 400.0,
        "until": 500.0,
        "quota": {"window": "5h", "left_percent": 37.5, "resets_at": 900.0},
        "warning": "w",
        "configured": False,
        "models": 2,
    }


def test_list_that_could_not_be_read_is_told_where_nothing_else_is_wrong():
    told = TOLD | {"trouble": "no list"}
    assert render_account(A, AccountState("ready"), **told)["reason"] == "no list"
    assert render_account(A, AccountState("refused", "no"), **told)["reason"] == "no"
