import pytest

from app.services.switch import Switch


def test_switch_and_consent_outlive_the_program(tmp_path):
    file = tmp_path / "w" / "switch.json"
    switch = Switch(file)
    assert switch.state.on is None
    switch.agree("2026-11-21", 1_770_000_000.0)
    switch.turn(True)
    again = Switch(file).state
    assert (again.on, again.consent, again.consented_at) == (True, "2026-11-21", 1_770_000_000.0)
    assert file.stat().st_mode & 0o777 == 0o600


def test_time_of_the_first_consent_stays(tmp_path):
    switch = Switch(tmp_path / "switch.json")
    switch.agree("a", 1.0)
    switch.agree("a", 2.0)
    assert switch.state.consented_at == 1.0
    switch.agree("b", 3.0)
    assert switch.state.consented_at == 3.0


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"on": "yes"}'])
def test_broken_file_counts_as_untouched_and_is_told(tmp_path, caplog, content):
    (tmp_path / "switch.json").write_bytes(content)
    assert Switch(tmp_path / "switch.json").state.on is None
    assert "cannot be read" in caplog.text
