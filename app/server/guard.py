"""Who may call: the access rules of the HTTP surface, as pure functions.

``judge`` is asked once per request, before the body is read. It looks at three things, in this
order, and stops at the first that fails:

1. **Host.** A name that is not ours is 403. A page on the web can make its own name resolve to
   127.0.0.1 (DNS rebinding), but it cannot make the browser send our name as ``Host``.
2. **Browser marks.** An ``Origin``, a ``Sec-Fetch-Site`` or a ``Referer`` of another site says
   that a web page makes the call. Such a call needs an origin that the user has listed, and a
   key: being the same operating-system user proves nothing there, for the browser is the user's.
3. **Credential.** A ``dg-`` key is always checked, whoever sends it. Without one, the kernel's
   proof that the caller is the same user is enough for inference, and never enough for control:
   sandboxed agents run as the same user.

A request with the marks of our own origin (the dashboard's) is no foreign page. Being wrong costs
nothing but a count: failed keys are counted per proven user, else per address, and once there are
too many the *wrong* ones are answered 429; a valid key is never delayed.
"""

from __future__ import annotations

import hmac
import ipaddress
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NoReturn, Protocol, TypeAlias
from urllib.parse import unquote_plus

from app.errors import AccessError
from app.keys import KEY_PREFIX, KeyRecord, is_named
from app.keys import hash_key as digest_of
from app.server.failedkeys import FailedKeys
from app.server.policy import CREATE_KEY, AccessPolicy, foreign_origin, refuse_host, refuse_origin

__all__ = [
    "Call",
    "Caller",
    "Grant",
    "KeyRecord",
    "KeyRing",
    "Kind",
    "cors_headers",
    "digest_of",
    "judge",
]

Kind: TypeAlias = Literal["inference", "open", "control", "relay"]
"""What a route asks of its caller.

``inference``: the same user or a client key (also models, health, sign-in start and status).
``open``: nothing but a right ``Host`` (``/healthz``, the dashboard's page, a sign-in callback).
``control``: the local token, an admin key or a dashboard session. ``relay``: a relay key.
"""


@dataclass(frozen=True, slots=True)
class Caller:
    """What is known of a connection, the same for all its requests.

    Attributes:
        address: remote IP address as text, without port.
        same_user: the kernel proved that our own operating-system user holds the other end.
        loopback: both ends of the connection are loopback addresses.
        program: name of the calling program (``claude``), or None while it is not known.
    """

    address: str
    same_user: bool = False
    loopback: bool = False
    program: str | None = None

    @property
    def source(self) -> str:
        """Under which name failed keys are counted: the proven user, else the address.

        An IPv6 address counts as its /64 network, the least that one machine is given.
        """
        if self.same_user:
            return "user"
        if ":" in self.address:
            try:
                network = ipaddress.IPv6Network((self.address.partition("%")[0], 64), strict=False)
            except ValueError:
                return self.address
            return str(network.network_address)
        return self.address


@dataclass(frozen=True, slots=True)
class Call:
    """The parts of a request that decide about access.

    Attributes:
        method: as sent, upper case.
        path: the target without its query, as sent.
        query: raw query string without ``?``; may be empty.
        headers: looked up without regard to case (Tornado's ``HTTPHeaders`` is such a mapping).
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


class KeyRing(Protocol):
    """Where the keys are; answers from memory, since it is asked on the request path."""

    def find(self, sha256: str) -> KeyRecord | None:
        """Return the record of a key by the lower-case hex SHA-256 of the key, or None."""


Who: TypeAlias = Literal["same_user", "key", "local_token", "admin_key", "session", "open"]


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer to a call that may go on.

    Attributes:
        who: by what right: ``same_user`` (kernel proof), ``key`` (client or relay key),
            ``admin_key``, ``local_token``, ``session`` (dashboard), ``open`` (none was needed).
        key: the key that was used, or None.
        origin: the listed web origin whose page made the call, or None; such a page may read
            the answer, see ``cors_headers``.
    """

    who: Who
    key: KeyRecord | None = None
    origin: str | None = None

    @property
    def owner(self) -> str:
        """Stable id of whoever owns what this call stores: ``key:<id>``, ``user`` or ``nobody``."""
        if self.key is not None:
            return f"key:{self.key.id}"
        return "nobody" if self.who == "open" else "user"

    def allows(self, provider: str, model: str | None = None, account: str | None = None) -> bool:
        """Tell whether the caller's scope covers a provider, a model and an account.

        A None for ``model`` or ``account`` means that this part is not in question.
        """
        key = self.key
        if key is None:
            return self.who != "open"
        return (
            is_named(key.providers, provider)
            and (model is None or is_named(key.models, model))
            and (account is None or is_named(key.accounts, account))
        )


def judge(
    kind: Kind,
    call: Call,
    caller: Caller,
    policy: AccessPolicy,
    keys: KeyRing,
    *,
    local_token: str,
    now: float,
    failed: FailedKeys | None = None,
    session: Callable[[str], bool] | None = None,
) -> Grant:
    """Decide whether a call may go on.

    Args:
        kind: what the route asks of its caller.
        call: the request.
        caller: the connection.
        policy: the rules in force.
        keys: the keys there are.
        local_token: the token of ``instance.json``; accepted from loopback only. An empty one
            matches nothing.
        now: epoch seconds, UTC.
        failed: where failed keys are counted, if they are.
        session: tells whether a token is that of a live dashboard session.

    Raises:
        AccessError: 403 ``bad_host``, ``origin_not_allowed`` or ``wrong_key_kind``; 401
            ``key_required``, ``invalid_key``, ``revoked_key``, ``expired_key``,
            ``conflicting_keys`` or ``token_required``; 429 ``too_many_failed_keys``.
    """
    headers = call.headers
    host = headers.get("Host", "")
    if not policy.accepts_host(host):
        refuse_host(host, policy)
    if kind == "open":
        return _OPEN
    origin = foreign_origin(headers, host)
    if origin is not None:
        if origin not in policy.origins:
            refuse_origin(origin)
        if call.method == "OPTIONS" and "Access-Control-Request-Method" in headers:
            # A preflight carries no credentials by its nature, and runs nothing.
            return Grant("open", origin=origin)
    judged = _Judgement(kind, call, caller, policy, keys, local_token, now, failed, session, origin)
    return judged.grant()


_OPEN = Grant("open")
_SAME_USER = Grant("same_user")


@dataclass(slots=True)
class _Judgement:
    """The credential part of one ``judge`` call; the fields are its arguments."""

    kind: Kind
    call: Call
    caller: Caller
    policy: AccessPolicy
    keys: KeyRing
    local_token: str
    now: float
    failed: FailedKeys | None
    session: Callable[[str], bool] | None
    origin: str | None

    def grant(self) -> Grant:
        sent = _credentials(self.kind, self.call)
        if not sent:
            return self._without_key([])
        ours = {token for token in sent if token.startswith(KEY_PREFIX)}
        if len(ours) > 1:
            self._fail(
                "conflicting_keys",
                "The request carries two different Dragoman keys.",
                "Send one key, in one header.",
            )
        if ours:
            return self._with_key(ours.pop())
        return self._without_key(sent)

    def _with_key(self, token: str) -> Grant:
        record = self._checked(token)
        if record.kind == "relay":
            if self.kind != "relay":
                self._refuse_kind("A relay key is valid only at the relay's address, /v1/ws.")
            return Grant("key", record, self.origin)
        if self.kind == "relay":
            self._refuse_kind(
                "The relay needs a relay key.", "Make one: `dragoman keys create --relay`."
            )
        if record.kind == "admin":
            return Grant("admin_key", record, self.origin)
        if self.kind == "control":
            self._refuse_kind(
                "This key may use models, but not change Dragoman.",
                "Make an admin key: `dragoman keys create --admin`.",
            )
        return Grant("key", record, self.origin)

    def _checked(self, token: str) -> KeyRecord:
        """Return the record of a key that is known, not revoked and not expired."""
        digest = digest_of(token)
        record = self.keys.find(digest)
        if record is None or not hmac.compare_digest(record.sha256.encode(), digest.encode()):
            self._fail(
                "invalid_key",
                "This Dragoman key is not known here.",
                f"See `dragoman keys list`, or make a new one: {CREATE_KEY}.",
            )
        if record.revoked_at is not None:
            self._fail(
                "revoked_key",
                f"The Dragoman key {record.label!r} was revoked.",
                f"Make a new one: {CREATE_KEY}.",
            )
        if record.expires_at is not None and self.now >= record.expires_at:
            self._fail(
                "expired_key",
                f"The Dragoman key {record.label!r} has expired.",
                f"Make a new one: {CREATE_KEY}.",
            )
        return record

    def _without_key(self, sent: list[str]) -> Grant:
        """Decide by token, session or kernel proof; ``sent`` are credentials that are no keys."""
        if self.kind == "relay":
            self._fail(
                "key_required" if not sent else "invalid_key",
                "The relay needs a relay key.",
                "Make one: `dragoman keys create --relay`.",
                counted=bool(sent),
            )
        if self.origin is None:
            keyless = self.caller.same_user and self.policy.keyless == "same_user"
            if keyless and self.kind == "inference":
                return _SAME_USER
            if sent and self.caller.loopback and (who := self._local(sent)) is not None:
                return Grant(who)
        if self.kind == "control":
            return self._fail_control(counted=bool(sent))
        return self._fail_inference(counted=bool(sent))

    def _local(self, sent: list[str]) -> Literal["local_token", "session"] | None:
        wanted = self.local_token.encode()
        for token in sent:
            if wanted and hmac.compare_digest(token.encode("utf-8", "surrogateescape"), wanted):
                return "local_token"
            if self.session is not None and self.session(token):
                return "session"
        return None

    def _fail_inference(self, *, counted: bool) -> NoReturn:
        if self.origin is not None:
            message = f"A page of {self.origin} needs a Dragoman key."
        elif self.policy.keyless == "never":
            message = "A Dragoman key is needed (`access: {keyless: never}` is set)."
        elif self.caller.loopback:
            message = (
                "A Dragoman key is needed: the operating system does not show that this call "
                "comes from the user who runs Dragoman."
            )
        else:
            message = "A Dragoman key is needed for calls from other machines."
        if counted:
            message += " The key that was sent is not a Dragoman key."
        self._fail(
            "invalid_key" if counted else "key_required",
            message,
            f"Make one with {CREATE_KEY} and send it as `Authorization: Bearer dg-…`.",
            counted=counted,
        )

    def _fail_control(self, *, counted: bool) -> NoReturn:
        port = min(self.policy.ports, default=80)
        url = shlex.quote(f"http://127.0.0.1:{port}{self.call.path}")
        method = "" if self.call.method == "GET" else f"-X {shlex.quote(self.call.method)} "
        line = f'curl {method}-H "Authorization: Bearer {self.policy.token_shell}" {url}'
        self._fail(
            "token_required",
            "This address changes or shows Dragoman itself and needs the local token or an "
            "admin key." + (" What was sent is neither." if counted else ""),
            f"Try: {line} — or make an admin key: `dragoman keys create --admin`.",
            counted=counted,
        )

    def _refuse_kind(self, message: str, hint: str = "") -> NoReturn:
        raise AccessError(message, hint=hint, status=403, code="wrong_key_kind")

    def _fail(self, code: str, message: str, hint: str, *, counted: bool = True) -> NoReturn:
        if counted and self.failed is not None:
            wait_s = self.failed.note(self.caller.source, self.now)
            if wait_s is not None:
                raise AccessError(
                    f"Too many failed keys from here. {message}",
                    hint=hint,
                    status=429,
                    code="too_many_failed_keys",
                    retry_after_s=wait_s,
                )
        raise AccessError(message, hint=hint, status=401, code=code)


def _credentials(kind: Kind, call: Call) -> list[str]:
    """Collect every credential that a request carries, in a fixed order, without duplicates."""
    headers = call.headers
    found: list[str] = []
    if "Authorization" in headers:
        scheme, _, token = headers["Authorization"].strip().partition(" ")
        if scheme.lower() == "bearer":
            found.append(token.strip())
    # Membership first: a failed lookup in Tornado's headers costs a raised exception.
    if "X-Api-Key" in headers:
        found.append(headers["X-Api-Key"].strip())
    if "X-Goog-Api-Key" in headers:
        found.append(headers["X-Goog-Api-Key"].strip())
    if kind == "control" and "X-Dragoman-Token" in headers:
        found.append(headers["X-Dragoman-Token"].strip())
    if call.query:
        if kind == "relay":
            found += _query_values(call.query, "auth_token")
        elif kind == "inference" and _is_gemini(call.path):
            found += _query_values(call.query, "key")
    return [token for token in dict.fromkeys(found) if token]


def _is_gemini(path: str) -> bool:
    """Tell whether Google's clients use this path; only there a key may be in the query."""
    return path.startswith("/v1beta/") or (path.startswith("/v1/models/") and ":" in path)


def _query_values(query: str, name: str) -> Iterable[str]:
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        if key == name:
            yield unquote_plus(value)


def cors_headers(grant: Grant, call: Call) -> tuple[tuple[str, str], ...]:
    """Return the CORS headers of an answer: none, unless a listed origin's page made the call.

    For a preflight they also name the method and the headers that were asked for, and allow the
    step from a public page to a private address (Private Network Access).
    """
    if grant.origin is None:
        return ()
    # The origin is echoed as the browser wrote it: it compares byte for byte.
    headers = call.headers
    sent = headers.get("Origin", grant.origin)
    found = [("Access-Control-Allow-Origin", sent), ("Vary", "Origin")]
    if grant.who != "open":
        return (*found, ("Access-Control-Expose-Headers", "x-request-id, x-dragoman-route"))
    if "Access-Control-Request-Method" in headers:
        found.append(("Access-Control-Allow-Methods", headers["Access-Control-Request-Method"]))
    if "Access-Control-Request-Headers" in headers:
        found.append(("Access-Control-Allow-Headers", headers["Access-Control-Request-Headers"]))
    if "Access-Control-Request-Private-Network" in headers:
        found.append(("Access-Control-Allow-Private-Network", "true"))
    found.append(("Access-Control-Max-Age", "600"))
    return tuple(found)
