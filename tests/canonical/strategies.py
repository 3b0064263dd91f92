"""Random canonical answers, as decoders may make them."""

from hypothesis import strategies as st

from app.canonical.parts import (
    Media,
    Native,
    Opaque,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
)
from app.canonical.response import ChatResponse
from app.canonical.usage import Usage

texts = st.text(max_size=12)
words = st.text("abc", min_size=1, max_size=5)
counts = st.integers(0, 10**9)
maybe_count = st.none() | counts
dialects = st.sampled_from(["openai_chat", "openai_responses", "anthropic", "gemini"])
natives = st.none() | st.builds(Native, dialects, st.dictionaries(words, texts, max_size=2))
signatures = st.none() | st.builds(Signature, words, texts)


def reasoning(sections, signature, native):
    several = tuple(sections) if len(sections) > 1 else ()
    return Reasoning("\n\n".join(sections), several, True, signature, native=native)


parts = st.one_of(
    st.builds(Text, texts, st.none(), signatures, natives),
    st.builds(Refusal, texts, natives),
    st.builds(ToolCall, words, words, texts, signature=signatures, native=natives),
    st.builds(reasoning, st.lists(texts, max_size=3), signatures, natives),
    st.builds(Media, st.just("image"), st.just("image/png"), words),
    st.builds(Opaque, dialects, st.dictionaries(words, texts, max_size=2)),
)
usages = st.builds(Usage, counts, counts, counts, counts, maybe_count, maybe_count)
responses = st.builds(
    ChatResponse,
    words,
    words,
    st.lists(parts, max_size=5).map(tuple),
    st.sampled_from(["end", "max_tokens", "tool_use", "refusal", "content_filter", "pause"]),
    st.none() | usages,
    st.none() | words,
    st.none() | st.floats(0, 2e9),
    natives,
)
