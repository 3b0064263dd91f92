import random
import re
import time

import pytest

from app.routing.patterns import compile_pattern, containing, covers


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("gpt-5", "gpt-5", True),
        ("gpt-5", "gpt-5-mini", False),
        ("gpt-5", "GPT-5", False),
        ("gpt.5", "gpt-5", False),
        ("claude-*", "claude-", True),
        ("claude-*", "x-claude-1", False),
        ("*haiku*", "claude-3-5-haiku-20241022", True),
        ("*a*b*c", "xxaxxbxxbxc", True),
        ("*a*b*c", "xxbxxaxxc", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("gpt-?", "gpt-5", True),
        ("gpt-?", "gpt-50", False),
        ("*[1m]", "claude-sonnet-4-5[1m]", True),
        ("*[1m]", "claude-sonnet-4-51", False),
        ("**", "", True),
        ("/^gpt-[45]/", "gpt-5-mini", True),
        ("/^gpt-[45]/", "my-gpt-5", False),
        ("/mini/", "gpt-5-mini", True),
        ("/", "/", True),
        ("//", "//", True),
        ("*\n*", "a\nb", True),
    ],
)
def test_a_pattern_means_what_it_says(pattern, name, matches):
    assert compile_pattern(pattern).matches(name) is matches


def test_letters_may_be_of_any_case():
    assert compile_pattern("*WEB*", ignore_case=True).matches("web_search")
    assert compile_pattern("/WEB/", ignore_case=True).matches("web_search")
    assert not compile_pattern("*WEB*").matches("web_search")


def test_many_stars_against_a_hostile_name_take_no_time():
    pattern = compile_pattern("*a" * 400 + "*b")
    began = time.perf_counter()
    assert not pattern.matches("a" * 1_000_000)
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize("text", ["haiku", "a*b", "a?b", "/x/", "a.b", "("])
def test_containing_is_a_substring(text):
    pattern = compile_pattern(containing(text))
    assert pattern.matches(text)
    assert pattern.matches(f"x{text}y")
    assert not pattern.matches("other")


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        ("*", "claude-*", True),
        ("*", "/x/", True),
        ("claude-*", "claude-opus-*", True),
        ("claude-*", "claude-opus", True),
        ("claude-opus-*", "claude-*", False),
        ("*haiku*", "claude-haiku", True),
        ("*haiku*", "*haiku", True),
        ("gpt-?", "gpt-*", False),
        ("gpt-*", "gpt-?", True),
        ("/^gpt/", "gpt-5", True),
        ("/^gpt/", "gpt-*", False),
        ("/^gpt/", "/^gpt/", True),
        ("gpt-5", "gpt-5", True),
        ("", "gpt-5", False),
    ],
)
def test_covering_is_decided_where_it_can_be(wide, narrow, covered):
    assert covers(compile_pattern(wide), compile_pattern(narrow)) is covered


def test_case_matters_for_covering():
    assert not covers(compile_pattern("a*", ignore_case=True), compile_pattern("a"))


def test_what_is_covered_is_matched():
    """Against a reference: fnmatch-like, by plain regular expressions."""
    chance = random.Random(5)  # noqa: S311 - the same each time
    covered = 0
    for _ in range(3_000):
        wide, narrow = ("".join(chance.choices("ab*?", k=chance.randint(1, 5))) for _ in "12")
        names = ["".join(chance.choices("abc", k=chance.randint(0, 6))) for _ in range(30)]
        for text in (wide, narrow):
            plain = re.escape(text).replace(r"\*", ".*").replace(r"\?", ".")
            for name in names:
                assert compile_pattern(text).matches(name) == bool(re.fullmatch(plain, name))
        if covers(compile_pattern(wide), compile_pattern(narrow)):
            covered += 1
            met = [name for name in names if compile_pattern(narrow).matches(name)]
            assert all(compile_pattern(wide).matches(name) for name in met), (wide, narrow)
    assert covered > 100
