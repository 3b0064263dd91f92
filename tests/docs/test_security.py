"""The page about security: promises have tests that can be run, and hosts are those that are called."""

import ast
import re
from pathlib import Path
from urllib.parse import urlsplit

from app.providers import PROVIDERS
from app.upstream.publicmodels import URL

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "assets" / "docs" / "security.md").read_text("utf-8")
CODE = re.compile(r"`([^`\n]+)`")
TABLE = re.compile(r"^\| ([^|]+) \| test \|\n\|[-|]+\|\n((?:\|.*\n)+)", re.MULTILINE)
HOST = re.compile(r"(?:https?|wss?)://([A-Za-z0-9.-]+\.[a-z]+)")
BROWSERS = frozenset(
    ("aistudio.google.com", "claude.ai", "console.anthropic.com", "cto.new", "platform.openai.com")
)
"""Hosts in the code whose pages people open, and the program never asks."""
MADE_UP = frozenset(("example.com",))


def promises():
    """Every promise with the tests it names."""
    found = []
    for _, rows in TABLE.findall(PAGE):
        for line in rows.splitlines():
            promise, tests = (cell.strip() for cell in line.strip("|").split("|"))
            found.append((promise, CODE.findall(tests)))
    return found


def test_every_promise_names_a_test_and_none_is_named_twice():
    rows = promises()
    assert len(rows) > 50
    assert [promise for promise, tests in rows if not tests] == []
    named = [one for _, tests in rows for one in tests]
    assert all(re.fullmatch(r"tests/[\w/]+\.py::test_\w+", one) for one in named)
    assert len(named) == len(set(named))


def test_no_promise_rests_on_a_test_that_is_off_by_default():
    off = {"clients", "package", "services", "bench", "live"}
    for promise, tests in promises():
        for one in tests:
            path, _, name = one.partition("::")
            tree = ast.parse((ROOT / path).read_text("utf-8"))
            marks = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Assign)]
            found = [n for n in ast.walk(tree) if getattr(n, "name", "") == name]
            assert len(found) == 1, one
            marks += [ast.unparse(mark) for mark in found[0].decorator_list]
            words = set(re.findall(r"pytest\.mark\.(\w+)", "\n".join(marks)))
            assert not words & off, promise


def told_hosts():
    rows = PAGE.split("| host | of |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    told = {}
    for row in rows:
        hosts, names, _ = (cell.strip() for cell in row.strip("|").split("|"))
        for host in CODE.findall(hosts):
            told[host] = set(re.findall(r"\w+", names))
    return told


def test_hosts_are_those_of_the_providers():
    there = {urlsplit(URL).hostname: set()}
    for name, provider in PROVIDERS.items():
        hosts = set(provider.hosts)
        if not hosts and not provider.demo:
            hosts = {urlsplit(provider.base_url).hostname}
        for host in hosts:
            there.setdefault(host, set()).add(name)
    assert told_hosts() == there


def test_no_other_host_stands_in_the_code_that_calls():
    known = told_hosts().keys() | BROWSERS | MADE_UP
    for folder in ("providers", "upstream", "accounts", "services"):
        for path in sorted((ROOT / "app" / folder).glob("*.py")):
            for text in texts(ast.parse(path.read_text("utf-8"))):
                assert set(HOST.findall(text)) <= known, path.name


def texts(tree):
    """Every text of a file that is no documentation."""
    bodies = [body for one in ast.walk(tree) if isinstance(body := getattr(one, "body", 0), list)]
    lone = [line.value for body in bodies for line in body if isinstance(line, ast.Expr)]
    documentation = {id(value) for value in lone if isinstance(value, ast.Constant)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in documentation:
            continue
        if isinstance(node.value, str):
            yield node.value
