"""The house rules that a machine can check, from the text of the files alone.

The tables state the rules; ``check_source`` applies those about one file's code and is tried on
small wrong examples first, so that a rule which stopped working is noticed. ``app/errors.py`` is
the lowest file and ``app/__main__.py`` the highest.
"""

import ast
import functools
import io
import re
import subprocess
import tokenize
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent

# The rules

FOUNDATION = {
    *(
        "build",
        "config",
        "configfile",
        "configkept",
        "configledger",
        "configrules",
        "configsecret",
        "configtext",
        "configvalues",
        "help",
        "http",
        "instance",
        "keys",
        "log",
        "paths",
        "tasks",
    ),
    *("watch", "yamltree"),
}
"""Single files that every room stands on; they may use each other, without circles."""

ORDER = (
    {"errors"},
    FOUNDATION,
    {"canonical"},
    {"dialects"},
    {"providers"},
    {"accounts"},
    {"routing"},
    {"store", "extensions"},
    {"upstream", "ledger", "rulesets"},
    # Helper programs know what providers are, and nothing of calls; calls reach them by a Send.
    {"services"},
    {"gateway", "clients"},
    {"server"},
    {"settle"},
    {"service"},
    {"serving"},
    {"desktop", "cli"},
    {"__main__"},
)
"""Rooms from lowest to highest: a file imports from rooms below its own and from its own room."""

PURE = (
    "app/canonical/",
    "app/dialects/",
    "app/providers/",
    "app/routing/",
    "app/desktop/agentsmenu.py",
    "app/desktop/menu.py",
    "app/gateway/status.py",
    "app/ledger/report.py",
)
"""No network, files, clock, randomness, threads or global state."""

IMPURE_MODULES = {
    *("asyncio", "concurrent", "contextvars", "multiprocessing", "sched", "signal", "threading"),
    *("fileinput", "glob", "importlib", "os", "pathlib", "pkgutil", "shutil", "sqlite3"),
    *("tempfile", "mmap", "select", "selectors", "socket", "socketserver", "ssl"),
    *("ftplib", "http", "smtplib", "urllib.request", "webbrowser", "xmlrpc"),
    *("random", "secrets", "time", "ctypes", "getpass", "locale", "platform", "subprocess", "sys"),
    *("logging", "httpx", "httptools", "tornado", "sqlalchemy", "keyring", "filelock"),
    *("app.log", "app.paths", "app.tasks", "app.watch", "app.configfile", "app.instance"),
}

IMPURE_CALLS = {
    *("open", "print", "input", "exec", "eval", "breakpoint", "__import__"),
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
    *("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.date.today"),
    *("uuid.uuid1", "uuid.uuid4", "uuid4", "uuid1", "Path"),
}

LIBRARIES = {
    "webview": ("app/desktop/",),
    "pystray": ("app/desktop/",),
    "PIL": ("app/desktop/",),
    "desktop_notifier": ("app/desktop/",),
    "dbus_fast": ("app/desktop/",),
    "keyring": ("app/accounts/keychain.py",),
    "httpx": ("app/upstream/",),
    "httptools": ("app/upstream/",),
    "sqlalchemy": ("app/store/",),
    "alembic": ("app/store/",),
    "opentelemetry": ("app/ledger/traces.py",),
    "typer": ("app/cli/",),
    "rich": ("app/cli/",),
    "markdown_it": ("app/server/helptext.py",),
    "json": ("app/desktop/window.py",),  # msgspec is better, but another Python lacks it there
    "pickle": (),  # runs code that it reads
}
"""Where a library may be imported: files, or folders that end in a slash."""

VAGUE_WORDS = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}

LONGEST_LINES = 750
"""A file holds one noun; past this it holds two."""

TOP_LEVEL = {"pyproject.toml", "app", "assets", "tests", "packaging", "README.md"}

TESTED_FROM_LINES = 30
"""A file with functions and more lines of code than this has a test file of its own."""

WITHOUT_TEST = {
    "app/errors.py": "declarations; every room's tests check the errors that it raises",
    "app/server/peer_linux.py": "tests/server/test_peer.py holds all systems to the same answers",
    "app/server/peer_macos.py": "tests/server/test_peer.py holds all systems to the same answers",
    "app/server/peer_windows.py": "tests/server/test_peer.py holds all systems to the same answers",
}
"""Files that would need a test file of their own by that rule but do not, and why."""

MACHINE_PATH = re.compile(r"(?<![\w.~}$-])/(?:work|root|home/(?!u/|user/)[a-z_][\w.-]*)/")
"""Absolute paths of somebody's machine; the homes of ``u`` and ``user`` are neutral."""


# Reading the tree


def tracked_files():
    """Return the paths of the files in version control, or of all files outside of a checkout."""
    if (ROOT / ".git").exists():
        listing = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
        ).stdout.decode()
        return [name for name in listing.split("\0") if name and (ROOT / name).is_file()]
    walked = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    hidden = {"__pycache__", ".venv", "build", "dist"}
    return [path.as_posix() for path in walked if not hidden & set(path.parts)]


def python_files(folder):
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py"))


@functools.cache
def source(path):
    return (ROOT / path).read_text("utf-8")


@functools.cache
def tree_of(path):
    return ast.parse(source(path), path)


def module_name(path):
    """Return the dotted name of a file: ``app/store/__init__.py`` is ``app.store``."""
    dotted = path.removesuffix(".py").replace("/", ".")
    return dotted.removesuffix(".__init__")


APP_FILES = python_files("app")
MODULES = {module_name(path) for path in APP_FILES}
PACKAGES = {module_name(path) for path in APP_FILES if path.endswith("/__init__.py")} | {
    str(PurePosixPath(path).parent).replace("/", ".") for path in APP_FILES
}


def imports(nodes):
    """Yield (line, dotted name) of every import, wherever it stands in the file.

    ``from a import b`` yields ``a.b`` where ``b`` is a module of ours, and ``a`` otherwise.
    """
    for node in nodes:
        match node:
            case ast.Import(names=names):
                for name in names:
                    yield node.lineno, name.name
            case ast.ImportFrom(module=module, names=names, level=0) if module is not None:
                for name in names:
                    full = f"{module}.{name.name}"
                    known = full in MODULES or full in PACKAGES or module == "urllib"
                    yield node.lineno, full if known else module


def outside_functions(tree):
    """Yield the statements of a file that run when it is imported: those not within functions."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop(0)
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += [child for child in ast.iter_child_nodes(node) if not is_value(child)]


def is_value(node):
    return isinstance(node, ast.expr | ast.arguments | ast.alias)


def is_within(name, modules):
    """Tell whether a dotted name is one of the modules or lies in one."""
    parts = name.split(".")
    return any(".".join(parts[:end]) in modules for end in range(1, len(parts) + 1))


def room_of(name):
    """Return the room of a dotted name below ``app``; empty for ``app`` itself."""
    return name.split(".")[1] if "." in name else ""


def level_of(room):
    return next((level for level, rooms in enumerate(ORDER) if room in rooms), None)


def is_at(path, places):
    return any(path.startswith(place) if place.endswith("/") else path == place for place in places)


# The checks of one file, of all nodes of its tree; each yields (line, problem)


def check_order(path, nodes):
    room = room_of(module_name(path))
    level = level_of(room)
    if path != "app/__init__.py" and level is None:
        yield 1, f"the room {room!r} has no place in ORDER"
        return
    for line, name in imports(nodes):
        if not is_within(name, {"app"}):
            continue
        target = room_of(name)
        if path == "app/__init__.py":
            yield line, f"app itself imports nothing of ours, but here {name}"
        elif target in {"", room}:
            continue  # the version in app/__init__.py, or the same room
        elif level_of(target) is None:
            yield line, f"{name} has no place in ORDER"
        elif level_of(target) == level and room not in FOUNDATION:
            yield line, f"{room} imports sideways from {name}"
        elif level_of(target) > level:
            yield line, f"{room} imports upward from {name}"


def check_purity(path, nodes):
    if not is_at(path, PURE):
        return
    for line, name in imports(nodes):
        if is_within(name, IMPURE_MODULES):
            yield line, f"a pure file imports {name}"
    for node in nodes:
        match node:
            case ast.Call(func=function) if ast.unparse(function) in IMPURE_CALLS:
                yield node.lineno, f"a pure file calls {ast.unparse(function)}()"
            case ast.Global(names=names):
                yield node.lineno, f"a pure file changes global state: {', '.join(names)}"


def check_borders(path, nodes):
    for line, name in imports(nodes):
        library = name.split(".")[0]
        places = LIBRARIES.get(library)
        if places is not None and not is_at(path, places):
            where = " and ".join(places) or "nowhere"
            yield line, f"{library} is imported here, but belongs in {where}"


def check_relative(path, nodes):
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.level:
            yield node.lineno, "a relative import"


def check_name(path, nodes):
    words = set(PurePosixPath(path).stem.split("_"))
    words |= {word for part in PurePosixPath(path).parts[:-1] for word in part.split("_")}
    if words & VAGUE_WORDS:
        yield 1, "name the noun that the file holds"


CHECKS = (check_order, check_purity, check_borders, check_relative, check_name)


def check_source(path, tree):
    nodes = list(ast.walk(tree))
    return [f"{path}:{line}: {problem}" for check in CHECKS for line, problem in check(path, nodes)]


def code_lines(text):
    """Count the lines with code on them: no comments, docstrings or blank lines."""
    documented = set()
    for node in ast.walk(ast.parse(text)):
        # A string that stands alone documents what is above it.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            documented |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in silent and token.type != tokenize.ENDMARKER:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - documented)


DIALECT_PIECES = re.compile(r"app/dialects/(anthropic|gemini|openai_chat|openai_responses)_\w+\.py")
"""A dialect is one noun whose file was split for its length; its cases test it as a whole."""


def mirrored_test(path):
    """Return where the tests of a file belong: ``app/x/y.py`` has ``tests/x/test_y.py``."""
    piece = DIALECT_PIECES.fullmatch(path)
    if piece is not None:
        return f"tests/dialects/test_{piece[1]}.py"
    inside = PurePosixPath(path).relative_to("app")
    name = f"test_{inside.stem.strip('_')}.py"
    return (PurePosixPath("tests") / inside.parent / name).as_posix()


# The rules against wrong examples


@pytest.mark.parametrize(
    ("path", "text", "problem"),
    [
        ("app/canonical/x.py", "import app.errors, app.http\nimport re", None),
        ("app/canonical/x.py", "from app.dialects import base", "upward from app.dialects"),
        ("app/canonical/x.py", "def f():\n    from app.server.guard import g", "upward"),
        ("app/errors.py", "from app.http import header", "upward from app.http"),
        ("app/errors.py", "from app import http", "upward from app.http"),
        ("app/ledger/x.py", "import app.upstream.client", "sideways from app.upstream"),
        ("app/http.py", "from app import tasks", None),
        ("app/store/x.py", "from app.store.y import z", None),
        ("app/unheard/x.py", "", "no place in ORDER"),
        ("app/store/x.py", "from app import __version__", None),
        ("app/__init__.py", "from app.errors import AppError", "imports nothing of ours"),
        ("app/dialects/x.py", "import os.path", "pure file imports os.path"),
        ("app/dialects/x.py", "from time import monotonic", "pure file imports time"),
        ("app/dialects/x.py", "from urllib.parse import quote", None),
        ("app/dialects/x.py", "from urllib import request", "imports urllib.request"),
        ("app/routing/x.py", "from app.tasks import spawn", "pure file imports app.tasks"),
        ("app/routing/x.py", "f = open('x')", "calls open()"),
        ("app/routing/x.py", "import datetime\nd = datetime.datetime.now()", "now()"),
        ("app/routing/x.py", "def f():\n    global n\n    n = 1", "global state: n"),
        ("app/desktop/menu.py", "import time", "pure file imports time"),
        ("app/server/x.py", "import time", None),
        ("app/server/x.py", "from httpx import URL", "belongs in app/upstream/"),
        ("app/upstream/transport.py", "import httpx", None),
        ("app/accounts/roster.py", "import keyring", "belongs in app/accounts/keychain.py"),
        ("app/accounts/keychain.py", "import keyring.errors", None),
        ("app/service.py", "from PIL import Image", "belongs in app/desktop/"),
        ("app/cli/status.py", "import json", "belongs in app/desktop/window.py"),
        ("app/cli/status.py", "import pickle", "belongs in nowhere"),
        ("app/server/x.py", "from . import guard", "relative import"),
        ("app/store/table_utils.py", "", "name the noun"),
        ("app/common/x.py", "", "name the noun"),
    ],
)
def test_each_rule_finds_what_breaks_it(path, text, problem):
    found = check_source(path, ast.parse(text, path))
    if problem is None:
        assert found == []
    else:
        assert any(problem in line for line in found), found


def test_code_lines_leave_out_comments_docstrings_and_blank_lines():
    text = '"""Docs.\n\nMore.\n"""\n\n# why\nx = (\n    1,\n)\n"""About x."""\n\n\ny = """a\nb"""\n'
    assert code_lines(text) == 5


def test_late_imports_are_not_part_of_what_runs_on_import():
    text = "import a\n\nclass C:\n    import b\n    def f(self):\n        import c\n"
    nodes = outside_functions(ast.parse(text))
    assert [name for _, name in imports(nodes)] == ["a", "b"]


def test_the_test_file_mirrors_the_room():
    assert mirrored_test("app/http.py") == "tests/test_http.py"
    assert mirrored_test("app/store/tables.py") == "tests/store/test_tables.py"
    assert mirrored_test("app/dialects/gemini_parts.py") == "tests/dialects/test_gemini.py"
    assert mirrored_test("app/__main__.py") == "tests/test_main.py"


@pytest.mark.parametrize(
    ("text", "is_machine_path"),
    [
        ("cd /" + "work/main", True),
        ("'/" + "root/.config'", True),
        ("/" + "home/alice/x", True),
        ("/home/user/project", False),
        ("https://example.org/" + "work/x", False),
        ("~/" + "work/x and $HOME/" + "work/x", False),
    ],
)
def test_machine_paths_are_told_from_addresses(text, is_machine_path):
    assert bool(MACHINE_PATH.search(text)) is is_machine_path


# The rules against the tree


def needs_test(path):
    text = source(path)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return (
        not path.endswith("/__init__.py")
        and any(isinstance(node, functions) for node in ast.walk(tree_of(path)))
        and code_lines(text) > TESTED_FROM_LINES
    )


def test_files_keep_to_their_rooms():
    found = [problem for path in APP_FILES for problem in check_source(path, tree_of(path))]
    assert not found, "\n".join(found)


def test_no_file_is_too_long():
    everyone = [*APP_FILES, *python_files("tests"), *python_files("packaging")]
    lengths = {path: len(source(path).splitlines()) for path in everyone}
    assert {path: n for path, n in lengths.items() if n > LONGEST_LINES} == {}


def test_every_file_with_code_has_its_test_file():
    missing = [
        f"{path} has no {mirrored_test(path)}"
        for path in APP_FILES
        if path not in WITHOUT_TEST
        and not (ROOT / mirrored_test(path)).exists()
        and needs_test(path)
    ]
    assert not missing, "\n".join(missing)


def test_exceptions_from_testing_are_still_needed():
    needless = [
        path
        for path in WITHOUT_TEST
        if path not in APP_FILES or not needs_test(path) or (ROOT / mirrored_test(path)).exists()
    ]
    assert needless == []


def test_files_do_not_import_each_other_in_circles():
    """A package's ``__init__`` counts only where something is taken from it itself.

    Imports inside functions do not count: they are how a file picks its part for this system.
    """
    graph = {
        module_name(path): {
            name for _, name in imports(outside_functions(tree_of(path))) if name in MODULES
        }
        - {module_name(path)}
        for path in APP_FILES
    }
    done = set()

    def circle(module, trail):
        if module in trail:
            return [*trail[trail.index(module) :], module]
        if module in done:
            return None
        for target in sorted(graph[module]):
            if found := circle(target, [*trail, module]):
                return found
        done.add(module)
        return None

    circles = [" -> ".join(found) for module in sorted(graph) if (found := circle(module, []))]
    assert not circles, "\n".join(circles)


def test_only_decided_entries_are_at_the_top():
    top = {name.split("/")[0] for name in tracked_files()}
    assert {name for name in top if not name.startswith(".")} <= TOP_LEVEL


def test_packaging_is_not_a_package():
    """With an ``__init__.py`` it would shadow the ``packaging`` library."""
    assert not (ROOT / "packaging" / "__init__.py").exists()


def test_no_file_names_a_path_of_somebodys_machine():
    found = []
    for name in tracked_files():
        try:
            text = source(name)
        except UnicodeDecodeError:
            continue  # pictures and other data
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE_PATH.search(line):
                found.append(f"{name}:{number}: {line.strip()[:80]}")
    assert found == []
