import msgspec
import pytest

from app.canonical.failure import Failure
from app.dialects.base import dump
from app.dialects.gemini import GEMINI
from app.errors import Retry

INFO = "type.googleapis.com/google.rpc.ErrorInfo"
RETRY = "type.googleapis.com/google.rpc.RetryInfo"
QUOTA = "type.googleapis.com/google.rpc.QuotaFailure"


def decode(status, message="words", word=None, details=None, headers=(), wrap=False):
    error = {"code": status, "message": message}
    if word:
        error["status"] = word
    if details is not None:
        error["details"] = details
    body = {"error": error}
    return GEMINI.decode_failure(status, headers, dump([body] if wrap else body))


NEVER, NEXT = Retry.NEVER, Retry.NEXT_ACCOUNT


@pytest.mark.parametrize(
    ("status", "message", "kind", "scope", "retry"),
    [
        (
            400,
            'Invalid JSON payload received. Unknown name "x"',
            "invalid_request",
            "request",
            NEVER,
        ),
        (400, "API key not valid. Please pass a valid API key.", "authentication", "account", NEXT),
        (400, "API key expired. Please renew the API key.", "authentication", "account", NEXT),
        (400, "User location is not supported for the API use.", "permission", "account", NEXT),
        (400, "Please enable billing on project in Google AI Studio.", "payment", "account", NEXT),
        (400, "The requested model is not supported.", "not_found", "model", NEXT),
        (
            400,
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            "context_full",
            "request",
            NEVER,
        ),
        (401, "Request had invalid authentication credentials.", "authentication", "account", NEXT),
        (402, "Pay.", "payment", "account", NEXT),
        (403, "The caller does not have permission", "permission", "account", NEXT),
        (
            403,
            "Your API key was reported as leaked. Please use another API key.",
            "authentication",
            "account",
            NEXT,
        ),
        (
            404,
            "models/foo is not found for API version v1beta, or is not supported for generateContent.",
            "not_found",
            "model",
            NEXT,
        ),
        (404, "Requested entity was not found.", "not_found", "model", NEXT),
        (404, "File files/abc was not found.", "not_found", "request", NEVER),
        (413, "Too large.", "too_large", "request", NEVER),
        (422, "No.", "invalid_request", "request", NEVER),
        (429, "Resource has been exhausted (e.g. check quota).", "rate_limit", "model", NEXT),
        (500, "An internal error has occurred.", "server", "service", NEXT),
        (502, "Bad gateway.", "server", "service", NEXT),
        (503, "The model is overloaded. Please try again later.", "overloaded", "service", NEXT),
        (503, "No capacity available for model gemini-x", "overloaded", "service", NEXT),
        (503, "The service is currently unavailable.", "unavailable", "service", NEXT),
        (504, "The request timed out.", "timeout", "service", NEXT),
        (529, "Busy.", "overloaded", "service", NEXT),
    ],
)
def test_who_must_act(status, message, kind, scope, retry):
    for wrap in (False, True):
        failure = decode(status, message, wrap=wrap)
        assert (failure.kind, failure.scope, failure.retry) == (kind, scope, retry)
        assert failure.message == message
        assert failure.status == status
        assert not failure.final


def test_a_full_context_has_its_code():
    message = "The input token count (12) exceeds the maximum number of tokens allowed (10)."
    assert decode(400, message).code == "context_length_exceeded"


@pytest.mark.parametrize(
    "message",
    [
        "This service has been disabled in this account for violation of Terms of Service.",
        "Permission denied: Consumer 'api_key:AIza' has been suspended.",
        "This credential is only authorized for use with Gemini CLI.",
        "Your account has been disabled.",
    ],
)
def test_a_refusal_of_principle_is_final(message):
    failure = decode(403, message, "PERMISSION_DENIED")
    assert failure.final
    assert (failure.kind, failure.retry) == ("permission", NEVER)


def test_reasons_of_google_decide_before_words():
    key = [{"@type": INFO, "reason": "API_KEY_INVALID", "domain": "googleapis.com"}]
    assert decode(400, "Bad.", details=key).kind == "authentication"
    assert decode(400, "Bad.", details=key).code == "API_KEY_INVALID"
    suspended = [{"@type": INFO, "reason": "CONSUMER_SUSPENDED"}]
    assert decode(403, "No.", details=suspended).final


@pytest.mark.parametrize(
    ("details", "kind", "scope"),
    [
        ([{"@type": INFO, "reason": "QUOTA_EXHAUSTED"}], "quota", "account"),
        ([{"@type": INFO, "reason": "RATE_LIMIT_EXCEEDED"}], "rate_limit", "model"),
        (
            [
                {
                    "@type": QUOTA,
                    "violations": [
                        {"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}
                    ],
                }
            ],
            "quota",
            "model",
        ),
        (
            [{"@type": QUOTA, "violations": [{"quotaId": "GenerateRequestsPerDayPerProject"}]}],
            "quota",
            "account",
        ),
        (
            [
                {
                    "@type": QUOTA,
                    "violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}],
                }
            ],
            "rate_limit",
            "model",
        ),
    ],
)
def test_quota_and_pace(details, kind, scope):
    failure = decode(429, details=details)
    assert (failure.kind, failure.scope, failure.retry) == (kind, scope, NEXT)


@pytest.mark.parametrize(
    ("message", "details", "headers", "seconds"),
    [
        ("x", [{"@type": RETRY, "retryDelay": "17.5s"}], (("retry-after", "3"),), 17.5),
        ("x", [{"@type": INFO, "metadata": {"quotaResetDelay": "1h2m3s"}}], (), 3723.0),
        (
            "x",
            [{"@type": INFO, "metadata": {"quotaResetDelay": "373.8ms"}}],
            (),
            pytest.approx(0.3738),
        ),
        ("x", None, (("Retry-After", "3"),), 3.0),
        ("x", None, (("retry-after", "3"), ("Retry-After-Ms", "1500")), 1.5),
        ("Your quota will reset after 17s.", None, (), 17.0),
        ("reset after 1h2m3s, sorry", None, (), 3723.0),
        ("Please retry in 6.5s.", None, (), 6.5),
        ("x", [{"@type": RETRY, "retryDelay": "soon"}], (("retry-after", "later"),), None),
    ],
)
def test_how_long_to_wait(message, details, headers, seconds):
    assert decode(429, message, details=details, headers=headers).retry_after_s == seconds


@pytest.mark.parametrize(
    "body", [b"", b"<html><body>502</body></html>", b"[]", b'{"a":1}', b"\xff\xfe", b'{"error":{}}']
)
def test_a_body_without_words_gets_a_sentence(body):
    failure = GEMINI.decode_failure(502, (), body)
    assert "<" not in failure.message
    assert failure.message.endswith(".") or body.startswith(b"\xff")
    assert failure.kind == "server"


def test_plain_words_and_odd_shapes_are_kept():
    assert (
        GEMINI.decode_failure(500, (), b"upstream connect error").message
        == "upstream connect error"
    )
    assert GEMINI.decode_failure(400, (), b'{"error":"no such thing"}').message == "no such thing"
    assert GEMINI.decode_failure(400, (), b'{"message":"flat"}').message == "flat"


def test_field_and_request_id_are_read():
    details = [{"fieldViolations": [{"field": "contents[0].parts", "description": "x"}]}]
    failure = decode(400, details=details, headers=(("X-Request-Id", "abc"),))
    assert failure.param == "contents[0].parts"
    assert failure.request_id == "abc"


def body_of(reply):
    return msgspec.json.decode(reply.body)["error"]


@pytest.mark.parametrize(
    ("kind", "status", "word"),
    [
        ("invalid_request", 400, "INVALID_ARGUMENT"),
        ("context_full", 400, "INVALID_ARGUMENT"),
        ("authentication", 401, "UNAUTHENTICATED"),
        ("permission", 403, "PERMISSION_DENIED"),
        ("not_found", 404, "NOT_FOUND"),
        ("rate_limit", 429, "RESOURCE_EXHAUSTED"),
        ("quota", 429, "RESOURCE_EXHAUSTED"),
        ("server", 500, "INTERNAL"),
        ("overloaded", 503, "UNAVAILABLE"),
        ("timeout", 504, "DEADLINE_EXCEEDED"),
        ("cancelled", 499, "CANCELLED"),
    ],
)
def test_an_error_has_googles_form(kind, status, word):
    reply = GEMINI.encode_failure(Failure(status, "What.", kind, hint="Do this."), "")
    assert reply.status == status
    assert reply.header("content-type").startswith("application/json")
    assert body_of(reply) == {"code": status, "message": "What. Do this.", "status": word}


def test_a_wait_is_told_three_ways():
    reply = GEMINI.encode_failure(Failure(429, "Slow.", "rate_limit", retry_after_s=1.2004), "")
    assert reply.header("retry-after") == "2"
    assert reply.header("retry-after-ms") == "1201"
    assert body_of(reply)["details"] == [{"@type": RETRY, "retryDelay": "1.2s"}]


def test_a_status_that_google_does_not_have_becomes_its_own():
    reply = GEMINI.encode_failure(Failure(529, "Busy.", "overloaded"), "")
    assert reply.status == body_of(reply)["code"] == 503
    assert GEMINI.encode_failure(Failure(200, "Odd.", "server"), "").status == 500


def test_the_request_id_is_told():
    details = body_of(GEMINI.encode_failure(Failure(500, "x", "server"), "req_1"))["details"]
    assert details == [
        {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "req_1"}
    ]


def test_googles_own_error_comes_back():
    details = [{"@type": RETRY, "retryDelay": "17s"}, {"@type": INFO, "reason": "QUOTA_EXHAUSTED"}]
    failure = decode(429, "Out.", "RESOURCE_EXHAUSTED", details)
    assert body_of(GEMINI.encode_failure(failure, "req_1")) == {
        "code": 429,
        "message": "Out.",
        "status": "RESOURCE_EXHAUSTED",
        "details": details,
    }
