"""Every error code that the program can give has an entry, and every entry is a code of the program.

Codes are read from the source: constants given as ``code=``, class attributes ``code``, and the few
places where a code is put together or handed on, which are listed here one by one.
"""

import ast
import functools
import inspect
import re
from pathlib import Path
from typing import get_args

import pytest

from app.accounts.keychain import KeyringTrouble
from app.accounts.vaultstate import VaultState, VaultStateName
from app.dialects import openai_errors
from app.help import TROUBLESHOOTING, read_entries, read_page
from app.server.pages import Page

ROOT = Path(__file__).parent.parent.parent
APP = sorted((ROOT / "app").rglob("*.py"))

HANDED_ON = {
    ("app/accounts/command.py", "error.code"),
    ("app/accounts/login.py", "code"),
    ("app/accounts/login.py", "error.code"),
    ("app/accounts/login.py", "attempt.view.code"),
    ("app/accounts/refresh.py", "error.code"),
    ("app/canonical/failure.py", "error.code"),
    ("app/cli/client.py", "code"),
    ("app/cli/launch.py", "told"),
    ("app/cli/login.py", "flow.get('code')"),
    ("app/dialects/anthropic_failure.py", "code"),
    ("app/dialects/gemini_failure.py", "reason"),
    ("app/dialects/openai_errors.py", "code"),
    ("app/dialects/openai_errors.py", "failure.code"),
    ("app/gateway/count.py", "failure.code"),
    ("app/gateway/refusal.py", "_cut(failure.code)"),
    ("app/server/signin.py", "flow.code"),
    ("app/server/signin.py", "flow.user_code"),
}
"""A code that was given elsewhere, or by a service; file and expression."""

CALLS = {
    ("app/server/guard.py", "self._fail"): 0,
    ("app/server/listen.py", "ListenError"): 0,
    ("app/server/front.py", "HeadRefused"): 1,
    ("app/server/head.py", "HeadRefused"): 1,
    ("app/dialects/anthropic_failure.py", "_Verdict"): 4,
}
"""Functions that take a code without its name: at which place."""
TAKEN = {
    ("app/server/guard.py", "code"),
    ("app/server/listen.py", "code"),
    ("app/dialects/anthropic_failure.py", "verdict.code"),
    ("app/store/database.py", "code"),
    ("app/accounts/keychain.py", "f'keyring_{trouble}'"),
    ("app/accounts/vault.py", "f'vault_{state.name}'"),
    ("app/server/pages.py", "f'http_{status_code}'"),
}
"""Where such codes arrive."""


@functools.cache
def parse(path):
    return ast.parse(path.read_text("utf-8"))


def name(path):
    return path.relative_to(ROOT).as_posix()


def constants():
    """Module-level texts of the program by their names."""
    found = {}
    for path in APP:
        for node in parse(path).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", 0)]
            value = getattr(node, "value", None)
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found |= {t.id: value.value for t in targets if isinstance(t, ast.Name)}
    return found


def leaves(node):
    """The expressions that a code may come from: each branch of a choice."""
    if isinstance(node, ast.IfExp):
        return [*leaves(node.body), *leaves(node.orelse)]
    if isinstance(node, ast.BoolOp):
        return [leaf for value in node.values for leaf in leaves(value)]
    return [node]


def codes_in(path, known):
    """The codes of a file, and the expressions that are none."""
    codes, others = set(), set()
    for node in ast.walk(parse(path)):
        given = []
        if isinstance(node, ast.Call):
            given = [word.value for word in node.keywords if word.arg == "code"]
            place = CALLS.get((name(path), ast.unparse(node.func)))
            if place is not None and len(node.args) > place:
                given.append(node.args[place])
        elif isinstance(node, ast.ClassDef):
            given = [
                line.value
                for line in node.body
                if isinstance(line, ast.Assign | ast.AnnAssign)
                and line.value is not None
                and "code" in ast.unparse(line).partition("=")[0].partition(":")[0].split()
            ]
        for leaf in (leaf for expression in given for leaf in leaves(expression)):
            if isinstance(leaf, ast.Constant):
                codes |= {leaf.value} - {"", None}
            elif isinstance(leaf, ast.Name) and leaf.id in known:
                codes.add(known[leaf.id])
            else:
                others.add((name(path), ast.unparse(leaf)))
    return codes, others


@pytest.fixture(scope="module")
def found():
    known = constants()
    codes, others = set(), set()
    for path in APP:
        some, rest = codes_in(path, known)
        codes |= some
        others |= rest
    return codes, others


def put_together():
    """Codes that no single text of the source holds."""
    yield from (f"keyring_{trouble}" for trouble in get_args(KeyringTrouble))
    for state in get_args(VaultStateName):
        if not VaultState(state, "").usable:
            yield f"vault_{state}"
    told = re.findall(r"\b(\d{3}):", inspect.getsource(Page.write_error))
    yield from (f"http_{status}" for status in (*told, 500))
    # What OpenAI's dialect says of a failure that has no code, or a code that its clients do not know.
    yield from openai_errors._CODES.values()
    yield from openai_errors._FIXED_CODES.values()
    trouble = ROOT / "app" / "store" / "database.py"
    yield from re.findall(r'return "(store_\w+)"', trouble.read_text("utf-8"))


def test_codes_come_from_nowhere_that_is_not_looked_at(found):
    _, others = found
    assert others == HANDED_ON | TAKEN


def test_every_code_has_an_entry_and_every_entry_is_a_code(found):
    codes = found[0] | set(put_together())
    assert codes - set(read_entries()) == set(), "without an entry"
    assert set(read_entries()) - codes == set(), "entries that nothing gives"


def test_no_code_has_two_entries():
    headings = re.findall(r"^### (\w+)$", read_page(TROUBLESHOOTING), re.MULTILINE)
    assert len(headings) == len(set(headings))


@pytest.mark.parametrize("code", sorted(read_entries()))
def test_entry_is_made_of_whole_sentences(code):
    text = re.sub(r"```.*?```", "", read_entries()[code], flags=re.DOTALL).strip()
    assert len(text.split()) >= 8, text
    assert re.search(r"[.:]$", text), text[-40:]
