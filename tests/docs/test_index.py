"""The front page of the help: every page is in it once, and every link of the pages leads somewhere."""

import re
from collections import Counter
from pathlib import Path

import pytest

from app.help import TROUBLESHOOTING, anchor_of, read_entries, read_groups, title_of

DOCS = Path(__file__).parent.parent.parent / "assets" / "docs"
PAGES = sorted(DOCS.glob("*.md"))
INDEX = DOCS / "index.md"
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def anchors(page):
    """The anchors of a page; a heading that comes again gets a number."""
    found, seen = set(), Counter()
    for heading in HEADING.findall(BLOCK.sub("", page.read_text("utf-8"))):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
        anchor = anchor_of(words)
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


def test_every_page_is_linked_exactly_once_and_every_link_exists():
    lines = [line for line in INDEX.read_text("utf-8").splitlines() if line.startswith("- ")]
    linked = Counter(target for line in lines for target in LINK.findall(line))
    assert {target for target, count in linked.items() if count > 1} == set()
    assert set(linked) == {page.name for page in PAGES} - {"index.md"}


def test_every_line_of_a_page_tells_what_it_is_about():
    pages = [page for group in read_groups() for page in group.pages]
    assert [page.name for page in pages if not page.about] == []


def test_groups_are_those_of_the_help():
    titles = [group.title for group in read_groups()]
    assert titles == ["Start", "Accounts", "Routing", "Reference", "Behind it"]


def test_no_page_has_the_name_of_a_code():
    assert {page.stem for page in PAGES} & set(read_entries()) == set()
    assert TROUBLESHOOTING in {page.stem for page in PAGES}


def test_pages_have_titles():
    assert [page.name for page in PAGES if not title_of(page.read_text("utf-8"))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_to_headings_lead_to_one(page):
    for target in LINK.findall(BLOCK.sub("", page.read_text("utf-8"))):
        file, _, anchor = target.partition("#")
        if anchor and "://" not in target:
            there = page.parent / file if file else page
            assert anchor in anchors(there), target
