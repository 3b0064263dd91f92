import re
from pathlib import PurePosixPath, PureWindowsPath

import pytest

from app.clients import AGENTS
from app.clients.agent import Address, Machine, Models, Offered
from app.errors import RequestError
from app.paths import asset

EVERY_ROLE = {"main": "m", "small": "s", "planning": "p"}


def machine(system="linux", env=None):
    if system == "windows":
        return Machine(system, PureWindowsPath("C:/Users/u"), env or {}, PureWindowsPath("C:/d"))
    return Machine(system, PurePosixPath("/home/u"), env or {}, PurePosixPath("/data"))


def fitting(agent):
    return Models({role: EVERY_ROLE[role] for role in agent.roles}, (Offered("m"),))


@pytest.mark.parametrize("agent", AGENTS.values(), ids=AGENTS)
def test_every_agent_says_what_will_not_work_and_where_that_is_known_from(agent):
    assert agent.limits
    assert agent.facts
    for fact in agent.facts:
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", fact.date)
        assert fact.source.startswith("http") or fact.source.startswith("observed")
    for text in (*agent.limits, *agent.steps):
        assert text[0].isupper() or text[0] == "`"
        assert text.format(url="u", v1="v")
    assert agent.editable or agent.steps


@pytest.mark.parametrize("system", ["linux", "macos", "windows"])
@pytest.mark.parametrize("agent", AGENTS.values(), ids=AGENTS)
def test_every_agent_keeps_below_the_users_own_folders(agent, system):
    here = machine(system)
    targets = agent.targets(here, Address("http://127.0.0.1:1"), fitting(agent))
    assert bool(targets) == agent.editable
    for target in targets:
        for path in (target.path, *target.rather):
            assert path.is_relative_to(here.home) or path.is_relative_to(here.data)
        assert len({change.path for change in target.changes}) == len(target.changes)


@pytest.mark.parametrize("agent", AGENTS.values(), ids=AGENTS)
def test_no_key_is_among_the_words_of_a_process(agent):
    words = agent.arguments(Address("http://h:1", "dg-secret"), fitting(agent))
    assert "dg-secret" not in " ".join(words)


def test_roles_that_an_agent_does_not_have_are_refused():
    with pytest.raises(RequestError) as caught:
        AGENTS["codex"].check(Models({"small": "x"}))
    assert caught.value.hint == "Its roles: main."


def test_a_missing_role_names_the_option_that_gives_it():
    with pytest.raises(RequestError) as caught:
        AGENTS["zed"].check(Models({"small": "x"}))
    assert "--model NAME" in caught.value.hint


def test_chosen_models_are_listed_with_those_that_are_served_each_once():
    models = Models({"main": "a", "small": "b", "planning": "b"}, (Offered("a", 1), Offered("c")))
    assert [model.id for model in models.listed()] == ["a", "c", "b"]
    assert models.listed()[0].context == 1


def test_folders_can_be_moved_by_the_environment():
    here = machine(env={"XDG_CONFIG_HOME": "/xdg", "APPDATA": ""})
    assert str(here.config()) == "/xdg"
    assert str(here.roaming()) == "/home/u/AppData/Roaming"
    assert str(machine("windows").local()) == "C:\\Users\\u\\AppData\\Local"


PAGE = " ".join(asset("docs/agents.md").read_text("utf-8").split())


@pytest.mark.parametrize("agent", AGENTS.values(), ids=AGENTS)
def test_the_page_about_agents_says_what_is_known_here(agent):
    heading = f"### {agent.title} (`{agent.name}`) "
    assert heading in PAGE
    about = PAGE.partition(heading)[2].partition("### ")[0]
    for limit in agent.limits:
        assert f"- {limit}" in about
    for role, use in agent.roles.items():
        assert f"`{role}`: {use}" in about
    if not agent.editable:
        for step in agent.steps:
            assert step.format(url="http://127.0.0.1:8317", v1="http://127.0.0.1:8317/v1") in about
    assert ("It needs a model." in about) == ("main" in agent.needs)
