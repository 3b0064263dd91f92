import pytest

from app.desktop.menu import Action
from app.desktop.notify import KINDS, Notice, Notifier, decide
from app.gateway.status import BudgetStatus, Status
from app.server.vitals import AccountTrouble, WholeStatus
from tests.desktop import statuses

NOW = 1_000.0


def after(before, status, told=frozenset(), acted=()):
    return decide(before, status, told, acted, NOW, lambda at: f"{at:.0f}")


def notices(before, status, told=frozenset(), acted=()):
    return after(before, status, told, acted)[0]


def having(*accounts, **changes):
    return statuses.status(accounts=accounts, **changes)


READY = statuses.account(identity="ada@example.org")
OTHER = statuses.account("chatgpt/second")
SPENT = statuses.account(
    identity="ada@example.org",
    health="cooling",
    until=9_999.0,
    windows=(statuses.window(left=0.0),),
)
ENDED = statuses.account(health="unusable", needs_sign_in=True, reason="Revoked.")
LOW = statuses.account(windows=(statuses.window(left=8.0, resets_at=2_000.0),))


def test_first_snapshot_tells_only_what_waits_for_a_person():
    assert notices(None, having(READY, SPENT, LOW)) == []
    assert [n.kind for n in notices(None, having(ENDED, problems=("wrong",)))] == [
        "sign_in",
        "config",
    ]


def test_sign_in_needed_is_told_once_with_its_action():
    (notice,), told = after(having(READY), having(ENDED))
    assert notice.kind == "sign_in"
    assert notice.action == Action("sign_in", "chatgpt/chatgpt-1")
    assert (notice.text, notice.button) == ("Revoked.", "Sign in")
    assert notices(having(ENDED), having(ENDED), told) == []


def test_sign_in_needed_again_is_told_again():
    _, told = after(having(READY), having(ENDED))
    _, told = after(having(ENDED), having(READY), told)
    assert [n.kind for n in notices(having(READY), having(ENDED), told)] == ["sign_in"]


def troubled(*accounts, text="It was revoked."):
    fields = {name: getattr(statuses.status(), name) for name in Status.__slots__}
    troubles = tuple(AccountTrouble(account.id, text) for account in accounts)
    return WholeStatus(**fields | {"accounts": accounts}, troubles=troubles)


def test_sign_in_that_is_not_renewed_is_told_once_while_it_lasts():
    (notice,), told = after(having(READY), troubled(READY))
    assert (notice.kind, notice.text) == ("renewal", "It was revoked.")
    assert notice.title == "The sign-in of ChatGPT (ada@example.org) is in trouble"
    assert notice.action == Action("dashboard", "accounts")
    assert notices(troubled(READY), troubled(READY), told) == []
    _, told = after(troubled(READY), having(READY), told)
    assert [n.kind for n in notices(having(READY), troubled(READY), told)] == ["renewal"]


def test_first_snapshot_tells_of_a_sign_in_that_is_not_renewed():
    assert [n.kind for n in notices(None, troubled(READY))] == ["renewal"]


def test_account_that_needs_a_sign_in_or_is_paused_has_no_other_trouble():
    assert [n.kind for n in notices(troubled(READY), troubled(ENDED))] == ["sign_in"]
    assert notices(None, troubled(statuses.account(paused=True))) == []
    assert notices(None, troubled(READY), acted={READY.id}) == []


def budget(level, **changes):
    text = {"ok": "$1.00", "warn": "$8.00", "stop": "$10.00"}[level]
    fields = {"used_percent": 80, "resets_at": 9_999.0} | changes
    return BudgetStatus("work", f"Budget work: {text} of $10.00 used today.", level, **fields)


def test_budget_is_told_at_its_warn_and_at_its_stop_level_once_each():
    states = [having(budgets=(budget(level),)) for level in ("ok", "warn", "warn", "stop", "stop")]
    told, said, before = frozenset(), [], None
    for state in states:
        found, told = after(before, state, told)
        said += found
        before = state
    warn, stop = said
    assert (warn.kind, stop.kind) == ("budget", "budget")
    assert warn.title == "Budget work is nearly used up"
    assert warn.text == "Budget work: $8.00 of $10.00 used today."
    assert stop.title == "Budget work is used up"
    assert stop.text == ("Budget work: $10.00 of $10.00 used today. Calls are refused until 9999.")
    assert stop.action == Action("dashboard", "settings")
    anew, told = after(before, states[0], told)
    assert anew == []
    assert [n.title for n in notices(states[0], states[1], told)] == [warn.title]


def test_stopped_budget_speaks_for_the_accounts_of_its_provider():
    open_, stopped = (budget(level, provider="chatgpt") for level in ("ok", "stop"))
    resting = statuses.account(health="cooling", until=9_999.0)
    before, then = having(READY, budgets=(open_,)), having(resting, budgets=(stopped,))
    assert [n.kind for n in notices(before, then)] == ["budget"]
    assert notices(then, before, frozenset({"budget work stop"})) == []


def test_spent_account_names_what_took_over():
    (notice,) = notices(having(READY, OTHER), having(SPENT, OTHER))
    assert notice.kind == "spent"
    assert notice.title == "ChatGPT (ada@example.org) is used up"
    assert notice.text == "ChatGPT (second) goes on. It comes back at 9999."


def test_spent_account_without_another_says_so():
    (notice,) = notices(having(READY), having(SPENT))
    assert notice.text.startswith("No other account of ChatGPT can answer.")


def test_short_pause_is_no_news():
    hiccup = statuses.account(health="cooling", until=NOW + 60)
    assert notices(having(READY), having(hiccup)) == []
    assert notices(having(hiccup), having(READY)) == []


def test_account_that_is_back_is_told():
    (notice,) = notices(having(SPENT), having(READY))
    assert (notice.kind, notice.title) == ("back", "ChatGPT (ada@example.org) is back")
    assert notice.action == Action("dashboard", "accounts")


def test_window_nearly_used_up_is_told_once_until_it_begins_anew():
    (notice,), told = after(having(READY), having(LOW))
    assert notice.kind == "low"
    assert notice.text == "8 % of 5h is left. It begins anew at 2000."
    assert notices(having(LOW), having(LOW), told) == []
    _, told = after(having(LOW), having(READY), told)
    assert [n.kind for n in notices(having(READY), having(LOW), told)] == ["low"]


@pytest.mark.parametrize("status", [SPENT, ENDED, LOW])
def test_what_the_user_just_did_is_quiet(status):
    assert notices(having(READY), having(status), acted={"chatgpt/chatgpt-1"}) == []


def test_paused_and_resumed_accounts_are_quiet():
    paused = statuses.account(health="disabled", paused=True)
    assert notices(having(READY), having(paused)) == []
    assert notices(having(paused), having(SPENT)) == []


def test_new_account_is_no_news():
    assert notices(having(), having(READY)) == []


def test_refused_settings_are_told_once_per_problem():
    wrong = statuses.status(problems=("config.yaml:3: wrong", "config.yaml:9: too"))
    (notice,), told = after(statuses.status(), wrong)
    assert (notice.kind, notice.text) == ("config", "config.yaml:3: wrong (1 more)")
    assert notices(wrong, wrong, told) == []
    other = statuses.status(problems=("config.yaml:4: wrong",))
    assert [n.kind for n in notices(wrong, other, told)] == ["config"]


def test_new_device_code_is_told_once():
    waiting = statuses.status(sign_ins=(statuses.pending(),))
    (notice,), told = after(statuses.status(), waiting)
    assert notice.text == "Type AB12-CD34 at https://github.com/login/device"
    assert (notice.action, notice.button) == (Action("copy_code", "AB12-CD34"), "Copy the code")
    assert notices(waiting, waiting, told) == []
    fresh = statuses.status(sign_ins=(statuses.pending("ZZ99-YY88"),))
    assert [n.kind for n in notices(waiting, fresh, told)] == ["code"]


def test_code_of_a_sign_in_that_the_user_began_is_no_news_then_and_later():
    waiting = statuses.status(sign_ins=(statuses.pending(),))
    found, told = after(statuses.status(), waiting, acted={"copilot"})
    assert found == []
    assert notices(waiting, waiting, told) == []


def test_what_is_remembered_ends_with_what_it_was_about():
    _, told = after(having(READY), having(SPENT, problems=("p",), sign_ins=(statuses.pending(),)))
    assert len(told) == 3
    assert after(having(SPENT), having(READY), told)[1] == frozenset()


def test_every_kind_but_answers_has_a_switch():
    assert set(KINDS) == {
        *("sign_in", "renewal", "spent", "back", "low", "budget", "config", "code"),
    }


class Sender:
    def __init__(self, works=True):
        self.works = works
        self.sent = []

    async def send(self, **notice):
        self.sent.append(notice)
        if self.works is True:
            notice["on_dispatched"]()
        elif self.works is not False:
            raise self.works


NOTICE = Notice("low", "k", "a <b>", "5 < 6", Action("dashboard"), "Show")


async def test_notice_is_sent_with_its_action():
    sender, done = Sender(), []
    notifier = Notifier(done.append, lambda: sender)
    assert await notifier.send(NOTICE)
    (sent,) = sender.sent
    assert (sent["title"], sent["message"]) == ("a (b)", "5 ( 6")
    (button,) = sent["buttons"]
    assert button.title == "Show"
    button.on_pressed()
    sent["on_clicked"]()
    assert done == [Action("dashboard")] * 2


async def test_notice_without_action_has_no_button():
    sender = Sender()
    assert await Notifier(lambda action: None, lambda: sender).send(Notice("answer", "", "t", "x"))
    assert sender.sent[0]["buttons"] == []
    assert sender.sent[0]["on_clicked"] is None


@pytest.mark.parametrize("works", [False, OSError("no service")])
async def test_failure_is_logged_once_and_tried_again(works, caplog):
    sender, made = Sender(works), []
    notifier = Notifier(lambda action: None, lambda: made.append(1) or sender)
    assert not await notifier.send(NOTICE)
    assert not await notifier.send(NOTICE)
    assert [r.levelname for r in caplog.records if r.name == "dragoman.desktop"] == ["WARNING"]
    sender.works = True
    assert await notifier.send(NOTICE)
    assert len(made) == 3
