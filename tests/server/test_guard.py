import pytest
from tornado.httputil import HTTPHeaders

from app.errors import AccessError
from app.server.failedkeys import FailedKeys
from app.server.guard import (
    Call,
    Caller,
    Grant,
    KeyRecord,
    cors_headers,
    digest_of,
    judge,
)
from app.server.policy import AccessPolicy, token_shell

NOW = 1_000_000.0
HOST = "127.0.0.1:8317"
USER = Caller("127.0.0.1", same_user=True, loopback=True)
OTHER_USER = Caller("127.0.0.1", same_user=False, loopback=True)
REMOTE = Caller("192.168.1.9")
TOKEN = "local-token-of-this-start"
PAGE = "https://app.example"


def record(kind="client", **more):
    return KeyRecord(f"{kind}1", f"my {kind}", kind, digest_of(f"dg-{kind}"), 1.0, **more)


class Ring(dict):
    def __init__(self, *records):
        super().__init__((r.sha256, r) for r in records)

    def find(self, sha256):
        return self.get(sha256)


RING = Ring(
    record("client"),
    record("admin"),
    record("relay"),
    KeyRecord("old", "old one", "client", digest_of("dg-old"), 1.0, expires_at=NOW),
    KeyRecord("gone", "gone one", "client", digest_of("dg-gone"), 1.0, revoked_at=5.0),
)


def ask(
    kind="inference",
    caller=USER,
    *,
    method="POST",
    path="/v1/messages",
    query="",
    policy=None,
    keys=RING,
    failed=None,
    session=None,
    host=HOST,
    **fields,
):
    headers = HTTPHeaders()
    if host is not None:
        headers["Host"] = host
    for name, value in fields.items():
        headers[name.replace("_", "-")] = value
    return judge(
        kind,
        Call(method, path, query, headers),
        caller,
        policy or AccessPolicy(),
        keys,
        local_token=TOKEN,
        now=NOW,
        failed=failed,
        session=session,
    )


def refused(*args, **kwargs):
    with pytest.raises(AccessError) as caught:
        ask(*args, **kwargs)
    return caught.value


# Same user, key, and neither.


def test_same_user_needs_no_key_for_inference():
    grant = ask()
    assert grant.who == "same_user"
    assert grant.owner == "user"
    assert grant.allows("anthropic", "any-model", "any-account")


@pytest.mark.parametrize(
    "fields",
    [
        {"Authorization": "Bearer sk-ant-something"},
        {"x_api_key": "whatever"},
        {"x_goog_api_key": "AIza"},
        {"Authorization": "Basic dXNlcjpkZy1hZG1pbg=="},
        {"Authorization": "Bearer "},
    ],
)
def test_a_key_that_is_not_ours_is_ignored_for_the_same_user(fields):
    assert ask(**fields).who == "same_user"


@pytest.mark.parametrize("caller", [USER, OTHER_USER, REMOTE])
@pytest.mark.parametrize(
    "fields",
    [
        {"Authorization": "Bearer dg-client"},
        {"Authorization": "bearer  dg-client "},
        {"x_api_key": "dg-client"},
        {"x_goog_api_key": "dg-client"},
        {"x_api_key": "dg-client", "Authorization": "Bearer sk-foreign"},
        {"x_api_key": "dg-client", "Authorization": "Bearer dg-client"},
    ],
)
def test_a_valid_key_is_taken_from_any_header_and_any_caller(caller, fields):
    grant = ask(caller=caller, **fields)
    assert (grant.who, grant.owner) == ("key", "key:client1")


@pytest.mark.parametrize("caller", [USER, OTHER_USER, REMOTE])
@pytest.mark.parametrize(
    ("key", "code", "words"),
    [
        ("dg-unknown", "invalid_key", "not known"),
        ("dg-old", "expired_key", "'old one' has expired"),
        ("dg-gone", "revoked_key", "'gone one' was revoked"),
        ("dg-", "invalid_key", "not known"),
    ],
)
def test_a_bad_dragoman_key_is_401_even_for_the_same_user(caller, key, code, words):
    error = refused(caller=caller, Authorization=f"Bearer {key}")
    assert (error.status, error.code) == (401, code)
    assert words in error.message
    assert "dragoman keys create" in error.hint
    assert key == "dg-" or key not in error.text


def test_a_key_is_valid_until_the_second_it_expires():
    keys = Ring(record("client", expires_at=NOW + 1))
    assert ask(keys=keys, x_api_key="dg-client").who == "key"


def test_two_different_dragoman_keys_are_refused():
    error = refused(Authorization="Bearer dg-client", x_api_key="dg-admin")
    assert (error.status, error.code) == (401, "conflicting_keys")


@pytest.mark.parametrize(
    ("caller", "words"),
    [(OTHER_USER, "does not show"), (REMOTE, "other machines")],
)
def test_an_unproven_caller_is_told_how_to_make_a_key(caller, words):
    error = refused(caller=caller)
    assert (error.status, error.code) == (401, "key_required")
    assert words in error.message
    assert "dragoman keys create" in error.hint


def test_a_foreign_key_from_an_unproven_caller_is_401():
    error = refused(caller=OTHER_USER, x_api_key="sk-ant-secret")
    assert (error.status, error.code) == (401, "invalid_key")
    assert "sk-ant-secret" not in error.text


def test_keyless_never_asks_the_same_user_for_a_key():
    policy = AccessPolicy(keyless="never")
    error = refused(policy=policy)
    assert error.code == "key_required"
    assert "keyless: never" in error.message
    assert ask(policy=policy, x_api_key="dg-client").who == "key"
    assert ask(policy=policy, Authorization=f"Bearer {TOKEN}").who == "local_token"


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("/v1beta/models/gemini-2.5-pro:generateContent", True),
        ("/v1beta/models", True),
        ("/v1/models/gemini-2.5-pro:streamGenerateContent", True),
        ("/v1/models", False),
        ("/v1/chat/completions", False),
    ],
)
def test_a_key_in_the_query_counts_on_gemini_paths_only(path, taken):
    query = "alt=sse&key=dg-client"
    if taken:
        assert ask(caller=REMOTE, path=path, query=query).who == "key"
    else:
        assert refused(caller=REMOTE, path=path, query=query).code == "key_required"


def test_a_key_in_the_query_is_percent_decoded_and_may_not_contradict_the_header():
    path = "/v1beta/models/g:generateContent"
    assert ask(caller=REMOTE, path=path, query="key=dg%2Dclient").who == "key"
    error = refused(path=path, query="key=dg-client", x_goog_api_key="dg-admin")
    assert error.code == "conflicting_keys"


# Host.


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example:8317",
        "localhost",
        "localhost:80",
        "localhost:8318",
        "localhost:8317@evil.example",
        "127.0.0.1.evil.example:8317",
        "128.0.0.1:8317",
        "0.0.0.0:8317",
        "[::2]:8317",
        "[localhost]:8317",
        "localhost:99999999",
        "localhost :8317",
    ],
)
@pytest.mark.parametrize("kind", ["inference", "open", "control", "relay"])
def test_any_other_host_is_403_whatever_the_route_and_the_key(host, kind):
    error = refused(kind, host=host, Authorization="Bearer dg-admin")
    assert (error.status, error.code) == (403, "bad_host")


# Browser marks.


@pytest.mark.parametrize(
    "fields",
    [
        {"Origin": PAGE},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://localhost:8317"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "Cross-Site", "Origin": f"http://{HOST}"},
        {"Referer": f"{PAGE}/page"},
        {"Referer": "nonsense"},
        {"Referer": "http://[broken/"},
        {"Origin": f"http://{HOST}", "Referer": f"{PAGE}/page"},
    ],
)
@pytest.mark.parametrize("key", [None, "dg-client", "dg-admin"])
@pytest.mark.parametrize("kind", ["inference", "control"])
def test_a_foreign_page_is_403_with_or_without_a_key(fields, key, kind):
    if key:
        fields = {**fields, "x_api_key": key}
    error = refused(kind, **fields)
    assert (error.status, error.code) == (403, "origin_not_allowed")


@pytest.mark.parametrize(
    "fields",
    [
        {"Sec_Fetch_Site": "none"},
        {"Sec_Fetch_Site": "same-origin", "Origin": f"http://{HOST}"},
        {"Origin": f"http://{HOST}", "Referer": f"http://{HOST}/admin"},
        {"Referer": f"http://{HOST}/admin"},
    ],
)
def test_marks_of_our_own_origin_are_no_foreign_page(fields):
    assert ask(**fields).who == "same_user"


ALLOWING = AccessPolicy(origins=frozenset({"https://APP.example/"}))


def test_a_listed_origin_still_needs_a_key():
    error = refused(policy=ALLOWING, Origin=PAGE)
    assert (error.status, error.code) == (401, "key_required")
    assert PAGE in error.message
    grant = ask(policy=ALLOWING, Origin=PAGE, Sec_Fetch_Site="cross-site", x_api_key="dg-client")
    assert (grant.who, grant.origin) == ("key", PAGE)


def test_a_page_may_not_use_the_local_token():
    error = refused("control", policy=ALLOWING, Origin=PAGE, Authorization=f"Bearer {TOKEN}")
    assert error.status == 401


def test_a_preflight_of_a_listed_origin_passes_without_a_key_and_grants_no_scope():
    fields = {
        "Origin": PAGE,
        "Access_Control_Request_Method": "POST",
        "Access_Control_Request_Headers": "x-api-key",
        "Access_Control_Request_Private_Network": "true",
    }
    grant = ask(policy=ALLOWING, method="OPTIONS", **fields)
    assert (grant.who, grant.owner) == ("open", "nobody")
    assert not grant.allows("anthropic")
    call = Call(
        "OPTIONS", "/", "", HTTPHeaders({k.replace("_", "-"): v for k, v in fields.items()})
    )
    cors = dict(cors_headers(grant, call))
    assert cors["Access-Control-Allow-Origin"] == PAGE
    assert cors["Access-Control-Allow-Methods"] == "POST"
    assert cors["Access-Control-Allow-Headers"] == "x-api-key"
    assert cors["Access-Control-Allow-Private-Network"] == "true"
    assert refused(method="OPTIONS", **fields).code == "origin_not_allowed"


def test_answers_carry_cors_headers_only_for_a_listed_origin():
    call = Call("POST", "/", "", HTTPHeaders({"Origin": PAGE}))
    assert cors_headers(Grant("same_user"), call) == ()
    cors = dict(cors_headers(Grant("key", record(), PAGE), call))
    assert cors["Access-Control-Allow-Origin"] == PAGE
    assert cors["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in cors


# Open, control, relay.


def test_open_routes_ask_only_for_the_host():
    assert ask("open", REMOTE, Sec_Fetch_Site="cross-site").who == "open"


@pytest.mark.parametrize(
    "fields",
    [{"Authorization": f"Bearer {TOKEN}"}, {"X_Dragoman_Token": TOKEN}],
)
def test_the_local_token_opens_control_from_loopback_only(fields):
    assert ask("control", **fields).who == "local_token"
    assert ask("control", OTHER_USER, **fields).who == "local_token"
    assert refused("control", REMOTE, **fields).code == "token_required"


def test_an_admin_key_opens_control_from_anywhere():
    grant = ask("control", REMOTE, Authorization="Bearer dg-admin")
    assert (grant.who, grant.owner) == ("admin_key", "key:admin1")
    assert ask(caller=REMOTE, x_api_key="dg-admin").who == "admin_key"


def test_a_dashboard_session_opens_control():
    grant = ask("control", Authorization="Bearer s1", session=lambda token: token == "s1")
    assert (grant.who, grant.owner) == ("session", "user")
    assert refused("control", Authorization="Bearer s2", session=lambda token: False).status == 401


def test_being_the_same_user_does_not_open_control():
    policy = AccessPolicy(token_shell=token_shell("/run/user/1000/instance.json", windows=False))
    error = refused("control", policy=policy, method="DELETE", path="/v1/auth/claude")
    assert (error.status, error.code) == (401, "token_required")
    assert (
        """curl -X DELETE -H "Authorization: Bearer $(sed -n 's/.*"token": *"\\([^"]*\\)".*/\\1/p' """
        """/run/user/1000/instance.json)" http://127.0.0.1:8317/v1/auth/claude""" in error.hint
    )
    assert TOKEN not in error.text


def test_the_printed_curl_cannot_be_made_to_run_something_else():
    error = refused("control", method="GET", path="/admin/$(touch x);'")
    assert "'http://127.0.0.1:8317/admin/$(touch x);'\"'\"''" in error.hint


def test_an_empty_local_token_matches_nothing():
    with pytest.raises(AccessError):
        judge(
            "control",
            Call("GET", "/admin", "", HTTPHeaders({"Host": HOST, "X-Dragoman-Token": ""})),
            USER,
            AccessPolicy(),
            RING,
            local_token="",
            now=NOW,
        )


def test_a_client_key_on_control_is_403():
    error = refused("control", Authorization="Bearer dg-client")
    assert (error.status, error.code) == (403, "wrong_key_kind")


def test_a_relay_key_is_valid_at_the_relay_and_only_there():
    assert ask("relay", REMOTE, path="/v1/ws", query="auth_token=dg-relay").owner == "key:relay1"
    assert ask("relay", REMOTE, path="/v1/ws", x_api_key="dg-relay").who == "key"
    for kind in ("inference", "control"):
        assert refused(kind, x_api_key="dg-relay").code == "wrong_key_kind"


@pytest.mark.parametrize("key", ["dg-client", "dg-admin"])
def test_other_keys_do_not_open_the_relay(key):
    assert refused("relay", query=f"auth_token={key}").code == "wrong_key_kind"


def test_the_relay_takes_neither_the_same_user_nor_the_local_token():
    assert refused("relay").code == "key_required"
    assert refused("relay", query=f"auth_token={TOKEN}").code == "invalid_key"


# Failed keys.


def test_too_many_failed_keys_are_429_and_a_valid_one_is_never_delayed():
    failed = FailedKeys(limit=2)
    for _ in range(2):
        assert refused(caller=REMOTE, x_api_key="dg-no", failed=failed).status == 401
    error = refused(caller=REMOTE, x_api_key="dg-no", failed=failed)
    assert (error.status, error.code) == (429, "too_many_failed_keys")
    assert error.retry_after_s == 60.0
    assert ask(caller=REMOTE, x_api_key="dg-client", failed=failed).who == "key"
    assert refused(caller=USER, x_api_key="dg-no", failed=failed).status == 401


def test_a_call_without_a_key_is_not_counted_as_a_failed_one():
    failed = FailedKeys(limit=1)
    for _ in range(3):
        assert refused(caller=REMOTE, failed=failed).status == 401


def test_failed_keys_are_counted_per_user_per_address_and_per_v6_network():
    assert USER.source == "user"
    assert REMOTE.source == "192.168.1.9"
    assert Caller("2001:db8:1:2:a::1").source == Caller("2001:db8:1:2:b::1").source
    assert Caller("2001:db8:1:3::1").source != Caller("2001:db8:1:2::1").source
    assert Caller("fe80::1%eth0").source == "fe80::"


# Scope.


@pytest.mark.parametrize(
    ("scopes", "wanted", "allowed"),
    [
        ({}, ("anthropic", "m", "a"), True),
        ({"providers": ()}, ("anthropic",), False),
        ({"providers": ("openai",)}, ("anthropic", "m"), False),
        ({"providers": ("openai",)}, ("openai", "m"), True),
        ({"models": ("claude-*",)}, ("anthropic", "claude-x[1m]", "a"), True),
        ({"models": ("claude-*",)}, ("anthropic", "gpt", "a"), False),
        ({"models": ("claude-*",)}, ("anthropic",), True),
        ({"accounts": ("a1",)}, ("anthropic", "m", "a2"), False),
        ({"accounts": ("a1",)}, ("anthropic", "m"), True),
    ],
)
def test_a_key_is_held_to_its_scopes(scopes, wanted, allowed):
    assert Grant("key", record("client", **scopes)).allows(*wanted) is allowed


def test_reprs_hold_no_more_than_the_digest():
    assert "dg-client" not in repr(record())
