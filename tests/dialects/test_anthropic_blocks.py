"""Anthropic's content blocks: sources of media, seals, odd forms."""

import pytest

from app.canonical.parts import Media, Opaque, Reasoning, Signature, ToolCall
from app.dialects.carrier import seal
from app.errors import RequestError
from tests.dialects.test_anthropic_request import decode, encode, wire


def test_data_urls_become_base64_sources():
    source = {"type": "url", "url": "data:image/png;base64,iVBORw0KGgo="}
    decoded = decode(
        wire(messages=[{"role": "user", "content": [{"type": "image", "source": source}]}])
    )
    part = decoded.messages[0].parts[0]
    assert isinstance(part, Media)
    assert (part.data, part.media_type, part.url) == ("iVBORw0KGgo=", "image/png", None)


def test_sealed_signatures_are_opened():
    def thought(signature):
        block = {"type": "thinking", "thinking": "t", "signature": signature}
        body = wire(
            messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": [block]}]
        )
        return decode(body).messages[1].parts[0]

    sealed = seal(Signature("openai", "enc"), {"id": "rs_1", "summary": True})
    assert thought(sealed) == Reasoning(
        "t", summary=True, signature=Signature("openai", "enc"), id="rs_1"
    )
    assert thought(seal(Signature("none", ""))) == Reasoning("t")
    assert thought("plain") == Reasoning("t", signature=Signature("anthropic", "plain"))
    assert thought("DRAGOMANXSEALX01.broken").signature == Signature(
        "anthropic", "DRAGOMANXSEALX01.broken"
    )


def test_a_calls_own_signature_comes_back_to_the_call():
    blocks = [
        {
            "type": "thinking",
            "thinking": "",
            "signature": seal(Signature("google", "s"), {"call": "toolu_1"}),
        },
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
    ]
    body = wire(
        messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": blocks}]
    )
    assert decode(body).messages[1].parts == (
        ToolCall("toolu_1", "f", "{}", signature=Signature("google", "s")),
    )


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "url", "url": "data:text,plain"}},
        {"type": "tool_result", "tool_use_id": "a", "content": 3},
    ],
)
def test_odd_blocks_are_refused(block):
    with pytest.raises(RequestError):
        decode(wire(messages=[{"role": "user", "content": [block]}]))


def test_chunked_documents_with_images_stay_whole():
    image = {"type": "image", "source": {"type": "url", "url": "https://e.org/a.png"}}
    body = wire(
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "document", "source": {"type": "content", "content": [image]}}
                ],
            }
        ]
    )
    decoded = decode(body)
    assert isinstance(decoded.messages[0].parts[0], Opaque)
    assert encode(decoded).body["messages"] == body["messages"]


def test_content_source_as_one_string():
    source = {"type": "content", "content": "all of it"}
    body = wire(messages=[{"role": "user", "content": [{"type": "document", "source": source}]}])
    part = decode(body).messages[0].parts[0]
    assert part.text == "all of it"
    assert encode(decode(body)).body["messages"] == body["messages"]
