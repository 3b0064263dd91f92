import msgspec
import pytest
from filelock import FileLock

from app.clients import AGENTS, connections
from app.clients.agent import Address, Models
from app.clients.connections import agent_named
from app.errors import AppError, ConfigError, RequestError
from tests.clients.corpus import OFFERED, URL, Bench, Sample

CLAUDE = ".claude/settings.json"
CODEX = ".codex/config.toml"
ORIGINAL = b'{\n  "mine":   1,\n  "theme": "dark"\n}\n'


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    bench.place(CLAUDE, Sample(ORIGINAL))
    return bench


def test_a_proposal_writes_nothing(bench):
    proposal = bench.propose("claude", {"main": "demo-chat"})
    assert "+" in proposal.diff()
    assert (bench.home / CLAUDE).read_bytes() == ORIGINAL
    assert not bench.data.exists()


def test_asking_how_agents_stand_writes_nothing(bench):
    assert not any(state.connected for state in bench.known.states())
    assert not bench.data.exists()


def test_a_connected_agent_is_known_with_its_models_until_it_is_disconnected(bench):
    bench.connect("claude", {"main": "demo-chat"})
    state = bench.known.state("claude")
    assert state.connected
    assert (state.record.url, state.record.roles) == (URL, {"main": "demo-chat"})
    assert state.record.connected_at == 1_000.0
    assert not state.points_elsewhere(URL)
    assert state.points_elsewhere("http://127.0.0.1:9")
    assert bench.known.names() == ("claude",)
    bench.disconnect("claude")
    assert not bench.known.state("claude").connected
    assert (bench.home / CLAUDE).read_bytes() == ORIGINAL


def test_another_model_and_another_port_are_one_edit_and_one_way_back(bench):
    bench.connect("claude", {"main": "one"})
    bench.connect("claude", {"main": "two", "small": "three"}, "http://127.0.0.1:9")
    text = (bench.home / CLAUDE).read_text()
    assert "one" not in text
    assert "http://127.0.0.1:9" in text
    bench.connect("claude", {})
    assert "ANTHROPIC_MODEL" not in (bench.home / CLAUDE).read_text()
    bench.disconnect("claude")
    assert (bench.home / CLAUDE).read_bytes() == ORIGINAL


def test_edits_of_others_survive_connecting_again_and_disconnecting(bench):
    bench.connect("claude", {"main": "one"})
    file = bench.home / CLAUDE
    file.write_bytes(file.read_bytes().replace(b'"dark"', b'"light"'))
    assert bench.known.state("claude").files[0].state == "edited"
    bench.connect("claude", {"main": "two"})
    assert b'"light"' in file.read_bytes()
    proposal = bench.disconnect("claude")
    assert proposal.changes[0].exact
    assert file.read_bytes() == ORIGINAL.replace(b'"dark"', b'"light"')


def test_values_that_somebody_else_changed_are_shown_and_never_fixed_unasked(bench):
    bench.connect("claude", {})
    file = bench.home / CLAUDE
    theirs = file.read_bytes().replace(URL.encode(), b"https://gateway.example")
    file.write_bytes(theirs)
    state = bench.known.state("claude")
    assert [f.state for f in state.drifted] == ["overridden"]
    assert state.drifted[0].places == ("env.ANTHROPIC_BASE_URL",)
    assert file.read_bytes() == theirs
    proposal = bench.disconnect("claude")
    assert proposal.left == (f"{file}: env.ANTHROPIC_BASE_URL",)
    assert b"https://gateway.example" in file.read_bytes()
    assert b"AUTH_TOKEN" not in file.read_bytes()


def test_the_original_is_kept_and_named_where_it_is_not_given_back_whole(bench):
    bench.connect("claude", {})
    file = bench.home / CLAUDE
    file.write_bytes(file.read_bytes() + b"// theirs\n")
    proposal = bench.disconnect("claude")
    copy = proposal.copies[str(file)]
    with open(copy, "rb") as kept:
        assert kept.read() == ORIGINAL
    assert file.read_bytes() == ORIGINAL + b"// theirs\n"


def test_no_copy_stays_after_everything_was_given_back(bench):
    bench.connect("claude", {})
    assert len(list((bench.data / "originals").iterdir())) == 1
    bench.disconnect("claude")
    assert list((bench.data / "originals").iterdir()) == []


def test_an_agent_that_already_points_here_is_no_change_and_is_not_noted(bench):
    bench.connect("claude", {})
    written = (bench.home / CLAUDE).read_bytes()
    (bench.data / "manifest.json").unlink()
    proposal = bench.propose("claude", {})
    assert proposal.changes == ()
    assert (bench.home / CLAUDE).read_bytes() == written


def test_a_list_that_changed_since_the_diff_stops_the_writing(bench):
    one = bench.propose("claude", {"main": "one"})
    bench.connect("claude", {"main": "two"})
    with pytest.raises(AppError) as caught:
        bench.known.apply(one)
    assert caught.value.code == "file_changed"


def test_a_failure_while_writing_leaves_files_and_list_as_they_were(bench, monkeypatch):
    def fail(edits):
        raise AppError("The disk is full.", code="file_unwritable")

    monkeypatch.setattr(connections, "write_edits", fail)
    with pytest.raises(AppError):
        bench.connect("claude", {})
    assert bench.known.names() == ()


def test_a_crash_before_the_first_byte_is_undone_as_nothing(bench, monkeypatch):
    class Crash(BaseException):
        pass

    def crash(edits):
        raise Crash

    save = connections.Connections._save
    monkeypatch.setattr(connections, "write_edits", crash)
    saved = []

    def once(self, manifest):
        if not saved:
            saved.append(manifest)
            save(self, manifest)

    monkeypatch.setattr(connections.Connections, "_save", once)
    with pytest.raises(Crash):
        bench.connect("claude", {})
    monkeypatch.undo()
    assert bench.known.state("claude").files[0].state == "undone"
    bench.disconnect("claude")
    assert (bench.home / CLAUDE).read_bytes() == ORIGINAL
    assert bench.known.names() == ()


def test_a_second_writer_is_waited_for_only_so_long(bench, monkeypatch):
    monkeypatch.setattr(connections, "_LOCK_S", 0.01)
    proposal = bench.propose("claude", {})
    bench.data.mkdir(parents=True)
    with FileLock(bench.data / "lock"), pytest.raises(AppError) as caught:
        bench.known.apply(proposal)
    assert caught.value.code == "clients_busy"


def test_one_broken_file_does_not_stop_other_agents(bench):
    bench.place(CODEX, Sample(b"a = [\n"))
    with pytest.raises(ConfigError):
        bench.propose("codex", {})
    bench.connect("claude", {})
    assert bench.known.names() == ("claude",)


def test_a_file_that_broke_after_connecting_is_told_and_left(bench):
    bench.connect("claude", {})
    (bench.home / CLAUDE).write_bytes(b"{ broken\n")
    state = bench.known.state("claude")
    assert state.drifted[0].state == "unreadable"
    assert "line 1" in state.drifted[0].reason
    with pytest.raises(ConfigError):
        bench.known.propose_undo("claude")


def test_a_file_that_is_gone_is_no_obstacle_to_disconnecting(bench):
    bench.connect("claude", {})
    (bench.home / CLAUDE).unlink()
    assert bench.known.state("claude").drifted[0].state == "missing"
    bench.disconnect("claude")
    assert bench.known.names() == ()
    assert not (bench.home / CLAUDE).exists()


@pytest.mark.parametrize("name", [n for n, agent in AGENTS.items() if not agent.editable])
def test_agents_that_only_a_person_can_connect_say_how(bench, name):
    with pytest.raises(RequestError) as caught:
        bench.propose(name, {})
    assert caught.value.code == "by_hand"
    assert URL in caught.value.hint


def test_unknown_names_get_the_nearest_one():
    with pytest.raises(RequestError) as caught:
        agent_named("claud")
    assert "claude" in caught.value.hint.lower()


def test_disconnecting_what_is_not_connected_is_refused(bench):
    with pytest.raises(RequestError) as caught:
        bench.known.propose_undo("claude")
    assert caught.value.code == "not_connected"


def test_several_agents_come_and_go_in_any_order(bench):
    bench.place(CODEX, Sample(b'model = "x"\n'))
    for name in ("claude", "codex", "llm"):
        bench.known.apply(bench.known.propose(name, Address(URL), Models({"main": "m"}, OFFERED)))
    assert bench.known.names() == ("claude", "codex", "llm")
    for name in ("codex", "claude", "llm"):
        bench.disconnect(name)
    assert (bench.home / CLAUDE).read_bytes() == ORIGINAL
    assert (bench.home / CODEX).read_bytes() == b'model = "x"\n'
    assert msgspec.json.decode((bench.data / "manifest.json").read_bytes())["agents"] == {}
