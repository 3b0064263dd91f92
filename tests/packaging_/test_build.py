"""The build's pure parts: the command line, what each system's commands are, and the result."""

import hashlib
import plistlib
import re
import sys
from pathlib import Path
from typing import get_args

import pytest

from app.build import Kind
from tests.packaging_.scripts import FOLDER, ROOT, load

build = load("build")
work = sys.modules["builders.work"]


@pytest.mark.parametrize(("version", "expected"), [("1.2.3", "1.2.3.0"), ("1.2.3rc1", "1.2.3.0")])
def test_windows_gets_four_numbers(version, expected):
    assert build.windows.numbers(version) == expected


def test_the_bundle_is_signed_with_the_hardened_runtime_even_ad_hoc():
    bundle = Path("Dragoman.app")
    adhoc = build.macos.sign_command(bundle, "")
    assert adhoc[adhoc.index("--sign") + 1] == "-"
    assert adhoc[adhoc.index("--options") + 1] == "runtime"
    assert "--timestamp" not in adhoc
    named = build.macos.sign_command(bundle, "Developer ID Application: A")
    assert named[named.index("--sign") + 1] == "Developer ID Application: A"
    assert "--timestamp" in named
    assert Path(named[named.index("--entitlements") + 1]).is_file()


def test_the_entitlements_are_a_property_list_with_reasons():
    raw = (FOLDER / "macos" / "entitlements.plist").read_bytes()
    granted = plistlib.loads(raw)
    assert all(value is True for value in granted.values())
    assert raw.count(b"<!--") == len(granted)


def test_whatever_builds_images_here_is_used():
    assert build.image.find_engine({"docker": "d"}.get) == ["docker", "build"]
    for name in ("podman", "buildah"):  # the OCI form has no health check
        assert build.image.find_engine({"docker": "d", name: "p"}.get) == [
            *(name, "build", "--format", "docker")
        ]
    with pytest.raises(build.BuildError, match="podman"):
        build.image.find_engine({}.get)


def test_the_image_runs_as_nobody_with_a_health_check_and_a_volume():
    text = (FOLDER / "Containerfile").read_text("utf-8")
    final = text.rpartition("\nFROM ")[2]
    for line in ("USER 10001:10001", "VOLUME /data", "HEALTHCHECK ", 'CMD ["serve"]'):
        assert f"\n{line}" in final
    assert "--require-hashes" in text


def test_help_and_wrong_words(capsys):
    assert build.main(["--help"]) == 0
    assert "build.py deb" in capsys.readouterr().out
    for words in ([], ["rpm"], ["deb", "now"]):
        assert build.main(words) == 2
    assert "build.py wheel" in capsys.readouterr().err


def test_a_build_that_cannot_be_here_says_where_it_can(capsys):
    elsewhere = "windows" if sys.platform != "win32" else "macos"
    assert build.main([elsewhere]) == 1
    assert "release.yml" in capsys.readouterr().err


def test_notes_are_printed(capsys):
    assert build.main(["notes"]) == 0
    assert capsys.readouterr().out.startswith("- ")


def test_a_result_is_told_with_its_checksum_beside_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(work, "ROOT", tmp_path)
    result = tmp_path / "x.deb"
    result.write_bytes(b"content")
    build.finish(result)
    digest = hashlib.sha256(b"content").hexdigest()
    assert capsys.readouterr().out == f"built x.deb  0.0 MB  sha256:{digest}\n"
    assert (tmp_path / "x.deb.sha256").read_text() == f"{digest}  x.deb\n"


def test_the_tools_lock_has_what_the_build_uses():
    locked = (FOLDER / "requirements-build.lock").read_text("utf-8")
    for name in ("pyinstaller", "hatchling", "pyinstaller-hooks-contrib"):
        assert re.search(rf"^{name}==\S+", locked, re.MULTILINE)
    assert locked.count("--hash=sha256:") >= locked.count("==")


@pytest.mark.parametrize("kind", ["deb", "wheel", "windows", "macos"])
def test_a_package_carries_its_commit_and_its_kind(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(build.frozen, "BUILD", tmp_path)
    staged = build.frozen.stage_assets(kind)
    assert (staged / "kind.txt").read_text("ascii") == f"{kind}\n"
    assert kind in get_args(Kind)
    assert (staged / "commit.txt").read_text("ascii") == f"{work.commit()}\n"
    assert {path.name for path in (ROOT / "assets" / "docs").iterdir()} <= {
        path.name for path in (staged / "docs").iterdir()
    }


def test_the_image_says_what_it_is():
    assert "'kind.txt').write_text('image\\n')" in (FOLDER / "Containerfile").read_text("utf-8")


def test_the_version_is_that_of_the_source():
    assert f'"{build.version()}"' in (ROOT / "app/__init__.py").read_text("utf-8")
