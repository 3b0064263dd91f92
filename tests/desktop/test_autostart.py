import plistlib
import shutil
import subprocess

import pytest

from app.desktop.autostart import LaunchAgent, WindowsRun, XdgAutostart, find
from app.errors import AppError

COMMAND = ["/opt/my programs/dragoman", "--x", "100%", 'a"b$c`d\\e']


@pytest.fixture
def xdg(tmp_path):
    return XdgAutostart(tmp_path), tmp_path / "autostart" / "dragoman.desktop"


def test_it_is_off_until_switched_on(xdg):
    switch, file = xdg
    assert switch.state() == "off"
    switch.switch_on(["dragoman"])
    assert switch.state() == "on"
    assert "Exec=env DRAGOMAN_AT_SIGN_IN=1 dragoman\n" in file.read_text()
    switch.switch_off()
    switch.switch_off()
    assert (switch.state(), file.exists()) == ("off", False)


@pytest.mark.parametrize("line", ["Hidden=true", "X-GNOME-Autostart-enabled = false"])
def test_switch_of_the_desktop_wins(xdg, line):
    switch, file = xdg
    switch.switch_on(["dragoman"])
    kept = [text for text in file.read_text().splitlines() if not text.startswith("X-GNOME")]
    file.write_text("\n".join([*kept, line]))
    assert switch.state() == "blocked"
    with pytest.raises(AppError, match="switched off in the startup applications"):
        switch.switch_on(["dragoman"])
    assert line in file.read_text()


def test_words_of_the_command_survive_the_desktop_entry(xdg):
    switch, file = xdg
    switch.switch_on(COMMAND)
    (line,) = [text for text in file.read_text().splitlines() if text.startswith("Exec=")]
    value = line.removeprefix("Exec=").replace("\\\\", "\\")
    # The format's own rules, undone: quotes, escapes inside of them, and doubled field codes.
    assert '"/opt/my programs/dragoman"' in value
    assert "100%%" in value
    assert '"a\\"b\\$c\\`d\\\\e"' in value


@pytest.mark.skipif(shutil.which("desktop-file-validate") is None, reason="not installed")
def test_desktop_entry_is_valid(xdg):
    switch, file = xdg
    switch.switch_on(["dragoman"])
    subprocess.run(["desktop-file-validate", str(file)], check=True)


def test_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "autostart").write_text("a file")
    with pytest.raises(AppError) as caught:
        XdgAutostart(tmp_path).switch_on(["dragoman"])
    assert caught.value.code == "autostart_failed"


@pytest.fixture
def said():
    return []


@pytest.fixture
def agent(tmp_path, said):
    return LaunchAgent(tmp_path, lambda command: "\n".join(said))


def test_launch_agent_runs_the_command_at_sign_in(agent, tmp_path):
    assert agent.state() == "off"
    agent.switch_on(COMMAND)
    (file,) = tmp_path.iterdir()
    content = plistlib.loads(file.read_bytes())
    assert content["ProgramArguments"] == COMMAND
    assert (content["RunAtLoad"], content["KeepAlive"]) == (True, False)
    assert file.name == f"{content['Label']}.plist"
    assert agent.state() == "on"
    agent.switch_off()
    assert agent.state() == "off"


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ('\t"io.github.dragoman" => disabled', "blocked"),
        ('\t"io.github.dragoman" => true', "blocked"),
        ('\t"io.github.dragoman" => enabled', "on"),
        ('\t"io.github.other" => disabled', "on"),
    ],
)
def test_switch_of_macos_wins(agent, said, line, state):
    agent.switch_on(["dragoman"])
    said.append(line)
    assert agent.state() == state
    if state == "blocked":
        with pytest.raises(AppError, match="Login Items"):
            agent.switch_on(["dragoman"])


class FakeRegistry:
    def __init__(self):
        self.values = {}

    def get(self, key, name):
        return self.values.get((key, name))

    def put(self, key, name, value):
        self.values[key, name] = value

    def delete(self, key, name):
        self.values.pop((key, name), None)


def test_run_key_holds_the_quoted_command():
    registry = FakeRegistry()
    switch = WindowsRun(registry)
    assert switch.state() == "off"
    switch.switch_on([r"C:\Program Files\Dragoman\DragomanTray.exe", "--x"])
    assert registry.values == {
        (WindowsRun.RUN, "Dragoman"): r'"C:\Program Files\Dragoman\DragomanTray.exe" --x'
    }
    assert switch.state() == "on"
    switch.switch_off()
    switch.switch_off()
    assert switch.state() == "off"


@pytest.mark.parametrize(("first", "state"), [(2, "on"), (3, "blocked"), (6, "on"), (7, "blocked")])
def test_switch_of_the_task_manager_wins(first, state):
    registry = FakeRegistry()
    switch = WindowsRun(registry)
    switch.switch_on(["dragoman"])
    registry.values[WindowsRun.APPROVED, "Dragoman"] = bytes([first]) + bytes(11)
    assert switch.state() == state
    if state == "blocked":
        with pytest.raises(AppError, match="Task Manager"):
            switch.switch_on(["dragoman"])


def test_each_system_has_its_switch(tmp_path):
    assert isinstance(find("linux", {"HOME": str(tmp_path)}), XdgAutostart)
    assert isinstance(find("darwin", {"HOME": str(tmp_path)}), LaunchAgent)
    assert find("sunos5", {"HOME": str(tmp_path)}) is None


def test_xdg_folder_is_the_users_own(tmp_path):
    switch = find("linux", {"XDG_CONFIG_HOME": str(tmp_path)})
    switch.switch_on(["dragoman"])
    assert (tmp_path / "autostart" / "dragoman.desktop").exists()
