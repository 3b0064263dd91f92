import pytest

from app.accounts.identity import known_identity, same_identity
from app.providers.credential import Identity


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Identity("1", "a@x"), Identity("1", "b@x"), True),
        (Identity("1", "a@x"), Identity("2", "a@x"), False),
        (Identity("", "a@x"), Identity("2", "a@x"), True),
        (Identity("1", "a@x"), Identity("", "b@x"), False),
    ],
)
def test_id_of_the_service_counts_and_the_name_only_where_one_has_no_id(one, other, same):
    assert same_identity(one, other) is same
    assert same_identity(other, one) is same


@pytest.mark.parametrize(
    ("identity", "known"),
    [
        (Identity("1"), True),
        (Identity("", "a@x"), True),
        (Identity("", "", "plus", "Workspace"), False),
    ],
)
def test_plan_and_workspace_tell_nobody_who_it_is(identity, known):
    assert known_identity(identity) is known
