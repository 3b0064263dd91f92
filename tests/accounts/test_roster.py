import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from app.accounts.account import Account
from app.accounts.roster import AccountState, Roster
from app.providers import OPENAI
from app.providers.base import Credential
from tests.fakes.basic import Clock

START = 1_770_000_000.0


def account(label="home", **changes):
    values = {"credential": Credential("sk-secret")} | changes
    return Account(f"openai/{label}", OPENAI, label, OPENAI.base_url, **values)


HOME = account()
WORK = account("work")


@pytest.fixture
def clock():
    return Clock(START)


@pytest.fixture
def roster():
    return Roster([HOME, WORK])


def test_accounts_come_in_the_order_of_the_settings(roster):
    assert roster.accounts() == (HOME, WORK)
    assert roster.get("openai/work") is WORK
    assert roster.get("openai/other") is None
    assert Roster().accounts() == ()


def test_an_account_with_nothing_against_it_is_ready(roster, clock):
    assert roster.state(HOME, "gpt-5", clock()) == AccountState("ready")
    assert roster.overall(HOME, clock()) == AccountState("ready")
    assert roster.level(HOME.id, "gpt-5") == 0


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"enabled": False}, AccountState("disabled", "switched off in the settings")),
        ({"trouble": "no key"}, AccountState("unusable", "no key")),
        (
            {"enabled": False, "trouble": "no key"},
            AccountState("disabled", "switched off in the settings"),
        ),
    ],
)
def test_what_the_settings_say_comes_before_any_pause(changes, state, clock):
    changed = account(**changes)
    roster = Roster([changed])
    assert not changed.ready
    assert roster.state(changed, "m", clock()) == state
    roster.pause(changed.id, None, 60, "busy", clock())
    assert roster.state(changed, "m", clock()) == state


@pytest.mark.parametrize(
    ("after", "health"),
    [(0.0, "cooling"), (59.999, "cooling"), (60.0, "ready"), (60.001, "ready"), (1e9, "ready")],
)
def test_a_pause_ends_at_its_very_instant(roster, clock, after, health):
    roster.pause(HOME.id, "m", 60, "busy", clock())
    clock.advance(after)
    assert roster.state(HOME, "m", clock()).health == health


def test_a_pause_tells_why_and_until_when(roster, clock):
    roster.pause(HOME.id, "m", 60, "busy", clock())
    assert roster.state(HOME, "m", clock()) == AccountState("cooling", "busy", START + 60)


def test_a_model_rests_alone_and_an_account_with_all_its_models(roster, clock):
    roster.pause(HOME.id, "m", 60, "busy", clock())
    assert roster.state(HOME, "n", clock()).health == "ready"
    assert roster.overall(HOME, clock()).health == "ready"
    assert roster.state(WORK, "m", clock()).health == "ready"
    roster.pause(WORK.id, None, 60, "spent", clock())
    assert roster.state(WORK, "anything", clock()).reason == "spent"
    assert roster.overall(WORK, clock()).health == "cooling"


def test_models_that_rest_are_told_by_name(roster, clock):
    roster.pause(HOME.id, "b", 60, "limit", START)
    roster.pause(HOME.id, "a", 60, "not in the plan", START, refused=True)
    roster.pause(HOME.id, "over", 10, "gone", START)
    roster.pause(WORK.id, "b", 60, "another's", START)
    clock.advance(30)
    assert roster.resting(HOME.id, clock()) == (
        ("a", AccountState("refused", "not in the plan")),
        ("b", AccountState("cooling", "limit", START + 60)),
    )
    roster.pause(WORK.id, None, 60, "all of it", START)
    assert [model for model, _ in roster.resting(WORK.id, clock())] == ["b"]


def test_the_later_of_two_pauses_is_told(roster, clock):
    roster.pause(HOME.id, "m", 60, "model", clock())
    roster.pause(HOME.id, None, 30, "account", clock())
    assert roster.state(HOME, "m", clock()) == AccountState("cooling", "model", START + 60)
    assert roster.state(HOME, "n", clock()) == AccountState("cooling", "account", START + 30)


def test_a_running_pause_is_lengthened_but_never_shortened(roster, clock):
    roster.pause(HOME.id, "m", 60, "first", clock())
    roster.pause(HOME.id, "m", 10, "shorter", clock())
    assert roster.state(HOME, "m", clock()) == AccountState("cooling", "first", START + 60)
    roster.pause(HOME.id, "m", 90, "longer", clock())
    assert roster.state(HOME, "m", clock()) == AccountState("cooling", "longer", START + 90)


def test_of_two_pauses_that_end_together_the_first_reason_stays(roster, clock):
    roster.pause(HOME.id, "m", 60, "first", clock())
    roster.pause(HOME.id, "m", 60, "second", clock())
    assert roster.state(HOME, "m", clock()).reason == "first"


def test_a_burst_of_failures_counts_once(roster, clock):
    for _ in range(10):
        roster.pause(HOME.id, "m", 60, "busy", clock())
        clock.advance(1)
    assert roster.level(HOME.id, "m") == 1


def test_the_level_rises_with_each_pause_in_a_row_and_success_forgets_it(roster, clock):
    for level in range(1, 4):
        roster.pause(HOME.id, "m", 60, "busy", clock())
        assert roster.level(HOME.id, "m") == level
        clock.advance(60)
    roster.succeeded(HOME.id, "m")
    assert roster.level(HOME.id, "m") == 0
    roster.pause(HOME.id, "m", 60, "busy", clock())
    assert roster.level(HOME.id, "m") == 1


def test_the_level_of_an_account_counts_for_models_without_one(roster, clock):
    roster.pause(HOME.id, None, 60, "spent", clock())
    assert roster.level(HOME.id, "m") == 1


def test_success_forgets_the_pauses_of_model_and_account_but_not_of_other_models(roster, clock):
    for model in ("m", "n", None):
        roster.pause(HOME.id, model, 60, "busy", clock())
    roster.succeeded(HOME.id, "m")
    assert roster.state(HOME, "m", clock()).health == "ready"
    assert roster.state(HOME, "n", clock()).health == "cooling"


def test_success_of_what_never_failed_changes_nothing(roster, clock):
    roster.succeeded(HOME.id, "m")
    roster.succeeded("openai/other", "m")
    assert roster.overall(HOME, clock()).health == "ready"


def test_a_refusal_is_shown_above_all_and_outlives_successes(roster, clock):
    roster.pause(HOME.id, None, 60, "not allowed", clock(), refused=True)
    roster.pause(HOME.id, "m", 600, "busy", clock())
    roster.succeeded(HOME.id, "m")
    assert roster.state(HOME, "m", clock()) == AccountState("refused", "not allowed")


def test_a_refusal_during_a_longer_pause_takes_over_its_time(roster, clock):
    roster.pause(HOME.id, None, 600, "spent", clock())
    roster.pause(HOME.id, None, 60, "not allowed", clock(), refused=True)
    clock.advance(599)
    assert roster.overall(HOME, clock()) == AccountState("refused", "not allowed")


def test_a_failure_after_a_refusal_does_not_hide_it(roster, clock):
    roster.pause(HOME.id, None, 60, "not allowed", clock(), refused=True)
    roster.pause(HOME.id, None, 600, "busy", clock())
    assert roster.overall(HOME, clock()) == AccountState("refused", "not allowed")


@pytest.mark.parametrize(
    ("changes", "is_kept"),
    [
        ({}, True),
        ({"enabled": False}, True),
        ({"models": {"a": "a"}}, True),
        ({"order": 7}, True),
        ({"credential": Credential("sk-other")}, False),
        ({"credential": None}, False),
        ({"base_url": "https://other.test"}, False),
        ({"proxy": "http://proxy.test:1"}, False),
        ({"headers": (("x-org", "1"),)}, False),
    ],
)
def test_a_reload_keeps_pauses_unless_the_account_calls_otherwise(roster, clock, changes, is_kept):
    roster.pause(HOME.id, "m", 60, "not allowed", clock(), refused=True)
    changed = dataclasses.replace(HOME, **changes)
    roster.replace([changed])
    roster.replace([enabled := dataclasses.replace(changed, enabled=True)])
    assert roster.state(enabled, "m", clock()).health == ("refused" if is_kept else "ready")


def test_an_account_that_was_away_comes_back_without_its_pauses(roster, clock):
    roster.pause(HOME.id, None, 60, "busy", clock())
    roster.replace([WORK])
    assert roster.get(HOME.id) is None
    roster.replace([HOME, WORK])
    assert roster.overall(HOME, clock()).health == "ready"


def test_pauses_of_made_up_models_do_not_pile_up_and_push_out_no_refusal(roster, clock):
    roster.pause(WORK.id, None, 1, "not allowed", clock(), refused=True)
    roster.pause(HOME.id, "last", 10_000, "busy", clock())
    for number in range(5_000):
        roster.pause(HOME.id, f"m{number}", 60 + number, "unknown", clock())
    kept = [n for n in range(5_000) if roster.state(HOME, f"m{n}", clock()).health == "cooling"]
    assert len(kept) == 4_094
    assert kept[-1] == 4_999, "those that end first are forgotten first"
    assert roster.state(HOME, "last", clock()).health == "cooling"
    assert roster.overall(WORK, clock()).health == "refused"


def test_pauses_that_have_ended_are_forgotten_before_running_ones(roster, clock):
    for number in range(4_096):
        roster.pause(HOME.id, f"old{number}", 1, "busy", clock())
    clock.advance(1)
    for number in range(4_096):
        roster.pause(HOME.id, f"new{number}", 60, "busy", clock())
    assert roster.level(HOME.id, "old0") == 0
    assert all(
        roster.state(HOME, f"new{number}", clock()).health == "cooling" for number in range(4_096)
    )


def test_a_paused_account_is_not_used_and_says_so():
    paused = account(paused=True)
    assert not paused.ready
    assert Roster([paused]).overall(paused, START) == AccountState("disabled", "paused by you")


def test_a_renewed_token_keeps_what_stands_against_the_account(clock):
    def signed_in(secret, kind="oauth"):
        return account(credential=Credential(secret, kind))

    roster = Roster([signed_in("token-1")])
    roster.pause(HOME.id, None, 60, "5-hour window used up", clock())
    roster.replace([signed_in("token-2")])
    assert roster.overall(roster.get(HOME.id), clock()).health == "cooling"
    roster.replace([signed_in("token-2", "api_key")])
    assert roster.overall(roster.get(HOME.id), clock()).health == "ready"


def test_what_stands_against_an_account_goes_with_it_to_its_new_name(roster, clock):
    roster.pause(HOME.id, None, 60, "not allowed", clock(), refused=True)
    renamed = account("cabin")
    roster.rename(HOME.id, renamed.id)
    roster.replace([renamed, WORK])
    assert roster.overall(renamed, clock()) == AccountState("refused", "not allowed")
    assert roster.get(HOME.id) is None


def test_what_stands_against_an_account_is_forgotten_when_somebody_has_acted(roster, clock):
    roster.pause(HOME.id, None, 60, "not allowed", clock(), refused=True)
    roster.pause(HOME.id, "gpt-5", 60, "model", clock())
    roster.pause(WORK.id, None, 60, "busy", clock())
    roster.forget(HOME.id)
    assert roster.state(HOME, "gpt-5", clock()).health == "ready"
    assert roster.overall(WORK, clock()).health == "cooling"


def test_an_account_never_shows_its_secret():
    assert "sk-secret" not in repr(HOME)
    assert "sk-secret" not in repr(HOME.credential)
    assert repr(HOME) == "Account('openai/home', enabled=True)"


models = st.sampled_from(["m", "n", ""])


class RosterMachine(RuleBasedStateMachine):
    """Checks the roster against the list of all that happened to it."""

    def __init__(self):
        super().__init__()
        self.clock = Clock(START)
        self.roster = Roster([HOME])
        self.until = {"m": -math.inf, "n": -math.inf, "": -math.inf}
        self.refused_until = -math.inf

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 5.0, 60.0]))
    def wait(self, seconds):
        self.clock.advance(seconds)

    @rule(model=models, seconds=st.sampled_from([1.0, 1.5, 5.0, 60.0]))
    def fail(self, model, seconds):
        self.roster.pause(HOME.id, model or None, seconds, "busy", self.clock())
        self.until[model] = max(self.until[model], self.clock() + seconds)
        if model == "" and self.refused_until > self.clock():
            self.refused_until = self.until[""]

    @rule(seconds=st.sampled_from([1.0, 60.0]))
    def refuse(self, seconds):
        self.roster.pause(HOME.id, None, seconds, "no", self.clock(), refused=True)
        self.until[""] = max(self.until[""], self.clock() + seconds)
        self.refused_until = self.until[""]

    @rule(model=st.sampled_from(["m", "n"]))
    def succeed(self, model):
        self.roster.succeeded(HOME.id, model)
        self.until[model] = -math.inf
        if self.refused_until <= self.clock():
            self.until[""] = -math.inf

    @rule()
    def reload(self):
        self.roster.replace([dataclasses.replace(HOME, order=1)])

    @invariant()
    def health_is_what_happened(self):
        now = self.clock()
        for model in ("m", "n"):
            state = self.roster.state(HOME, model, now)
            until = max(self.until[model], self.until[""])
            if self.refused_until > now:
                assert (state.health, state.until) == ("refused", None)
            elif until > now:
                assert (state.health, state.until) == ("cooling", until)
            else:
                assert state.health == "ready"


TestRosterAgainstAModel = RosterMachine.TestCase


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=20))
def test_pauses_that_overlap_end_with_the_longest(lengths):
    roster = Roster([HOME])
    for length in lengths:
        roster.pause(HOME.id, None, length, "busy", START)
    assert roster.overall(HOME, START).until == START + max(lengths)
    assert roster.level(HOME.id, "") == 1


# Since when


def test_state_tells_since_when_it_is_so(clock):
    roster = Roster()
    roster.replace([HOME, dataclasses.replace(WORK, trouble="no key")], START)
    clock.advance(100)
    roster.replace([HOME, dataclasses.replace(WORK, trouble="no key", order=3)], clock())
    assert roster.overall(roster.get(WORK.id), clock()).since == START
    roster.replace([HOME, dataclasses.replace(WORK, paused=True)], clock())
    assert roster.overall(roster.get(WORK.id), clock()).since == START + 100
    roster.replace([HOME, WORK], clock())
    assert roster.overall(WORK, clock()).since is None


def test_rest_tells_when_it_began(clock):
    roster = Roster([HOME])
    roster.pause(HOME.id, None, 60, "busy", clock())
    clock.advance(10)
    roster.pause(HOME.id, None, 90, "longer", clock())
    assert roster.overall(HOME, clock()).since == START
    clock.advance(100)
    roster.pause(HOME.id, None, 60, "no", clock(), refused=True)
    assert roster.overall(HOME, clock()).since == START + 110


def test_barred_provider_rests_until_the_user_lets_it_be_called_again(roster, clock):
    barred = {"openai": ("Budget work is used up", START + 60)}
    roster.barred = barred.get
    for model in ("gpt-5", ""):
        state = roster.state(HOME, model, clock())
        assert (state.health, state.reason, state.until) == ("cooling", *barred["openai"])
        assert not state.soft
    paused = dataclasses.replace(HOME, paused=True)
    roster.replace([paused])
    assert roster.state(paused, "gpt-5", clock()).health == "disabled"
    roster.replace([HOME])
    barred.clear()
    assert roster.state(HOME, "gpt-5", clock()).health == "ready"
