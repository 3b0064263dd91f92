"""The whole program with its dashboard, and accounts as a test wants them."""

import contextlib
import time

from app.accounts.record import Record
from app.configfile import load_file, locate
from app.instance import Instance
from app.paths import Paths
from app.providers import PROVIDERS
from app.providers.credential import Credential, Identity
from app.providers.quota import Quota, QuotaWindow
from app.service import ServeOptions, Service

HOUR = 3_600.0
DAY = 24 * HOUR
LONG = "a-very-long-label-that-somebody-chose-for-an-account-of-theirs-2026"


class Site(Service):
    """The program; ``answer``, when a test sets it, answers for hosts that end in .test."""

    answer = None

    async def _send(self, request, limits):
        if self.answer is not None and ".test/" in request.url:
            return (await self.answer(request)).reply()
        return await super()._send(request, limits)


@contextlib.asynccontextmanager
async def site(home, settings="", *, accounts=0, **options):
    env = {"DRAGOMAN_HOME": str(home), "DRAGOMAN_QUOTA__ASK": "false"}
    paths = Paths.find(env)
    paths.config.mkdir(parents=True, exist_ok=True)
    (paths.config / "config.yaml").write_text(settings)
    (paths.config / "config.yaml").chmod(0o600)
    located = locate(None, env)
    config = load_file(located, env)
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
