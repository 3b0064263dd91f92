"""A page's socket in memory, for tests of the relay."""

import asyncio
import json

from app.upstream.relay_page import PageGone


class Socket:
    """Keeps what is sent; ``hold`` makes writes wait, ``gone`` makes them fail."""

    def __init__(self):
        self.sent = []
        self.ended = None
        """Code and reason of the close."""
        self.good = True
        """Whether its key is."""
        self.gone = False
        self.hold = None
        self.news = asyncio.Event()

    def send_text(self, text):
        if self.gone:
            raise PageGone
        self.sent.append(json.loads(text))
        self.news.set()
        return self._written()

    async def _written(self):
        if self.hold is not None:
            await self.hold.wait()

    def end(self, code, reason):
        self.ended = (code, reason)
        self.gone = True

    def permitted(self):
        return self.good

    def kinds(self):
        return [told["type"] for told in self.sent]

    async def asked(self, count=1):
        """Return the id of the newest call, once there are so many."""
        async with asyncio.timeout(5):
            while len(calls := [t for t in self.sent if t["type"] == "http_request"]) < count:
                self.news.clear()
                await self.news.wait()
        return calls[-1]["id"]


async def tell(page, kind, call_id=None, **payload):
    """Feed a message to a page."""
    await page.feed(json.dumps({"id": call_id, "type": kind, "payload": payload}))
