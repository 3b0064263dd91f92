"""The tray's menu as a pure function: a status in, a tree with actions as values out.

Only what works is in the menu: an item whose action nobody carries out is left out, and so is a
submenu that would be empty. Long lists end with "More…", which opens the dashboard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal, TypeAlias

from app.gateway.status import AccountStatus, ModelStatus, Status, WindowStatus
from app.server.vitals import WholeStatus

__all__ = [
    "LISTED",
    "SEPARATOR",
    "Action",
    "ActionName",
    "Entry",
    "Item",
    "Offer",
    "Separator",
    "build_menu",
    "count_answers",
    "describe_left",
    "describe_line",
    "short",
]

ActionName: TypeAlias = Literal[
    "add_account",
    "aistudio_browser",
    "aistudio_close",
    "aistudio_hide",
    "aistudio_open",
    "aistudio_out",
    "agent_disconnect",
    "agent_test",
    "autostart",
    "copy_address",
    "copy_code",
    "dashboard",
    "default_model",
    "help",
    "logs",
    "new_key",
    "notifications",
    "pause",
    "pause_account",
    "primary",
    "quit",
    "refresh",
    "resume",
    "resume_account",
    "sign_in",
    "sign_out",
    "take_over",
    "updates",
    "welcome",
]

LISTED = 15
"""Entries of a list before it ends with "More…": about half a screen."""

_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Action:
    """What a click means.

    ``target`` by name: an account's id (``primary``, ``pause_account``, ``resume_account``,
    ``refresh``, ``sign_in``, ``sign_out``); a provider's id (``add_account``); a model's name or
    empty for none (``default_model``); a section of the dashboard or empty (``dashboard``); ``on``
    or ``off`` (``autostart``); a kind of notification (``notifications``, which toggles it); the
    code to type (``copy_code``, of a notification); an agent's name (``agent_disconnect``,
    ``agent_test``; ``*`` is every connected one, also for ``quit``, which then comes after
    it). ``welcome`` shows the first steps, ``updates`` the page of releases in the browser, and
    ``take_over`` is in the menu of an icon that only offers to (``takeover``).
    """

    name: ActionName
    target: str = ""


@dataclass(frozen=True, slots=True)
class Separator:
    """A line between groups."""


SEPARATOR = Separator()


@dataclass(frozen=True, slots=True)
class Item:
    """An entry with text.

    With ``children`` a submenu, with ``action`` something to click, with neither a line to read.
    """

    text: str
    action: Action | None = None
    children: tuple[Entry, ...] = ()
    checked: bool | None = None
    """None: no mark at all."""
    radio: bool = False
    """The mark is one of several of which one is set."""
    default: bool = False
    """A click on the icon itself does this, where the system has that."""


Entry: TypeAlias = "Item | Separator"


@dataclass(frozen=True, slots=True)
class Offer:
    """What can be done here, and the desktop's own switches."""

    actions: frozenset[ActionName]
    """All that is carried out; what is missing here is not in the menu."""
    autostart: bool = False
    """Whether it starts at sign-in."""
    autostart_blocked: str = ""
    """Why it does not although it is switched on: the system's own switch."""
    notifications: tuple[tuple[str, str, bool], ...] = ()
    """Kind, text and whether it is on, of each kind of notification."""
    commit: str = ""
    """What this program was built from; empty where nobody knows."""
    build: str = ""
    """The kind of its package; empty where nobody knows."""
    grace_s: float = 0.0
    """How long a stop waits for running answers, in seconds."""
    moment: Callable[[float], str] = field(default=str, compare=False)
    """Returns the text of a time in epoch seconds, as people of this place write it."""


def build_menu(status: Status, offer: Offer) -> tuple[Entry, ...]:
    """Return the menu for a status."""
    groups = (
        [Item(describe_line(status)), *_problems(status, offer)],
        [
            *_accounts(status, offer),
            *_models(status, offer),
            *_budgets(status, offer),
            *_studios(status, offer),
            *_parts(status, offer),
        ],
        _everyday(status, offer),
        _settings(offer),
        [
            *_click(offer, "Logs", "logs"),
            *_click(offer, "Help", "help"),
            Item("About", children=_about(status, offer)),
        ],
        _click(offer, _quit_text(status, offer), "quit"),
    )
    entries: list[Entry] = []
    for group in groups:
        shown = list(group)
        if shown and entries:
            entries.append(SEPARATOR)
        entries.extend(shown)
    return tuple(entries)


def describe_line(status: Status) -> str:
    """Return the status in one line: what it does, and where."""
    where = status.address.partition("://")[2]
    match status.state:
        case "stopped":
            return "Dragoman is stopped"
        case "paused":
            return f"Paused at {where}" if where else "Paused"
        case "working":
            return f"{count_answers(status.running)} running at {where}"
        case "attention":
            return f"Needs attention, at {where}" if where else "Needs attention"
        case "running":
            return f"Ready at {where}"


def _problems(status: Status, offer: Offer) -> Iterator[Entry]:
    if status.reason and status.state in ("attention", "paused"):
        action = Action("dashboard") if "dashboard" in offer.actions else None
        yield Item(short(status.reason), action)
    for pending in status.sign_ins:
        if pending.user_code:
            yield Item(short(f"{pending.title}: type {pending.user_code} at {pending.url}"))


# Accounts


def _accounts(status: Status, offer: Offer) -> Iterator[Entry]:
    children: list[Entry] = []
    if not status.accounts:
        children.append(
            Item("No account yet: the demo models answer" if status.demo else "No account yet")
        )
    groups = [(title, list(group)) for title, group in groupby(status.accounts, lambda a: a.title)]
    left = LISTED
    for title, accounts in groups:
        if left <= 0:
            break
        if children:
            children.append(SEPARATOR)
        children.append(Item(short(title)))
        several = sum(account.signed_in for account in accounts) > 1
        children.extend(_account(account, several, offer) for account in accounts[:left])
        left -= len(accounts)
    if left < 0:
        children.extend(_click(offer, "More…", "dashboard", "accounts"))
    if "add_account" in offer.actions and status.services:
        ways = tuple(
            Item(short(service.title), Action("add_account", service.id))
            for service in status.services
        )
        children += [SEPARATOR, Item("Add account…", children=ways)]
    yield Item("Accounts", children=tuple(children))


def _account(account: AccountStatus, several: bool, offer: Offer) -> Item:
    name = account.identity or account.label
    about = " · ".join(part for part in (account.label, account.plan) if part and part != name)
    lines: list[Entry] = [Item(short(about))] if about else []
    if account.health != "ready" and not account.paused:
        again = f", again at {offer.moment(account.until)}" if account.until is not None else ""
        lines.append(Item(short(f"{account.reason or account.health}{again}")))
    elif account.reason and not account.paused:
        lines.append(Item(short(account.reason)))
    lines.extend(Item(describe_left(window, offer.moment)) for window in account.windows)
    actions = list(_account_actions(account, several, offer))
    if lines and actions:
        lines.append(SEPARATOR)
    return Item(short(f"{name}{_account_mark(account)}"), children=(*lines, *actions))


def _account_mark(account: AccountStatus) -> str:
    if account.paused:
        return " (paused)"
    if account.needs_sign_in:
        return " (sign in again)"
    if account.health == "disabled":
        return " (off)"
    if account.health in ("refused", "unusable"):
        return " (not usable)"
    if account.spent:
        return " (used up)"
    if account.left_percent is not None:
        return f" ({account.left_percent:.0f} % left)"
    return " (waiting)" if account.health == "cooling" else ""


def _account_actions(account: AccountStatus, several: bool, offer: Offer) -> Iterator[Entry]:
    if not account.signed_in:
        return
    if several and "primary" in offer.actions:
        action = Action("primary", account.id)
        yield Item("Use first", action, checked=account.primary, radio=True)
    if account.paused:
        yield from _click(offer, "Resume", "resume_account", account.id)
    else:
        yield from _click(offer, "Pause", "pause_account", account.id)
    if not account.needs_sign_in:
        yield from _click(offer, "Refresh", "refresh", account.id)
    yield from _click(offer, "Sign in again…", "sign_in", account.id)
    if sure := _click(offer, f"Yes, sign {account.label} out", "sign_out", account.id):
        yield Item("Sign out", children=tuple(sure))


def describe_left(window: WindowStatus, moment: Callable[[float], str]) -> str:
    """Return what is left of a window, and when it begins anew, in one line."""
    if window.exhausted or window.left_percent == 0:
        left = "used up"
    elif window.left_percent is None:
        left = "in use"
    else:
        left = f"{window.left_percent:.0f} % left"
    resets = f", resets {moment(window.resets_at)}" if window.resets_at is not None else ""
    return short(f"{window.name}: {left}{resets}")


# Models


def _models(status: Status, offer: Offer) -> Iterator[Entry]:
    if not status.models:
        return
    labels = {account.id: account.label for account in status.accounts}
    real = [model for model in status.models if not model.alias_of]
    aliases = [model for model in status.models if model.alias_of]
    children: list[Entry] = []
    by_title: dict[str, list[ModelStatus]] = {}
    for model in real:
        by_title.setdefault(model.title or "Nobody", []).append(model)
    titles = list(by_title.items())
    for title, models in titles[:LISTED]:
        lines = (Item(_route(model, labels)) for model in models)
        children.append(Item(short(title), children=_capped(list(lines), offer, "models")))
    if len(titles) > LISTED:
        children.extend(_click(offer, "More…", "dashboard", "models"))
    if aliases:
        lines = (Item(_route(model, labels)) for model in aliases)
        children.append(Item("Aliases", children=_capped(list(lines), offer, "models")))
    if "default_model" in offer.actions:
        children += [SEPARATOR, _default_model(status, [*aliases, *real], offer)]
    yield Item("Models", children=tuple(children))


def _route(model: ModelStatus, labels: dict[str, str]) -> str:
    meant = f" = {model.alias_of}" if model.alias_of else ""
    if not model.account:
        return short(f"{model.name}{meant}: not now")
    account = labels.get(model.account, model.account)
    if model.upstream not in (model.name, model.alias_of, ""):
        account = f"{model.upstream} at {account}"
    return short(f"{model.name}{meant} → {account}")


def _default_model(status: Status, models: Sequence[ModelStatus], offer: Offer) -> Item:
    chosen = status.default_model
    names = [model.name for model in models][:LISTED]
    if chosen is not None and chosen not in names:
        names = [chosen, *names[: LISTED - 1]]
    items: list[Entry] = [
        Item("None", Action("default_model"), checked=chosen is None, radio=True),
        *(
            Item(short(name), Action("default_model", name), checked=name == chosen, radio=True)
            for name in names
        ),
    ]
    if len(models) > len(names):
        items.extend(_click(offer, "More…", "dashboard", "models"))
    return Item("Default model", children=tuple(items))


# Budgets


def _budgets(status: Status, offer: Offer) -> Iterator[Entry]:
    if not status.budgets:
        return
    lines: list[Entry] = []
    for budget in status.budgets:
        lines.append(Item(short(budget.text.removeprefix("Budget ").rstrip("."))))
        if budget.level == "stop":
            lines.append(Item(short(f"Calls are refused until {offer.moment(budget.resets_at)}")))
    worst = max(budget.used_percent for budget in status.budgets)
    text = "Budgets (used up)" if _stopped(status) else f"Budgets ({worst} % used)"
    yield Item(text, children=_capped(lines, offer, "settings"))


def _stopped(status: Status) -> bool:
    return any(budget.level == "stop" for budget in status.budgets)


# The rest


# AI Studio and what else runs

_STEPS = {
    "closed": "closed",
    "sign_in": "waiting for the sign-in",
    "refused": "Google refuses this window",
    "build": "waiting for the app",
    "app": "waiting for its connection",
    "asleep": "its tab sleeps",
    "connected": "connected",
}


def _studios(status: Status, offer: Offer) -> Iterator[Entry]:
    if not isinstance(status, WholeStatus) or "aistudio_open" not in offer.actions:
        return
    children: list[Entry] = []
    for one in status.studios:
        shown, hidden = one.window == "shown", one.window == "hidden"
        lines: list[Entry] = [Item(short(one.text))] if one.text else []
        lines += _click(
            offer, "Show the window" if hidden else "Open the window", "aistudio_open", one.label
        )
        if shown:
            lines += _click(offer, "Hide the window", "aistudio_hide", one.label)
        lines += _click(offer, "Open in my browser", "aistudio_browser", one.label)
        if one.window != "closed":
            lines += _click(offer, "Close the window", "aistudio_close", one.label)
        if sure := _click(offer, f"Yes, sign {one.label} out", "aistudio_out", one.label):
            lines.append(Item("Sign out", children=tuple(sure)))
        step = _STEPS.get(one.step, one.step)
        children.append(Item(short(f"{one.label}: {step}"), children=tuple(lines)))
    children += _click(offer, "Set up…", "dashboard", "services")
    yield Item("AI Studio", children=tuple(children))


def _parts(status: Status, offer: Offer) -> Iterator[Entry]:
    """Return what runs beside the icon, with state, reason, memory and next try."""
    if not isinstance(status, WholeStatus):
        return
    lines: list[Entry] = []
    for one in status.vitals:
        if one.state in ("off", "not_installed"):
            continue
        words = [f"{one.title}: {one.state.replace('_', ' ')}"]
        if one.since is not None:
            words.append(f"since {offer.moment(one.since)}")
        if one.memory_bytes is not None:
            words.append(f"{one.memory_bytes >> 20} MB")
        if one.until is not None:
            words.append(f"again at {offer.moment(one.until)}")
        lines.append(Item(short(", ".join(words))))
        if one.reason:
            lines.append(Item(short(f"    {one.reason}")))
    if lines:
        lines += (
            [SEPARATOR, *more] if (more := _click(offer, "More…", "dashboard", "services")) else []
        )
        yield Item("What runs", children=tuple(lines))


def _everyday(status: Status, offer: Offer) -> Iterator[Entry]:
    if "dashboard" in offer.actions:
        yield Item("Open dashboard", Action("dashboard"), default=True)
    if status.address:
        yield from _click(offer, "Copy address", "copy_address")
    yield from _click(offer, "New key…", "new_key")
    if status.state == "paused":
        yield from _click(offer, "Resume", "resume")
    elif status.state != "stopped":
        yield from _click(offer, "Pause", "pause")


def _settings(offer: Offer) -> Iterator[Entry]:
    if "autostart" in offer.actions:
        if offer.autostart_blocked:
            yield Item(short(f"Start at sign-in: {offer.autostart_blocked}"))
        else:
            target = "off" if offer.autostart else "on"
            yield Item("Start at sign-in", Action("autostart", target), checked=offer.autostart)
    if "notifications" in offer.actions and offer.notifications:
        switches = tuple(
            Item(text, Action("notifications", kind), checked=on)
            for kind, text, on in offer.notifications
        )
        yield Item("Notifications", children=switches)


def _about(status: Status, offer: Offer) -> tuple[Entry, ...]:
    build = f" ({offer.build})" if offer.build else ""
    commit = [Item(short(f"Commit {offer.commit}"))] if offer.commit else []
    return (
        Item(short(f"Dragoman {status.version}{build}")),
        *commit,
        Item("MIT licence"),
        *_click(offer, "Check for updates", "updates"),
    )


def _quit_text(status: Status, offer: Offer) -> str:
    if not status.running:
        return "Quit"
    return f"Quit (waits {offer.grace_s:.0f} s at most for {count_answers(status.running)})"


def count_answers(count: int) -> str:
    """Return a number of answers in words."""
    return "1 answer" if count == 1 else f"{count} answers"


def _click(offer: Offer, text: str, name: ActionName, target: str = "") -> list[Entry]:
    """Return the item as a list of one, or of none when nobody carries the action out."""
    return [Item(short(text), Action(name, target))] if name in offer.actions else []


def _capped(items: Sequence[Entry], offer: Offer, section: str) -> tuple[Entry, ...]:
    if len(items) <= LISTED:
        return tuple(items)
    return (*items[:LISTED], *_click(offer, "More…", "dashboard", section))


def short(text: str) -> str:
    """Return a text as one line that fits into a menu; names come from services and users."""
    line = " ".join(_printable(text).split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1].rstrip()}…"


def _printable(text: Iterable[str]) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
