"""Whether the conditions of a rule hold (pure).

A condition of the settings is compiled into tests, cheapest first: what the head of a call tells,
what needs the decoded body, rules of the user's own, and last the number of tokens, which is not
even counted when something else already fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from app.configrules import Condition
from app.routing.ccproxy import bind, ccproxy_condition, ccproxy_type
from app.routing.facts import FactsMissing, RequestFacts
from app.routing.patterns import Pattern, compile_pattern, covers

__all__ = ["CustomRule", "Test", "compile_condition", "implies"]

CustomRule: TypeAlias = Callable[..., bool]
"""A rule of the user's own, called with the facts and its params. Raises ``FactsMissing`` when it
failed; whoever loads it sees to that."""

_HEAD, _BODY, _CUSTOM, _COUNT = range(4)


@dataclass(frozen=True, slots=True)
class Test:
    """One thing that has to hold."""

    __test__ = False  # the name is the field's; pytest must not collect it

    holds: Callable[[RequestFacts], bool]
    """May raise ``TokensWanted`` and ``FactsMissing``."""
    text: str
    """What it asks for, in words for people: ``model is claude-*``."""
    cost: int = _HEAD


def compile_condition(condition: Condition, custom: Mapping[str, CustomRule]) -> tuple[Test, ...]:
    """Return the tests of a condition in the order of asking; none for one that always holds.

    Args:
        condition: as in the settings.
        custom: rules of the user's own by name.

    Raises:
        ValueError: it names a rule that there is not, or params that the rule does not take.
    """
    tests = [*_plain(condition)]
    if condition.rule is not None:
        tests += _named(condition.rule, condition.params, custom)
    if condition.any is not None:
        tests.append(_any([compile_condition(item, custom) for item in condition.any]))
    if condition.not_ is not None:
        tests.append(_not(compile_condition(condition.not_, custom)))
    return tuple(sorted(tests, key=lambda test: test.cost))


def _patterns(texts: Sequence[str], *, ignore_case: bool = False) -> tuple[Pattern, ...]:
    return tuple(compile_pattern(text, ignore_case=ignore_case) for text in texts)


def _plain(condition: Condition) -> list[Test]:
    tests: list[Test] = []

    def named(
        texts: Sequence[str] | None,
        what: str,
        values: Callable[[RequestFacts], Sequence[str]],
        cost: int = _HEAD,
        *,
        ignore_case: bool = False,
    ) -> None:
        if texts is None:
            return
        patterns = _patterns(texts, ignore_case=ignore_case)
        tests.append(
            Test(
                lambda facts: any(p.matches(value) for value in values(facts) for p in patterns),
                f"{what} is {' or '.join(texts)}",
                cost,
            )
        )

    def flag(
        wanted: bool | None, what: str, value: Callable[[RequestFacts], bool], cost: int
    ) -> None:
        if wanted is not None:
            text = what if wanted else f"not: {what}"
            tests.append(Test(lambda facts: value(facts) is wanted, text, cost))

    named(condition.model, "model", lambda facts: facts.names())
    flag(condition.stream, "the answer is streamed", lambda facts: facts.stream, _HEAD)
    named(condition.path, "path", lambda facts: (facts.path,))
    named(condition.key, "key", lambda facts: (facts.key,) if facts.key else ())
    named(
        condition.client,
        "client",
        lambda facts: (facts.client,) if facts.client else (),
        ignore_case=True,
    )
    for field, texts in condition.header.items():
        named(texts, f"header {field}", _header_values(field), ignore_case=True)
    flag(condition.thinking, "thinking is on", RequestFacts.thinking, _BODY)
    flag(condition.images, "there are images", RequestFacts.images, _BODY)
    named(condition.tool, "a tool", RequestFacts.tools, _BODY, ignore_case=True)
    tokens = condition.tokens
    if tokens is not None:
        over, under = tokens.over, tokens.under
        words = [f"over {over}"] if over is not None else []
        words += [f"under {under}"] if under is not None else []
        tests.append(
            Test(
                lambda facts: (
                    (over is None or facts.tokens() > over)
                    and (under is None or facts.tokens() < under)
                ),
                f"tokens are {' and '.join(words)}",
                _COUNT,
            )
        )
    return tests


def _header_values(field: str) -> Callable[[RequestFacts], Sequence[str]]:
    name = field.lower()
    return lambda facts: facts.header(name)


def _named(name: str, params: Any, custom: Mapping[str, CustomRule]) -> list[Test]:
    known = ccproxy_type(name)
    if known is not None and name not in custom:
        return _plain(ccproxy_condition(known, params))
    rule = custom.get(name)
    if rule is None:
        raise ValueError(f"there is no rule {name!r}")
    args, keywords = bind(params)
    return [Test(lambda facts: rule(facts, *args, **keywords), f"rule {name}", _CUSTOM)]


def _all_hold(tests: Sequence[Test], facts: RequestFacts) -> bool:
    return all(test.holds(facts) for test in tests)


def _words(tests: Sequence[Test]) -> str:
    return " and ".join(test.text for test in tests) or "any call"


def _cost(tests: Sequence[Test]) -> int:
    return max((test.cost for test in tests), default=_HEAD)


def _any(choices: Sequence[Sequence[Test]]) -> Test:
    ordered = sorted(choices, key=_cost)

    def holds(facts: RequestFacts) -> bool:
        missing: FactsMissing | None = None
        for tests in ordered:
            try:
                if _all_hold(tests, facts):
                    return True
            except FactsMissing as error:  # another one may hold without that fact
                missing = missing or error
        if missing is not None:
            raise missing
        return False

    text = " or ".join(_words(tests) for tests in choices)
    return Test(holds, f"({text})", max(_cost(tests) for tests in choices))


def _not(tests: Sequence[Test]) -> Test:
    return Test(lambda facts: not _all_hold(tests, facts), f"not ({_words(tests)})", _cost(tests))


# Which condition says at least as much as another.


def implies(narrow: Condition, wide: Condition) -> bool:
    """Say whether every call for which ``narrow`` holds surely meets ``wide``, too.

    False also where that cannot be decided. Rules of the user's own are never decided: they may
    answer otherwise each time.
    """
    narrow, wide = _native(narrow), _native(wide)
    if _plainly_implies(narrow, wide):
        return True
    if narrow.any is not None and wide.any is None:
        alone = narrow.model_copy(update={"any": None})
        return all(implies(choice, wide) or implies(alone, wide) for choice in narrow.any)
    return False


def _plainly_implies(narrow: Condition, wide: Condition) -> bool:
    return (
        wide.rule is None
        and _within(narrow.model, wide.model)
        and _within(narrow.path, wide.path)
        and _within(narrow.key, wide.key)
        and _within(narrow.client, wide.client, ignore_case=True)
        and _within(narrow.tool, wide.tool, ignore_case=True)
        and _headers_within(narrow, wide)
        and all(
            getattr(wide, name) in (None, getattr(narrow, name))
            for name in ("thinking", "images", "stream")
        )
        and _tokens_within(narrow, wide)
        and (
            wide.any is None
            or narrow.any == wide.any
            or any(implies(narrow, choice) for choice in wide.any)
        )
        and (wide.not_ is None or (narrow.not_ is not None and implies(wide.not_, narrow.not_)))
    )


def _native(condition: Condition) -> Condition:
    """Return a condition with its ccproxy rule written out, where that says the same."""
    known = None if condition.rule is None else ccproxy_type(condition.rule)
    if known is None:
        return condition
    try:
        said = ccproxy_condition(known, condition.params)
    except ValueError:
        return condition  # reported elsewhere
    given = said.model_fields_set
    if any(getattr(condition, name) is not None for name in given):
        return condition
    return condition.model_copy(
        update={"rule": None, "params": None} | {name: getattr(said, name) for name in given}
    )


def _within(
    narrow: Sequence[str] | None, wide: Sequence[str] | None, *, ignore_case: bool = False
) -> bool:
    if wide is None:
        return True
    if narrow is None:
        return False
    wides = _patterns(wide, ignore_case=ignore_case)
    return all(
        any(covers(pattern, other) for pattern in wides)
        for other in _patterns(narrow, ignore_case=ignore_case)
    )


def _headers_within(narrow: Condition, wide: Condition) -> bool:
    there = {name.lower(): texts for name, texts in narrow.header.items()}
    return all(
        _within(there.get(name.lower()), texts, ignore_case=True)
        for name, texts in wide.header.items()
    )


def _tokens_within(narrow: Condition, wide: Condition) -> bool:
    if wide.tokens is None:
        return True
    if narrow.tokens is None:
        return False
    over, under = narrow.tokens.over, narrow.tokens.under
    return (wide.tokens.over is None or (over is not None and over >= wide.tokens.over)) and (
        wide.tokens.under is None or (under is not None and under <= wide.tokens.under)
    )
