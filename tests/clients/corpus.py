"""Real-shaped settings files, each in every form that a file can have, and the way there and back."""

import json
import os
import re
import stat
import tomllib
from dataclasses import dataclass

import pytest
from ruamel.yaml import YAML

from app.clients.agent import Address, Machine, Models, Offered
from app.clients.connections import Connections
from app.errors import AppError, ConfigError

URL = "http://127.0.0.1:8317"
OFFERED = (Offered("demo-chat", 200_000, 64_000), Offered("demo-think"))
MISSING = object()


@dataclass(frozen=True)
class Sample:
    """One content of a file; ``kind`` says what kind of file it lies in."""

    content: object
    kind: str = "plain"


class Bench:
    """A home folder with agents in it."""

    def __init__(self, folder, system="linux", env=None):
        self.home = folder / "home"
        self.home.mkdir(exist_ok=True)
        self.data = folder / "data" / "agents"
        self.machine = Machine(system, self.home, {"PATH": "", **(env or {})}, self.data)
        self.known = Connections(self.machine, now=lambda: 1_000.0, run=lambda command: "")

    def propose(self, name, roles, url=URL):
        return self.known.propose(name, Address(url), Models(roles, OFFERED))

    def connect(self, name, roles, url=URL):
        proposal = self.propose(name, roles, url)
        self.known.apply(proposal)
        return proposal

    def disconnect(self, name):
        proposal = self.known.propose_undo(name)
        self.known.apply(proposal)
        return proposal

    def place(self, path, sample):
        """Put a sample where an agent looks, and return what ``seen`` will say of it."""
        file = self.home / path
        if sample.content is MISSING:
            return self.seen(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        if sample.kind == "link":
            target = self.home / "dotfiles" / "settings"
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(sample.content)
            file.symlink_to(os.path.relpath(target, file.parent))
        else:
            file.write_bytes(sample.content)
        file.chmod(0o444 if sample.kind == "read-only" else 0o640)
        return self.seen(path)

    def seen(self, path):
        """Return content, permissions and link of a file, and which folders are there."""
        file = self.home / path
        folders = {p for p in self.home.rglob("*") if p.is_dir()}
        if not file.exists():
            return None, None, None, folders
        link = os.readlink(file) if file.is_symlink() else None
        return file.read_bytes(), stat.S_IMODE(file.stat().st_mode), link, folders


def variants(samples, huge=None, mark=True):
    """Return every sample as it is and in its other forms.

    Args:
        samples: name → text.
        huge: a long text.
        mark: whether the agent reads a file that begins with a byte order mark.
    """
    return list(_variants(samples, huge, mark))


def _variants(samples, huge, mark):
    yield pytest.param(Sample(MISSING), id="missing")
    for name, text in {"empty": "", "blank": "\n", **samples}.items():
        content = text.encode()
        yield pytest.param(Sample(content), id=name)
        if text.strip():
            yield pytest.param(Sample(text.replace("\n", "\r\n").encode()), id=f"{name}-crlf")
            yield pytest.param(Sample(text.rstrip("\n").encode()), id=f"{name}-no-last-line-end")
            mixed = text.replace("\n", "\r\n", 1).encode()
            yield pytest.param(Sample(mixed), id=f"{name}-mixed-line-ends")
        if mark:
            yield pytest.param(Sample(b"\xef\xbb\xbf" + content), id=f"{name}-byte-order-mark")
    first = next(iter(samples.values())).encode()
    yield pytest.param(Sample(first, "read-only"), id="read-only")
    yield pytest.param(Sample(first, "link"), id="link")
    if huge is not None:
        yield pytest.param(Sample(huge.encode()), id="huge")


def round_trip(folder, name, path, sample, roles, check, parse):
    """Connect, read with the format's own parser, connect again, disconnect.

    Args:
        folder: empty folder of the test.
        name: the agent.
        path: its file below home.
        sample: what stands in it.
        roles: chosen models.
        check: is given what the parser read.
        parse: bytes → values.
    """
    bench = Bench(folder)
    before = bench.place(path, sample)
    bench.connect(name, roles)
    content, mode, link, _ = bench.seen(path)
    check(parse(content))
    if sample.content is not MISSING:
        assert (mode, link) == before[1:3]
        assert content.startswith(b"\xef\xbb\xbf") == sample.content.startswith(b"\xef\xbb\xbf")
        if sample.content.strip() and b"\n" in sample.content:
            assert content.endswith(b"\n") == sample.content.endswith(b"\n")
    if sample.content is not MISSING and b"\n" in sample.content:
        windows = sample.content.count(b"\r\n") == sample.content.count(b"\n")
        assert windows == (content.count(b"\r\n") == content.count(b"\n"))
    again = bench.propose(name, roles)
    assert again.changes == ()
    assert [file.state for file in bench.known.state(name).files] == ["written"] * len(again.edits)
    bench.disconnect(name)
    assert bench.seen(path) == before
    assert bench.known.names() == ()


def refused(folder, name, path, content, roles, line):
    """Check that a broken file is left alone and its place named."""
    bench = Bench(folder)
    before = bench.place(path, Sample(content))
    with pytest.raises(ConfigError) as caught:
        bench.connect(name, roles)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == (str(bench.home / path), line)
    assert bench.seen(path) == before
    assert bench.known.names() == ()


def edited_between(folder, name, path, content, roles):
    """Check that an edit of somebody else between diff and write is noticed and kept."""
    bench = Bench(folder)
    bench.place(path, Sample(content))
    proposal = bench.propose(name, roles)
    (bench.home / path).write_bytes(content + b"\n")
    with pytest.raises(AppError) as caught:
        bench.known.apply(proposal)
    assert caught.value.code == "file_changed"
    assert (bench.home / path).read_bytes() == content + b"\n"
    assert bench.known.names() == ()


# Parsers that are not the ones under test

_TOKEN = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*[\s\S]*?\*/|,(?=\s*[}\]])')


def read_jsonc(content):
    text = content.decode("utf-8-sig")
    bare = re.sub(_TOKEN, lambda match: match[1] or " ", text)
    return json.loads(re.sub(_TOKEN, lambda match: match[1] or " ", bare))


def read_json(content):
    return json.loads(content.decode("utf-8-sig"))


def read_toml(content):
    return tomllib.loads(content.decode("utf-8-sig"))


def read_yaml(content):
    return YAML(typ="safe", pure=True).load(content.decode("utf-8-sig"))


def read_env(content):
    """As dotenv for JavaScript does: of equal names the last one holds."""
    lines = content.decode("utf-8-sig").splitlines()
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("'\"") for name, value in pairs}
