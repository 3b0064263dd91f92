import pytest

from app.cli.settings import doubts, load_checked
from app.configfile import Located
from app.errors import ConfigError


def located(tmp_path, text):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    return Located(file, "option")


def test_names_of_accounts_and_of_rules_are_checked_together(tmp_path):
    text = (
        "models:\n  patterns: [{match: a, provider: nope}]\n"
        "  rules:\n    - {then: {chain: gone}}\n    - {then: {provider: nobody}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_checked(located(tmp_path, text), {})
    assert {(p.line, p.key) for p in caught.value.problems} == {
        (0, "models.patterns[0].provider"),
        (4, "models.rules[0].then.chain"),
        (5, "models.rules[1]"),
        (5, "models.rules[1].then.provider"),
    }


def test_what_may_be_right_is_a_doubt(tmp_path):
    text = (
        "providers: {openai: {api_key: k, models: [gpt-5-mini]}}\n"
        "models: {aliases: {fast: gpt-5-mni}}\n"
    )
    place = located(tmp_path, text)
    assert load_checked(place, {}).models.aliases == {"fast": "gpt-5-mni"}
    (found,) = doubts(place, {})
    assert found.endswith("no list of an account has the model gpt-5-mni; did you mean gpt-5-mini?")
    assert ":2: models.aliases.fast" in found


def test_no_file_is_no_trouble(tmp_path):
    place = Located(tmp_path / "none.yaml", "default")
    assert load_checked(place, {}).models.rules == ()
    assert doubts(place, {}) == ()
