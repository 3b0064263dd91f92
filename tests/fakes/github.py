"""A fake of GitHub as far as Copilot's sign-in goes: device flow, users, token exchange, quota.

Serve it with ``Upstream(GitHub(clock))``; web pages and REST API are on the same address. What it
verifies: client id and scope, the grant type, the pace of polling, that a device code grants one
token and lives for 15 minutes, and which application a token was given to. Sources are marked as in
``tests.fakes.openai_service``; what is marked [notes] comes from the protocol notes (2026-08).
"""

import json
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from tests.fakes.service import Refusal, Reply, Service, dump

OPENCODE = "Ov23li8tweQw6odWQebz"
VSCODE = "Iv1.b507a08c87ecfe98"
EDITOR_FIELDS = ("editor-version", "editor-plugin-version", "copilot-integration-id")
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
LIFE_S = 900
TOKEN_LIFE_S = 1_800
REFRESH_IN_S = 1_500


@dataclass
class User:
    """One account; its fields are what the fake tells of it."""

    login: str = "octo"
    id: int = 583231
    plan: str = "individual"
    seat: bool = True
    """Whether it may use Copilot."""
    proxy: str = "proxy.individual.githubcopilot.com"
    entitlement: int = 300
    remaining: int = 240
    unlimited: bool = False
    overage: bool = False


@dataclass
class _Device:
    client_id: str
    user_code: str
    expires_at: float
    interval: float
    polled_at: float
    user: User | None = None
    denied: bool = False
    used: bool = False
    pending: list = field(default_factory=list)


class GitHub(Service):
    """See the module. ``now`` is its clock in epoch seconds."""

    name = "github"

    def __init__(self, now, base="https://github.com"):
        super().__init__()
        self.now = now
        self.base = base
        self.interval = 5
        self.names_interval = True
        """Whether ``slow_down`` names the new interval."""
        self.devices = {}
        self.tokens = {}
        """GitHub token → (user, client id)."""
        self.exchanged = {}
        """Copilot token → (GitHub token, end)."""
        self.early = 0
        """Polls that came too early."""

    def claims(self, call):
        return call.path.startswith(("/login/", "/user", "/copilot_internal/"))

    # what a test does in the place of the user

    def approve(self, user_code, user=None):
        """Type the code and allow the application."""
        self._device(user_code).user = user or User()

    def deny(self, user_code):
        self._device(user_code).denied = True

    def revoke(self, token):
        """Take back a GitHub token, and what was exchanged for it."""
        del self.tokens[token]

    def grant(self, client_id, user=None):
        """Return a GitHub token as an application has it after a sign-in."""
        token = self.new_id("gho_" if client_id == OPENCODE else "ghu_", 36)
        self.tokens[token] = (user or User(), client_id)
        return token

    def _device(self, user_code):
        return next(d for d in self.devices.values() if d.user_code == user_code)

    # the service

    def answer(self, call):
        answers = {
            ("POST", "/login/device/code"): self._begin,
            ("POST", "/login/oauth/access_token"): self._poll,
            ("GET", "/user"): self._user,
            ("GET", "/copilot_internal/v2/token"): self._exchange,
            ("GET", "/copilot_internal/user"): self._quota,
        }
        if (call.method, call.path) not in answers:
            raise self.refusal(404, "Not Found")
        return answers[call.method, call.path](call)

    def refusal(self, status, message):
        url = "https://docs.github.com/rest"
        return Refusal(status, {"message": message, "documentation_url": url})

    def failure(self, kind, status=None, retry_s=None, message=None):
        return self.refusal(status or 500, message or "Server Error")

    def _form(self, call):
        kind = call.headers.get("content-type", "")
        if kind.startswith("application/json"):
            return json.loads(call.body)
        return dict(parse_qsl(call.body.decode()))

    def _say(self, call, body):
        """Answer a step of the device flow: 200 in any case, as a form unless JSON is asked for."""
        if call.headers.get("accept") == "application/json":
            return Reply(200, {"content-type": "application/json; charset=utf-8"}, dump(body))
        kind = "application/x-www-form-urlencoded; charset=utf-8"
        return Reply(200, {"content-type": kind}, urlencode(body).encode())

    def _fail(self, call, error, **more):
        url = "https://docs.github.com"
        said = {"error": error, "error_description": f"{error} [notes]", "error_uri": url}
        return self._say(call, said | more)

    def _begin(self, call):
        form = self._form(call)
        if form.get("client_id") not in (OPENCODE, VSCODE):
            raise self.refusal(404, "Not Found")  # [recalled]
        if form.get("scope") != "read:user":
            return self._fail(call, "invalid_scope")
        device_code = self.new_id("", 40)
        user_code = self.new_id("", 8).upper()
        user_code = f"{user_code[:4]}-{user_code[4:]}"
        now = self.now()
        self.devices[device_code] = _Device(
            form["client_id"], user_code, now + LIFE_S, self.interval, now
        )
        return self._say(
            call,
            {
                "device_code": device_code,
                "user_code": user_code,
                "verification_uri": f"{self.base}/login/device",
                "expires_in": LIFE_S,
                "interval": self.interval,
            },
        )

    def _poll(self, call):
        form = self._form(call)
        device = self.devices.get(form.get("device_code"))
        if form.get("grant_type") != GRANT:
            return self._fail(call, "unsupported_grant_type")
        if device is None or device.used:
            return self._fail(call, "incorrect_device_code")
        if device.client_id != form.get("client_id"):
            return self._fail(call, "incorrect_client_credentials")
        now = self.now()
        since, device.polled_at = now - device.polled_at, now
        if now >= device.expires_at:
            return self._fail(call, "expired_token")
        if since < device.interval:
            self.early += 1
            device.interval += 5
            named = {"interval": device.interval} if self.names_interval else {}
            return self._fail(call, "slow_down", **named)
        if device.denied:
            return self._fail(call, "access_denied")
        if device.user is None:
            return self._fail(call, "authorization_pending")
        device.used = True
        token = self.grant(device.client_id, device.user)
        return self._say(
            call, {"access_token": token, "token_type": "bearer", "scope": "read:user"}
        )

    def _who(self, call):
        """Return (token, user, client id) of a call with a GitHub token."""
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        if scheme.lower() not in ("bearer", "token") or token not in self.tokens:
            raise self.refusal(401, "Bad credentials")
        if not call.headers.get("user-agent"):
            raise self.refusal(403, "Request forbidden by administrative rules.")  # [docs]
        return (token, *self.tokens[token])

    def _user(self, call):
        _, user, _ = self._who(call)
        return self._json({"login": user.login, "id": user.id, "email": None, "type": "User"})

    def _json(self, body):
        return Reply(200, {"content-type": "application/json; charset=utf-8"}, dump(body))

    def _exchange(self, call):
        token, user, client_id = self._who(call)
        if client_id != VSCODE:
            raise self.refusal(404, "Not Found")  # [guess] other applications are not known here
        missing = [name for name in EDITOR_FIELDS if name not in call.headers]
        if missing:
            raise self.refusal(400, f"missing {missing[0]} header for IDE auth")  # [guess]
        if not user.seat:
            raise self.refusal(403, "You do not have access to GitHub Copilot.")
        end = self.now() + TOKEN_LIFE_S
        issued = self.new_id("", 32)
        secret = f"tid={issued};exp={int(end)};sku=plan;proxy-ep={user.proxy};8kp=1:{issued[:8]}"
        self.exchanged[secret] = (token, end)
        return self._json(
            {
                "token": secret,
                "expires_at": int(end),
                "refresh_in": REFRESH_IN_S,
                "endpoints": {"api": f"https://{user.proxy}".replace("proxy.", "api.")},
                "chat_enabled": True,
            }
        )

    def _quota(self, call):
        _, user, _ = self._who(call)
        if not user.seat:
            raise self.refusal(404, "Not Found")  # [guess]
        share = user.remaining / user.entitlement * 100
        premium = {
            "quota_id": "premium_interactions",
            "entitlement": user.entitlement,
            "remaining": user.remaining,
            "quota_remaining": float(user.remaining),
            "percent_remaining": share,
            "unlimited": user.unlimited,
            "overage_count": 0,
            "overage_permitted": user.overage,
        }
        free = {"entitlement": 0, "remaining": 0, "percent_remaining": 100.0, "unlimited": True}
        return self._json(
            {
                "copilot_plan": user.plan,
                "access_type_sku": "monthly_subscriber",
                "chat_enabled": True,
                "quota_reset_date": "2026-12-01",
                "quota_snapshots": {
                    "premium_interactions": premium,
                    "chat": {"quota_id": "chat", **free},
                    "completions": {"quota_id": "completions", **free},
                },
            }
        )
