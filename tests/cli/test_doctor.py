import msgspec
import pytest

from app import instance
from app.cli.client import Client
from app.cli.doctor import check_accounts
from app.instance import Instance
from tests.cli.fake_instance import HEALTH, account, events, model, provider


@pytest.fixture
def clock():
    """A clock that only ``sleep`` moves."""

    class Clock:
        now_s = 0.0

        def now(self):
            return self.now_s

        def sleep(self, seconds):
            self.now_s += seconds

    return Clock()


@pytest.fixture
def accounts(fake, clock):
    """Checks these accounts of an instance that offers these models."""

    def call(found, models):
        fake.answers["GET /v1/health"] = HEALTH | {"providers": [provider("openai", *found)]}
        if not callable(models):
            fake.answers["GET /v1/models"] = {"data": models}
        else:
            fake.answers["GET /v1/models"] = lambda _: {"data": models()}
        checks = check_accounts(Client(fake.port), now=clock.now, sleep=clock.sleep)
        return {check.name: check for check in checks}

    return call


def asked_models(fake):
    bodies = [
        msgspec.json.decode(b) for _, path, _, b in fake.asked if path.endswith("completions")
    ]
    return [body["model"] for body in bodies]


def test_each_account_is_asked_by_its_id(fake, accounts):
    checks = accounts(
        [account("openai/a"), account("openai/b")],
        [model("gpt-5", "openai", "openai/a", "openai/b")],
    )
    assert [check.verdict for check in checks.values()] == ["ok", "ok"]
    assert asked_models(fake) == ["openai/a/gpt-5", "openai/b/gpt-5"]
    assert "1 token, the first after" in checks["account openai/a"].text


def test_account_that_fails_is_told_with_the_reason(fake, accounts):
    fake.answers["POST /v1/chat/completions"] = (402, {"error": {"message": "No credit."}})
    check = accounts([account("openai/a")], [model("m", "openai", "openai/a")])["account openai/a"]
    assert check.verdict == "failed"
    assert "No credit." in check.text


def test_accounts_that_cannot_answer_are_not_asked(fake, accounts):
    checks = accounts(
        [
            account("openai/off", "disabled", "switched off in the settings"),
            account("openai/tired", "cooling", "limit reached", 1e10),
            account("openai/keyless", "unusable", "KEY is not set in this session"),
            account("openai/banned", "refused", "not allowed by the provider"),
        ],
        [],
    )
    assert {name.split("/")[1]: check.verdict for name, check in checks.items()} == {
        "tired": "warning",
        "keyless": "failed",
        "banned": "failed",
    }
    assert "KEY is not set" in checks["account openai/keyless"].text
    assert asked_models(fake) == []


@pytest.mark.parametrize(
    ("state", "hint"),
    [("unusable", "dragoman login openai --account b"), ("refused", "terms")],
)
def test_sign_in_that_is_over_says_how_to_repair_it(accounts, state, hint):
    told = account("openai/b", state, "not signed in any more") | {"configured": False}
    assert hint in accounts([told], [])["account openai/b"].hint


def test_models_that_are_listed_late_are_waited_for(accounts, clock):
    lists = iter([[], [], [model("m", "openai", "openai/a")]])
    checks = accounts([account("openai/a")], lambda: next(lists))
    assert checks["account openai/a"].verdict == "ok"
    assert 0 < clock.now_s < 10


def test_account_that_lists_nothing_is_a_warning_after_a_while(fake, accounts, clock):
    checks = accounts([account("openai/a")], [])
    assert checks["account openai/a"].verdict == "warning"
    assert clock.now_s == pytest.approx(10, abs=1)
    assert asked_models(fake) == []


def test_without_an_account_the_demo_is_asked(fake, dragoman, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_SERVER__PORT", str(fake.port))
    found = msgspec.json.decode(dragoman("doctor", "--json").out)
    assert asked_models(fake) == ["demo-chat"]
    verdicts = {check["name"]: check["verdict"] for check in found["checks"]}
    assert verdicts["demo"] == "ok"
    assert {"python", "config", "folders", "clock", "port", "loopback", "instance"} <= set(verdicts)


def test_neither_account_nor_demo_is_a_warning(accounts):
    (check,) = accounts([], []).values()
    assert check.verdict == "warning"


def test_failed_check_is_exit_code_one_and_has_its_line(fake, dragoman):
    fake.answers["POST /v1/chat/completions"] = events("a", done=False)
    code, out, _ = dragoman("doctor")
    assert code == 1
    assert any(
        line.startswith("failed   The demo model gave no answer") for line in out.split("\n")
    )


def test_wrong_settings_are_told_and_nothing_is_started(dragoman, home, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_SERVER__PROT", "1")
    code, out, _ = dragoman("doctor", "--json")
    checks = msgspec.json.decode(out)["checks"]
    assert code == 1
    assert [c["name"] for c in checks] == ["python", "config", "folders", "clock"]
    assert not home.data.exists()


def test_instance_that_cannot_be_asked_is_told(dragoman, home):
    holder = Instance.acquire(home.data, home.runtime)
    try:
        code, out, _ = dragoman("doctor", "--json")
    finally:
        holder.release()
    last = msgspec.json.decode(out)["checks"][-1]
    assert (code, last["name"], last["verdict"]) == (1, "instance", "failed")


def test_without_an_instance_one_is_started_and_ended(dragoman, home):
    checks = msgspec.json.decode(dragoman("doctor", "--json").out)["checks"]
    verdicts = {check["name"]: check["verdict"] for check in checks}
    assert (verdicts["instance"], verdicts["loopback"], verdicts["demo"]) == ("ok", "ok", "ok")
    assert instance.read(home.data, home.runtime).state == "none"


def test_instance_that_does_not_start_is_told(dragoman, home, tmp_path):
    named = tmp_path / "named.yaml"
    named.write_text("server: {host: 192.0.2.1, port: 0}\n")  # nobody's address
    code, out, _ = dragoman("doctor", "--config", str(named), "--json")
    last = msgspec.json.decode(out)["checks"][-1]
    assert (code, last["name"], last["verdict"]) == (1, "instance", "failed")
    assert last["text"]


@pytest.mark.parametrize("broken", ["GET /v1/health", "GET /v1/models"])
def test_lists_that_cannot_be_had_are_told(fake, broken):
    fake.answers[broken] = (500, {"error": {"message": "Broken."}})
    (check,) = check_accounts(Client(fake.port))
    assert (check.verdict, check.text) == ("failed", "Broken.")
