"""The rules in force: read with the settings, exchanged while calls run, told of in health."""

import pytest

from app.errors import ConfigError
from tests.server.running import CHAT, SAY, build, running

OWN = """
class Rude:
    def on_request(self, facts, body):
        raise ValueError("never")

HOOKS = {"rude": Rude()}
RULES = {"short": lambda facts: len(facts.model) < 6}
"""
SETTINGS = """\
models:
  extensions: [own.py]
  hooks: [rude]
  rules:
    - {name: short, when: {rule: short}, then: {reject: too short}}
"""


def own(home, text=OWN):
    folder = home / "config"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "own.py"
    file.write_text(text)
    file.chmod(0o600)
    return file


async def test_rules_and_hooks_of_files_hold_from_the_start_and_health_tells_of_them(tmp_path):
    own(tmp_path)
    async with running(tmp_path, SETTINGS) as server:
        assert (await server.post(CHAT, SAY | {"model": "x"})).status == 403
        assert (await server.post(CHAT, SAY)).status == 200  # a hook that fails changes nothing
        rules = (await server.get("/v1/health")).json["rules"]
        assert rules["count"] == 1
        rude = next(one for one in rules["extensions"] if one["name"] == "rude")
        assert (rude["kind"], rude["failures"]) == ("hook", 1)
        assert "never" in rude["last_failure"]


async def test_a_file_of_rules_that_changed_holds_after_a_reload(tmp_path):
    file = own(tmp_path)
    async with running(tmp_path, SETTINGS) as server:
        file.write_text(OWN.replace("< 6", "> 6"))
        assert (await server.service.reload())["changed"]
        assert (await server.post(CHAT, SAY)).status == 403


async def test_rules_that_are_wrong_are_refused_whole_and_those_before_stay(tmp_path):
    own(tmp_path)
    async with running(tmp_path, SETTINGS) as server:
        server.service.located.path.write_text(SETTINGS.replace("rule: short", "rule: lost"))
        done = await server.service.reload()
        assert not done["changed"]
        assert "lost" in done["problems"][0]
        assert (await server.post(CHAT, SAY | {"model": "x"})).status == 403


async def test_a_start_with_wrong_rules_says_all_that_is_wrong(tmp_path):
    service = build(tmp_path, "models: {rules: [{when: {rule: a}, then: {}}], hooks: [b]}")
    try:
        with pytest.raises(ConfigError) as caught:
            await service.start()
        assert {problem.key for problem in caught.value.problems} == {
            "models.rules[0].when.rule",
            "models.hooks[0]",
        }
    finally:
        await service.close()
