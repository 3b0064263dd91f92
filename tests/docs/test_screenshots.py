"""The pictures: each is taken by the script from the running program, and shown on some page."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "assets" / "images"
PAGES = [ROOT / "README.md", *sorted((ROOT / "assets" / "docs").glob("*.md"))]
SHOWN = re.compile(r"!\[[^\]]+\]\(([^)\s]+)\)|<(?:img|source)[^>]+src(?:set)?=\"([^\"]+)\"")
NEEDED = ("Xvfb", "dbus-daemon", "xfce4-panel", "xdotool", "chromium")


def shown():
    """Every picture that a page shows, by its path."""
    return {
        (page.parent / (one or other)).resolve()
        for page in PAGES
        for one, other in SHOWN.findall(page.read_text("utf-8"))
    }


def opened(file):
    from PIL import Image

    return Image.open(file)


def photographs(folder):
    return {file.name for file in folder.glob("*.png")}


def test_pages_show_the_pictures_that_there_are_and_no_other():
    assert shown() == {file.resolve() for file in FOLDER.iterdir()}


def test_pictures_are_small():
    for file in FOLDER.glob("*.png"):
        assert file.stat().st_size < 64_000, file.name
        with opened(file) as picture:
            assert picture.mode == "P", f"{file.name} has no palette"


@pytest.mark.package  # half a minute of both cores, for what changes seldom
@pytest.mark.gui
@pytest.mark.skipif(os.name != "posix", reason="the script's desktop is one of Linux")
def test_script_takes_every_picture_from_the_running_program(tmp_path):
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    done = subprocess.run(
        [sys.executable, "-P", str(ROOT / "packaging" / "screenshots.py"), str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert photographs(tmp_path) == photographs(FOLDER)
    for file in tmp_path.glob("*.png"):
        with opened(file) as new, opened(FOLDER / file.name) as kept:
            if file.name == "tray-menu.png":  # as wide as this machine's letters are
                assert new.width > 700
                assert new.height > 300
            else:
                assert new.size == kept.size, file.name
            assert len(new.getcolors(256)) > 32, f"{file.name} is empty"
