import pytest

from app.accounts.flow import Attempt, Flow
from app.accounts.state import States
from app.errors import RequestError
from tests.accounts.services import LISTEN, WEB


def attempt(token="a" * 32, state="waiting"):
    view = Flow(token[:2], "web", "browser", "browser", state, 0.0, 300.0)
    return Attempt(view, WEB, WEB.sign_ins["browser"], "", "", "", "", 0.0, token=token)


def refused(states, attempts, state, at=None):
    with pytest.raises(RequestError) as caught:
        states.take(attempts, state, at)
    assert (caught.value.status, caught.value.code) == (404, "unknown_state")
    return caught.value.message


def test_state_finds_its_flow_and_is_used_up():
    states, one, other = States(), attempt("a" * 32), attempt("b" * 32)
    assert states.take([one, other], "b" * 32, LISTEN) is other
    assert (one.token, other.token) == ("a" * 32, "")
    assert "finished or ended already" in refused(states, [one, other], "b" * 32)


@pytest.mark.parametrize("state", ["", "c" * 32, "é", "\udc80"])
def test_wrong_state_is_told_from_one_that_was_taken(state):
    states, one = States(), attempt()
    assert "belongs to no sign-in" in refused(states, [one], state)
    assert one.token


def test_state_at_a_foreign_place_is_not_taken():
    states, one = States(), attempt()
    refused(states, [one], "a" * 32, "codex")
    assert states.take([one], "a" * 32, "web") is one


@pytest.mark.parametrize("state", ["working", "done", "expired", "cancelled", "other_identity"])
def test_flow_that_does_not_wait_takes_no_state(state):
    refused(States(), [attempt(state=state)], "a" * 32)


def test_pasted_state_is_that_of_the_flow_or_missing():
    states, one = States(), attempt()
    states.check(one, "")
    states.check(one, "a" * 32)
    with pytest.raises(RequestError, match="another sign-in") as caught:
        states.check(one, "b" * 32)
    assert caught.value.code == "unknown_state"
    assert one.token


def test_only_the_newest_that_were_taken_are_remembered():
    states = States()
    for number in range(65):
        states.use_up(attempt(f"{number:032}"))
    assert "belongs to no sign-in" in refused(states, [], f"{0:032}")
    assert "already" in refused(states, [], f"{64:032}")
