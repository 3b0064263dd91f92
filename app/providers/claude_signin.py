"""Signing in to Claude with a subscription: code, long-lived token, renewal.

Source: CLIProxyAPI 7.2 ``internal/auth/claude`` and the clients compared with it (2026-08);
opencode issues 18329 and 18342 for refusals at the token endpoint (2026-03).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from app.canonical.parts import Json
from app.errors import AccountError, RequestError, UpstreamError
from app.http import HttpReply, HttpRequest
from app.providers import claude_profile as profile
from app.providers.claude_profile import ClaudeEndpoints
from app.providers.credential import Credential, Identity
from app.providers.oauth import (
    Tokens,
    ask_tokens,
    authorize_url,
    bearer_request,
    is_web_page,
    json_request,
    read_object,
    speaks_of_policy,
)
from app.providers.signin import (
    NOT_ALLOWED,
    SIGN_IN_AGAIN,
    CodeSignIn,
    Granted,
    Pkce,
    SecretSignIn,
    Steps,
    ask,
)

__all__ = ["ClaudeSignIn"]

_TITLE = "Anthropic"
_TOKEN = re.compile(r"sk-ant-oat[A-Za-z0-9_-]{16,}")


class ClaudeSignIn:
    """The ways to sign in, for one table of endpoints."""

    def __init__(self, endpoints: ClaudeEndpoints) -> None:
        self._at = endpoints

    @property
    def browser(self) -> CodeSignIn:
        """Authorisation code with PKCE; the page also shows ``code#state`` for pasting."""
        return CodeSignIn(self.begin, self.finish, self._at.listen)

    @property
    def token(self) -> SecretSignIn:
        """A long-lived token, made by ``claude setup-token``."""
        return SecretSignIn("long-lived token (sk-ant-oat…, from `claude setup-token`)", self.take)

    def begin(self, pkce: Pkce, state: str) -> str:
        """Return the address that the browser opens."""
        return authorize_url(
            self._at.authorize,
            {
                "code": "true",  # the page shows the code as well, for pasting
                "client_id": profile.CLIENT_ID,
                "response_type": "code",
                "redirect_uri": self._at.redirect,
                "scope": profile.SCOPE,
                "code_challenge": pkce.challenge,
                "code_challenge_method": "S256",
                "state": state,
            },
        )

    def finish(self, code: str, state: str, pkce: Pkce) -> Steps[Granted]:
        """Exchange the code, and ask whose account it is.

        Args:
            code: may carry ``#state``, as the page shows it.
            state: of this sign-in, or what came back with the code.
            pkce: of this sign-in.

        Raises:
            RequestError: the code carries the state of another sign-in.
            AccountError: refused.
            UpstreamError: the service failed.
        """
        code, _, tail = code.partition("#")
        if tail and state and tail != state:
            raise RequestError(
                "This code belongs to another sign-in.",
                hint="Copy the code of the page that was opened last.",
                code="foreign_state",
            )
        request = json_request(
            self._at.token,
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": self._at.redirect,
                "client_id": profile.CLIENT_ID,
                "code_verifier": pkce.verifier,
                "state": tail or state,
            },
        )
        tokens, now = yield from ask_tokens(
            request, _TITLE, renewing=False, secrets=(code, pkce.verifier)
        )
        told = yield from self._profile(tokens.access)
        return _granted(tokens, told, now)

    def take(self, text: str, _base_url: str) -> Steps[Granted]:
        """Check a long-lived token by asking whose it is.

        Such a token often lacks the right to read the profile; that it was known is proof enough.

        Raises:
            RequestError: the text is no such token.
            AccountError: the service does not know it, or refuses it.
            UpstreamError: it could not be checked.
        """
        secret = "".join(text.split()).strip("\"'")
        if secret.startswith(profile.API_KEY_MARK):
            raise RequestError(
                "This is an API key, not a token of a subscription.",
                hint="Sign in with it by `dragoman login anthropic`.",
                code="wrong_secret",
            )
        if not _TOKEN.fullmatch(secret):
            raise RequestError(
                "This is no long-lived Claude token.",
                hint="It begins with sk-ant-oat and is printed by `claude setup-token`.",
                code="wrong_secret",
            )
        answered = yield from ask(self._profile_request(secret))
        told = self._read_profile(answered.reply, secret)
        # Without a profile nothing else tells two such tokens apart.
        local = f"token-{hashlib.sha256(secret.encode()).hexdigest()[:16]}"
        identity = _identity(told, {}) if told else Identity(local, "long-lived token")
        credential = Credential(
            secret, "oauth", None, "", {"account_id": identity.id}, answered.now
        )
        return Granted(credential, identity)

    def renew(self, credential: Credential) -> Steps[Credential]:
        """Return a new credential; the old refresh token is used up by it.

        Raises:
            AccountError: the sign-in is over, or refused.
            UpstreamError: the service failed; the old credential stays good until it expires.
        """
        if not credential.renewal:
            raise AccountError(
                "This Claude token cannot be renewed.",
                hint="Sign in again, or make a new one with `claude setup-token`.",
                code=SIGN_IN_AGAIN,
            )
        request = json_request(
            self._at.token,
            {
                "client_id": profile.CLIENT_ID,
                "grant_type": "refresh_token",
                "refresh_token": credential.renewal,
                "scope": profile.SCOPE,
            },
        )
        tokens, now = yield from ask_tokens(
            request, _TITLE, renewing=True, secrets=credential.secrets
        )
        return Credential(
            tokens.access,
            "oauth",
            tokens.expires_at,
            tokens.refresh or credential.renewal,
            credential.facts,
            now,
        )

    def _profile(self, access: str) -> Steps[Mapping[str, Json]]:
        """Ask whose account it is; the token is good without an answer, too.

        Raises:
            AccountError: the account is refused by policy.
        """
        try:
            answered = yield from ask(self._profile_request(access))
            return self._read_profile(answered.reply, access)
        except UpstreamError:
            return {}  # the token answer names the account as well
        except AccountError as error:
            if error.code == NOT_ALLOWED:
                raise
            return {}

    def _profile_request(self, access: str) -> HttpRequest:
        return bearer_request(
            self._at.api + profile.PROFILE_PATH,
            access,
            (("anthropic-beta", profile.OAUTH_BETA), ("Cache-Control", "no-cache")),
        )

    @staticmethod
    def _read_profile(reply: HttpReply, secret: str) -> Mapping[str, Json]:
        """Return the profile; an empty one where the token may not read it.

        Raises:
            AccountError: the token is not known, or the account is refused.
            UpstreamError: it could not be asked.
        """
        if 200 <= reply.status < 300:
            return read_object(reply.body)
        error = read_object(reply.body).get("error")
        said = error.get("message") if isinstance(error, dict) else None
        words = said.replace(secret, "***")[:300] if isinstance(said, str) else ""
        if speaks_of_policy(words) and 400 <= reply.status < 500:
            raise AccountError(
                f"Anthropic refuses this account: {words}",
                hint="This is not tried again. An API key is the way beside it.",
                code=NOT_ALLOWED,
            )
        if reply.status == 401:
            raise AccountError(
                "Anthropic does not know this token: it was revoked, has expired, or is incomplete.",
                hint="Make a new one with `claude setup-token`, or sign in in the browser.",
                code=SIGN_IN_AGAIN,
            )
        if reply.status == 403 and error is not None and not is_web_page(reply):
            return {}
        raise UpstreamError(
            f"Anthropic could not be asked whose token this is (HTTP {reply.status}).",
            hint="Try again later.",
        )


def _granted(tokens: Tokens, told: Mapping[str, Json], now: float) -> Granted:
    identity = _identity(told, tokens.body or {})
    credential = Credential(
        tokens.access,
        "oauth",
        tokens.expires_at,
        tokens.refresh,
        {"account_id": identity.id} if identity.id else {},
        now,
    )
    return Granted(credential, identity)


def _identity(told: Mapping[str, Json], answer: Mapping[str, Json]) -> Identity:
    """Return who it is; the profile wins over what the token answer says.

    One person may have several organisations, and a sign-in belongs to one of them.
    """

    def field(group: str, *names: str) -> str:
        for source in (told, answer):
            inner = source.get(group)
            found = [inner.get(name) for name in names] if isinstance(inner, dict) else []
            for value in found:
                if isinstance(value, str) and value:
                    return value
        return ""

    account, organization = field("account", "uuid"), field("organization", "uuid")
    return Identity(
        "/".join(part for part in (account, organization) if part),
        field("account", "email", "email_address"),
        _plan(told),
        field("organization", "name"),
    )


def _plan(told: Mapping[str, Json]) -> str:
    """Return ``max``, ``pro``, ``team`` …; empty when the profile does not tell."""
    organization, account = told.get("organization"), told.get("account")
    kind = organization.get("organization_type") if isinstance(organization, dict) else None
    if isinstance(kind, str) and kind.startswith("claude_"):
        return kind.removeprefix("claude_")
    for plan in ("max", "pro"):
        if isinstance(account, dict) and account.get(f"has_claude_{plan}") is True:
            return plan
    return ""
