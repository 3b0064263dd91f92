"""Steps of providers driven over real sockets, with a clock that waits move."""

from contextlib import asynccontextmanager

from app.accounts.steps import Driver, Reach
from app.upstream.client import Client
from app.upstream.proxies import Environment

NOW = 1_795_000_000.0


class Drive:
    """Runs steps and notes what they showed, kept and waited for.

    ``on_show`` is called with the shown code, in the place of the user; ``on_wait`` with the
    number of waits so far.
    """

    def __init__(self, client, clock, provider):
        self.client = client
        self.clock = clock
        self.provider = provider
        self.shown = []
        self.kept = []
        self.waits = []
        self.on_show = lambda shown: None
        self.on_wait = lambda count: None

    async def _sleep(self, seconds):
        self.waits.append(seconds)
        self.clock.advance(seconds)
        self.on_wait(len(self.waits))

    def _show(self, shown):
        self.shown.append(shown)
        self.on_show(shown)

    async def _keep(self, credential):
        self.kept.append(credential)

    async def run(self, steps, *, host=""):
        driver = Driver(self.client.send, self.clock, self._sleep)
        reach = Reach.of(self.provider, host=host)
        return await driver.run(steps, reach, limit_s=600, keep=self._keep, show=self._show)


@asynccontextmanager
async def driving(clock, provider):
    """Open a client for a ``Drive``, and close it."""
    client = Client(environment=lambda: Environment({}, lambda host: False))
    try:
        yield Drive(client, clock, provider)
    finally:
        await client.aclose()
