"""Fakes of the services that people sign in to: Claude's and ChatGPT's OAuth servers.

They verify what the services verify: client, redirect URI, scope, state, PKCE (S256 only), the form
of the body, and that every code and every refresh token is used once. A refresh token that comes
back ends the whole sign-in, as RFC 6819 (5.2.2.3) wants it; whether the services go that far is
unknown, and the fakes are the stricter. Sources are marked as in ``tests.fakes.anthropic``.

Served like every fake (``Upstream(ClaudeIdentity(clock))``); what a person does on a page of the
service is a method or a field here.
"""

import base64
import hashlib
import json
import re
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlencode, urlsplit

from app.providers.claude import claude
from app.providers.claude_profile import ClaudeEndpoints
from app.providers.codex import codex
from app.providers.codex_profile import CodexEndpoints
from tests.fakes.directives import Faults
from tests.fakes.service import Refusal, Reply, Service, bearer, dump

_NONE = Faults()


def claude_at(identity, api=None):
    """Return the Claude provider over fakes at these addresses; ``api`` is the same by default."""
    return claude(
        ClaudeEndpoints(
            authorize=f"{identity}/oauth/authorize",
            token=f"{identity}/v1/oauth/token",
            api=api or identity,
        )
    )


def codex_at(identity, api=None):
    """Return the Codex provider over fakes at these addresses; ``api`` is the same by default."""
    return codex(CodexEndpoints(issuer=identity, api=f"{api or identity}/backend-api"))


@dataclass
class Person:
    """Who signs in."""

    email: str = "ada@example.test"
    user: str = "11111111-1111-4111-8111-111111111111"
    account: str = "22222222-2222-4222-8222-222222222222"
    """Organisation or workspace."""
    organization: str = "Ada's workspace"
    plan: str = "max"


@dataclass
class Grant:
    """One sign-in with its present tokens."""

    person: Person
    scope: str
    access: str = ""
    refresh: str = ""
    expires_at: float = 0.0
    ended: str = ""
    """Why it is over."""
    past: set = field(default_factory=set)
    """Refresh tokens that were used."""


@dataclass
class _Code:
    person: Person
    scope: str
    redirect: str
    challenge: str
    state: str
    expires_at: float


class Identity(Service):
    """An OAuth server; subclasses say what one service wants.

    ``person`` is who is signed in to the browser, ``consents`` whether they agree.
    """

    client_id = ""
    scope = ""
    redirect = ""
    token_path = ""
    authorize_needs = ()
    """Further parameters that the authorize page insists on, with their values."""
    lifetime_s = 3600.0
    code_s = 600.0

    def __init__(self, now, person=None):
        super().__init__()
        self.now = now
        self.person = person or Person()
        self.consents = True
        self.codes = {}
        self.used_codes = set()
        self.grants = []
        self.exchanges = 0
        """Calls of the token endpoint that gave tokens for a code."""
        self.renewals = 0
        self._failing = deque()

    # -- what tests do

    def fail_tokens(self, *steps):
        """Queue answers of the token endpoint: ``(status, body)`` or ``(status, body, headers)``.

        ``"lost"`` does the work and answers 502, as when the answer is lost on the way.
        """
        self._failing.extend(steps)

    def grant(self, person=None, scope=None):
        """Return a sign-in as if somebody had made one before."""
        made = Grant(person or self.person, scope or self.scope)
        self.grants.append(made)
        self._give(made)
        return made

    def revoke(self, grant, why="revoked"):
        grant.ended = why

    def holder(self, token):
        """Return the sign-in of a good access token, or the reason why it is none."""
        for grant in self.grants:
            if token == grant.access:
                if grant.ended:
                    return grant.ended
                return grant if self.now() < grant.expires_at else "expired"
        return "unknown"

    # -- the service

    def answer(self, call):
        if call.path == "/oauth/authorize" and call.method == "GET":
            return self._authorize(call.query)
        if call.path == self.token_path and call.method == "POST":
            return self._token(call)
        return self.more(call)

    def more(self, call):
        raise self.refuse(404, "not_found", "Not found")

    def refuse(self, status, code, message):
        """Return the ``Refusal`` of the token endpoint."""
        raise NotImplementedError

    def failure(self, kind, status=None, retry_s=None, message=None):
        return Refusal(status or 500, {"error": kind, "error_description": message or kind})

    def json(self, body, status=200):
        return Reply(status, {"content-type": "application/json"}, dump(body))

    def _authorize(self, query):
        """Show the page, on which ``person`` agrees or not."""
        wanted = {
            "client_id": self.client_id,
            "response_type": "code",
            "redirect_uri": self.redirect,
            "scope": self.scope,
            "code_challenge_method": "S256",
            **dict(self.authorize_needs),
        }
        wrong = [name for name, value in wanted.items() if query.get(name) != value]
        wrong += [
            name
            for name, form in (("code_challenge", r"[A-Za-z0-9_-]{43}"), ("state", r"\S{8,}"))
            if not re.fullmatch(form, query.get(name, ""))
        ]
        wrong += sorted(set(query) - {*wanted, "code_challenge", "state"})
        if wrong:
            raise self.refuse(400, "invalid_request", f"Invalid {', '.join(wrong)}")
        if not self.consents:
            back = {"error": "access_denied", "error_description": "The user said no"}
            return self._back({**back, "state": query["state"]})
        code = self._code(query["code_challenge"], query["state"], self.redirect)
        return self._back({"code": code, "state": query["state"]})

    def _back(self, parameters):
        return Reply(302, {"location": f"{self.redirect}?{urlencode(parameters)}"})

    def _code(self, challenge, state, redirect, person=None):
        code = self.new_id("ac_", 40)
        self.codes[code] = _Code(
            person or self.person,
            self.scope,
            redirect,
            challenge,
            state,
            self.now() + self.code_s,
        )
        return code

    def read_token_call(self, call):
        """Return the fields of a token call; raises ``Refusal`` for another form of body."""
        raise NotImplementedError

    def exchange_fields(self):
        return {"grant_type", "code", "redirect_uri", "client_id", "code_verifier"}

    def _token(self, call):
        step = self._failing.popleft() if self._failing else None
        if step is not None and step != "lost":
            status, body, headers = (*step, {})[:3]
            raise Refusal(status, body, headers)
        fields = self.read_token_call(call)
        if fields.get("client_id") != self.client_id:
            raise self.refuse(401, "invalid_client", "Unknown client")
        kind = fields.get("grant_type")
        if kind == "authorization_code":
            grant = self._exchange(fields)
            self.exchanges += 1
        elif kind == "refresh_token":
            grant = self._renew(fields)
            self.renewals += 1
        else:
            raise self.refuse(400, "unsupported_grant_type", f"Unsupported grant_type {kind}")
        if step == "lost":
            return Reply(502, {"content-type": "text/plain"}, b"bad gateway")
        return self.json(self.token_answer(grant))

    def _only(self, fields, wanted):
        if set(fields) != wanted:
            wrong = ", ".join(sorted(set(fields) ^ wanted))
            raise self.refuse(400, "invalid_request", f"Missing or unknown: {wrong}")

    def _exchange(self, fields):
        self._only(fields, self.exchange_fields())
        code = self.codes.get(fields["code"])
        if fields["code"] in self.used_codes or code is None or self.now() >= code.expires_at:
            raise self.refuse(400, "invalid_grant", "Invalid 'code' in token request")
        self.used_codes.add(fields["code"])  # a wrong guess burns it, too
        verifier = fields["code_verifier"]
        if not re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier):
            raise self.refuse(400, "invalid_request", "Invalid code_verifier")
        if challenge_of(verifier) != code.challenge:
            raise self.refuse(400, "invalid_grant", "PKCE verification failed")
        if fields["redirect_uri"] != code.redirect:
            raise self.refuse(400, "invalid_grant", "redirect_uri does not match")
        if "state" in fields and fields["state"] != code.state:
            raise self.refuse(400, "invalid_grant", "state does not match")
        return self.grant(code.person, code.scope)

    def _renew(self, fields):
        self._only(fields, {"grant_type", "client_id", "refresh_token", "scope"})
        if not set(fields["scope"].split()) <= set(self.scope.split()):
            raise self.refuse(400, "invalid_scope", "Invalid scope")
        token = fields["refresh_token"]
        for grant in self.grants:
            if token in grant.past:
                grant.ended = "reused"
                raise self.reused()
            if token == grant.refresh:
                if grant.ended:
                    raise self.refuse(400, "invalid_grant", "Refresh token not found or invalid")
                grant.past.add(token)
                self._give(grant)
                return grant
        raise self.refuse(400, "invalid_grant", "Refresh token not found or invalid")

    def reused(self):
        return self.refuse(400, "invalid_grant", "Refresh token not found or invalid")

    def _give(self, grant):
        grant.access, grant.refresh = self.make_tokens(grant)
        grant.expires_at = self.now() + self.lifetime_s

    def make_tokens(self, grant):
        """Return a new access and a new refresh token."""
        raise NotImplementedError

    def token_answer(self, grant):
        return {
            "token_type": "Bearer",
            "access_token": grant.access,
            "refresh_token": grant.refresh,
            "expires_in": int(self.lifetime_s),
        }


def challenge_of(verifier):
    """Return the S256 challenge of a verifier (RFC 7636, 4.2)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def code_in(location):
    """Return ``(code, state)`` of an address that the browser was sent to."""
    found = dict(parse_qsl(urlsplit(location).query))
    return found["code"], found["state"]


# --- Claude --------------------------------------------------------------------------------------


class ClaudeIdentity(Identity):
    """Anthropic's OAuth server with the profile and usage calls; JSON bodies only."""

    name = "claude_identity"
    client_id = "9d1c250a-e61b-44d9-88ed-5944d1962f5e"
    scope = (
        "user:profile user:inference user:sessions:claude_code user:mcp_servers user:file_upload"
    )
    redirect = "http://localhost:54545/callback"
    token_path = "/v1/oauth/token"
    authorize_needs = (("code", "true"),)
    lifetime_s = 8 * 3600.0

    def __init__(self, now, person=None):
        super().__init__(now, person)
        self.usage = {"five_hour": (12.0, 7_200.0), "seven_day": (40.0, 300_000.0)}
        """Field of the usage call to percent and seconds until the reset."""
        self.usage_retry_s = None
        """Set: the usage call is refused as too frequent."""

    def claims(self, call):
        if call.path == "/oauth/authorize":
            return call.query.get("client_id") == self.client_id
        return call.path == self.token_path or call.path.startswith("/api/oauth/")

    def long_lived(self, person=None):
        """Return a token as ``claude setup-token`` makes it: for inference alone, a year long."""
        grant = self.grant(person, "user:inference")
        grant.expires_at = self.now() + 31_536_000.0
        grant.refresh = ""
        return grant

    def exchange_fields(self):
        return {*super().exchange_fields(), "state"}

    def refuse(self, status, code, message):
        return Refusal(status, {"error": code, "error_description": message})

    def read_token_call(self, call):
        if "application/json" not in call.headers.get("content-type", ""):
            raise self.refuse(400, "invalid_request", "Invalid request format")
        try:
            fields = call.json
        except ValueError:
            raise self.refuse(400, "invalid_request", "Invalid request format") from None
        if not isinstance(fields, dict) or not all(isinstance(v, str) for v in fields.values()):
            raise self.refuse(400, "invalid_request", "Invalid request format")
        return fields

    def make_tokens(self, grant):
        return self.new_id("sk-ant-oat01-", 64), self.new_id("sk-ant-ort01-", 64)

    def token_answer(self, grant):
        who = grant.person
        return {
            **super().token_answer(grant),
            "scope": grant.scope,
            "organization": {"uuid": who.account, "name": who.organization},
            "account": {"uuid": who.user, "email_address": who.email},
        }

    def api_refusal(self, status, kind, message):
        """Return a ``Refusal`` in the form of the API."""
        return Refusal(status, {"type": "error", "error": {"type": kind, "message": message}})

    def check(self, headers):
        """Return the sign-in that a call belongs to; raises ``Refusal``."""
        token = bearer(headers)
        if token is None or "x-api-key" in headers:
            raise self.api_refusal(401, "authentication_error", "Invalid authentication")
        if "oauth-2025-04-20" not in headers.get("anthropic-beta", ""):
            raise self.api_refusal(  # [recalled]
                401, "authentication_error", "OAuth authentication is currently not supported."
            )
        grant = self.holder(token)
        if grant == "expired":  # [recalled]
            raise self.api_refusal(
                401,
                "authentication_error",
                "OAuth token has expired. Please obtain a new token or refresh your existing "
                "token.",
            )
        if isinstance(grant, str):
            raise self.api_refusal(401, "authentication_error", "Invalid bearer token")
        return grant

    def more(self, call):
        if call.method != "GET" or call.path not in ("/api/oauth/profile", "/api/oauth/usage"):
            raise self.api_refusal(404, "not_found_error", "Not found")
        grant = self.check(call.headers)
        if "user:profile" not in grant.scope.split():  # [recalled]
            raise self.api_refusal(
                403,
                "permission_error",
                "OAuth token does not meet scope requirement user:profile",
            )
        if call.path.endswith("profile"):
            return self.json(self._profile(grant.person))
        if self.usage_retry_s is not None:
            refusal = self.api_refusal(429, "rate_limit_error", "Rate limited. Try again later.")
            refusal.headers["retry-after"] = f"{self.usage_retry_s:g}"
            raise refusal
        return self.json(self._usage())

    def _profile(self, who):
        return {
            "account": {
                "uuid": who.user,
                "email": who.email,
                "full_name": "Ada",
                "has_claude_max": who.plan == "max",
                "has_claude_pro": who.plan == "pro",
            },
            "organization": {
                "uuid": who.account,
                "name": who.organization,
                "organization_type": f"claude_{who.plan}",
                "rate_limit_tier": f"default_claude_{who.plan}_20x",
            },
        }

    def _usage(self):
        def moment(after):
            return datetime.fromtimestamp(self.now() + after, UTC).isoformat()

        windows = {
            name: {"utilization": used, "resets_at": moment(after)}
            for name, (used, after) in self.usage.items()
        }
        return {
            "five_hour": None,
            "seven_day": None,
            "seven_day_opus": None,
            "seven_day_oauth_apps": None,
            **windows,
            "extra_usage": {"is_enabled": False, "monthly_limit": None, "utilization": None},
        }


# --- ChatGPT -------------------------------------------------------------------------------------


@dataclass
class _Device:
    user_code: str
    expires_at: float
    interval_s: float
    polled_at: float | None = None
    state: str = "pending"
    person: Person | None = None


def jwt(claims):
    """Return a JSON Web Token with these claims; nobody here can check its signature."""

    def part(value):
        return base64.urlsafe_b64encode(value).decode().rstrip("=")

    return f"{part(b'{}')}.{part(json.dumps(claims).encode())}.{part(b'signature')}".replace(
        part(b"{}"), part(b'{"alg":"RS256"}'), 1
    )


class ChatGptIdentity(Identity):
    """OpenAI's OAuth server with device codes and the usage call; forms at the token endpoint."""

    name = "chatgpt_identity"
    client_id = "app_EMoamEEZ73f0CkXaXp7hrann"
    scope = "openid profile email offline_access"
    redirect = "http://localhost:1455/auth/callback"
    token_path = "/oauth/token"
    authorize_needs = (
        ("prompt", "login"),
        ("id_token_add_organizations", "true"),
        ("codex_cli_simplified_flow", "true"),
    )
    lifetime_s = 10 * 86_400.0
    device_s = 900.0

    def __init__(self, now, person=None):
        super().__init__(now, person or Person(plan="plus"))
        self.devices = {}
        self.device_codes = True
        """Whether device codes are offered."""
        self.id_token_on_renewal = True
        self.windows = {"primary": (25.0, 18_000, 3_600.0), "secondary": (60.0, 604_800, 90_000.0)}
        """Percent used, length in seconds, seconds until the reset."""

    def claims(self, call):
        if call.path == "/oauth/authorize":
            return call.query.get("client_id") == self.client_id
        return call.path in (self.token_path, "/oauth/revoke") or call.path.startswith(
            ("/api/accounts/deviceauth/", "/backend-api/wham/")
        )

    # -- what the person does

    def approve(self, user_code, person=None):
        device = self._by_code(user_code)
        device.state, device.person = "approved", person or self.person

    def deny(self, user_code):
        self._by_code(user_code).state = "denied"

    def _by_code(self, user_code):
        return next(d for d in self.devices.values() if d.user_code == user_code)

    # -- the service

    def refuse(self, status, code, message):
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        return Refusal(status, {"error": error})

    def reused(self):  # [recalled]
        return self.refuse(
            401,
            "refresh_token_reused",
            "Your refresh token has already been used to generate a new access token. Please try "
            "signing in again.",
        )

    def read_token_call(self, call):
        if call.headers.get("content-type") != "application/x-www-form-urlencoded":
            raise self.refuse(400, "invalid_request", "Expected a form")
        pairs = parse_qsl(call.body.decode(), keep_blank_values=True, strict_parsing=True)
        if len(pairs) != len(dict(pairs)):
            raise self.refuse(400, "invalid_request", "A field is repeated")
        return dict(pairs)

    def _claims(self, grant):
        who = grant.person
        return {
            "sub": f"auth0|{who.user}",
            "exp": int(self.now() + self.lifetime_s),
            "iat": int(self.now()),
            "https://api.openai.com/auth": {
                "chatgpt_account_id": who.account,
                "chatgpt_plan_type": who.plan,
                "chatgpt_user_id": who.user,
                "organizations": [
                    {"id": "org-1", "is_default": True, "role": "owner", "title": who.organization}
                ],
            },
        }

    def make_tokens(self, grant):
        claims = {**self._claims(grant), "jti": self.new_id("", 16)}
        return jwt(claims), self.new_id("rt_", 64)

    def token_answer(self, grant):
        answer = super().token_answer(grant)
        if self.id_token_on_renewal or not grant.past:
            answer["id_token"] = jwt({**self._claims(grant), "email": grant.person.email})
        return answer

    def check(self, headers):
        """Return the sign-in that a call belongs to; raises ``Refusal``."""
        token = bearer(headers)
        grant = self.holder(token) if token else "missing"
        words = {  # [recalled]
            "expired": ("token_expired", "Provided authentication token is expired."),
            "missing": ("invalid_api_key", "You didn't provide an API key."),
        }
        if isinstance(grant, str):
            invalidated = (
                "token_invalidated",
                "Your authentication token has been invalidated. Please try signing in again.",
            )
            raise self.refuse(401, *words.get(grant, invalidated))
        if headers.get("chatgpt-account-id") != grant.person.account:  # [guess]
            raise self.refuse(403, "account_mismatch", "The account does not belong to the token.")
        return grant

    def more(self, call):
        if call.path == "/backend-api/wham/usage" and call.method == "GET":
            return self.json(self._usage(self.check(call.headers).person))
        own = ("/api/accounts/deviceauth/", "/oauth/revoke")
        if call.method != "POST" or not call.path.startswith(own):
            raise self.refuse(404, "not_found", "Not found")
        if "application/json" not in call.headers.get("content-type", ""):
            raise self.refuse(400, "invalid_request", "Expected JSON")
        if call.path == "/oauth/revoke":
            return self._revoke(call.json)
        if call.path.endswith("/usercode"):
            return self._begin(call.json)
        if call.path.endswith("/token"):
            host = call.headers["host"]
            return self._poll(call.json, f"http://{host}/deviceauth/callback")
        raise self.refuse(404, "not_found", "Not found")

    def _revoke(self, body):
        """End a sign-in, as openai/codex ``revoke.rs`` asks for it (read 2026-11)."""
        kind = body.get("token_type_hint")
        needs = {"token", "token_type_hint", *(("client_id",) if kind == "refresh_token" else ())}
        if kind not in ("access_token", "refresh_token") or set(body) != needs:
            raise self.refuse(400, "invalid_request", "Missing or unknown fields")
        if body.get("client_id", self.client_id) != self.client_id:
            raise self.refuse(401, "invalid_client", "Unknown client")
        for grant in self.grants:
            if body["token"] == (grant.refresh if kind == "refresh_token" else grant.access):
                self.revoke(grant)
        return self.json({})  # also for a token that is not known (RFC 7009, 2.2)

    def _begin(self, body):
        if not self.device_codes:
            raise self.refuse(404, "not_found", "Not found")
        if body != {"client_id": self.client_id}:
            raise self.refuse(400, "invalid_request", "Unknown client")
        name, user_code = self.new_id("deviceauth_", 32), self.new_id("", 8).upper()
        self.devices[name] = _Device(user_code, self.now() + self.device_s, 5.0)
        # the interval comes as text or as a number: the text is the less expected one
        return self.json({"device_auth_id": name, "user_code": user_code, "interval": "5"})

    def _poll(self, body, redirect):
        device = self.devices.get(body.get("device_auth_id"))
        known = {"device_auth_id", "user_code"}
        if device is None or set(body) != known or body["user_code"] != device.user_code:
            raise self.refuse(400, "invalid_request", "Unknown device")
        now, before = self.now(), device.polled_at
        device.polled_at = now
        if now >= device.expires_at:
            raise self.refuse(400, "deviceauth_expired_token", "The code has expired")
        if before is not None and now - before < device.interval_s:
            device.interval_s += 5.0
            raise self.refuse(400, "slow_down", "Too many polls")
        if device.state == "denied":
            raise self.refuse(400, "access_denied", "The user said no")
        if device.state == "pending":
            raise self.refuse(403, "deviceauth_authorization_pending", "Not yet")
        verifier = hashlib.sha256(device.user_code.encode()).hexdigest()
        challenge = challenge_of(verifier)
        code = self._code(challenge, "", redirect, device.person)
        device.expires_at = 0.0  # once
        return self.json(
            {
                "authorization_code": code,
                "code_verifier": verifier,
                "code_challenge": challenge,
            }
        )

    def _usage(self, who):
        windows = {
            f"{place}_window": {
                "used_percent": used,
                "limit_window_seconds": length,
                "reset_after_seconds": int(after),
                "reset_at": int(self.now() + after),
            }
            for place, (used, length, after) in self.windows.items()
        }
        full = any(used >= 100 for used, _, _ in self.windows.values())
        return {
            "plan_type": who.plan,
            "rate_limit": {"allowed": not full, "limit_reached": full, **windows},
            "code_review_rate_limit": None,
            "additional_rate_limits": [],
            "credits": {"has_credits": False, "unlimited": False, "balance": "0"},
        }
