"""A vendor's own client names its user to that vendor, and to nobody else."""

from dataclasses import replace

import msgspec
import pytest

from app.canonical.profile import ModelProfile, Target
from app.dialects import DIALECTS
from app.dialects.base import DELETE, dump, patch_object, read_head
from app.dialects.identity import identity_edits, pseudonym
from app.dialects.translate import translate
from tests.dialects.corpus import ISSUERS, json_of, peek_of, reply_for

BILLING = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.328"}
PROMPT = {"type": "text", "text": "You are helpful.", "cache_control": {"type": "ephemeral"}}
PASSTHROUGH = "internal_chat_message_metadata_passthrough"


def edited(dialect, body):
    head = read_head(dump(body))
    return msgspec.json.decode(patch_object(head, identity_edits(dialect, head)))


def test_a_pseudonym_is_stable_and_tells_nothing():
    assert pseudonym("alice@example.com") == pseudonym("alice@example.com")
    assert pseudonym("alice@example.com") != pseudonym("bob@example.com")
    assert pseudonym("\ud800") != pseudonym("")
    assert msgspec.json.decode(dump(pseudonym("ü"))).startswith("u_")
    assert len(pseudonym("x" * 10_000)) == 34


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_body_without_identity_needs_no_edits(dialect):
    body = {"model": "m", "messages": [], "input": [], "system": "s", "metadata": {"team": "a"}}
    assert identity_edits(dialect, read_head(dump(body))) == {}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("key", ["user", "safety_identifier"])
def test_the_callers_end_user_is_replaced_by_a_pseudonym(dialect, key):
    assert edited(dialect, {"a": 1, key: "alice", "b": 2}) == {
        "a": 1,
        key: pseudonym("alice"),
        "b": 2,
    }


@pytest.mark.parametrize("value", [None, 3, ["alice"], {"id": "alice"}])
def test_a_user_that_is_no_text_is_left_for_the_service_to_refuse(value):
    assert edited("openai_chat", {"user": value}) == {"user": value}


def test_claude_codes_user_is_replaced_and_the_rest_of_the_metadata_kept():
    body = {"metadata": {"team": "a", "user_id": '{"device_id":"d"}'}, "max_tokens": 1}
    assert edited("anthropic", body) == {
        "metadata": {"team": "a", "user_id": pseudonym('{"device_id":"d"}')},
        "max_tokens": 1,
    }


@pytest.mark.parametrize("metadata", [None, "x", [], {}, {"user_id": 3}])
def test_odd_metadata_is_left_as_it_is(metadata):
    assert edited("anthropic", {"metadata": metadata}) == {"metadata": metadata}


def test_claude_codes_billing_block_is_taken_out_of_the_system_text():
    assert edited("anthropic", {"system": [BILLING, PROMPT]}) == {"system": [PROMPT]}
    assert edited("anthropic", {"system": [BILLING], "a": 1}) == {"a": 1}
    head = read_head(dump({"system": [BILLING]}))
    assert identity_edits("anthropic", head) == {"system": DELETE}


@pytest.mark.parametrize(
    "system",
    [
        "What does x-anthropic-billing-header mean?",
        [{"type": "text", "text": "Explain x-anthropic-billing-header."}],
        [{"type": "text"}, "x-anthropic-billing-header", 3],
    ],
)
def test_words_about_the_billing_block_are_kept(system):
    assert edited("anthropic", {"system": system}) == {"system": system}


def test_codex_metadata_is_taken_out_of_the_body_and_of_each_item():
    item = {"type": "message", "role": "user", "content": "Hi"}
    body = {
        "client_metadata": {"x-codex-installation-id": "i"},
        "input": [{**item, PASSTHROUGH: {"turn": "t"}}, item, f"odd {PASSTHROUGH}"],
        "store": False,
    }
    assert edited("openai_responses", body) == {
        "input": [item, item, f"odd {PASSTHROUGH}"],
        "store": False,
    }


def test_a_prompt_about_codex_metadata_is_kept():
    assert edited("openai_responses", {"input": PASSTHROUGH}) == {"input": PASSTHROUGH}


def test_one_vendors_fields_mean_nothing_in_another_dialect():
    body = {"metadata": {"user_id": "u"}, "client_metadata": {"a": "b"}, "system": [BILLING]}
    assert edited("openai_chat", body) == body
    assert edited("gemini", body) == body


# Through the canon, where no edit of bytes helps


CLIENTS = [
    ("anthropic", "claude_code"),
    ("openai_responses", "codex"),
]
SECRET = "device-4711"


def with_identity(dialect, name):
    """The case of a vendor's client, and a value in each of its fields that must not travel."""
    body = json_of(dialect, name, "request.json")
    if dialect == "anthropic":
        body["metadata"] = {"user_id": SECRET}
        body["system"] = [{**BILLING, "text": f"{BILLING['text']}; {SECRET}"}, PROMPT]
    else:
        body["client_metadata"] = {"x-codex-installation-id": SECRET}
        for item in body["input"]:
            item[PASSTHROUGH] = {"turn": SECRET}
    return body


def sent(client, body, upstream, target):
    raw = dump(body)
    made = translate(
        DIALECTS[client],
        DIALECTS[upstream],
        raw,
        read_head(raw),
        "m",
        target,
        request=DIALECTS[client].decode_request(body, peek_of(body)),
        edits={},
        verbatim_ok=False,
    )
    return made.body


@pytest.mark.parametrize(("client", "name"), CLIENTS)
@pytest.mark.parametrize("upstream", DIALECTS)
def test_identity_does_not_cross_to_another_vendor(client, name, upstream):
    body = with_identity(client, name)
    target = Target(ModelProfile("m"), "someone", official=False)
    if upstream != client:
        owner = replace(target, issuer=ISSUERS[upstream], official=True)
        assert SECRET.encode() not in sent(client, body, upstream, owner)
    assert SECRET.encode() not in sent(client, body, upstream, target)


@pytest.mark.parametrize(("client", "name"), CLIENTS)
def test_identity_reaches_its_own_vendor(client, name):
    target = Target(ModelProfile("m"), ISSUERS[client])
    assert SECRET.encode() in sent(client, with_identity(client, name), client, target)


@pytest.mark.parametrize("client", ["openai_chat", "openai_responses"])
@pytest.mark.parametrize("keys", [("user",), ("safety_identifier",), ("user", "safety_identifier")])
def test_openais_end_user_stays_with_openai(client, keys):
    body = {**json_of(client, "text", "request.json"), **dict.fromkeys(keys, SECRET)}
    for upstream in DIALECTS:
        owner = Target(ModelProfile("m"), ISSUERS[upstream])
        other = Target(ModelProfile("m"), "someone", official=False)
        crosses = SECRET.encode() in sent(client, body, upstream, owner)
        assert crosses == (ISSUERS[upstream] == "openai")
        assert SECRET.encode() not in sent(client, body, upstream, other)


@pytest.mark.parametrize("client", ["openai_chat", "openai_responses"])
@pytest.mark.parametrize("keys", [("user",), ("safety_identifier",), ("user", "safety_identifier")])
@pytest.mark.parametrize("issuer", ["openai", "someone"])
def test_the_end_user_goes_back_under_the_names_that_the_client_used(client, keys, issuer):
    body = {**json_of(client, "text", "request.json"), **dict.fromkeys(keys, "me")}
    target = Target(ModelProfile("m"), issuer, official=issuer == "openai")
    got = msgspec.json.decode(sent(client, body, client, target))
    named = {key: got[key] for key in ("user", "safety_identifier") if key in got}
    assert named == dict.fromkeys(keys, "me" if issuer == "openai" else pseudonym("me"))


@pytest.mark.parametrize("upstream", ["openai_chat", "anthropic", "gemini"])
def test_an_end_user_is_lost_once(upstream):
    body = {**json_of("openai_responses", "text", "request.json"), "user": "me"}
    request = DIALECTS["openai_responses"].decode_request(body, peek_of(body))
    target = Target(ModelProfile("m"), "someone", official=False)
    losses = DIALECTS[upstream].encode_request(request, target).losses
    assert [loss.path for loss in losses if "user" in loss.path] == ["user"]


def test_an_answer_tells_the_end_user_under_the_clients_name():
    responses = DIALECTS["openai_responses"]
    answer = responses.decode_response(json_of("openai_responses", "text", "response.json"), "")
    for key in ("user", "safety_identifier"):
        body = {**json_of("openai_responses", "text", "request.json"), key: "me"}
        request = responses.decode_request(body, peek_of(body))
        told = responses.encode_response(answer, reply_for(request)).body
        assert told[key] == "me"
