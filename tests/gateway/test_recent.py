import pytest

from app.canonical.events import Finished, PartStarted, Started, TextDelta
from app.canonical.failure import Failure
from app.canonical.loss import Loss
from app.canonical.parts import Text
from app.canonical.usage import Usage
from app.dialects import DIALECTS
from app.dialects.base import ReplyContext
from app.gateway.call import Outcome
from app.gateway.recent import Recent, Watched
from tests.fakes.basic import Clock, Ids
from tests.gateway.scripted import Client, Desk

SAY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


class Room:
    def __init__(self, **more):
        self.wall, self.steady = Clock(1_770_000_000.0), Clock(100.0)
        self.recent = Recent(self.wall, self.steady, **more)
        self.told = []
        self.desk = Desk()

    def watch(self):
        return self.recent.watch(lambda: self.told.append(len(self.told)))

    def begin(self, name="req_1", dialect="openai_chat", client="", **more):
        call = self.desk.call(SAY, dialect, **more)
        call.request_id = name
        outcome = Outcome(name, model="m")
        self.recent.began(call, outcome, client)
        return outcome

    def end(self, outcome, after=1.0, **fields):
        self.steady.advance(after)
        for name, value in fields.items():
            setattr(outcome, name, value)
        self.recent.settled(outcome)

    @property
    def rows(self):
        return list(self.recent.rows())

    @property
    def row(self):
        (row,) = self.rows
        return row


@pytest.fixture
def room():
    return Room()


def stream(dialect, *texts):
    """A whole stream of a dialect, in the pieces that go out."""
    context = ReplyContext("m", None, 0.0, Ids())
    encoder = DIALECTS[dialect].stream_encoder(context)
    yield encoder.encode([Started("id", "m"), PartStarted(0, Text(""))])
    for text in texts:
        yield encoder.encode([TextDelta(0, text)])


def test_request_is_seen_while_it_runs_and_after(room):
    outcome = room.begin(client="claude")
    outcome.account, outcome.served, outcome.grade = "codex/work", "gpt", "translated"
    outcome.reason, outcome.attempts = "listed by codex", 1
    row = room.row
    assert (row["state"], row["agent"], row["account"]) == ("running", "claude", "codex/work")
    assert (row["served"], row["grade"], row["reason"]) == ("gpt", "translated", "listed by codex")
    assert row["at"] == 1_770_000_000.0
    assert row["duration_ms"] is row["first_ms"] is row["tokens"] is None
    assert room.recent.busy
    room.end(outcome, 2.5, status=200, usage=Usage(10, 20, 3, 40, reasoning=5))
    row = room.row
    assert (row["state"], row["duration_ms"], row["status"]) == ("done", 2500, 200)
    assert row["tokens"] == {
        "input": 10,
        "cache_read": 20,
        "cache_write": 3,
        "output": 40,
        "reasoning": 5,
        "estimated": False,
    }
    assert not room.recent.busy


@pytest.mark.parametrize("dialect", list(DIALECTS))
def test_tokens_so_far_are_estimated_for_somebody_who_looks(room, dialect):
    room.watch()
    outcome = room.begin(dialect=dialect)
    room.steady.advance(0.4)
    for piece in stream(dialect, "a" * 100, "b" * 100):
        room.recent.progress("req_1", piece)
    room.steady.advance(2.0)
    row = room.row
    assert row["tokens"] == {"output": 50, "estimated": True}
    assert row["first_ms"] == 400
    assert row["tokens_per_s"] == 25.0
    room.end(outcome, 0, status=200, usage=Usage(output=60))
    assert room.row["tokens_per_s"] == 30.0


def test_who_looks_too_late_sees_bytes_and_no_guess(room):
    room.begin()
    pieces = list(stream("openai_chat", "a" * 100, "b" * 100))
    room.recent.progress("req_1", pieces[0] + pieces[1])
    room.watch()
    room.recent.progress("req_1", pieces[2])
    row = room.row
    assert row["tokens"] is row["tokens_per_s"] is None
    assert row["sent_bytes"] == sum(map(len, pieces))


def test_answers_in_another_form_than_the_dialects_are_not_counted(room):
    room.watch()
    room.begin(path="/v1/completions")
    room.recent.progress("req_1", b'data: {"choices":[{"text":"hello"}]}\n\n')
    assert room.row["tokens"] is None
    assert room.row["sent_bytes"] > 0


def test_attempts_that_failed_and_losses_are_told(room):
    outcome = room.begin()
    outcome.failures.append(("a/1", Failure(429, "Slow down.", "rate_limit")))
    outcome.attempts = 2
    outcome.losses = (Loss("top_k", "not known to this dialect"),)
    room.end(outcome, failure=Failure(502, "It broke.", "server", "broken"), status=502)
    row = room.row
    assert row["failures"] == [
        {"account": "a/1", "status": 429, "code": "rate_limit", "message": "Slow down."}
    ]
    assert row["losses"] == [["top_k", "not known to this dialect"]]
    assert (row["state"], row["error"], row["attempts"]) == ("failed", "It broke.", 2)


def test_client_that_leaves_is_no_failure(room):
    room.end(room.begin(), status=499)
    assert room.row["state"] == "left"


def test_newest_come_first_and_running_before_ended(room):
    first, second, third = (room.begin(f"req_{n}") for n in (1, 2, 3))
    room.end(second, status=200)
    room.end(first, status=200)
    fourth = room.begin("req_4")
    assert [row["id"] for row in room.rows] == [
        o.request_id for o in (fourth, third, first, second)
    ]


def test_what_has_ended_is_bounded():
    room = Room(keep=3)
    for number in range(10):
        room.end(room.begin(f"req_{number}"), status=200)
    assert [row["id"] for row in room.rows] == ["req_9", "req_8", "req_7"]


@pytest.mark.parametrize(
    ("sent", "agent"),
    [
        ("claude-cli/2.0.1 (external, cli)", "claude-cli/2.0.1"),
        ("Mozilla/5.0 (X11; Linux x86_64)", "browser"),
        ("", ""),
    ],
)
def test_agent_is_told_by_its_own_words_where_nothing_better_is_known(room, sent, agent):
    outcome = room.begin(headers=(("Accept", "*/*"), ("user-agent", sent)))
    assert room.row["agent"] == agent
    room.end(outcome, status=200)
    assert room.row["agent"] == agent


def test_nothing_of_a_request_stays_but_its_outcome(room):
    outcome = room.begin(headers=(("Authorization", "Bearer secret-of-the-client"),))
    body = []
    outcome.read_usage = lambda: body.append("read") or Usage(output=1)
    room.end(outcome, status=200)
    assert body == ["read"]
    assert outcome.read_usage is None
    (request,) = room.recent._finished
    assert request.call is request.decoder is None
    assert "secret" not in str(room.rows)


def test_watchers_hear_of_beginnings_and_ends_until_they_leave(room):
    end = room.watch()
    outcome = room.begin()
    room.recent.progress("req_1", b"data: {}\n\n")
    room.end(outcome, status=200)
    assert len(room.told) == 2
    end()
    end()
    room.end(room.begin("req_2"), status=200)
    assert len(room.told) == 2


def test_words_about_unknown_requests_are_ignored(room):
    room.recent.progress("req_x", b"data")
    room.recent.settled(Outcome("req_x"))
    assert room.rows == []


def test_finished_stream_of_a_dialect_is_counted_without_its_end(room):
    room.watch()
    room.begin(dialect="anthropic")
    encoder = DIALECTS["anthropic"].stream_encoder(ReplyContext("m", None, 0.0, Ids()))
    events = [Started("id", "m"), PartStarted(0, Text("")), TextDelta(0, "word" * 10)]
    room.recent.progress("req_1", encoder.encode([*events, Finished("end", Usage(output=7))]))
    assert room.row["tokens"]["output"] == 10


async def test_sink_tells_what_goes_through_and_passes_everything_on(room):
    client = Client()
    outcome = room.begin()
    sink = Watched(client, room.recent, "req_1")
    sink.start(200, ())
    assert sink.started
    assert sink.ping(b": ping\n\n")
    assert room.row["sent_bytes"] == 0
    room.steady.advance(0.5)
    await sink.write(b"data: one\n\n")
    room.steady.advance(0.5)
    await sink.write(b"data: two\n\n")
    sink.written_at = 7.0
    sink.finish()
    room.end(outcome, 0, status=200)
    assert (client.written_at, client.finished, sink.alive()) == (7.0, 1, True)
    assert (room.row["sent_bytes"], room.row["first_ms"]) == (22, 500)


@pytest.mark.parametrize("dialect", list(DIALECTS))
async def test_whole_answer_is_counted_in_bytes_alone(room, dialect):
    room.watch()
    outcome = room.begin(dialect=dialect)
    client = Client()
    Watched(client, room.recent, "req_1").reply(200, (), b'{"choices": [{"message": {}}]}')
    assert room.row["tokens"] is None
    assert room.row["sent_bytes"] == 30
    room.end(outcome, 0.1, status=200)
    assert client.status == 200


def test_sizes_of_what_runs_are_known_until_it_ends(room):
    outcome = room.begin()
    asked = len(room.recent._running["req_1"].call.raw)
    room.recent.progress("req_1", b"x" * 30)
    assert room.recent.sizes("req_1") == (asked, 30)
    room.end(outcome)
    assert room.recent.sizes("req_1") == (0, 0)
