"""Help pages as HTML: links, anchors, tables, and nothing that a text could smuggle in."""

import html.parser
import re

import pytest

from app.help import read_entries, read_groups, read_page
from app.server import helptext
from app.server.helptext import render_missing, render_page, render_text

NAMES = ["index", *(page.name for group in read_groups() for page in group.pages)]
VOID = {"meta", "link", "img", "br", "hr"}


class Reader(html.parser.HTMLParser):
    """Collects elements, and checks that each is closed where it was opened."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def elements(text):
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader.seen


@pytest.fixture
def rendered(monkeypatch):
    def render(text):
        monkeypatch.setattr(helptext, "read_page", lambda _: text)
        return render_text.__wrapped__("any")

    return render


@pytest.mark.parametrize("name", NAMES)
def test_every_page_is_whole_and_all_its_links_lead_to_what_is_served(name):
    found = elements(render_page(name).decode())
    ids = [attrs["id"] for _, attrs in found if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in found:
        assert tag not in ("script", "style", "iframe", "form")
        assert not [key for key in attrs if key.startswith("on") or key == "style"]
        target = attrs.get("href") if tag == "a" else attrs.get("src")
        if target is None or target.startswith("https://"):
            continue
        if target.startswith("#"):
            assert target[1:] in ids
            continue
        assert target == "/help" or target.startswith("/help/"), target
        path, _, anchor = target.removeprefix("/help").lstrip("/").partition("#")
        if path.startswith(("images/", "examples/")):
            continue
        text = render_text(path or "index")
        assert not anchor or f'id="{anchor}"' in text, target


@pytest.mark.parametrize("name", NAMES)
def test_tables_code_and_lists_of_the_text_are_all_there(name):
    text = read_page(name)
    shown = render_text(name)
    assert shown.count("<pre") == len(re.findall(r"^ *```", text, re.MULTILINE)) // 2
    assert shown.count("<table>") == len(re.findall(r"^\|[\s:|-]+\|$", text, re.MULTILINE))
    words = re.sub(r"<pre.*?</pre>|<code>.*?</code>", "", shown, flags=re.DOTALL)
    assert "```" not in words
    assert "](" not in words
    assert "**" not in words


def test_page_that_is_shown_is_marked_in_the_list_of_pages():
    shown = render_page("accounts").decode()
    assert '<a href="/help/accounts" aria-current="page">' in shown
    assert shown.count("aria-current") == 1
    assert "<title>Accounts · Dragoman</title>" in shown


def test_each_code_has_an_anchor():
    shown = render_text("troubleshooting")
    for code in read_entries():
        assert f'<h3 id="{code}">{code}</h3>' in shown


def test_links_that_lead_nowhere_here_become_words(rendered):
    shown = rendered(
        "[a](keys.md#limits) [b](index.md) [c](../../README.md) [d](javascript:x) [e](#x) "
        "[f](https://example.org/) [g](examples/a_b.py) [h](//example.org/x) [i](http://e.org)"
    )
    assert '<a href="/help/keys#limits">a</a> <a href="/help">b</a> <a>c</a>' in shown
    assert "javascript" not in re.findall(r'href="([^"]*)"', shown)
    assert '<a href="#x">e</a>' in shown
    assert '<a href="https://example.org/" target="_blank" rel="noopener noreferrer">f</a>' in shown
    assert '<a href="/help/examples/a_b.py">g</a> <a>h</a> <a>i</a>' in shown


def test_markup_in_a_text_is_shown_and_not_meant(rendered):
    shown = rendered("<script>alert(1)</script>\n\nA <img src=x onerror=alert(1)>\n\n```\n<b>\n```")
    assert "<script" not in shown
    assert "<img" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "<code>&lt;b&gt;\n</code></pre>" in shown


def test_images_come_from_the_shipped_ones_alone(rendered):
    shown = rendered("![A](../images/a-b.png) ![B](https://example.org/x.png)")
    assert '<img src="/help/images/a-b.png" alt="A"' in shown
    assert "example.org" not in shown


def test_headings_of_the_same_name_have_anchors_of_their_own(rendered):
    shown = rendered("# A\n\n## `B c`?\n\n## B c\n\n| x |\n|---|\n| y |")
    assert 'id="b-c"' in shown
    assert 'id="b-c-1"' in shown
    assert '<th scope="col">x</th>' in shown
    elements(shown)


def test_names_that_are_not_there_are_shown_as_text():
    shown = render_missing("<b>", ["keys", "key_revoked"]).decode()
    assert "<code>&lt;b&gt;</code>" in shown
    assert '<a href="/help/key_revoked">' in shown
    assert "Near" not in render_missing("x", []).decode()
    with pytest.raises(KeyError):
        render_text("none")
