import pytest

from app.desktop.theme import find_theme


@pytest.mark.parametrize(
    ("desktop", "theme"),
    [("ubuntu:GNOME", "dark"), ("KDE", "light"), ("XFCE", "dark"), ("", "dark"), ("MATE", "light")],
)
def test_panel_of_linux_desktops(desktop, theme):
    assert find_theme("linux", {"XDG_CURRENT_DESKTOP": desktop}) == theme


def test_windows_is_asked():
    assert find_theme("win32", {}, lambda: True) == "light"
    assert find_theme("win32", {}, lambda: False) == "dark"
