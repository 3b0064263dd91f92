import pytest

from tests.end_to_end.running import dragoman, fakes, settings


@pytest.fixture(scope="session")
def upstream():
    with fakes(chunks="random") as running:
        yield running


@pytest.fixture(scope="session")
def running(upstream, tmp_path_factory):
    with dragoman(tmp_path_factory.mktemp("home"), settings(upstream.url)) as found:
        yield found


@pytest.fixture
def address(running):
    running.rest()
    return running.address
