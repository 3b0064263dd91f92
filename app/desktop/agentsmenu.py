"""The menu's agents as pure functions: which there are, and what can be done with each.

Connecting and choosing a model open the dashboard at the exact change, which has to be seen before
it is made; giving an agent its own settings back is asked for once more and done. While agents point
here, "Quit" offers to disconnect them first: an address where nothing answers strands them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import quote

import msgspec

from app.desktop.menu import LISTED, SEPARATOR, Action, Entry, Item, Offer, short
from app.gateway.status import Status

__all__ = ["EVERY_AGENT", "AgentLine", "agents_item", "read_agents", "with_agents"]

EVERY_AGENT = "*"
"""Target of ``agent_disconnect`` for all that are connected."""


class AgentLine(msgspec.Struct, frozen=True, kw_only=True):
    """One agent that is on this machine, or connected, as the menu shows it."""

    name: str
    title: str
    editable: bool = False
    """Whether it can be connected by a program."""
    testable: bool = False
    connected: bool = False
    outdated: bool = False
    """Connected to another address than the one that holds now."""
    drifted: bool = False
    """Somebody else changed what was written."""
    model: str = ""
    """What it is connected to; empty for its own choice."""


def read_agents(text: str) -> tuple[AgentLine, ...]:
    """Read what the command ``agents`` returned.

    Raises:
        msgspec.DecodeError: it is something else.
    """
    return msgspec.json.decode(text, type=tuple[AgentLine, ...])


def with_agents(
    menu: Sequence[Entry], agents: Sequence[AgentLine], status: Status, offer: Offer
) -> tuple[Entry, ...]:
    """Return a menu with the agents' submenu, and with a "Quit" that speaks of them.

    Args:
        menu: as ``build_menu`` returned it.
        agents: those on this machine.
        status: as for ``build_menu``, and so is the next.
        offer: what can be done.
    """
    place = max(
        (i for i, e in enumerate(menu) if isinstance(e, Item) and e.text in ("Accounts", "Models")),
        default=0,
    )
    connected = [agent for agent in agents if agent.connected]
    entries: list[Entry] = []
    for i, entry in enumerate(menu):
        is_quit = isinstance(entry, Item) and entry.action == Action("quit")
        entries.append(_quit(entry, connected, offer) if is_quit else entry)  # type: ignore[arg-type]
        if i == place and "dashboard" in offer.actions:
            entries.append(agents_item(agents, status, offer))
    return tuple(entries)


def agents_item(agents: Sequence[AgentLine], status: Status, offer: Offer) -> Item:
    """Return the submenu."""
    children: list[Entry] = [_agent(agent, status, offer) for agent in agents[:LISTED]]
    if not children:
        children.append(Item("No agent was found on this machine"))
    return Item(
        "Agents",
        children=(*children, SEPARATOR, Item("More…", Action("dashboard", "agents"))),
    )


def _agent(agent: AgentLine, status: Status, offer: Offer) -> Item:
    lines = [Item(text) for text in _told(agent)]
    actions = list(_actions(agent, status, offer))
    parted: list[Entry] = [SEPARATOR] if lines and actions else []
    return Item(short(f"{agent.title}{_mark(agent)}"), children=(*lines, *parted, *actions))


def _mark(agent: AgentLine) -> str:
    if not agent.connected:
        return ""
    if agent.outdated:
        return " (former address)"
    return " (changed since)" if agent.drifted else " (connected)"


def _told(agent: AgentLine) -> Iterator[str]:
    if agent.connected:
        yield short(f"Uses {agent.model}") if agent.model else "Uses the model of its own choice"
    if agent.outdated:
        yield "It goes to a former address of Dragoman"
    elif agent.drifted:
        yield "Its settings were changed by somebody else"


def _actions(agent: AgentLine, status: Status, offer: Offer) -> Iterator[Entry]:
    page = f"agents/{agent.name}"
    if not agent.editable:
        yield Item("How to…", Action("dashboard", page))
    elif not agent.connected:
        yield Item("Connect…", Action("dashboard", page))
    else:
        if agent.outdated or agent.drifted:
            text = "Update…" if agent.outdated else "Set again…"
            yield Item(text, Action("dashboard", page))
        names = [model.name for model in status.models if not model.reason]
        if names:
            yield Item("Choose model", children=tuple(_choices(agent, names, page)))
    if agent.testable and "agent_test" in offer.actions:
        yield Item("Test", Action("agent_test", agent.name))
    if agent.connected and "agent_disconnect" in offer.actions:
        sure = Item(
            short(f"Yes, give {agent.title} its own settings back"),
            Action("agent_disconnect", agent.name),
        )
        yield Item("Disconnect", children=(sure,))


def _choices(agent: AgentLine, names: Sequence[str], page: str) -> Iterator[Entry]:
    shown = list(names[:LISTED])
    if agent.model and agent.model not in shown:
        shown = [agent.model, *shown[: LISTED - 1]]
    for name in shown:
        action = Action("dashboard", f"{page}/{quote(name, safe='/')}")
        yield Item(short(name), action, checked=name == agent.model, radio=True)
    if len(names) > len(shown):
        yield Item("More…", Action("dashboard", page))


def _quit(entry: Item, connected: Sequence[AgentLine], offer: Offer) -> Item:
    """Return "Quit" as a choice, where agents would be left pointing at nothing."""
    if not connected or "agent_disconnect" not in offer.actions:
        return entry
    names = [agent.title for agent in connected]
    told = " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)
    verb = "points" if len(names) == 1 else "point"
    return Item(
        entry.text,
        children=(
            Item(short(f"{told} {verb} here")),
            Item("Disconnect, then quit", Action("quit", EVERY_AGENT)),
            Item(
                "Quit and leave them so" if len(names) > 1 else "Quit and leave it so",
                Action("quit"),
            ),
        ),
    )
