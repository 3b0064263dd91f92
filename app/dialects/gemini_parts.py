"""The parts of Gemini's contents to canon and back, and the readers of its JSON.

Google's parsers take every field in camelCase and in snake_case; so do the readers here, for the
fields that they know. Writers use camelCase. The readers raise ``RequestError`` with the path of
what is wrong; callers that read a service's answer turn that into their own failure.

Signatures: ``thoughtSignature`` is ``bytes`` in the protocol, so base64 in JSON, in either
alphabet (the Python SDK sends back the URL-safe one). The standard alphabet is what Google sends,
so it is restored here. Two documented stand-ins mean "no signature".

Sources: https://ai.google.dev/api/caching#Part, the types of google-genai 3.4, and
https://ai.google.dev/gemini-api/docs/thought-signatures (read November 2026).
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

import msgspec

from app.canonical.parts import (
    DialectName,
    Json,
    JsonObject,
    Media,
    MediaKind,
    Native,
    Opaque,
    Part,
    Reasoning,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)
from app.dialects.base import dump
from app.dialects.carrier import facts_of, open_seal, seal
from app.dialects.values import need_flag, need_list, need_text, wrong
from app.errors import RequestError, TranslationError

__all__ = [
    "DIALECT",
    "ISSUER",
    "PLACEHOLDER",
    "Sign",
    "arguments_object",
    "call_body",
    "decode_part",
    "fields",
    "integer",
    "media_body",
    "native_of",
    "number",
    "own_fields",
    "restored_alphabet",
    "seal_reasoning",
    "seal_signature",
    "unseal",
]

DIALECT: DialectName = "gemini"
ISSUER = "google"

PLACEHOLDER = base64.b64encode(b"skip_thought_signature_validator").decode()
"""What Google documents for a function call whose signature is not available."""
_STAND_INS = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")
_NO_SIGNATURE = frozenset(
    form
    for word in _STAND_INS
    for form in (
        word,
        base64.b64encode(word.encode()).decode(),
        base64.b64encode(word.encode()).decode().rstrip("="),
    )
)

_KNOWN = re.findall(
    r"\w+",
    """
    systemInstruction generationConfig toolConfig safetySettings cachedContent serviceTier
    generateContentRequest continuationToken
    maxOutputTokens topP topK stopSequences presencePenalty frequencyPenalty responseMimeType
    responseSchema responseJsonSchema candidateCount responseLogprobs responseModalities
    speechConfig imageConfig mediaResolution thinkingConfig audioTimestamp
    enableEnhancedCivicAnswers responseFormat
    thinkingBudget thinkingLevel includeThoughts
    inlineData fileData functionCall functionResponse executableCode codeExecutionResult toolCall
    toolResponse thoughtSignature videoMetadata partMetadata mediaProcessing audioTranscription
    mimeType fileUri displayName willContinue partialArgs jsonPath stringValue numberValue
    boolValue nullValue
    functionDeclarations parametersJsonSchema responseJsonSchema googleSearch
    googleSearchRetrieval codeExecution urlContext googleMaps fileSearch computerUse
    enterpriseWebSearch mcpServers
    functionCallingConfig allowedFunctionNames retrievalConfig streamFunctionCallArguments
    includeServerSideToolInvocations
    """,
)
_CAMEL = {re.sub(r"[A-Z]", lambda m: "_" + m[0].lower(), name): name for name in _KNOWN}

Sign: TypeAlias = Callable[[str], tuple[Signature | None, Mapping[str, Json] | None]]
"""Reads a ``thoughtSignature``: the signature, and what an envelope of ours carried beside it
(None when there was no envelope)."""

_KINDS = (
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
)
"""The members of the protocol's ``oneof``: a part has one of them."""


def fields(value: Json, path: str) -> JsonObject:
    """Return an object with its known keys in camelCase and without nulls.

    Raises:
        RequestError: no object, or a key is there in both spellings.
    """
    if not isinstance(value, dict):
        raise wrong(path, "an object", value)
    plain: JsonObject = {}
    for key, item in value.items():
        if item is None:
            continue
        name = _CAMEL.get(key, key)
        if name in plain:
            raise RequestError(f"{path} has {name} twice, in two spellings.", param=path)
        plain[name] = item
    return plain


def number(value: Json, path: str) -> float:
    """Return a number; digits in a string are one, too, as in Google's parsers.

    Raises:
        RequestError: it is none.
    """
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value, type=float)
        except (msgspec.MsgspecError, UnicodeEncodeError):
            raise wrong(path, "a number", value) from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(path, "a number", value)
    if not math.isfinite(value):
        raise RequestError(f"{path} must be a finite number.", param=path)
    return value


def integer(value: Json, path: str) -> int:
    """Return a whole number, also when it is written as ``40.0`` or in a string.

    Raises:
        RequestError: it is none.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    amount = number(value, path)
    if amount != int(amount):
        raise RequestError(f"{path} must be a whole number.", param=path)
    return int(amount)


def native_of(values: Mapping[str, Json]) -> Native | None:
    """Return fields to be written back only by this dialect, or None when there are none."""
    return Native(DIALECT, values) if values else None


def own_fields(native: Native | None) -> Mapping[str, Json]:
    """Return the fields that this dialect kept, or nothing when another one kept them."""
    return native.fields if native is not None and native.dialect == DIALECT else {}


def restored_alphabet(data: str) -> str:
    """Return base64 in the standard alphabet, padded."""
    if "-" in data or "_" in data:
        data = data.replace("-", "+").replace("_", "/")
    return data + "=" * (-len(data) % 4)


_URL_SAFE = re.compile(r"[A-Za-z0-9_-]+={0,2}")


def unseal(value: str) -> tuple[Signature | None, Mapping[str, Json] | None]:
    """Read the ``thoughtSignature`` that a client sends back."""
    if value in _NO_SIGNATURE or not value:
        return None, None
    opened = open_seal(value + "=" * (-len(value) % 4))
    if opened is not None:
        return opened
    if _URL_SAFE.fullmatch(value):
        value = restored_alphabet(value)
    return Signature(ISSUER, value), None


def seal_signature(signature: Signature) -> str:
    """Return the ``thoughtSignature`` for a client: Google's as it is, others in our envelope."""
    if signature.issuer == ISSUER:
        return signature.value
    return seal(signature, gemini=True)


def seal_reasoning(part: Reasoning, signature: Signature, *, ahead: bool) -> str:
    """Return the ``thoughtSignature`` that carries a thought's signature to a client.

    Args:
        part: the thought, of which id and nature travel along.
        signature: its signature.
        ahead: the envelope goes onto the part that follows the thought (which has no text of
            its own), so that clients which drop thoughts from their history keep it.
    """
    if signature.issuer == ISSUER:
        return signature.value
    extra = facts_of(part)
    if ahead:
        extra["ahead"] = True
    return seal(signature, extra, gemini=True)


def _sealed_reasoning(text: str, signature: Signature, extra: Mapping[str, Json]) -> Reasoning:
    item_id = extra.get("id")
    return Reasoning(
        text,
        summary=extra.get("summary") is True,
        signature=signature,
        redacted=extra.get("redacted") is True,
        id=item_id if isinstance(item_id, str) else None,
    )


def decode_part(value: Json, path: str, sign: Sign) -> list[Part]:
    """Wire to canon: usually one part, two where a thought travelled on its successor.

    Calls and results have an empty id when the wire has none.

    Raises:
        RequestError: the part does not follow the dialect.
    """
    body = fields(value, path)
    kinds = [kind for kind in _KINDS if kind in body]
    if len(kinds) != 1 or kinds[0] not in _DECODERS:
        return [Opaque(DIALECT, value if isinstance(value, dict) else body)]
    before: list[Part] = []
    signature: Signature | None = None
    extra: Mapping[str, Json] | None = None
    if "thoughtSignature" in body:
        raw = need_text(body.pop("thoughtSignature"), f"{path}.thoughtSignature")
        signature, extra = sign(raw)
    thought = "thought" in body and need_flag(body.pop("thought"), f"{path}.thought")
    if signature is not None and extra is not None and extra.get("ahead") is True:
        before.append(_sealed_reasoning("", signature, extra))
        signature, extra = None, None
    part = _DECODERS[kinds[0]](body.pop(kinds[0]), f"{path}.{kinds[0]}", body)
    if thought and isinstance(part, Text):
        if signature is not None and extra is not None:
            return [*before, _sealed_reasoning(part.text, signature, extra)]
        # Google documents what it shows of a thought as a summary.
        part = Reasoning(part.text, summary=True, signature=signature, native=part.native)
    elif signature is not None and isinstance(part, Text | ToolCall):
        part = replace(part, signature=signature)
    elif signature is not None and signature.issuer == ISSUER and isinstance(part, Media):
        # Image models sign their images; the canon has no such slot, so it stays native.
        kept: JsonObject = {**own_fields(part.native), "thoughtSignature": signature.value}
        part = replace(part, native=Native(DIALECT, kept))
    return [*before, part]


def _decode_text(value: Json, path: str, rest: JsonObject) -> Part:
    return Text(need_text(value, path), native=native_of(rest))


def kind_of_media(media_type: str | None, uri: str = "") -> MediaKind:
    """Return what a MIME type stands for; films where only a video site's address is known."""
    family = (media_type or "").partition("/")[0].lower()
    if family == "image" or family == "audio" or family == "video":
        return family  # type: ignore[return-value]  # mypy does not narrow a str by comparison
    return "video" if not family and _YOUTUBE.match(uri) else "document"


def decode_blob(value: Json, path: str, rest: JsonObject) -> Media:
    """Read ``inlineData``."""
    blob = fields(value, path)
    for key in ("mimeType", "data"):
        if key not in blob:
            raise RequestError(f"{path}.{key} is missing.", param=f"{path}.{key}")
    media_type = need_text(blob.pop("mimeType"), f"{path}.mimeType")
    data = restored_alphabet(need_text(blob.pop("data"), f"{path}.data"))
    name = blob.pop("displayName", None)
    kept: JsonObject = {**rest, "inlineData": blob} if blob else rest
    media = Media(
        kind_of_media(media_type),
        media_type,
        data,
        name=None if name is None else need_text(name, f"{path}.displayName"),
        native=native_of(kept),
    )
    if media_type == "text/plain":
        text = _plain_text(data)
        if text is not None:
            return replace(media, data=None, text=text)
    return media


def _plain_text(data: str) -> str | None:
    try:
        raw = base64.b64decode(data, validate=True)
        text = raw.decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    return text if base64.b64encode(raw).decode() == data else None


def decode_file(value: Json, path: str, rest: JsonObject) -> Media:
    """Read ``fileData``; the ``fileData`` key in ``native`` says that the client named the file."""
    file = fields(value, path)
    mime = file.pop("mimeType", None)
    media_type = None if mime is None else need_text(mime, f"{path}.mimeType")
    if "fileUri" not in file:
        raise RequestError(f"{path}.fileUri is missing.", param=f"{path}.fileUri")
    uri = need_text(file.pop("fileUri"), f"{path}.fileUri")
    name = file.pop("displayName", None)
    return Media(
        kind_of_media(media_type, uri),
        media_type,
        url=uri,
        name=None if name is None else need_text(name, f"{path}.displayName"),
        native=Native(DIALECT, {**rest, "fileData": file}),
    )


def _decode_call(value: Json, path: str, rest: JsonObject) -> Part:
    call = fields(value, path)
    if "name" not in call:
        raise RequestError(f"{path}.name is missing.", param=f"{path}.name")
    name = need_text(call.pop("name"), f"{path}.name")
    call_id = need_text(call.pop("id", ""), f"{path}.id")
    args = call.pop("args", {})
    if not isinstance(args, dict):
        raise wrong(f"{path}.args", "an object", args)
    kept: JsonObject = {**rest, "functionCall": call} if call else rest
    return ToolCall(call_id, name, dump(args).decode(), native=native_of(kept))


def _decode_result(value: Json, path: str, rest: JsonObject) -> Part:
    result = fields(value, path)
    call_id = need_text(result.get("id", ""), f"{path}.id")
    name = need_text(result.get("name", ""), f"{path}.name")
    if not call_id and not name:
        raise RequestError(f"{path} has neither name nor id.", param=f"{path}.name")
    response = result.get("response", {})
    if not isinstance(response, dict):
        raise wrong(f"{path}.response", "an object", response)
    text, is_error = _result_text(response)
    content: list[Part] = [Text(text)] if text else []
    for number_, item in enumerate(need_list(result.get("parts", []), f"{path}.parts")):
        content.append(_decode_result_part(item, f"{path}.parts[{number_}]"))
    return ToolResult(
        call_id,
        tuple(content),
        is_error,
        name or None,
        native=Native(DIALECT, {**rest, "functionResponse": result}),
    )


def _decode_result_part(value: Json, path: str) -> Part:
    item = fields(value, path)
    if "inlineData" in item:
        return decode_blob(item.pop("inlineData"), f"{path}.inlineData", item)
    if "fileData" in item:
        return decode_file(item.pop("fileData"), f"{path}.fileData", item)
    return Opaque(DIALECT, item)


_WRAPPERS = (
    frozenset({"output"}),  # google-genai, gemini-cli
    frozenset({"result"}),
    frozenset({"content"}),
    frozenset({"name", "content"}),  # ai-sdk, opencode
)


def _result_text(response: JsonObject) -> tuple[str, bool]:
    # What a tool said, out of the wrappers that the clients put around a plain value.
    keys = response.keys()
    if not keys:
        return "", False
    value: Json = response
    is_error = keys == {"error"}
    if is_error:
        value = response["error"]
    else:
        for wrapper in _WRAPPERS:
            if keys == wrapper:
                value = next(response[key] for key in wrapper if key != "name")
    return (value if isinstance(value, str) else dump(value).decode()), is_error


_DECODERS: dict[str, Callable[[Json, str, JsonObject], Part]] = {
    "text": _decode_text,
    "inlineData": decode_blob,
    "fileData": decode_file,
    "functionCall": _decode_call,
    "functionResponse": _decode_result,
}


def arguments_object(arguments: str) -> tuple[JsonObject, bool]:
    """Return a call's arguments as an object, and whether they were one.

    Text that is no JSON object is kept whole under ``_raw``.
    """
    if not arguments.strip():
        return {}, True
    try:
        value: Json = msgspec.json.decode(arguments)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value, True
    return {"_raw": arguments}, False


def call_body(call: ToolCall, call_id: str) -> tuple[JsonObject, bool]:
    """Return the part of a call, and whether its arguments were a JSON object.

    Args:
        call: the call; its signature is the caller's business.
        call_id: id to write; empty for none.
    """
    if call.kind == "custom":
        args: JsonObject = {"input": call.arguments}
        sound = True
    else:
        args, sound = arguments_object(call.arguments)
    kept = dict(own_fields(call.native))
    inner = kept.pop("functionCall", None)
    body: JsonObject = {"id": call_id} if call_id else {}
    body["name"] = call.name
    body["args"] = args
    if isinstance(inner, dict):
        body.update(inner)
    return {"functionCall": body, **kept}, sound


_YOUTUBE = re.compile(r"https?://(?:(?:www|m)\.)?(?:youtube\.com/|youtu\.be/)")
_FILES = re.compile(r"gs://|https://generativelanguage\.googleapis\.com/.*files/")
_USUAL_TYPE: dict[MediaKind, str] = {
    "image": "image/jpeg",
    "audio": "audio/wav",
    "video": "video/mp4",
    "document": "application/pdf",
}


def media_body(media: Media, path: str, *, any_url: bool = False) -> JsonObject:
    """Return the part of an image, a sound, a film or a document.

    Args:
        media: what to write.
        path: where it stands, in the words of the canon.
        any_url: write every URL (towards a client); else only those that Gemini can fetch.

    Raises:
        TranslationError: Gemini cannot fetch the URL, or the file is stored elsewhere.
    """
    kept = dict(own_fields(media.native))
    blob_rest, file_rest = kept.pop("inlineData", None), kept.pop("fileData", None)
    inner: JsonObject = {}
    if media.file_id is not None:
        raise TranslationError(
            "A file stored at another service cannot be sent to Gemini.",
            path,
            hint="Send it as base64.",
        )
    if media.url is not None:
        named = isinstance(file_rest, dict)
        if not (any_url or named or _FILES.match(media.url) or _YOUTUBE.match(media.url)):
            raise TranslationError(
                f"Gemini does not fetch this {media.kind} from its URL.",
                path,
                hint="Send it as base64.",
            )
        if media.media_type is not None:
            inner["mimeType"] = media.media_type
        inner["fileUri"] = media.url
        if isinstance(file_rest, dict):
            inner.update(file_rest)
        key = "fileData"
    else:
        if media.text is not None:
            inner["mimeType"] = "text/plain" if media.media_type is None else media.media_type
            raw = media.text.encode("utf-8", "replace")
            inner["data"] = base64.b64encode(raw).decode()
        else:
            known = media.media_type
            inner["mimeType"] = _USUAL_TYPE[media.kind] if known is None else known
            inner["data"] = media.data or ""
        if isinstance(blob_rest, dict):
            inner.update(blob_rest)
        key = "inlineData"
    if media.name is not None and media.native is not None and media.native.dialect == DIALECT:
        inner["displayName"] = media.name
    return {key: inner, **kept}
