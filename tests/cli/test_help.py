"""``dragoman help``, which needs no running instance."""

from app.help import read_entries, read_groups
from app.paths import asset


def test_all_pages_are_listed_in_their_groups(dragoman):
    code, out, err = dragoman("help")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    places = [lines.index(group.title) for group in read_groups()]
    assert places == sorted(places)
    listed = [line.split()[0] for line in lines if line.startswith("  ")]
    assert listed == [page.name for group in read_groups() for page in group.pages]


def test_a_page_is_shown_as_it_is_written_where_there_is_no_terminal(dragoman):
    code, out, err = dragoman("help", "keys")
    assert (code, err) == (0, "")
    assert out == asset("docs/keys.md").read_text("utf-8")
    assert "\x1b" not in out


def test_a_code_is_shown_with_its_entry_alone(dragoman):
    code, out, _ = dragoman("help", "accounts_cooling")
    assert code == 0
    assert out == f"# accounts_cooling\n\n{read_entries()['accounts_cooling']}\n"


def test_names_that_are_near_are_told(dragoman):
    code, out, err = dragoman("help", "acounts_cooling")
    assert (code, out) == (1, "")
    assert "There is no help for 'acounts_cooling'." in err
    assert "accounts_cooling" in err.partition("Near: ")[2]


def test_without_a_near_name_the_list_is_named(dragoman):
    code, _, err = dragoman("help", "zzzzqqqq")
    assert code == 1
    assert "hint: `dragoman help` lists the pages." in err


def test_nothing_outside_of_the_help_is_shown(dragoman):
    assert dragoman("help", "../../README").code == 1
