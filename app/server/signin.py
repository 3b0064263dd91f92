"""Signing in over HTTP, by the paths that the ancestors of this program had.

Starting and asking are open to processes of the same user: a start does no more than open a page
on which the user has to act. What brings a credential or takes one away needs control. A caller
with a client key may do neither; such keys are for models.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import msgspec
from tornado.web import HTTPError

from app.accounts.desk import AccountView, Desk
from app.accounts.flow import ConsentNeeded, Flow
from app.errors import AccessError, RequestError
from app.providers.signin import SecretSignIn
from app.server.callback import PAGE_HEADERS, render_page, show_return
from app.server.guard import Grant
from app.server.pages import Control, Page, Takes

__all__ = ["AccountPage", "render_flow", "signin_routes"]

T = TypeVar("T")

_ALIASES = {"chatgpt": "codex"}
"""Names that the ancestors have in their paths, to ours."""
_CONTROLS = frozenset({"local_token", "admin_key", "session"})


class AccountPage(Page):
    """A route that has to do with accounts."""

    desk: Desk
    open_window: Callable[[str], None] | None

    def initialize(  # type: ignore[override] # Tornado gives each route its own arguments
        self,
        control: Control,
        desk: Desk,
        open_window: Callable[[str], None] | None = None,
    ) -> None:
        """Take what the routes share."""
        super().initialize(control)
        self.desk = desk
        self.open_window = open_window

    @property
    def sees_names(self) -> bool:
        """Whether the caller may see who people are: whoever may change the program.

        On routes that are open to the same user, a token that comes along is looked at here.
        """
        sent = self.request.headers
        if self.grant.who == "same_user" and (
            "X-Dragoman-Token" in sent or "Authorization" in sent
        ):
            with contextlib.suppress(AccessError):
                self.require_control()
        return self.grant.who in _CONTROLS

    def require_control(self) -> None:
        """Let only those pass who may change the program.

        Raises:
            AccessError: 401 with the line to use instead, or 403.
        """
        request = self.request
        self.grant = self.control.access.check(
            "control",
            getattr(request.connection, "context", None),
            request.method or "GET",
            request.path,
            request.query,
            request.headers,
        )

    def require_own(self) -> None:
        """Let no client key pass: those are for models.

        Raises:
            AccessError: 403 ``wrong_key_kind``.
        """
        if self.grant.who == "key":
            raise AccessError(
                "This key may use models, but not sign in.",
                hint="Sign in on the machine itself, or make an admin key: "
                "`dragoman keys create --admin`.",
                status=403,
                code="wrong_key_kind",
            )

    def read_body(self, kind: type[T]) -> T:
        """Return the request's JSON body; an empty one has all defaults.

        Raises:
            RequestError: ``invalid_json``; what was sent is not repeated.
        """
        try:
            return msgspec.json.decode(self.request.body or b"{}", type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            told = str(error) if isinstance(error, msgspec.ValidationError) else "it is no JSON"
            raise RequestError(f"The body is wrong: {told}.", code="invalid_json") from None

    def send_page(self, status: int, page: bytes) -> None:
        """Answer a browser."""
        self.set_status(status)
        for key, value in PAGE_HEADERS:
            self.set_header(key, value)
        self.finish(page)

    def send_flow(self, flow: Flow, status: int = 200) -> None:
        """Answer with a sign-in as it is now."""
        self.send_json(render_flow(flow, self.desk.now(), names=self.sees_names), status)

    def provider_id(self, name: str) -> str:
        """Return our id of a provider in a path."""
        return _ALIASES.get(name, name)


def render_flow(flow: Flow, now: float, *, names: bool) -> dict[str, Any]:
    """Return a sign-in as JSON; what is empty is left out, but for ``url`` and ``account``.

    Args:
        flow: see ``Flow`` for the fields; its id is ``flow`` here.
        now: epoch seconds.
        names: whether the caller may see who signed in.
    """
    fields: dict[str, Any] = msgspec.to_builtins(flow)
    told = {"flow": fields.pop("id"), "url": fields.pop("url"), "account": fields.pop("account")}
    for name in ("started_at", "expires_at"):
        del fields[name]
    if not names:
        hidden = ("name", "error") if flow.state == "other_identity" else ("name",)
        for name in hidden:
            del fields[name]
    kept = {key: value for key, value in fields.items() if value not in ("", False)}
    return {**told, "expires_in": flow.expires_in(now), **kept}


class _SignInWanted(msgspec.Struct, forbid_unknown_fields=True):
    way: str | None = None
    account: str | None = None
    user_email: str | None = None
    label: str | None = None
    consent: str = ""
    host: str = ""
    memory_only: bool = False


class _Login(AccountPage):
    takes: ClassVar[Takes] = {"post": _SignInWanted}

    async def get(self, name: str) -> None:
        self.require_own()
        provider = self.provider_id(name)
        navigates = self.request.headers.get("Sec-Fetch-Mode", "").lower() == "navigate"
        if self._answer_page(provider, navigates=navigates):
            return
        try:
            flow = await self.desk.start(
                provider,
                self.get_query_argument("way", None),
                account=self._account(provider),
                label=self.get_query_argument("label", None),
            )
        except ConsentNeeded as needed:
            if not navigates:
                raise
            self.send_page(
                needed.status,
                render_page(
                    "Your agreement is needed",
                    needed.consent.text,
                    needed.consent.instead,
                    f"To agree, sign in with: dragoman login {provider}",
                ),
            )
            return
        if not navigates:
            if self.open_window is not None and flow.url:
                self.open_window(flow.url)
            self.send_flow(flow)
        elif flow.kind == "browser":
            self.redirect(flow.url)
        else:
            self._show_code(flow)

    def head(self, *args: str, **kwargs: str) -> Any:
        """Start nothing for what only looks."""
        raise HTTPError(405)

    def _account(self, provider: str) -> str | None:
        """Return the account to repair: a wrong ``account`` is told, an unknown e-mail is new."""
        account = self.get_query_argument("account", None)
        email = self.get_query_argument("user_email", None)
        if account is None and email and self.desk.book.choose(provider, email) is not None:
            return email
        return account

    def _answer_page(self, provider: str, *, navigates: bool = False) -> bool:
        """Answer for a service that is used through its own page; returns whether it is one."""
        service = self.desk.book.providers.get(provider)
        if service is None or service.sign_ins or not service.page_url:
            return False
        if navigates:
            self.redirect(service.page_url)
            return True
        if self.open_window is not None:
            self.open_window(service.page_url)
        self.send_json(
            {
                "url": service.page_url,
                "flow": "",
                "expires_in": 0,
                "message": f"{service.title} is not signed in to here: open its page in a browser "
                f"in which you are. `dragoman keys create --relay {provider}/home` makes the key "
                "that the page needs.",
            }
        )
        return True

    def _show_code(self, flow: Flow) -> None:
        if flow.kind == "device":
            page = render_page(
                "Type this code",
                flow.error or "Open this page, and type the code there.",
                code=flow.user_code,
                link=flow.url,
            )
        else:
            self.desk.logins.cancel(flow.id)
            page = render_page("Not here", f"This sign-in is typed: dragoman login {flow.provider}")
        self.send_page(200, page)

    async def post(self, name: str) -> None:
        provider = self.provider_id(name)
        self.require_own()
        if self._answer_page(provider):
            return
        self.require_control()
        wanted = self.read_body(_SignInWanted)
        account = wanted.account
        if account is None and wanted.user_email:
            known = self.desk.book.choose(provider, wanted.user_email)
            account = None if known is None else known.id
        self.send_flow(
            await self.desk.start(
                provider,
                wanted.way,
                account=account,
                label=wanted.label,
                consent=wanted.consent,
                host=wanted.host,
                memory_only=wanted.memory_only,
            )
        )


class _Return(AccountPage):
    """Where a service may send the browser back to, when it takes this address."""

    kind = "open"

    async def get(self, name: str) -> None:
        status, page = await show_return(
            self.desk.logins.callback,
            self.request.query,
            self.request.headers,
            self.provider_id(name),
        )
        self.send_page(status, page)

    def head(self, *args: str, **kwargs: str) -> Any:
        """Take no code from what only looks."""
        raise HTTPError(405)


class _Status(AccountPage):
    def get(self, name: str) -> None:
        flow_id = self.get_query_argument("flow", None)
        if flow_id is not None:
            self.require_own()
            self.send_flow(self.desk.logins.get(flow_id))
            return
        provider = self.provider_id(name)
        wanted = self.get_query_argument("account", "") or self.get_query_argument("user_email", "")
        views = [v for v in self.desk.views() if v.provider == provider and _sees(self.grant, v)]
        chosen = _choose(views, self.desk, provider, wanted)
        self.send_json(
            {
                "provider": provider,
                "authenticated": chosen is not None and _is_signed_in(chosen),
                "expires_at": None if chosen is None else chosen.expires_at,
                "claims": None if chosen is None else self._claims(chosen),
                "account": "" if chosen is None else chosen.label,
                "state": "" if chosen is None else chosen.state,
                "reason": "" if chosen is None else chosen.reason,
                "accounts": [
                    {"label": v.label, "state": v.state, "reason": v.reason} for v in views
                ],
            }
        )

    def _claims(self, view: AccountView) -> dict[str, str]:
        claims = {"plan": view.plan}
        if self.sees_names:
            claims |= {"email": view.name, "organization": view.organization}
        return {key: value for key, value in claims.items() if value}


def _sees(grant: Grant, view: AccountView) -> bool:
    return grant.allows(view.provider, None, view.id)


def _is_signed_in(view: AccountView) -> bool:
    """Say whether an account has a sign-in: resting or paused ones have."""
    return view.state in ("ready", "cooling", "refused") or view.paused


def _choose(views: list[AccountView], desk: Desk, provider: str, wanted: str) -> AccountView | None:
    if wanted:
        record = desk.book.choose(provider, wanted)
        names = {wanted, f"{provider}/{wanted}"} if record is None else {record.id}
        return next((view for view in views if view.id in names), None)
    signed_in = [view for view in views if _is_signed_in(view)]
    return next(iter(signed_in or views), None)


class _SentCredential(msgspec.Struct, forbid_unknown_fields=True):
    """A secret under whichever name the caller knows it by."""

    secret: str | None = None
    api_key: str | None = None
    token: str | None = None
    cookie: str | None = None
    clerk_jwt_cookie: str | None = None
    jwt: str | None = None
    way: str | None = None
    account: str | None = None
    user_email: str | None = None
    label: str | None = None
    consent: str = ""
    memory_only: bool = False


class _Account(AccountPage):
    takes: ClassVar[Takes] = {"post": _SentCredential}

    async def post(self, name: str) -> None:
        self.require_control()
        sent = self.read_body(_SentCredential)
        given = (
            *(sent.secret, sent.api_key, sent.token),
            *(sent.cookie, sent.clerk_jwt_cookie, sent.jwt),
        )
        secrets = [text for text in given if text]
        if len(secrets) != 1:
            raise RequestError(
                "The body needs one credential: secret, api_key, token, cookie, "
                "clerk_jwt_cookie or jwt.",
                code="no_secret",
            )
        provider = self.provider_id(name)
        account = sent.account
        if account is None and sent.user_email:
            known = self.desk.book.choose(provider, sent.user_email)
            account = None if known is None else known.id
        flow = await self.desk.start(
            provider,
            sent.way or self._typed_way(provider),
            account=account,
            label=sent.label,
            consent=sent.consent,
            memory_only=sent.memory_only,
        )
        try:
            flow = await self.desk.logins.submit(flow.id, secrets[0])
        except RequestError:
            self.desk.logins.cancel(flow.id)
            raise
        if flow.state == "failed":
            raise RequestError(flow.error, code=flow.code)
        rendered = render_flow(flow, self.desk.now(), names=True)
        said = f"{flow.account} is signed in." if flow.state == "done" else flow.error
        self.send_json({"message": said, **rendered})

    def _typed_way(self, provider: str) -> str | None:
        service = self.desk.logins.providers.get(provider)
        ways: Mapping[str, object] = {} if service is None else service.sign_ins
        return next((way for way, kind in ways.items() if isinstance(kind, SecretSignIn)), None)

    async def delete(self, name: str) -> None:
        self.require_control()
        wanted = self.get_query_argument("account", "") or self.get_query_argument("user_email", "")
        account_id = self.desk.choose(self.provider_id(name), wanted)
        self.send_json({"message": await self.desk.logout(account_id)})


def signin_routes(
    control: Control, desk: Desk, open_window: Callable[[str], None] | None = None
) -> list[Any]:
    """Return the sign-in routes, for ``page_routes``.

    Args:
        control: what all pages share.
        desk: the accounts.
        open_window: opens a sign-in page for the user; None where there is no desktop.
    """
    shared = {"control": control, "desk": desk, "open_window": open_window}
    base = r"/v1/auth/(?:llmux/)?(?P<name>[^/]+)"
    return [
        (rf"{base}/login", _Login, shared),
        (rf"{base}/callback", _Return, shared),
        (rf"{base}/status", _Status, shared),
        (base, _Account, shared),
    ]
