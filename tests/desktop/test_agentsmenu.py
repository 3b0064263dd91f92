import threading

import msgspec
import pytest

from app.desktop.agentsmenu import AgentLine, agents_item, read_agents, with_agents
from app.desktop.menu import LISTED, Action, Item, Offer, build_menu
from app.errors import AppError
from tests.desktop import statuses
from tests.desktop.scripted_program import ScriptedProgram
from tests.desktop.test_desktop import Rig
from tests.desktop.test_menu import find, items, texts

ALL = Offer(statuses.EVERY_ACTION | {"agent_disconnect", "agent_test"})
CLAUDE = AgentLine(name="claude", title="Claude Code", editable=True, testable=True)
CONNECTED = msgspec.structs.replace(CLAUDE, connected=True, model="gpt-5")
CODEX = AgentLine(name="codex", title="Codex CLI", editable=True, connected=True)


def menu(*agents, status=None, offer=ALL):
    status = status or statuses.full()
    return with_agents(build_menu(status, offer), agents, status, offer)


def test_agents_come_after_accounts_and_models():
    shown = texts(menu(CLAUDE))
    assert shown[shown.index("Models") + 1] == "Agents"
    without = statuses.status()
    shown = texts(menu(CLAUDE, status=without))
    assert shown[shown.index("Accounts") + 1] == "Agents"


def test_everything_else_of_the_menu_stays():
    plain = build_menu(statuses.full(), ALL)
    assert tuple(e for e in menu(CLAUDE) if not isinstance(e, Item) or e.text != "Agents") == plain


@pytest.mark.parametrize(
    ("changes", "mark"),
    [
        ({"connected": False}, "Claude Code"),
        ({}, "Claude Code (connected)"),
        ({"drifted": True}, "Claude Code (changed since)"),
        ({"outdated": True, "drifted": True}, "Claude Code (former address)"),
    ],
)
def test_the_mark_says_how_it_stands(changes, mark):
    agent = msgspec.structs.replace(CONNECTED, **changes)
    assert texts(find(menu(agent), "Agents").children)[0] == mark


def test_an_agent_that_is_not_connected_can_be_connected_and_tested():
    shown = find(menu(CLAUDE), "Agents", "Claude Code")
    assert [(item.text, item.action) for item in shown.children] == [
        ("Connect…", Action("dashboard", "agents/claude")),
        ("Test", Action("agent_test", "claude")),
    ]


def test_a_connected_agent_has_its_model_and_a_way_back_that_asks():
    shown = find(menu(CONNECTED), "Agents", "Claude Code")
    assert texts(shown.children) == ["Uses gpt-5", "-", "Choose model", "Test", "Disconnect"]
    back = find(menu(CONNECTED), "Agents", "Claude Code", "Disconnect")
    assert back.action is None
    assert back.children == (
        Item("Yes, give Claude Code its own settings back", Action("agent_disconnect", "claude")),
    )


def test_a_chosen_model_opens_the_change_and_the_present_one_is_marked():
    odd = statuses.model("vendor/gpt 5")
    status = statuses.status(models=(statuses.model("gpt-5"), odd))
    shown = find(menu(CONNECTED, status=status), "Agents", "Claude Code", "Choose model")
    assert [(item.text, item.checked, item.action) for item in shown.children] == [
        ("gpt-5", True, Action("dashboard", "agents/claude/gpt-5")),
        ("vendor/gpt 5", False, Action("dashboard", "agents/claude/vendor/gpt%205")),
    ]


def test_models_that_nobody_can_answer_are_not_offered():
    status = statuses.status(models=(statuses.model("gpt-5", account="", reason="used up"),))
    shown = find(menu(CONNECTED, status=status), "Agents", "Claude Code")
    assert "Choose model" not in texts(shown.children)


def test_long_lists_end_in_the_dashboard():
    many = tuple(statuses.model(f"m{n}") for n in range(LISTED + 3))
    status = statuses.status(models=many)
    shown = find(menu(CONNECTED, status=status), "Agents", "Claude Code", "Choose model")
    assert texts(shown.children)[0] == "gpt-5"
    assert texts(shown.children)[-1] == "More…"
    assert len(shown.children) == LISTED + 1
    agents = tuple(msgspec.structs.replace(CLAUDE, name=f"a{n}") for n in range(LISTED + 3))
    assert len(find(menu(*agents), "Agents").children) == LISTED + 2


@pytest.mark.parametrize(
    ("changes", "line", "button"),
    [
        ({"outdated": True}, "It goes to a former address of Dragoman", "Update…"),
        ({"drifted": True}, "Its settings were changed by somebody else", "Set again…"),
    ],
)
def test_what_changed_is_said_with_a_way_on(changes, line, button):
    agent = msgspec.structs.replace(CONNECTED, **changes)
    shown = find(menu(agent), "Agents", "Claude Code")
    assert line in texts(shown.children)
    way = find(menu(agent), "Agents", "Claude Code", button)
    assert way.action == Action("dashboard", "agents/claude")


def test_what_only_a_person_can_connect_says_how():
    cline = AgentLine(name="cline", title="Cline")
    shown = find(menu(cline), "Agents", "Cline")
    assert shown.children == (Item("How to…", Action("dashboard", "agents/cline")),)


def test_nothing_found_is_said():
    assert texts(agents_item((), statuses.full(), ALL).children) == [
        "No agent was found on this machine",
        "-",
        "More…",
    ]


@pytest.mark.parametrize("missing", ["agent_disconnect", "agent_test"])
def test_nothing_is_shown_that_nobody_carries_out(missing):
    offer = Offer(ALL.actions - {missing})
    shown = {item.action.name for item in items(menu(CONNECTED, offer=offer)) if item.action}
    assert missing not in shown
    assert "Agents" not in texts(menu(CONNECTED, offer=Offer(frozenset({"quit"}))))


def test_quit_names_the_agents_that_would_be_stranded_and_offers_to_disconnect_them():
    quit_item = find(menu(CONNECTED, CODEX), "Quit")
    assert quit_item.action is None
    assert [(item.text, item.action) for item in quit_item.children] == [
        ("Claude Code and Codex CLI point here", None),
        ("Disconnect, then quit", Action("quit", "*")),
        ("Quit and leave them so", Action("quit")),
    ]
    assert texts(find(menu(CODEX), "Quit").children)[0] == "Codex CLI points here"


@pytest.mark.parametrize(
    ("agents", "offer"),
    [((CLAUDE,), ALL), ((), ALL), ((CODEX,), Offer(statuses.EVERY_ACTION))],
)
def test_quit_is_one_click_where_nobody_would_be_stranded(agents, offer):
    assert find(menu(*agents, offer=offer), "Quit").action == Action("quit")


def test_what_the_program_tells_is_read():
    told = msgspec.json.encode([CONNECTED]).decode()
    assert read_agents(told) == (CONNECTED,)
    with pytest.raises(msgspec.DecodeError):
        read_agents("{}")


# The desktop around it


@pytest.fixture
def rig(tmp_path):
    answers = {
        "agents": msgspec.json.encode([CONNECTED, CODEX]).decode(),
        "agent_disconnect": "They have their own settings back.",
        "agent_test": "claude, gpt-5: answered after 1.0 s.",
    }
    found = Rig(tmp_path, ScriptedProgram(answers=answers))
    found.serve()
    yield found
    found.close()


def shown(rig):
    return texts(find(rig.faces[-1].menu, "Agents").children)


def test_the_desktop_shows_the_agents_that_the_program_knows(rig):
    assert shown(rig)[:2] == ["Claude Code (connected)", "Codex CLI (connected)"]


def test_a_disconnected_agent_is_shown_so_at_once(rig):
    rig.program.answers["agents"] = msgspec.json.encode([CLAUDE]).decode()
    rig.do("agent_disconnect", "claude")
    assert ("agent_disconnect", "claude") in rig.program.asked
    assert shown(rig)[0] == "Claude Code"
    assert rig.sent[-1].text == "They have their own settings back."


def test_a_test_tells_what_came_of_it(rig):
    rig.do("agent_test", "claude")
    assert rig.sent[-1].text == "claude, gpt-5: answered after 1.0 s."


def test_quit_disconnects_first_where_that_was_chosen(rig):
    rig.do("quit", "*")
    assert ("agent_disconnect", "*") in rig.program.asked
    assert rig.finished == [1]


def test_quit_leaves_them_where_that_was_chosen(rig):
    rig.do("quit")
    assert ("agent_disconnect", "*") not in rig.program.asked
    assert rig.finished == [1]


def test_quit_stays_where_disconnecting_failed(rig):
    rig.program.answers["agent_disconnect"] = AppError("The file is broken.")
    rig.do("quit", "*")
    assert rig.finished == []
    assert "The file is broken." in rig.sent[-1].text


def test_agents_are_looked_at_again_from_time_to_time(rig):
    rig.program.answers["agents"] = msgspec.json.encode([CLAUDE]).decode()
    looked = threading.Event()

    def look():
        rig.desktop._begin_looking()
        looked.set()

    rig.desktop._loop.call_soon_threadsafe(look)
    assert looked.wait(10)
    rig.settle()
    assert shown(rig)[0] == "Claude Code"
    assert rig.desktop._agents_timer is not None


def test_agents_that_cannot_be_looked_at_are_no_fault_of_the_menu(tmp_path):
    broken = {"agents": AppError("The list is damaged.")}
    rig = Rig(tmp_path, ScriptedProgram(answers=broken))
    rig.serve()
    try:
        assert shown(rig)[0] == "No agent was found on this machine"
    finally:
        rig.close()
