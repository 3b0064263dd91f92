"""Builds every room once, starts and stops them, and swaps what the settings change.

States: built → starting → running ⇄ paused → stopping → stopped. The port listens before anything
slow is opened (the database, model lists), so that the first answer comes at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import string
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from app import log, settle
from app.accounts.account import Account
from app.accounts.command import CommandCredentials, run_program
from app.accounts.configured import configured_accounts
from app.accounts.desk import Desk
from app.accounts.discovery import Discovery
from app.accounts.forwarded import forwarding
from app.accounts.manner import known_providers, manners
from app.accounts.pace import Pacer
from app.accounts.passphrase import passphrase_file
from app.accounts.quota import Quotas
from app.accounts.quota_reader import QuotaReader
from app.accounts.roster import Roster
from app.accounts.steps import Driver
from app.accounts.vault import Vault
from app.canonical.parts import DialectName
from app.config import AT_START, Config
from app.configfile import Located, load_file
from app.dialects import DIALECTS
from app.dialects.base import Dialect
from app.errors import AppError, ConfigError
from app.gateway.call import Outcome
from app.gateway.exchange import Gateway
from app.gateway.local import with_demo
from app.gateway.memory import ResponseMemory
from app.gateway.recent import Recent
from app.gateway.replay import ReplayCache
from app.gateway.resources import GatewayLimits
from app.gateway.tokenizer import Tokenizer
from app.http import Headers, HttpReply, HttpRequest, Limits, Send, StreamedReply
from app.instance import Instance
from app.keys import KeyRecord
from app.ledger.ledger import Ledger
from app.paths import Paths
from app.providers import PROVIDERS
from app.providers.aistudio import SCHEME
from app.providers.base import Provider
from app.providers.webai import SCHEME as WEBAI_SCHEME
from app.routing.catalog import Catalog
from app.routing.snapshot import Snapshot
from app.server.accounts import account_routes, make_desk
from app.server.aistudio import Studio, studio_routes
from app.server.application import Front
from app.server.caller import Access
from app.server.dashboard import Dashboard, dashboard_routes
from app.server.entries import exact_entries, pattern_entries
from app.server.front import FrontServer
from app.server.guard import Grant
from app.server.health import Checkup
from app.server.imports import import_routes
from app.server.inference import Inference
from app.server.keys import KeyDesk, key_routes
from app.server.listen import LOOPBACK, FileBudget, bind, raise_file_limit
from app.server.live import Live, LogLines
from app.server.modeldesk import ModelDesk, model_routes
from app.server.models import ModelRow
from app.server.openapi import description_routes
from app.server.overview import Overview
from app.server.pages import page_routes
from app.server.peer import Prover, default_program_names, default_prover
from app.server.places import Places, place_routes
from app.server.policy import refuses_bind
from app.server.quota import QuotaDesk, quota_routes
from app.server.records import Records
from app.server.registry import registry_routes
from app.server.relay import relay_routes
from app.server.routes import route_pages
from app.server.rules import RuleDesk
from app.server.services import ServiceDesk
from app.server.sessions import Sessions
from app.server.settings import SettingsDesk
from app.server.socket import Sockets, socket_routes
from app.server.spending import Spending
from app.server.usage import usage_routes
from app.store.opening import Opening
from app.tasks import cancel_all, spawn
from app.upstream.client import Client
from app.upstream.ctonew import with_ctonew
from app.upstream.publicmodels import PublicModels
from app.upstream.relay import Relay, relay_labels, with_relay
from app.watch import Watcher

__all__ = ["ServeOptions", "Service", "register_secrets"]

_log = logging.getLogger("dragoman.service")

_STORE_S = 10.0
"""How long a stop waits for a database that is still being opened."""
_RETIRED_S = 3_600.0
"""How long answers that began before the upstream settings changed may keep their connections."""
_LETTERS = ((string.ascii_letters + string.digits).encode() * 5)[:256]
"""Letters and digits for each byte; that a few come a little more often does no harm to an id."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How to serve: the command line's options."""

    config_path: str | None = None
    port: int | None = None
    """Overrides the settings; 0 takes a free port."""
    foreground: bool = True


def new_id(prefix: str) -> str:
    """Return an id: the prefix and 24 random letters and digits."""
    return prefix + secrets.token_bytes(24).translate(_LETTERS).decode("ascii")


@dataclass(slots=True)
class Service:
    """The running program without its desktop half; implements ``server.pages.Control``."""

    paths: Paths
    located: Located
    options: ServeOptions
    env: Mapping[str, str]
    config: Config
    instance: Instance
    roster: Roster = field(default_factory=Roster)
    gateway: Gateway = field(init=False)
    access: Access = field(init=False)
    inference: Inference = field(init=False)
    client: Client = field(init=False)
    discovery: Discovery = field(init=False)
    model_desk: ModelDesk = field(init=False)
    rules: RuleDesk = field(init=False)
    store: Opening = field(init=False)
    overview: Overview = field(init=False)
    checkup: Checkup = field(init=False)
    sessions: Sessions = field(default_factory=lambda: Sessions(time.monotonic))
    live: Live = field(init=False)
    show: Callable[[], None] | None = None  # the dashboard's window, where there is a desktop
    places: Places = field(default_factory=Places)
    ledger: Ledger = field(init=False)
    spending: Spending = field(init=False)
    records: Records = field(init=False)
    keys: KeyDesk = field(init=False)
    vault: Vault = field(init=False)
    desk: Desk = field(init=False)
    relay: Relay = field(init=False)
    helpers: ServiceDesk = field(init=False)
    studio: Studio = field(init=False)
    commands: CommandCredentials = field(init=False)
    providers: dict[str, Provider] = field(default_factory=lambda: dict(PROVIDERS))
    """Services that can be signed in to, by id, those of the settings too; changed in place."""
    _let_go: Callable[[], None] = lambda: None
    _opening: asyncio.Task[None] | None = None
    _known: set[str] = field(default_factory=set)
    """Ids of the accounts whose model lists were asked for."""
    quotas: Quotas = field(default_factory=Quotas)
    quota_reader: QuotaReader = field(init=False)
    quota_desk: QuotaDesk = field(init=False)
    port: int = 0
    started_at: float = 0.0
    problems: tuple[str, ...] = ()
    """Why the settings on disk are not in force; empty when they are."""
    dialects: Mapping[DialectName, Dialect] = field(default_factory=lambda: DIALECTS)
    new_id: Callable[[str], str] = new_id
    read_snapshot: Callable[[], Snapshot] = settle.read_snapshot
    """Returns the shipped facts about models."""
    prover: Prover | None = None
    """Asks the kernel who calls; the system's own when None."""
    grace_s: float = 10.0
    """How long running answers may take to finish when the program stops, in seconds."""
    page_ping_s: float = 30.0
    """How often a page is asked for a sign of life, in seconds."""
    served: int = 0
    failed: int = 0
    _sockets: list[socket.socket] = field(default_factory=list)
    _server: FrontServer | None = None
    _sockets_open: Sockets | None = None
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _watcher: Watcher | None = None
    _listeners: set[Callable[[], None]] = field(default_factory=set)
    _tokenizer: Tokenizer = field(default_factory=Tokenizer)
    _names: Any = None
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        """Build what needs no port."""
        self.providers.update(known_providers(self.config))
        self.rules = RuleDesk(self.located, self.providers)
        url = self.config.database.url
        self.store = Opening(url.resolve(self.env) if url is not None else None, self.paths.data)
        self.spending = Spending(self.store, lambda: self.config, self.roster, self.providers)
        self.keys = KeyDesk(self.store, self.spending, self._tell)
        self.ledger = Ledger(
            spill=self.paths.data / "ledger-waiting.jsonl",
            retention=self.spending.retention,
            meter=self.spending.meter,
        )
        self.records = Records(self)

    async def start(self) -> None:
        """Listen, then open what is slow.

        Raises:
            ConfigError: the settings name what there is not, or the address cannot be had.
            AppError: a non-loopback address without keys.
        """
        accounts, problems = configured_accounts(self.config, self.env, str(self.located.path))
        routing = self.rules.load(self.config, accounts, problems)
        self.started_at = time.time()
        limit = raise_file_limit()
        hosts = settle.hosts(self.config)
        if hosts != LOOPBACK:
            await self._open_store()
            keyed = any(r.state(time.time()) == "active" for r in await self.list_keys())
            if (refusal := refuses_bind(hosts, keyed)) is not None:
                raise AppError(refusal, code="keys_required", status=503)
        port = self.config.server.port if self.options.port is None else self.options.port
        self._sockets = bind(port, hosts)
        self.port = self._sockets[0].getsockname()[1]
        self._build(limit)
        self.rules.enforce(routing, self.config, self.gateway)
        self.desk.configure(accounts, manners(self.config, self.env))
        self.instance.publish(self.port)
        if not self.store.done.is_set():
            self._opening = spawn(self._open_store(), "store")
        if self.vault.held_ids():  # else nothing is unlocked, and nobody asked, for no reason
            spawn(self.desk.open(), "vault")
        spawn(self._know_pages(), "accounts of pages")
        spawn(self.helpers.start(), "helper programs")
        spawn(self.model_desk.keep_fresh(), "model lists")
        spawn(self.records.follow(), "records")
        spawn(self.quota_desk.keep_fresh(), "quotas")
        self._watcher = Watcher(self.located.path, self._changed)
        if self.located.path.parent.is_dir():
            self._watcher.start()
        _log.info("listening on http://localhost:%d", self.port)

    def _build(self, file_limit: int) -> None:
        self.client = Client(settle.client_settings(self.config, self.env, self.port))
        self.vault = Vault(self.paths.vault, passphrase_file=passphrase_file(self.env))
        self.desk = make_desk(
            self.vault,
            self.roster,
            self.providers,
            self._send,
            changed=self._accounts_changed,
            tell=self._account_troubled,
        )
        self.desk.book.carry = self.keys.rename_account
        self.relay = Relay(time.time, lambda: str(uuid.uuid4()), changed=self._page_changed)
        self.studio = Studio(self.paths.data / "aistudio.json", self.relay, self._tell)
        self.helpers = ServiceDesk(self, self._fetch, self._tell, self._greet_one)
        self.desk.book.attached = lambda: (*self.relay.accounts(), *self.helpers.accounts())
        self.commands = CommandCredentials(run_program(self._child_env()), time.time)
        self.discovery = Discovery(self._fetch, self._fresh, self.dialects)
        public = PublicModels(
            self._fetch,
            self.paths.cache / "models.dev.json",
            self.read_snapshot(),
            changed=self._models_changed,
            online=lambda: self.config.models.registry,
        )
        self.spending.price(public.snapshot)
        self.model_desk = ModelDesk(
            self.discovery,
            public,
            self.roster,
            lambda: self.gateway.catalog,
            lambda model: self.spending.prices.rates(model),
            changed=self._models_changed,
        )
        driver = Driver(self._send, time.time)
        self.quota_reader = QuotaReader(self.quotas, driver, self._fresh, time.time)
        self.quota_desk = QuotaDesk(
            self.quotas, self.quota_reader, self.roster, lambda: self.config.quota.ask
        )
        self.gateway = Gateway(
            dialects=self.dialects,
            roster=self.roster,
            send=self._upstreams(),
            now=time.time,
            new_id=new_id,
            counter=self._tokenizer.count,
            catalog=self._catalog(),
            limits=GatewayLimits.of(self.config.upstream),
            memory=ResponseMemory(time.monotonic),
            replay=ReplayCache(time.monotonic),
            settled=self._settled,
            admit=self.spending.meter.admit,
            answers=self.records.answers,
            fresh=self._fresh,
            rejected=self._rejected,
            look_again=self.model_desk.look_again,
            own_sign_in=self._forwarding(),
            proved=self._proved,
            low_percent=self.config.quota.low_percent,
            left_percent=lambda account_id, model: self.quotas.left_percent(
                account_id, model, time.time()
            ),
            noticed=self.quota_reader.notice,
            spent_window=lambda account_id, model: self.quotas.spent_window(
                account_id, model, time.time()
            ),
            pacer=Pacer(written=settle.paces(self.config)),
        )
        self.access = Access(
            settle.access_policy(self.config, self.paths, self.port),
            self.store.index,
            self.instance.token,
            time.time,
            loaded=self.store.done,
            session=self.sessions.accepts,
        )
        self.overview = Overview(self)
        self.checkup = Checkup(self)
        recent = self.gateway.recent = Recent(time.time, time.monotonic)
        self.spending.watch(recent.sizes)
        lines = LogLines()
        self._let_go = lines.install()
        self.live = Live(recent, self.overview.status, self.subscribe, lines)
        settings = SettingsDesk(self, self.located.path)
        dashboard = Dashboard(
            self.sessions,
            self.live,
            settings,
            self.overview.models,
            self._show,
        )
        self.inference = Inference(
            exact=exact_entries(self.dialects),
            patterns=pattern_entries(self.dialects),
            access=self.access,
            handle=self.records.handling(self.gateway.handle),
            new_id=new_id,
            max_body_bytes=self.config.advanced.max_body_mb * 1024 * 1024,
            changed=self._tell,
        )
        self._sockets_open = Sockets(self.inference)
        extra = [
            *socket_routes(self, self.gateway, self._sockets_open),
            *quota_routes(self, self.quota_desk),
            *relay_routes(
                self,
                self.relay,
                port=lambda: self.port,
                max_frame_mb=lambda: self.config.websocket.relay_max_frame_mb,
                ping_s=self.page_ping_s,
            ),
            *self.helpers.routes(self),
            *studio_routes(self, self.studio),
            *import_routes(self, self.desk, self.env),
            *place_routes(self, self.desk, self.places),
            *account_routes(self, self.desk, self.places.opener(self.desk)),
            *usage_routes(self, self.ledger, time.time),
            *self.records.routes(self),
            *key_routes(self, self.keys),
            *route_pages(self, self, self.rules, settings),
            *model_routes(self, self.model_desk),
            *registry_routes(self, self.model_desk.public.document),
            *description_routes(self, self.inference),
            *dashboard_routes(self, dashboard),
        ]
        pages = page_routes(self, extra)
        if self.prover is None:
            self.prover = default_prover()
        self._names = default_program_names()
        budget = FileBudget(
            file_limit, lambda: self._server.open_connections if self._server else 0
        )
        self._server = FrontServer(
            Front(self.inference, pages),
            prover=self.prover,
            names=self._names,
            full=budget.near_limit,
            max_body_bytes=self.inference.max_body_bytes,
        )
        self._server.add_sockets(self._sockets)

    async def _send(self, request: HttpRequest, limits: Limits) -> StreamedReply:
        return await self.client.send(request, limits, proxy=request.proxy)

    def _upstreams(self) -> Send:
        """Return what sends a call: over HTTP, or to the services that are none of HTTP's."""
        send = with_demo(self._send, self.dialects, time.time, new_id)
        send = with_ctonew(send, lambda url, proxy: self.client.way(url, proxy), time.time, new_id)
        return with_relay(self.helpers.over(send), self.relay)

    async def _fetch(self, request: HttpRequest, limits: Limits) -> HttpReply:
        if request.url.startswith(SCHEME):
            return await self.relay.fetch(request, limits)
        if request.url.startswith(WEBAI_SCHEME):
            return await self.helpers.fetch(request, limits)
        return await self.client.fetch(request, limits, proxy=request.proxy)

    async def _fresh(self, account: Account) -> Account:
        current = self.roster.get(account.id) or account
        if current.command is not None:
            credential = await self.commands.get(current.id, current.command)
            return replace(current, credential=credential)
        return await self.desk.refresher.fresh(current)

    async def _rejected(self, account: Account) -> Account | None:
        """Return the account with another credential after a service refused the one it had."""
        if account.credential is None:
            return None
        secret = account.credential.secret
        if account.command is None:
            return await self.desk.refresher.rejected(account, secret)
        self.commands.rejected(account.id, secret)
        again = await self._fresh(account)
        same = again.credential is not None and again.credential.secret == secret
        return None if same else again

    def _proved(self, account: Account) -> None:
        if account.credential is not None:
            self.desk.book.worked(account.id, account.credential.secret)

    def _forwarding(self) -> Callable[[Headers, str, str], Account | None]:
        sections = self.config.providers
        wanted = [one for name, one in self.providers.items() if name in sections]
        return forwarding(
            (one for one in wanted if sections[one.id].forward), self.desk.book.manner
        )

    def _page_changed(self, account_id: str, connected: bool) -> None:
        """Follow a page of the relay; an account that is new is greeted as every new one."""
        known = account_id in self._known
        self.desk.book.publish()
        account = self.roster.get(account_id)
        if connected and known and account is not None:
            self._greet_one(account)

    async def _know_pages(self) -> None:
        """Put the accounts in force that wait for their page."""
        await self.store.done.wait()
        if not self.store.trouble:
            self.relay.know(relay_labels(await self.list_keys(), time.time()))

    def _accounts_changed(self) -> None:
        """Follow a sign-in, a renewal or a change of the settings."""
        accounts = self.roster.accounts()
        self.helpers.follow()
        known = {account.id for account in accounts}
        fresh = [account for account in accounts if account.id not in self._known]
        for account_id in self._known - known:
            self.quota_reader.forget(account_id)
            self.gateway.affinity.forget(account_id)
        self._known = known
        self.gateway.catalog = self._catalog()
        self._tell()
        if fresh:
            spawn(self._greet(fresh), "new accounts")

    def _account_troubled(self, account_id: str, text: str) -> None:
        self.overview.trouble(account_id, text)
        self._tell()

    def _greet_one(self, account: Account) -> None:
        spawn(self._greet([account]), "models of a page")

    async def _greet(self, accounts: list[Account]) -> None:
        await self.discovery.read(accounts)
        self.gateway.catalog = self._catalog()
        if self.config.quota.ask:
            await self.quota_reader.read(accounts)

    def _child_env(self) -> dict[str, str]:
        """Return the environment of child processes: without the variables that hold secrets."""
        secret = self.config.secret_variables()
        return {name: value for name, value in self.env.items() if name not in secret}

    def _catalog(self) -> Catalog:
        listed = self.discovery.listed(self.roster.accounts())
        return settle.catalog(self.config, listed, self.model_desk.public.snapshot)

    def _settled(self, outcome: Outcome) -> None:
        self.records.settled(outcome)
        self.served += 1
        self._tell()
        self.model_desk.noticed(outcome.failure)
        if outcome.failure is not None:
            self.failed += 1
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug(
                "%s %s -> %s %s (%s), %d attempts, status %d",
                outcome.request_id,
                outcome.model,
                outcome.account,
                outcome.served,
                outcome.grade,
                outcome.attempts,
                outcome.status,
            )

    async def _open_store(self) -> None:
        """Open the database, and the ledger upon it; a ledger that cannot be had is tried again."""
        await self.store.open()
        self.ledger.start(self.store.ledger_store)

    # --- model lists ---------------------------------------------------------------------------

    async def discover(self) -> None:
        """Read the model lists of all accounts that have none written down."""
        await self.model_desk.discover()

    def _models_changed(self) -> None:
        """Put in force what was read of models: names, sizes, prices."""
        self.spending.price(self.model_desk.public.snapshot)
        self.gateway.catalog = self._catalog()
        self._tell()

    # --- settings --------------------------------------------------------------------------------

    def _changed(self) -> None:
        spawn(self.reload(), "settings")

    async def reload(self) -> dict[str, Any]:
        """Read the settings again: a valid change is swapped in whole, a wrong one is reported.

        Returns:
            ``changed`` and ``problems`` (one sentence each).
        """
        async with self._reading:
            return await self._reload()

    async def _reload(self) -> dict[str, Any]:
        try:
            config = load_file(self.located, self.env)
            accounts, problems = configured_accounts(config, self.env, str(self.located.path))
            routing = await asyncio.to_thread(self.rules.load, config, accounts, problems)
        except ConfigError as error:
            self.problems = tuple(str(problem) for problem in error.problems)
            for problem in self.problems:
                _log.error("the settings are refused: %s", problem)
            self._tell()
            return {"changed": False, "problems": list(self.problems)}
        self.problems = ()
        if config == self.config and not config.models.extensions:
            self._tell()  # a wrong change that was taken back is no problem any more
            return {"changed": False, "problems": []}
        rebuilt = config.upstream != self.config.upstream
        notes = [
            f"{name} holds from the next start"
            for name in AT_START
            if getattr(config, name) != getattr(self.config, name)
        ]
        relogged = config.logging != self.config.logging
        self.config = config
        register_secrets(config, self.env)
        if relogged:
            log.setup(
                config.logging.level, as_json=config.logging.as_json, file=self.paths.log_file
            )
        self.discovery.begin_anew(accounts)  # the lists are read again below
        self.commands.keep_only(frozenset(account.id for account in accounts))
        self.providers.clear()
        self.providers.update(known_providers(config))
        self.desk.configure(accounts, manners(config, self.env))
        self.rules.enforce(routing, config, self.gateway)
        self.spending.configure()
        self.gateway.low_percent = config.quota.low_percent
        self.gateway.own_sign_in = self._forwarding()
        self.gateway.pacer.written = settle.paces(config)
        self.gateway.limits = GatewayLimits.of(config.upstream)
        self.gateway.catalog = self._catalog()
        self.access.policy = settle.access_policy(self.config, self.paths, self.port)
        self.inference.max_body_bytes = config.advanced.max_body_mb * 1024 * 1024
        if self._server is not None:
            self._server.limit_bodies(self.inference.max_body_bytes)
        if rebuilt:
            old, self.client = (
                self.client,
                Client(settle.client_settings(self.config, self.env, self.port)),
            )
            spawn(self._retire(old), "old connections")
        spawn(self.helpers.configure(), "helper programs")
        _log.info("the settings were read again")
        self._tell()
        spawn(self.discover(), "model lists")
        spawn(self.records.follow(), "records")
        return {"changed": True, "problems": notes}

    async def _retire(self, client: Client) -> None:
        """Close connections of former settings once the answers on them have ended."""
        try:
            await asyncio.wait_for(self.inference.idle.wait(), _RETIRED_S)
        except TimeoutError:
            _log.warning("answers from before the settings changed are cut off")
        finally:
            await client.aclose()

    # --- what the routes ask ---------------------------------------------------------------------

    def health(self, grant: Grant) -> dict[str, Any]:
        """Return version, uptime and the state of each provider and account in scope."""
        return self.checkup.read(grant)

    def models(self, grant: Grant, *, demo: bool) -> list[ModelRow]:
        """Return the models in the caller's scope; the demo's only while there is no account."""
        return self.model_desk.list(grant, demo=demo)

    def metrics(self, grant: Grant) -> bytes:
        """Return the measures in the caller's scope, in Prometheus' text form."""
        return self.records.metrics(grant)

    def stored_response(self, owner: str, name: str) -> bytes:
        """Return a remembered Responses answer."""
        return self.gateway.memory.get(owner, name)

    def forget_response(self, owner: str, name: str) -> None:
        """Drop a remembered Responses answer."""
        self.gateway.memory.get(owner, name)
        self.gateway.memory.forget(owner, name)

    # --- keys ------------------------------------------------------------------------------------

    async def list_keys(self) -> list[KeyRecord]:
        """Return all keys."""
        return await self.keys.list()

    async def create_key(self, body: bytes) -> tuple[KeyRecord, str]:
        """Make a key from a JSON body."""
        return await self.keys.create(body)

    async def revoke_key(self, name: str) -> KeyRecord:
        """Revoke a key."""
        return await self.keys.revoke(name)

    # --- the end ---------------------------------------------------------------------------------

    @property
    def running(self) -> int:
        """How many requests are being served."""
        return self.inference.active

    @property
    def default_model(self) -> str | None:
        """The model for requests that name none."""
        return self.config.models.default

    def dashboard_address(self, section: str = "") -> str:
        """Return the address of the dashboard with a fresh ticket, open at a section."""
        ticket = self.sessions.new_ticket()
        shown = f"&show={section}" if section else ""
        return f"http://localhost:{self.port}/admin#ticket={ticket}{shown}"

    def _show(self) -> bool:
        if self.show is not None:
            self.show()
        return self.show is not None

    def subscribe(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call ``changed`` after each change of what people see; returns what ends that."""
        self._listeners.add(changed)
        return lambda: self._listeners.discard(changed)

    def _tell(self) -> None:
        for changed in tuple(self._listeners):
            changed()

    def stop(self) -> None:
        """Begin to shut down."""
        self._stop.set()

    async def run_until_stopped(self) -> None:
        """Wait for ``stop``, then let running answers finish, and close everything."""
        await self._stop.wait()
        await self.close()

    async def close(self) -> None:
        """Close everything; safe after a failed ``start``."""
        if self._watcher is not None:
            self._watcher.close()
        if self._server is None:
            for sock in self._sockets:
                sock.close()
        else:
            self._server.stop()
            self.gateway.paused = "Dragoman is stopping."
            try:
                await asyncio.wait_for(self.inference.idle.wait(), self.grace_s)
            except TimeoutError:
                _log.warning("%d answers are cut off by the stop", self.inference.active)
        if self._sockets_open is not None:
            self._sockets_open.close_all()
            self.relay.close_all()
            self.live.close()
            self._let_go()
            self.studio.close()
            await self.helpers.close()
        if self._opening is not None:  # what was served meanwhile is still to be written
            await asyncio.wait({self._opening}, timeout=_STORE_S)
        if self._server is not None:
            await self.desk.close(self.grace_s)
        await cancel_all()
        if self._server is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._server.close_all_connections(), 2.0)
            await self.client.aclose()
            if self.prover is not None:
                self.prover.close()
        self._tokenizer.close()
        await asyncio.to_thread(self.records.close)
        await asyncio.to_thread(self.ledger.close)
        await self.store.close()
        self.instance.release()


def register_secrets(config: Config, env: Mapping[str, str]) -> None:
    """Keep the secrets of the settings out of the log."""
    for _, ref in config.secrets():
        log.redact(ref.resolve(env))
