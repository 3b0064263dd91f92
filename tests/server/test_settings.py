import sys
from pathlib import Path

import pytest

from app.config import Config
from app.configfile import REMOVE, load_file, locate
from app.errors import RequestError
from app.server.settings import SettingsDesk, is_editable

TEXT = """\
# The house rules.
server:
  port: 8317   # as ever
providers:
  local:
    kind: compatible
    dialect: openai_chat
    base_url: http://127.0.0.1:9/v1
    api_key: sk-secret-of-the-file
    models: [m]
"""


class Source:
    """A program that reads its settings from a file."""

    def __init__(self, folder, text=TEXT, **env):
        self.path = folder / "config.yaml"
        self.path.write_text(text)
        self.path.chmod(0o600)
        self.env = {"DRAGOMAN_HOME": str(folder), "DRAGOMAN_CONFIG": str(self.path)} | env
        self.problems = ()
        self.config = self._load()
        self.desk = SettingsDesk(self, self.path)

    def _load(self):
        return load_file(locate(None, self.env), self.env)

    async def reload(self):
        self.config = self._load()
        return {"changed": True, "problems": ["server holds from the next start"]}


@pytest.mark.parametrize(
    ("key", "may"),
    [
        ("server.port", True),
        ("models.aliases.fast", True),
        ("providers.local.enabled", True),
        ("providers.local.accounts.0.models", True),
        ("logging.json", True),
        ("providers", False),
        ("providers.local", False),
        ("providers.local.base_url", False),
        ("providers.local.api_key", False),
        ("providers.local.headers.x", False),
        ("providers.local.proxy", False),
        ("providers.local.forward", False),
        ("providers.local.credential_command", False),
        ("providers.local.accounts.0.base_url", False),
        ("models", False),
        ("models.rules", False),
        ("upstream.proxy", False),
        ("upstream.ca_file", False),
        ("database.url", False),
        ("services.webai.enabled", False),
        ("server", False),
        ("", False),
    ],
)
def test_what_runs_code_or_redirects_secrets_is_locked(key, may):
    assert is_editable(key.split(".")) is may


def test_form_shows_everything_but_secrets(tmp_path):
    source = Source(tmp_path, DRAGOMAN_LOGGING__LEVEL="debug")
    shown = source.desk.show()
    assert "secret-of-the-file" not in str(shown)
    assert shown["values"]["providers"]["local"]["api_key"] == "***"
    assert shown["values"]["logging"]["level"] == "debug"
    assert shown["overrides"] == {"logging.level": "DRAGOMAN_LOGGING__LEVEL"}
    assert set(shown["schema"]["properties"]) == set(Config.model_fields)
    assert "json" in shown["values"]["logging"]
    assert any("dragoman login local" in text for text in shown["warnings"])


async def test_change_keeps_comments_and_is_put_in_force(tmp_path):
    source = Source(tmp_path)
    done, faults = await source.desk.change(
        [
            (("server", "port"), 9000),
            (("models", "aliases"), {"fast": "m"}),
            (("providers", "local", "enabled"), False),
        ]
    )
    assert faults == ()
    assert done["changed"]
    text = source.path.read_text()
    assert "# The house rules." in text
    assert "9000   # as ever" in text
    assert "sk-secret-of-the-file" in text
    assert source.config.models.aliases == {"fast": "m"}
    assert source.config.providers["local"].enabled is False
    await source.desk.change([(("server", "port"), REMOVE)])
    assert source.config.server.port == 8317


async def test_wrong_values_are_told_together_and_nothing_is_written(tmp_path):
    source = Source(tmp_path)
    done, faults = await source.desk.change(
        [(("server", "port"), 99_999), (("logging", "level"), "loud"), (("quota", "ask"), True)]
    )
    assert {fault.key for fault in faults} == {"server.port", "logging.level"}
    assert not done["changed"]
    assert source.path.read_text() == TEXT


@pytest.mark.parametrize(
    ("key", "variable"),
    [("providers.local.base_url", {}), ("logging.level", {"DRAGOMAN_LOGGING__LEVEL": "debug"})],
)
async def test_locked_keys_are_refused_with_all_that_came_along(tmp_path, key, variable):
    source = Source(tmp_path, **variable)
    with pytest.raises(RequestError) as refused:
        await source.desk.change([(("server", "port"), 1), (tuple(key.split(".")), "x")])
    assert (refused.value.status, refused.value.code) == (403, "locked_setting")
    assert source.path.read_text() == TEXT


@pytest.mark.skipif(sys.platform != "linux", reason="takes a folder in which nobody may write")
async def test_file_that_cannot_be_written_is_told(tmp_path):
    source = Source(tmp_path)
    desk = SettingsDesk(source, Path("/proc/dragoman/config.yaml"))
    with pytest.raises(RequestError) as refused:
        await desk.change([(("server", "port"), 1)])
    assert refused.value.code == "settings_unwritable"
