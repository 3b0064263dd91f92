import pytest

from app.cli import tray
from app.errors import AppError


class FakeDesktop:
    def __init__(self, missing="", wanted=False):
        self.reason = missing
        self.wanted = wanted
        self.asked = True
        self.started = None
        self.offered = None

    def by_hand(self):
        return self.asked

    def missing(self):
        return self.reason

    def offer(self, address, **options):
        self.offered = {"address": address, **options}
        return self.wanted

    def start(self, serve, paths, **options):
        self.started = options
        return serve(lambda program: None)


def never(*_):
    raise AssertionError("the proxy must not be started")


def test_tray_is_started_with_the_proxy(home, capsys):
    desktop = FakeDesktop()

    def serve(ready, attach):
        ready("http://localhost:8317")
        attach("program")
        return 5

    assert tray.run(desktop, serve) == 5
    assert "listens at http://localhost:8317" in capsys.readouterr().out
    assert desktop.started["command"][-1] == "app"
    assert set(desktop.started) == {"command", "environment", "say"}


def test_failure_is_shown(home, capsys):
    def serve(ready, attach):
        raise AppError("The port is taken.", hint="Take another.")

    assert tray.run(FakeDesktop(), serve) == 1
    assert "error: The port is taken.\nhint: Take another." in capsys.readouterr().err


def test_second_start_shows_the_first(fake, capsys):
    fake.answers["POST /admin/show"] = {"shown": True}
    browsed = []
    assert tray.run(FakeDesktop(), never, browse=browsed.append) == 0
    assert "runs already" in capsys.readouterr().out
    assert fake.asked[-1][:3] == ("POST", "/admin/show", f"Bearer {fake.record.token}")
    assert browsed == []


@pytest.mark.parametrize("can_browse", [True, False])
def test_first_without_a_tray_is_opened_in_the_browser(fake, capsys, can_browse):
    url = "http://localhost:8317/admin#ticket"
    fake.answers["POST /admin/show"] = {"shown": False, "url": url}
    browsed = []
    desktop = FakeDesktop("There is no display.")
    assert tray.run(desktop, never, browse=lambda u: browsed.append(u) or can_browse) == 0
    assert desktop.offered is None
    assert browsed == [url]
    out = capsys.readouterr().out
    assert "ticket" not in out
    assert ("in a browser" in out) is not can_browse


def test_first_without_a_tray_may_be_left_as_it_is(fake, capsys):
    fake.answers["POST /admin/show"] = {"shown": False, "url": "http://localhost/admin#one"}
    fake.answers["POST /admin/ticket"] = {"url": "http://localhost/admin#two"}
    browsed, desktop = [], FakeDesktop()
    assert tray.run(desktop, never, browse=lambda url: browsed.append(url) or True) == 0
    assert desktop.offered["address"] == f"http://localhost:{fake.record.port}"
    assert "offers to take over" in capsys.readouterr().err
    desktop.offered["open_dashboard"]()
    assert browsed == ["http://localhost/admin#one", "http://localhost/admin#two"]
    assert not desktop.offered["is_gone"]()


def test_first_without_a_tray_is_taken_over_from(fake, capsys, monkeypatch):
    fake.answers["POST /admin/show"] = {"shown": False, "url": ""}
    ended = []
    monkeypatch.setattr(tray, "end", lambda record, paths: ended.append(record))
    desktop = FakeDesktop(wanted=True)
    assert tray.run(desktop, lambda ready, attach: 3) == 3
    assert ended == [fake.record]
    assert desktop.started is not None


def test_start_at_sign_in_leaves_the_first_alone(fake):
    desktop, browsed = FakeDesktop(), []
    desktop.asked = False
    assert tray.run(desktop, never, browse=browsed.append) == 0
    assert (browsed, desktop.offered) == ([], None)
    assert "/admin/show" not in [path for _, path, *_ in fake.asked]


def test_first_that_cannot_show_itself_is_named(fake, capsys):
    assert tray.run(FakeDesktop(), never) == 0
    assert f"process {fake.record.pid}" in capsys.readouterr().out


def test_refusal_of_the_first_is_shown(fake, capsys):
    fake.answers["POST /admin/show"] = (403, {"error": {"message": "No."}})
    assert tray.run(FakeDesktop(), never) == 1
    assert "error: No." in capsys.readouterr().err


def test_without_a_tray_the_proxy_runs_headless(home, capsys, monkeypatch):
    monkeypatch.setattr(tray.foreground, "run", lambda *, greet: 4 if greet else 0)
    assert tray.run(FakeDesktop("There is no display."), never) == 4
    assert "There is no display. Dragoman runs without a tray icon." in capsys.readouterr().err


def test_interrupt_is_its_own_exit_code(home):
    def serve(ready, attach):
        raise KeyboardInterrupt

    assert tray.run(FakeDesktop(), serve) == 130
