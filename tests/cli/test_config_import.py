import json

import pytest

from app.configtext import load
from tests.rulesets.test_ccproxy import CCPROXY, LITELLM


@pytest.fixture
def files(tmp_path):
    (tmp_path / "ccproxy.yaml").write_text(CCPROXY)
    (tmp_path / "config.yaml").write_text(LITELLM)
    return tmp_path


@pytest.fixture
def take(dragoman, files):
    def call(*words):
        return dragoman("config", "import", "ccproxy", str(files / "ccproxy.yaml"), *words)

    return call


def settings(home):
    return load(home.config_file.read_text("utf-8"), "f", {})


def test_rules_aliases_and_default_are_written(take, home):
    done = take()
    assert done.code == 0
    assert done.out == f"Wrote 4 rules to {home.config_file}.\n"
    assert "note: ccproxy.oat_sources is left out" in done.err
    models = settings(home).models
    assert [rule.name for rule in models.rules] == [
        *("token_count", "background", "think", "web_search"),
    ]
    assert models.aliases["think"] == "claude-opus-4-20250514"
    assert models.default == "claude-sonnet-4-20250514"


def test_comments_and_what_was_there_are_kept(take, home):
    home.config_file.parent.mkdir(parents=True, exist_ok=True)
    home.config_file.write_text(
        "# mine\nserver: {port: 9000}\nmodels:\n  default: gpt-5  # kept\n"
        "  aliases: {think: gpt-5}\n"
    )
    done = take()
    assert done.code == 0
    assert "models.default is kept" in done.err
    assert "the alias think is kept" in done.err
    text = home.config_file.read_text()
    assert "# mine" in text
    assert "# kept" in text
    models = settings(home).models
    assert (models.default, models.aliases["think"], len(models.rules)) == ("gpt-5", "gpt-5", 4)
    assert settings(home).server.port == 9000


def test_rules_that_are_there_are_replaced_only_on_request(take, home):
    assert take().code == 0
    before = home.config_file.read_text()
    refused = take()
    assert refused.code == 1
    assert "has 4 rules already" in refused.err
    assert home.config_file.read_text() == before
    assert take("--replace").code == 0


def test_nothing_is_written_when_anything_is_wrong(take, files, home):
    (files / "ccproxy.yaml").write_text(CCPROXY + "    - name: nowhere\n      rule: my.own.Rule\n")
    done = take()
    assert done.code == 1
    assert "leads nowhere" in done.err
    assert "my.own.Rule is none of" in done.err
    assert f"{files / 'ccproxy.yaml'}:27" in done.err
    assert not home.config_file.exists()


def test_a_dry_run_shows_valid_settings_and_writes_nothing(take, home):
    done = take("--dry-run")
    assert done.code == 0
    assert len(load(done.out, "f", {}).models.rules) == 4
    assert not home.config_file.exists()


def test_scripts_get_json(take, home):
    shown = json.loads(take("--json", "--dry-run").out)
    assert shown["written"] is False
    assert shown["rules"][0]["name"] == "token_count"
    assert json.loads(take("--json").out)["written"] is True
    assert home.config_file.exists()


def test_the_models_may_be_elsewhere(take, files, home):
    (files / "config.yaml").rename(files / "litellm.yaml")
    assert "leads nowhere" in take().err
    assert take("--models", str(files / "litellm.yaml")).code == 0


def test_files_that_are_missing_or_empty_are_told(dragoman, tmp_path, home):
    missing = dragoman("config", "import", "ccproxy", str(tmp_path / "none.yaml"))
    assert missing.code == 1
    assert "does not exist" in missing.err
    (tmp_path / "ccproxy.yaml").write_text("ccproxy: {rules: []}\n")
    empty = dragoman("config", "import", "ccproxy", str(tmp_path / "ccproxy.yaml"))
    assert (empty.code, empty.out) == (0, "There was nothing to take over.\n")
