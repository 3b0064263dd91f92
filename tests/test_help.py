"""What server, dashboard and command line read of the help."""

import pytest

from app.help import (
    anchor_of,
    has_entry,
    help_address,
    nearest_help,
    read_entries,
    read_groups,
    read_page,
    title_of,
    with_address,
    without_address,
)
from app.paths import asset

AT = "http://localhost:8317"


def test_groups_hold_every_page_but_the_front_page_once():
    names = [page.name for group in read_groups() for page in group.pages]
    assert sorted(names) == sorted(p.stem for p in asset("docs").glob("*.md") if p.stem != "index")


def test_pages_are_read_whole_and_only_by_their_names():
    assert read_page("accounts") == asset("docs/accounts.md").read_text("utf-8")
    assert read_page("index").startswith("# Help")
    assert read_page("../../README") is None
    assert read_page("none") is None


def test_an_entry_ends_where_the_next_heading_begins():
    entries = read_entries()
    assert "accounts_cooling" in entries
    assert all(text and "\n#" not in text for text in entries.values())
    assert has_entry("accounts_cooling")
    assert not has_entry("nothing_like_it")


def test_names_that_are_near_are_found_by_spelling_and_by_parts():
    assert "accounts_cooling" in nearest_help("acounts_cooling")
    assert nearest_help("Accounts Cooling")[0] == "accounts_cooling"
    assert "vault_locked" in nearest_help("locked")
    assert nearest_help("zzzzqqqq") == []


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("Limits", "limits"),
        ("What a key may use", "what-a-key-may-use"),
        ("`401`, or: no key?", "401-or-no-key"),
        ("vault_locked", "vault_locked"),
        ("A -- B", "a----b"),
    ],
)
def test_anchors_are_those_of_github(heading, anchor):
    assert anchor_of(heading) == anchor


def test_title_is_the_first_heading():
    assert title_of("# The title\n\nText") == "The title"
    assert title_of("No title") == ""


def test_address_is_of_a_known_code_where_something_is_served():
    assert help_address("accounts_cooling", AT) == f"{AT}/help/accounts_cooling"
    assert help_address("accounts_cooling", "") == ""
    assert help_address("code_of_a_service", AT) == ""


@pytest.mark.parametrize("hint", ["", "Wait a while."])
def test_hint_ends_with_the_address_and_can_be_told_without_it(hint):
    told = with_address(hint, "accounts_cooling", AT)
    assert told == f"{hint} Help: {AT}/help/accounts_cooling".strip()
    assert without_address(f"It failed. {told}") == f"It failed. {hint}".strip()


def test_hint_stays_without_code_or_place():
    assert with_address("Wait.", None, AT) == "Wait."
    assert with_address("Wait.", "accounts_cooling", "") == "Wait."
    assert without_address("See https://example.org/help/me now.") == (
        "See https://example.org/help/me now."
    )
