"""What tray and dashboard show: one immutable snapshot of the whole program, and how it is made."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from app.accounts.account import Account
from app.accounts.quota import QuotaView
from app.accounts.roster import AccountState, Health
from app.errors import AppError
from app.routing.catalog import Catalog
from app.routing.chains import Names, expand
from app.routing.explain import plan_decision
from app.routing.plan import RankOf, StateOf
from app.routing.rules import Decision

__all__ = [
    "AccountStatus",
    "BudgetStatus",
    "ModelRoutes",
    "ModelStatus",
    "PendingSignIn",
    "ServiceStatus",
    "State",
    "Status",
    "WindowStatus",
    "describe_account",
    "describe_models",
    "describe_state",
]

State: TypeAlias = Literal["running", "working", "attention", "paused", "stopped"]
"""``working``: answers are under way. ``attention``: somebody has to act. ``stopped``: it does not
listen, yet or any more."""


@dataclass(frozen=True, slots=True)
class WindowStatus:
    """What is left of one limit of an account."""

    name: str
    """``5h``, ``7d``, ``month``: see ``providers.quota``."""
    left_percent: float | None
    """0 to 100, in whole percent, so that small uses are no change; None when not told."""
    resets_at: float | None = None
    """Epoch seconds UTC."""
    exhausted: bool = False
    runs_out_at: float | None = None
    """Epoch seconds UTC at which it will be used up if use goes on as of late."""


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """One account as people see it."""

    id: str
    """``provider/label``."""
    provider: str
    title: str
    """The service's name."""
    label: str
    health: Health
    reason: str = ""
    """Why it cannot serve, or what is wrong although it does; empty when all is well."""
    until: float | None = None
    """Epoch seconds UTC at which it is tried again."""
    identity: str = ""
    """E-mail address or login name; shown in menu and dashboard only."""
    plan: str = ""
    windows: tuple[WindowStatus, ...] = ()
    primary: bool = False
    paused: bool = False
    """By the user."""
    signed_in: bool = False
    """It came by a sign-in and can be renewed or signed out; else the settings name it."""
    needs_sign_in: bool = False
    """Nothing but signing in again helps."""

    @property
    def left_percent(self) -> float | None:
        """What is left of the tightest window; None when no window tells."""
        told = [w.left_percent for w in self.windows if w.left_percent is not None]
        return min(told, default=None)

    @property
    def spent(self) -> bool:
        """Whether a window of it is used up."""
        return any(w.exhausted or w.left_percent == 0 for w in self.windows)


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A name that clients may ask for, and who answers it now."""

    name: str
    provider: str
    """Id of the provider that answers; empty when nobody can."""
    title: str
    """That provider's name."""
    account: str = ""
    """Id of the account that is asked first; empty when none can be asked now."""
    upstream: str = ""
    """The name that the account knows it by."""
    alias_of: str = ""
    reason: str = ""
    """Why nobody can answer now; empty when somebody can."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A service that one can sign in to."""

    id: str
    title: str


@dataclass(frozen=True, slots=True)
class PendingSignIn:
    """A sign-in that waits for its user, with a code to type where there is one."""

    id: str
    provider: str
    title: str
    user_code: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """How a budget of the settings stands."""

    name: str
    text: str
    """What is used of what, in a sentence."""
    level: Literal["ok", "warn", "stop"]
    used_percent: int
    resets_at: float
    """Epoch seconds UTC at which it begins anew."""
    provider: str = ""
    """Id of the provider that it is about; empty for any."""


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that tray and dashboard show; equal snapshots look the same."""

    state: State
    version: str
    address: str = ""
    """``http://localhost:8317``; empty while it does not listen."""
    reason: str = ""
    """Why it is paused, stopped or needs attention."""
    running: int = 0
    """Answers under way."""
    accounts: tuple[AccountStatus, ...] = ()
    """In the order of trying, without the demo."""
    models: tuple[ModelStatus, ...] = ()
    default_model: str | None = None
    services: tuple[ServiceStatus, ...] = ()
    sign_ins: tuple[PendingSignIn, ...] = ()
    problems: tuple[str, ...] = ()
    """Why the settings on disk are not in force, and what else is wrong with the whole."""
    demo: bool = False
    """The demo models answer, since there is no account."""
    budgets: tuple[BudgetStatus, ...] = ()

    @property
    def left_percent(self) -> float | None:
        """What is left of the best account that tells: how far the user still gets."""
        told = [
            left
            for account in self.accounts
            if account.health in ("ready", "cooling") and (left := account.left_percent) is not None
        ]
        return max(told, default=None)


def describe_state(
    *,
    listening: bool,
    paused: str,
    running: int,
    problems: Sequence[str],
    accounts: Iterable[AccountStatus],
) -> tuple[State, str]:
    """Return the state of the whole and the reason for it.

    Args:
        listening: whether it answers at all.
        paused: why it is paused; empty when it is not.
        running: number of answers under way.
        problems: see ``Status.problems``.
        accounts: all accounts; one that needs a person counts, and so does it when none is left
            that can answer.
    """
    if not listening:
        return "stopped", "Dragoman does not listen."
    if paused:
        return "paused", paused
    if problems:
        return "attention", problems[0]
    used = [account for account in accounts if account.health != "disabled"]
    for account in used:
        if account.needs_sign_in or account.health == "refused":
            return "attention", f"{account.title}, {account.label}: {account.reason}"
    if used and not any(account.health == "ready" for account in used):
        return "attention", "No account can answer now."
    return ("working" if running else "running"), ""


def describe_account(
    account: Account,
    state: AccountState,
    quota: QuotaView | None,
    *,
    identity: str = "",
    plan: str = "",
    primary: bool = False,
    signed_in: bool = False,
    needs_sign_in: bool = False,
    warning: str = "",
) -> AccountStatus:
    """Return an account as people see it.

    Args:
        account: as the roster has it.
        state: its health as a whole.
        quota: what is left of it; None when nobody knows.
        identity: e-mail address or login name.
        plan: what the sign-in told of the plan; the quota's word is newer and wins.
        primary: whether it is tried first among its provider's.
        signed_in: whether it came by a sign-in.
        needs_sign_in: whether only a new sign-in helps.
        warning: what is wrong although it serves.
    """
    windows: tuple[WindowStatus, ...] = ()
    if quota is not None:
        plan = quota.plan or plan
        windows = tuple(
            WindowStatus(
                view.window.name,
                None if view.left_percent is None else float(round(view.left_percent)),
                view.window.resets_at,
                view.window.exhausted,
                view.runs_out_at,
            )
            for view in quota.windows
        )
    return AccountStatus(
        id=account.id,
        provider=account.provider.id,
        title=account.provider.title,
        label=account.label,
        health=state.health,
        reason=state.reason or warning,
        until=state.until,
        identity=identity,
        plan=plan,
        windows=windows,
        primary=primary,
        paused=account.paused,
        signed_in=signed_in,
        needs_sign_in=needs_sign_in,
    )


def describe_models(
    accounts: Sequence[Account], catalog: Catalog, state_of: StateOf, rank_of: RankOf
) -> tuple[ModelStatus, ...]:
    """Return every name that is listed, then every alias and chain, with who answers it now.

    The demo's names are among them only while there is no other account.
    """
    real = [account for account in accounts if account.enabled and not account.provider.demo]
    used = real or [account for account in accounts if account.enabled]
    listed: dict[str, Account] = {}
    for account in used:
        for name in catalog.names(account):
            listed.setdefault(name, account)
    names = Names(catalog.aliases, catalog.chains)
    others = [n for n in dict.fromkeys((*catalog.aliases, *catalog.chains)) if n not in listed]
    found = []
    for name in (*listed, *others):
        alias_of = catalog.aliases.get(name) or " → ".join(catalog.chains.get(name, ()))
        first = listed.get(name)
        try:
            plan = plan_decision(
                Decision(name, expand(name, names)),
                "openai_chat",
                used,
                catalog,
                state_of,
                lambda _account, _name: True,
                rank_of,
            )
        except AppError:
            provider, title = ("", "") if first is None else _of(first)
            reason = f"No account serves {alias_of or name}."
            found.append(ModelStatus(name, provider, title, alias_of=alias_of, reason=reason))
            continue
        if not plan.candidates:
            account, state = plan.waiting[0]
            provider, title = _of(account)
            reason = f"{account.label}: {state.reason}"
            found.append(ModelStatus(name, provider, title, alias_of=alias_of, reason=reason))
            continue
        chosen = plan.candidates[0]
        provider, title = _of(chosen.account)
        found.append(
            ModelStatus(name, provider, title, chosen.account.id, chosen.model, alias_of=alias_of)
        )
    return tuple(found)


def _of(account: Account) -> tuple[str, str]:
    return account.provider.id, account.provider.title


class ModelRoutes:
    """Remembers ``describe_models``, which takes milliseconds for hundreds of names.

    State: the last key and its answer.
    """

    def __init__(self) -> None:
        self._key: Hashable = None
        self._models: tuple[ModelStatus, ...] = ()

    def read(
        self,
        key: Hashable,
        accounts: Sequence[Account],
        catalog: Catalog,
        state_of: StateOf,
        rank_of: RankOf,
    ) -> tuple[ModelStatus, ...]:
        """Return the models; worked out anew when ``key`` differs from the last call's.

        Args:
            key: stands for all that the answer depends on.
            accounts: as for ``describe_models``, and so are the rest.
            catalog: what is known of models.
            state_of: health of an account for an upstream model.
            rank_of: order among those that serve the same name.
        """
        if key != self._key:
            self._models = describe_models(accounts, catalog, state_of, rank_of)
            self._key = key
        return self._models
