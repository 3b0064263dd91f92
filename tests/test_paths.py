import os
import stat
import sys
from pathlib import Path

import pytest

from app import paths
from app.paths import Paths, asset, private_dir, write_private

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_home_variable_puts_every_folder_below_one(tmp_path):
    found = Paths.find({"DRAGOMAN_HOME": str(tmp_path)})
    folders = {found.config, found.data, found.state, found.cache, found.runtime}
    assert len(folders) == 5
    assert {folder.parent for folder in folders} == {tmp_path}
    assert list(tmp_path.iterdir()) == []


def test_folders_differ_without_the_variable_so_that_settings_can_be_watched():
    found = Paths.find({})
    folders = [found.config, found.data, found.state, found.cache, found.runtime]
    assert len(set(folders)) == 5
    assert all(folder.is_absolute() for folder in folders)


def test_data_gets_a_subfolder_where_the_system_gives_one_folder_for_all(tmp_path, monkeypatch):
    for name in ("config", "data", "state", "cache"):
        monkeypatch.setattr(
            paths.platformdirs, f"user_{name}_path", lambda *_, **__: tmp_path / "dragoman"
        )
    found = Paths.find({})
    assert found.config == tmp_path / "dragoman"
    assert found.database_file == tmp_path / "dragoman" / "data" / "dragoman.db"
    assert found.log_file == tmp_path / "dragoman" / "state" / "dragoman.log"


linux = pytest.mark.skipif(sys.platform != "linux", reason="XDG base directories")


@linux
def test_runtime_folder_of_the_session_is_used_when_it_is_ours(tmp_path, monkeypatch):
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert Paths.find({}).runtime == tmp_path / "dragoman"


@linux
@pytest.mark.parametrize("fault", ["open to others", "missing"])
def test_runtime_folder_that_others_could_use_is_not_used(tmp_path, monkeypatch, fault):
    session = tmp_path / "session"
    if fault != "missing":
        session.mkdir()
        session.chmod(0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(session))
    found = Paths.find({})
    assert found.runtime == found.state / "run"


def test_named_files_have_their_places(tmp_path):
    found = Paths.find({"DRAGOMAN_HOME": str(tmp_path)})
    assert found.config_file == tmp_path / "config" / "config.yaml"
    assert found.vault == tmp_path / "data" / "vault"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A stand-in for the folder that holds paths.py."""
    (tmp_path / "app").mkdir()
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "app" / "paths.py"))
    return tmp_path


@pytest.mark.parametrize("root", ["assets", "app/_assets"])
def test_asset_is_found_in_checkout_and_wheel(package, root):
    (package / root / "docs").mkdir(parents=True)
    (package / root / "docs" / "a.md").write_text("x")
    assert asset("docs/a.md") == package / root / "docs" / "a.md"


def test_shipped_asset_goes_before_one_of_a_checkout(package):
    for root in ("assets", "app/_assets"):
        (package / root).mkdir()
        (package / root / "a").write_text("x")
    assert asset("a") == package / "app" / "_assets" / "a"


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_asset_is_found_where_a_bundle_links_the_folder(package):
    inside = package / "Resources" / "_assets"
    inside.mkdir(parents=True)
    (inside / "a").touch()
    (package / "app" / "_assets").symlink_to(inside)
    assert asset("a") == inside / "a"


def test_missing_asset_is_named(package):
    with pytest.raises(FileNotFoundError, match="assets/none"):
        asset("none")


@pytest.mark.parametrize("name", ["../secret", "a/../../secret", "/etc/passwd"])
def test_asset_does_not_lead_out_of_its_folder(package, name):
    (package / "secret").write_text("x")
    with pytest.raises(ValueError, match="not below"):
        asset(name)


@posix
def test_private_dir_is_made_private_with_its_parents(tmp_path):
    made = private_dir(tmp_path / "a" / "b")
    assert made == tmp_path / "a" / "b"
    assert mode(made) == 0o700


@posix
def test_existing_dir_keeps_its_mode(tmp_path):
    tmp_path.chmod(0o750)
    assert mode(private_dir(tmp_path)) == 0o750


@posix
def test_written_file_is_private_even_when_the_old_one_was_not(tmp_path):
    file = tmp_path / "f"
    file.write_bytes(b"old")
    file.chmod(0o644)
    write_private(file, b"new")
    assert (file.read_bytes(), mode(file)) == (b"new", 0o600)


@posix
def test_symbolic_link_is_followed(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_private(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "f"
    file.write_bytes(b"old")

    def refuse(*_):
        raise OSError("no")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no"):
        write_private(file, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert file.read_bytes() == b"old"


def test_missing_parents_are_made_for_a_file(tmp_path):
    write_private(tmp_path / "a" / "f", b"x")
    assert Path(tmp_path / "a" / "f").read_bytes() == b"x"
