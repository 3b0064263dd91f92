"""Every agent, every file of it, in every form that a file can have: there and back, byte for byte."""

import os

import pytest

from app.clients import AGENTS
from app.clients.agent import Address, Models
from app.clients.formats import FORMATS
from app.clients.textfile import MAX_BYTES, decode
from app.errors import AppError, ConfigError
from tests.clients.corpus import MISSING, OFFERED, URL, Bench, Sample

ROLES = {name: dict.fromkeys(agent.roles, "demo-chat") for name, agent in AGENTS.items()}
EDITABLE = [name for name, agent in AGENTS.items() if agent.editable]
COMMENTED = {
    "jsonc": '{\n  // mine, first\n  "zeta": 1, /* why */\n  "alpha": [1, 2,],\n}\n// the end\n',
    "toml": '# mine, first\nzeta = 1  # why\n\n[table]\nx = "y"\n\n[alpha] # odd order\n# the end\n',
    "yaml": "# mine, first\nzeta: 1  # why\n\nalpha: [1, 2]\n# the end\n",
    "env": "# mine, first\nZETA=1\n\nexport ALPHA='x y'\n# the end\n",
    "line": "gpt-4o\n",
}
LIST = "# mine, first\n- model_id: zeta  # why\n  model_name: z\n# the end\n"
BROKEN = {
    "jsonc": b'{\n  "a" 1\n}\n',
    "toml": b"a = 1\n\n[b\n",
    "yaml": b"a: 1\nb: [\n",
    "env": b"A=b\n# >>> dragoman >>>\nB=c\n",
}
HUGE = {
    "jsonc": "{\n"
    + "".join(f'  "key{n}": {{"a": [{n}, "x"]}}, // {n}\n' for n in range(120))
    + '  "end": 0\n}\n',
    "toml": "".join(f"[t{n}]\na = {n} # {n}\n" for n in range(100)),
    "yaml": "".join(f"key{n}:\n  a: {n} # {n}\n" for n in range(100)),
    "env": "".join(f"KEY{n}=value\n" for n in range(3_000)),
    "line": "a-model-with-a-name\n",
}


def targets():
    """Every file of every agent, by the name of the agent and its path below home."""
    import pathlib
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(pathlib.Path(folder))
        for name in EDITABLE:
            models = Models(ROLES[name], OFFERED)
            for target in AGENTS[name].targets(bench.machine, Address(URL), models):
                if target.path.is_relative_to(bench.home):
                    yield name, str(target.path.relative_to(bench.home)), target.format


TARGETS = list(targets())


PLAIN = '{\n  "zeta":   1,\n\n  "alpha": [1, 2]\n}\n'
"""What stands for comments where an agent reads none."""


def text_of(name, kind, texts, listed):
    if name == "llm" and kind == "yaml":
        return listed
    if kind == "jsonc" and name in ("claude", "gemini"):
        huge = "{\n" + "".join(f'  "key{n}": {{"a": [{n}, "x"]}},\n' for n in range(120))
        return PLAIN if texts is COMMENTED else huge + '  "end": 0\n}\n'
    return texts[kind]


def forms(name, kind):
    commented = text_of(name, kind, COMMENTED, LIST)
    huge = text_of(
        name, kind, HUGE, "".join(f"- model_id: m{n}\n  model_name: n # {n}\n" for n in range(100))
    )
    plain = commented.encode()
    yield "missing", Sample(MISSING)
    yield "empty", Sample(b"")
    yield "commented and in odd order", Sample(plain)
    yield "windows line ends", Sample(plain.replace(b"\n", b"\r\n"))
    if (name, kind) != ("gemini", "jsonc"):  # which reads none
        yield "byte order mark", Sample(b"\xef\xbb\xbf" + plain)
        yield "UTF-16", Sample(b"\xff\xfe" + commented.encode("utf-16-le"))
    yield "no last line end", Sample(plain.rstrip(b"\n"))
    yield "read-only", Sample(plain, "read-only")
    yield "link", Sample(plain, "link")
    yield "huge", Sample(huge.encode())


EVERY = [
    pytest.param(name, path, kind, sample, id=f"{name}-{path.rsplit('/')[-1]}-{form}")
    for name, path, kind in TARGETS
    for form, sample in forms(name, kind)
]


@pytest.mark.parametrize(("name", "path", "kind", "sample"), EVERY)
def test_every_form_comes_back_byte_for_byte(tmp_path, name, path, kind, sample):
    bench = Bench(tmp_path)
    before = bench.place(path, sample)
    bench.connect(name, ROLES[name])
    content, mode, link, _ = bench.seen(path)
    assert content is not None
    if sample.content is not MISSING:
        assert (mode, link) == before[1:3]
        assert decode(content).mark == decode(sample.content).mark
    once = bench.seen(path)
    assert bench.propose(name, ROLES[name]).changes == ()
    bench.connect(name, ROLES[name])
    assert bench.seen(path) == once
    assert [f.state for f in bench.known.state(name).files if str(f.path).endswith(path)] == [
        "written"
    ]
    bench.disconnect(name)
    assert bench.seen(path) == before


@pytest.mark.parametrize(("name", "path", "kind"), TARGETS, ids=lambda value: str(value))
def test_an_agent_that_points_elsewhere_already_is_given_back_so(tmp_path, name, path, kind):
    elsewhere = Bench(tmp_path)
    elsewhere.connect(name, ROLES[name], "https://gateway.example:8443")
    content = (elsewhere.home / path).read_bytes()
    (tmp_path / "again").mkdir()
    bench = Bench(tmp_path / "again")
    bench.place(path, Sample(content))
    bench.connect(name, ROLES[name])
    now = (bench.home / path).read_bytes()
    assert b"gateway.example" not in now
    bench.disconnect(name)
    assert (bench.home / path).read_bytes() == content


BREAKABLE = [target for target in TARGETS if target[2] in BROKEN]


@pytest.mark.parametrize(("name", "path", "kind"), BREAKABLE, ids=lambda value: str(value))
@pytest.mark.parametrize("way", ["broken", "no text", "too large"])
def test_a_file_that_cannot_be_read_is_left_alone_with_its_place(tmp_path, name, path, kind, way):
    bench = Bench(tmp_path)
    content = {
        "broken": BROKEN[kind],
        "no text": b"a\n\xff\xfe\x00b\n",
        "too large": b"#" * (MAX_BYTES + 1),
    }[way]
    before = bench.place(path, Sample(content))
    with pytest.raises(ConfigError) as caught:
        bench.connect(name, ROLES[name])
    (problem,) = caught.value.problems
    assert problem.file == str(bench.home / path)
    assert problem.line > 0 or way == "too large"
    assert bench.seen(path) == before
    assert bench.known.names() == ()


@pytest.mark.parametrize(("name", "path", "kind"), TARGETS, ids=lambda value: str(value))
@pytest.mark.parametrize("edit", ["changed", "removed", "made"])
def test_an_edit_between_diff_and_write_is_noticed_and_nothing_is_lost(
    tmp_path, name, path, kind, edit
):
    bench = Bench(tmp_path)
    plain = text_of(name, kind, COMMENTED, LIST).encode()
    file = bench.home / path
    if edit != "made":
        bench.place(path, Sample(plain))
    proposal = bench.propose(name, ROLES[name])
    if edit == "removed":
        file.unlink()
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(plain + b"# by somebody else\n")
    theirs = file.read_bytes() if file.exists() else None
    others = {p: p.read_bytes() for p in bench.home.rglob("*") if p.is_file() and p != file}
    with pytest.raises(AppError) as caught:
        bench.known.apply(proposal)
    assert caught.value.code == "file_changed"
    assert (file.read_bytes() if file.exists() else None) == theirs
    assert {p: p.read_bytes() for p in bench.home.rglob("*") if p.is_file() and p != file} == others
    assert bench.known.names() == ()


@pytest.mark.parametrize(("name", "path", "kind"), TARGETS, ids=lambda value: str(value))
def test_an_edit_before_the_disconnecting_is_noticed_too(tmp_path, name, path, kind):
    bench = Bench(tmp_path)
    bench.place(path, Sample(text_of(name, kind, COMMENTED, LIST).encode()))
    bench.connect(name, ROLES[name])
    proposal = bench.known.propose_undo(name)
    file = bench.home / path
    file.write_bytes(file.read_bytes() + b"\n")
    theirs = file.read_bytes()
    with pytest.raises(AppError) as caught:
        bench.known.apply(proposal)
    assert caught.value.code == "file_changed"
    assert file.read_bytes() == theirs
    assert bench.known.names() == (name,)


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="to this user every folder is writable"
)
@pytest.mark.parametrize(("name", "path", "kind"), TARGETS, ids=lambda value: str(value))
def test_a_folder_that_cannot_be_written_changes_nothing(tmp_path, name, path, kind):
    bench = Bench(tmp_path)
    before = bench.place(path, Sample(text_of(name, kind, COMMENTED, LIST).encode()))
    folder = (bench.home / path).parent
    folder.chmod(0o500)
    try:
        with pytest.raises(AppError) as caught:
            bench.connect(name, ROLES[name])
        assert caught.value.code == "file_unwritable"
    finally:
        folder.chmod(0o700)
    assert bench.seen(path)[:3] == before[:3]
    assert bench.known.names() == ()


def test_every_agent_that_can_be_connected_is_tried_with_each_of_its_files():
    assert {name for name, _, _ in TARGETS} | {"copilot"} == set(EDITABLE)
    assert {kind for _, _, kind in TARGETS} == set(FORMATS)
