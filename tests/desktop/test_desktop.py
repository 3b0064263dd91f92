import threading

import pytest

from app.build import RELEASES
from app.desktop.autostart import MARK
from app.desktop.desktop import Desktop, Parts, _local
from app.desktop.menu import Action, Item
from app.errors import AppError
from tests.desktop import statuses
from tests.desktop.scripted_program import ScriptedProgram


class FakeSwitch:
    where = "the settings"

    def __init__(self):
        self.now = "off"
        self.command = None

    def state(self):
        return self.now

    def switch_on(self, command):
        if self.now == "blocked":
            raise AppError("It is switched off in the settings.")
        self.now, self.command = "on", command

    def switch_off(self):
        self.now = "off"


class FakeWindows:
    def __init__(self):
        self.opened = []
        self.browsed = []
        self.closed = False

    def open(self, name, page, heard=None):
        self.opened.append((name, page))

    def browse(self, url):
        self.browsed.append(url)

    def close_all(self):
        self.closed = True


class FakeNotifier:
    def __init__(self, sent):
        self.sent = sent
        self.closed = False

    async def send(self, notice):
        self.sent.append(notice)
        return True

    async def close(self):
        self.closed = True


class Rig:
    """A desktop on its thread, with everything around it faked, and a program attached to it."""

    def __init__(self, tmp_path, program=None):
        self.faces = []
        self.changed = threading.Condition()
        self.sent, self.copied, self.said, self.finished = [], [], [], []
        self.windows, self.switch = FakeWindows(), FakeSwitch()
        self.clock = 1_000.0
        self.parts = Parts(
            windows=self.windows,
            switch=self.switch,
            copy=self.copied.append,
            command=["dragoman"],
            preferences_file=tmp_path / "desktop.json",
            storage=tmp_path / "windows",
            theme="dark",
            say=self.said.append,
            make_notifier=self._notifier,
            now=lambda: self.clock,
            moment=lambda at: f"{at:.0f}",
        )
        self.desktop = Desktop(self.parts, self._show, lambda: self.finished.append(1))
        self.desktop.bridge._interval_s = 0.0  # tests do not wait for eyes
        self.desktop.start()
        self.program = program or ScriptedProgram()
        self.thread = threading.Thread(target=self.program.serve, args=(self._attach,))

    def _notifier(self, perform):
        self.notifier = FakeNotifier(self.sent)
        return self.notifier

    def _attach(self, program):
        self.desktop.bridge.attach(program)

    def _show(self, face):
        with self.changed:
            self.faces.append(face)
            self.changed.notify_all()

    def serve(self):
        self.thread.start()
        assert self.program.listening.wait(10)
        self.until(lambda: self.faces)

    def until(self, holds):
        """Wait until something holds; looked at after each new face and each answer."""
        with self.changed:
            assert self.changed.wait_for(holds, 10), (self.faces[-1:], self.sent)

    def do(self, name, target=""):
        """Perform an action, and whatever was begun with it, to its end."""
        self.desktop.perform(Action(name, target))
        self.settle()

    def settle(self):
        """Wait until the desktop's thread has nothing to do."""
        loop = self.desktop._loop
        for _ in range(200):
            idle = threading.Event()
            loop.call_soon_threadsafe(idle.set)
            assert idle.wait(10)
            tasks = list(self.desktop._tasks)
            if not tasks:
                return
            done = threading.Event()
            loop.call_soon_threadsafe(tasks[0].add_done_callback, lambda _, done=done: done.set())
            assert done.wait(10)
        raise AssertionError("it never ends")

    def close(self):
        if self.thread.is_alive():
            self.program.end()
            self.thread.join(10)
        self.desktop.bridge.detach()
        self.desktop.close()


@pytest.fixture
def rig(tmp_path):
    found = Rig(tmp_path)
    found.serve()
    yield found
    found.close()


def texts(face):
    return [entry.text for entry in face.menu if isinstance(entry, Item)]


def test_status_becomes_a_face(rig):
    face = rig.faces[-1]
    assert face.title == "Dragoman: Ready at localhost:8317"
    assert (face.picture.state, face.picture.theme) == ("running", "dark")
    assert {"Open dashboard", "Copy address", "New key…", "Start at sign-in", "Quit"} <= set(
        texts(face)
    )


def test_only_what_the_program_can_do_is_offered(rig):
    assert "Resume" not in texts(rig.faces[-1])
    assert "Help" not in texts(rig.faces[-1])


def test_without_a_clipboard_nothing_is_copied(tmp_path):
    rig = Rig(tmp_path)
    object.__setattr__(rig.parts, "copy", None)
    rig.serve()
    try:
        assert "Copy address" not in texts(rig.faces[-1])
        rig.do("new_key")
        assert [name for name, _ in rig.windows.opened] == ["dashboard"]
        assert ("dashboard", "keys") in rig.program.asked
        del rig.program.answers["dashboard"]
        assert "new_key" not in rig.desktop._actions()
    finally:
        rig.close()


def test_code_that_somebody_has_to_type_is_copied(rig):
    rig.do("copy_code", "AB12-CD34")
    assert rig.copied == ["AB12-CD34"]


@pytest.mark.parametrize("can_copy", [True, False])
def test_notice_has_the_button_that_works_here(tmp_path, can_copy):
    rig = Rig(tmp_path, ScriptedProgram(statuses.status(sign_ins=(statuses.pending(),))))
    if not can_copy:
        object.__setattr__(rig.parts, "copy", None)
    rig.serve()
    try:
        rig.settle()
        (notice,) = [notice for notice in rig.sent if notice.kind == "code"]
        assert notice.button == ("Copy the code" if can_copy else "")
        assert (notice.action is None) is not can_copy
    finally:
        rig.close()


GREETING = {"welcome": "http://localhost:8317/admin#ticket=t&show=welcome"}


@pytest.fixture
def first(tmp_path):
    """What runs a program without accounts that has the first steps; ends it, too."""
    rigs = []

    def begin(status=None, **answers):
        rigs.append(
            Rig(tmp_path, ScriptedProgram(status or statuses.status(), answers=GREETING | answers))
        )
        rigs[-1].serve()
        rigs[-1].settle()
        return rigs[-1]

    yield begin
    for rig in rigs:
        rig.close()


def test_first_steps_are_shown_at_the_first_run_only(first, tmp_path):
    rig = first()
    ((name, page),) = rig.windows.opened
    assert (name, page.title, page.url) == ("welcome", "Welcome to Dragoman", GREETING["welcome"])
    assert page.width < 800
    rig.program.become(statuses.status("attention", reason="r"))
    rig.until(lambda: rig.faces[-1].picture.state == "attention")
    rig.settle()
    assert len(rig.windows.opened) == 1
    rig.close()
    assert first().windows.opened == []


def test_first_steps_are_not_for_who_has_an_account(first):
    assert first(statuses.full()).windows.opened == []


def test_first_steps_wait_for_a_start_that_somebody_made(first, monkeypatch):
    monkeypatch.setenv(MARK, "1")
    rig = first()
    assert rig.windows.opened == []
    rig.close()
    monkeypatch.delenv(MARK)
    assert len(first().windows.opened) == 1


def test_first_steps_stand_for_the_dashboard_where_no_panel_is(first):
    rig = first()
    rig.desktop.alone()
    rig.settle()
    assert [name for name, _ in rig.windows.opened] == ["welcome"]
    assert len(rig.said) == 1


def test_page_of_releases_opens_in_the_browser_and_only_on_a_click(rig):
    assert rig.windows.browsed == []
    rig.do("updates")
    assert rig.windows.browsed == [RELEASES]
    assert rig.windows.opened == []


def test_address_is_copied(rig):
    rig.do("copy_address")
    assert rig.copied == ["http://localhost:8317"]


def test_new_key_is_copied_and_said_without_showing_it(rig):
    rig.do("new_key")
    assert rig.copied == ["dg-new"]
    (notice,) = [n for n in rig.sent if n.kind == "answer"]
    assert "clipboard" in notice.text
    assert "dg-new" not in notice.text + notice.title


def test_dashboard_opens_in_a_window_with_its_own_storage(rig, tmp_path):
    rig.do("dashboard", "models")
    ((name, page),) = rig.windows.opened
    assert (name, page.url) == ("dashboard", "http://localhost:8317/admin#ticket")
    assert page.storage == tmp_path / "windows" / "dashboard"
    assert ("dashboard", "models") in rig.program.asked


def test_answer_of_a_command_is_told(rig):
    rig.do("refresh", "chatgpt/chatgpt-1")
    assert rig.sent[-1].text == "Refreshed."
    rig.do("pause")
    assert rig.sent[-1].text == "Refreshed."


def test_refusal_of_a_command_is_told(rig):
    rig.do("sign_out", "chatgpt/chatgpt-1")
    assert rig.sent[-1].text == "It is in use. Wait."


@pytest.mark.parametrize(
    ("code", "target"),
    [("account_in_settings", "help/account_in_settings"), ("not_running", ""), ("of_others", "")],
)
def test_refusal_leads_to_its_entry_in_the_help(rig, code, target):
    rig.program.answers["sign_out"] = AppError("Not here.", code=code)
    rig.do("sign_out", "chatgpt/chatgpt-1")
    notice = rig.sent[-1]
    assert (notice.text, notice.button) == ("Not here.", "Help")
    assert notice.action == (Action("dashboard", target) if target else None)


def test_fault_of_a_command_is_logged_and_told(rig, caplog):
    rig.program.answers["pause"] = ValueError("ours")
    rig.do("pause")
    assert rig.sent[-1].text == "That did not work; the log says why."
    assert "pause failed" in caplog.text


def test_autostart_is_switched_and_shown(rig):
    rig.do("autostart", "on")
    assert (rig.switch.now, rig.switch.command) == ("on", ["dragoman"])
    (item,) = [e for e in rig.faces[-1].menu if getattr(e, "text", "") == "Start at sign-in"]
    assert item.checked is True
    rig.do("autostart", "off")
    assert rig.switch.now == "off"


def test_autostart_that_the_system_blocks_is_said(rig):
    rig.switch.now = "blocked"
    rig.do("autostart", "on")
    assert rig.sent[-1].text == "It is switched off in the settings."
    assert "Start at sign-in: off in the settings" in texts(rig.faces[-1])


def test_notifications_are_muted_by_kind_and_stay_so(rig, tmp_path):
    rig.do("notifications", "config")
    rig.program.become(statuses.status("attention", problems=("wrong",)))
    rig.until(lambda: rig.faces[-1].picture.state == "attention")
    rig.settle()
    assert "config" not in [notice.kind for notice in rig.sent]
    assert "config" in (tmp_path / "desktop.json").read_text()
    rig.do("notifications", "config")
    count = len(rig.faces)
    rig.program.become(statuses.status("attention", problems=("worse",)))
    rig.until(lambda: len(rig.faces) > count)
    rig.settle()
    assert "config" in [notice.kind for notice in rig.sent]


def test_account_that_the_user_clicked_is_quiet_for_a_while(tmp_path):
    ready = statuses.status(accounts=(statuses.account(),))
    ended = statuses.status(
        "attention",
        accounts=(statuses.account(health="unusable", needs_sign_in=True, reason="Revoked."),),
    )
    rig = Rig(tmp_path, ScriptedProgram(ready))
    rig.serve()
    try:
        rig.do("refresh", "chatgpt/chatgpt-1")
        rig.program.become(ended)
        rig.until(lambda: rig.faces[-1].picture.state == "attention")
        rig.settle()
        assert [notice.kind for notice in rig.sent] == ["answer"]
        rig.clock += 60.0
        rig.program.become(ready)
        rig.until(lambda: rig.faces[-1].picture.state == "running")
        rig.program.become(ended)
        rig.until(lambda: rig.faces[-1].picture.state == "attention")
        rig.settle()
        assert [notice.kind for notice in rig.sent] == ["answer", "sign_in"]
    finally:
        rig.close()


def test_code_of_a_sign_in_that_the_menu_began_is_quiet(tmp_path):
    rig = Rig(tmp_path, ScriptedProgram(statuses.status()))
    rig.serve()

    def show(code):
        count = len(rig.faces)
        rig.program.become(statuses.status(sign_ins=(statuses.pending(code),)))
        rig.until(lambda: len(rig.faces) > count)
        rig.settle()
        return [notice.text for notice in rig.sent if notice.kind == "code"]

    try:
        rig.do("add_account", "copilot")
        assert show("AB12-CD34") == []
        rig.clock += 3_600.0
        assert len(show("ZZ99-YY88")) == 1
    finally:
        rig.close()


def test_quit_asks_to_finish_and_says_so(rig):
    rig.do("quit")
    assert rig.finished == [1]
    rig.desktop.finishing()
    rig.settle()
    assert rig.faces[-1].picture.state == "paused"
    assert "Dragoman ends." in texts(rig.faces[-1])
    assert "answer" not in [notice.kind for notice in rig.sent]


def test_quit_with_answers_under_way_says_how_long_it_waits(rig):
    rig.program.become(statuses.status("working", running=2))
    rig.until(lambda: rig.faces[-1].picture.state == "working")
    rig.desktop.finishing()
    rig.settle()
    said = "It ends after 2 answers, in 10 s at most."
    assert rig.sent[-1].text == said
    count = len(rig.faces)
    rig.program.become(statuses.status("paused", reason="Dragoman is stopping.", running=1))
    rig.until(lambda: len(rig.faces) > count)
    assert said in texts(rig.faces[-1])


def test_without_a_panel_the_dashboard_opens(rig):
    rig.desktop.alone()
    rig.program.wait("dashboard")
    rig.settle()
    assert rig.windows.opened
    assert "http://localhost:8317" in rig.said[0]
    assert [notice.text for notice in rig.sent if notice.kind == "answer"] == rig.said


def test_without_a_panel_at_sign_in_nothing_opens(rig, monkeypatch):
    monkeypatch.setenv(MARK, "1")
    rig.desktop.alone()
    rig.settle()
    assert (rig.windows.opened, len(rig.said)) == ([], 1)


def test_close_lets_the_last_notice_out(tmp_path):
    rig = Rig(tmp_path)
    rig.desktop.tell("The port is taken.")
    rig.desktop.close()
    rig.desktop.close()
    assert [notice.text for notice in rig.sent] == ["The port is taken."]
    assert (rig.notifier.closed, rig.windows.closed) == (True, True)
    rig.desktop.tell("too late")
    rig.desktop.perform(Action("quit"))
    assert rig.finished == []


def test_moment_is_written_as_short_as_it_can_be(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert _local(3_600.0, 0.0) == "01:00"
    assert _local(86_400.0 + 60, 0.0) == "Fri 00:01"
    assert _local(86_400.0 * 10, 0.0) == "11 Jan 00:00"
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("name", "target", "window"),
    [
        ("add_account", "claude", "sign-in claude"),
        ("sign_in", "chatgpt/chatgpt-1", "sign-in chatgpt/chatgpt-1"),
    ],
)
def test_sign_ins_have_windows_of_their_own(tmp_path, name, target, window):
    program = ScriptedProgram(answers={"sign_in_page": "http://localhost:8317/page#ticket"})
    rig = Rig(tmp_path, program)
    try:
        rig.serve()
        rig.do(name, target)
        ((opened, page),) = rig.windows.opened
        assert (opened, page.url) == (window, "http://localhost:8317/page#ticket")
    finally:
        rig.close()
