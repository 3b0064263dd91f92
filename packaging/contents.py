"""What goes into a frozen program, and what must not: shared by the build, its spec and the tests.

Only the standard library is used here.
"""

from __future__ import annotations

import fnmatch
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from entry import WINDOW_FOLDER

ROOT = Path(__file__).resolve().parent.parent

WINDOW_PACKAGES = ("webview", "bottle.py", "proxy_tools", "typing_extensions.py")
"""pywebview and what it imports on Linux; all of it Python without compiled parts."""

_WINDOW_LEFT_OUT = (
    "webview/lib/*",  # assemblies of Windows, and Android's classes
    "webview/platforms/android/*",
    *(f"webview/platforms/{name}.py" for name in ("cef", "cocoa", "edgechromium", "mshtml", "qt")),
    "webview/platforms/winforms.py",
    "webview/__pyinstaller/*",
    "*.pyc",
)

BY_NAME = (
    "keyring.backends",
    "prometheus_client",
    "desktop_notifier",
    "dbus_fast",
    "sqlalchemy.dialects.sqlite",
    "alembic",
    "httptools",
    "tiktoken",
    "ruamel.yaml",
    "secretstorage",
    "jeepney",
)
"""Packages of which modules are imported by a name that is made at run time; taken whole."""

BY_NAME_ELSEWHERE = ("webview", "clr_loader", "pythonnet", "winrt", "rubicon")
"""The same on Windows and macOS: windows, and what notifications are made of there."""

PYSTRAY = {"win32": "pystray._win32", "darwin": "pystray._darwin"}
"""The tray of a system; ``pystray._dummy`` is the base of our own one on Linux."""

METADATA = ("keyring", "desktop-notifier", "pywebview")
"""Distributions that are asked for their version or their entry points at run time."""

LEFT_OUT = (
    *("tkinter", "_tkinter", "turtle", "idlelib", "turtledemo", "lib2to3", "test", "ensurepip"),
    *("pip", "setuptools", "pkg_resources", "wheel", "PyInstaller", "hatchling", "pytest"),
    *("readline", "curses", "_curses", "nis"),  # GNU's libraries, under the GPL; terminals only
    *("gi", "Xlib", "numpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "qtpy", "IPython"),
    *("PIL.ImageTk", "PIL.ImageQt", "PIL._avif", "PIL._webp", "PIL._imagingft"),
)
"""Modules that are never wanted: toolkits, tools, terminals, and pictures in formats that nothing draws."""

_NEVER = (
    *("libgtk-*", "libgtk.*", "libgdk*", "libwebkit*", "libwpe*", "libjavascriptcore*"),
    *("libgirepository*", "libsoup*", "libpango*", "libcairo*", "libatk*", "libgio-*"),
    *("libgobject-*", "libglib-*", "libayatana*", "libappindicator*", "libQt*", "libqt*"),
    *("WebKit*.typelib", "Gtk-*.typelib", "_gi.*.so", "_gi_cairo*"),
)
"""Libraries of GTK, WebKit and Qt. They must be those of the distribution, whose themes, input
methods and security updates they have; and next to them a second copy crashes."""

_STDLIB_LEFT_OUT = frozenset(
    {"antigravity", "this", "idlelib", "lib2to3", "test", "tkinter", "turtle", "turtledemo"}
    | {"ensurepip", "venv", "_tkinter", "msilib", "pydoc_data", "nturl2path", "winsound", "_msi"}
    | {"readline", "curses", "_curses", "_curses_panel", "nis", "ossaudiodev", "crypt", "spwd"}
    | {"_crypt", "_dbm", "_gdbm", "dbm"}
)


def unwanted(names: Iterable[str]) -> list[str]:
    """Return those of these files that must not be shipped, in order."""
    return [
        name
        for name in names
        if any(fnmatch.fnmatchcase(name.rpartition("/")[2], pattern) for pattern in _NEVER)
    ]


def files_below(folder: Path) -> list[str]:
    """Return all files and links below a folder, with forward slashes, sorted."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    )


def window_files(site_packages: Path) -> list[tuple[str, str]]:
    """Return files that a window needs: where each is, and the folder it goes to.

    Raises:
        FileNotFoundError: one of the packages is not installed there.
    """
    found: list[tuple[str, str]] = []
    for name in WINDOW_PACKAGES:
        top = site_packages / name
        if not top.exists():
            raise FileNotFoundError(f"{name} is not in {site_packages}")
        paths = (
            [top] if top.is_file() else sorted(path for path in top.rglob("*") if path.is_file())
        )
        for path in paths:
            relative = path.relative_to(site_packages).as_posix()
            if not any(fnmatch.fnmatchcase(relative, pattern) for pattern in _WINDOW_LEFT_OUT):
                folder = Path(WINDOW_FOLDER, relative).parent
                found.append((str(path), folder.as_posix()))
    return found


def own_modules(root: Path = ROOT) -> list[str]:
    """Return every module of the program: rooms load theirs late, and some by a name."""
    found = []
    for path in sorted((root / "app").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if "_assets" in parts or "versions" in parts or parts[-1] == "env":
            continue  # migrations are read as files
        found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def own_sources(root: Path = ROOT) -> list[tuple[str, str]]:
    """Return sources that are needed as files: where each is, and the folder it goes to.

    The database's migrations are read by alembic; the window runs under another Python.
    """
    migrations = root / "app" / "store" / "migrations"
    paths = [root / "app" / "desktop" / "window.py", *sorted(migrations.rglob("*.py"))]
    paths += sorted(migrations.rglob("*.mako"))
    return [(str(path), path.parent.relative_to(root).as_posix()) for path in paths]


def standard_library(names: Iterable[str] = sys.stdlib_module_names) -> list[str]:
    """Return the modules of Python's own that rule files and providers of users may import."""
    return sorted(name for name in names if name not in _STDLIB_LEFT_OUT)


def version_of(text: str) -> str:
    """Return the version that ``app/__init__.py`` states.

    Raises:
        ValueError: it states none.
    """
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise ValueError("app/__init__.py states no __version__")
    return found[1]


def newest_notes(changelog: str, version: str) -> str:
    """Return the part of the release notes about a version, or about what is unreleased.

    Raises:
        ValueError: there is neither.
    """
    parts = re.split(r"^## +", changelog, flags=re.MULTILINE)[1:]
    by_title = {part.split("\n", 1)[0].strip(): part.partition("\n")[2].strip() for part in parts}
    for title, text in by_title.items():
        if title.split()[0].lstrip("v") == version and text:
            return text
    if text := by_title.get("Unreleased", ""):
        return text
    raise ValueError(f"the release notes say nothing about {version}")


def newest_libc(contents: Iterable[bytes]) -> str:
    """Return the newest version of the C library that these programs ask for.

    Args:
        contents: of ELF files; the versions stand in them as text.
    """
    versions = {
        tuple(map(int, found[1].split(b".")))
        for content in contents
        for found in re.finditer(rb"GLIBC_(\d+\.\d+(?:\.\d+)?)\0", content)
    }
    return ".".join(map(str, max(versions, default=(2, 17))))


def size_words(size_bytes: int) -> str:
    """Return a size for people, in MB of a million bytes."""
    return f"{size_bytes / 1e6:.1f} MB"


def result_line(path: str, size_bytes: int, sha256: str) -> str:
    """Return the line that a build ends with."""
    return f"built {path}  {size_words(size_bytes)}  sha256:{sha256}"


def checksum_lines(digests: Sequence[tuple[str, str]]) -> str:
    """Return what ``sha256sum --check`` reads: digest and name of each file."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests))
