"""Dragoman with a relay, and what its tests share."""

import uuid

from app.accounts.configured import configured_accounts
from app.configfile import load_file, locate
from app.instance import Instance
from app.paths import Paths
from app.providers.aistudio import SCHEME
from app.server.relay import relay_routes
from app.service import ServeOptions, Service
from app.tasks import spawn
from app.upstream.relay import Relay, with_relay


class Relayed(Service):
    """The program with the relay's routes, its ``Send`` and its accounts."""

    marks = None
    ping_s = 30.0
    max_frame_mb = 64

    def _build(self, file_limit):
        self.relay = Relay(
            lambda: self.now(),
            lambda: str(uuid.uuid4()),
            changed=self._page_changed,
            marks=self.marks,
        )
        super()._build(file_limit)
        self.gateway.send = with_relay(self.gateway.send, self.relay)
        routes = relay_routes(
            self,
            self.relay,
            port=lambda: self.port,
            max_frame_mb=lambda: self.max_frame_mb,
            ping_s=self.ping_s,
        )
        self._server.request_callback._pages.add_handlers(r".*", routes)

    @staticmethod
    def now():
        return 1_795_000_000.0

    async def _fetch(self, request, limits):
        if request.url.startswith(SCHEME):
            return await self.relay.fetch(request, limits)
        return await super()._fetch(request, limits)

    def _page_changed(self, account_id, connected):
        known = self.roster.get(account_id) is not None
        accounts, _ = configured_accounts(self.config, self.env, "")
        self.desk.configure((*accounts, *self.relay.accounts()))
        if connected and known:
            spawn(self._greet([self.roster.get(account_id)]), "models of a page")

    async def close(self):
        if self._server is not None:
            self.relay.close_all()
        await super().close()


def build_relayed(home, settings=""):
    """A service that is not started yet; ``settings`` is the text of its file."""
    env = {"DRAGOMAN_HOME": str(home)}
    paths = Paths.find(env)
    paths.config.mkdir(parents=True, exist_ok=True)
    if settings:
        paths.config_file.write_text(settings)
        paths.config_file.chmod(0o600)
    located = locate(None, env)
    config = load_file(located, env)
    instance = Instance.acquire(paths.data, paths.runtime)
    return Relayed(paths, located, ServeOptions(port=0), env, config, instance)
