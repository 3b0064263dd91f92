from app.canonical.usage import Usage
from app.gateway.call import Outcome
from tests.gateway.scripted import Desk


def test_cost_is_read_once_and_only_when_asked_for():
    reads = []
    outcome = Outcome("r", read_usage=lambda: reads.append(1) or Usage(input=1))
    assert not reads
    assert outcome.tokens() == outcome.tokens() == Usage(input=1)
    assert len(reads) == 1


def test_cost_counted_on_the_way_is_not_read_again():
    outcome = Outcome("r", usage=Usage(input=2), read_usage=lambda: Usage(input=1))
    assert outcome.tokens() == Usage(input=2)


def test_narrower_scope_is_looked_into_first():
    desk = Desk()
    assert desk.call(b"{}").scopes == ("user",)
    assert desk.call(b"{}", memory_scope="user:ws").scopes == ("user:ws", "user")
