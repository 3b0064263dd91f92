"""Requests for Anthropic: system text, sampling, output schemas, identity, knobs."""

from dataclasses import replace

import pytest

from app.canonical.parts import CacheMark, Media, Native, Signature, Text
from app.canonical.request import Message, OutputFormat, ReasoningConfig, Tool
from app.dialects.anthropic import ANTHROPIC
from app.dialects.base import Peek
from app.errors import TranslationError
from tests.dialects.test_anthropic_request import (
    assistant,
    decode,
    encode,
    load,
    loss_paths,
    request,
    target,
    user,
)

F = Tool("f")


def test_the_billing_block_stays_out_of_the_system_text():
    decoded = decode(load("claude_code"))
    assert not any("billing" in part.text for part in decoded.system)
    foreign = replace(decoded, native=Native("gemini", decoded.native.fields))
    encoded = encode(foreign)
    assert "billing" not in str(encoded.body)
    assert "native.billing_blocks" in loss_paths(encoded)


def test_the_user_id_of_another_vendor_is_not_sent():
    assert decode(load("unknown_fields")).user == "u-1"
    encoded = encode(request(user("x"), user="someone"))
    assert "metadata" not in encoded.body
    assert loss_paths(encoded) == ["user"]


def test_a_replaced_user_id_is_what_goes_out():
    decoded = replace(decode(load("unknown_fields")), user="u_hash")
    assert encode(decoded).body["metadata"] == {"user_id": "u_hash", "team": "blue"}
    gone = replace(decode(load("claude_code")), user=None)
    assert "metadata" not in encode(gone).body


def test_system_messages_go_to_the_front_where_the_model_refuses_them():
    body = (
        Message("system", (Text("be kind"),)),
        user("a"),
        Message("developer", (Text("be brief"),)),
        user("b"),
    )
    encoded = encode(request(*body, system=(Text("first"),)), mid_system=False)
    assert [block["text"] for block in encoded.body["system"]] == ["first", "be kind", "be brief"]
    assert loss_paths(encoded) == ["messages[2]"]
    kept = encode(request(*body), mid_system=True)
    assert kept.body["system"] == "be kind"
    assert kept.body["messages"][1] == {"role": "system", "content": "be brief"}
    assert kept.losses == ()


def test_models_without_eyes_or_tools_say_so():
    with pytest.raises(TranslationError):
        encode(request(user(Media("image", data="/9j/"))), images=False)
    with pytest.raises(TranslationError):
        encode(request(user(Media("document", text="x"))), documents=False)
    with pytest.raises(TranslationError):
        encode(request(user("x"), tools=(Tool("f"),)), tools=False)
    with pytest.raises(TranslationError, match="assistant"):
        encode(request(user("a"), assistant(Media("image", data="/9j/")), user("b")))
    with pytest.raises(TranslationError, match="text"):
        encode(request(user("x"), system=(Media("image", data="/9j/"),)))


def test_at_most_four_cache_marks_are_sent():
    mark = CacheMark("1h")
    parts = tuple(Text(str(n), cache=mark) for n in range(5))
    encoded = encode(
        request(Message("user", parts), tools=(replace(F, cache=mark),), system=(Text("s", mark),))
    )
    texts = [b["text"] for b in encoded.body["messages"][0]["content"] if "cache_control" in b]
    assert encoded.body["tools"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert texts == ["2", "3", "4"]
    assert loss_paths(encoded) == ["cache"] * 3
    odd = encode(request(user(Text("a", CacheMark("24h")), "b")))
    assert odd.body["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral"}


def test_sampling_follows_the_model():
    asked = request(user("x"), temperature=1.5, top_p=0.9, top_k=5)
    both = encode(asked)
    assert (both.body["temperature"], both.body["top_p"], both.body["top_k"]) == (1, 0.9, 5)
    assert loss_paths(both) == ["temperature"]
    one = encode(replace(asked, temperature=0.2), temperature_or_top_p=True)
    assert "top_p" not in one.body
    assert loss_paths(one) == ["top_p"]
    none = encode(replace(asked, temperature=0.2), sampling=False)
    assert loss_paths(none) == ["temperature", "top_p", "top_k"]
    assert not {"temperature", "top_p", "top_k"} & none.body.keys()


def test_sampling_under_thought():
    thinking = ReasoningConfig("adaptive", "high")
    asked = request(user("x"), reasoning=thinking, temperature=0.5, top_p=0.9, top_k=4)
    assert loss_paths(encode(asked)) == ["temperature", "top_p", "top_k"]
    fine = encode(request(user("x"), reasoning=thinking, temperature=1.0, top_p=0.97))
    assert (fine.body["temperature"], fine.body["top_p"]) == (1, 0.97)
    assert fine.losses == ()


def test_stop_sequences():
    assert encode(request(user("x"), stop=("a", "b"))).body["stop_sequences"] == ["a", "b"]
    assert loss_paths(encode(request(user("x"), stop=("a", "\n")))) == ["stop"]
    assert "stop_sequences" not in encode(request(user("x"), stop=("a",)), stop=False).body


def test_knobs_of_other_dialects_are_reported():
    encoded = encode(
        request(
            Message("user", (Text("x", signature=Signature("google", "s")),), name="bob"),
            frequency_penalty=0.1,
            presence_penalty=0.1,
            seed=1,
            logprobs=True,
            top_logprobs=2,
            choices=2,
            verbosity="low",
            cache_key="k",
            metadata={"a": "b"},
            store=True,
            service_tier="flex",
            native=Native("openai_chat", {"modalities": ["text"], "$form": 1}),
        )
    )
    assert sorted(loss_paths(encoded)) == sorted(
        [
            "messages[0].name",
            "messages[0].content[0].signature",
            "frequency_penalty",
            "presence_penalty",
            "seed",
            "logprobs",
            "top_logprobs",
            "choices",
            "verbosity",
            "cache_key",
            "metadata",
            "store",
            "service_tier",
            "native.modalities",
        ]
    )
    assert encode(request(user("x"), store=False, logprobs=False)).losses == ()
    assert (
        encode(request(user("x"), service_tier="default")).body["service_tier"] == "standard_only"
    )


def test_foreign_output_schemas_are_fitted():
    schema = {
        "$schema": "x",
        "type": "object",
        "properties": {
            "age": {"type": "integer", "minimum": 0, "description": "Years"},
            "tags": {"type": "array", "items": {"type": "string", "pattern": "a+"}, "minItems": 1},
            "who": {"oneOf": [{"type": "null"}, {"$ref": "#/$defs/p"}]},
            "when": {"type": "string", "format": "date"},
        },
        "required": ["age"],
        "$defs": {"p": {"type": "object", "properties": {"n": {"type": "string"}}}},
    }
    encoded = encode(request(user("x"), output=OutputFormat("json_schema", schema, "n", True)))
    sent = encoded.body["output_config"]["format"]["schema"]
    assert sent["properties"]["age"] == {
        "type": "integer",
        "description": 'Years\n\n{"minimum":0}',
    }
    assert sent["properties"]["tags"]["minItems"] == 1
    assert "pattern" not in sent["properties"]["tags"]["items"]
    assert sent["properties"]["who"] == {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/p"}]}
    assert sent["properties"]["when"] == {"type": "string", "format": "date"}
    assert sent["$defs"]["p"]["additionalProperties"] is False
    assert sent["additionalProperties"] is False
    assert loss_paths(encoded) == ["output.schema"]


def test_json_without_an_enforced_schema_is_asked_for_in_words():
    free = encode(request(user("x"), output=OutputFormat("json_object")))
    assert "JSON" in free.body["system"]
    assert loss_paths(free) == ["output"]
    told = encode(
        request(
            user("x"), output=OutputFormat("json_schema", {"type": "object"}), system=(Text("s"),)
        ),
        json_schema=False,
    )
    assert '{"type":"object"}' in told.body["system"][1]["text"]
    assert loss_paths(told) == ["output"]
    assert encode(request(user("x"), output=OutputFormat("text"))).losses == ()


def test_the_count_call_takes_only_what_it_knows():
    counted = ANTHROPIC.encode_count_request(decode(load("claude_code")), target())
    assert set(counted.body) == {"model", "messages", "system", "tools", "thinking"}
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    counting = ANTHROPIC.decode_request(body, Peek("m", stream=False, operation="count_tokens"))
    assert ANTHROPIC.encode_count_request(counting, target()).body == body


def test_deep_schemas_are_refused_on_the_way_out():
    deep = {}
    for _ in range(100_000):
        deep = {"properties": {"a": deep}, "type": "OBJECT"}
    with pytest.raises(TranslationError, match="deep"):
        encode(request(user("x"), tools=(Tool("f", schema=deep),)))
    while deep.get("properties"):
        deep = deep["properties"].pop("a")
