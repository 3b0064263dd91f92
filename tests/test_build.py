import tomllib

import pytest

from app import __version__, build
from tests.test_architecture import ROOT

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def git(tmp_path):
    folder = tmp_path / ".git"
    folder.mkdir()
    (folder / "HEAD").write_text("ref: refs/heads/main\n")
    return folder


def test_commit_of_a_branch_is_read(git, tmp_path):
    branch = git / "refs" / "heads" / "main"
    branch.parent.mkdir(parents=True)
    branch.write_text(f"{COMMIT}\n")
    assert build.find_commit(tmp_path) == COMMIT[:9]


def test_packed_branch_is_read(git, tmp_path):
    (git / "packed-refs").write_text(f"# pack-refs\n{COMMIT} refs/heads/main\n")
    assert build.find_commit(tmp_path) == COMMIT[:9]


def test_commit_without_a_branch_is_read(git, tmp_path):
    (git / "HEAD").write_text(f"{COMMIT}\n")
    assert build.find_commit(tmp_path) == COMMIT[:9]


@pytest.mark.parametrize("head", ["ref: refs/heads/gone\n", "no commit at all", "", "\x00"])
def test_what_is_no_commit_is_none(git, tmp_path, head):
    (git / "HEAD").write_text(head)
    (git / "packed-refs").write_text(f"{COMMIT} refs/heads/other\n")
    assert build.find_commit(tmp_path) == ""


def test_no_checkout_has_no_commit(tmp_path):
    assert build.find_commit(tmp_path) == ""


def test_package_carries_its_commit(git, tmp_path, monkeypatch):
    file = tmp_path / "commit.txt"
    file.write_text(f"{COMMIT}\n")
    monkeypatch.setattr(build, "asset", lambda name: {"commit.txt": file}[name])
    assert build.find_commit(tmp_path) == COMMIT[:9]


def test_a_checkout_is_known_by_the_place_of_its_assets(tmp_path):
    assert build.find_kind(tmp_path, frozen=False) == "source"
    (tmp_path / "_assets").mkdir()
    assert build.find_kind(tmp_path, frozen=False) == "wheel"


def test_a_frozen_program_is_no_wheel_although_it_carries_its_assets_alike(tmp_path):
    (tmp_path / "_assets").mkdir()
    assert build.find_kind(tmp_path, frozen=True) == "frozen"


@pytest.mark.parametrize("kind", ["wheel", "deb", "image", "windows", "macos"])
@pytest.mark.parametrize("frozen", [True, False])
def test_a_package_says_what_it_is(tmp_path, kind, frozen):
    (tmp_path / "_assets").mkdir()
    (tmp_path / "_assets" / "kind.txt").write_text(f"{kind}\n")
    assert build.find_kind(tmp_path, frozen=frozen) == kind


@pytest.mark.parametrize("text", ["", "rpm\n", "deb wheel"])
def test_a_word_that_is_no_kind_counts_for_nothing(tmp_path, text):
    (tmp_path / "_assets").mkdir()
    (tmp_path / "_assets" / "kind.txt").write_text(text)
    assert build.find_kind(tmp_path, frozen=False) == "wheel"


def test_this_program_is_a_checkout_of_this_version():
    found = build.find_build()
    assert (found.version, found.kind) == (__version__, "source")


def test_a_build_is_told_in_one_line():
    assert build.Build("1.2.3", "0123abcde", "deb").line == "1.2.3 (deb, commit 0123abcde)"
    assert build.Build("1.2.3", "", "wheel").line == "1.2.3 (wheel)"


def test_newer_versions_appear_where_the_project_says():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["urls"]["Releases"] == build.RELEASES
