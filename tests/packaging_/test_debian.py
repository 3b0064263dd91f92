"""The Debian package without building it: templates, versions, changelog, and the layout."""

import gzip
import hashlib
import re
import shutil
import stat
import subprocess
import sys

import pytest

from tests.packaging_.scripts import FOLDER, load

debian = load("build").debian
LINUX = FOLDER / "linux"

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes and links are those of Unix")


def fill_all(name):
    values = {
        "VERSION": "1.2.3",
        "ARCHITECTURE": "amd64",
        "INSTALLED_KB": "100",
        "LIBC": "2.35",
        "COMMON": (LINUX / "common.sh").read_text("utf-8").strip(),
        "WINDOW_FOLDER": "window-packages",
    }
    return debian.fill((LINUX / name).read_text("utf-8"), values)


def test_each_name_of_a_template_gets_its_value():
    assert debian.fill("a @ONE@ b @TWO@ c@d.example", {"ONE": "1", "TWO": "2"}) == (
        "a 1 b 2 c@d.example"
    )


def test_a_name_without_a_value_is_an_error():
    with pytest.raises(debian.BuildError, match="@TWO@ has no value"):
        debian.fill("@ONE@ @TWO@", {"ONE": "1"})


def test_the_package_asks_for_the_distributions_windows_and_not_for_the_desktop_as_such():
    fields = dict(
        line.split(": ", 1) for line in fill_all("control").splitlines() if line[0] not in " "
    )
    assert fields["Version"] == "1.2.3"
    assert {"python3-gi", "gir1.2-webkit2-4.1", "libc6 (>= 2.35)"} <= set(
        fields["Depends"].split(", ")
    )
    assert not re.search(r"\blibgtk|\blibwebkit", fields["Depends"])


@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no sh")
@pytest.mark.parametrize("name", ["prerm", "postinst", "postrm"])
def test_maintainer_scripts_are_shell(name):
    done = subprocess.run(["sh", "-n"], input=fill_all(name), text=True, check=False)
    assert done.returncode == 0


def test_agents_are_given_back_before_the_files_go_and_only_on_removal():
    text = fill_all("prerm")
    removing = text.partition('if [ "$1" = remove ]')[2].partition("fi\n  if as_user")[0]
    assert "disconnect --all --yes" in removing
    assert text.count("disconnect --all") == 1
    assert text.index("disconnect --all") < text.rindex(" stop ")


def test_data_of_people_is_deleted_on_an_explicit_word_only():
    text = fill_all("postrm")
    assert text.index('"${DRAGOMAN_PURGE_DATA:-}" = yes') < text.index('rm -rf "$home/')
    assert text.index('[ "$1" = purge ]') < text.index("DRAGOMAN_PURGE_DATA:-")


def test_the_unit_for_servers_is_off_until_somebody_switches_it_on():
    unit = (LINUX / "dragoman.service").read_text("utf-8")
    assert "ExecStart=/usr/bin/dragoman serve\n" in unit
    assert "WantedBy=default.target" in unit
    assert "systemctl" not in fill_all("postinst")


@pytest.mark.skipif(
    shutil.which("desktop-file-validate") is None, reason="desktop-file-utils is not installed"
)
def test_the_desktop_entry_is_valid():
    command = ["desktop-file-validate", str(LINUX / "dragoman.desktop")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("version", "expected"),
    [("1.2.3", "1.2.3"), ("1.2.3rc1", "1.2.3~rc1"), ("1.2.3.dev4", "1.2.3~dev4")],
)
def test_a_version_sorts_right_in_debian(version, expected):
    assert debian.debian_version(version) == expected


def test_the_copyright_file_has_the_licence_in_debians_form():
    text = debian.copyright_text((FOLDER / "LICENSE").read_text("utf-8"))
    assert text.startswith("Format: https://www.debian.org/")
    assert "\nCopyright: " in text
    assert "\nLicense: Expat\n" in text
    assert all(line for line in text.partition("License: Expat\n")[2].splitlines())


def test_the_changelog_is_in_debians_form(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1763769600")
    long = "word " * 20
    text = debian.debian_changelog(
        f"## Unreleased\n\n- First\n  {long}thing.\n- Second.\n\n### Measured\n"
    )
    lines = text.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    assert re.fullmatch(r"dragoman \(\S+\) unstable; urgency=medium", lines[0])
    assert lines[1:3] == ["", f"  * First {'word ' * 12}word"]
    assert lines[3:6] == [f"    {'word ' * 7}thing.", "  * Second.", ""]
    assert re.fullmatch(r" -- .+ <\S+@\S+>  Sat, 22 Nov 2025 00:00:00 \+0000", lines[6])


@pytest.fixture
def tree(tmp_path):
    """A laid out package with stand-ins for what is large."""
    frozen, pages, icons = (tmp_path / name for name in ("frozen", "pages", "icons"))
    for folder in (frozen / "_internal", pages, icons):
        folder.mkdir(parents=True)
    (frozen / "dragoman").write_bytes(b"\x7fELF\0GLIBC_2.34\0")
    examples = frozen / "_internal" / "app" / "_assets" / "docs" / "examples"
    examples.mkdir(parents=True)
    (examples / "chat.sh").write_text("#!/bin/sh\n")
    (examples / "provider.py").write_text('"""A provider."""\n')
    (frozen / "_internal" / "libpython3.11.so.1.0").write_bytes(b"\x7fELF\0GLIBC_2.36\0")
    for name in ("dragoman.1", "dragoman.bash", "_dragoman", "dragoman.fish"):
        (pages / name).write_text(name, "utf-8")
    for name in ("dragoman-16.png", "dragoman-256.png", "dragoman.svg", "dragoman.ico"):
        (icons / name).write_bytes(b"picture")
    made = tmp_path / "tree"
    made.mkdir()
    debian.lay_out(
        made,
        frozen,
        pages,
        icons,
        "Copyright (c) 2026 A\n\nText.",
        "## Unreleased\n\n- New\n  thing.\n",
    )
    debian.write_control(made)
    return made


@posix
def test_the_package_has_everything_in_its_place(tree):
    assert load("contents").files_below(tree) == sorted(
        [
            *(f"DEBIAN/{name}" for name in ("control", "md5sums", "postinst", "postrm", "prerm")),
            "usr/bin/dragoman",
            *(
                f"usr/lib/dragoman/_internal/app/_assets/docs/examples/{name}"
                for name in ("chat.sh", "provider.py")
            ),
            "usr/lib/dragoman/_internal/libpython3.11.so.1.0",
            "usr/lib/dragoman/dragoman",
            "usr/lib/systemd/user/dragoman.service",
            "usr/share/applications/dragoman.desktop",
            "usr/share/bash-completion/completions/dragoman",
            "usr/share/doc/dragoman/NEWS.md.gz",
            "usr/share/doc/dragoman/changelog.gz",
            "usr/share/doc/dragoman/copyright",
            "usr/share/fish/vendor_completions.d/dragoman.fish",
            "usr/share/icons/hicolor/16x16/apps/dragoman.png",
            "usr/share/icons/hicolor/256x256/apps/dragoman.png",
            "usr/share/icons/hicolor/scalable/apps/dragoman.svg",
            "usr/share/lintian/overrides/dragoman",
            "usr/share/man/man1/dragoman.1.gz",
            "usr/share/zsh/vendor-completions/_dragoman",
        ]
    )
    assert (tree / "usr/bin/dragoman").resolve() == (tree / "usr/lib/dragoman/dragoman").resolve()
    assert (
        gzip.decompress((tree / "usr/share/man/man1/dragoman.1.gz").read_bytes()) == b"dragoman.1"
    )


@posix
def test_modes_are_those_of_a_package(tree):
    def mode(name):
        return stat.S_IMODE((tree / name).stat().st_mode)

    assert mode("usr/lib/dragoman/dragoman") == 0o755
    assert mode("usr/lib/dragoman/_internal/libpython3.11.so.1.0") == 0o644
    examples = "usr/lib/dragoman/_internal/app/_assets/docs/examples"
    assert mode(f"{examples}/chat.sh") == 0o755
    assert mode(f"{examples}/provider.py") == 0o644
    assert mode("usr/share/doc/dragoman") == 0o755
    assert mode("DEBIAN/prerm") == 0o755
    assert mode("DEBIAN/control") == 0o644


@posix
def test_control_states_version_size_and_the_c_library_that_is_needed(tree):
    control = (tree / "DEBIAN/control").read_text("utf-8")
    assert f"\nVersion: {debian.debian_version(debian.version())}\n" in control
    assert "libc6 (>= 2.36)" in control
    assert re.search(r"^Installed-Size: [1-9]\d*$", control, re.MULTILINE)
    sums = dict(
        reversed(line.split("  ", 1))
        for line in (tree / "DEBIAN/md5sums").read_text("utf-8").splitlines()
    )
    assert sums["usr/share/icons/hicolor/16x16/apps/dragoman.png"] == (
        hashlib.md5(b"picture", usedforsecurity=False).hexdigest()
    )
    assert "usr/bin/dragoman" not in sums
