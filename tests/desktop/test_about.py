import pytest

from app.desktop import about

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
    assert about.find_commit(tmp_path) == COMMIT[:9]


def test_packed_branch_is_read(git, tmp_path):
    (git / "packed-refs").write_text(f"# pack-refs\n{COMMIT} refs/heads/main\n")
    assert about.find_commit(tmp_path) == COMMIT[:9]


def test_commit_without_a_branch_is_read(git, tmp_path):
    (git / "HEAD").write_text(f"{COMMIT}\n")
    assert about.find_commit(tmp_path) == COMMIT[:9]


@pytest.mark.parametrize("head", ["ref: refs/heads/gone\n", "no commit at all", "", "\x00"])
def test_what_is_no_commit_is_none(git, tmp_path, head):
    (git / "HEAD").write_text(head)
    (git / "packed-refs").write_text(f"{COMMIT} refs/heads/other\n")
    assert about.find_commit(tmp_path) == ""


def test_no_checkout_has_no_commit(tmp_path):
    assert about.find_commit(tmp_path) == ""


def test_package_carries_its_commit(git, tmp_path, monkeypatch):
    file = tmp_path / "commit.txt"
    file.write_text(f"{COMMIT}\n")
    monkeypatch.setattr(about, "asset", lambda name: {"commit.txt": file}[name])
    assert about.find_commit(tmp_path) == COMMIT[:9]
