import pytest

from app.server.vitals import (
    StudioLine,
    Vital,
    count_processes,
    find_trouble,
    of_page,
    of_router,
    of_service,
    of_window,
    render_vital,
)
from app.services.definition import ServiceView
from app.upstream.relay import PageView

ROUTER = of_router("ready", "", 100.0, 5, 1)


def test_processes_are_one_and_windows_and_services_that_run():
    ready = of_service(ServiceView("webai", "WebAI", "ready", pid=7))
    off = of_service(ServiceView("other", "Other", "off"))
    page = of_page(PageView("aistudio/home", "id", 1.0, 2.0, 0, asleep=False))
    window = of_window("dashboard", "ready", 1.0, None, 9)
    assert count_processes([ROUTER, ready, off, page, window]) == 3


def test_sleeping_page_says_what_helps():
    page = of_page(PageView("aistudio/home", "id", 1.0, 2.0, 0, asleep=True))
    assert (page.state, page.pid, page.memory_bytes) == ("asleep", None, None)
    assert "sleeps" in page.reason


def test_service_that_waits_tells_its_next_try():
    view = ServiceView("webai", "WebAI", "waiting", "It ended.", until=50.0, restarts=2)
    shown = render_vital(of_service(view), now=10.0)
    assert shown["until"] == 50.0
    assert (shown["reason"], shown["restarts"], shown["uptime_s"]) == ("It ended.", 2, None)


def test_uptime_is_told_beside_its_beginning():
    assert render_vital(ROUTER, 160.25)["uptime_s"] == 60.2
    assert render_vital(ROUTER, 99.0)["uptime_s"] == 0.0


@pytest.mark.parametrize(
    ("state", "told"),
    [
        *((state, "") for state in ("ready", "off", "installing", "hidden", "waiting")),
        *((state, "WebAI: It ended.") for state in ("failed", "asleep")),
    ],
)
def test_only_what_does_not_get_well_by_itself_asks_for_attention(state, told):
    assert find_trouble((Vital("service", "webai", "WebAI", state, "It ended."),), ()) == told


def test_window_that_was_given_up_asks_for_attention():
    line = StudioLine("home", "closed", "", "failed")
    assert find_trouble((), (line,)) == "AI Studio, home: its window ended again and again."
    assert find_trouble((), (StudioLine("home", "closed", "", "waiting"),)) == ""
