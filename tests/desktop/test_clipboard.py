import subprocess
import sys

import pytest

from app.desktop.clipboard import _copy, _has_gtk, find_command, find_copier
from app.errors import AppError


def on_path(*names):
    return lambda name: f"/usr/bin/{name}" if name in names else None


@pytest.mark.parametrize(
    ("platform", "env", "names", "program"),
    [
        ("win32", {}, (), "clip.exe"),
        ("darwin", {}, (), "/usr/bin/pbcopy"),
        ("linux", {"WAYLAND_DISPLAY": "w", "DISPLAY": ":0"}, ("wl-copy", "xclip"), "wl-copy"),
        ("linux", {"DISPLAY": ":0"}, ("wl-copy", "xclip"), "xclip"),
        ("linux", {"DISPLAY": ":0"}, ("xsel",), "xsel"),
        ("linux", {"DISPLAY": ":0"}, (), None),
        ("linux", {}, ("xclip",), None),
    ],
)
def test_program_that_copies(platform, env, names, program):
    found = find_command(platform, env, on_path(*names))
    assert (found and found[0][0]) == program


def test_windows_wants_utf_16():
    assert find_command("win32", {}, on_path())[1] == "utf-16-le"


def test_nothing_copies_without_display_or_program():
    assert find_copier("linux", {}, on_path("xclip")) is None
    assert find_copier("linux", {"DISPLAY": ":0"}, on_path(), lambda: False) is None
    assert find_copier("linux", {"DISPLAY": ":0"}, on_path(), lambda: True) is not None


def test_text_goes_by_standard_input(tmp_path):
    target = tmp_path / "copied"
    code = f"import sys; open({str(target)!r}, 'wb').write(sys.stdin.buffer.read())"
    _copy([sys.executable, "-c", code], "dg-ä".encode(), {})
    assert target.read_text("utf-8") == "dg-ä"


@pytest.mark.parametrize("command", [[sys.executable, "-c", "raise SystemExit(3)"], ["/none/such"]])
def test_failure_is_said(command):
    with pytest.raises(AppError) as caught:
        _copy(command, b"", {})
    assert caught.value.code == "copy_failed"


@pytest.mark.gui
def test_text_is_held_on_the_display_until_something_else_is_copied(screen, monkeypatch):
    if not _has_gtk():
        pytest.skip("the distribution's Python has no GTK")
    env = {"DISPLAY": screen, "PATH": "/usr/bin:/bin", "NO_AT_BRIDGE": "1"}
    paste = (
        "import gi; gi.require_version('Gtk', '3.0')\n"
        "from gi.repository import Gdk, Gtk\n"
        "print(Gtk.Clipboard.get(Gdk.SELECTION_CLIPBOARD).wait_for_text())"
    )
    copy = find_copier("linux", env, on_path())
    for text in ("first", "dg-secret ä"):
        copy(text)
        pasted = subprocess.run(
            ["/usr/bin/python3", "-I", "-c", paste], env=env, capture_output=True, text=True
        )
        assert pasted.stdout.strip() == text
