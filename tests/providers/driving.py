"""Drive the steps of providers over real sockets, with a clock that waits move by hand."""

import base64
import hashlib
import json
from contextlib import asynccontextmanager

from app.accounts.steps import Driver, Reach
from app.errors import UpstreamError
from app.http import HttpRequest, Limits
from app.providers.base import join_url
from app.providers.oauth import parse_pasted
from app.providers.shaping import Asked
from app.providers.signin import Pkce
from app.upstream.client import Client
from app.upstream.proxies import Environment
from tests.fakes.basic import Clock

NOW = 1_795_000_000.0
VERIFIER = "v" * 64
PKCE = Pkce(
    VERIFIER,
    base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("="),
)
STATE = "0123456789abcdef0123456789abcdef"


class Drive:
    """Runs steps as the app does; ``sent``, ``shown``, ``kept`` and ``waits`` say what they did.

    ``on_show`` and ``on_wait`` stand for the user, who reads a code and types it meanwhile. The
    network breaks for the next ``broken`` requests.
    """

    def __init__(self, client, provider, clock):
        self.client = client
        self.provider = provider
        self.clock = clock
        self.sent = []
        self.shown = []
        self.kept = []
        self.waits = []
        self.broken = 0
        self.on_show = lambda shown: None
        self.on_wait = lambda count: None

    async def run(self, steps):
        driver = Driver(self._send, self.clock, self._sleep)
        return await driver.run(
            steps, Reach.of(self.provider), limit_s=3_600, keep=self._keep, show=self._show
        )

    async def sign_in(self, way="browser", *, pkce=PKCE, state=STATE):
        """Open the page, agree, and come back with the code."""
        sign_in = self.provider.sign_ins[way]
        code, back = await self.visit(sign_in.begin(pkce, state))
        return await self.run(sign_in.finish(code, back, pkce))

    async def visit(self, url):
        """Return code and state with which the page sends the browser back."""
        reply = await self.get(url)
        assert reply.status == 302, reply.body
        return parse_pasted(reply.header("location"))

    async def get(self, url):
        return await self.client.fetch(HttpRequest("GET", url), Limits())

    async def call(
        self, model, body, *, operation="generate", path, headers=(), credential, session=""
    ):
        """Send a call in the provider's own dialect, shaped; returns ``(Shaped, HttpReply)``."""
        provider = self.provider
        dialect = provider.dialects[0]
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        asked = Asked(dialect, operation, model, raw, False, path, headers, credential, session)
        shaped = provider.shape(asked)
        request = HttpRequest(
            "POST",
            join_url(shaped.base_url or provider.base_url, shaped.path),
            (("content-type", "application/json"),),
            shaped.body,
        )
        request = provider.prepare(request, credential, dialect, headers, ())
        fields = {key.lower(): (key, value) for key, value in request.headers}
        fields |= {key.lower(): (key, value) for key, value in shaped.headers}
        request = HttpRequest("POST", request.url, tuple(fields.values()), shaped.body)
        return shaped, await self.client.fetch(request, Limits())

    async def _send(self, request, limits):
        self.sent.append(request)
        if self.broken:
            self.broken -= 1
            raise UpstreamError("The network broke.")
        return await self.client.send(request, limits)

    async def _sleep(self, seconds):
        self.waits.append(seconds)
        self.clock.advance(seconds)
        self.on_wait(len(self.waits))

    async def _keep(self, credential):
        self.kept.append(credential)

    def _show(self, shown):
        self.shown.append(shown)
        self.on_show(shown)


@asynccontextmanager
async def driving(provider, clock=None):
    """Open a client for a ``Drive``, and close it."""
    client = Client(environment=lambda: Environment({}, lambda host: False))
    try:
        yield Drive(client, provider, clock or Clock(NOW))
    finally:
        await client.aclose()
