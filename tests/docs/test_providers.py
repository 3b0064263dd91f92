"""The pages of services: one for each, and what they say of it is what the program has in its tables."""

import ast
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from ruamel.yaml import YAML

from app.help import read_entries
from app.providers import PROVIDERS, compatible

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "assets" / "docs"
NAMES = {"codex": "chatgpt"}
"""Pages that go by another name than their service has here."""
SHARED = {"codex": ("usage_limit_reached",), "claude": ("usage_limit_reached",)}
"""Codes that a service's page must have although another file gives them."""
COMPATIBLE = DOCS / "provider-compatible.md"
CODE = re.compile(r"\]\(troubleshooting\.md#(\w+)\)")
BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def page_of(provider):
    return DOCS / f"provider-{NAMES.get(provider.id, provider.id)}.md"


def words(text):
    """A text without its form: quotation marks of Markdown, line breaks."""
    return " ".join(re.sub(r"^>", "", text, flags=re.MULTILINE).split())


def ticked(text):
    return set(re.findall(r"`([^`\n]+)`", BLOCK.sub("", text)))


def hosts(provider):
    """Where calls go: the table of the service, else the host of its address."""
    if provider.hosts or provider.demo:
        return provider.hosts
    return {urlsplit(provider.base_url).hostname}


def codes(provider):
    """The codes that the service's own files give and that people look up."""
    given = set(SHARED.get(provider.id, ()))
    for file in (ROOT / "app" / "providers").glob(f"{provider.id}*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "code":
                value = node.value
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    given.add(value.value)
                elif isinstance(value, ast.Name):
                    given.add(value.id.lower())
    return given & set(read_entries())


every = pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda one: one.id)


def test_pages_are_those_of_the_services():
    wanted = {page_of(one) for one in PROVIDERS.values()} | {COMPATIBLE}
    assert set(DOCS.glob("provider-*.md")) == wanted


@every
def test_page_names_ways_dialects_and_hosts(provider):
    named = ticked(page_of(provider).read_text("utf-8"))
    assert provider.id in named
    assert set(provider.sign_ins) <= named
    assert set(provider.dialects) <= named
    assert set(hosts(provider)) <= named


@every
def test_page_has_the_very_words_that_people_read_before_they_sign_in(provider):
    text = words(page_of(provider).read_text("utf-8"))
    told = [provider.notice]
    if provider.consent is not None:
        told += [provider.consent.text, provider.consent.instead]
    for one in told:
        assert words(one) in text


@every
def test_page_links_each_error_that_the_service_gives(provider):
    linked = set(CODE.findall(page_of(provider).read_text("utf-8")))
    assert codes(provider) - linked == set()
    assert linked <= set(read_entries())


@every
def test_page_says_what_to_do_and_how_to_leave(provider):
    text = page_of(provider).read_text("utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert "When it does not work" in headings
    if not provider.demo:
        assert "Leaving" in headings
        assert "What is sent, and what is changed" in headings
        assert "What is left" in headings
        assert "Models" in headings
    if provider.manage_url:
        assert provider.manage_url in text


def test_page_of_compatible_servers_names_every_dialect():
    dialects = {name for one in PROVIDERS.values() for name in one.dialects}
    assert dialects <= ticked(COMPATIBLE.read_text("utf-8"))


def test_addresses_of_compatible_services_are_those_of_their_settings():
    """Each row of the table whose service has settings below it says the same there."""
    text = COMPATIBLE.read_text("utf-8")
    rows = re.findall(r"^\| [^|]+ \| `(\w+)` \| `(https://[^`]+)` \|$", text, re.MULTILINE)
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    settings = [YAML(typ="safe").load(block)["providers"] for block in blocks]
    entries = [entry for block in settings for entry in block.values()]
    keyed = [one for one in entries if "api_key" in one]
    assert len(rows) >= 8
    assert len(keyed) >= 5
    for entry in keyed:
        assert (entry["dialect"], entry["base_url"]) in rows
    for entry in entries:
        assert entry["kind"] == "compatible"
        assert compatible("x", entry["dialect"], entry["base_url"]).list_models(entry["base_url"])


def test_readme_links_the_page_of_every_service():
    readme = (ROOT / "README.md").read_text("utf-8")
    missing = [page.name for page in DOCS.glob("provider-*.md") if page.name not in readme]
    assert missing == []
