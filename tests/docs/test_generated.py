"""Pages that a generator writes: they are what it gives now, and it always gives the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging_.scripts import FOLDER, ROOT, load

docs = load("docs")


@pytest.mark.parametrize("name", docs.PAGES)
def test_page_is_what_its_generator_gives_now(name):
    page = docs.FOLDER / name
    assert page.is_file(), f"run: {docs.COMMAND}"
    assert page.read_text("utf-8") == docs.PAGES[name](), f"{name} is old; run: {docs.COMMAND}"


def test_what_is_generated_says_nothing_of_this_machine():
    for name, render in docs.PAGES.items():
        text = render()
        assert str(ROOT) not in text, name
        assert str(Path.home()) not in text or str(Path.home()) == "/", name


def test_another_process_in_another_place_gives_the_same(tmp_path):
    """Neither the seed of sets nor home, folder, language, width or settings of a user matter."""
    env = {name: text for name, text in os.environ.items() if not name.startswith("DRAGOMAN_")}
    env |= {
        "COLUMNS": "40",
        "DRAGOMAN_SERVER__PORT": "9000",
        "HOME": str(tmp_path),
        "LC_ALL": "C",
        "PYTHONHASHSEED": "12345",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, str(FOLDER / "docs.py"), "--check"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_old_and_missing_pages_are_named_and_then_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(docs, "PAGES", {"a.md": lambda: "# A\n", "b.md": lambda: "# B\n"})
    (tmp_path / "a.md").write_text("# Old\n")
    assert docs.main(["--check"], tmp_path) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{name} is out of date; run: {docs.COMMAND}" for name in ("a.md", "b.md")
    ]
    assert docs.main([], tmp_path) == 0
    assert (tmp_path / "b.md").read_bytes() == b"# B\n"
    capsys.readouterr()
    assert docs.main(["--check"], tmp_path) == 0
    assert docs.main([], tmp_path) == 0
    assert capsys.readouterr().out == "every page is as it should be\n"


def test_a_wrong_call_writes_nothing(tmp_path, capsys):
    assert docs.main(["--chek"], tmp_path) == 2
    assert "--check" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
