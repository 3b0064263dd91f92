"""Signing in to ChatGPT for Codex: in the browser, by a device code, and renewal.

Who signed in is read from the claims of the tokens. One person may have several workspaces, and
several people share one, so an account is its workspace and its user together.

Source: CLIProxyAPI 7.2 ``internal/auth/codex``, ``sdk/auth/codex_device.go``; opencode and kleis
for the device page's answers (2026-08).
"""

from __future__ import annotations

from collections.abc import Mapping

from app.canonical.parts import Json, JsonObject
from app.errors import AccountError, UpstreamError
from app.http import HttpReply
from app.providers import codex_profile as profile
from app.providers.codex_profile import CodexEndpoints
from app.providers.credential import Credential, Identity
from app.providers.moment import read_number
from app.providers.oauth import (
    Tokens,
    ask_tokens,
    authorize_url,
    form_request,
    is_web_page,
    json_request,
    read_claims,
    read_object,
    token_refusal,
)
from app.providers.signin import (
    NOT_ALLOWED,
    SIGN_IN_AGAIN,
    CodeSignIn,
    DeviceSignIn,
    Granted,
    Pkce,
    Steps,
    ask,
    show,
    wait,
)

__all__ = ["CodexSignIn"]

_TITLE = "OpenAI"
_SLOW_DOWN_S = 5.0
"""Added to the interval at each ``slow_down`` (RFC 8628, 3.5)."""


class CodexSignIn:
    """The ways to sign in, for one table of endpoints."""

    def __init__(self, endpoints: CodexEndpoints) -> None:
        self._at = endpoints
        self._token_url = f"{endpoints.issuer}/oauth/token"
        self._device_url = f"{endpoints.issuer}/api/accounts/deviceauth"

    @property
    def browser(self) -> CodeSignIn:
        """Authorisation code with PKCE; its port is fixed, so a busy one means pasting."""
        return CodeSignIn(self.begin, self.finish, self._at.listen)

    @property
    def device(self) -> DeviceSignIn:
        """A code typed on OpenAI's page, on any device."""
        return DeviceSignIn(self.run_device)

    def begin(self, pkce: Pkce, state: str) -> str:
        """Return the address that the browser opens."""
        return authorize_url(
            f"{self._at.issuer}/oauth/authorize",
            {
                "client_id": profile.CLIENT_ID,
                "response_type": "code",
                "redirect_uri": self._at.redirect,
                "scope": profile.SCOPE,
                "state": state,
                "code_challenge": pkce.challenge,
                "code_challenge_method": "S256",
                "prompt": "login",  # else the account that the browser knows is taken unasked
                "id_token_add_organizations": "true",
                "codex_cli_simplified_flow": "true",
            },
        )

    def finish(self, code: str, _state: str, pkce: Pkce) -> Steps[Granted]:
        """Exchange the code.

        Raises:
            AccountError: refused.
            UpstreamError: the service failed.
        """
        return (yield from self._exchange(code, pkce.verifier, self._at.redirect))

    def run_device(self, _host: str) -> Steps[Granted]:
        """Show a code and wait until the user has typed it, at most 15 minutes.

        Raises:
            AccountError: the user said no, the code ran out, or device codes are switched off.
            UpstreamError: the service failed.
        """
        answered = yield from ask(
            json_request(f"{self._device_url}/usercode", {"client_id": profile.CLIENT_ID})
        )
        flow, user_code, interval_s = _read_device(answered.reply)
        ends_at = answered.now + profile.DEVICE_LIFETIME_S
        now = yield from show(user_code, f"{self._at.issuer}/codex/device", ends_at)
        poll = json_request(
            f"{self._device_url}/token", {"device_auth_id": flow, "user_code": user_code}
        )
        while True:
            if now + interval_s >= ends_at:
                raise AccountError(
                    "The code was not typed in time.",
                    hint="Start the sign-in again.",
                    code=SIGN_IN_AGAIN,
                )
            now = yield from wait(interval_s + profile.DEVICE_MARGIN_S)
            try:
                answered = yield from ask(poll)
            except UpstreamError:
                continue  # the user is still typing: a network that breaks for a moment ends nothing
            now = answered.now
            if 200 <= answered.reply.status < 300:
                break
            interval_s += _read_pending(answered.reply)
        body = read_object(answered.reply.body)
        code, verifier = body.get("authorization_code"), body.get("code_verifier")
        if not isinstance(code, str) or not isinstance(verifier, str):
            raise UpstreamError(
                "OpenAI answered the device sign-in without a code.", code="upstream_protocol"
            )
        redirect = f"{self._at.issuer}/deviceauth/callback"
        return (yield from self._exchange(code, verifier, redirect))

    def renew(self, credential: Credential) -> Steps[Credential]:
        """Return a new credential; the old refresh token is used up by it.

        Raises:
            AccountError: the sign-in is over, or refused.
            UpstreamError: the service failed; the old credential stays good until it expires.
        """
        if not credential.renewal:
            raise AccountError(
                "This ChatGPT sign-in cannot be renewed.", hint="Sign in again.", code=SIGN_IN_AGAIN
            )
        request = form_request(
            self._token_url,
            {
                "client_id": profile.CLIENT_ID,
                "grant_type": "refresh_token",
                "refresh_token": credential.renewal,
                "scope": profile.RENEWAL_SCOPE,
            },
        )
        tokens, now = yield from ask_tokens(
            request, _TITLE, renewing=True, secrets=credential.secrets
        )
        # The answer may lack an id token; then what the sign-in told stays true.
        return Credential(
            tokens.access,
            "oauth",
            tokens.expires_at,
            tokens.refresh or credential.renewal,
            {**credential.facts, **_facts(tokens)},
            now,
        )

    def revoke(self, credential: Credential) -> Steps[None]:
        """End the sign-in, as ``codex logout`` does.

        Source: openai/codex ``codex-rs/login/src/auth/revoke.rs`` (read 2026-11).

        Raises:
            UpstreamError: the service did not say that it is ended.
        """
        fields: dict[str, Json] = {"token": credential.secret, "token_type_hint": "access_token"}
        if credential.renewal:
            fields = {
                "token": credential.renewal,
                "token_type_hint": "refresh_token",
                "client_id": profile.CLIENT_ID,
            }
        answered = yield from ask(json_request(f"{self._at.issuer}/oauth/revoke", fields))
        status = answered.reply.status
        if not 200 <= status < 300:
            raise UpstreamError(
                f"{_TITLE} did not end the sign-in (HTTP {status}).", code="not_revoked"
            )

    def _exchange(self, code: str, verifier: str, redirect: str) -> Steps[Granted]:
        request = form_request(
            self._token_url,
            {
                "grant_type": "authorization_code",
                "client_id": profile.CLIENT_ID,
                "code": code,
                "redirect_uri": redirect,
                "code_verifier": verifier,
            },
        )
        tokens, now = yield from ask_tokens(
            request, _TITLE, renewing=False, secrets=(code, verifier)
        )
        facts = _facts(tokens)
        credential = Credential(
            tokens.access, "oauth", tokens.expires_at, tokens.refresh, facts, now
        )
        return Granted(credential, _identity(tokens, facts))


# --- who it is -----------------------------------------------------------------------------------


def _facts(tokens: Tokens) -> dict[str, str]:
    """Return ``account_id`` (goes with each call), ``plan`` and ``user_id``, as far as told."""
    found: dict[str, str] = {}
    for token in (tokens.id_token, tokens.access):
        claims = read_claims(token)
        inner = claims.get(profile.AUTH_CLAIM)
        auth: Mapping[str, Json] = inner if isinstance(inner, dict) else {}
        told = {
            "account_id": claims.get("chatgpt_account_id")
            or auth.get("chatgpt_account_id")
            or _first_organization(claims),
            "plan": auth.get("chatgpt_plan_type"),
            "user_id": auth.get("chatgpt_user_id") or auth.get("user_id"),
        }
        for name, value in told.items():
            if isinstance(value, str) and value:
                found.setdefault(name, value)
    return found


def _first_organization(claims: JsonObject) -> Json:
    listed = claims.get("organizations")
    first = listed[0] if isinstance(listed, list) and listed else None
    return first.get("id") if isinstance(first, dict) else None


def _identity(tokens: Tokens, facts: Mapping[str, str]) -> Identity:
    claims = {**read_claims(tokens.access), **read_claims(tokens.id_token)}
    inner = claims.get(profile.AUTH_CLAIM)
    email, subject = claims.get("email"), claims.get("sub")
    name = email if isinstance(email, str) else ""
    user = facts.get("user_id") or (subject if isinstance(subject, str) else "") or name
    return Identity(
        "/".join(part for part in (facts.get("account_id", ""), user) if part),
        name,
        facts.get("plan", ""),
        _workspace(inner.get("organizations") if isinstance(inner, dict) else None),
    )


def _workspace(organizations: Json) -> str:
    """Return the title of the workspace that is signed in to; the default one is marked."""
    for organization in organizations if isinstance(organizations, list) else ():
        if isinstance(organization, dict) and organization.get("is_default") is True:
            title = organization.get("title")
            return title if isinstance(title, str) else ""
    return ""


# --- device codes --------------------------------------------------------------------------------


def _read_device(reply: HttpReply) -> tuple[str, str, float]:
    """Return the flow's id, the code for the user, and the seconds between polls."""
    if reply.status == 404 and not is_web_page(reply):
        raise AccountError(
            "OpenAI does not offer device codes to this program now.",
            hint="Sign in in the browser, or switch device codes on in ChatGPT's security settings.",
            code=NOT_ALLOWED,
        )
    if not 200 <= reply.status < 300:
        raise token_refusal(reply, _TITLE, renewing=False)
    body = read_object(reply.body)
    flow, code = body.get("device_auth_id"), body.get("user_code") or body.get("usercode")
    if not isinstance(flow, str) or not isinstance(code, str) or not flow or not code:
        raise UpstreamError("OpenAI answered no device code.", code="upstream_protocol")
    interval_s = read_number(body.get("interval"))
    if interval_s is None or interval_s <= 0:
        interval_s = profile.DEVICE_INTERVAL_S
    return flow, code, interval_s


def _read_pending(reply: HttpReply) -> float:
    """Return the seconds to add to the interval while the user has not typed the code.

    Raises:
        AccountError: the user said no, or the code ran out.
        UpstreamError: a failure that another poll would not mend.
    """
    body = read_object(reply.body)
    error = body.get("error")
    code = error.get("code") if isinstance(error, dict) else error
    word = code.lower() if isinstance(code, str) else ""
    if word.endswith("slow_down") or reply.status == 429:
        return _SLOW_DOWN_S
    if word.endswith(("access_denied", "authorization_declined", "authorization_denied")):
        raise AccountError(
            "The sign-in was declined on OpenAI's page.",
            hint="Start it again and agree there.",
            code=SIGN_IN_AGAIN,
        )
    if word.endswith(("expired_token", "expired", "code_expired")):
        raise AccountError(
            "The code was not typed in time.", hint="Start the sign-in again.", code=SIGN_IN_AGAIN
        )
    if reply.status in (403, 404) or word.endswith("authorization_pending"):
        return 0.0
    if reply.status >= 500:
        return 0.0  # the code is still good
    raise token_refusal(reply, _TITLE, renewing=False)
