import csv
import io

import msgspec
import pytest

from app.cli import usage as module
from app.cli.terminal import show_error
from app.cli.usage import render_bar
from app.errors import AppError
from app.ledger.ledger import usage_report
from app.ledger.query import usage_query
from app.ledger.report import report_json
from app.ledger.row import attempt_rows, row_of
from app.store.database import Database
from app.store.keys import Keys
from app.store.ledger import LedgerStore
from tests.ledger.entries import NOON, entry


@pytest.fixture
def run(home, capsys, monkeypatch):
    """Runs the command on its own and returns exit code, output and errors."""
    import typer

    monkeypatch.setattr(module.time, "time", lambda: NOON + 60)
    program = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    program.command("usage")(module.usage)
    program.command("other")(lambda: None)
    command = typer.main.get_command(program)

    def call(*words):
        capsys.readouterr()
        code = 0
        try:
            command.main(args=["usage", *words], prog_name="dragoman")
        except AppError as error:
            code = show_error(error)
        except SystemExit as ended:
            code = ended.code or 0
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def filled(home):
    database = Database(None, home.data)
    database.migrate()
    store = LedgerStore(database)
    record, _ = Keys(database, now=lambda: NOON).create("client", "laptop")
    entries = [
        entry("a", at=NOON - 86_400, key_id=record.id),
        entry("b", cost=40_000_000, worth=True, model="opus"),
        entry("c", error="x", status=500, tokens=None, cost=None),
    ]
    store.add([row_of(one) for one in entries], [t for one in entries for t in attempt_rows(one)])
    yield store
    database.close()


def words_of(out):
    return [line.split() for line in out.splitlines()]


def test_days_are_shown_with_bars_and_a_total(run, filled):
    code, out, _ = run("--since", "7d")
    header, before, today, total = out.splitlines()
    assert code == 0
    assert header.split()[:4] == ["DAY", "REQUESTS", "FAILED", "INPUT"]
    assert header.split()[-1] == "SPENT"
    assert before.split()[:3] == ["2026-11-20", "1", "160"]
    assert before.rstrip().endswith("▏")
    assert "$40.00" in today
    assert today.rstrip().endswith("█" * 24)
    assert total.split()[:3] == ["total", "3", "1"]


def test_models_and_keys_are_named_for_people(run, filled):
    _, out, _ = run("--by", "model")
    assert [line[0] for line in words_of(out)] == ["MODEL", "opus", "claude-sonnet-4-5", "total"]
    _, out, _ = run("--by", "key")
    assert [line[0] for line in words_of(out)] == ["KEY", "(no", "laptop", "total"]


def test_tokens_are_plotted_where_nothing_was_spent(run, home):
    database = Database(None, home.data)
    database.migrate()
    LedgerStore(database).add([row_of(entry("a", cost=None))], [])
    database.close()
    _, out, _ = run("--by", "agent")
    assert out.splitlines()[0].split()[-1] == "TOKENS"
    assert out.rstrip().endswith("1 requests went to models whose price is not known.")


def test_a_running_instance_is_asked(run, fake, filled):
    query = usage_query({"by": "provider", "since": "7d"}, NOON + 60)
    answer = report_json(usage_report(filled, query)) | {"trouble": "The ledger is behind."}
    fake.answers["GET /admin/usage?by=provider&since=7d&until=today"] = answer
    code, out, err = run("--by", "provider", "--since", "7d", "--until", "today")
    assert code == 0
    assert "claude" in out
    assert "The ledger is behind." in err
    assert fake.asked[-1][2] == f"Bearer {fake.record.token}"


def test_json_is_the_answer_as_served(run, filled):
    _, out, _ = run("--by", "model", "--json")
    body = msgspec.json.decode(out)
    assert body["by"] == "model"
    assert body["total"]["worth_usd"] == 40.0


def test_csv_has_a_line_per_group(run, filled):
    _, out, _ = run("--by", "model", "--csv")
    lines = list(csv.DictReader(io.StringIO(out)))
    assert [line["model"] for line in lines] == ["opus", "claude-sonnet-4-5"]


def test_nothing_is_said_to_be_nothing(run):
    code, out, err = run()
    assert (code, out) == (0, "")
    assert err == "Nothing was used in that time.\n"


@pytest.mark.parametrize("words", [("--by", "weekday"), ("--since", "soon"), ("--json", "--csv")])
def test_a_wrong_call_is_told_from_a_failure(run, words):
    code, _, err = run(*words)
    assert code == 2
    assert "Invalid value" in err


def test_a_database_of_an_unset_variable_is_not_taken_for_the_file(run, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_DATABASE__URL", "${NO_SUCH_DATABASE_URL}")
    code, _, err = run()
    assert code == 1
    assert "NO_SUCH_DATABASE_URL is not set" in err


@pytest.mark.parametrize(
    ("part", "bar"),
    [(0, ""), (1e-9, "▏"), (0.5, "██"), (0.53125, "██▏"), (0.75, "███"), (1, "████"), (2, "████")],
)
def test_bars_have_eighths_of_a_character(part, bar):
    assert render_bar(part, 4) == bar


def test_bars_of_a_plain_terminal_are_ascii():
    assert [render_bar(part, 4, plain=True) for part in (0, 0.01, 0.5, 1)] == [
        "",
        "#",
        "##",
        "####",
    ]


@pytest.mark.parametrize(
    ("words", "requests"),
    [
        (("--model", "opus"), 1),
        (("--provider", "claude"), 3),
        (("--account", "claude/one", "--model", "claude-sonnet-4-5"), 2),
        (("--agent", "nobody"), 0),
        (("--key", "laptop"), 1),
        (("--key", ""), 2),
        (("--key", "no-such-key"), 0),
    ],
)
def test_it_can_be_narrowed(run, filled, words, requests):
    code, out, _ = run("--by", "model", "--json", *words)
    assert code == 0
    assert msgspec.json.decode(out)["total"]["requests"] == requests


def test_wishes_go_to_a_running_instance(run, fake, filled):
    query = usage_query({"by": "day"}, NOON + 60)
    answer = report_json(usage_report(filled, query))
    fake.answers["GET /admin/usage?by=day&model=opus&key=my+laptop"] = answer
    assert run("--model", "opus", "--key", "my laptop")[0] == 0
