"""Pages for engineers: every file, room and test that they name is there."""

import ast
import re
import textwrap
import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from app.http import HttpRequest
from app.providers.base import Credential
from tests.gates import GATES
from tests.test_architecture import FOUNDATION, ORDER, PURE

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "assets" / "docs"
PAGES = [DOCS / f"{name}.md" for name in ("architecture", "security", "contributing")]
PICTURE = ROOT / "assets" / "images" / "request-path.svg"
CODE = re.compile(r"`([^`\n]+)`")
NAMED = re.compile(r"(?:app|tests|assets|packaging)/[\w./*-]*|pyproject\.toml|README\.md")
PATTERNS = {"app/x/y.py", "tests/x/test_y.py"}
"""Names that stand for many."""
SMALLEST_TEXT = 0.02
"""Part of the picture's width: 14 pixels where a column of text shows it."""
SVG = "{http://www.w3.org/2000/svg}"


def text_of(page):
    return page.read_text("utf-8")


def named_files(page):
    for code in CODE.findall(text_of(page)):
        path, _, test = code.partition("::")
        if NAMED.fullmatch(path):
            yield path, test


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_file_that_is_named_is_there(page):
    files = list(named_files(page))
    assert files
    missing = [path for path, _ in files if not (ROOT / path).exists() and path not in PATTERNS]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_test_that_is_named_is_there(page):
    missing = [
        f"{path}::{name}"
        for path, name in named_files(page)
        if name and name not in names_of_tests(ROOT / path)
    ]
    assert missing == []


def names_of_tests(path):
    tree = ast.parse(path.read_text("utf-8"))
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    }


def test_rooms_stand_in_their_order_and_are_all_there():
    table = text_of(PAGES[0]).split("| room |", 1)[1].split("\n\n", 1)[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| ")]
    told = [set(CODE.findall(row)) or "foundation" for row in rows]
    there = ["foundation" if rooms is FOUNDATION else set(rooms) for rooms in ORDER]
    assert told == there[:-1]  # the last is __main__, which starts them


def test_pure_rooms_are_those_that_are_checked():
    rooms = {path.split("/")[1] for path in PURE if path.endswith("/")}
    sentence = re.search(r"The rooms (.*?) are pure", text_of(PAGES[0]), re.DOTALL)
    assert set(CODE.findall(sentence[1])) == rooms


def test_provider_of_the_example_is_one():
    text = text_of(PAGES[2]).split("```python\n", 1)[1].split("```", 1)[0]
    names = {}
    exec(compile(textwrap.dedent(text), "acme.py", "exec"), names)  # noqa: S102 - our own page
    acme = names["ACME"]
    assert acme.serves("acme-large")
    assert list(acme.sign_ins) == ["key"]
    asked = acme.prepare(HttpRequest("GET", acme.base_url), Credential("k"), acme.dialects[0], ())
    assert ("authorization", "Bearer k") in asked.headers


def test_markers_are_those_of_the_project():
    table = text_of(PAGES[2]).split("| marker |", 1)[1].split("\n\n", 1)[0]
    told = {CODE.findall(line)[0]: line for line in table.splitlines() if line.startswith("| `")}
    settings = tomllib.loads(text_of(ROOT / "pyproject.toml"))["tool"]["pytest"]["ini_options"]
    assert list(told) == [marker.partition(":")[0] for marker in settings["markers"]]
    off = {name for name, line in told.items() if line.split("|")[3].strip().startswith("off")}
    assert off == set(re.findall(r"not (\w+)", settings["addopts"]))


def test_gates_are_those_that_are_checked():
    gates = re.search(r"At least (\d+) %.*?, (\d+) % in (.*?):", text_of(PAGES[2]), re.DOTALL)
    assert float(gates[1]) == GATES["app"]
    rooms = {name for name, least in GATES.items() if least == float(gates[2])}
    told = {f"app/{room}" for room in CODE.findall(gates[3])}
    assert told == {room for room in rooms if not room.endswith(".py")}


def test_picture_is_described_and_its_text_is_large_enough():
    root = ET.fromstring(text_of(PICTURE))  # noqa: S314 - our own file
    assert root.find(f"{SVG}title").text
    assert root.find(f"{SVG}desc").text
    width = float(root.attrib["viewBox"].split()[2])
    style = root.find(f"{SVG}style").text
    sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", style)]
    assert sizes
    assert min(sizes) >= SMALLEST_TEXT * width
    assert "prefers-color-scheme: dark" in style
    drawn = {one.attrib["class"] for one in root.iter() if "class" in one.attrib}
    assert drawn <= set(re.findall(r"\.([\w-]+)", style))
    assert PICTURE.name in text_of(PAGES[0])


def test_picture_names_rooms_and_files_that_there_are():
    root = ET.fromstring(text_of(PICTURE))  # noqa: S314 - our own file
    names = [one.text for one in root.iter(f"{SVG}text") if one.attrib["class"] == "name"]
    assert len(names) > 5
    for name in names:
        if name == "outcome":
            continue
        for room in name.split(", "):
            folder, _, file = room.partition(" / ")
            path = ROOT / "app" / folder
            assert (path / f"{file}.py" if file else path).exists(), name
