from app.desktop.preferences import Preferences, load, save


def test_choices_are_kept(tmp_path):
    file = tmp_path / "data" / "desktop.json"
    save(file, Preferences(muted=frozenset({"low"}), welcomed=True))
    assert load(file) == Preferences(muted=frozenset({"low"}), welcomed=True)


def test_nothing_kept_means_the_defaults(tmp_path, caplog):
    assert load(tmp_path / "none.json") == Preferences()
    assert caplog.records == []


def test_file_that_cannot_be_read_means_the_defaults_and_is_said(tmp_path, caplog):
    file = tmp_path / "desktop.json"
    file.write_text("{")
    assert load(file) == Preferences()
    assert "cannot be read" in caplog.text


def test_folder_that_cannot_be_written_stops_nothing(tmp_path, caplog):
    (tmp_path / "data").write_text("a file")
    save(tmp_path / "data" / "desktop.json", Preferences())
    assert "cannot be written" in caplog.text
