import pytest

from app.cli.running import address_of, connect, find_running, places
from app.cli.terminal import NotRunning
from app.errors import AppError
from app.instance import Instance


def test_nothing_runs_in_an_empty_home(home):
    assert places() == home
    assert find_running(home) is None
    with pytest.raises(NotRunning):
        connect()


def test_running_instance_is_found_and_asked_with_its_token(home, fake):
    assert find_running(home) == fake.record
    assert connect().get("/healthz") == {"status": "ok"}
    assert fake.asked[0][2] == f"Bearer {fake.record.token}"
    assert address_of(fake.record) == f"http://localhost:{fake.port}"


def test_holder_that_does_not_say_where_it_listens_is_an_error(home):
    instance = Instance.acquire(home.data, home.runtime)
    try:
        with pytest.raises(AppError, match="cannot be asked") as caught:
            find_running(home)
    finally:
        instance.release()
    assert caught.value.code == "instance_unreachable"
