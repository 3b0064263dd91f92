"""The inference routes in the API description: by path and dialect, with the vendor's reference.

Their bodies are the vendors' own and are not repeated. What differs from the vendor stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["INFERENCE", "Vendor"]


@dataclass(frozen=True, slots=True)
class Vendor:
    """One route of a vendor's API."""

    summary: str
    dialect: str
    """Name for people."""
    reference: str
    """Address of the vendor's own description."""
    differences: tuple[str, ...]
    """What is other than there, a sentence each."""
    streams: bool = False
    """Whether an answer may be server-sent events."""


_OPENAI = "https://platform.openai.com/docs/api-reference"
_CLAUDE = "https://docs.claude.com/en/api"
_GEMINI = "https://ai.google.dev/api"
_COUNT = (
    "The count is the service's own where it has such a call, else an estimate; "
    "`x-dragoman-count` says which.",
)
_PASSED = (
    "The body is passed on as it is, to an account whose service offers this call; where no account "
    "of the model does, the answer is 404 `not_offered`.",
)
_STORED_FILES = (
    "A file that is named by its id at one service cannot be read by another: 400 "
    "`unsupported_content`, unless the call goes to the service that has it."
)
_ADDRESSES = (
    "Gemini does not fetch pictures and documents from the web: a call that goes there needs them as "
    "base64, else it is 400 `unsupported_content`."
)
_ALTERNATIVES = (
    "Several alternative answers ({field}) are asked only of a service of the same dialect; where "
    "the call has to be translated, the answer is 400."
)
_THOUGHTS = (
    "Thoughts are shown where this dialect has a place for them. Their signatures go back only to the "
    "service that made them."
)

INFERENCE: Mapping[str, Vendor] = {
    "/v1/chat/completions": Vendor(
        "Answer a conversation",
        "OpenAI Chat Completions",
        f"{_OPENAI}/chat/create",
        (
            _ADDRESSES,
            _ALTERNATIVES.format(field="`n`"),
            _STORED_FILES,
            "A setting that the answering service does not know, such as `top_k`, is left "
            "out and noted in the ledger.",
        ),
        streams=True,
    ),
    "/v1/completions": Vendor(
        "Continue a prompt, by a chat model",
        "OpenAI Completions",
        f"{_OPENAI}/completions/create",
        (
            "The prompt is one text, and becomes one message of the user.",
            "Several prompts, token arrays, `suffix`, `echo`, `best_of` and `logprobs` are answered "
            "with 400 `unsupported_parameter`.",
        ),
        streams=True,
    ),
    "/v1/responses": Vendor(
        "Answer a conversation, or one that is remembered",
        "OpenAI Responses",
        f"{_OPENAI}/responses/create",
        (
            _ADDRESSES,
            "Answers are remembered here for 24 hours, in memory, so that `previous_response_id` "
            "works with every service; an unknown id is 400 `previous_response_not_found`.",
            "A tool that runs at OpenAI is left out for a service without a counterpart; when "
            "`tool_choice` demands it, the answer is 400.",
            _THOUGHTS,
        ),
        streams=True,
    ),
    "/v1/responses/input_tokens": Vendor(
        "Count the tokens of a request",
        "OpenAI Responses",
        f"{_OPENAI}/responses/input-tokens",
        _COUNT,
    ),
    "/v1/responses/compact": Vendor(
        "Shorten a conversation", "OpenAI Responses", f"{_OPENAI}/responses/compact", _PASSED
    ),
    "/v1/embeddings": Vendor(
        "Turn text into vectors", "OpenAI Embeddings", f"{_OPENAI}/embeddings/create", _PASSED
    ),
    "/v1/images/generations": Vendor(
        "Draw pictures", "OpenAI Images", f"{_OPENAI}/images/create", _PASSED
    ),
    "/v1/messages": Vendor(
        "Answer a conversation",
        "Anthropic Messages",
        f"{_CLAUDE}/messages",
        (
            _ADDRESSES,
            "`thinking.budget_tokens` becomes the nearest effort where a service knows efforts only.",
            "Cache marks are left out where the service caches by itself.",
            "`metadata.user_id` is sent to Anthropic's own hosts only.",
            "A tool that runs at Anthropic is left out for a service without a counterpart.",
            _THOUGHTS,
        ),
        streams=True,
    ),
    "/v1/messages/count_tokens": Vendor(
        "Count the tokens of a request",
        "Anthropic Messages",
        f"{_CLAUDE}/messages-count-tokens",
        _COUNT,
    ),
    "/v1beta/models/{model}:generateContent": Vendor(
        "Answer a conversation",
        "Gemini",
        f"{_GEMINI}/generate-content",
        (
            _ALTERNATIVES.format(field="`candidateCount`"),
            "Files of Google's Files API are read by Gemini only: 400 `unsupported_content` "
            "elsewhere.",
            "A tool that runs at Google is left out for a service without a counterpart.",
            _THOUGHTS,
        ),
    ),
    "/v1beta/models/{model}:streamGenerateContent": Vendor(
        "Answer a conversation as a stream",
        "Gemini",
        f"{_GEMINI}/generate-content#method:-models.streamgeneratecontent",
        ("With `?alt=sse` the stream is server-sent events, else one JSON array, as at Google.",),
        streams=True,
    ),
    "/v1beta/models/{model}:countTokens": Vendor(
        "Count the tokens of a request", "Gemini", f"{_GEMINI}/tokens", _COUNT
    ),
}
"""By path; all are POST."""
