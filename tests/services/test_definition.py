import pytest

from app.services.definition import Restart, ServiceView


def test_time_between_starts_doubles_up_to_a_limit():
    restart = Restart(first_s=1.0, longest_s=5.0, most=6)
    assert [restart.delay_s(n) for n in range(1, 7)] == [1.0, 2.0, 4.0, 5.0, 5.0, None]


@pytest.mark.parametrize("failures", [5, 6, 100])
def test_after_five_failures_in_a_row_it_is_given_up(failures):
    assert Restart().delay_s(failures) is None


def test_view_of_a_service_is_off_and_not_agreed_to_unless_told():
    view = ServiceView("a", "A", "off")
    assert (view.on, view.agreed, view.pid, view.until) == (False, False, None, None)
