"""The accounts, for those who may change the program: command line, dashboard, tray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import msgspec

from app.accounts.desk import Desk, OpenedVault
from app.accounts.flow import kind_of
from app.accounts.roster import Roster
from app.errors import RequestError
from app.http import Send
from app.providers.base import Provider
from app.providers.signin import SecretSignIn
from app.server.callback import CallbackListeners
from app.server.pages import Control, Takes
from app.server.signin import AccountPage, signin_routes

__all__ = ["account_routes", "make_desk"]


class _Accounts(AccountPage):
    kind = "control"

    def get(self) -> None:
        state = self.desk.vault_state()
        self.send_json(
            {
                "accounts": msgspec.to_builtins(self.desk.views()),
                "providers": [
                    _provider(provider)
                    for provider in self.desk.book.providers.values()
                    if provider.sign_ins
                ],
                "vault": {
                    "state": state.name,
                    "message": state.message,
                    "hint": state.hint,
                    "since": state.since,
                },
            }
        )


def _provider(provider: Provider) -> dict[str, Any]:
    return {
        "id": provider.id,
        "title": provider.title,
        "ways": [
            {
                "way": way,
                "kind": kind_of(sign_in),
                "prompt": sign_in.prompt if isinstance(sign_in, SecretSignIn) else "",
            }
            for way, sign_in in provider.sign_ins.items()
        ],
        "consent": None
        if provider.consent is None
        else {
            "version": provider.consent.version,
            "text": provider.consent.text,
            "instead": provider.consent.instead,
        },
    }


class _SignInStart(msgspec.Struct, forbid_unknown_fields=True):
    way: str | None = None
    account: str | None = None
    label: str | None = None
    consent: str = ""
    host: str = ""
    memory_only: bool = False


class _Begin(AccountPage):
    kind = "control"
    takes: ClassVar[Takes] = {"post": _SignInStart}

    async def post(self, provider: str) -> None:
        wanted = self.read_body(_SignInStart)
        flow = await self.desk.start(
            self.provider_id(provider),
            wanted.way,
            account=wanted.account,
            label=wanted.label,
            consent=wanted.consent,
            host=wanted.host,
            memory_only=wanted.memory_only,
        )
        self.send_flow(flow, 201)


class _SignInStep(msgspec.Struct, forbid_unknown_fields=True):
    """One of: pasted ``text``, typed ``secret``, ``confirm``, ``cancel``; or ``code``, ``state``."""

    flow: str = ""
    text: str | None = None
    secret: str | None = None
    confirm: bool = False
    cancel: bool = False
    code: str | None = None
    state: str | None = None


class _Complete(AccountPage):
    kind = "control"
    takes: ClassVar[Takes] = {"post": _SignInStep}

    async def post(self, provider: str) -> None:
        sent = self.read_body(_SignInStep)
        logins = self.desk.logins
        if sent.code is not None and sent.state is not None:
            at = self.provider_id(provider)
            self.send_flow(await logins.callback(sent.state, sent.code, at=at))
            return
        if logins.get(sent.flow).provider != self.provider_id(provider):
            raise RequestError(
                "This sign-in is one to another service.", status=404, code="unknown_sign_in"
            )
        if sent.text is not None:
            flow = await logins.paste(sent.flow, sent.text)
        elif sent.secret is not None:
            flow = await logins.submit(sent.flow, sent.secret)
        elif sent.confirm:
            flow = await logins.confirm(sent.flow)
        elif sent.cancel:
            flow = logins.cancel(sent.flow)
        else:
            raise RequestError(
                "The body needs text, secret, confirm, cancel, or code and state.",
                code="nothing_to_complete",
            )
        self.send_flow(flow)


class _Flow(AccountPage):
    kind = "control"

    def get(self, flow: str) -> None:
        self.send_flow(self.desk.logins.get(flow))


class _AccountChange(msgspec.Struct, forbid_unknown_fields=True):
    paused: bool = True
    label: str = ""
    version: str = ""
    order: int | None = None


class _Action(AccountPage):
    kind = "control"
    takes: ClassVar[Takes] = {"post": _AccountChange}

    async def post(self, account: str, action: str) -> None:
        wanted = self.read_body(_AccountChange)
        book = self.desk.book
        if action == "logout":
            self.send_json({"message": await self.desk.logout(account)})
            return
        match action:
            case "primary":
                await book.make_primary(account)
            case "refresh":
                await self.desk.refresh(account)
            case "pause":
                await book.pause(account, paused=wanted.paused)
            case "resume":
                await book.pause(account, paused=False)
            case "rename":
                await book.rename(account, wanted.label)
            case "order":
                if wanted.order is None:
                    raise RequestError("The body needs order, a whole number.", param="order")
                await book.change(account, order=wanted.order)
            case "consent":
                await book.agree(account, wanted.version)
        self.send_json({"account": msgspec.to_builtins(self.desk.view(account))})


class _One(AccountPage):
    kind = "control"

    def get(self, account: str) -> None:
        self.send_json({"account": msgspec.to_builtins(self.desk.view(account))})

    async def delete(self, account: str) -> None:
        self.send_json({"message": await self.desk.logout(account)})


_ACTIONS = "primary|refresh|pause|resume|rename|order|consent|logout"


def account_routes(
    control: Control, desk: Desk, open_window: Callable[[str], None] | None = None
) -> list[Any]:
    """Return the routes of accounts and of signing in, for ``page_routes``.

    An account's id has a slash, which may be written ``%2F``.
    """
    shared = {"control": control, "desk": desk}
    return [
        *signin_routes(control, desk, open_window),
        (r"/admin/accounts", _Accounts, shared),
        (r"/admin/accounts/(?P<provider>[^/]+)/oauth/start", _Begin, shared),
        (r"/admin/accounts/(?P<provider>[^/]+)/oauth/complete", _Complete, shared),
        (r"/admin/accounts/flows/(?P<flow>[0-9a-f]+)", _Flow, shared),
        (rf"/admin/accounts/(?P<account>.+)/(?P<action>{_ACTIONS})", _Action, shared),
        (r"/admin/accounts/(?P<account>.+)", _One, shared),
    ]


def make_desk(
    vault: OpenedVault,
    roster: Roster,
    providers: Mapping[str, Provider],
    send: Send,
    **means: Any,
) -> Desk:
    """Return the desk of a program that listens for callbacks; see ``Desk`` for the arguments.

    Args:
        vault: keeps the records.
        roster: is given the accounts.
        providers: every service by id.
        send: sends one request.
        means: further arguments of ``Desk``, all of them optional.
    """
    listeners = CallbackListeners()
    desk = Desk(vault, roster, providers, send, listeners=listeners, **means)
    listeners.receive = desk.logins.callback
    return desk
