import msgspec
import pytest

from app.canonical.failure import Failure, cut_stream
from app.canonical.parts import Native
from app.dialects.openai_chat import OPENAI_CHAT
from app.errors import Retry


def read(status, body, headers=()):
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return OPENAI_CHAT.decode_failure(status, tuple(headers), raw)


@pytest.mark.parametrize(
    ("status", "body", "kind", "scope", "retry"),
    [
        (
            400,
            {
                "error": {
                    "message": "bad",
                    "type": "invalid_request_error",
                    "param": "n",
                    "code": None,
                }
            },
            "invalid_request",
            "request",
            Retry.NEVER,
        ),
        (
            401,
            {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}},
            "authentication",
            "account",
            Retry.NEXT_ACCOUNT,
        ),
        (
            402,
            {"error": {"message": "Insufficient credits", "code": 402}},
            "quota",
            "account",
            Retry.NEXT_ACCOUNT,
        ),
        (
            404,
            {"error": {"message": "The model `x` does not exist", "code": "model_not_found"}},
            "not_found",
            "model",
            Retry.NEXT_ACCOUNT,
        ),
        (
            404,
            {"error": 'model "x" not found, try pulling it first'},
            "not_found",
            "model",
            Retry.NEXT_ACCOUNT,
        ),
        (
            400,
            {"error": {"message": "The requested model is not supported."}},
            "not_found",
            "model",
            Retry.NEXT_ACCOUNT,
        ),
        (
            429,
            {
                "error": {
                    "message": "You exceeded your current quota",
                    "type": "insufficient_quota",
                    "code": "insufficient_quota",
                }
            },
            "quota",
            "account",
            Retry.NEXT_ACCOUNT,
        ),
        (
            429,
            {"error": {"message": "Rate limit reached. Please try again in 1m2s."}},
            "rate_limit",
            "model",
            Retry.NEXT_ACCOUNT,
        ),
        (
            400,
            {
                "error": {
                    "message": "This model's maximum context length is 4097 tokens",
                    "code": "context_length_exceeded",
                }
            },
            "context_full",
            "request",
            Retry.NEVER,
        ),
        (
            400,
            {
                "object": "error",
                "message": "This model's maximum context length is 8192 tokens.",
                "type": "BadRequestError",
                "code": 400,
            },
            "context_full",
            "request",
            Retry.NEVER,
        ),
        (
            400,
            {
                "error": {
                    "code": 400,
                    "message": "the request exceeds the available context size",
                    "type": "exceed_context_size_error",
                }
            },
            "context_full",
            "request",
            Retry.NEVER,
        ),
        (
            422,
            {
                "detail": [
                    {"loc": ["body", "messages", 0], "msg": "field required", "type": "missing"}
                ]
            },
            "invalid_request",
            "request",
            Retry.NEVER,
        ),
        (
            400,
            [
                {
                    "error": {
                        "code": 400,
                        "message": "API key not valid. Please pass a valid API key.",
                        "status": "INVALID_ARGUMENT",
                    }
                }
            ],
            "authentication",
            "account",
            Retry.NEXT_ACCOUNT,
        ),
        (
            503,
            {"error": {"message": "busy", "type": "overloaded_error"}},
            "overloaded",
            "service",
            Retry.NEXT_ACCOUNT,
        ),
        (500, b"", "server", "service", Retry.NEXT_ACCOUNT),
        (502, b"<html><body>Bad gateway</body></html>", "server", "service", Retry.NEXT_ACCOUNT),
    ],
)
def test_errors_of_each_kind_are_understood(status, body, kind, scope, retry):
    failure = read(status, body)
    assert (failure.status, failure.kind, failure.scope, failure.retry) == (
        status,
        kind,
        scope,
        retry,
    )
    assert failure.message
    assert "<" not in failure.message


def test_the_words_of_the_service_behind_a_router_are_kept():
    body = {
        "error": {
            "message": "Provider returned error",
            "code": 400,
            "metadata": {
                "raw": '{"error":{"message":"max_tokens is too large"}}',
                "provider_name": "X",
            },
        }
    }
    assert read(400, body).message == "Provider returned error: max_tokens is too large"
    body["error"]["metadata"]["raw"] = "plain words"
    assert read(400, body).message == "Provider returned error: plain words"


def test_faults_listed_by_a_server_name_the_field():
    failure = read(422, {"detail": [{"loc": ["body", "messages", 0], "msg": "field required"}]})
    assert failure.message == "messages.0: field required"
    assert failure.param == "messages.0"


def test_a_refusal_of_the_provider_is_final():
    failure = read(
        403, {"error": {"message": "This credential is only authorized for use with X."}}
    )
    assert failure.final
    assert failure.retry is Retry.NEVER


def test_the_waiting_time_is_read():
    body = {"error": {"message": "Please try again in 1m2s."}}
    assert read(429, body).retry_after_s == 62.0
    assert read(429, body, [("Retry-After", "7")]).retry_after_s == 7.0


@pytest.mark.parametrize(
    "body",
    [b"\xff", b"[]", b"null", b'{"error":[]}', b'{"error":{}}', b'{"detail":[5]}', b"[" * 5000],
)
def test_any_body_is_a_failure_with_words(body):
    failure = read(500, body)
    assert failure.message
    assert failure.kind == "server"


def test_an_error_object_comes_back_to_a_client_of_this_dialect():
    error = {"message": "no", "type": "t", "param": None, "code": "c", "extra": 1}
    reply = OPENAI_CHAT.encode_failure(read(400, {"error": error}), "req")
    assert msgspec.json.decode(reply.body) == {"error": error}
    assert reply.status == 400


def test_a_failure_of_another_dialect_is_written_in_this_ones_words():
    failure = Failure(
        429,
        "slow",
        "rate_limit",
        type="RESOURCE_EXHAUSTED",
        retry_after_s=1.2,
        native=Native("gemini", {"status": "RESOURCE_EXHAUSTED"}),
    )
    reply = OPENAI_CHAT.encode_failure(failure, "req")
    assert reply.header("retry-after") == "2"
    assert reply.header("retry-after-ms") == "1200"
    error = msgspec.json.decode(reply.body)["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert OPENAI_CHAT.encode_failure(cut_stream(), "req").status == 502
