import threading

import pytest

from app.desktop.menu import Action, Item
from app.desktop.takeover import Takeover
from app.desktop.tray import Tray
from app.errors import AppError
from tests.desktop.test_desktop import FakeNotifier


class FakeIcon:
    """Runs until it is stopped, as pystray's."""

    def __init__(self, shown):
        self.icon = self.title = self.menu = None
        self.visible = False
        self._shown = shown
        self._end = threading.Event()

    def run(self, setup):
        setup(self)
        self._shown.set()
        self._end.wait(10)

    def stop(self):
        self._end.set()


class Offer:
    """An offer that is held on a thread."""

    def __init__(self, **changes):
        self.sent, self.said, self.opened = [], [], []
        self.shown, self.gone = threading.Event(), False
        self.answer = None
        fields = {
            "open_dashboard": lambda: self.opened.append(1),
            "is_gone": lambda: self.gone,
            "theme": "dark",
            "say": self.said.append,
            "make_notifier": lambda perform: FakeNotifier(self.sent),
        }
        self.takeover = Takeover("http://localhost:8317", **(fields | changes))
        self._thread = threading.Thread(target=self._hold)

    def _hold(self):
        self.answer = self.takeover.hold(
            lambda takeover: Tray(FakeIcon(self.shown), str, takeover.perform)
        )

    def begin(self):
        self._thread.start()
        assert self.shown.wait(10)
        return self

    def join(self):
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.answer


@pytest.fixture
def offer():
    found = Offer().begin()
    yield found
    found.takeover.perform(Action("quit"))
    found.join()


def test_icon_says_what_runs_and_what_can_be_done(offer):
    menu = [entry for entry in offer.takeover.face().menu if isinstance(entry, Item)]
    assert menu[0].text == "Runs without a tray icon at localhost:8317"
    assert [item.action.name for item in menu[1:]] == ["dashboard", "take_over", "quit"]


def test_taking_over_is_wanted_once_somebody_says_so(offer):
    offer.takeover.perform(Action("take_over"))
    assert offer.join() is True


def test_leaving_it_takes_nothing_over(offer):
    offer.takeover.perform(Action("quit"))
    assert offer.join() is False


def test_notification_offers_the_same_with_a_button():
    offer = Offer().begin()
    offer.takeover.perform(Action("quit"))
    offer.join()
    (notice,) = offer.sent
    assert (notice.action, notice.button) == (Action("take_over"), "Take over")
    assert "localhost:8317" in notice.text


def test_dashboard_is_opened_without_ending_the_offer():
    opened = threading.Event()
    offer = Offer(open_dashboard=opened.set).begin()
    offer.takeover.perform(Action("dashboard"))
    assert opened.wait(10)
    assert offer.answer is None
    offer.takeover.perform(Action("quit"))
    assert offer.join() is False


def test_dashboard_that_cannot_be_opened_is_said():
    said = threading.Event()
    texts = []

    def refuse():
        raise AppError("It does not answer.")

    def say(text):
        texts.append(text)
        said.set()

    offer = Offer(open_dashboard=refuse, say=say).begin()
    offer.takeover.perform(Action("dashboard"))
    assert said.wait(10)
    assert texts == ["It does not answer."]
    offer.takeover.perform(Action("quit"))
    offer.join()


def test_offer_ends_with_the_program_that_it_is_about():
    offer = Offer(look_s=0.01)
    offer.gone = True
    assert offer.begin().join() is False


def test_offer_that_no_panel_shows_is_said_and_ends(offer):
    offer.takeover.alone()
    assert offer.join() is False
    assert "dragoman stop" in offer.said[0]


def test_no_tray_means_no_offer():
    assert Offer().takeover.hold(lambda takeover: None) is False


def test_tray_that_breaks_leaves_the_other_program_alone(caplog):
    def broken(takeover):
        raise ImportError("no library")

    assert Offer().takeover.hold(broken) is False
    assert "cannot be shown" in caplog.text
