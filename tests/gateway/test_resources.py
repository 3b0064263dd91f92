from app.canonical.failure import Failure
from app.dialects.base import Peek
from app.errors import Retry
from app.gateway.call import Outcome
from app.gateway.exchange import GatewayLimits
from app.gateway.resources import kept_headers
from app.providers import DEMO
from app.routing.plan import Candidate
from tests.gateway.scripted import CHAT, Desk, account

LIMITS = GatewayLimits(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)


def test_limits_of_streams_and_whole_answers():
    desk = Desk(limits=LIMITS)
    stream = desk.gateway.call_limits(Peek("m", stream=True))
    assert (stream.connect_s, stream.first_byte_s, stream.idle_s) == (1.0, 2.0, 4.0)
    thinking = desk.gateway.call_limits(Peek("m", stream=True, reasoning=True))
    assert thinking.first_byte_s == 3.0
    whole = desk.gateway.call_limits(Peek("m", stream=False))
    assert (whole.first_byte_s, whole.idle_s, whole.total_s) == (5.0, 5.0, 5.0)


def test_what_clients_read_of_an_upstreams_header():
    upstream = (
        ("Retry-After", "3"),
        ("Request-Id", "a"),
        ("X-Request-Id", "b"),
        ("anthropic-ratelimit-unified-status", "allowed"),
        ("X-RateLimit-Remaining", "1"),
        ("x-codex-primary-used-percent", "4"),
        ("Set-Cookie", "secret"),
        ("Server", "x"),
        ("Content-Length", "9"),
    )
    assert kept_headers(upstream) == (
        ("Retry-After", "3"),
        ("Request-Id", "a"),
        ("x-upstream-request-id", "b"),
        *upstream[3:6],
    )


def test_route_field_cannot_be_broken_by_names():
    odd = account(CHAT, "a; b=c\r\nx", ["m"])
    desk = Desk(odd)
    outcome = Outcome("r", served="m\n;x", account=odd.id, grade="verbatim", attempts=2)
    call = desk.call(b"{}")
    fields = dict(desk.gateway.own_headers(call, outcome))
    route = fields["x-dragoman-route"]
    assert route == ("provider=server; model=m__x; grade=verbatim; attempts=2; account=a__b_c__x")


def test_route_before_any_attempt_names_nobody():
    desk = Desk()
    fields = dict(desk.gateway.own_headers(desk.call(b"{}"), Outcome("r")))
    assert fields["x-dragoman-route"] == "attempts=0"


def test_demo_accounts_are_never_paused():
    demo = account(DEMO, "demo", ["m"])
    desk = Desk(demo)
    failure = Failure(429, "no", "rate_limit", scope="model", retry=Retry.NEXT_ACCOUNT)
    desk.gateway.settle(Candidate(demo, "m", "m", "openai_chat", ""), failure)
    assert desk.roster.state(demo, "m", desk.clock()).health == "ready"
