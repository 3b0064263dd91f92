"""Calls to WebAI's helper program, wherever it listens just now.

Addresses that begin with ``webai://`` stand for it. Its key is added here and nowhere else. Each
answer tells which of the web sites behind it spoke: g4f tries several in turn, and people want to
see whom their words went to.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

from app.http import HttpReply, HttpRequest, Limits, Send, StreamedReply
from app.providers.base import join_url
from app.providers.webai import SCHEME

__all__ = ["Reached", "fetch_webai", "with_webai"]

_SPOKE = re.compile(rb'"provider":\s*"([A-Za-z0-9_. -]{1,60})"')
_LOOKED_AT = 64 * 1024
"""It stands in the first chunk of a stream, and in a whole answer after the text."""


@dataclass(frozen=True, slots=True, repr=False)
class Reached:
    """Where the program listens."""

    base_url: str
    key: str = ""


Reach = Callable[[], Reached]
"""Raises ``UpstreamError`` ``service_not_ready`` where it does not run."""
Fetch = Callable[[HttpRequest, Limits], Awaitable[HttpReply]]


def _addressed(request: HttpRequest, reached: Reached) -> HttpRequest:
    path = request.url.removeprefix(SCHEME).partition("/")[2]
    headers = tuple(f for f in request.headers if f[0].lower() != "authorization")
    if reached.key:
        headers = (*headers, ("Authorization", f"Bearer {reached.key}"))
    return replace(request, url=join_url(reached.base_url, f"/{path}"), headers=headers)


def with_webai(send: Send, reach: Reach, spoke: Callable[[str], None]) -> Send:
    """Return a ``Send`` that knows where ``webai://`` is, and hands everything else on as it is.

    Args:
        send: carries calls out.
        reach: says where the program listens.
        spoke: is told the name of the site that answered, where the answer says so.
    """

    async def choose(request: HttpRequest, limits: Limits) -> StreamedReply:
        if not request.url.startswith(SCHEME):
            return await send(request, limits)
        reply = await send(_addressed(request, reach()), limits)
        if reply.status == 200:
            reply.chunks = _listening(reply.chunks, spoke)
        return reply

    return choose


async def fetch_webai(
    fetch: Fetch, reach: Reach, request: HttpRequest, limits: Limits
) -> HttpReply:
    """Send one of its calls and collect the answer.

    Raises:
        UpstreamError: as ``fetch`` and ``reach``.
    """
    return await fetch(_addressed(request, reach()), limits)


async def _listening(
    chunks: AsyncIterator[bytes], spoke: Callable[[str], None]
) -> AsyncIterator[bytes]:
    seen: bytes | None = b""
    async for chunk in chunks:
        if seen is not None:
            seen += chunk
            found = _SPOKE.search(seen)
            if found is not None:
                spoke(found[1].decode())
                seen = None
            elif len(seen) > _LOOKED_AT:
                seen = None
        yield chunk
