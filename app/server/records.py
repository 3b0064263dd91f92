"""What is kept and told of requests beside the ledger's rows, put together from its parts.

Prompts and answers (``ledger.bodies``), answers that are given again (``cache``), traces, and the
metrics. All of it is off, or costs nothing, until the settings or a question want it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from app import __version__
from app.accounts.quota import Quotas
from app.accounts.roster import Roster
from app.canonical.parts import DialectName
from app.config import Config
from app.dialects.base import Dialect
from app.gateway.answers import AnswerRules, Answers
from app.gateway.call import Call, Outcome, Sink
from app.ledger.bodies import Bodies, Rules
from app.ledger.entry import Entry, entry_of
from app.ledger.ledger import Ledger
from app.ledger.traces import Traces, TraceSettings
from app.paths import Paths
from app.server.bodies import Replay, body_routes, keeping
from app.server.guard import Grant
from app.server.inference import Handle, Inference
from app.server.metrics import AccountLevel, CacheLevel, gauges
from app.server.spending import Spending

__all__ = ["Records", "Rooms"]

_log = logging.getLogger("dragoman.server")

_KB = 1024


class Rooms(Protocol):
    """What the records are made of; ``service.Service`` is one."""

    config: Config
    paths: Paths
    ledger: Ledger
    roster: Roster
    quotas: Quotas
    spending: Spending
    inference: Inference
    started_at: float

    @property
    def dialects(self) -> Mapping[DialectName, Dialect]:
        """Return the dialects by name."""
        ...


class Records:
    """See the module. States: built → following (``follow``) → closed (``close``)."""

    def __init__(
        self, rooms: Rooms, now: Callable[[], float] = time.time, traces: Traces | None = None
    ) -> None:
        """Take the rooms; nothing of them is asked yet."""
        self._rooms = rooms
        self._now = now
        self.bodies = Bodies(rooms.paths.data, self._body_rules, now=now)
        self.answers = Answers(time.monotonic, self._answer_rules)
        self.traces = traces or Traces()

    def _body_rules(self) -> Rules:
        told = self._rooms.config.ledger
        return Rules(
            told.bodies, told.bodies_days, told.bodies_each_kb * _KB, told.bodies_mb * _KB * _KB
        )

    def _answer_rules(self) -> AnswerRules:
        told = self._rooms.config.cache
        return AnswerRules(told.enabled, told.ttl_s, told.max_mb * _KB * _KB)

    def handling(self, handle: Handle) -> Handle:
        """Return what handles calls, and takes down what is to be kept of them."""
        kept = keeping(handle, self.bodies, self._now)

        async def handled(call: Call, sink: Sink) -> Outcome:
            if self.traces.on:
                self.traces.began(call.request_id, call.headers)
            return await kept(call, sink)

        return handled

    def settled(self, outcome: Outcome) -> None:
        """Take a request that has ended."""
        entry = self._entry(outcome)
        self._rooms.ledger.note(entry)
        self.traces.note(entry)

    def _entry(self, outcome: Outcome) -> Entry:
        return entry_of(outcome, self._rooms.spending.prices.cost, self._is_plan)

    def _is_plan(self, account_id: str) -> bool:
        account = self._rooms.roster.get(account_id)
        return account is not None and account.provider.subscription

    def routes(self, control: Any) -> list[Any]:
        """Return the routes over what is kept."""
        rooms = self._rooms
        replay = Replay(
            self.bodies, rooms.inference, rooms.dialects, rooms.ledger.request, self._entry
        )
        return body_routes(control, replay)

    async def follow(self) -> None:
        """Put the settings in force: begin or end traces, drop what may no longer be kept."""
        told = self._rooms.config.traces
        settings = TraceSettings(told.enabled, told.endpoint)
        await asyncio.to_thread(self.traces.configure, settings)
        try:
            await asyncio.to_thread(self.bodies.tidy)
        except Exception as error:  # a file that is gone tomorrow; requests do not wait for it
            _log.warning("old prompts and answers are not removed: %s", error)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What does not work although the settings want it, one sentence each."""
        found = []
        if sentence := self._rooms.ledger.state.sentence:
            found.append(f"ledger: {sentence}")
        if self.traces.trouble:
            found.append(f"traces: {self.traces.trouble}")
        if self.bodies.on and self.bodies.trouble:
            found.append(f"ledger.bodies: {self.bodies.trouble}")
        return tuple(found)

    def metrics(self, grant: Grant) -> bytes:
        """Return the measures in Prometheus' text form; a key sees those of its scope."""
        rooms, now = self._rooms, self._now()
        answers = self.answers
        limited = grant.who == "key"
        return rooms.ledger.metrics.render(
            gauges(
                version=__version__,
                running=rooms.inference.active,
                uptime_s=now - rooms.started_at,
                ledger=rooms.ledger.state,
                accounts=self._levels(grant, now),
                now=now,
                cache=CacheLevel(len(answers), answers.size, answers.hits, answers.misses),
                bodies_waiting=self.bodies.waiting,
            ),
            partial(_sees, grant) if limited else None,
        )

    def _levels(self, grant: Grant, now: float) -> list[AccountLevel]:
        rooms = self._rooms
        levels = []
        for account in rooms.roster.accounts():
            if not grant.allows(account.provider.id, None, account.id):
                continue
            view = rooms.quotas.view(account.id, now)
            windows = {} if view is None else {one.window.name: one for one in view.windows}
            levels.append(
                AccountLevel(
                    account.id,
                    rooms.roster.overall(account, now),
                    rooms.quotas.left_percent(account.id, "", now),
                    {
                        name: left
                        for name, one in windows.items()
                        if (left := one.left_percent) is not None
                    },
                )
            )
        return levels

    def close(self) -> None:
        """Write and send what waits; blocks for some seconds at most."""
        self.bodies.close()
        self.traces.close()


def _sees(grant: Grant, labels: Mapping[str, str]) -> bool:
    """Say whether a key may see a measure with these labels."""
    provider = labels.get("provider")
    if provider is None:
        return True
    model, account = labels.get("model"), labels.get("account")
    return grant.allows(provider, model, account)
