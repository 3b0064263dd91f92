import os

import pytest

from app.desktop.folders import Folders


@pytest.fixture
def folders(tmp_path):
    return Folders(tmp_path)


def filled(folder, text):
    folder.mkdir(parents=True)
    (folder / "cookies").write_text(text)
    return folder


def test_new_folder_becomes_the_accounts_own(folders):
    one, two = folders.fresh(), folders.fresh()
    assert one != two
    folders.keep(filled(one, "ada"), "codex/codex-1")
    own = folders.of("codex/codex-1")
    assert (own / "cookies").read_text() == "ada"
    assert not one.exists()


def test_signing_in_anew_takes_the_place_of_what_was_kept(folders):
    own = filled(folders.of("codex/codex-1"), "old")
    folders.keep(filled(folders.fresh(), "new"), "codex/codex-1")
    assert (own / "cookies").read_text() == "new"
    folders.keep(own, "codex/codex-1")
    assert (own / "cookies").read_text() == "new"


def test_folder_that_no_window_made_is_nothing_to_keep(folders):
    own = filled(folders.of("codex/codex-1"), "old")
    folders.keep(folders.fresh(), "codex/codex-1")
    assert (own / "cookies").exists()


def test_account_is_forgotten(folders):
    own = filled(folders.of("codex/codex-1"), "ada")
    other = filled(folders.of("codex/codex-2"), "grace")
    folders.forget("codex/codex-1")
    folders.forget("codex/none")
    assert (own.exists(), other.exists()) == (False, True)


def test_what_windows_left_behind_is_swept(folders):
    left = filled(folders.fresh(), "half a sign-in")
    own = filled(folders.of("codex/codex-1"), "ada")
    folders.sweep()
    assert (left.exists(), own.exists()) == (False, True)


@pytest.mark.parametrize("label", ["..", ".", "a/../../b", "a\\b", "ü ö", "", "con.txt"])
def test_labels_lead_nowhere_else(folders, tmp_path, label):
    own = folders.of(f"codex/{label}")
    assert own.parent == tmp_path / "accounts" / "codex"
    assert own.name not in ("", ".", "..")
    assert os.path.normpath(own) == str(own)


def test_labels_have_folders_apart(folders):
    found = [folders.of(f"codex/{label}") for label in ("a.b", "a%2Eb", "a b", "")]
    assert len(set(found)) == 4


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_disk_that_refuses_stops_nothing(folders, tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError("no space")

    fresh = filled(folders.fresh(), "ada")
    monkeypatch.setattr("pathlib.Path.rename", refuse)
    folders.keep(fresh, "codex/codex-1")
    assert "no space" in caplog.text
    assert not fresh.exists()
    monkeypatch.setattr("shutil.rmtree", refuse)
    folders.drop(filled(tmp_path / "kept", "x"))
    assert (tmp_path / "kept").exists()
