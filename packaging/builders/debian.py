"""The package for Debian and Ubuntu."""

from __future__ import annotations

import datetime
import email.utils
import gzip
import hashlib
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import contents

from builders.frozen import freeze, tools, with_checkout
from builders.work import (
    BUILD,
    DIST,
    HERE,
    BuildError,
    architecture,
    built_at,
    run,
    step,
    version,
)

MOST_DEB_BYTES = 40_000_000
"""Decided: a package that people fetch over a slow line."""


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace each ``@NAME@`` of a template.

    Raises:
        BuildError: one has no value.
    """
    filled = re.sub(r"@([A-Z_]+)@", lambda found: values.get(found[1], found[0]), text)
    if left := re.search(r"@[A-Z_]+@", filled):
        raise BuildError(f"{left[0]} has no value")
    return filled


def copyright_text(licence: str) -> str:
    """Return Debian's machine-readable copyright file."""
    body = "\n".join(f" {line}" if line.strip() else " ." for line in licence.strip().splitlines())
    holder = next(line for line in licence.splitlines() if line.startswith("Copyright"))
    return (
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
        "Upstream-Name: dragoman\n"
        "Comment: The folder /usr/lib/dragoman/_internal also holds Python and the packages that\n"
        " pyproject.toml names, each under its own licence, which is in its metadata.\n\n"
        f"Files: *\n{holder.replace('Copyright (c)', 'Copyright:')}\nLicense: Expat\n{body}\n"
    )


def debian_changelog(notes: str) -> str:
    """Return the notes of this version in the form that Debian's tools read.

    Args:
        notes: all release notes.
    """
    control = (HERE / "linux" / "control").read_text("utf-8")
    maintainer = next(
        line.removeprefix("Maintainer: ")
        for line in control.splitlines()
        if line.startswith("Maintainer: ")
    )
    listed = contents.newest_notes(notes, version()).partition("\n### ")[0]
    said = re.split(r"^- ", listed, flags=re.MULTILINE)
    body = "".join(
        textwrap.fill(" ".join(one.split()), 78, initial_indent="  * ", subsequent_indent="    ")
        + "\n"
        for one in said
        if one.strip()
    )
    when = email.utils.format_datetime(datetime.datetime.fromtimestamp(built_at(), datetime.UTC))
    head = f"dragoman ({debian_version(version())}) unstable; urgency=medium"
    return f"{head}\n\n{body}\n -- {maintainer}  {when}\n"


def debian_version(text: str) -> str:
    """Return a version as Debian sorts it: a pre-release comes before its release."""
    return re.sub(r"\.?(a|b|rc|dev)(\d+)$", r"~\1\2", text)


def _put(tree: Path, name: str, content: bytes, mode: int = 0o644) -> None:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def _zipped(text: bytes) -> bytes:
    return gzip.compress(text, 9, mtime=0)


def lay_out(tree: Path, frozen: Path, pages: Path, icons: Path, licence: str, notes: str) -> None:
    """Lay out what the Debian package installs.

    Args:
        tree: the folder that stands for the root.
        frozen: the frozen program.
        pages: manual page and completions, from ``pages.py``.
        icons: from ``icons.py``.
        licence: its text.
        notes: the release notes.
    """
    linux = HERE / "linux"
    shutil.copytree(frozen, tree / "usr/lib/dragoman", symlinks=True)
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/dragoman").symlink_to("../lib/dragoman/dragoman")
    share = "usr/share"
    desktop = (linux / "dragoman.desktop").read_bytes()
    _put(tree, f"{share}/applications/dragoman.desktop", desktop)
    _put(tree, "usr/lib/systemd/user/dragoman.service", (linux / "dragoman.service").read_bytes())
    for picture in sorted(icons.glob("dragoman-*.png")):
        side = picture.stem.rpartition("-")[2]
        _put(tree, f"{share}/icons/hicolor/{side}x{side}/apps/dragoman.png", picture.read_bytes())
    drawing = (icons / "dragoman.svg").read_bytes()
    _put(tree, f"{share}/icons/hicolor/scalable/apps/dragoman.svg", drawing)
    manual = (pages / "dragoman.1").read_bytes()
    _put(tree, f"{share}/man/man1/dragoman.1.gz", _zipped(manual))
    for name, place in (
        ("dragoman.bash", "bash-completion/completions/dragoman"),
        ("_dragoman", "zsh/vendor-completions/_dragoman"),
        ("dragoman.fish", "fish/vendor_completions.d/dragoman.fish"),
    ):
        _put(tree, f"{share}/{place}", (pages / name).read_bytes())
    _put(tree, f"{share}/doc/dragoman/copyright", copyright_text(licence).encode())
    _put(tree, f"{share}/doc/dragoman/changelog.gz", _zipped(debian_changelog(notes).encode()))
    _put(tree, f"{share}/doc/dragoman/NEWS.md.gz", _zipped(notes.encode()))
    overrides = (linux / "lintian-overrides").read_bytes()
    _put(tree, f"{share}/lintian/overrides/dragoman", overrides)
    _settle_modes(tree)


def _settle_modes(tree: Path) -> None:
    """Make modes those of a package, whatever this user's umask is."""
    for path in tree.rglob("*"):
        if path.is_symlink():
            continue
        runs = path.is_dir() or path == tree / "usr/lib/dragoman/dragoman" or _is_example(path)
        path.chmod(0o755 if runs else 0o644)


def _is_example(path: Path) -> bool:
    """Return whether this is an example of the documentation that people may start as it is."""
    return path.parent.name == "examples" and path.read_bytes().startswith(b"#!")


def write_control(tree: Path) -> None:
    """Write what dpkg reads: description, maintainer scripts and checksums."""
    linux = HERE / "linux"
    files = [name for name in contents.files_below(tree) if not (tree / name).is_symlink()]
    programs = [
        tree / name for name in files if name.endswith("/dragoman/dragoman") or ".so" in name
    ]
    size = sum((tree / name).stat().st_size for name in files)
    values = {
        "VERSION": debian_version(version()),
        "ARCHITECTURE": architecture(),
        "INSTALLED_KB": str(-(-size // 1024)),
        "LIBC": contents.newest_libc(path.read_bytes() for path in programs),
        "COMMON": (linux / "common.sh").read_text("utf-8").strip(),
        "WINDOW_FOLDER": contents.WINDOW_FOLDER,
    }
    sums = "".join(
        f"{hashlib.md5((tree / name).read_bytes(), usedforsecurity=False).hexdigest()}  {name}\n"
        for name in files
    )
    _put(tree, "DEBIAN/control", fill((linux / "control").read_text("utf-8"), values).encode())
    _put(tree, "DEBIAN/md5sums", sums.encode())
    for script in ("postinst", "prerm", "postrm"):
        text = fill((linux / script).read_text("utf-8"), values)
        _put(tree, f"DEBIAN/{script}", text.encode(), 0o755)
    (tree / "DEBIAN").chmod(0o755)


def deb() -> Path:
    """Build the Debian package.

    Raises:
        BuildError: this is no Linux, or the package got too large.
    """
    if not sys.platform.startswith("linux"):
        raise BuildError("a Debian package is built on Linux.")
    python = tools()
    frozen = freeze(python, "deb")
    tree = BUILD / "deb"
    with step("laying out the package"):
        run([python, HERE / "pages.py", BUILD / "pages"], env=with_checkout())
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir(parents=True)
        tree.chmod(0o755)
        licence = (HERE / "LICENSE").read_text("utf-8")
        notes = (HERE / "CHANGELOG.md").read_text("utf-8")
        lay_out(tree, frozen, BUILD / "pages", BUILD / "icons", licence, notes)
        write_control(tree)
    result = DIST / f"dragoman_{debian_version(version())}_{architecture()}.deb"
    with step("packing"):
        DIST.mkdir(exist_ok=True)
        unfinished = result.with_suffix(".unfinished")
        run(["dpkg-deb", "--root-owner-group", "-Zxz", "-z6", "--build", tree, unfinished])
        unfinished.replace(result)
    if result.stat().st_size > MOST_DEB_BYTES:
        size = contents.size_words(result.stat().st_size)
        raise BuildError(f"{result.name} has {size}; at most 40 MB were decided.")
    return result
