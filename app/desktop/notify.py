"""Notifications: which ones a change of status means, and sending them.

``decide`` is pure. It compares two snapshots, so that a notification comes when something happens
and not while it lasts; what could flicker (a window that is nearly used up) is also remembered by
key until it ends. What the user did a moment ago, the user knows: accounts in ``acted`` are
quiet. Nothing is said of the first snapshot but what waits for a person, and of budgets.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from app.desktop.menu import Action
from app.gateway.status import AccountStatus, BudgetStatus, Status, WindowStatus
from app.server.vitals import AccountTrouble, WholeStatus

__all__ = ["KINDS", "Kind", "Notice", "Notifier", "decide"]

_log = logging.getLogger("dragoman.desktop")

Kind: TypeAlias = Literal[
    "sign_in", "renewal", "spent", "back", "low", "budget", "config", "code", "answer"
]

KINDS: dict[Kind, str] = {
    "sign_in": "Sign-in needed",
    "renewal": "Sign-in not renewed, or not stored",
    "spent": "Account used up",
    "back": "Account back",
    "low": "Account nearly used up",
    "budget": "Budget nearly used up, or used up",
    "config": "Settings refused",
    "code": "Code to type",
}
"""The kinds with a switch. ``answer`` has none: it answers a click of the user's."""

_LOW_PERCENT = 10.0
_LONG_S = 300.0
"""A pause that is shorter is a hiccup, and no news."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification."""

    kind: Kind
    key: str
    """Stands for the event; what has a key that was told is not told again."""
    title: str
    text: str
    action: Action | None = None
    button: str = ""
    """What the action is called."""


def decide(
    before: Status | None,
    after: Status,
    told: Collection[str],
    acted: Collection[str],
    now: float,
    moment: Callable[[float], str],
) -> tuple[list[Notice], frozenset[str]]:
    """Return what to say about a change, and the keys to remember.

    Args:
        before: the snapshot before; None for the first one.
        after: the new snapshot.
        told: keys that were remembered so far.
        acted: ids of accounts that the user has just done something with, and of services that the
            user is signing in to: a window shows their code.
        now: epoch seconds.
        moment: returns the text of a time in epoch seconds.
    """
    old = {} if before is None else {account.id: account for account in before.accounts}
    found: list[Notice] = []
    stopped = {
        budget.provider
        for status in (before, after)
        if status is not None
        for budget in status.budgets
        if budget.level == "stop" and budget.provider
    }
    for account in after.accounts:
        known = old.get(account.id)
        if account.id in acted or account.paused or account.health == "disabled":
            continue
        if account.provider in stopped:
            continue  # the budget says it
        found.extend(_about_account(known, account, after, now, moment))
    found.extend(_about_renewals(after, acted))
    found.extend(_about_budgets(after, moment))
    found.extend(_about_settings(before, after))
    found.extend(_about_codes(after))
    known_codes = {
        _code_key(pending.id, pending.user_code)
        for pending in after.sign_ins
        if pending.provider in acted
    }
    fresh = [notice for notice in found if notice.key not in {*told, *known_codes}]
    lasting = _lasting_keys(after, now)
    return fresh, frozenset({*told, *(notice.key for notice in found)} & lasting)


def _about_account(
    known: AccountStatus | None,
    account: AccountStatus,
    status: Status,
    now: float,
    moment: Callable[[float], str],
) -> Iterator[Notice]:
    name = _name(account)
    if account.needs_sign_in:
        if known is None or not known.needs_sign_in:
            yield Notice(
                "sign_in",
                _sign_in_key(account),
                f"{name} needs a new sign-in",
                account.reason or "Its sign-in has ended.",
                Action("sign_in", account.id),
                "Sign in",
            )
        return
    if known is None or known.paused:
        return  # nothing happened: it is new here, or the user has just resumed it
    was_out, is_out = _is_out(known, now), _is_out(account, now)
    if is_out and not was_out:
        yield Notice(
            "spent",
            f"spent {account.id}",
            f"{name} is used up",
            _what_now(account, status, moment),
            Action("dashboard", "accounts"),
            "Show accounts",
        )
    elif was_out and account.health == "ready" and not account.spent:
        yield Notice(
            "back",
            f"back {account.id}",
            f"{name} is back",
            "It answers again.",
            Action("dashboard", "accounts"),
            "Show accounts",
        )
    elif not is_out:
        for window in account.windows:
            if _is_low(window):
                resets = window.resets_at
                when = "" if resets is None else f" It begins anew at {moment(resets)}."
                yield Notice(
                    "low",
                    _low_key(account, window),
                    f"{name} is nearly used up",
                    f"{window.left_percent:.0f} % of {window.name} is left.{when}",
                    Action("dashboard", "accounts"),
                    "Show accounts",
                )


def _about_renewals(after: Status, acted: Collection[str]) -> Iterator[Notice]:
    """Tell of a sign-in that is not renewed any more while its account still serves."""
    accounts = {account.id: account for account in after.accounts}
    for trouble in _troubles(after):
        account = accounts.get(trouble.account)
        if account is None or account.id in acted or account.paused or account.needs_sign_in:
            continue  # nobody waits for it, or that it needs a sign-in says more
        yield Notice(
            "renewal",
            _renewal_key(trouble),
            f"The sign-in of {_name(account)} is in trouble",
            trouble.text,
            Action("dashboard", "accounts"),
            "Show accounts",
        )


def _troubles(status: Status) -> tuple[AccountTrouble, ...]:
    return status.troubles if isinstance(status, WholeStatus) else ()


def _about_budgets(after: Status, moment: Callable[[float], str]) -> Iterator[Notice]:
    """Tell of each level once while it lasts; ``told`` knows which were."""
    for budget in after.budgets:
        if budget.level == "ok":
            continue
        stopped = budget.level == "stop"
        ends = f" Calls are refused until {moment(budget.resets_at)}." if stopped else ""
        yield Notice(
            "budget",
            _budget_key(budget, budget.level),
            f"Budget {budget.name} is {'used up' if stopped else 'nearly used up'}",
            f"{budget.text}{ends}",
            Action("dashboard", "settings"),
            "Show settings",
        )


def _about_settings(before: Status | None, after: Status) -> Iterator[Notice]:
    if after.problems and (before is None or before.problems != after.problems):
        more = len(after.problems) - 1
        rest = f" ({more} more)" if more else ""
        yield Notice(
            "config",
            _config_key(after),
            "The settings are refused",
            f"{after.problems[0]}{rest}",
            Action("dashboard", "settings"),
            "Show",
        )


def _about_codes(after: Status) -> Iterator[Notice]:
    for pending in after.sign_ins:
        if pending.user_code:
            yield Notice(
                "code",
                _code_key(pending.id, pending.user_code),
                f"Sign in to {pending.title}",
                f"Type {pending.user_code} at {pending.url}",
                Action("copy_code", pending.user_code),
                "Copy the code",
            )


def _lasting_keys(after: Status, now: float) -> set[str]:
    """Return the keys of what goes on now; what has ended may be told again."""
    keys = {_code_key(pending.id, pending.user_code) for pending in after.sign_ins}
    keys.update(_renewal_key(trouble) for trouble in _troubles(after))
    if after.problems:
        keys.add(_config_key(after))
    for budget in after.budgets:
        if budget.level != "ok":
            keys.update((_budget_key(budget, "warn"), _budget_key(budget, budget.level)))
    for account in after.accounts:
        if account.needs_sign_in:
            keys.add(_sign_in_key(account))
        if _is_out(account, now):
            keys.add(f"spent {account.id}")
        keys.update(_low_key(account, window) for window in account.windows if _is_low(window))
    return keys


def _is_out(account: AccountStatus, now: float) -> bool:
    if account.health != "cooling":
        return False
    return account.spent or (account.until is not None and account.until - now > _LONG_S)


def _is_low(window: WindowStatus) -> bool:
    left = window.left_percent
    return left is not None and 0 < left <= _LOW_PERCENT and not window.exhausted


def _what_now(account: AccountStatus, status: Status, moment: Callable[[float], str]) -> str:
    again = "" if account.until is None else f" It comes back at {moment(account.until)}."
    others = [
        other
        for other in status.accounts
        if other.provider == account.provider and other.health == "ready" and other != account
    ]
    if others:
        return f"{_name(others[0])} goes on.{again}"
    return f"No other account of {account.title} can answer.{again}"


def _name(account: AccountStatus) -> str:
    return f"{account.title} ({account.identity or account.label})"


def _sign_in_key(account: AccountStatus) -> str:
    return f"sign_in {account.id}"


def _renewal_key(trouble: AccountTrouble) -> str:
    return f"renewal {trouble.account} {trouble.text}"


def _low_key(account: AccountStatus, window: WindowStatus) -> str:
    return f"low {account.id} {window.name}"


def _budget_key(budget: BudgetStatus, level: str) -> str:
    return f"budget {budget.name} {level}"


def _config_key(status: Status) -> str:
    return "\n".join(("config", *status.problems))


def _code_key(sign_in_id: str, code: str) -> str:
    return f"code {sign_in_id} {code}"


class Notifier:
    """Sends notices through the system, with their action as a button.

    Lives on one asyncio loop. Once a notice could not be sent, it says so in the log and tries
    again with the next one: a notification service may start late.

    Args:
        perform: called with the action of a button that was pressed, or of a notice clicked.
        make: makes the sender; the system's own one by default.
    """

    def __init__(
        self, perform: Callable[[Action], None], make: Callable[[], Any] | None = None
    ) -> None:
        self._perform = perform
        self._make = make or _system_sender
        self._sender: Any = None
        self._failed = False

    async def send(self, notice: Notice) -> bool:
        """Send a notice; returns whether it went out."""
        action = notice.action
        clicked: Callable[[], None] | None = None
        if action is not None:

            def clicked() -> None:
                self._perform(action)

        sent = False

        def dispatched() -> None:  # the library logs its failures and raises nothing
            nonlocal sent
            sent = True

        try:
            if self._sender is None:
                self._sender = self._make()
            await self._sender.send(
                title=_plain(notice.title),
                message=_plain(notice.text),
                buttons=_buttons(notice, clicked),
                on_clicked=clicked,
                on_dispatched=dispatched,
            )
            if not sent:
                raise OSError("no notification service took it")
        except Exception as error:  # each system's library has errors of its own
            level = logging.DEBUG if self._failed else logging.WARNING
            _log.log(level, "notifications cannot be shown: %s", error)
            self._failed = True
            await self.close()
            return False
        self._failed = False
        return True

    async def close(self) -> None:
        """Let go of the system's service; its library leaves the connection open."""
        bus = getattr(getattr(self._sender, "_backend", None), "bus", None)
        self._sender = None
        if bus is not None:
            from app.desktop.sessionbus import close_bus

            await close_bus(bus)


def _plain(text: str) -> str:
    """Return a text without what services on Linux take for markup; names come from others."""
    return text.replace("<", "(").replace(">", ")")


def _buttons(notice: Notice, clicked: Callable[[], None] | None) -> list[Any]:
    if clicked is None or not notice.button:
        return []
    from desktop_notifier import Button

    return [Button(title=notice.button, on_pressed=clicked)]


def _system_sender() -> Any:
    from desktop_notifier import DesktopNotifier

    # It logs each failure with its traceback; ``send`` says it once, in one line.
    logging.getLogger("desktop_notifier").setLevel(logging.ERROR)
    return DesktopNotifier(app_name="Dragoman")
