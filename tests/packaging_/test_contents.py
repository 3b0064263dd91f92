"""What goes into a frozen program and what must not: lists, versions and lines, as values."""

import importlib
import sys

import pytest

from tests.packaging_.scripts import ROOT, load

contents = load("contents")


@pytest.mark.parametrize(
    "name",
    [
        "_internal/libgtk-3.so.0",
        "_internal/libwebkit2gtk-4.1.so.0",
        "_internal/libjavascriptcoregtk-4.1.so.0",
        "_internal/libgdk_pixbuf-2.0.so.0",
        "_internal/libglib-2.0.so.0",
        "_internal/libgirepository-1.0.so.1",
        "_internal/PySide6/libQt6Core.so.6",
        "_internal/gi/_gi.cpython-311-x86_64-linux-gnu.so",
        "_internal/gi_typelibs/WebKit2-4.1.typelib",
    ],
)
def test_libraries_of_the_desktop_are_unwanted(name):
    assert contents.unwanted(["dragoman", name]) == [name]


@pytest.mark.parametrize(
    "name",
    [
        "_internal/libcrypto.so.3",
        "_internal/libpython3.11.so.1.0",
        "_internal/pillow.libs/libxcb-9065bb12.so.1.1.0",
        "_internal/window-packages/webview/platforms/gtk.py",
    ],
)
def test_other_libraries_are_fine(name):
    assert contents.unwanted([name]) == []


def test_files_are_listed_with_links_and_without_folders(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("a")
    assert contents.files_below(tmp_path) == ["a/b/file", "link"]


def test_a_window_gets_pywebview_with_what_it_imports_and_nothing_of_other_systems(tmp_path):
    for name in (
        "webview/__init__.py",
        "webview/platforms/gtk.py",
        "webview/platforms/winforms.py",
        "webview/platforms/android/app.py",
        "webview/lib/Microsoft.dll",
        "webview/js/lib.js",
        "webview/__pycache__/x.pyc",
        "bottle.py",
        "proxy_tools/__init__.py",
        "typing_extensions.py",
        "unrelated.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = contents.window_files(tmp_path)
    assert found == [
        (str(tmp_path / "webview/__init__.py"), "window-packages/webview"),
        (str(tmp_path / "webview/js/lib.js"), "window-packages/webview/js"),
        (str(tmp_path / "webview/platforms/gtk.py"), "window-packages/webview/platforms"),
        (str(tmp_path / "bottle.py"), "window-packages"),
        (str(tmp_path / "proxy_tools/__init__.py"), "window-packages/proxy_tools"),
        (str(tmp_path / "typing_extensions.py"), "window-packages"),
    ]


def test_a_missing_package_of_windows_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="webview is not in"):
        contents.window_files(tmp_path)


def test_every_module_of_the_program_is_taken():
    modules = contents.own_modules()
    assert {"app", "app.__main__", "app.desktop.window", "app.upstream.calls"} <= set(modules)
    files = [path for path in (ROOT / "app").rglob("*.py") if "migrations" not in path.parts]
    assert len([name for name in modules if ".migrations" not in name]) == len(files)
    for name in ("app.paths", "app.errors"):
        assert importlib.util.find_spec(name) is not None


def test_what_is_read_as_files_is_carried_as_files():
    sources = {(path.rpartition("/")[2], folder) for path, folder in contents.own_sources()}
    assert ("window.py", "app/desktop") in sources
    assert ("env.py", "app/store/migrations") in sources
    versions = list((ROOT / "app/store/migrations/versions").glob("*.py"))
    assert len([1 for _, folder in sources if folder.endswith("versions")]) == len(versions)


def test_rule_files_can_import_pythons_own_modules_but_no_toolkit():
    names = contents.standard_library()
    assert {"json", "datetime", "statistics", "sqlite3"} <= set(names)
    assert not {"tkinter", "idlelib", "test", "readline", "curses"} & set(names)
    assert set(names) <= set(sys.stdlib_module_names)


def test_the_version_is_read_from_the_source():
    assert contents.version_of('"""Doc."""\n\n__version__ = "1.2.3"\n') == "1.2.3"
    with pytest.raises(ValueError, match="states no"):
        contents.version_of("version = 1")


NOTES = """# Release notes

## 1.1.0 (2026-11-30)

- New.

## 1.0.0

- Old.
"""


def test_the_notes_are_those_of_the_version():
    assert contents.newest_notes(NOTES, "1.1.0") == "- New."
    assert contents.newest_notes(NOTES, "1.0.0") == "- Old."


def test_what_is_unreleased_stands_in_for_notes_of_the_version():
    assert (
        contents.newest_notes(NOTES.replace("## 1.1.0 (2026-11-30)", "## Unreleased"), "2.0.0")
        == "- New."
    )


def test_missing_notes_are_an_error():
    with pytest.raises(ValueError, match=r"nothing about 3\.0\.0"):
        contents.newest_notes(NOTES, "3.0.0")


def test_this_projects_notes_have_something_to_say():
    text = (ROOT / "packaging/CHANGELOG.md").read_text("utf-8")
    version = contents.version_of((ROOT / "app/__init__.py").read_text("utf-8"))
    assert contents.newest_notes(text, version).startswith("- ")


def test_the_newest_c_library_that_is_asked_for_counts():
    first = b"\0GLIBC_2.4\0GLIBC_2.17\0"
    second = b"\0GLIBC_2.34\0GLIBC_2.3.4\0GLIBC_PRIVATE\0"
    assert contents.newest_libc([first, second]) == "2.34"
    assert contents.newest_libc([]) == "2.17"


def test_a_result_is_one_line_with_path_size_and_checksum():
    line = contents.result_line("dist/x.deb", 23_456_789, "ab" * 32)
    assert line == f"built dist/x.deb  23.5 MB  sha256:{'ab' * 32}"


def test_checksums_are_what_sha256sum_reads():
    assert contents.checksum_lines([("b", "22"), ("a", "11")]) == "11  a\n22  b\n"
