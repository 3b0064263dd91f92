import stat

import pytest

from app.clients.change import ABSENT, Entry
from app.clients.formats import Former
from app.clients.manifest import AgentRecord, Book, Manifest, record_file
from app.errors import AppError

FORMER = (
    Former(("env", "A"), "b", ABSENT, 1),
    Former(("model",), "m", None, 1),
    Former(("models", Entry("name", "x")), {"name": "x"}, {"name": "x", "old": [1, None]}, 2),
)


def record(path, original):
    file = record_file(path, "jsonc", original, b"after", FORMER, [path.parent])
    return AgentRecord("http://h:1", {"main": "m"}, 5.0, [file])


def test_what_is_noted_comes_back(tmp_path):
    book = Book(tmp_path / "agents")
    assert book.load() == Manifest()
    book.keep(b"original")
    noted = record(tmp_path / "f", b"original")
    book.save(Manifest().including("claude", noted))
    loaded = book.load().agents["claude"]
    (entry,) = book.written(loaded)
    assert loaded == noted
    assert entry.former == FORMER
    assert (entry.original, entry.kept) == (b"original", True)
    assert book.load().without("claude") == Manifest()


def test_nobody_else_may_read_it(tmp_path):
    book = Book(tmp_path / "agents")
    book.keep(b"a key of another service")
    book.save(Manifest())
    for path in (tmp_path / "agents").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_a_file_that_was_not_there_needs_no_copy(tmp_path):
    book = Book(tmp_path)
    (entry,) = book.written(record(tmp_path / "f", None))
    assert (entry.original, entry.kept, book.copy_of(entry)) == (None, True, None)


@pytest.mark.parametrize("damage", [lambda f: f.write_bytes(b"other"), lambda f: f.unlink()])
def test_a_copy_that_is_gone_or_damaged_is_not_used(tmp_path, damage):
    book = Book(tmp_path)
    book.keep(b"original")
    noted = record(tmp_path / "f", b"original")
    (entry,) = book.written(noted)
    damage(book.copy_of(entry))
    (entry,) = book.written(noted)
    assert (entry.original, entry.kept) == (None, False)


def test_copies_go_when_nobody_needs_them(tmp_path):
    book = Book(tmp_path)
    noted = record(tmp_path / "f", b"original")
    book.keep(b"original")
    book.sweep(Manifest().including("claude", noted), [b"original", None])
    assert book.written(noted)[0].kept
    book.sweep(Manifest(), [b"original"])
    assert not book.written(noted)[0].kept


@pytest.mark.parametrize("content", [b"{", b'{"version": 99, "agents": {}}', b'{"agents": []}'])
def test_a_list_that_cannot_be_read_is_never_replaced(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(AppError) as caught:
        Book(tmp_path).load()
    assert caught.value.code == "manifest_unreadable"
    assert (tmp_path / "manifest.json").read_bytes() == content
