import pytest

from app.cli.launch import end
from app.cli.running import client_of, find_running
from tests.cli.fake_instance import HEALTH


@pytest.fixture
def ended(home):
    """Ends what a test has started."""
    yield
    record = find_running(home)
    if record is not None:
        end(record, home)


@pytest.mark.usefixtures("ended")
def test_restart_uses_the_named_settings_again(dragoman, fake, home, tmp_path):
    named = tmp_path / "named.yaml"
    named.write_text("server: {port: 0}\n")
    config = HEALTH["config"] | {"path": str(named), "why": "option"}
    fake.answers["GET /v1/health"] = HEALTH | {"config": config}
    code, out, _ = dragoman("restart")
    record = find_running(home)
    assert code == 0
    assert fake.stopped.is_set()
    assert out == f"Dragoman runs at http://localhost:{record.port} (process {record.pid}).\n"
    assert client_of(record).get("/v1/health")["config"]["path"] == str(named)


@pytest.mark.usefixtures("ended")
def test_restart_without_an_instance_starts_one(dragoman, home):
    assert dragoman("restart", "--port", "0").code == 0
    assert find_running(home) is not None


def test_instance_that_does_not_stop_is_not_joined_by_another(dragoman, fake, home):
    fake.answers["POST /admin/stop"] = (503, {"error": {"message": "Not now."}})
    assert dragoman("restart") == (1, "", "error: Not now.\n")
    assert find_running(home) == fake.record
