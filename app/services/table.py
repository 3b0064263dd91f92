"""The helper programs that there are: one row each."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

import msgspec

from app.errors import AppError
from app.http import Headers, HttpReply, HttpRequest
from app.log import redact
from app.paths import asset
from app.providers.base import join_url
from app.providers.signin import Consent
from app.providers.webai import WEBAI, parse_models
from app.services.definition import Definition, Entry, Packages, Place

__all__ = ["TABLE", "judge_models", "key_header", "models_request", "new_key", "webai_entry"]


def new_key() -> str:
    """Return a key that a program wants with each call, so that no web page can call it."""
    key = secrets.token_hex(32)  # nothing that a command line could take for an option
    redact(key)
    return key


def key_header(key: str) -> Headers:
    """Return the header field that carries a key; none for an empty one."""
    return (("Authorization", f"Bearer {key}"),) if key else ()


def models_request(base_url: str, key: str) -> HttpRequest:
    """Return the health call of an OpenAI-compatible server: its list of models."""
    return HttpRequest("GET", join_url(base_url, "/v1/models"), key_header(key), proxy="direct")


def judge_models(reply: HttpReply) -> str:
    """Return what is wrong with an answer to ``models_request``; empty for nothing."""
    if reply.status in (401, 403):
        return "It wants a key: `services.webai.api_key` in the settings."
    if reply.status != 200:
        return f"It answered with status {reply.status}."
    try:
        rows = parse_models(reply)
    except AppError as error:
        return error.message
    return "" if rows else "It lists no models."


def webai_entry(
    key: str, cookies: Callable[[], Mapping[str, Mapping[str, str]]], port: int | None = None
) -> Entry:
    """Return g4f's server as a row of the table.

    Args:
        key: what it will want with each call.
        cookies: by domain; read at each start.
        port: in place of the settings'.
    """

    def define(place: Place) -> Definition:
        listens = port or place.port
        return Definition(
            name="webai",
            # -I: neither the user's packages nor variables of the environment reach it.
            command=(
                *(str(place.python), "-I", str(asset("services/webai.py"))),
                *(str(listens), str(place.folder)),
            ),
            folder=place.folder,
            port=listens,
            environment={**place.environment, "G4F_CONFIG_DIR": str(place.folder / "config")},
            first_line=lambda: _first_line(key, cookies()),
            probe=lambda: models_request(f"http://127.0.0.1:{listens}", key),
            judge=judge_models,
        )

    assert WEBAI.consent is not None  # noqa: S101 - narrows the type
    return Entry("webai", WEBAI.title, Packages("services/webai.lock", "8.8.6"), _consent(), define)


def _first_line(key: str, cookies: Mapping[str, Mapping[str, str]]) -> bytes:
    for jar in cookies.values():
        for value in jar.values():
            if len(value) >= 8:  # shorter ones are settings, and words of every log
                redact(value)
    return msgspec.json.encode({"key": key, "cookies": cookies}) + b"\n"


def _consent() -> Consent:
    consent = WEBAI.consent
    assert consent is not None  # noqa: S101 - narrows the type
    return consent


TABLE = {"webai": webai_entry}
"""By name: what makes the row, given the key and the cookies of this run."""
