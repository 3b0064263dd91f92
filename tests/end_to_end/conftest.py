import pytest

from tests.end_to_end.running import dragoman, fakes, settings


@pytest.fixture(scope="session")
def upstream():
    with fakes(chunks="random") as running:
        yield running


@pytest.fixture(scope="session")
def service(upstream, tmp_path_factory):
    with dragoman(tmp_path_factory.mktemp("home"), settings(upstream.url)) as running:
        yield running


@pytest.fixture(scope="session")
def address(service):
    return f"http://127.0.0.1:{service.port}"
