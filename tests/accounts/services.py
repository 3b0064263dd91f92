"""Made-up services whose sign-ins are tiny generators, and what tests build of them."""

from dataclasses import replace

import msgspec

from app.accounts.book import AccountBook
from app.accounts.record import Record
from app.accounts.refresh import Refresher
from app.accounts.roster import Roster
from app.accounts.steps import Driver
from app.errors import AccountError, RequestError, UpstreamError
from app.http import HttpRequest
from app.providers.base import Provider
from app.providers.credential import Credential, Identity
from app.providers.signin import (
    NOT_ALLOWED,
    SIGN_IN_AGAIN,
    CodeSignIn,
    Consent,
    DeviceSignIn,
    Granted,
    Listen,
    SecretSignIn,
    ask,
    show,
    wait,
)
from tests.fakes.basic import Answered, Clock, DictVault, ScriptedSend, Timers

START = 1_770_000_000.0
HOUR = 3_600.0
CANARY = "canary-4f1d9a7e2b"
"""Begins every secret of these services, so that one look finds whatever leaks."""

LISTEN = Listen(54_999, "/callback")
CONSENT = Consent("2026-02-19", "The terms reserve this for their own apps.", "Use an API key.")


def token_request(path, **fields):
    return HttpRequest("POST", f"https://id.test/{path}", body=msgspec.json.encode(fields))


def read_grant(answered, kind="oauth"):
    """What the service's answers say: ``secret``, ``renewal``, ``life``, ``id``, ``name``."""
    status = answered.reply.status
    if status >= 500:
        raise UpstreamError("The service is down.")
    body = msgspec.json.decode(answered.reply.body)
    if status == 429:
        raise AccountError("Too many of these.", code=NOT_ALLOWED)
    if status >= 400:
        raise AccountError(f"Signed out: {body.get('said', '')}", code=SIGN_IN_AGAIN)
    life = body.get("life")
    credential = Credential(
        body["secret"],
        kind,
        None if life is None else answered.now + life,
        body.get("renewal", ""),
        {},
        answered.now,
    )
    return Granted(
        credential, Identity(body.get("id", ""), body.get("name", ""), body.get("plan", ""))
    )


def begin(pkce, state):
    return f"https://web.test/authorize?challenge={pkce.challenge}&state={state}"


def finish(code, state, pkce):
    answered = yield from ask(
        token_request("token", code=code, state=state, verifier=pkce.verifier)
    )
    return read_grant(answered)


def device(host):
    answered = yield from ask(HttpRequest("POST", f"https://{host or 'id.test'}/device"))
    body = msgspec.json.decode(answered.reply.body)
    yield from show(body["user_code"], "https://web.test/device", answered.now + 900)
    while True:
        yield from wait(5)
        answered = yield from ask(HttpRequest("POST", f"https://{host or 'id.test'}/poll"))
        if answered.reply.status != 202:
            return read_grant(answered)


def secret(text, base_url):
    if "key" not in text:
        raise RequestError(f"{text!r} is no key.", code="no_key")
    answered = yield from ask(
        HttpRequest("GET", f"{base_url}/me", (("Authorization", f"Bearer {text}"),))
    )
    granted = read_grant(answered, "api_key")
    return replace(granted, credential=Credential(text))


def renew(credential):
    answered = yield from ask(token_request("renew", renewal=credential.renewal))
    granted = read_grant(answered).credential
    return replace(granted, renewal=granted.renewal or credential.renewal)


def revoke(credential):
    answered = yield from ask(token_request("revoke", token=credential.secret))
    if answered.reply.status >= 400:
        raise UpstreamError("It does not answer.")


WEB = Provider(
    id="web",
    title="Web",
    base_url="https://api.web.test",
    dialects=("openai_chat",),
    issuer="web",
    hosts=frozenset({"id.test", "api.web.test"}),
    sign_ins={
        "browser": CodeSignIn(begin, finish, LISTEN),
        "paste": CodeSignIn(begin, finish),
        "device": DeviceSignIn(device),
    },
    renew=renew,
    renew_lead_s=HOUR,
    revoke=revoke,
)
STRICT = replace(WEB, id="strict", title="Strict", consent=CONSENT, revoke=None)
KEYED = Provider(
    id="keyed",
    title="Keyed",
    base_url="https://api.keyed.test",
    dialects=("openai_chat",),
    issuer="keyed",
    sign_ins={"key": SecretSignIn("API key", secret)},
)
PROVIDERS = {p.id: p for p in (WEB, STRICT, KEYED)}


def record(label="web-1", provider="web", **changes):
    left = changes.pop("left", 8 * HOUR)
    credential = Credential(
        f"{CANARY}-access-{label}",
        "oauth",
        START + left,
        f"{CANARY}-refresh-{label}",
        {},
        START + left - 8 * HOUR,
    )
    values = {
        "credential": credential,
        "identity": Identity(f"id-{label}", f"{label}@example.org", "plus"),
        "way": "browser",
        "created_at": START - 86_400,
    }
    return Record(provider, label, **(values | changes))


def granted(number=1, life=8 * HOUR, status=200, **more):
    """An answer that gives out a token."""
    body = {
        "secret": f"{CANARY}-access-{number}",
        "renewal": f"{CANARY}-refresh-{number}",
        "life": life,
        "id": "id-web-1",
        "name": "web-1@example.org",
        "plan": "plus",
    }
    return Answered(status, {}, msgspec.json.encode(body | more))


def refusal(status=400, said="over"):
    return Answered(status, {}, msgspec.json.encode({"said": said}))


class Room:
    """Book, driver and refresher over fakes, with clocks that a test moves."""

    def __init__(self, *records, steps=(), providers=PROVIDERS, vault=None, jitter=0.0):
        self.wall = Clock(START)
        self.steady = Clock(1_000.0)
        self.timers = Timers(self.wall, self.steady)
        self.vault = DictVault(*records) if vault is None else vault
        self.roster = Roster()
        self.send = ScriptedSend(*steps)
        self.slept = []
        self.told = []
        self.driver = Driver(self.send, self.wall, self.sleep)
        self.book = AccountBook(self.vault, self.roster, providers, self.wall)
        self.jitter = jitter
        self.refresher = Refresher(
            self.book,
            self.driver,
            self.wall,
            self.steady,
            lambda: self.jitter,
            self.timers.call_later,
            lambda account_id, text: self.told.append((account_id, text)),
        )

    async def open(self):
        await self.book.load()
        self.refresher.arm()
        return self

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.wall.advance(seconds)
        self.steady.advance(seconds)

    def account(self, account_id="web/web-1"):
        return self.roster.get(account_id)

    def secret(self, account_id="web/web-1"):
        return self.account(account_id).credential.secret

    def sent(self, number=-1):
        return msgspec.json.decode(self.send.requests[number].body)
