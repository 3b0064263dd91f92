"""The whole program with its dashboard, and accounts as a test wants them."""

import contextlib
import time
from dataclasses import fields

from app import __version__
from app.accounts.record import Record
from app.config import Config
from app.configfile import load_file, locate
from app.gateway.exchange import Gateway
from app.gateway.recent import Recent
from app.gateway.status import (
    ServiceStatus,
    Status,
    describe_account,
    describe_models,
    describe_state,
)
from app.instance import Instance
from app.paths import Paths
from app.providers import PROVIDERS
from app.providers.credential import Credential, Identity
from app.providers.quota import Quota, QuotaWindow
from app.server.caller import Access
from app.server.dashboard import Dashboard, dashboard_routes, model_table
from app.server.live import Live, LogLines
from app.server.sessions import Sessions
from app.server.settings import SettingsDesk
from app.service import ServeOptions, Service

HOUR = 3_600.0
DAY = 24 * HOUR
LONG = "a-very-long-label-that-somebody-chose-for-an-account-of-theirs-2026"


class _Access(Access):
    """Takes sessions, too."""

    __slots__ = ("sessions",)

    def check(self, kind, context, method, path, query, headers):
        from app.server.guard import Call, judge

        return judge(
            kind,
            Call(method, path, query, headers),
            context.caller,
            self.policy,
            self.keys,
            local_token=self.local_token,
            now=self.now(),
            failed=self.failed,
            session=self.sessions.accepts,
        )


class _Counted:
    """A sink that tells what goes through."""

    def __init__(self, sink, tell):
        self._sink = sink
        self._tell = tell

    def __getattr__(self, name):
        return getattr(self._sink, name)

    def write(self, data):
        self._tell(data)
        return self._sink.write(data)


class _Gateway(Gateway):
    async def _answer(self, call, sink, outcome):
        recent = self.recent
        recent.began(call, outcome)
        await super()._answer(
            call, _Counted(sink, lambda data: recent.progress(call.request_id, data)), outcome
        )


class Site(Service):
    """The program with its dashboard; ``listeners`` are told of changes of the status.

    ``answer``, when a test sets it, answers for the made-up services (hosts that end in .test).
    """

    answer = None

    async def _send(self, request, limits):
        if self.answer is not None and ".test/" in request.url:
            return (await self.answer(request)).reply()
        return await super()._send(request, limits)

    def _build(self, file_limit):
        super()._build(file_limit)
        self.listeners = []
        self.recent = Recent(time.time, time.monotonic)
        gateway = _Gateway(
            **{f.name: getattr(self.gateway, f.name) for f in fields(Gateway) if f.init}
        )
        gateway.recent = self.recent
        gateway.settled = self._settled
        self.gateway = gateway
        self.inference.handle = gateway.handle
        self.sessions = Sessions(time.monotonic)
        old = self.access
        self.access = _Access(*(getattr(old, f.name) for f in fields(Access)))
        self.access.sessions = self.sessions
        self.lines = LogLines()
        self.take_off = self.lines.install()
        self.live = Live(self.recent, self.status, self._subscribe, self.lines)
        dashboard = Dashboard(
            self.sessions, self.live, SettingsDesk(self, self.located.path), self.model_rows
        )
        pages = self._server.request_callback._pages
        pages.add_handlers(".*$", dashboard_routes(self, dashboard))

    def _settled(self, outcome):
        super()._settled(outcome)
        self.recent.settled(outcome)

    def _accounts_changed(self):
        super()._accounts_changed()
        for listener in self.listeners:
            listener()

    def _subscribe(self, listener):
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def _routes(self):
        now = time.time()
        rank = self.gateway.ranking("")
        return describe_models(
            self.roster.accounts(),
            self.gateway.catalog,
            lambda account, model: self.roster.state(account, model, now),
            rank,
        )

    def model_rows(self):
        return model_table(self.roster.accounts(), self.gateway.catalog, self._routes())

    def status(self):
        now = time.time()
        views = {view.id: view for view in self.desk.views()}
        accounts = tuple(
            describe_account(
                account,
                self.roster.overall(account, now),
                self.quotas.view(account.id, now),
                identity=views[account.id].name,
                primary=views[account.id].primary,
                signed_in=not views[account.id].configured,
                needs_sign_in=views[account.id].state == "refused",
            )
            for account in self.roster.accounts()
            if not account.provider.demo
        )
        state, reason = describe_state(
            listening=True,
            paused=self.gateway.paused,
            running=self.inference.active,
            problems=self.problems,
            accounts=accounts,
        )
        return Status(
            state,
            __version__,
            f"http://localhost:{self.port}",
            reason,
            self.inference.active,
            accounts,
            self._routes(),
            self.config.models.default,
            tuple(ServiceStatus(p.id, p.title) for p in self.providers.values() if p.sign_ins),
            demo=not accounts,
        )

    async def close(self):
        if hasattr(self, "live"):
            self.live.close()
            self.take_off()
        await super().close()

    @property
    def ticket_url(self):
        ticket = self.sessions.new_ticket()
        return f"http://127.0.0.1:{self.port}/admin#ticket={ticket}"


@contextlib.asynccontextmanager
async def site(home, settings="", *, accounts=0, **options):
    env = {"DRAGOMAN_HOME": str(home), "DRAGOMAN_QUOTA__ASK": "false"}
    paths = Paths.find(env)
    paths.config.mkdir(parents=True, exist_ok=True)
    (paths.config / "config.yaml").write_text(settings)
    (paths.config / "config.yaml").chmod(0o600)
    located = locate(None, env)
    config = load_file(located, env)
    assert isinstance(config, Config)
    instance = Instance.acquire(paths.data, paths.runtime)
    running = Site(
        paths, located, ServeOptions(port=0), env, config, instance, grace_s=0.5, **options
    )
    try:
        await running.start()
        await running.desk.open(memory_only=True)
        for record, quota in ten_accounts()[:accounts]:
            await running.desk.book.put(record)
            if quota is not None:
                running.quotas.note(record.id, quota)
        if accounts > 6:
            pause, now = running.roster.pause, time.time()
            pause("claude/personal", None, 1.4 * HOUR, "the 5 hour limit is reached", now)
            pause("codex/team", None, DAY, "the sign-in has expired", now, refused=True)
        yield running
    finally:
        await running.close()


def ten_accounts():
    """Records and what is left of them; the first is in a good state, the rest are mixed."""
    now = time.time()

    def record(provider, label, name, plan="", **more):
        credential = Credential(
            f"secret-{label}", "oauth", now + 8 * HOUR, f"renew-{label}", {}, now
        )
        return Record(
            provider, label, credential, Identity(f"id-{label}", name, plan), "browser",
            now - 30 * DAY, **more,
        )  # fmt: skip

    def quota(*windows, note=""):
        return Quota(
            tuple(
                QuotaWindow(name, used, now + resets, length, exhausted=used >= 100)
                for name, used, resets, length in windows
            ),
            now,
            "usage call",
            note=note,
        )

    agreed = {"consent": PROVIDERS["claude"].consent.version, "consented_at": now - 30 * DAY}
    five, seven = ("5h", 5 * HOUR), ("7d", 7 * DAY)
    return [
        (
            record("codex", "work", "ada@example.org", "plus", primary=True),
            quota((five[0], 38, 2.2 * HOUR, five[1]), (seven[0], 61, 3.1 * DAY, seven[1])),
        ),
        (
            record("claude", "personal", "ada.lovelace@example.org", "max", **agreed),
            quota((five[0], 100, 1.4 * HOUR, five[1]), (seven[0], 84, 5 * DAY, seven[1])),
        ),
        (record("copilot", "github", "ada"), quota(("month", 12, 11 * DAY, 30 * DAY))),
        (record("codex", "team", "team@example.org", "business"), None),
        (record("codex", LONG, f"{LONG}@a-company-with-a-long-name.example.org", "plus"), None),
        (record("claude", "second", "grace@example.org", "pro", paused=True, **agreed), None),
        (record("copilot", "enterprise", "ada_corp", host="company.ghe.com"), None),
        (record("codex", "lab", "lab@example.org", "plus"), quota((five[0], 85, HOUR, five[1]))),
        (record("ctonew", "browser", "ada@example.org"), None),
        (record("claude", "third", "third@example.org"), quota((seven[0], 3, 6 * DAY, seven[1]))),
    ]
