"""A fake of Clerk as cto.new's page uses it: sessions, short tokens, and a cookie that rotates.

Each exchange gives a new ``__client`` and refuses the old one from then on, so that a client which
loses one is signed out. Verified are cookie, versions, page of origin and session. From the
protocol notes (2026); wording of refusals as Clerk's API has it [recalled].
"""

import base64
import json
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from tests.fakes.service import Refusal, Reply, Service, dump

PAGE = "https://cto.new"
LIFE_S = 60


def jwt(claims):
    """Return a token with these claims, and a signature that nobody checks."""

    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part(claims)}.c2lnbmF0dXJl"


@dataclass
class Browser:
    """One signed-in browser."""

    user: str = "user_1"
    email: str = "someone@example.com"
    organization: str = "org_1"
    session: str = "sess_1"
    cookie: str = ""
    used: list = field(default_factory=list)
    """Cookies that were good once."""


class Clerk(Service):
    """See the module. ``now`` is its clock in epoch seconds."""

    name = "clerk"

    def __init__(self, now):
        super().__init__()
        self.now = now
        self.browsers = []
        self.issued = {}
        """Short token → (browser, end)."""
        self.rotates = {"tokens"}
        """Which calls give a new cookie: of ``client``, ``memberships``, ``tokens``."""
        self.exchanges = 0
        self.replayed = 0
        """Calls with a cookie that was good once."""

    def sign_in(self, **facts):
        """Return a browser that is signed in."""
        browser = Browser(**facts)
        self.browsers.append(browser)
        browser.cookie = self._cookie(browser)
        return browser

    def sign_out(self, browser):
        browser.used.append(browser.cookie)
        browser.cookie = ""

    def _cookie(self, browser):
        rotating = self.new_id("", 32)
        return jwt({"id": f"client_{browser.user}", "rotating_token": rotating})

    def claims(self, call):
        return call.path.startswith("/v1/")

    def failure(self, kind, status=None, retry_s=None, message=None):
        return self._refusal(status or 500, kind, message or kind)

    def _refusal(self, status, code, message):
        error = {"message": message, "long_message": message, "code": code}
        return Refusal(status, {"errors": [error], "clerk_trace_id": "t"})

    def answer(self, call):
        if not call.query.get("__clerk_api_version") or not call.query.get("_clerk_js_version"):
            raise self._refusal(400, "version_missing", "no version")
        if call.headers.get("origin") != PAGE or call.headers.get("referer") != f"{PAGE}/":
            raise self._refusal(400, "origin_invalid", "The request origin is not valid.")
        if not call.headers.get("user-agent"):
            raise self._refusal(403, "blocked", "no user agent")
        browser = self._browser(call)
        if (call.method, call.path) == ("GET", "/v1/client"):
            return self._reply("client", browser, self._client(browser))
        if (call.method, call.path) == ("GET", "/v1/me/organization_memberships"):
            if not browser:
                raise self._signed_out()
            return self._reply("memberships", browser, self._memberships(browser))
        prefix, suffix = "/v1/client/sessions/", "/tokens"
        if call.method == "POST" and call.path.startswith(prefix) and call.path.endswith(suffix):
            session = call.path.removeprefix(prefix).removesuffix(suffix)
            return self._exchange(call, browser, session)
        raise self._refusal(404, "resource_not_found", "not found")

    def _signed_out(self):
        return self._refusal(401, "authentication_invalid", "Unable to authenticate the request")

    def _browser(self, call):
        pairs = dict(
            pair.strip().split("=", 1)
            for pair in call.headers.get("cookie", "").split(";")
            if "=" in pair
        )
        cookie = pairs.get("__client")
        self.replayed += any(cookie in browser.used for browser in self.browsers)
        return next((b for b in self.browsers if b.cookie and b.cookie == cookie), None)

    def _reply(self, what, browser, body):
        headers = {"content-type": "application/json"}
        if browser is not None and what in self.rotates:
            browser.used.append(browser.cookie)
            browser.cookie = self._cookie(browser)
            headers["set-cookie"] = (
                f"__client={browser.cookie}; Path=/; Domain=clerk.cto.new; HttpOnly; Secure"
            )
        return Reply(200, headers, dump(body))

    def _client(self, browser):
        if browser is None:
            return {"response": None, "client": None}
        address = {"id": "idn_1", "email_address": browser.email}
        other = {"id": "idn_0", "email_address": "other@example.com"}
        user = {
            "id": browser.user,
            "email_addresses": [other, address],
            "primary_email_address_id": "idn_1",
        }
        sessions = [
            {"id": "sess_old", "status": "ended", "user": {"id": "user_old"}},
            {"id": browser.session, "status": "active", "user": user},
        ]
        return {
            "response": {
                "object": "client",
                "sessions": sessions,
                "last_active_session_id": browser.session,
            },
            "client": None,
        }

    def _memberships(self, browser):
        rows = [{"organization": {"id": browser.organization}}] if browser.organization else []
        return {"response": {"data": rows, "total_count": len(rows)}, "client": {}}

    def _exchange(self, call, browser, session):
        if browser is None:
            raise self._signed_out()
        if call.headers.get("content-type") != "application/x-www-form-urlencoded":
            raise self._refusal(415, "content_type", "unsupported content type")
        if session != browser.session:
            raise self._refusal(404, "resource_not_found", "Session not found")
        asked = parse_qs(call.body.decode(), keep_blank_values=True).get("organization_id", [""])
        if asked[0] not in ("", browser.organization):
            raise self._refusal(403, "organization", "not a member")
        self.exchanges += 1
        now = int(self.now())
        claims = {
            "sub": browser.user,
            "sid": browser.session,
            "iat": now,
            "exp": now + LIFE_S,
            "jti": self.exchanges,
        }
        token = jwt(claims)
        self.issued[token] = (browser, now + LIFE_S)
        return self._reply("tokens", browser, {"object": "token", "jwt": token})
