"""Signing in to cto.new: the session of its web page, or the sign-in of its command line.

``web``: one long-lived cookie (``__client``) proves the browser. Each exchange of it gives a token
of about a minute for the API, and may give a new cookie in place of the old one, which is worth
nothing from then on. So the new cookie is stored before anything else is done.

``cli``: the vendor's command line keeps an access and a refresh token in a file; each refresh may
replace the refresh token, so that the command line and Dragoman should not both keep it.

Nothing here is published by the vendor. All of it was read from clients that worked at the time:
zero199901/cto-new-openai-proxy (2026) for ``web``, Mattstacey321/cto-proxy (2026, the only source)
for ``cli``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from app.errors import AccountError, RequestError, UpstreamError
from app.http import Headers, HttpReply, HttpRequest
from app.providers.base import USER_AGENT
from app.providers.credential import Credential, Identity
from app.providers.moment import read_number
from app.providers.oauth import ask_tokens, bearer_request, is_web_page, json_request, read_claims
from app.providers.oauth import read_object as read_object_or_none
from app.providers.replies import object_in, read_object, text_in, trouble_with, words_in
from app.providers.signin import NOT_ALLOWED, SIGN_IN_AGAIN, Answered, Granted, Steps, ask, keep

__all__ = [
    "CLI",
    "WEB",
    "Sites",
    "parse_cli_file",
    "parse_cookie",
    "renew",
    "sign_in_cli",
    "sign_in_web",
    "site_fields",
]

WEB = "web"
CLI = "cli"
_CLERK = "cto.new's sign-in"
_COOKIE = re.compile(r"(?:^|[\s;,'\"])__client[=\s:]+['\"]?([^\s;,'\"]+)")
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_MAX_TYPED = 65_536
_HOW_TO_COPY = (
    "In the browser, signed in on cto.new, open the developer tools, and copy the cookie __client "
    "of clerk.cto.new."
)
_CLI_LEAD_S = 110.0
"""Said of a token of the command line as that much before its end: the provider's own lead is
made for tokens of a minute, and these are renewed two minutes ahead."""
_CLI_LIFE_S = 900.0


@dataclass(frozen=True, slots=True)
class Sites:
    """Where cto.new is, and what its pages tell of themselves (2026)."""

    clerk: str = "https://clerk.cto.new"
    api: str = "https://api.enginelabs.ai"
    page: str = "https://cto.new"
    clerk_api: str = "2025-11-10"
    clerk_js: str = "6.7.3"


@dataclass(frozen=True, slots=True)
class _Session:
    id: str
    user: str
    name: str


# --- what the user gives -------------------------------------------------------------------------


def parse_cookie(typed: str) -> str:
    """Return the ``__client`` cookie's value from what the user pasted.

    Taken are the bare value, ``__client=…``, and a whole ``Cookie`` line.

    Raises:
        RequestError: it is not in there; the text says what was pasted instead, where that is
            known.
    """
    text = typed[:_MAX_TYPED].strip()
    found = _COOKIE.search(text)
    value = found[1] if found else re.sub(r"\s+", "", text).strip("'\"")
    if not found and ("=" in text or ";" in text):
        raise _no_cookie(
            "It holds __session, which ends within a minute, but not __client."
            if "__session=" in text
            else "There is no __client in it."
        )
    if not _JWT.fullmatch(value):
        raise _no_cookie("The value of __client has three parts with dots between them.")
    claims = read_claims(value)
    if not claims:
        raise _no_cookie("The middle part of the value cannot be read; was it copied whole?")
    if "sid" in claims and "rotating_token" not in claims:
        raise _no_cookie("This is the cookie __session, which ends within a minute.")
    return value


def _no_cookie(why: str) -> RequestError:
    return RequestError(
        f"This is not the cookie that signs in to cto.new. {why}",
        hint=_HOW_TO_COPY,
        code="invalid_cookie",
    )


def parse_cli_file(text: str) -> Credential:
    """Return the credential in the command line's file (``~/.cto/credentials``).

    Raises:
        RequestError: this is no such file.
    """
    body = read_object_or_none(text[:_MAX_TYPED].encode())
    access, refresh = body.get("accessToken"), body.get("refreshToken")
    if not isinstance(access, str) or not isinstance(refresh, str) or not (access and refresh):
        raise RequestError(
            "This is not the credentials file of cto.new's command line.",
            hint="Paste the whole content of ~/.cto/credentials; it has accessToken and "
            "refreshToken.",
            code="invalid_credentials_file",
        )
    ends_ms = read_number(body.get("expiresAt"))
    expires_at = ends_ms / 1000.0 - _CLI_LEAD_S if ends_ms is not None and ends_ms > 0 else None
    return Credential(access, "oauth", expires_at, refresh, {"route": CLI})


# --- the page's session --------------------------------------------------------------------------


def sign_in_web(sites: Sites, typed: str) -> Steps[Granted]:
    """Sign in with the page's cookie.

    The first token is the proof that the cookie is good; nothing is asked after it, so that the
    cookie that came with it is the one that is stored.

    Raises:
        RequestError: the text is no such cookie.
        AccountError: the cookie is signed out.
        UpstreamError: cto.new failed.
    """
    cookie = parse_cookie(typed)
    asked, cookie = yield from _clerk(sites, "GET", "/v1/client", cookie)
    session = _session_in(asked.reply)
    organization, cookie = yield from _find_organization(sites, cookie)
    answered, cookie = yield from _exchange(sites, cookie, session.id, organization)
    if answered.reply.status != 200:
        raise _refused(answered.reply, "give out a token")
    facts = {
        "route": WEB,
        "session_id": session.id,
        "user_id": session.user,
        "organization_id": organization,
    }
    credential = _credential(answered, cookie, facts)
    return Granted(credential, Identity(session.user, session.name, "", organization))


def renew(sites: Sites, credential: Credential) -> Steps[Credential]:
    """Get the next token, by the way that the account was signed in.

    Raises:
        AccountError: the sign-in is over.
        UpstreamError: cto.new failed.
    """
    if credential.facts.get("route") == CLI:
        return (yield from _renew_cli(sites, credential))
    return (yield from _renew_web(sites, credential))


def _renew_web(sites: Sites, credential: Credential) -> Steps[Credential]:
    """Exchange the cookie; a session that is not known any more is looked up once."""
    session_id = credential.facts.get("session_id", "")
    organization = credential.facts.get("organization_id", "")
    looked_up = False
    while True:
        if not session_id:
            asked, cookie = yield from _clerk(sites, "GET", "/v1/client", credential.renewal)
            credential = yield from _rotated(credential, cookie)
            session_id, looked_up = _session_in(asked.reply).id, True
        answered, cookie = yield from _exchange(sites, credential.renewal, session_id, organization)
        if answered.reply.status == 200:
            facts = {**credential.facts, "session_id": session_id}
            fresh = _credential(answered, cookie, facts)
            yield from keep(fresh)
            return fresh
        # A refusal may have rotated the cookie, too.
        credential = yield from _rotated(credential, cookie)
        if answered.reply.status != 404 or looked_up:
            raise _refused(answered.reply, "give out a token")
        session_id = ""


def _rotated(credential: Credential, cookie: str) -> Steps[Credential]:
    """Store a cookie that took the place of the one before."""
    if cookie == credential.renewal:
        return credential
    credential = replace(credential, renewal=cookie)
    yield from keep(credential)
    return credential


def _session_in(reply: HttpReply) -> _Session:
    """Return the browser's session, from what Clerk says of the browser."""
    if reply.status != 200:
        raise _refused(reply, "tell the session")
    client = object_in(read_object(reply, _CLERK), "response")
    listed = client.get("sessions")
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    last = text_in(client, "last_active_session_id")
    row = next((row for row in rows if row.get("id") == last), rows[0] if rows else {})
    session_id = last or text_in(row, "id")
    if not session_id:
        raise _signed_out()
    user = object_in(row, "user")
    return _Session(session_id, text_in(user, "id"), _name_of(user))


def _name_of(user: dict[str, Any]) -> str:
    listed = user.get("email_addresses")
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    primary = user.get("primary_email_address_id")
    row = next((row for row in rows if row.get("id") == primary), rows[0] if rows else {})
    return text_in(row, "email_address") or text_in(user, "username", "first_name")


def _find_organization(sites: Sites, cookie: str) -> Steps[tuple[str, str]]:
    """Return the id of the user's first organisation, else an empty text, and the cookie."""
    answered, cookie = yield from _clerk(
        sites,
        "GET",
        "/v1/me/organization_memberships",
        cookie,
        query={"paginated": "true", "limit": "10", "offset": "0"},
    )
    if answered.reply.status != 200:
        return "", cookie  # accounts without one work, too
    body = read_object(answered.reply, _CLERK)
    listed = object_in(body, "response").get("data", body.get("response"))
    for row in listed if isinstance(listed, list) else ():
        if isinstance(row, dict) and (found := text_in(object_in(row, "organization"), "id")):
            return found, cookie
    return "", cookie


def _exchange(
    sites: Sites, cookie: str, session_id: str, organization: str
) -> Steps[tuple[Answered, str]]:
    path = f"/v1/client/sessions/{session_id}/tokens"
    body = urlencode({"organization_id": organization}).encode()
    return (yield from _clerk(sites, "POST", path, cookie, body=body))


def _clerk(
    sites: Sites,
    method: str,
    path: str,
    cookie: str,
    *,
    query: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Steps[tuple[Answered, str]]:
    """Call Clerk; returns the answer and the cookie that is good from now on."""
    versions = {"__clerk_api_version": sites.clerk_api, "_clerk_js_version": sites.clerk_js}
    headers: Headers = (
        ("Cookie", f"__client={cookie}"),
        ("Accept", "application/json"),
        *site_fields(sites),
        *((("Content-Type", "application/x-www-form-urlencoded"),) if method == "POST" else ()),
    )
    url = f"{sites.clerk}{path}?{urlencode({**(query or {}), **versions})}"
    answered = yield from ask(HttpRequest(method, url, headers, body))
    return answered, _new_cookie(answered.reply.headers) or cookie


def site_fields(sites: Sites) -> Headers:
    """Return the fields that say for which page a call is made; the services want them."""
    return (
        ("Origin", sites.page),
        ("Referer", f"{sites.page}/"),
        ("User-Agent", USER_AGENT),
    )


def _new_cookie(headers: Headers) -> str:
    """Return the ``__client`` that an answer sets; empty when it sets none, or takes it away."""
    found = ""
    for key, value in headers:
        if key.lower() == "set-cookie":
            name, _, rest = value.partition("=")
            text = rest.partition(";")[0].strip().strip('"')
            if name.strip() == "__client" and _JWT.fullmatch(text):
                found = text
    return found


def _credential(answered: Answered, cookie: str, facts: Mapping[str, str]) -> Credential:
    secret = text_in(read_object(answered.reply, _CLERK), "jwt")
    if not secret:
        raise trouble_with(_CLERK, "give out a token", answered.reply)
    claims = read_claims(secret)
    ends, begins = read_number(claims.get("exp")), read_number(claims.get("iat"))
    if ends is not None and begins is not None and ends > begins:
        # A minute is too short to trust that both clocks agree.
        ends = answered.now + (ends - begins)
    user = text_in(claims, "sub") or facts.get("user_id", "")
    return Credential(
        secret,
        "oauth",
        ends if ends is not None else answered.now + 60.0,
        cookie,
        {**facts, "user_id": user},
        answered.now,
    )


def _refused(reply: HttpReply, doing: str) -> AccountError | UpstreamError:
    if reply.status == 401:
        return _signed_out()
    if reply.status == 403 and not is_web_page(reply):
        words = words_in(reply)
        return AccountError(
            "cto.new does not allow this sign-in" + (f": {words}." if words else "."),
            code=NOT_ALLOWED,
        )
    return trouble_with(_CLERK, doing, reply)


def _signed_out() -> AccountError:
    return AccountError(
        "cto.new has signed this browser session out.",
        hint="Sign in on cto.new again, and then here. Each use changes the cookie: a browser that "
        "goes on with the same session ends this one.",
        code=SIGN_IN_AGAIN,
    )


# --- the command line's sign-in ------------------------------------------------------------------


def sign_in_cli(sites: Sites, typed: str) -> Steps[Granted]:
    """Sign in with what the vendor's command line has stored.

    Raises:
        RequestError: the text is no such file.
        AccountError: the sign-in is over.
        UpstreamError: cto.new failed.
    """
    credential = parse_cli_file(typed)
    asked = yield from ask(bearer_request(f"{sites.api}/models", credential.secret))
    if asked.reply.status == 401:
        # Renewed, it is as good as proven; nothing may come between the new token and its store.
        credential = yield from _refresh(sites, credential)
    elif asked.reply.status != 200:
        raise trouble_with("cto.new", "list its models", asked.reply)
    claims = read_claims(credential.secret)
    user = text_in(claims, "sub", "user_id")
    return Granted(credential, Identity(user, text_in(claims, "email"), ""))


def _renew_cli(sites: Sites, credential: Credential) -> Steps[Credential]:
    fresh = yield from _refresh(sites, credential)
    yield from keep(fresh)
    return fresh


def _refresh(sites: Sites, credential: Credential) -> Steps[Credential]:
    form = {"grant_type": "refresh_token", "refresh_token": credential.renewal}
    tokens, now = yield from ask_tokens(
        json_request(f"{sites.api}/oauth/token", form),
        "cto.new",
        renewing=True,
        secrets=credential.secrets,
    )
    told = tokens.body is not None and "expires_in" in tokens.body
    life_s = tokens.expires_at - now if told else _CLI_LIFE_S
    return Credential(
        tokens.access,
        "oauth",
        now + max(life_s - _CLI_LEAD_S, life_s / 2),
        tokens.refresh or credential.renewal,
        credential.facts,
        now,
    )
