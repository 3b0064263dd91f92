from app import log
from app.paths import Paths
from app.services.journal import Journal, log_file


def test_lines_are_kept_with_their_time_and_without_secrets(tmp_path):
    log.redact("sesame-open-now")
    journal = Journal(tmp_path / "deep" / "a.log")
    journal.write("the key is sesame-open-now\n")
    text = journal.file.read_text("utf-8")
    assert "sesame" not in text
    assert "the key is" in text
    assert text[:2] == "20"
    assert journal.file.stat().st_mode & 0o777 == 0o600


def test_full_file_is_put_aside_once(tmp_path):
    journal = Journal(tmp_path / "a.log", most_bytes=100)
    for number in range(20):
        journal.write(f"line {number} " + "x" * 40)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "a.log.1"]
    assert journal.file.stat().st_size < 300


def test_last_line_that_says_something_is_remembered(tmp_path):
    journal = Journal(tmp_path / "a.log")
    assert journal.last == ""
    journal.write("something")
    journal.write("   ")
    assert journal.last == "something"
    journal.forget()
    assert journal.last == ""


def test_log_lies_among_the_other_logs(tmp_path):
    paths = Paths.find({"DRAGOMAN_HOME": str(tmp_path)})
    assert log_file(paths, "webai") == tmp_path / "state" / "services" / "webai.log"
