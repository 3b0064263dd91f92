"""Google's Gemini API with an API key.

Source: https://ai.google.dev/api, read 2026-11.
"""

import re

from app.providers.base import Provider
from app.providers.keyed import with_key

GEMINI = with_key(
    Provider(
        id="gemini",
        title="Gemini API",
        base_url="https://generativelanguage.googleapis.com",
        dialects=("gemini",),
        issuer="google",
        family=re.compile(r"(gemini-|gemma-|learnlm-)(?!.*-(aistudio|webai)$)"),
        auth={"gemini": "x-goog-api-key"},
        vendors=frozenset({"gemini"}),
        counts=frozenset({"gemini"}),
        models_path="/v1beta/models?pageSize=1000",
        manage_url="https://aistudio.google.com/apikey",
    )
)
