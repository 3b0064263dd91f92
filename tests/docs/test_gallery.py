"""The gallery of routing: each example is valid, and calls go where its table says.

Below each example stands a table of three columns. *asked* is what ``dragoman route --explain`` is
given, with a circumstance behind it; *goes to* is the accounts and models in the order of asking;
*because* names the rule, and words that the explanation says, in backticks.
"""

import functools
import re
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from app import settle
from app.accounts.account import Account
from app.accounts.configured import configured_accounts
from app.accounts.discovery import Discovery
from app.accounts.manner import known_providers
from app.canonical.failure import Failure
from app.cli.program import build
from app.configfile import Located
from app.configtext import load
from app.dialects import DIALECTS
from app.errors import Retry
from app.gateway.route import may_follow
from app.providers import PROVIDERS
from app.providers.base import Credential
from app.routing.explain import plan_decision
from app.routing.rules import decide
from app.server.explain import read_question
from app.server.rules import RuleDesk
from app.server.spending import Spending
from app.store.opening import Opening
from tests.gateway.scripted import Desk
from tests.ledger.entries import entry

PAGE = Path(__file__).parents[2] / "assets" / "docs" / "routing-gallery.md"
SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")
SIGNED_IN = re.compile(r"^Signed in: (.+)\.$", re.MULTILINE)
TARGET = re.compile(r"`([^`]+)`, `([^`]+)`(?: for about (\d+) % of conversations)?")
CIRCUMSTANCE = re.compile(
    r"(?:, while `(?P<resting>[^`]+)` rests"
    r"|, while the budget `(?P<budget>[^`]+)` is used up"
    r"|, after `(?P<failure>[^`]+)` at the first"
    r"|, as call number (?P<turn>\d+))?"
)
ABOUT_THE_CALL = ("context_full", "content_policy")
"""Failures that another account would have, too."""
FEWEST = 15
CONVERSATIONS = 1_000


@dataclass(frozen=True)
class Example:
    title: str
    text: str
    signed_in: tuple[str, ...]
    rows: tuple[tuple[str, str, str], ...]


def examples():
    found = []
    for title, text in SECTION.findall(PAGE.read_text("utf-8")):
        blocks = YAML.findall(text)
        rows = [row for row in ROW.findall(text) if row[0] not in ("asked", "---")]
        told = SIGNED_IN.search(text)
        accounts = tuple(CODE.findall(told[1])) if told else ()
        assert len(blocks) == 1, f"{title}: one example"
        assert rows, f"{title}: what it does"
        found.append(Example(title, blocks[0], accounts, tuple(rows)))
    return found


EXAMPLES = examples()
CLAIMS = [
    pytest.param(example, row, id=f"{example.title}-{number}")
    for example in EXAMPLES
    for number, row in enumerate(example.rows)
]


def test_there_are_enough_examples_with_different_titles():
    titles = [example.title for example in EXAMPLES]
    assert len(titles) >= FEWEST
    assert len(set(titles)) == len(titles)


async def _not_called(*_):
    raise AssertionError("nothing is sent")


class Set:
    """The rooms that an explanation is made from, set up as an example says."""

    def __init__(self, example, tmp_path):
        env = dict.fromkeys(re.findall(r"\$\{(\w+)\}", example.text), "key")
        self.config = load(example.text, "config.yaml", env)
        providers = {**PROVIDERS, **known_providers(self.config)}
        accounts, problems = configured_accounts(self.config, env, "config.yaml")
        accounts = (*accounts, *(_signed_in(name) for name in example.signed_in))
        self.desk = RuleDesk(Located(tmp_path / "config.yaml", "default"), providers)
        self.routing = self.desk.load(self.config, accounts, problems, text=example.text)
        listed = Discovery(_not_called, _not_called, DIALECTS).listed(accounts)
        catalog = settle.catalog(self.config, listed, {})
        scripted = Desk(*accounts, catalog=catalog)
        self.gateway, self.roster, self.clock = scripted.gateway, scripted.roster, scripted.clock
        self.desk.enforce(self.routing, self.config, self.gateway)
        self.spending = Spending(
            Opening(None, tmp_path), lambda: self.config, self.roster, providers, self.clock
        )

    def happen(self, found):
        """Make the circumstance of a row true."""
        if resting := found["resting"]:
            assert self.roster.get(resting) is not None, resting
            self.roster.pause(resting, None, 3_600, "its limit is reached", self.clock())
        if name := found["budget"]:
            budget = next(b for b in self.config.ledger.budgets if b.name == name)
            spent = entry(
                at=self.clock(), provider=budget.provider, cost=round(budget.usd * 1_000_000)
            )
            self.spending.meter.note(spent)
        for name in {account.provider.id for account in self.roster.accounts()}:
            for _ in range(int(found["turn"] or 1) - 1):
                self.gateway.traffic.chose(name)

    def after(self, question, kind):
        """Return whom a call goes to next when the first has failed."""
        facts = read_question({**question, "tokens": question.get("tokens", 0)}, DIALECTS).facts
        decision = decide(facts.counted(question.get("tokens", 0)), self.gateway.rules)
        now = self.clock()
        plan = plan_decision(
            decision,
            "openai_chat",
            self.roster.accounts(),
            self.gateway.catalog,
            lambda account, model: self.gateway.state(account, model, now),
            lambda *_: True,
            lambda *_: (0, ""),
        )
        first, *others = plan.candidates
        retry = Retry.NEVER if kind in ABOUT_THE_CALL else Retry.NEXT_ACCOUNT
        failure = Failure(429, "as the page says", kind, retry=retry)
        return [(c.account.id, c.model) for c in others if may_follow(decision, first, c, failure)]


def _signed_in(account_id):
    name, _, label = account_id.partition("/")
    provider = PROVIDERS[name]
    assert provider.sign_ins or provider.page_url, f"nobody signs in to {name}"
    return Account(account_id, provider, label, provider.base_url, Credential("token"))


@functools.cache
def all_commands():
    import typer

    return typer.main.get_command(build())


def question_of(text):
    """Return the question that options of ``dragoman route`` make, as the command makes it."""
    command = all_commands().commands["route"]
    params = command.make_context("route", shlex.split(text)).params
    assert not params["file"]
    fields = ("path", "model", "tokens", "stream", "thinking", "images", "client", "key")
    question = {name: params[name] for name in fields}
    question["tools"] = list(params["tool"] or ()) or None
    headers = dict(line.split(": ", 1) for line in params["header"] or ())
    question["headers"] = headers or None
    return {name: value for name, value in question.items() if value is not None}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
async def test_examples_are_valid_and_raise_no_doubts(example, tmp_path):
    found = Set(example, tmp_path)
    assert found.routing.doubts == ()
    assert found.spending.warnings == ()


@pytest.mark.parametrize(("example", "row"), CLAIMS)
async def test_calls_go_where_the_table_says(example, row, tmp_path):
    asked, goes_to, because = row
    found = Set(example, tmp_path)
    options = CODE.match(asked)
    assert options is not None, asked
    circumstance = CIRCUMSTANCE.fullmatch(asked[options.end() :])
    assert circumstance is not None, asked
    found.happen(circumstance)
    question = question_of(options[1])
    trace = await found.desk.explain(found.gateway, question)
    if goes_to.startswith("nobody: "):
        assert CODE.findall(goes_to)[0] in trace["error"]
        assert trace["candidates"] == ()
    elif "% of conversations" in goes_to:
        await _check_shares(found, question, goes_to)
    else:
        assert not trace["error"], trace["error"]
        told = [(account, model) for account, model, _ in TARGET.findall(goes_to)]
        assert told, goes_to
        if kind := circumstance["failure"]:
            assert found.after(question, kind) == told
        else:
            assert [(c["account"], c["model"]) for c in trace["candidates"]] == told
    _check_reasons(trace, because)


async def _check_shares(found, question, goes_to):
    seen = Counter()
    for number in range(CONVERSATIONS):
        asked = {**question, "conversation": str(number)}
        trace = await found.desk.explain(found.gateway, asked)
        if number < 20:
            again = await found.desk.explain(found.gateway, asked)
            assert trace == again, "a conversation stays with its model"
        first = trace["candidates"][0]
        seen[first["account"], first["model"]] += 1
    told = {(account, model): int(part) for account, model, part in TARGET.findall(goes_to)}
    assert seen.keys() == told.keys()
    for target, percent in told.items():
        assert abs(seen[target] / CONVERSATIONS * 100 - percent) < 3


def _check_reasons(trace, because):
    rule = re.search(r"\brule `([^`]+)`", because)
    assert trace["rule"] == (rule[1] if rule else ""), because
    said = "\n".join(
        (
            trace["rule"],
            *trace["models"],
            *trace["notes"],
            trace["error"],
            *(c["why"] for c in trace["candidates"]),
            *(f"{r['account']}: {r['why']}" for r in trace["left_out"]),
            *(r["why"] for r in trace["rules"]),
        )
    )
    for words in CODE.findall(because):
        assert words in said, said
