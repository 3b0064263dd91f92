"""Google AI Studio through a page in the user's own browser: unofficial, off until turned on.

A small app in AI Studio's Build section connects to Dragoman's relay and carries out calls to the
Gemini API with the page's own ``fetch``. AI Studio adds the session's credentials to calls of its
sandbox, so neither a key nor a cookie ever comes here. ``app.upstream.relay`` carries out calls to
addresses that begin with ``aistudio://``, whose host is the account's label.

An account is made by a relay key that names it; each Google account has one of its own.

What the route cannot take, from public proxies that use it (router-for-me/CLIProxyAPI at a7e3596b7
and iBUHub/AIStudioToAPI at 74a8ebb, read 2026-11; nothing of it is documented by Google):

- ``maxOutputTokens``: left out, so that an answer may be longer than was asked for;
- forced forms of answers (``responseMimeType``, schemas): asked for in words instead, which is a
  wish and no guarantee;
- in a count, everything but the contents: the system text is counted as a turn, tools are not;
- for models that draw or speak: tools, thinking and system text; the last becomes a turn.
"""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import quote

import msgspec

from app.canonical.failure import Failure
from app.canonical.parts import Json
from app.errors import RequestError, Retry
from app.http import HttpReply
from app.providers.base import ModelFacts, Provider
from app.providers.credential import Credential
from app.providers.gemini import GEMINI
from app.providers.rawjson import (
    Fields,
    join,
    read_array,
    read_fields,
    read_text,
    read_value,
    write,
)
from app.providers.shaping import Asked, Shaped
from app.providers.signin import Consent

__all__ = ["AISTUDIO", "SCHEME", "SITE", "SUFFIX", "parse_models", "upstream_name"]

SUFFIX = "-aistudio"
"""Ends the names of its models, so that none is taken for one of the Gemini API with a key."""
SCHEME = "aistudio://"
"""Begins the addresses of calls that ``app.upstream.relay`` carries out; an account's label
follows, then the path."""
SITE = "https://generativelanguage.googleapis.com"
"""Where the page sends them; it refuses every other address."""

_OLD_NAMES = {"gemini-2-flash": "gemini-2.5-flash"}
"""Names that the ancestors of this program offered, to the nearest model that there still is."""
_KNOWN = (
    *("gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-flash-image"),
    *("gemini-3-pro-preview", "gemini-3.1-pro-preview", "gemini-3-flash-preview"),
    *("gemini-3.1-flash-lite-preview", "gemini-3.5-flash", "gemini-3.5-flash-lite"),
    *("gemini-3.6-flash", "gemini-3.7-flash", "gemini-pro-latest", "gemini-flash-latest"),
    "gemini-flash-lite-latest",
)
"""What CLIProxyAPI a7e3596b7 offers on this route; holds until the page has told its own list."""
_DRAWS = re.compile(r"-image(-|$)")
_SPEAKS = re.compile(r"-tts(-|$)")
_WAIT_S = 60.0
"""A page that lost its session is asked again this soon: reloading or signing in mends it."""

_CONSENT = Consent(
    version="2026-11-21",
    text=(
        "AI Studio is made for people, not for other programs. This connector has a page in your "
        "own browser carry out the calls, signed in as you. Google does not document that and may "
        "stop it at any time; it may be against Google's terms, and Google may limit or close the "
        "account for it. Use only your own account, and no more than you would by hand. What is "
        "sent there may be read by people and used for training, as AI Studio's free use has it."
    ),
    instead="A Gemini API key (https://aistudio.google.com/apikey) gives the same models with no "
    "such risk.",
)


def upstream_name(model: str) -> str:
    """Return Google's name of a model."""
    bare = model.removeprefix("models/").removesuffix(SUFFIX)
    return _OLD_NAMES.get(bare, bare)


# --- models --------------------------------------------------------------------------------------


def parse_models(reply: HttpReply) -> tuple[ModelFacts, ...]:
    """Read Google's model list, with the names that clients use here.

    Raises:
        UpstreamError: the answer is no such list.
    """
    return _named(GEMINI.parse_models(reply))


def _named(rows: tuple[ModelFacts, ...]) -> tuple[ModelFacts, ...]:
    by_name = {row.id: row for row in rows}
    for old, now in _OLD_NAMES.items():
        if now in by_name:
            by_name.setdefault(old, by_name[now])
    return tuple(
        replace(row, id=f"{name}{SUFFIX}", tools=False if _is_special(name) else row.tools)
        for name, row in by_name.items()
    )


def _known(_credential: Credential | None) -> tuple[ModelFacts, ...]:
    return _named(tuple(ModelFacts(name) for name in _KNOWN))


def _is_special(model: str) -> bool:
    """Say whether a model draws or speaks rather than writes."""
    return _DRAWS.search(model) is not None or _SPEAKS.search(model) is not None


# --- calls ---------------------------------------------------------------------------------------


def _shape(asked: Asked) -> Shaped:
    model = upstream_name(asked.model)
    verb = asked.path.rpartition(":")[2]
    fields = _camel_keys(read_fields(msgspec.Raw(asked.body)))
    if asked.operation == "count_tokens":
        body = _count_body(fields)
    else:
        body = _generate_body(fields, model)
    return Shaped(bytes(body), f"/v1beta/models/{quote(model, safe='')}:{verb}")


def _camel_keys(fields: Fields | None) -> Fields:
    """Return one level with the keys as the API writes them; it takes ``snake_case``, too.

    Raises:
        RequestError: it is no object.
    """
    if fields is None:
        raise RequestError("The body is no JSON object.", code="invalid_json")
    return {_camel(key): value for key, value in fields.items()}


def _camel(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def _generate_body(fields: Fields, model: str) -> msgspec.Raw:
    for name in ("model", "sessionId"):  # the path names the model; sessions are ours alone
        fields.pop(name, None)
    contents = read_array(fields.get("contents"))
    config_raw = fields.pop("generationConfig", None)
    config = {} if config_raw is None else _camel_keys(read_fields(config_raw))
    wish = _form_wish(config)
    if wish:
        fields["systemInstruction"] = _with_words(fields.get("systemInstruction"), wish)
    if _is_special(model):
        for name in ("tools", "toolConfig"):
            fields.pop(name, None)
        config.pop("thinkingConfig", None)
        said = _system_turn(fields)
        if contents is not None:
            contents = [*said, *contents]
        modalities: list[Json] = ["AUDIO"] if _SPEAKS.search(model) else ["TEXT", "IMAGE"]
        config.setdefault("responseModalities", write(modalities))
    _upper_case(config)
    if contents is not None:
        fields["contents"] = join(_from_user(contents))
    if config:
        fields["generationConfig"] = join(config)
    return join(fields)


def _count_body(fields: Fields) -> msgspec.Raw:
    inner = fields.get("generateContentRequest")
    if inner is not None:
        fields = _camel_keys(read_fields(inner))
    said = _system_turn(fields)
    contents = read_array(fields.get("contents")) or []
    return join({"contents": join(_from_user([*said, *contents]))})


def _form_wish(config: Fields) -> str:
    """Take out what would force the form of the answer; returns it as words, empty for none."""
    config.pop("maxOutputTokens", None)
    kind = read_text(config.pop("responseMimeType", None))
    schemas = [config.pop(name, None) for name in ("responseJsonSchema", "responseSchema")]
    schema = next((schema for schema in schemas if schema is not None), None)
    if schema is not None:
        text = bytes(schema).decode("utf-8", "replace")
        return (
            "Answer with one JSON value and nothing else, without a code fence. It must be valid "
            f"under this schema: {text}"
        )
    if kind == "application/json":
        return "Answer with one JSON value and nothing else, without a code fence."
    return ""


def _with_words(system: msgspec.Raw | None, words: str) -> msgspec.Raw:
    """Return the system text with a sentence after it."""
    fields = read_fields(system) or {}
    parts = read_array(fields.get("parts")) or []
    return join({**fields, "parts": join([*parts, write({"text": words})])})


def _system_turn(fields: Fields) -> list[msgspec.Raw]:
    """Take out the system text; returns it as a turn of the user's, where there is any."""
    system = read_fields(fields.pop("systemInstruction", None))
    parts = (system or {}).get("parts")
    if not parts:
        return []
    return [join({"role": write("user"), "parts": parts})]


def _from_user(contents: list[msgspec.Raw]) -> list[msgspec.Raw]:
    """Return the turns with a user's first, which the service insists on."""
    first = read_fields(contents[0]) if contents else None
    if first is None or read_text(first.get("role")) != "model":
        return contents
    return [write({"role": "user", "parts": [{"text": ""}]}), *contents]


def _upper_case(config: Fields) -> None:
    """Write the names of levels and modalities as the service's own clients do."""
    modalities = read_value(config.get("responseModalities"))
    if isinstance(modalities, list):
        config["responseModalities"] = write(
            [m.upper() if isinstance(m, str) else m for m in modalities]
        )
    thinking = read_fields(config.get("thinkingConfig"))
    if thinking is None:
        return
    thinking = _camel_keys(thinking)
    level = read_text(thinking.get("thinkingLevel"))
    if level is not None:
        thinking["thinkingLevel"] = write(level.upper())
    config["thinkingConfig"] = join(thinking)


# --- failures ------------------------------------------------------------------------------------


def classify(failure: Failure, reply: HttpReply) -> Failure:
    """Say what a refusal through the page means.

    A refused credential is the page's session, which only the user can mend, and which a reload
    often does: the account is left alone for a minute, not until somebody acts here.
    """
    if failure.final:
        return failure
    if failure.kind in ("authentication", "permission"):
        hint = (
            "The page has lost its session, or does not run inside of AI Studio: open it there, "
            "press Launch if it is shown, and sign in to Google."
        )
        return replace(
            failure,
            kind="permission",
            scope="account",
            retry=Retry.NEXT_ACCOUNT,
            retry_after_s=_WAIT_S,
            hint=hint,
        )
    if failure.kind in ("rate_limit", "quota"):
        # The free limits are counted per model and Google account.
        return replace(failure, scope="model", retry=Retry.NEXT_ACCOUNT)
    if failure.kind == "not_found":
        return replace(failure, hint="The model is not offered in AI Studio; see its own list.")
    return failure


AISTUDIO = Provider(
    id="aistudio",
    title="AI Studio",
    base_url=SCHEME,
    dialects=("gemini",),
    issuer=GEMINI.issuer,
    keyless=True,
    family=re.compile(rf".+{SUFFIX}$"),
    vendors=frozenset({"gemini"}),
    counts=frozenset({"gemini"}),
    models_path="/v1beta/models?pageSize=1000",
    known_models=_known,
    read_models=parse_models,
    classify=classify,
    hosts=frozenset({"generativelanguage.googleapis.com"}),
    consent=_CONSENT,
    page_url="https://aistudio.google.com/apps",
    subscription=True,
    shape=_shape,
)
"""Its accounts are made by ``app.upstream.relay``, one for each relay key."""
