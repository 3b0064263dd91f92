from dataclasses import replace

import pytest

from app.desktop.menu import (
    LISTED,
    Action,
    Item,
    Offer,
    build_menu,
    describe_left,
    describe_line,
    short,
)
from app.gateway.status import BudgetStatus
from app.server.vitals import StudioLine, Vital, WholeStatus
from tests.desktop import statuses

ALL = Offer(
    statuses.EVERY_ACTION,
    notifications=(("spent", "Account used up", True), ("low", "Nearly used up", False)),
    moment=lambda at: f"{at:.0f}:00",
)
NOTHING = Offer(frozenset())


def texts(entries):
    return [entry.text if isinstance(entry, Item) else "-" for entry in entries]


def find(entries, *path):
    """Return the item below whose texts, or beginnings of them, are given."""
    item = next((e for e in entries if isinstance(e, Item) and e.text.startswith(path[0])), None)
    assert item is not None, (path[0], texts(entries))
    return item if len(path) == 1 else find(item.children, *path[1:])


def items(entries):
    for entry in entries:
        if isinstance(entry, Item):
            yield entry
            yield from items(entry.children)


def test_menu_in_order():
    assert texts(build_menu(statuses.full(), ALL)) == [
        *("Ready at localhost:8317", "-", "Accounts", "Models", "-"),
        *("Open dashboard", "Copy address", "New key…", "Pause", "-"),
        *("Start at sign-in", "Notifications", "-", "Logs", "Help", "About", "-", "Quit"),
    ]


def test_nothing_is_shown_that_nobody_carries_out():
    menu = build_menu(statuses.full(), NOTHING)
    assert [item for item in items(menu) if item.action is not None] == []
    assert texts(menu) == ["Ready at localhost:8317", "-", "Accounts", "Models", "-", "About"]


@pytest.mark.parametrize("missing", sorted(statuses.EVERY_ACTION))
def test_each_action_is_left_out_alone(missing):
    offer = Offer(statuses.EVERY_ACTION - {missing}, notifications=ALL.notifications)
    for status in (statuses.full(), statuses.status("paused")):
        shown = {item.action.name for item in items(build_menu(status, offer)) if item.action}
        assert missing not in shown


def test_each_action_is_somewhere():
    shown = {
        item.action.name
        for status in (statuses.full(), statuses.status("paused"))
        for item in items(build_menu(status, ALL))
        if item.action
    }
    # An account has several to choose a first one from, and each can be paused or resumed.
    assert shown == statuses.EVERY_ACTION


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (statuses.status("stopped"), "Dragoman is stopped"),
        (statuses.status("paused"), "Paused at localhost:8317"),
        (statuses.status("working", running=1), "1 answer running at localhost:8317"),
        (statuses.status("working", running=3), "3 answers running at localhost:8317"),
        (statuses.status("attention"), "Needs attention, at localhost:8317"),
        (statuses.status(), "Ready at localhost:8317"),
    ],
)
def test_status_line(status, line):
    assert describe_line(status) == line


def test_account_shows_who_it_is_and_what_is_left():
    windows = (
        statuses.window(resets_at=14.0),
        statuses.window("7d", 0.0),
        statuses.window("x", None),
    )
    account = statuses.account(identity="ada@example.org", plan="plus", windows=windows)
    menu = build_menu(statuses.status(accounts=(account,)), ALL)
    assert texts(find(menu, "Accounts", "ada@example.org (used up)").children) == [
        *("chatgpt-1 · plus", "5h: 62 % left, resets 14:00", "7d: used up", "x: in use", "-"),
        *("Pause", "Refresh", "Sign in again…", "Sign out"),
    ]
    sign_out = find(menu, "Accounts", "ada", "Sign out")
    assert sign_out.action is None
    assert sign_out.children == (
        Item("Yes, sign chatgpt-1 out", Action("sign_out", "chatgpt/chatgpt-1")),
    )


@pytest.mark.parametrize(
    ("changes", "mark"),
    [
        ({}, "chatgpt-1"),
        ({"windows": (statuses.window(),)}, "chatgpt-1 (62 % left)"),
        ({"paused": True, "health": "disabled"}, "chatgpt-1 (paused)"),
        ({"needs_sign_in": True, "health": "unusable"}, "chatgpt-1 (sign in again)"),
        ({"health": "disabled"}, "chatgpt-1 (off)"),
        ({"health": "refused"}, "chatgpt-1 (not usable)"),
        ({"health": "cooling"}, "chatgpt-1 (waiting)"),
        ({"health": "cooling", "windows": (statuses.window(left=0.0),)}, "chatgpt-1 (used up)"),
    ],
)
def test_account_is_marked_with_its_state(changes, mark):
    menu = build_menu(statuses.status(accounts=(statuses.account(**changes),)), ALL)
    assert mark in texts(find(menu, "Accounts").children)


def test_account_says_why_and_until_when():
    account = statuses.account(health="cooling", reason="used up", until=15.0)
    menu = build_menu(statuses.status(accounts=(account,)), ALL)
    assert "used up, again at 15:00" in texts(find(menu, "Accounts", "chatgpt-1").children)


def test_account_of_the_settings_has_nothing_to_click():
    account = statuses.account("openai/work", title="OpenAI", signed_in=False)
    menu = build_menu(statuses.status(accounts=(account,)), ALL)
    assert find(menu, "Accounts", "work").children == ()


def test_first_account_is_chosen_only_among_several():
    one = build_menu(statuses.status(accounts=(statuses.account(),)), ALL)
    assert "Use first" not in texts(find(one, "Accounts", "chatgpt-1").children)
    both = build_menu(statuses.full(), ALL)
    first = find(both, "Accounts", "ada_l", "Use first")
    assert (first.radio, first.checked) == (True, True)
    assert find(both, "Accounts", "chatgpt-2", "Use first").checked is False


def test_no_account_is_said():
    menu = build_menu(statuses.status(demo=True), ALL)
    assert texts(find(menu, "Accounts").children) == ["No account yet: the demo models answer"]


def test_many_accounts_are_cut_off_with_a_way_to_the_rest():
    accounts = tuple(statuses.account(f"chatgpt/a{n}") for n in range(LISTED + 3))
    children = find(build_menu(statuses.status(accounts=accounts), ALL), "Accounts").children
    assert len([e for e in children if isinstance(e, Item) and e.children]) == LISTED
    assert children[-1] == Item("More…", Action("dashboard", "accounts"))


def test_models_show_where_they_go():
    menu = build_menu(statuses.full(), ALL)
    assert texts(find(menu, "Models", "ChatGPT").children) == [
        "gpt-5 → chatgpt-1",
        "gpt-5-mini → chatgpt-1",
    ]
    assert texts(find(menu, "Models", "Aliases").children) == ["fast = gpt-5-mini → chatgpt-1"]
    default = find(menu, "Models", "Default model")
    assert [item.text for item in default.children if item.checked] == ["gpt-5"]
    assert all(item.radio for item in default.children)


def test_model_that_nobody_answers_is_marked():
    status = statuses.status(models=(statuses.model("gpt-5", account="", reason="used up"),))
    assert texts(find(build_menu(status, ALL), "Models", "ChatGPT").children) == ["gpt-5: not now"]


def test_model_of_another_name_says_which():
    model = statuses.model("nice", upstream="ugly-2026")
    menu = build_menu(statuses.status(models=(model,)), ALL)
    assert find(menu, "Models", "ChatGPT", "nice").text == "nice → ugly-2026 at chatgpt/chatgpt-1"


def test_long_lists_of_models_are_cut_off_but_keep_the_default():
    models = tuple(statuses.model(f"m{n:03}") for n in range(200))
    status = statuses.status(models=models, default_model="m150")
    menu = build_menu(status, ALL)
    listed = find(menu, "Models", "ChatGPT").children
    assert len(listed) == LISTED + 1
    assert listed[-1].action == Action("dashboard", "models")
    default = find(menu, "Models", "Default model").children
    assert [item.text for item in default if item.checked] == ["m150"]
    assert len(default) == LISTED + 2


def test_many_services_are_cut_off():
    models = tuple(statuses.model(f"m{n}", title=f"S{n:02}") for n in range(LISTED + 2))
    children = find(build_menu(statuses.status(models=models), ALL), "Models").children
    assert "More…" in texts(children)


def test_problem_and_code_stand_at_the_top():
    status = statuses.status(
        "attention", reason="config.yaml:3: wrong", sign_ins=(statuses.pending(),)
    )
    first = build_menu(status, ALL)[:3]
    assert first[1] == Item("config.yaml:3: wrong", Action("dashboard"))
    assert first[2].text.startswith("GitHub Copilot: type AB12-CD34 at https://github.com")


def test_paused_offers_to_resume():
    assert "Resume" in texts(build_menu(statuses.status("paused"), ALL))
    assert "Pause" not in texts(build_menu(statuses.status("paused"), ALL))


def test_switch_of_the_system_is_honoured():
    offer = Offer(statuses.EVERY_ACTION, autostart_blocked="off in the Task Manager")
    item = find(build_menu(statuses.status(), offer), "Start at sign-in")
    assert (item.action, item.text) == (None, "Start at sign-in: off in the Task Manager")
    on = Offer(statuses.EVERY_ACTION, autostart=True)
    item = find(build_menu(statuses.status(), on), "Start at sign-in")
    assert (item.action, item.checked) == (Action("autostart", "off"), True)


def test_notifications_have_a_switch_each():
    switches = find(build_menu(statuses.status(), ALL), "Notifications").children
    assert [(item.action.target, item.checked) for item in switches] == [
        ("spent", True),
        ("low", False),
    ]


@pytest.mark.parametrize(
    ("running", "text"),
    [
        (0, "Quit"),
        (1, "Quit (waits 10 s at most for 1 answer)"),
        (4, "Quit (waits 10 s at most for 4 answers)"),
    ],
)
def test_quit_says_what_it_waits_for_and_how_long(running, text):
    offer = replace(ALL, grace_s=10.0)
    assert texts(build_menu(statuses.status(running=running), offer))[-1] == text


def test_about_says_what_this_is():
    known = replace(ALL, commit="0123abcde", build="deb")
    about = find(build_menu(statuses.full(), known), "About").children
    assert texts(about) == [
        "Dragoman 1.2.3 (deb)",
        "Commit 0123abcde",
        "MIT licence",
        "Check for updates",
    ]
    assert about[-1].action == Action("updates")
    nothing_known = replace(ALL, actions=ALL.actions - {"updates"})
    assert texts(find(build_menu(statuses.full(), nothing_known), "About").children) == [
        "Dragoman 1.2.3",
        "MIT licence",
    ]


def test_texts_of_others_cannot_break_the_menu():
    assert short("a\nb\t\u202ec  d") == "a b c d"
    assert len(short("x" * 200)) == 60
    assert short("x" * 200).endswith("…")


def test_window_that_is_exhausted_is_used_up_whatever_it_says():
    window = statuses.window(left=30.0, exhausted=True)
    assert describe_left(window, str) == "5h: used up"


def test_only_the_dashboard_is_the_default():
    defaults = [item.text for item in items(build_menu(statuses.full(), ALL)) if item.default]
    assert defaults == ["Open dashboard"]


def test_budgets_are_shown_with_what_is_used_and_what_follows():
    def budget(level, percent):
        text = f"Budget work: $5.00 of $10.00 used today ({percent}%)."
        return BudgetStatus("work", text, level, percent, 9.0)

    menu = build_menu(statuses.status(budgets=(budget("warn", 90), budget("ok", 5))), ALL)
    assert texts(find(menu, "Budgets (90 % used)").children) == [
        "work: $5.00 of $10.00 used today (90%)",
        "work: $5.00 of $10.00 used today (5%)",
    ]
    menu = build_menu(statuses.status(budgets=(budget("stop", 100),)), ALL)
    assert texts(find(menu, "Budgets (used up)").children) == [
        "work: $5.00 of $10.00 used today (100%)",
        "Calls are refused until 9:00",
    ]


def test_without_budgets_there_is_no_word_of_them():
    assert not any("udget" in text for text in texts(build_menu(statuses.full(), ALL)))


def whole(**changes):
    shown = statuses.status()
    fields = {field: getattr(shown, field) for field in shown.__dataclass_fields__}
    return WholeStatus(**fields | changes)


STUDIO = Offer(
    statuses.EVERY_ACTION
    | {"aistudio_open", "aistudio_hide", "aistudio_browser", "aistudio_close", "aistudio_out"},
    moment=lambda at: f"{at:.0f}:00",
)


@pytest.mark.parametrize(
    ("window", "entries"),
    [
        ("closed", ["Open the window", "Open in my browser", "Sign out"]),
        (
            "shown",
            [
                "Open the window",
                "Hide the window",
                "Open in my browser",
                "Close the window",
                "Sign out",
            ],
        ),
        ("hidden", ["Show the window", "Open in my browser", "Close the window", "Sign out"]),
    ],
)
def test_page_of_ai_studio_has_what_its_window_can_do(window, entries):
    line = StudioLine("home", "build", "Open your app.", window)
    menu = build_menu(whole(studios=(line,)), STUDIO)
    one = find(menu, "AI Studio", "home: waiting for the app")
    assert texts(one.children) == ["Open your app.", *entries]
    assert find(one.children, "Sign out", "Yes").action == Action("aistudio_out", "home")
    assert find(menu, "AI Studio", "Set up…").action == Action("dashboard", "services")


def test_what_runs_is_shown_with_memory_reason_and_next_try():
    vitals = (
        Vital("router", "router", "Router", "ready", since=9.0, memory_bytes=60 << 20),
        Vital("service", "webai", "WebAI", "waiting", "It ended.", until=11.0),
        Vital("service", "other", "Other", "off"),
    )
    menu = build_menu(whole(vitals=vitals), STUDIO)
    assert texts(find(menu, "What runs").children) == [
        "Router: ready, since 9:00, 60 MB",
        "WebAI: waiting, again at 11:00",
        "It ended.",
        "-",
        "More…",
    ]


def test_status_without_parts_has_no_place_for_them():
    shown = texts(build_menu(statuses.full(), STUDIO))
    assert "What runs" not in shown
    assert "AI Studio" not in shown
