import msgspec
import pytest

from tests.cli.conftest import ORIGINAL
from tests.cli.test_connect import typed

__all__ = ["typed"]  # a fixture


@pytest.fixture
def connected(user, fake, dragoman):
    dragoman("connect", "claude", "-m", "demo-chat", "--yes")
    assert user.settings.read_text() != ORIGINAL
    return user


def test_settings_come_back_byte_for_byte(connected, dragoman):
    code, out, _ = dragoman("disconnect", "claude", "--yes")
    assert code == 0
    assert out.endswith("claude: done.\n")
    assert '-    "ANTHROPIC_BASE_URL"' in out
    assert connected.settings.read_text() == ORIGINAL


def test_where_nobody_can_be_asked_it_goes_ahead(connected, dragoman):
    assert dragoman("disconnect", "--all").code == 0
    assert connected.settings.read_text() == ORIGINAL


def test_a_person_is_asked(connected, dragoman, typed):
    typed("no")
    assert dragoman("disconnect", "claude").code == 1
    assert connected.settings.read_text() != ORIGINAL
    typed("yes")
    assert dragoman("disconnect", "claude").code == 0
    assert connected.settings.read_text() == ORIGINAL


def test_a_dry_run_writes_nothing(connected, dragoman):
    before = connected.settings.read_text()
    assert dragoman("disconnect", "claude", "--dry-run").code == 0
    assert connected.settings.read_text() == before


def test_what_somebody_else_changed_stays_and_is_said(connected, dragoman):
    text = connected.settings.read_text().replace('"demo-chat"', '"theirs"')
    connected.settings.write_text(text)
    code, _, err = dragoman("disconnect", "claude", "--yes")
    assert code == 0
    assert "only Dragoman's values are taken out" in err
    assert "env.ANTHROPIC_MODEL" in err
    assert "The original of" in err
    assert '"theirs"' in connected.settings.read_text()
    assert "ANTHROPIC_BASE_URL" not in connected.settings.read_text()


def test_all_without_connected_agents_is_nothing_to_do(user, dragoman):
    assert dragoman("disconnect", "--all").out == "There is nothing to do.\n"


def test_what_is_not_connected_is_refused(user, dragoman):
    code, _, err = dragoman("disconnect", "claude")
    assert code == 1
    assert "Claude Code is not connected" in err


def test_an_agent_whose_values_are_gone_already_is_forgotten(connected, dragoman):
    connected.settings.write_text(ORIGINAL)
    assert dragoman("disconnect", "claude", "--yes").code == 0
    assert dragoman("disconnect", "claude").code == 1


def test_json_writes_only_with_yes(connected, dragoman):
    planned = msgspec.json.decode(dragoman("disconnect", "--all", "--json").out)
    assert planned["agents"][0]["state"] == "planned"
    written = msgspec.json.decode(dragoman("disconnect", "--all", "--json", "--yes").out)
    assert written["agents"][0]["state"] == "written"
    assert connected.settings.read_text() == ORIGINAL


@pytest.mark.parametrize("words", [(), ("claude", "--all")])
def test_wrong_words_are_exit_code_two(user, dragoman, words):
    assert dragoman("disconnect", *words).code == 2
