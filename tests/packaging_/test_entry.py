"""What a frozen program does before anything else."""

import sys

from tests.packaging_.scripts import load

entry = load("entry")


def test_children_get_the_library_path_that_the_user_has():
    environment = {
        "LD_LIBRARY_PATH": "/usr/lib/dragoman/_internal:/opt/lib",
        "LD_LIBRARY_PATH_ORIG": "/opt/lib",
        "PATH": "/usr/bin",
    }
    entry.give_back(environment)
    assert environment == {"LD_LIBRARY_PATH": "/opt/lib", "PATH": "/usr/bin"}


def test_children_get_no_library_path_where_the_user_has_none(monkeypatch):
    monkeypatch.setattr(sys, "_MEIPASS", "/usr/lib/dragoman/_internal", raising=False)
    environment = {"LD_LIBRARY_PATH": "/usr/lib/dragoman/_internal"}
    entry.give_back(environment)
    assert environment == {}


def test_a_library_path_that_the_loader_did_not_set_stays():
    environment = {"LD_LIBRARY_PATH": "/opt/lib"}
    entry.give_back(environment)
    assert environment == {"LD_LIBRARY_PATH": "/opt/lib"}


def test_what_the_loader_says_to_itself_is_not_inherited():
    environment = {"_PYI_PARENT_PROCESS_LEVEL": "1", "_PYI_ARCHIVE_FILE": "/x", "HOME": "/home/a"}
    entry.give_back(environment)
    assert environment == {"HOME": "/home/a"}


def test_the_folder_of_windows_is_the_one_that_is_filled_and_tested():
    assert load("contents").WINDOW_FOLDER == entry.WINDOW_FOLDER
    script = load("selftest").__file__
    with open(script, encoding="utf-8") as file:
        assert f'"{entry.WINDOW_FOLDER}"' in file.read()
