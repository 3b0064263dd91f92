"""Media as OpenAI's dialects write them: ``data:`` URLs, and the names of sound formats."""

from __future__ import annotations

import base64
from urllib.parse import unquote_to_bytes

from app.errors import RequestError

__all__ = ["AUDIO_FORMATS", "AUDIO_TYPES", "is_data_url", "split_data_url"]

AUDIO_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg"}
"""Media type by the format that ``input_audio`` names."""
AUDIO_FORMATS = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/vnd.wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}
"""The other way round, with the names that media types have besides."""


def is_data_url(url: str) -> bool:
    """Say whether a URL holds its data itself."""
    return url[:5].lower() == "data:"


def split_data_url(url: str, path: str) -> tuple[str | None, str]:
    """Return media type and base64 of a ``data:`` URL (RFC 2397).

    Data that the URL has as base64 is returned as it is, valid or not; other data is encoded. The
    media type is None where the URL names none.

    Raises:
        RequestError: it has no data.
    """
    head, comma, payload = url[5:].partition(",")
    if not comma:
        raise RequestError(f"{path} is a data URL without data.", param=path)
    words = [word.strip().lower() for word in head.split(";")]
    if "base64" not in words:
        payload = base64.b64encode(unquote_to_bytes(payload)).decode("ascii")
    return words[0] if "/" in words[0] else None, payload
