"""The page of all routes: nothing is missing on it, nothing is too much, and its examples run."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from app.help import read_entries
from tests.docs.program import admin_key, environment, serving
from tests.packaging_.scripts import load
from tests.server.running import running
from tests.server.test_openapi import description, served

PAGE = Path(__file__).parent.parent.parent / "assets" / "docs" / "api.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROUTE = re.compile(r"^### (GET|POST|PUT|PATCH|DELETE) (/\S*)$", re.MULTILINE)
ALSO = re.compile(r"^Also at (.+?)\.$", re.MULTILINE | re.DOTALL)


def sections():
    """Each route of the page with its text."""
    text = PAGE.read_text("utf-8")
    heads = list(ROUTE.finditer(text))
    ends = [*(head.start() for head in heads[1:]), text.index("\n## Shapes\n")]
    return {
        (head[1].lower(), head[2]): text[head.end() : end]
        for head, end in zip(heads, ends, strict=True)
    }


def blocks(kind):
    """The examples in a language, by their route."""
    return {
        f"{method.upper()} {path}": found
        for (method, path), text in sections().items()
        for language, found in BLOCK.findall(text)
        if language == kind
    }


async def test_every_route_is_on_the_page_with_its_methods_and_no_other(tmp_path):
    told = set()
    for (method, path), text in sections().items():
        told.add((method, path))
        if also := ALSO.search(text):
            told |= {(method, other) for other in re.findall(r"`(/[^`]*)`", also[1])}
    async with running(tmp_path) as server:
        assert told == served(server)


async def test_every_parameter_field_and_code_of_the_description_is_on_the_page(tmp_path):
    async with running(tmp_path) as server:
        document = await description(server)
    text = PAGE.read_text("utf-8")
    for key, section in sections().items():
        operation = document["paths"][key[1]][key[0]]
        for parameter in operation["parameters"]:
            assert f"| `{parameter['name']}` |" in section, (key, parameter["name"])
        if "requestBody" in operation and "externalDocs" not in operation:
            body = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            for field in document["components"]["schemas"][body.rpartition("/")[2]]["properties"]:
                assert f"| `{field}` |" in section, (key, field)
        for answer in operation["responses"].values():
            for line in answer["description"].split("; "):
                for code in re.findall(r"`(\w+)`", line.partition(": ")[0]):
                    assert f"(troubleshooting.md#{code})" in text, code
                    assert code in read_entries(), code


def test_header_fields_of_answers_are_explained():
    rows = re.findall(r"^\| `([a-z-]+)`", PAGE.read_text("utf-8"), re.MULTILINE)
    assert {"x-request-id", "x-dragoman-route", "x-dragoman-count", "retry-after"} <= set(rows)


def test_each_example_is_there_in_three_languages():
    shown = set(load("api_examples").EXAMPLES)
    assert set(blocks("bash")) == set(blocks("python")) == set(blocks("javascript")) == shown


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    """A running Dragoman; gives its environment, with an admin key in it, and its port."""
    env = environment(tmp_path_factory.mktemp("home"))
    with serving(env) as port:
        yield env | {"DRAGOMAN_KEY": admin_key(env)}, port


@pytest.mark.skipif(os.name != "posix", reason="the blocks are written for a POSIX shell")
def test_the_examples_for_a_shell_run(installation):
    env, port = installation
    for route, text in blocks("bash").items():
        done = subprocess.run(
            ["sh", "-c", text.replace("localhost:8317", f"localhost:{port}")],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (route, done.stderr)
        assert not json.loads(done.stdout).get("error"), (route, done.stdout)


def test_the_examples_in_python_run(installation, monkeypatch, capsys):
    env, port = installation
    monkeypatch.setenv("DRAGOMAN_KEY", env["DRAGOMAN_KEY"])
    for route, text in blocks("python").items():
        exec(  # noqa: S102 - our own page
            compile(text.replace("localhost:8317", f"localhost:{port}"), route, "exec"), {}
        )
        assert capsys.readouterr().out.strip(), route


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not on this machine")
def test_the_examples_in_javascript_run(installation, tmp_path):
    env, port = installation
    calls = ["const { log } = console;"]
    for number, (route, text) in enumerate(blocks("javascript").items()):
        file = tmp_path / f"{number}.mjs"
        file.write_text(text.replace("localhost:8317", f"localhost:{port}"), "utf-8")
        calls += [f"log({json.dumps('# ' + route)});", f"await import('./{file.name}');"]
    runner = tmp_path / "all.mjs"
    runner.write_text("\n".join(calls), "utf-8")
    done = subprocess.run(
        ["node", str(runner)],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, (done.stdout[-500:], done.stderr)
    printed = done.stdout.split("# ")[1:]
    assert len(printed) == len(blocks("javascript"))
    assert all(len(one.splitlines()) > 1 for one in printed), done.stdout


def test_what_the_page_says_of_paths_that_mean_the_same_is_true(installation):
    """Asked with the body of the page's example, they answer as it does."""
    import httpx

    _, port = installation
    examples = load("api_examples").EXAMPLES
    for (method, path), text in sections().items():
        example = examples.get(f"{method.upper()} {path}")
        also = ALSO.search(text)
        if example is None or also is None or example.control:
            continue
        for other in re.findall(r"`(/[^`]*)`", also[1]):
            if "tunedModels" in other:
                continue  # names models of another kind
            asked = other.replace("{model}", "demo-chat")
            reply = httpx.request(
                method, f"http://localhost:{port}{asked}", json=example.body, timeout=60
            )
            assert reply.status_code == 200, (other, reply.text)
